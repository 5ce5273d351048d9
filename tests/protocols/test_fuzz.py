"""Bodies that no client should send: refused in the protocol's form, and they cost nothing."""

from __future__ import annotations

import json
import zlib
from typing import Any

import httpx
import hypothesis.strategies as st
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings

from salver.oip.datatypes import DATATYPES

FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["FP32", "BYTES", "NaN", "Infinity", 2**62, -1, "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "a", "b", "words", "text_input", "n"]) | ODD,
        "shape": st.lists(st.integers(-1, 6) | st.just(2**40), max_size=4) | ODD,
        "datatype": st.sampled_from(sorted(DATATYPES)) | ODD,
        "data": st.lists(st.integers(-3, 300) | st.floats() | st.text(max_size=3)) | ODD,
    },
    optional={
        "parameters": st.dictionaries(
            st.sampled_from(
                ["binary_data_size", "content_type", "shared_memory_region", "dtype", "encoding",
                 "shared_memory_byte_size", "shared_memory_offset"]
            ),
            st.sampled_from(["str", "np", "pd", "base64", "json", 0, 4, -1, 2**62, True]) | ODD,
        )
    },
)  # fmt: skip
REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=3) | ODD},
    optional={
        "outputs": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from(["output-0", "sum"]) | ODD},
                                  optional={"parameters": ODD})
        ) | ODD,
        "id": ODD,
        "parameters": ODD,
    },
)  # fmt: skip
MODELS = st.sampled_from(["identity", "add_sub", "upper", "scores", "versioned", "typed", "raw"])


def check(answer: httpx.Response) -> None:
    """No crash, and the protocol's own words."""
    assert answer.status_code in (200, 400, 404, 405, 413, 501), answer.text
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/json"
        assert isinstance(answer.json()["error"], str)


def spelled(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@FUZZ
@given(body=REQUEST | ODD, model=MODELS)
def test_any_json_body_is_answered_in_the_protocol_s_words(
    http: httpx.Client, body: Any, model: str
) -> None:
    check(http.post(f"/v2/models/{model}/infer", content=spelled(body)))


@FUZZ
@given(
    body=st.dictionaries(st.sampled_from(["text_input", "n", "id", "parameters", "inputs"]), ODD)
    | ODD,
    action=st.sampled_from(["generate", "generate_stream"]),
)
def test_any_body_of_generate_is_answered_in_the_protocol_s_words(
    http: httpx.Client, body: Any, action: str
) -> None:
    if isinstance(body, dict) and isinstance(body.get("n"), int) and body["n"] > 100:
        body["n"] = 100  # as many events as it says are right
    check(http.post(f"/v2/models/count/{action}", content=spelled(body)))


@FUZZ
@given(
    body=st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name"]), ODD) | ODD,
    model=MODELS,
)
def test_any_body_of_v1_is_answered_in_the_protocol_s_words(
    http: httpx.Client, body: Any, model: str
) -> None:
    if model != "raw":
        check(http.post(f"/v1/models/{model}:predict", content=spelled(body)))


@FUZZ
@given(body=st.dictionaries(st.sampled_from(["person", "point", "scale", "note"]), ODD) | ODD)
def test_any_plain_body_is_answered_in_the_protocol_s_words(http: httpx.Client, body: Any) -> None:
    check(http.post("/models/typed", content=spelled(body)))


@FUZZ
@given(
    tensor=TENSOR,
    size=st.integers(-2, 40) | st.just(2**62),
    blob=st.binary(max_size=40),
    claimed=st.integers(-3, 300) | st.none(),
)
def test_any_binary_body_is_answered_in_the_protocol_s_words(
    http: httpx.Client, tensor: dict[str, Any], size: int, blob: bytes, claimed: int | None
) -> None:
    tensor.pop("data")
    tensor["parameters"] = {"binary_data_size": size}
    text = spelled({"inputs": [tensor]})
    length = len(text) if claimed is None else claimed
    check(
        http.post(
            "/v2/models/identity/infer",
            content=text + blob,
            headers={"Inference-Header-Content-Length": str(length)},
        )
    )


@FUZZ
@given(content=st.binary(max_size=60), coding=st.sampled_from(["", "gzip", "deflate", "x"]))
def test_any_bytes_are_answered_in_the_protocol_s_words(
    http: httpx.Client, content: bytes, coding: str
) -> None:
    for path in ("/v2/models/identity/infer", "/v2/models/count/generate", "/double",
                 "/v1/models/double:predict", "/v2/repository/index", "/v2/logging",
                 "/v2/repository/models/double/load", "/v2/trace/setting",
                 "/v2/systemsharedmemory/region/r/register"):  # fmt: skip
        answer = http.post(path, content=content, headers={"content-encoding": coding})
        if "repository" not in path and "shared" not in path:
            check(answer)
        else:
            assert answer.status_code < 500 or answer.status_code == 501
    http.post("/v2/systemsharedmemory/unregister")


@FUZZ
@given(name=st.text(min_size=1, max_size=10), action=st.text(max_size=10))
def test_any_path_is_answered_in_the_protocol_s_words(
    http: httpx.Client, name: str, action: str
) -> None:
    url = httpx.URL(str(http.base_url)).copy_with(
        raw_path=f"/v2/models/{_quoted(name)}/{_quoted(action)}".encode()
    )
    check(http.get(url))


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "replace"))


@pytest.mark.parametrize(
    "shape", [[2**31, 2**31], [2**62], [1] * 33, [0, 2**62], [2**20, 2**20, 0]], ids=str
)
@pytest.mark.parametrize("datatype", ["FP64", "BYTES", "BOOL"])
def test_huge_shapes_cost_no_memory(http: httpx.Client, shape: list[int], datatype: str) -> None:
    before = _memory()
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": [1]}
    for _ in range(20):
        assert http.post("/v2/models/identity/infer", json={"inputs": [tensor]}).status_code == 400
    size = {"binary_data_size": 0 if 0 in shape else 8}
    binary = {"name": "x", "shape": shape, "datatype": datatype, "parameters": size}
    http.post(
        "/v2/models/identity/infer",
        content=(text := spelled({"inputs": [binary]})) + b"\0" * 8,
        headers={"Inference-Header-Content-Length": str(len(text))},
    )
    assert _memory() - before < 50 << 20


def test_a_bomb_costs_a_bounded_amount(http: httpx.Client) -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(300)) + packer.flush()
    answer = http.post(
        "/v2/models/identity/infer", content=bomb, headers={"content-encoding": "deflate"}
    )
    assert answer.status_code == 413
    assert "once it is decompressed" in answer.json()["error"]


def test_nan_and_infinity_are_null_and_words_both_ways(http: httpx.Client) -> None:
    text = (
        b'{"inputs":[{"name":"x","shape":[4],"datatype":"FP32","data":[NaN,null,"Infinity",-1]}]}'
    )
    answer = http.post("/v2/models/identity/infer", content=text)
    assert answer.json()["outputs"][0]["data"] == [None, None, "Infinity", -1.0]
    whole = b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT32","data":[null]}]}'
    check(refused := http.post("/v2/models/identity/infer", content=whole))
    assert "$.inputs[0].data[0]" in refused.json()["error"]


def _memory() -> int:
    return sum(process.memory_info().rss for process in psutil.Process().children(recursive=True))


def test_the_server_is_well_after_all_this(http: httpx.Client) -> None:
    assert http.get("/v2/health/ready").json()["ready"] is True
    x = {"name": "x", "shape": [2], "datatype": "FP32", "data": np.ones(2).tolist()}
    assert http.post("/v2/models/identity/infer", json={"inputs": [x]}).status_code == 200
