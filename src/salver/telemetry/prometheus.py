"""Numbers of many processes as one page, in the text format that Prometheus reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

from salver.telemetry.registry import Distribution, Family, Kind, Sample, Tags

__all__ = ("CONTENT_TYPE", "merge", "page")

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def page(families: Iterable[Family]) -> str:
    """The whole page, by name."""
    lines: list[str] = []
    told = ""
    for family in merge(families):
        name = _exported(family)
        if name != told:
            told = name
            lines += _header(name, family)
        for sample in sorted(family.samples, key=lambda sample: sample.tags):
            lines += _lines(name, family, sample)
    return "".join(f"{line}\n" for line in lines)


def merge(families: Iterable[Family]) -> list[Family]:
    """One family per name: values of the same tags add up, as if one process had counted them.

    Where apps use one name for different kinds, that of the later ones says its kind. Histograms of
    different boundaries stay apart, side by side.
    """
    kinds: dict[str, Kind] = {}
    found: dict[tuple[str, tuple[float, ...]], list[Family]] = {}
    for family in families:
        name = family.name
        if kinds.setdefault(name, family.kind) is not family.kind:
            name = f"{name}_{family.kind}"
        found.setdefault((name, family.boundaries), []).append(family)
    return [_merged(name, parts) for (name, _), parts in sorted(found.items())]


def _merged(name: str, parts: list[Family]) -> Family:
    sums: dict[Tags, Any] = {}
    for part in parts:
        for sample in part.samples:
            known = sums.get(sample.tags)
            sums[sample.tags] = sample.value if known is None else _sum(known, sample.value)
    samples = tuple(Sample(tags, value) for tags, value in sums.items())
    return Family(name, parts[0].kind, parts[0].description, parts[0].boundaries, samples)


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, Distribution):
        buckets = tuple(a + b for a, b in zip(one.buckets, other.buckets, strict=True))
        return Distribution(buckets, one.count + other.count, one.sum + other.sum)
    return one + other


def _header(name: str, family: Family) -> Iterator[str]:
    if family.description:
        yield f"# HELP {name} {_help(family.description)}"
    yield f"# TYPE {name} {family.kind}"


def _exported(family: Family) -> str:
    if family.kind is Kind.COUNTER and not family.name.endswith("_total"):
        return f"{family.name}_total"
    return family.name


def _lines(name: str, family: Family, sample: Sample) -> Iterator[str]:
    value = sample.value
    if not isinstance(value, Distribution):
        yield f"{name}{_labels(sample.tags)} {_number(value)}"
        return
    below = 0
    for limit, count in zip((*family.boundaries, math.inf), value.buckets, strict=True):
        below += count
        yield f"{name}_bucket{_labels((*sample.tags, ('le', _number(limit))))} {below}"
    yield f"{name}_sum{_labels(sample.tags)} {_number(value.sum)}"
    yield f"{name}_count{_labels(sample.tags)} {value.count}"


def _labels(tags: Tags) -> str:
    if not tags:
        return ""
    return (
        "{" + ",".join(f'{_label(key)}="{value.translate(_ESCAPES)}"' for key, value in tags) + "}"
    )


def _label(key: str) -> str:
    name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in key)
    return name if name and not name[0].isdigit() else f"_{name}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
