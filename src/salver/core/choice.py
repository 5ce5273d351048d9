"""Which replica gets the next call, and how many calls one caller may have under way there.

Three numbers describe a replica to a caller: `inflight`, the caller's own calls under way there;
`window`, how many of them there may be; `others`, what it believes other callers have under way
there. The first is exact. The second is the replica's limit until it has turned a call away; then
it follows what the replica reports. The third is only heard of in answers, and a replica that is
believed busy gets no calls and so gives no answers: hence each call that the belief has cost it
takes one off the belief.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

__all__ = (
    "SCAN",
    "Candidate",
    "belief",
    "cost_a_call",
    "has_plenty",
    "least_loaded",
    "of_two",
    "window_after_answer",
    "window_after_ready",
)

SCAN: Final = 8  # up to so many replicas all are looked at; of more, two at random


class Candidate(Protocol):
    """A replica as the choice sees it."""

    inflight: int
    window: int
    others: int


def least_loaded(candidates: Sequence[Candidate], turn: int) -> int:
    """The index of the least loaded candidate with room, the first from `turn` on; -1: none."""
    best = -1
    low = 0
    for i in range(turn - len(candidates), turn):
        candidate = candidates[i]
        inflight = candidate.inflight
        if inflight < candidate.window:
            load = inflight + candidate.others
            if best == -1 or load < low:
                best = i % len(candidates)
                if not load:
                    break
                low = load
    return best


def of_two(candidates: Sequence[Candidate], random: Callable[[], float]) -> tuple[int, int]:
    """The less loaded of two random candidates, then the other; (-1, -1): none has room.

    When neither of the two has room the next one that has is taken.
    """
    count = len(candidates)
    first = int(random() * count)
    second = int(random() * (count - 1))
    if second >= first:
        second += 1
    one, two = candidates[first], candidates[second]
    if one.inflight < one.window:
        if two.inflight < two.window and two.inflight + two.others < one.inflight + one.others:
            return second, first
        return first, second
    if two.inflight < two.window:
        return second, first
    for i in range(first - count, first):
        if candidates[i].inflight < candidates[i].window:
            return i % count, first
    return -1, -1


def cost_a_call(loser: Candidate, winner: Candidate) -> bool:
    """Whether the loser would have got the call, had it not been believed busy with others'."""
    return (
        loser.others > 0
        and loser.inflight < loser.window
        and loser.inflight <= winner.inflight + winner.others
    )


def belief(under_way: int, own: int) -> int:
    """What others have under way at a replica that reports `under_way`, `own` of them ours."""
    return under_way - own if under_way > own else 0


def window_after_answer(own: int, under_way: int, limit: int) -> int:
    """The window of a replica that had turned a call away and now answered one: room is seen."""
    free = limit - under_way
    return min(limit, own + free) if free > 0 else min(limit, own + 1)


def window_after_ready(own: int, others: int, window: int, limit: int) -> int:
    """The window of a replica that says that a slot is free again: one call may try, or more."""
    if has_plenty(others, limit):
        return limit
    return min(limit, max(window, own + 1, limit - others))


def has_plenty(others: int, limit: int) -> bool:
    """Whether a caller may have as many calls under way as it likes: half of the slots at least
    are not with others. It need not be told of each one that they give back."""
    return 2 * others <= limit
