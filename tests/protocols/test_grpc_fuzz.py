"""Protobufs that no client should send: refused by the right codes, and they cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import hypothesis.strategies as st
import psutil
import pytest
from hypothesis import given

from salver.oip import proto
from salver.oip.datatypes import DATATYPES
from tests.protocols.grpc_caller import Caller, request, spelled
from tests.protocols.test_fuzz import FUZZ, MODELS

Request = proto.message("ModelInferRequest")
RIGHT = ("OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED")
TEXT = st.text(max_size=6) | st.sampled_from(["x", "a", "b", "words", "output-0", "sum", "n"])
PARAMETER = st.one_of(
    st.builds(dict, bool_param=st.booleans()),
    st.builds(dict, int64_param=st.integers(-(2**63), 2**63 - 1)),
    st.builds(dict, string_param=st.sampled_from(["str", "np", "pd", "json", "r"]) | TEXT),
    st.builds(dict, double_param=st.floats()),
    st.builds(dict, uint64_param=st.integers(0, 2**64 - 1)),
    st.just({}),
)
PARAMETERS = st.dictionaries(
    st.sampled_from(
        ["content_type", "dtype", "encoding", "classification", "shared_memory_region",
         "shared_memory_byte_size", "shared_memory_offset", "triton_enable_empty_final_response"]
    ) | TEXT,
    PARAMETER,
    max_size=3,
)  # fmt: skip
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "bool_contents": st.lists(st.booleans(), max_size=4),
        "int_contents": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
        "int64_contents": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
        "uint_contents": st.lists(st.integers(0, 2**32 - 1), max_size=4),
        "uint64_contents": st.lists(st.integers(0, 2**64 - 1), max_size=4),
        "fp32_contents": st.lists(st.floats(width=32), max_size=4),
        "fp64_contents": st.lists(st.floats(), max_size=4),
        "bytes_contents": st.lists(st.binary(max_size=4), max_size=4),
    },
)
INPUT = st.fixed_dictionaries(
    {
        "name": TEXT,
        "datatype": st.sampled_from(sorted(DATATYPES)) | TEXT,
        "shape": st.lists(st.integers(-1, 6) | st.sampled_from([2**40, 2**62]), max_size=4),
    },
    optional={"parameters": PARAMETERS, "contents": CONTENTS},
)
REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(INPUT, max_size=3)},
    optional={
        "id": st.text(max_size=4),
        "model_version": st.sampled_from(["", "1", "10"]) | TEXT,
        "parameters": PARAMETERS,
        "outputs": st.lists(
            st.fixed_dictionaries({"name": TEXT}, optional={"parameters": PARAMETERS}), max_size=2
        ),
        "raw_input_contents": st.lists(st.binary(max_size=32), max_size=3),
    },
)


@pytest.fixture(scope="module")
def caller(grpc_address: str) -> Iterator[Caller]:
    with grpc.insecure_channel(grpc_address) as channel:
        yield Caller(channel)


def code_of(caller: Caller, name: str, data: bytes) -> str:
    try:
        caller.call(name, data)
    except grpc.RpcError as error:
        told: Any = error
        assert told.code().name in RIGHT, told
        return str(told.code().name)
    return "OK"


@FUZZ
@given(fields=REQUEST, model=MODELS)
def test_any_request_ends_with_a_code_that_clients_know(
    caller: Caller, fields: dict[str, Any], model: str
) -> None:
    data = Request(model_name=model, **fields).SerializeToString()
    code = code_of(caller, "ModelInfer", data)
    *_, last = caller.stream(data)
    read = proto.parse(proto.message("ModelStreamInferResponse"), last)
    assert bool(read.error_message) is (code != "OK")


@FUZZ
@given(data=st.binary(max_size=60), name=st.sampled_from(sorted(proto.methods())))
def test_any_bytes_end_with_a_code_that_clients_know(
    caller: Caller, data: bytes, name: str
) -> None:
    if name == "ModelStreamInfer":
        assert len(list(caller.stream(data))) == 1
    else:
        code_of(caller, name, data)


@FUZZ
@given(at=st.integers(0, 200), found=st.binary(min_size=1, max_size=3), large=st.booleans())
def test_requests_with_a_few_wrong_bytes(
    caller: Caller, at: int, found: bytes, large: bool
) -> None:
    data = spelled(request(size=5000 if large else 3))
    at %= min(len(data), 60)
    code_of(caller, "ModelInfer", data[:at] + found + data[at + len(found) :])


def test_many_small_fields_cost_little(caller: Caller) -> None:
    """A long message of the shortest fields is neither walked through here nor kept."""
    before = _memory()
    data = b"\x08\x00" * (1 << 20) + spelled(request())
    assert code_of(caller, "ModelInfer", data) == "OK"
    shapes = Request(model_name="identity")
    shapes.inputs.add(name="x", datatype="FP64", shape=[2**31, 2**31]).contents.SetInParent()
    for _ in range(20):
        assert code_of(caller, "ModelInfer", shapes.SerializeToString()) == "INVALID_ARGUMENT"
    assert _memory() - before < 80 << 20


def _memory() -> int:
    return sum(process.memory_info().rss for process in psutil.Process().children(recursive=True))


def test_the_server_is_well_after_all_this(caller: Caller) -> None:
    caller.call("SystemSharedMemoryUnregister", b"")
    ready = proto.parse(proto.message("ServerReadyResponse"), caller.call("ServerReady", b""))
    assert ready.ready
    assert code_of(caller, "ModelInfer", spelled(request())) == "OK"
