"""`salver.serve.dag`: known, and not there."""

from __future__ import annotations

raise ImportError(
    "salver.serve.dag (InputNode) is not there: Ray Serve itself has left it behind. Let an "
    "ingress take the request and call the others by their handles: examples/composition.py."
)
