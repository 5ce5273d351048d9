"""A public client over HTTP, sync and asyncio: everything that it can ask is answered."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any, cast

import httpx
import numpy as np
import pytest

from salver.oip.datatypes import DATATYPES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    gevent = pytest.importorskip("gevent")
    triton = pytest.importorskip("tritonclient.http")
    triton_aio = pytest.importorskip("tritonclient.http.aio")
    shm = pytest.importorskip("tritonclient.utils.shared_memory")
    ml_dtypes = pytest.importorskip("ml_dtypes")

SHAPES = ([1], [0, 3], [2, 3], [64, 1024])


@pytest.fixture(scope="module", autouse=True)
def _gevent() -> None:
    """The client's event loop stays until this process ends: it is there before leaks are."""
    gevent.sleep(0)


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[Any]:
    client = triton.InferenceServerClient(server.removeprefix("http://"), concurrency=2)
    yield client
    client.close()


def values(datatype: str, shape: list[int]) -> Any:
    count = int(np.prod(shape))
    if datatype == "BYTES":
        items = [f"é{n}\0".encode() for n in range(count)]
        array = np.empty(count, dtype=object)
        array[:] = items
        return array.reshape(shape)
    numbers = np.arange(count) % 2 if datatype == "BOOL" else np.arange(count) % 100
    if datatype == "BF16":
        return numbers.astype(ml_dtypes.bfloat16).reshape(shape)
    return numbers.astype(DATATYPES[datatype].dtype).reshape(shape)


