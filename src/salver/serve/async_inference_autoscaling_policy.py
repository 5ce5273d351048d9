"""`salver.serve.async_inference_autoscaling_policy`: replicas by the length of a task queue."""

from __future__ import annotations

from salver.tasks.autoscaling import AsyncInferenceAutoscalingPolicy

__all__ = ("AsyncInferenceAutoscalingPolicy",)
