"""How often a model was called, and where the time went."""

from __future__ import annotations

from time import time_ns

from salver.oip.metadata import Duration, InferStatistics, ModelStatistics

__all__ = ("Counters",)


class Counters:
    """Plain numbers: a call adds to them, whoever wants statistics reads them."""

    __slots__ = (
        "_failed",
        "_failed_ns",
        "_infer_ns",
        "_input_ns",
        "_last_ms",
        "_output_ns",
        "_succeeded",
    )

    def __init__(self) -> None:
        self._succeeded = self._failed = self._failed_ns = 0
        self._input_ns = self._infer_ns = self._output_ns = self._last_ms = 0

    def success(self, began: int, read: int, ran: int, written: int) -> None:
        """A call: when it began, was read, was answered by the model, and was written."""
        self._succeeded += 1
        self._input_ns += read - began
        self._infer_ns += ran - read
        self._output_ns += written - ran
        self._last_ms = time_ns() // 1_000_000

    def failure(self, took: int) -> None:
        """A call that ended with an error."""
        self._failed += 1
        self._failed_ns += took

    def statistics(self, name: str, version: str) -> ModelStatistics:
        """As the protocol says it. A call is one inference: no dimension is known to be a batch."""
        done = self._succeeded
        total = self._input_ns + self._infer_ns + self._output_ns
        return ModelStatistics(
            name,
            version,
            last_inference=self._last_ms,
            inference_count=done,
            execution_count=done,
            inference_stats=InferStatistics(
                success=Duration(done, total),
                fail=Duration(self._failed, self._failed_ns),
                compute_input=Duration(done, self._input_ns),
                compute_infer=Duration(done, self._infer_ns),
                compute_output=Duration(done, self._output_ns),
            ),
        )