def tensor(module: Any, name: str, array: Any, datatype: str, *, binary: bool = True) -> Any:
    made = module.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_every_datatype_comes_back_equal(client: Any, datatype: str, shape: list[int]) -> None:
    array = values(datatype, shape)
    for binary_in in (True, False):
        for binary_out in (True, False):
            if datatype in ("FP16", "BF16") and not (binary_in and binary_out):
                continue  # the client refuses these in JSON
            answer = client.infer(
                "identity",
                [tensor(triton, "x", array, datatype, binary=binary_in)],
                outputs=[triton.InferRequestedOutput("output-0", binary_data=binary_out)],
            )
            found = answer.as_numpy("output-0")
            assert found.shape == array.shape
            if datatype == "BYTES" and not binary_out:
                found = np.array([e.encode() for e in found.ravel()], object).reshape(shape)
            assert found.tobytes() == array.tobytes() or (found == array).all()


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("identity")
    assert client.is_model_ready("versioned", "10")
    assert not client.is_model_ready("versioned", "11")
    assert client.get_server_metadata()["name"] == "salver"
    assert client.get_model_metadata("add_sub")["inputs"][0]["name"] == "a"
    assert client.get_model_config("add_sub")["output"][1]["name"] == "difference"
    names = {entry["name"] for entry in client.get_model_repository_index()}
    assert {"identity", "double", "versioned"} <= names


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compression_in_both_directions(client: Any, coding: str) -> None:
    array = np.zeros((100, 100), "f4")
    answer = client.infer(
        "identity",
        [tensor(triton, "x", array, "FP32")],
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    assert (answer.as_numpy("output-0") == array).all()


def test_several_inputs_outputs_parameters_and_ids(client: Any) -> None:
    a, b = np.ones((2, 4), "f4"), np.arange(8, dtype="f4").reshape(2, 4)
    answer = client.infer(
        "add_sub",
        [tensor(triton, "a", a, "FP32"), tensor(triton, "b", b, "FP32", binary=False)],
        request_id="abc",
        priority=1,
        timeout=1_000_000,
        parameters={"tag": "x"},
    )
    assert answer.get_response()["id"] == "abc"
    assert (answer.as_numpy("sum") == a + b).all()
    assert (answer.as_numpy("difference") == a - b).all()
    best = client.infer(
        "scores",
        [tensor(triton, "x", np.array([0.1, 0.9], "f4"), "FP32")],
        outputs=[triton.InferRequestedOutput("output-0", class_count=1)],
    )
    assert best.as_numpy("output-0").tolist() == [b"0.900000:1:dog"]


def test_calls_made_in_the_background(client: Any) -> None:
    array = np.ones(3, "f4")
    waiting = [client.async_infer("identity", [tensor(triton, "x", array, "FP32")]) for _ in "123"]
    assert all((one.get_result().as_numpy("output-0") == array).all() for one in waiting)


def test_errors_are_told(client: Any) -> None:
    with pytest.raises(Exception, match="Model 'nobody' is not known") as raised:
        client.infer("nobody", [tensor(triton, "x", np.ones(1, "f4"), "FP32")])
    assert cast("Any", raised.value).status() == "404"
    with pytest.raises(Exception, match=r"\$.inputs\[0\].name: unknown input 'y'"):
        client.infer("identity", [tensor(triton, "y", np.ones(1, "f4"), "FP32")])


async def test_the_asyncio_client(server: str) -> None:
    client = triton_aio.InferenceServerClient(server.removeprefix("http://"))
    try:
        assert await client.is_server_ready()
        array = values("BYTES", [2, 2])
        answer = await client.infer("identity", [tensor(triton_aio, "x", array, "BYTES")])
        assert (answer.as_numpy("output-0") == array).all()
        assert (await client.get_model_metadata("identity"))["name"] == "identity"
        with pytest.raises(Exception, match="is not known"):
            await client.get_model_metadata("nobody")
    finally:
        await client.close()


def test_bodies_that_it_makes_and_parses_offline(client: Any, server: str) -> None:
    body, length = client.generate_request_body([tensor(triton, "x", values("FP16", [5]), "FP16")])
    answer = httpx.post(
        f"{server}/v2/models/identity/infer",
        content=body,
        headers={"Inference-Header-Content-Length": str(length)},
    )
    read = client.parse_response_body(
        answer.content, header_length=int(answer.headers["inference-header-content-length"])
    )
    assert (read.as_numpy("output-0") == values("FP16", [5])).all()
    assert json.loads(answer.content[: int(answer.headers["inference-header-content-length"])])


def test_statistics_of_one_version_and_of_all(client: Any) -> None:
    for number in range(3):
        client.infer("versioned", [tensor(triton, "x", np.array([number]), "INT64")], "10")
    (found,) = client.get_inference_statistics("versioned", "10")["model_stats"]
    assert found["inference_count"] == found["inference_stats"]["success"]["count"] >= 3
    assert found["inference_stats"]["compute_infer"]["ns"] > 0
    assert found["last_inference"] > 0
    with pytest.raises(Exception, match="cannot do"):
        client.infer("raises", [tensor(triton, "x", np.array([1.0]), "FP64")])
    everything = client.get_inference_statistics()["model_stats"]
    (failed,) = [one for one in everything if one["name"] == "raises"]
    assert failed["inference_stats"]["fail"]["count"] >= 1


def test_a_model_is_unloaded_and_loaded_again(client: Any) -> None:
    x = [tensor(triton, "x", np.array([1.0]), "FP64")]
    client.unload_model("double")
    assert not client.is_model_ready("double")
    assert not client.is_server_ready()
    with pytest.raises(Exception, match="Model 'double' is not ready"):
        client.infer("double", x)
    state = {entry["name"]: entry for entry in client.get_model_repository_index()}
    assert state["double"]["state"] == "UNAVAILABLE"
    assert state["double"]["reason"] == "unloaded"
    with pytest.raises(Exception, match="its configuration is in its code"):
        client.load_model("double", config="{}")
    client.load_model("double")
    assert client.infer("double", x).as_numpy("output-0").tolist() == [2.0]
    with pytest.raises(Exception, match="is not known"):
        client.load_model("nobody")


def test_trace_and_log_settings(client: Any) -> None:
    assert client.get_trace_settings()["trace_level"] == ["OFF"]
    changed = client.update_trace_settings("scores", {"trace_level": ["TIMESTAMPS"]})
    assert changed["trace_level"] == ["TIMESTAMPS"]
    assert client.get_trace_settings("identity")["trace_level"] == ["OFF"]
    client.infer("scores", [tensor(triton, "x", np.ones(1, "f4"), "FP32")])
    assert client.update_trace_settings("scores", {"trace_level": None})["trace_level"] == ["OFF"]
    with pytest.raises(Exception, match="cannot be changed by clients: traces go to the log"):
        client.update_trace_settings(settings={"trace_file": "/tmp/x"})
    assert client.get_log_settings()["log_info"] is True
    assert client.update_log_settings({"log_verbose_level": 1})["log_verbose_level"] == 1
    assert client.update_log_settings({"log_verbose_level": 0})["log_verbose_level"] == 0
    with pytest.raises(Exception, match="did you mean 'log_info'"):
        client.update_log_settings({"log_inf": True})


def test_tensors_in_shared_memory(client: Any) -> None:
    array = np.arange(1000, dtype="f4")
    inputs = shm.create_shared_memory_region("in", "/salver_test_in", array.nbytes)
    outputs = shm.create_shared_memory_region("out", "/salver_test_out", array.nbytes)
    try:
        shm.set_shared_memory_region(inputs, [array])
        client.register_system_shared_memory("in", "/salver_test_in", array.nbytes)
        client.register_system_shared_memory("out", "/salver_test_out", array.nbytes)
        assert len(client.get_system_shared_memory_status()) == 2
        assert client.get_system_shared_memory_status("in")[0]["byte_size"] == array.nbytes
        x = triton.InferInput("x", [1000], "FP32")
        x.set_shared_memory("in", array.nbytes)
        wanted = triton.InferRequestedOutput("output-0")
        wanted.set_shared_memory("out", array.nbytes)
        answer = client.infer("identity", [x], outputs=[wanted])
        place = answer.get_output("output-0")["parameters"]
        assert place["shared_memory_byte_size"] == array.nbytes
        assert (shm.get_contents_as_numpy(outputs, "f4", [1000]) == array).all()
        with pytest.raises(Exception, match="is registered already"):
            client.register_system_shared_memory("in", "/salver_test_in", 4)
        x.set_shared_memory("in", array.nbytes, offset=4)
        with pytest.raises(Exception, match="are outside of region 'in'"):
            client.infer("identity", [x])
        client.unregister_system_shared_memory("in")
        with pytest.raises(Exception, match="region 'in' is not registered"):
            client.infer("identity", [x])
        client.unregister_system_shared_memory()
        assert client.get_system_shared_memory_status() == []
        client.register_system_shared_memory("gone", "/salver_no_such_thing", 4)
        x = triton.InferInput("x", [1], "FP32")
        x.set_shared_memory("gone", 4)
        with pytest.raises(Exception, match="cannot be opened"):
            client.infer("identity", [x])
        client.unregister_system_shared_memory()
    finally:
        shm.destroy_shared_memory_region(inputs)
        shm.destroy_shared_memory_region(outputs)


def test_gpu_memory_is_refused_by_name(client: Any) -> None:
    with pytest.raises(Exception, match="CUDA shared memory is not offered"):
        client.get_cuda_shared_memory_status()
