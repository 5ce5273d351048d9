"""A public client over gRPC, sync, asyncio and in streams: everything it can ask is answered."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from salver.oip.datatypes import DATATYPES
from tests.protocols.test_triton_http import values

triton = pytest.importorskip("tritonclient.grpc")
triton_aio = pytest.importorskip("tritonclient.grpc.aio")
shm = pytest.importorskip("tritonclient.utils.shared_memory")

SHAPES = ([1], [0, 3], [2, 3], [64, 1024])


@pytest.fixture(scope="module")
def client(grpc_address: str) -> Iterator[Any]:
    client = triton.InferenceServerClient(grpc_address)
    yield client
    client.close()


def tensor(name: str, array: Any, datatype: str) -> Any:
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


ONE = np.ones(1, "f4")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_every_datatype_comes_back_equal(client: Any, datatype: str, shape: list[int]) -> None:
    array = values(datatype, shape)
    found = client.infer("identity", [tensor("x", array, datatype)]).as_numpy("output-0")
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes() or (found == array).all()


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("identity")
    assert client.is_model_ready("versioned", "10")
    server = client.get_server_metadata()
    assert server.name == "salver"
    assert "system_shared_memory" in server.extensions
    assert [i.name for i in client.get_model_metadata("add_sub").inputs] == ["a", "b"]
    config = client.get_model_config("add_sub").config
    assert [output.name for output in config.output] == ["sum", "difference"]
    assert client.get_model_config("count").config.model_transaction_policy.decoupled
    index = client.get_model_repository_index().models
    assert {("identity", "READY"), ("double", "READY")} <= {(e.name, e.state) for e in index}


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compression(client: Any, coding: str) -> None:
    array = np.zeros((100, 100), "f4")
    answer = client.infer("identity", [tensor("x", array, "FP32")], compression_algorithm=coding)
    assert (answer.as_numpy("output-0") == array).all()


def test_several_inputs_outputs_parameters_and_ids(client: Any) -> None:
    a, b = np.ones((500, 4), "f4"), np.arange(2000, dtype="f4").reshape(500, 4)
    inputs = [tensor("a", a, "FP32"), tensor("b", b, "FP32")]
    answer = client.infer(
        "add_sub", inputs, request_id="abc", priority=1, timeout=1_000_000, parameters={"tag": "x"}
    )
    assert answer.get_response().id == "abc"
    assert (answer.as_numpy("sum") == a + b).all()
    assert (answer.as_numpy("difference") == a - b).all()
    wanted = [triton.InferRequestedOutput("difference")]
    (output,) = client.infer("add_sub", inputs, outputs=wanted).get_response().outputs
    assert output.name == "difference"
    best = client.infer(
        "scores",
        [tensor("x", np.array([0.1, 0.9], "f4"), "FP32")],
        outputs=[triton.InferRequestedOutput("output-0", class_count=1)],
    )
    assert best.as_numpy("output-0").tolist() == [b"0.900000:1:dog"]
    version = client.infer("versioned", [tensor("x", np.array([1]), "INT64")], "1")
    assert version.as_numpy("output-0").tolist() == [2]
    assert version.get_response().model_version == "1"


def test_calls_made_in_the_background(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    for _ in "123":
        client.async_infer(
            "identity",
            [tensor("x", ONE, "FP32")],
            lambda result, error: answers.put((result, error)),
        )
    for _ in "123":
        result, error = answers.get(timeout=20)
        assert error is None
        assert result.as_numpy("output-0").tolist() == [1]


@pytest.mark.parametrize(
    ("model", "name", "code", "text"),
    [
        ("nobody", "x", "NOT_FOUND", "Model 'nobody' is not known"),
        ("identity", "y", "INVALID_ARGUMENT", r"\$.inputs\[0\].name: unknown input 'y'"),
        ("raises", "x", "INTERNAL", "ValueError: cannot do 1.0"),
        ("count", "x", "INVALID_ARGUMENT", "unknown input"),
    ],
)
def test_errors_have_their_codes(client: Any, model: str, name: str, code: str, text: str) -> None:
    with pytest.raises(Exception, match=text) as raised:
        client.infer(model, [tensor(name, ONE, "FP32")])
    assert raised.value.status() == f"StatusCode.{code}"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "ask",
    ["is_model_ready", "get_model_metadata", "get_model_config", "get_inference_statistics",
     "load_model", "unload_model"],
)  # fmt: skip
def test_a_model_that_is_not_there_is_not_found(client: Any, ask: str) -> None:
    with pytest.raises(Exception, match="'nobody' is not known") as raised:
        getattr(client, ask)("nobody")
    assert raised.value.status() == "StatusCode.NOT_FOUND"  # type: ignore[attr-defined]


class Stream:
    """A stream and what comes of it."""

    def __init__(self, client: Any, **options: Any) -> None:
        self._client = client
        self._answers: queue.Queue[Any] = queue.Queue()
        client.start_stream(lambda result, error: self._answers.put((result, error)), **options)

    def ask(self, model: str, *inputs: Any, id: str = "", **options: Any) -> None:  # noqa: A002
        self._client.async_stream_infer(model, list(inputs), request_id=id, **options)

    def answer(self) -> Any:
        result, error = self._answers.get(timeout=20)
        assert error is None, error
        return result

    def error(self) -> str:
        result, error = self._answers.get(timeout=20)
        assert result is None
        return str(error)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.stop_stream()


def words(*texts: str) -> Any:
    return tensor("text_input", np.array([text.encode() for text in texts], object), "BYTES")


def test_one_stream_for_many_models(client: Any) -> None:
    with Stream(client) as stream:
        stream.ask("count", words("a"), id="1")
        stream.ask("identity", tensor("x", values("FP32", [64, 1024]), "FP32"), id="2")
        stream.ask("nobody", tensor("x", ONE, "FP32"), id="3")
        stream.ask("double", tensor("x", np.ones(1), "FP64"), id="4")
        for number in range(3):
            item = stream.answer()
            assert item.get_response().id == "1"
            assert item.as_numpy("text_output").tolist() == [f"a {number}".encode()]
        assert (stream.answer().as_numpy("output-0") == values("FP32", [64, 1024])).all()
        assert "Model 'nobody' is not known" in stream.error()
        assert stream.answer().as_numpy("output-0").tolist() == [2.0]


def test_an_error_in_the_middle_of_a_stream_leaves_it_open(client: Any) -> None:
    with Stream(client) as stream:
        stream.ask("breaks", words("a"))
        assert stream.answer().as_numpy("text_output").tolist() == [b"a"]
        assert "RuntimeError: in the middle" in stream.error()
        stream.ask("count", words("b"))
        assert stream.answer().as_numpy("text_output").tolist() == [b"b 0"]


def test_the_end_of_the_answers_to_a_request_is_marked_where_that_is_asked_for(client: Any) -> None:
    def is_last(answer: Any) -> bool:
        parameters = answer.get_response().parameters
        return "triton_final_response" in parameters

    with Stream(client) as stream:
        stream.ask("count", words("a"), id="1", enable_empty_final_response=True)
        assert [is_last(stream.answer()) for _ in range(4)] == [False, False, False, True]
        stream.ask("identity", tensor("x", ONE, "FP32"), enable_empty_final_response=True)
        only = stream.answer()
        assert is_last(only)
        assert only.as_numpy("output-0").tolist() == [1]


def test_errors_end_the_stream_where_that_is_asked_for(client: Any) -> None:
    with Stream(client, headers={"triton_grpc_error": "true"}) as stream:
        stream.ask("nobody", tensor("x", ONE, "FP32"))
        assert "StatusCode.NOT_FOUND" in stream.error()


@pytest_asyncio.fixture
async def aio(grpc_address: str) -> AsyncIterator[Any]:
    client = triton_aio.InferenceServerClient(grpc_address)
    yield client
    await client.close()


async def test_the_asyncio_client(aio: Any) -> None:
    assert await aio.is_server_ready()
    array = values("BYTES", [2, 2])
    answer = await aio.infer("identity", [tensor("x", array, "BYTES")])
    assert (answer.as_numpy("output-0") == array).all()
    assert (await aio.get_model_metadata("identity")).name == "identity"
    with pytest.raises(Exception, match="is not known"):
        await aio.get_model_metadata("nobody")

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for text in "ab":
            yield {"model_name": "count", "inputs": [words(text)]}

    found = [
        (result.as_numpy("text_output").tolist(), error)
        async for result, error in aio.stream_infer(requests())
    ]
    assert found == [([f"{text} {n}".encode()], None) for text in "ab" for n in range(3)]


def test_statistics_of_one_version_and_of_all(client: Any) -> None:
    for number in range(3):
        client.infer("versioned", [tensor("x", np.array([number]), "INT64")], "10")
    (found,) = client.get_inference_statistics("versioned", "10").model_stats
    assert found.inference_count == found.inference_stats.success.count >= 3
    assert found.inference_stats.compute_infer.ns > 0
    with pytest.raises(Exception, match="cannot do"):
        client.infer("raises", [tensor("x", np.array([1.0]), "FP64")])
    everything = {one.name: one for one in client.get_inference_statistics().model_stats}
    assert everything["raises"].inference_stats.fail.count >= 1


def test_a_model_is_unloaded_and_loaded_again(client: Any) -> None:
    x = [tensor("x", np.array([1.0]), "FP64")]
    client.unload_model("double")
    assert not client.is_model_ready("double")
    assert not client.is_server_ready()
    for ask in (partial(client.infer, "double", x), partial(client.get_model_config, "double")):
        with pytest.raises(Exception, match="Model 'double' is not ready") as raised:
            ask()
        assert raised.value.status() == "StatusCode.UNAVAILABLE"  # type: ignore[attr-defined]
    (entry,) = [e for e in client.get_model_repository_index().models if e.name == "double"]
    assert (entry.state, entry.reason) == ("UNAVAILABLE", "unloaded")
    with pytest.raises(Exception, match="its configuration is in its code") as raised:
        client.load_model("double", config="{}", files={"file:1/x": b"\xff"})
    assert raised.value.status() == "StatusCode.UNIMPLEMENTED"  # type: ignore[attr-defined]
    client.load_model("double")
    assert client.infer("double", x).as_numpy("output-0").tolist() == [2.0]


def test_trace_and_log_settings(client: Any) -> None:
    def level(settings: Any) -> list[str]:
        return list(settings.settings["trace_level"].value)

    assert level(client.get_trace_settings()) == ["OFF"]
    changed = client.update_trace_settings("scores", {"trace_level": ["TIMESTAMPS"]})
    assert level(changed) == ["TIMESTAMPS"]
    assert level(client.get_trace_settings("identity")) == ["OFF"]
    assert level(client.update_trace_settings("scores", {"trace_level": None})) == ["OFF"]
    with pytest.raises(Exception, match="cannot be changed by clients: traces go to the log"):
        client.update_trace_settings(settings={"trace_file": "/tmp/x"})
    assert client.get_log_settings().settings["log_info"].bool_param is True
    changed = client.update_log_settings({"log_verbose_level": 1})
    assert changed.settings["log_verbose_level"].uint32_param == 1
    client.update_log_settings({"log_verbose_level": 0})
    with pytest.raises(Exception, match="did you mean 'log_info'"):
        client.update_log_settings({"log_inf": True})


def test_tensors_in_shared_memory(client: Any) -> None:
    array = np.arange(1000, dtype="f4")
    inputs = shm.create_shared_memory_region("in", "/salver_test_grpc_in", array.nbytes)
    outputs = shm.create_shared_memory_region("out", "/salver_test_grpc_out", array.nbytes)
    try:
        shm.set_shared_memory_region(inputs, [array])
        client.register_system_shared_memory("in", "/salver_test_grpc_in", array.nbytes)
        client.register_system_shared_memory("out", "/salver_test_grpc_out", array.nbytes)
        assert set(client.get_system_shared_memory_status().regions) == {"in", "out"}
        x = triton.InferInput("x", [1000], "FP32")
        x.set_shared_memory("in", array.nbytes)
        wanted = triton.InferRequestedOutput("output-0")
        wanted.set_shared_memory("out", array.nbytes)
        client.infer("identity", [x], outputs=[wanted])
        assert (shm.get_contents_as_numpy(outputs, "f4", [1000]) == array).all()
        client.unregister_system_shared_memory("in")
        with pytest.raises(Exception, match="region 'in' is not registered"):
            client.infer("identity", [x])
        client.unregister_system_shared_memory()
        assert not client.get_system_shared_memory_status().regions
    finally:
        shm.destroy_shared_memory_region(inputs)
        shm.destroy_shared_memory_region(outputs)


def test_gpu_memory_is_refused_by_name(client: Any) -> None:
    with pytest.raises(Exception, match="CUDA shared memory is not offered"):
        client.get_cuda_shared_memory_status()
