"""`salver.serve.llm`: known, and not there."""

from __future__ import annotations

raise ImportError(
    "salver.serve.llm is not there in this version of Salver: language models come later. Until "
    "then a deployment can hold one: examples/language/chat.py streams its words."
)
