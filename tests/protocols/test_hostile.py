"""Requests made to hurt: each gets the protocol's own error, which says where, and costs little."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import httpx
import pytest

PATH = "/v2/models/identity/infer"
DEEP = 100_000


def tensor(**more: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0]} | more


def body(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b'{"inputs":[{"data":' + b"[" * DEEP + b"]" * DEEP + b"}]}", "nested too deeply"),
        (b'{"parameters":{"a":' + b"[" * DEEP + b"]" * DEEP + b'},"inputs":[]}', "too deeply"),
        (body(tensor(shape=[2**62, 4])), "$.inputs[0].shape: "),
        (body(tensor(shape=[2**32, 2**32])), "$.inputs[0].shape: "),
        (body(tensor(shape=[2**70])), "$.inputs[0].shape: "),
        (body(tensor(shape=[0, 2**62, 2**62], data=[])), "$.inputs[0].shape: "),
        (body(tensor(shape=[1] * DEEP)), "$.inputs[0].shape: "),
        (body(*[tensor()] * DEEP), "$.inputs: 100000 tensors are given, expected at most 4096"),
        (body(tensor(shape=[-1])), "$.inputs[0].shape[0]: "),
        (body(tensor(), tensor()), "$.inputs[1].name: "),
        (body(tensor(name="n" * 10**6)), "$.inputs[0].name: "),
        (body(tensor(datatype="F" * 10**5)), "$.inputs[0].datatype: "),
        (body(tensor(data=[10**400])), "$.inputs[0].data[0]: "),
        (body(tensor(parameters=3)), "$.inputs[0].parameters: "),
        (
            body(tensor(), outputs=[{"name": "output-0"}] * DEEP),
            "$.outputs: 100000 tensors ",
        ),
        (body(tensor())[:-5], "no valid JSON"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_json_that_lies_is_refused_with_the_reason(
    http: httpx.Client, sent: bytes, told: str
) -> None:
    answer = http.post(PATH, content=sent)
    assert answer.status_code == 400
    assert told in answer.json()["error"]
    assert len(answer.content) < 400


LONG = "n" * 5000


@pytest.mark.parametrize("path", [LONG, f"identity/versions/{LONG}"])
def test_a_name_that_is_not_known_is_told_in_part(http: httpx.Client, path: str) -> None:
    for method, action in (("GET", ""), ("GET", "/ready"), ("POST", "/infer")):
        answer = http.request(method, f"/v2/models/{path}{action}", content=body(tensor()))
        assert answer.status_code == 404
        assert len(answer.content) < 400
    answer = http.post(f"/v2/repository/models/{LONG}/load")
    assert len(answer.content) < 400


@pytest.mark.parametrize(
    ("datatype", "shape", "size", "blob"),
    [
        ("FP32", [1], 4000, b"1234"),
        ("FP32", [1], -4, b"1234"),
        ("FP32", [2**60], 2**62, b"1234"),
        ("FP32", [2], 4, b"1234"),
        ("BYTES", [1], 8, b"\xff\xff\xff\xff1234"),
        ("BYTES", [2**40], 8, b"\0" * 8),
    ],
)
def test_binary_tensors_that_lie_are_refused_with_the_reason(
    http: httpx.Client, datatype: str, shape: list[int], size: int, blob: bytes
) -> None:
    given = {"name": "x", "datatype": datatype, "shape": shape}
    text = body(given | {"parameters": {"binary_data_size": size}})
    length = {"Inference-Header-Content-Length": str(len(text))}
    answer = http.post(PATH, content=text + blob, headers=length)
    assert answer.status_code == 400
    assert "$.inputs[0].parameters.binary_data_size: " in answer.json()["error"]


@pytest.mark.parametrize("length", ["1000000", "-1", "abc", "9" * 5000])
def test_lengths_of_the_header(http: httpx.Client, length: str) -> None:
    answer = http.post(
        PATH, content=body(tensor()), headers={"Inference-Header-Content-Length": length}
    )
    assert answer.status_code == 400
    assert "Inference-Header-Content-Length" in answer.json()["error"]


def test_chains_of_codings(http: httpx.Client) -> None:
    packed = gzip.compress(zlib.compress(gzip.compress(body(tensor()))))
    chain = {"Content-Encoding": "gzip, deflate, gzip"}
    assert http.post(PATH, content=packed, headers=chain).status_code == 200
    bomb = gzip.compress(gzip.compress(b"\0" * (300 << 20), 1))
    answer = http.post(PATH, content=bomb, headers={"Content-Encoding": "gzip, gzip"})
    assert answer.status_code == 413
    members = gzip.compress(b"") * DEEP
    answer = http.post(PATH, content=members, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 400
    assert "no whole gzip stream" in answer.json()["error"]


DEEPEST = 990  # less than a decoder of JSON takes


@pytest.mark.parametrize(
    ("path", "sent", "told"),
    [
        ("/v2/logging", {"log_verbose_level": 2**64}, "$.log_verbose_level: "),
        ("/v2/logging", {"x": -(2**64)}, "unknown setting 'x'"),
        ("/v2/trace/setting", {"trace_rate": 2**64}, "$.trace_rate: "),
        ("/v2/trace/setting", {"trace_level": [2**64]}, "$.trace_level: "),
        ("/v2/models/identity/trace/setting", {"x": 2**64}, "unknown setting 'x'"),
        (
            "/v2/repository/models/identity/load",
            {"parameters": {"config": f'{{"a":{2**64}}}'}},
            "$.parameters.config: ",
        ),
        (
            "/v2/repository/models/identity/load",
            {"parameters": {"config": '{"a":' * DEEPEST + "1" + "}" * DEEPEST}},
            "config",
        ),
    ],
)
def test_what_goes_to_the_controller(
    http: httpx.Client, path: str, sent: dict[str, Any], told: str
) -> None:
    answer = http.post(path, json=sent)
    assert answer.status_code in (400, 501), answer.text
    assert told in answer.json()["error"]


@pytest.mark.parametrize("path", ["/v2/logging", "/v2/trace/setting"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_only_asks_changes_nothing(http: httpx.Client, path: str, method: str) -> None:
    before = http.get(path).json()
    sent = {"log_verbose_level": 3} if path == "/v2/logging" else {"trace_rate": "3"}
    assert http.request(method, path, json=sent).status_code == 200
    assert http.get(path).json() == before
