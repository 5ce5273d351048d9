"""`salver.serve.async_inference_autoscaling_policy`: known, and not there."""

from __future__ import annotations

from typing import NoReturn

__all__ = ("AsyncInferenceAutoscalingPolicy",)


class AsyncInferenceAutoscalingPolicy:
    """Scales by the length of a task broker's queue."""

    def __init__(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise NotImplementedError(
            "AsyncInferenceAutoscalingPolicy is not there in this version of Salver: it belongs to "
            "task consumers, which are not there either. A policy of your own can ask the broker "
            "in `__call__`: it runs in a thread, with 5 s."
        )
