"""Arguments as bytes, with the results of other calls among them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from salver.calls.outgoing import encoded
from salver.calls.splice import decode_call, splice
from salver.wire.payload import Segments, dumps, dumps_call

values = st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers()))


@given(st.lists(values), st.dictionaries(st.text(min_size=1), values))
def test_plain_arguments_come_back(args: list[Any], kwargs: dict[str, Any]) -> None:
    inline, buffers = dumps_call(tuple(args), kwargs)
    assert not buffers
    assert decode_call(inline) == (tuple(args), kwargs)


@given(
    st.lists(st.tuples(values, st.booleans()), max_size=6),
    st.dictionaries(st.text(min_size=1), st.tuples(values, st.booleans()), max_size=4),
)
def test_spliced_results_stand_where_their_calls_stood(
    args: list[tuple[Any, bool]], kwargs: dict[str, tuple[Any, bool]]
) -> None:
    """Whichever of the arguments are results, the callee sees the same call."""
    results: list[Any] = []
    places: list[tuple[int | str, int]] = []
    every: list[tuple[int | str, tuple[Any, bool]]] = [*enumerate(args), *kwargs.items()]
    for place, (value, is_result) in every:
        if is_result:
            places.append((place, len(results)))
            results.append(value)
    head = dumps(
        (
            tuple(None if r else v for v, r in args),
            {k: None if r else v for k, (v, r) in kwargs.items()},
            places,
        )
    )
    inline, _ = splice([head, *map(dumps, results)])
    assert decode_call(inline) == (
        tuple(v for v, _ in args),
        {k: v for k, (v, _) in kwargs.items()},
    )


def test_buffers_of_several_results_are_told_apart() -> None:
    arrays = [np.full(20_000, n) for n in range(3)]
    head = dumps(((arrays[0], None, None), {}, [(1, 0), (2, 1)]))
    inline, buffers = splice([head, dumps(arrays[1]), dumps(arrays[2])])
    assert len(buffers) == 3
    args, _ = decode_call(Segments(inline, buffers))
    assert all((got == sent).all() for got, sent in zip(args, arrays, strict=True))


def test_a_received_payload_is_sent_on_as_it_is() -> None:
    assert encoded(b"x") == (b"x", [])
    view = memoryview(b"y")
    assert encoded(Segments(b"x", [view])) == (b"x", [view])
