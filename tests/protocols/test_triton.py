"""A public client over HTTP and over gRPC: what both can ask is answered alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver import serve
from salver.launch import Instance
from salver.oip.datatypes import DATATYPES
from tests.protocols.triton import JUDGES, ONE, SHAPES, Judge, values

shm = import_module("tritonclient.utils.shared_memory")


@pytest.fixture(scope="module", params=JUDGES)
def judge(request: pytest.FixtureRequest, doors: Instance) -> Iterator[Judge]:
    addresses = {"http": doors.url.removeprefix("http://"), "grpc": doors.grpc_address}
    judge = JUDGES[request.param](addresses[request.param])
    yield judge
    judge.client.close()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_every_datatype_comes_back_equal(judge: Judge, datatype: str, shape: list[int]) -> None:
    array = values(datatype, shape)
    found = judge.infer("identity", [judge.tensor("x", array, datatype)]).as_numpy("output-0")
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes() or (found == array).all()


def test_health_and_metadata(judge: Judge) -> None:
    assert judge.client.is_server_live()
    assert judge.client.is_server_ready()
    assert judge.client.is_model_ready("identity")
    assert judge.client.is_model_ready("versioned", "10")
    server = judge.told("get_server_metadata")
    assert server["name"] == "salver"
    assert "system_shared_memory" in server["extensions"]
    inputs = judge.told("get_model_metadata", "add_sub")["inputs"]
    assert [one["name"] for one in inputs] == ["a", "b"]
    outputs = judge.told("get_model_config", "add_sub")["output"]
    assert [one["name"] for one in outputs] == ["sum", "difference"]
    assert judge.told("get_model_config", "count")["model_transaction_policy"]["decoupled"]
    index = {one["name"]: one["state"] for one in judge.told("get_model_repository_index")}
    assert index["identity"] == index["double"] == "READY"


def test_several_inputs_outputs_parameters_and_ids(judge: Judge) -> None:
    a, b = np.ones((500, 4), "f4"), np.arange(2000, dtype="f4").reshape(500, 4)
    inputs = [judge.tensor("a", a, "FP32"), judge.tensor("b", b, "FP32")]
    answer = judge.infer(
        "add_sub", inputs, request_id="abc", priority=1, timeout=1_000_000, parameters={"tag": "x"}
    )
    assert judge.outcome(answer)["id"] == "abc"
    assert (answer.as_numpy("sum") == a + b).all()
    assert (answer.as_numpy("difference") == a - b).all()
    only = judge.infer("add_sub", inputs, outputs=[judge.wanted("difference")])
    assert [output["name"] for output in judge.outcome(only)["outputs"]] == ["difference"]


def test_the_best_classes_in_place_of_scores(judge: Judge) -> None:
    x = judge.tensor("x", np.array([0.1, 0.9], "f4"), "FP32")
    best = judge.infer("scores", [x], outputs=[judge.wanted("output-0", class_count=1)])
    assert best.as_numpy("output-0").tolist() == [b"0.900000:1:dog"]


def test_a_version_is_called_by_its_name(judge: Judge) -> None:
    answer = judge.infer("versioned", [judge.tensor("x", np.array([1]), "INT64")], "1")
    assert answer.as_numpy("output-0").tolist() == [2]
    assert judge.outcome(answer)["model_version"] == "1"


@pytest.mark.parametrize(
    ("model", "name", "status", "text"),
    [
        ("nobody", "x", "NOT_FOUND", "Model 'nobody' is not known"),
        ("identity", "y", "INVALID_ARGUMENT", r"\$.inputs\[0\].name: unknown input 'y'"),
        ("raises", "x", "INTERNAL", "ValueError: cannot do 1.0"),
        ("count", "x", "INVALID_ARGUMENT", "unknown input"),
    ],
)
def test_errors_have_their_status(
    judge: Judge, model: str, name: str, status: str, text: str
) -> None:
    with pytest.raises(Exception, match=text) as raised:
        judge.infer(model, [judge.tensor(name, ONE, "FP32")])
    assert judge.status(raised) == status


@pytest.mark.parametrize(
    "question",
    ["get_model_metadata", "get_model_config", "get_inference_statistics", "load_model",
     "unload_model"],
)  # fmt: skip
def test_a_model_that_is_not_there_is_not_found(judge: Judge, question: str) -> None:
    with pytest.raises(Exception, match="'nobody' is not known") as raised:
        getattr(judge.client, question)("nobody")
    assert judge.status(raised) == "NOT_FOUND"


async def test_the_asyncio_client(judge: Judge) -> None:
    client = judge.triton_aio.InferenceServerClient(judge.address)
    try:
        assert await client.is_server_ready()
        array = values("BYTES", [2, 2])
        answer = await client.infer("identity", [judge.tensor("x", array, "BYTES")])
        assert (answer.as_numpy("output-0") == array).all()
        assert await client.get_model_metadata("identity")
        with pytest.raises(Exception, match="is not known"):
            await client.get_model_metadata("nobody")
    finally:
        await client.close()


async def test_the_asyncio_client_sends_and_gets_every_datatype(judge: Judge) -> None:
    client = judge.triton_aio.InferenceServerClient(judge.address)
    try:
        for datatype in DATATYPES:
            array = values(datatype, [2, 3])
            answer = await client.infer("identity", [judge.tensor("x", array, datatype)])
            assert (answer.as_numpy("output-0") == array).all(), datatype
    finally:
        await client.close()


def test_statistics_of_one_version_and_of_all(judge: Judge) -> None:
    for number in range(3):
        judge.infer("versioned", [judge.tensor("x", np.array([number]), "INT64")], "10")
    (found,) = judge.told("get_inference_statistics", "versioned", "10")["model_stats"]
    inside = found["inference_stats"]
    assert int(found["inference_count"]) == int(inside["success"]["count"]) >= 3
    assert int(inside["compute_infer"]["ns"]) > 0
    assert int(found["last_inference"]) > 0
    with pytest.raises(Exception, match="cannot do"):
        judge.infer("raises", [judge.tensor("x", np.array([1.0]), "FP64")])
    everything = judge.told("get_inference_statistics")["model_stats"]
    (failed,) = [one for one in everything if one["name"] == "raises"]
    assert int(failed["inference_stats"]["fail"]["count"]) >= 1


def test_a_model_is_unloaded_and_loaded_again(judge: Judge) -> None:
    client, x = judge.client, [judge.tensor("x", np.array([1.0]), "FP64")]
    client.unload_model("double")
    assert not client.is_model_ready("double")
    assert client.is_server_ready()
    for ask in (partial(judge.infer, "double", x), partial(client.get_model_config, "double")):
        with pytest.raises(Exception, match="Model 'double' is not ready") as raised:
            ask()
        assert judge.status(raised) == "UNAVAILABLE"
    index = judge.told("get_model_repository_index")
    (entry,) = [entry for entry in index if entry["name"] == "double"]
    assert (entry["state"], entry["reason"]) == ("UNAVAILABLE", "unloaded")
    with pytest.raises(Exception, match="its configuration is in its code") as raised:
        client.load_model("double", config="{}", files={"file:1/x": b"\xff"})
    assert judge.status(raised) == "UNIMPLEMENTED"
    states = serve.status().applications["double"].deployments["double"].replica_states
    assert "RUNNING" not in states
    client.load_model("double")
    assert judge.infer("double", x).as_numpy("output-0").tolist() == [2.0]


def test_trace_settings_of_one_model_and_of_all(judge: Judge) -> None:
    def changed(level: list[str] | None) -> Any:
        return judge.told("update_trace_settings", "scores", {"trace_level": level})["trace_level"]

    assert judge.told("get_trace_settings")["trace_level"] == ["OFF"]
    assert changed(["TIMESTAMPS"]) == ["TIMESTAMPS"]
    assert judge.told("get_trace_settings", "identity")["trace_level"] == ["OFF"]
    judge.infer("scores", [judge.tensor("x", ONE, "FP32")])
    assert changed(None) == ["OFF"]
    with pytest.raises(Exception, match="cannot be changed by clients: traces go to the log"):
        judge.client.update_trace_settings(settings={"trace_file": "/tmp/x"})


def test_log_settings_are_read_and_changed(judge: Judge) -> None:
    def verbose(level: int) -> Any:
        return judge.told("update_log_settings", {"log_verbose_level": level})["log_verbose_level"]

    assert judge.told("get_log_settings")["log_info"] is True
    assert [verbose(1), verbose(0)] == [1, 0]
    with pytest.raises(Exception, match="did you mean 'log_info'"):
        judge.client.update_log_settings({"log_inf": True})


class Region:
    """Shared memory of this process, registered at the server by the same name."""

    def __init__(self, judge: Judge, name: str, size: int) -> None:
        self.key, self.size = f"/salver_test_{name}", size
        self.handle = shm.create_shared_memory_region(name, self.key, size)
        judge.client.register_system_shared_memory(name, self.key, size)


@pytest.fixture
def regions(judge: Judge) -> Iterator[tuple[Region, Region]]:
    """`in` and `out`, of a thousand numbers each."""
    both = Region(judge, "in", 4000), Region(judge, "out", 4000)
    yield both
    judge.client.unregister_system_shared_memory()
    for region in both:
        shm.destroy_shared_memory_region(region.handle)


def test_tensors_in_shared_memory(judge: Judge, regions: tuple[Region, Region]) -> None:
    array = np.arange(1000, dtype="f4")
    shm.set_shared_memory_region(regions[0].handle, [array])
    x, wanted = judge.triton.InferInput("x", [1000], "FP32"), judge.wanted("output-0")
    x.set_shared_memory("in", array.nbytes)
    wanted.set_shared_memory("out", array.nbytes)
    judge.infer("identity", [x], outputs=[wanted])
    assert (shm.get_contents_as_numpy(regions[1].handle, "f4", [1000]) == array).all()


async def test_the_asyncio_client_uses_shared_memory(
    judge: Judge, regions: tuple[Region, Region]
) -> None:
    array = np.arange(1000, dtype="f4")
    shm.set_shared_memory_region(regions[0].handle, [array])
    x, wanted = judge.triton_aio.InferInput("x", [1000], "FP32"), judge.wanted("output-0")
    x.set_shared_memory("in", array.nbytes)
    wanted.set_shared_memory("out", array.nbytes)
    client = judge.triton_aio.InferenceServerClient(judge.address)
    try:
        await client.infer("identity", [x], outputs=[wanted])
    finally:
        await client.close()
    assert (shm.get_contents_as_numpy(regions[1].handle, "f4", [1000]) == array).all()


def test_what_is_known_of_shared_memory(judge: Judge, regions: tuple[Region, Region]) -> None:
    assert len(judge.told("get_system_shared_memory_status")) == 2
    (found,) = judge.told("get_system_shared_memory_status", "in")
    assert int(found["byte_size"]) == regions[0].size
    judge.client.unregister_system_shared_memory()
    assert judge.told("get_system_shared_memory_status") == []


def test_shared_memory_that_is_wrong(judge: Judge, regions: tuple[Region, Region]) -> None:
    def infer(region: str, offset: int = 0) -> None:
        x = judge.triton.InferInput("x", [1000], "FP32")
        x.set_shared_memory(region, 4000, offset=offset)
        judge.infer("identity", [x])

    with pytest.raises(Exception, match="is registered already"):
        judge.client.register_system_shared_memory("in", regions[0].key, 4)
    with pytest.raises(Exception, match="are outside of region 'in'"):
        infer("in", offset=4)
    x, wanted = judge.tensor("x", np.zeros(1, "f4"), "FP32"), judge.wanted("output-0")
    wanted.set_shared_memory("in", 2)
    with pytest.raises(Exception, match=r"\$\.outputs\[0\]\.parameters\.shared_memory_byte_size: "):
        judge.infer("identity", [x], outputs=[wanted])
    judge.client.unregister_system_shared_memory("in")
    with pytest.raises(Exception, match="region 'in' is not registered"):
        infer("in")
    # What was there when it was registered may be gone, or smaller, when it is needed.
    path = Path("/dev/shm", regions[0].key.strip("/"))
    judge.client.register_system_shared_memory("in", regions[0].key, 4000)
    os.truncate(path, 100)
    with pytest.raises(
        Exception, match=r"\$\.inputs\[0\]\.parameters\.shared_memory_region: .*has 100 bytes"
    ):
        infer("in")


def test_shared_memory_that_its_client_makes_smaller_ends_nobody(
    judge: Judge, regions: tuple[Region, Region]
) -> None:
    def infer() -> None:
        x, wanted = judge.triton.InferInput("x", [1000], "FP32"), judge.wanted("output-0")
        x.set_shared_memory("in", 4000)
        wanted.set_shared_memory("out", 4000)
        judge.infer("identity", [x], outputs=[wanted])

    paths = [Path("/dev/shm", region.key.strip("/")) for region in regions]
    infer()  # so that both are in use
    os.truncate(paths[0], 100)
    with pytest.raises(
        Exception, match=r"\$\.inputs\[0\]\.parameters\.shared_memory_region: .*has 100 bytes"
    ):
        infer()
    os.truncate(paths[0], 4000)
    os.truncate(paths[1], 0)
    with pytest.raises(
        Exception, match=r"\$\.outputs\[0\]\.parameters\.shared_memory_region: .*has 0 bytes"
    ):
        infer()
    os.truncate(paths[1], 4000)
    infer()


def test_only_what_is_there_can_be_registered(judge: Judge, regions: tuple[Region, Region]) -> None:
    register, key = judge.client.register_system_shared_memory, regions[0].key
    with pytest.raises(Exception, match="'/salver_no_such_thing' cannot be opened: No such file"):
        register("other", "/salver_no_such_thing", 4000)
    with pytest.raises(Exception, match=r"'\.\./tmp' is no name of shared memory"):
        register("other", "../tmp", 4000)
    with pytest.raises(Exception, match="'other' ends at 4001, but its memory has 4000 bytes"):
        register("other", key, 4000, offset=1)
    register("other", key, 3999, offset=1)
    assert len(judge.told("get_system_shared_memory_status")) == 3
    for _ in range(2):  # unknown: there is nothing to forget
        judge.client.unregister_system_shared_memory("other")
    assert len(judge.told("get_system_shared_memory_status")) == 2


def test_gpu_memory_is_refused_by_name(judge: Judge) -> None:
    with pytest.raises(Exception, match="CUDA shared memory is not offered"):
        judge.client.get_cuda_shared_memory_status()
