"""The gRPC service of instances with settings of their own."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import queue

import grpc
import numpy as np
import pytest

from salver import serve
from salver.api import session
from salver.oip import proto
from salver.oip.messages import read_infer_response
from salver.oip.types import InferRequest, Tensor
from salver.testing import leaks
from tests.doors.grpc.warm import warm
from tests.protocols import models
from tests.protocols.grpc_caller import Caller, request, spelled


def test_a_client_that_leaves_or_whose_time_is_up_stops_the_model() -> None:
    """Its only slot is free again, or else the last call would wait for ever."""
    warm()
    with leaks.no_leaks():
        serve.start(http_options={"port": 0}, grpc_options={"port": 0, "inference": True})
        serve.run(models.Slow.bind(), route_prefix=None)
        assert session._instance is not None
        with grpc.insecure_channel(session._instance.grpc_address) as channel:
            _leave_and_come_again(Caller(channel))
        serve.shutdown()


def _leave_and_come_again(caller: Caller) -> None:
    data = spelled(InferRequest([Tensor.of("x", np.array([1]))], model_name="slow"))
    infer = caller.method("ModelInfer")
    with pytest.raises(grpc.RpcError) as raised:
        infer(data, timeout=0.3)
    assert raised.value.code().name == "DEADLINE_EXCEEDED"
    left = infer.future(data, timeout=60)
    stream = caller.stream(data)
    # As soon as both have arrived, there is no room for a third; it may come before the stream.
    while infer.future(data, timeout=0.3).code().name != "RESOURCE_EXHAUSTED":
        stream.cancel()
        stream = caller.stream(data)
    left.cancel()
    stream.cancel()
    serve.get_app_handle("default").open.remote().result(timeout_s=60)  # when the slot is free
    answer = caller.call("ModelInfer", data)
    read = read_infer_response(proto.parse(proto.message("ModelInferResponse"), answer))
    assert read.output("output-0").array().tolist() == [1]


def test_the_stream_that_clients_of_mlserver_read_and_the_limit_of_messages() -> None:
    warm()
    with leaks.no_leaks():
        serve.start(
            http_options={"port": 0},
            grpc_options={
                "port": 0,
                "inference": True,
                "inference_stream": "mlserver",
                "max_receive_message_bytes": 10_000,
            },
        )
        serve.run(models.models, route_prefix=None)
        assert session._instance is not None
        with grpc.insecure_channel(session._instance.grpc_address) as channel:
            caller = Caller(channel)
            text = Tensor.of("text_input", np.array(["a"], object))
            answers = caller.stream(spelled(InferRequest([text], model_name="count")))
            kind = proto.message("ModelInferResponse")
            read = [read_infer_response(proto.parse(kind, answer)) for answer in answers]
            found = [one.output("text_output").array().tolist() for one in read]
            assert found == [[b"a 0"], [b"a 1"], [b"a 2"]]
            stream = caller.stream(spelled(request("nobody")))
            with pytest.raises(grpc.RpcError) as raised:
                list(stream)
            assert raised.value.code().name == "NOT_FOUND"
            long = spelled(InferRequest([Tensor.of("x", np.ones(10_000))], model_name="identity"))
            assert caller.refused("ModelInfer", long)[0] == "RESOURCE_EXHAUSTED"
            code, details = caller.refused("SystemSharedMemoryStatus", b"")
            assert code == "UNIMPLEMENTED"
            assert "system shared memory is off" in details
        serve.shutdown()


def test_a_stream_without_requests_does_not_hold_up_the_end() -> None:
    """Without being told, its client would hear nothing before its own deadline."""
    warm()
    asked: queue.Queue[bytes] = queue.Queue()
    with leaks.no_leaks():
        serve.start(
            http_options={"port": 0},
            grpc_options={"port": 0, "inference": True, "drain_timeout_s": 1000},
        )
        serve.run(models.models, route_prefix=None)
        assert session._instance is not None
        with grpc.insecure_channel(session._instance.grpc_address) as channel:
            stream = Caller(channel).stream_of(iter(asked.get, b""))
            asked.put(spelled(request()))
            next(stream)
            serve.shutdown()
            with pytest.raises(grpc.RpcError) as raised:
                next(stream)
            assert raised.value.code().name == "UNAVAILABLE"
            assert "being drained" in raised.value.details()
            asked.put(b"")
