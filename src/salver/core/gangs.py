"""Gangs: replicas that start, serve and end together. A replica without one is one by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from salver.core.rollout import SERVING, Phase, Replica

__all__ = ("assembled", "broken", "excess", "first", "together")


def broken(replicas: Iterable[Replica]) -> frozenset[str]:
    """Those who have lost a member of their gang, and with it their use."""
    replicas = list(replicas)
    whole = {r.id for r in together([r for r in replicas if not r.ends])}
    return frozenset(r.id for r in replicas if r.gang is not None and r.id not in whole)


def together(replicas: list[Replica]) -> list[Replica]:
    """Those of them whose whole gang is among them."""
    present = Counter(map(_gang, replicas))
    return [r for r in replicas if r.gang is None or present[_gang(r)] == r.gang.world_size]


def assembled(replicas: list[Replica]) -> frozenset[str]:
    """Those that may be constructed: every member of their gang has a process that listens."""
    listening = [r for r in replicas if r.phase in _LISTENING]
    return frozenset(r.id for r in together(listening))


def first(replicas: Iterable[Replica], least: int) -> list[Replica]:
    """The first of them in whole gangs, `least` at least."""
    chosen: list[Replica] = []
    for gang in _gangs(replicas):
        if len(chosen) >= least:
            break
        chosen += gang
    return chosen


def excess(replicas: Iterable[Replica], wanted: int) -> list[Replica]:
    """Those to give up when so many are wanted: first the least advanced, then the youngest."""
    dear = sorted(
        _gangs(replicas),
        key=lambda gang: (any(not r.serves for r in gang), gang[0].created, gang[0].id),
    )
    kept = 0
    given_up: list[Replica] = []
    for gang in dear:
        if kept < wanted:
            kept += len(gang)
        else:
            given_up += gang
    return given_up


_LISTENING = SERVING | {Phase.ATTACHED, Phase.STARTING}


def _gang(replica: Replica) -> str:
    return replica.gang.gang_id if replica.gang is not None else replica.id


def _gangs(replicas: Iterable[Replica]) -> list[list[Replica]]:
    gangs: dict[str, list[Replica]] = {}
    for replica in replicas:
        gangs.setdefault(_gang(replica), []).append(replica)
    return list(gangs.values())
