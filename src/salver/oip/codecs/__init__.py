"""Values to tensors and back, chosen by content type, by type annotation, or by the value itself.

Nothing here imports pandas, torch or PIL before a value or an annotation of theirs turns up.
"""

from __future__ import annotations

from salver.oip.codecs.registry import Codec, GroupCodec, Registry, built_in

__all__ = ("Codec", "GroupCodec", "Registry", "built_in")
