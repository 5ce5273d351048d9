"""What a failed call is answered with."""

from __future__ import annotations

from typing import Any

import pytest

from salver import errors
from salver.spec.refusals import STATUS_OF, refusal


def test_every_error_of_ours_has_its_own_row() -> None:
    def tree(cls: type[BaseException]) -> set[type[BaseException]]:
        return {cls}.union(*(tree(sub) for sub in cls.__subclasses__()))

    named = {cls for cls in tree(errors.SalverError) if cls.__module__ == "salver.errors"}
    assert named <= set(STATUS_OF)


@pytest.mark.parametrize(
    ("error", "status", "text", "more"),
    [
        (
            errors.BackPressureError(3, 2),
            503,
            "Request dropped due to backpressure (num_queued_requests=3, max_queued_requests=2).",
            (("Retry-After", "1"),),
        ),
        (
            errors.BackPressureError(3, 2, 429, 1.2),
            429,
            "Request dropped due to backpressure (num_queued_requests=3, max_queued_requests=2).",
            (("Retry-After", "2"),),
        ),
        (errors.DeploymentUnavailableError("d", "gone"), 503, "gone", ()),
        (
            errors.ReplicaDiedError("r"),
            502,
            errors.ReplicaDiedError("r").message,
            (),
        ),
        (ValueError("secret"), 500, "Internal Server Error", ()),
    ],
)
def test_errors_become_replies(error: Exception, status: int, text: str, more: Any) -> None:
    assert refusal(error) == (status, text, more)


def test_a_subclass_is_answered_as_its_base() -> None:
    class MyError(errors.DeploymentUnavailableError):
        pass

    assert refusal(MyError("d", "x"))[0] == 503
