"""A door that is seen by others under a path: heads as apps and routes are to see them."""

from __future__ import annotations

from salver.doors.head import Head, HeadError

__all__ = ("mount",)

_LIMIT = 65408  # as `max_head_bytes`: what a frame's count of 16 bits can hold


def mount(head: Head, root: str) -> None:
    """Route by the path below the root; have the app see the whole one, however it came."""
    path = head.path
    if path == root or path.startswith(root + "/"):
        head.path = path[len(root) :] or "/"
    elif path.startswith("/"):
        cut = len(head.method) + 1
        raw = head.raw
        head.raw = b"%b%b%b" % (raw[:cut], root.encode(), raw[cut:])
        head.cacheable = False  # known heads are passed on as they came
        if len(head.raw) > _LIMIT:
            raise HeadError(431, f"With the root path the head is longer than {_LIMIT} bytes.")
