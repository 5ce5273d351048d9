"""The protocols over raw HTTP: bodies, statuses, paths, errors."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from salver import serve
from salver.oip.errors import InvalidResultError
from salver.replica.oip.headers import as_http
from tests.protocols import models

X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
BODY = {"inputs": [X]}


def infer(http: httpx.Client, model: str, body: Any, **more: Any) -> httpx.Response:
    return http.post(f"/v2/models/{model}/infer", json=body, **more)


def error_of(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert list(found) == ["error"]
    text: str = found["error"]
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_server_says_what_it_is(http: httpx.Client, slash: str) -> None:
    about = http.get(f"/v2{slash}").json()
    assert about["name"] == "salver"
    assert "binary_tensor_data" in about["extensions"]
    assert http.get(f"/v2/health/live{slash}").json() == {"live": True}
    assert http.get(f"/v2/health/ready{slash}").json() == {"ready": True, "live": True}
    assert http.get(f"/v1/models/identity{slash}").json() == {"name": "identity", "ready": True}
    assert http.get(f"/v2/models/identity/ready{slash}").json()["ready"] is True
    assert "identity" in http.get(f"/v2/models{slash}").json()["models"]


def test_head_answers_as_get_does_without_a_body(http: httpx.Client) -> None:
    for path in ("/v2", "/v2/models/identity", "/v2/models/identity/ready"):
        answer = http.head(path)
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) == len(http.get(path).content)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_model_says_what_it_takes_and_gives(http: httpx.Client, slash: str) -> None:
    found = http.get(f"/v2/models/add_sub{slash}").json()
    assert [(t["name"], t["datatype"], t["shape"]) for t in found["inputs"]] == [
        ("a", "FP32", [-1, 4]),
        ("b", "FP32", [-1, 4]),
    ]
    assert [t["name"] for t in found["outputs"]] == ["sum", "difference"]
    assert http.get(f"/v2/models/versioned{slash}").json()["versions"] == ["1", "10"]
    config = http.get(f"/v2/models/count/config{slash}").json()
    assert config["model_transaction_policy"] == {"decoupled": True}
    assert config["input"][1] == {
        "name": "n", "data_type": "TYPE_INT64", "dims": [1], "is_shape_tensor": False,
        "optional": True,
    }  # fmt: skip


@pytest.mark.parametrize("slash", ["", "/"])
def test_inference_echoes_the_id(http: httpx.Client, slash: str) -> None:
    answer = http.post(f"/v2/models/identity/infer{slash}", json=BODY | {"id": "7"}).json()
    assert answer["id"] == "7"
    assert answer["model_name"] == "identity"
    assert answer["outputs"][0]["data"] == [1, 2, 3, 4]
    assert "id" not in infer(http, "identity", BODY).json()


def test_the_content_type_does_not_matter(http: httpx.Client) -> None:
    text = json.dumps(BODY)
    for kind in ("application/x-www-form-urlencoded", "text/plain", ""):
        answer = http.post(
            "/v2/models/identity/infer", content=text, headers={"content-type": kind}
        )
        assert answer.status_code == 200


def test_versions_are_chosen_by_the_path_and_the_highest_is_the_default(
    http: httpx.Client,
) -> None:
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [5]}]}

    def answered(path: str) -> tuple[str, int]:
        found = http.post(f"/v2/models/versioned{path}/infer", json=body).json()
        return found["model_version"], found["outputs"][0]["data"][0]

    assert answered("/versions/1") == ("1", 6)
    assert answered("/versions/10") == answered("") == ("10", 15)
    missing = http.post("/v2/models/versioned/versions/2/infer", json=body)
    assert error_of(missing, 404) == "Model 'versioned' has no version '2'."


def test_metadata_name_the_versions_of_other_deployments_too(http: httpx.Client) -> None:
    def versions() -> Any:
        return http.get("/v2/models/versioned").json()["versions"]

    assert versions() == ["1", "10"]
    serve.run(models.third.bind(), name="third", route_prefix=None)
    while versions() != ["1", "10", "3"]:  # replicas are told a moment later
        pass
    serve.delete("third")
    while versions() != ["1", "10"]:
        pass


def test_only_the_outputs_that_were_asked_for_come_back(http: httpx.Client) -> None:
    inputs = [{"name": n, "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]} for n in "ab"]
    answer = infer(http, "add_sub", {"inputs": inputs, "outputs": [{"name": "difference"}]})
    assert [o["name"] for o in answer.json()["outputs"]] == ["difference"]
    wrong = infer(http, "add_sub", {"inputs": inputs, "outputs": [{"name": "product"}]})
    assert "no output 'product'; it gives 'sum', 'difference'" in error_of(wrong, 400)


def test_a_raw_request_is_the_one_input_and_is_answered_in_kind(http: httpx.Client) -> None:
    values = np.arange(6, dtype="<f4")
    answer = http.post(
        "/v2/models/scores/infer",
        content=values.tobytes(),
        headers={"Inference-Header-Content-Length": "0"},
    )
    length = int(answer.headers["inference-header-content-length"])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert json.loads(answer.content[:length])["outputs"][0]["parameters"]["binary_data_size"] == 24
    assert answer.content[length:] == values.tobytes()


@pytest.mark.parametrize("size", [4, 150_000])
def test_binary_in_and_out_whatever_the_size(http: httpx.Client, size: int) -> None:
    values = np.random.default_rng(0).random(size, dtype="<f4")
    binary = {"binary_data_size": values.nbytes}
    tensor = {"name": "x", "shape": [size], "datatype": "FP32", "parameters": binary}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    answer = http.post(
        "/v2/models/identity/infer",
        content=head + values.tobytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    length = int(answer.headers["inference-header-content-length"])
    assert answer.content[length:] == values.tobytes()


def test_a_body_in_chunks_is_a_body(http: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        text = json.dumps(BODY).encode()
        yield text[:10]
        yield text[10:]

    for model, path in (("identity", "infer"), ("scores", "infer")):
        answer = http.post(f"/v2/models/{model}/{path}", content=pieces())
        assert answer.json()["outputs"][0]["data"] == [1, 2, 3, 4]
    index = http.post("/v2/repository/index", content=iter([b'{"ready"', b": true}"]))
    assert len(index.json()) > 10


def test_a_chunked_body_that_comes_with_its_head_is_read_once(server: str) -> None:
    url = httpx.URL(server)
    with socket.create_connection((url.host, url.port), timeout=60) as sock:
        sock.sendall(
            b"POST /v2/repository/index HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b'Transfer-Encoding: chunked\r\n\r\n10\r\n{"ready": false}\r\n0\r\n\r\n'
        )
        assert sock.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data)[2:-4]),
    ],
)
def test_bodies_may_be_compressed_both_ways(http: httpx.Client, coding: str, pack: Any) -> None:
    values = [float(number % 10) for number in range(5000)]
    body = {"inputs": [{"name": "x", "shape": [5000], "datatype": "FP32", "data": values}]}
    answer = http.post(
        "/v2/models/identity/infer",
        content=pack(json.dumps(body).encode()),
        headers={"content-encoding": coding, "accept-encoding": coding},
    )
    assert answer.headers["content-encoding"] == coding
    assert answer.headers["vary"] == "accept-encoding"
    assert answer.json()["outputs"][0]["data"] == values


def test_what_is_not_asked_for_or_does_not_pay_is_not_compressed(http: httpx.Client) -> None:
    small = infer(http, "identity", BODY, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in small.headers
    plain = infer(http, "identity", BODY, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


def test_a_stream_comes_as_events(http: httpx.Client) -> None:
    with http.stream(
        "POST", "/v2/models/count/generate_stream", json={"text_input": "no", "n": 2, "other": 1}
    ) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        events = [line for line in answer.iter_lines() if line]
    assert [json.loads(e.removeprefix("data: "))["text_output"] for e in events] == ["no 0", "no 1"]


def test_generate_takes_one_answer_only(http: httpx.Client) -> None:
    one = http.post("/v2/models/count/generate", json={"text_input": "a", "n": 1})
    assert one.json() == {"model_name": "count", "text_output": "a 0"}
    many = http.post("/v2/models/count/generate", json={"text_input": "a"})
    assert "use generate_stream" in error_of(many, 400)
    none = http.post("/v2/models/count/generate", json={"text_input": "a", "n": 0})
    assert "empty stream" in error_of(none, 400)


def test_a_stream_that_breaks_says_so_in_its_last_event(http: httpx.Client) -> None:
    text = http.post("/v2/models/breaks/generate_stream", json={"text_input": "a"}).text
    assert text.split("\n\n")[1] == 'data: {"error":"RuntimeError: in the middle"}'
    early = http.post("/v2/models/breaks/generate_stream", json={})
    assert "input 'text_input' is missing" in error_of(early, 400)


def test_infer_stream_sends_inference_responses(http: httpx.Client) -> None:
    body = {"inputs": [{"name": "text_input", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}
    text = http.post("/v2/models/count/infer_stream", json=body).text
    items = [json.loads(event.removeprefix("data: ")) for event in text.strip().split("\n\n")]
    assert [item["outputs"][0]["data"] for item in items] == [["a 0"], ["a 1"], ["a 2"]]


def test_classification_names_the_best(http: httpx.Client) -> None:
    tensor = {"name": "x", "shape": [3], "datatype": "FP32", "data": [0.1, 0.7, 0.2]}
    wanted = [{"name": "output-0", "parameters": {"classification": 2}}]
    answer = infer(http, "scores", {"inputs": [tensor], "outputs": wanted}).json()
    assert answer["outputs"][0]["data"] == ["0.700000:1:dog", "0.200000:2:cow"]


def test_v1_takes_a_version_as_v2_does(http: httpx.Client) -> None:
    def post(path: str) -> httpx.Response:
        return http.post(f"/v1/models/versioned{path}", json={"instances": [1, 2]})

    assert post("/versions/1:predict").json() == {"predictions": [2, 3]}
    assert (
        post(":predict").json() == post("/versions/10:predict").json() == {"predictions": [11, 12]}
    )
    assert error_of(post("/versions/2:predict"), 404) == "Model 'versioned' has no version '2'."
    assert error_of(post("/versions/1:explain"), 501)
    for path, status in (("", 200), ("/versions/1", 200), ("/versions/2", 404)):
        assert http.get(f"/v1/models/versioned{path}").status_code == status


def test_v1_rows_and_columns(http: httpx.Client) -> None:
    rows = http.post("/v1/models/scores:predict", json={"instances": [[1.0, 2.0]]})
    assert rows.json() == {"predictions": [[1.0, 2.0]]}
    named = [{"a": [1, 1, 1, 1], "b": [1, 0, 1, 0]}]
    pairs = http.post("/v1/models/add_sub:predict", json={"instances": named})
    assert pairs.json() == {
        "predictions": [{"sum": [2.0, 1.0, 2.0, 1.0], "difference": [0.0, 1.0, 0.0, 1.0]}]
    }
    one = http.post("/v1/models/double:predict", json={"instances": [1, 2, 3]})
    assert one.json() == {"predictions": [2.0, 4.0, 6.0]}
    assert http.post("/v1/models/double:predict", json={"instances": []}).json() == {
        "predictions": []
    }


def test_v1_explain_needs_an_endpoint_of_that_name(http: httpx.Client) -> None:
    answer = http.post("/v1/models/scores:explain", json={"instances": [[1.0]]})
    assert "explains nothing" in error_of(answer, 501)


def test_parameters_reach_a_model_that_takes_the_request(http: httpx.Client) -> None:
    body = {"inputs": [], "parameters": {"b": 1, "a": True}}
    assert infer(http, "raw", body).json()["outputs"][0]["data"] == ["a", "b"]


@pytest.mark.parametrize(
    ("parameters", "headers"),
    [
        ({}, {}),
        ({"binary_data_output": True}, {}),
        ({"headers": {"x-ask": "the client does not say it here"}}, {}),
        ({}, {"accept-encoding": "gzip"}),
    ],
)
def test_a_model_that_takes_the_request_sees_its_headers_and_adds_some_to_the_answer(
    http: httpx.Client, parameters: dict[str, Any], headers: dict[str, str]
) -> None:
    body = {"inputs": [], "parameters": parameters}
    answer = infer(http, "headers", body, headers={"X-Ask": "how", **headers})
    assert (answer.status_code, answer.headers["x-answer"]) == (200, "how")
    if not parameters.get("binary_data_output"):
        assert answer.json()["parameters"] == {"n": 1}


def test_every_form_of_a_call_has_headers(http: httpx.Client) -> None:
    asked = {"X-Ask": "how"}
    answer = http.post("/v2/models/headers/generate", json={}, headers=asked)
    assert (answer.headers["x-answer"], "headers" in answer.json()) == ("how", False)
    assert http.post("/models/headers", json={}, headers=asked).headers["x-answer"] == "how"


@pytest.mark.parametrize("value", ["a\nb", "a\0", "\u20ac"])
def test_a_header_that_cannot_be_sent_is_an_error_of_the_model(value: str) -> None:
    with pytest.raises(InvalidResultError, match=r"^Header 'x': .* cannot be sent\.$"):
        as_http({"x": value})


def test_scalars_may_be_parameters(http: httpx.Client) -> None:
    body = {
        "inputs": [{"name": "text_input", "shape": [1], "datatype": "BYTES", "data": ["a"]}],
        "parameters": {"n": 1},
    }
    assert infer(http, "count", body).json()["outputs"][0]["data"] == ["a 0"]


def test_a_def_that_returns_a_coroutine_is_awaited(http: httpx.Client) -> None:
    assert http.post("/models/awaited", json={"x": 3}).json() == 3


def test_one_function_in_plain_json_in_v2_and_in_v1(http: httpx.Client) -> None:
    assert http.post("/double", json={"x": 1.5}).json() == 3.0
    assert http.post("/double", json=1.5).json() == 3.0
    tensor = {"name": "x", "shape": [1], "datatype": "FP64", "data": [1.5]}
    assert infer(http, "double", {"inputs": [tensor]}).json()["outputs"][0]["data"] == [3.0]
    assert http.get("/double").json() == {"status": "alive", "models": ["double"]}


def test_plain_json_of_every_kind_of_argument(http: httpx.Client) -> None:
    def post(name: str, body: Any) -> Any:
        answer = http.post(f"/models/{name}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    person = {"person": {"name": "Ada", "age": 36}, "point": {"x": 2, "y": 0}}
    assert post("typed", person) == {"name": "Ada", "x": 2.0, "note": None}
    assert post("typed", person | {"scale": 2, "note": "hi"}) == {
        "name": "Ada", "x": 4.0, "note": "hi",
    }  # fmt: skip
    assert post("upper", {"words": ["a", "b"]}) == ["A", "B"]
    assert post("add_sub", {"a": [[1, 2, 3, 4]], "b": [[0, 0, 0, 1]]})["sum"] == [[1, 2, 3, 5]]


def test_plain_json_of_a_stream_is_events(http: httpx.Client) -> None:
    answer = http.post("/models/count", json={"text_input": "a", "n": 2})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == 'data: "a 0"\n\ndata: "a 1"\n\n'


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/v2/models/nobody/infer", {}, 404, "Model 'nobody' is not known."),
        ("/v2/models/identity/nothing", {}, 404, "is not part of the protocol"),
        ("/v2/nothing", {}, 404, "is not part of the protocol"),
        ("/v2/models/identity/infer", {}, 400, "$: Object missing required field `inputs`"),
        ("/v2/models/identity/infer", {"inputs": []}, 400, "input 'x' is missing"),
        (
            "/v2/models/identity/infer",
            {"inputs": [X | {"shape": [5]}]},
            400,
            "$.inputs[0].data: 4 elements are given, but the shape [5] holds 5",
        ),
        (
            "/v2/models/identity/infer",
            {"inputs": [X | {"datatype": "FP31"}]},
            400,
            "$.inputs[0].datatype: unknown datatype 'FP31'",
        ),
        (
            "/v2/models/identity/infer",
            {"inputs": [X | {"shape": [2**40, 2**40]}]},
            400,
            "$.inputs[0].shape",
        ),
        ("/v2/models/identity/infer", {"inputs": [X, X]}, 400, "$.inputs[1].name: 'x' appears"),
        (
            "/v2/models/identity/infer",
            {"inputs": [X | {"name": "y"}]},
            400,
            "$.inputs[0].name: unknown input 'y'",
        ),
        (
            "/v2/models/scores/infer",
            {"inputs": [X | {"datatype": "FP64"}]},
            400,
            "$.inputs[0].datatype: expected FP32, got FP64",
        ),
        (
            "/v2/models/identity/infer",
            {"inputs": [X | {"data": [[1, 2], [3]], "shape": [2, 2]}]},
            400,
            "$.inputs[0].data",
        ),
        (
            "/v2/models/identity/infer",
            {"inputs": [X | {"parameters": {"content_type": "nb"}}]},
            400,
            "$.inputs[0].parameters.content_type: unknown content type 'nb'",
        ),
        (
            "/v2/models/identity/infer",
            {"inputs": [X], "parameters": {"content_type": "nb"}},
            400,
            "$.parameters.content_type: unknown content type 'nb'",
        ),
        (
            "/v2/models/raises/infer",
            {"inputs": [], "parameters": {"x": 1}, "outputs": [{"name": "y"}]},
            400,
            "$.outputs[0].name: the model gives no output 'y'; it gives 'output-0'",
        ),
        (
            "/v2/models/scores/infer",
            {"inputs": [X], "outputs": [{"name": "output-0"}, {"name": "output-0"}]},
            400,
            "$.outputs[1].name: 'output-0' is asked for twice",
        ),
        (
            "/v2/models/scores/infer",
            {"inputs": [X], "outputs": [{"name": "output-0", "parameters": {"classification": 0}}]},
            400,
            "$.outputs[0].parameters.classification: classification of 'output-0' needs numbers",
        ),
        ("/v2/models/raises/infer", {"inputs": [], "parameters": {"x": 1}}, 500, "cannot do 1.0"),
        ("/v1/models/double:predict", {"rows": []}, 400, 'expected either "instances"'),
        ("/v1/models/double:nothing", {}, 404, "not part of the protocol"),
        ("/double", {"y": 1}, 400, "$: unknown input 'y'; the inputs are x"),
        ("/models/nothing", {}, 404, "There is no endpoint 'nothing' here."),
    ],
)
def test_what_is_wrong_is_said_in_the_protocol_s_own_form(
    http: httpx.Client, path: str, body: Any, status: int, text: str
) -> None:
    answer = http.post(path, json=body)
    assert text in error_of(answer, status)


def test_a_wrong_method_is_told_the_right_one(http: httpx.Client) -> None:
    for method, path, allowed in (
        ("GET", "/v2/models/identity/infer", "POST"),
        ("POST", "/v2/models/identity", "GET"),
        ("DELETE", "/v2", "GET"),
        ("PUT", "/double", "POST"),
    ):
        answer = http.request(method, path)
        assert allowed in error_of(answer, 405)
        assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("content", "headers", "text"),
    [
        (b"{", {}, "no valid JSON"),
        (b"{}{}", {"Inference-Header-Content-Length": "9"}, "the body has only 4 bytes"),
        (b"{}", {"Inference-Header-Content-Length": "-1"}, "must be a number of bytes"),
        (b"{}", {"Content-Encoding": "br"}, "content encoding 'br' is not known"),
        (b"{}", {"Content-Encoding": "gzip"}, "the body is no gzip"),
    ],
)
def test_bytes_that_lie_are_refused(
    http: httpx.Client, content: bytes, headers: dict[str, str], text: str
) -> None:
    answer = http.post("/v2/models/identity/infer", content=content, headers=headers)
    assert text in error_of(answer, 501 if "br" in headers.values() else 400)


def test_the_index_names_every_model(http: httpx.Client) -> None:
    found = http.post("/v2/repository/index").json()
    assert {"name": "versioned", "version": "10", "state": "READY", "reason": ""} in found
    assert http.post("/v2/repository/any/index", json={"ready": True}).json() == found


def test_pages_and_documents_are_there_for_people_and_tools(http: httpx.Client) -> None:
    assert "/v2/models/versioned/versions/10/docs" in http.get("/v2/docs").text
    page = http.get("/v2/models/identity/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "What comes in goes out." in page.text
    document = http.get("/v2/models/double/docs/dataplane.json").json()
    assert "/double/" in document["paths"]
    assert "/v2/models/double/infer" in document["paths"]
    assert "/v2/models/{model}/infer" in http.get("/v2/docs/dataplane.json").json()["paths"]


def test_each_row_of_a_request_is_counted_as_an_inference(http: httpx.Client) -> None:
    def told() -> tuple[int, int, int]:
        (found,) = http.get("/v2/models/double/stats").json()["model_stats"]
        success = found["inference_stats"]["success"]["count"]
        return found["inference_count"], found["execution_count"], success

    before = told()
    assert http.post("/v1/models/double:predict", json={"instances": [1, 2, 3]}).status_code == 200
    assert [b - a for a, b in zip(before, told(), strict=True)] == [3, 3, 1]


def test_a_batched_method_takes_single_items_and_batches_the_rows_of_a_request(
    http: httpx.Client,
) -> None:
    about = http.get("/v2/models/batched").json()
    assert [(t["name"], t["datatype"], t["shape"]) for t in about["inputs"]] == [
        ("x", "FP64", [1]),
        ("word", "BYTES", [1]),
    ]
    rows = [{"x": n, "word": "w"} for n in range(3)]
    answer = http.post("/v1/models/batched:predict", json={"instances": rows})
    assert answer.json() == {"predictions": [f"{n}.0 w of 3" for n in range(3)]}
    assert http.post("/models/batched", json=rows[1]).json() == "1.0 w of 1"
    (told,) = http.get("/v2/models/batched/stats").json()["model_stats"]
    sizes = {one["batch_size"]: one["compute_infer"]["count"] for one in told["batch_stats"]}
    assert told["inference_count"] == sum(size * count for size, count in sizes.items())
    assert told["execution_count"] == sum(sizes.values())
    assert sizes[1] >= 1
    assert max(sizes) > 1
    assert told["inference_count"] >= len(rows) + 1
    assert told["inference_stats"]["queue"]["count"] == told["inference_count"]
    assert told["inference_stats"]["queue"]["ns"] > 0
    # Of a batch that fails each request is told as such, and the batch is none that was done.
    bad = [{"x": n, "word": "fail"} for n in range(3)]
    assert http.post("/v1/models/batched:predict", json={"instances": bad}).status_code == 500
    assert http.post("/models/batched", json=bad[0]).status_code == 500
    (later,) = http.get("/v2/models/batched/stats").json()["model_stats"]
    failed = [one["inference_stats"]["fail"]["count"] for one in (told, later)]
    assert failed[1] - failed[0] == 2
    assert later["batch_stats"] == told["batch_stats"]
    assert later["execution_count"] == told["execution_count"]
    stream = http.post("/v2/models/batched_stream/generate_stream", json={"text_input": "a"})
    assert [line for line in stream.text.split("\n\n") if line] == [
        'data: {"model_name":"batched_stream","text_output":"a 0"}',
        'data: {"model_name":"batched_stream","text_output":"a 1"}',
    ]
