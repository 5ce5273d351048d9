"""What several replicas tell of a model is one statement."""

from __future__ import annotations

from salver.oip.metadata import BatchStatistics, Duration, InferStatistics, ModelStatistics
from salver.oip.state import merged


def test_statistics_of_several_replicas_are_added_batches_by_their_size() -> None:
    def told(size: int, count: int) -> ModelStatistics:
        took = Duration(count, count * 10)
        return ModelStatistics(
            "m",
            inference_count=size * count,
            execution_count=count,
            inference_stats=InferStatistics(queue=took),
            batch_stats=[BatchStatistics(size, compute_infer=took)],
        )

    (found,) = merged([told(4, 1), told(1, 2), told(4, 3)])
    assert (found.inference_count, found.execution_count) == (18, 6)
    assert found.inference_stats.queue == Duration(6, 60)
    assert found.batch_stats == [
        BatchStatistics(1, compute_infer=Duration(2, 20)),
        BatchStatistics(4, compute_infer=Duration(4, 40)),
    ]
