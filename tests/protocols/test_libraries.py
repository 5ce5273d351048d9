"""Arguments of torch, pandas and PIL, in plain JSON, V1 and V2."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from salver import serve
from tests.protocols import heavy_models


@pytest.fixture(scope="module", autouse=True)
def _heavy(server: str) -> None:
    serve.run(heavy_models.heavy, name="heavy", route_prefix="/heavy")


def post(http: httpx.Client, path: str, body: Any) -> Any:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (7, 5)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_tensors_and_frames_are_read_from_plain_json(http: httpx.Client) -> None:
    assert post(http, "/heavy/torched", {"x": [[1, 2]]}) == [[2.0, 4.0]]
    frame = {"table": [{"a": 1, "b": 2}]}
    assert post(http, "/heavy/frame", frame) == [{"a": 1, "b": 2, "total": 3}]
    assert post(http, "/heavy/picture", {"image": picture()}) == [7, 5]


def test_tensors_and_frames_are_read_from_v2(http: httpx.Client) -> None:
    x = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
    assert post(http, "/v2/models/torch/infer", {"inputs": [x]})["outputs"][0]["data"] == [2, 4]
    columns = [{"name": n, "shape": [2], "datatype": "INT64", "data": [1, 2]} for n in ("a", "b")]
    answer = post(http, "/v2/models/frame/infer", {"inputs": columns})
    assert {o["name"]: o["data"] for o in answer["outputs"]}["total"] == [2, 4]
    image = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [picture()]}
    answer = post(http, "/v2/models/picture/infer", {"inputs": [image]})
    assert answer["outputs"][0]["data"] == [7, 5]


def test_bfloat16_of_torch_in_binary(http: httpx.Client) -> None:
    bits = (np.arange(4, dtype="f4").view("u4") >> 16).astype("<u2")
    x = {"name": "x", "shape": [4], "datatype": "BF16", "parameters": {"binary_data_size": 8}}
    head = json.dumps({"inputs": [x], "parameters": {"binary_data_output": True}}).encode()
    answer = http.post(
        "/v2/models/torch/infer",
        content=head + bits.tobytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    length = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.content[:length])["outputs"][0]["datatype"] == "BF16"
    found = (np.frombuffer(answer.content[length:], "<u2").astype("<u4") << 16).view("f4")
    assert found.tolist() == [0.0, 2.0, 4.0, 6.0]


def test_frames_are_read_from_v1(http: httpx.Client) -> None:
    rows = {"instances": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}
    answer = post(http, "/v1/models/frame:predict", rows)
    assert [row["total"] for row in answer["predictions"]] == [3, 7]
    wrapped = {"instances": [{"b64": picture()}]}
    assert post(http, "/v1/models/picture:predict", wrapped) == {"predictions": [[7, 5]]}
