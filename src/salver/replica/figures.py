"""What the user's object says of its own load: `record_autoscaling_stats`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salver.replica.invoke import call_hook

if TYPE_CHECKING:
    from salver.replica.host import Host

__all__ = ("autoscaling_stats",)


async def autoscaling_stats(host: Host) -> Any:
    """Whatever it returns; None: the class has no such method. Raises what it raises."""
    hook = getattr(host.context.servable_object, "record_autoscaling_stats", None)
    if not callable(hook):
        return None
    return await host.loop.create_task(call_hook(hook), context=host.base.copy())
