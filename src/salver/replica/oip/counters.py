"""How often a model was called, and where the time went."""

from __future__ import annotations

from time import time_ns

from salver.oip.metadata import BatchStatistics, Duration, InferStatistics, ModelStatistics
from salver.replica.tally import Tally

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
        "_rows",
        "_succeeded",
        "_tally",
        "_waited_ns",
    )

    def __init__(self, tally: Tally | None = None) -> None:
        self._tally = tally  # of a model that works in batches
        self._succeeded = self._failed = self._failed_ns = self._rows = self._waited_ns = 0
        self._input_ns = self._infer_ns = self._output_ns = self._last_ms = 0

    def success(
        self, rows: int, waited: int, began: int, read: int, ran: int, written: int
    ) -> None:
        """A call of so many rows: how long it `waited` for a thread; when it began, was read, was
        answered by the model, and was written."""
        self._succeeded += 1
        self._rows += rows
        self._waited_ns += waited
        self._input_ns += read - began - waited
        self._infer_ns += ran - read
        self._output_ns += written - ran
        self._last_ms = time_ns() // 1_000_000

    def failure(self, took: int) -> None:
        """A call that ended with an error."""
        self._failed += 1
        self._failed_ns += took

    def statistics(self, name: str, version: str) -> ModelStatistics:
        """As the protocol says it: of batches, whoever called for what was in them."""
        done = self._succeeded
        sizes = self._tally.sizes if self._tally is not None else {}
        rows, runs = self._rows, self._rows
        queue, infer = Duration(done, self._waited_ns), Duration(done, self._infer_ns)
        if self._tally is not None:
            rows = sum(size * count for size, (count, _) in sizes.items())
            runs = sum(count for count, _ in sizes.values())
            queue = Duration(rows, self._tally.waited_ns)
            infer = Duration(rows, sum(size * ns for size, (_, ns) in sizes.items()))
        total = self._waited_ns + self._input_ns + self._infer_ns + self._output_ns
        return ModelStatistics(
            name,
            version,
            last_inference=self._last_ms,
            inference_count=rows,
            execution_count=runs,
            inference_stats=InferStatistics(
                success=Duration(done, total),
                fail=Duration(self._failed, self._failed_ns),
                queue=queue,
                compute_input=Duration(done, self._input_ns),
                compute_infer=infer,
                compute_output=Duration(done, self._output_ns),
            ),
            batch_stats=[
                BatchStatistics(size, compute_infer=Duration(count, ns))
                for size, (count, ns) in sorted(sizes.items())
            ],
        )
