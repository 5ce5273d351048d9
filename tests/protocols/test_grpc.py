"""Raw calls of the gRPC service: what no client library sends, and what each is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from salver.oip import proto
from salver.oip.datatypes import DATATYPES
from salver.oip.messages import read_infer_response, write_infer_request
from salver.oip.types import InferRequest, Tensor
from tests.protocols.grpc_caller import Caller, request, spelled
from tests.protocols.triton import values

Request = proto.message("ModelInferRequest")


@pytest.fixture(scope="module")
def caller(grpc_address: str) -> Iterator[Caller]:
    with grpc.insecure_channel(grpc_address) as channel:
        yield Caller(channel)


@pytest.mark.parametrize("shape", [[2, 3], [0], [300, 100]], ids=str)
@pytest.mark.parametrize("datatype", [name for name, kind in DATATYPES.items() if kind.field])
def test_typed_contents_are_answered_in_typed_contents(
    caller: Caller, datatype: str, shape: list[int]
) -> None:
    array = values(datatype, shape)
    asked = InferRequest([Tensor(("x"), datatype, tuple(shape), array)], model_name="identity")
    answer = caller.infer(asked, typed=True)
    if 0 not in shape:
        assert not answer.raw_output_contents
    found = read_infer_response(answer).output("output-0").array()
    assert found.tobytes() == array.tobytes() or (found == array).all()


def test_a_request_without_contents_is_answered_in_raw_ones(caller: Caller) -> None:
    answer = caller.infer(InferRequest([], model_name="raw", parameters={"b": 1, "a": "x"}))
    assert len(answer.raw_output_contents) == 1
    assert read_infer_response(answer).output("names").array().tolist() == [b"a", b"b"]


def test_metadata_are_the_headers_of_a_model_that_takes_the_request(caller: Caller) -> None:
    asked = spelled(InferRequest([], model_name="headers"))
    metadata = (("x-ask", "how"),)
    data, call = caller.method("ModelInfer").with_call(asked, metadata=metadata, timeout=60)
    assert dict(call.trailing_metadata())["x-answer"] == "how"
    answer = read_infer_response(proto.parse(proto.message("ModelInferResponse"), data))
    assert answer.parameters == {"n": 1}
    assert answer.output("names").array().tolist() == [b"headers"]


def test_fields_may_come_in_any_order(caller: Caller) -> None:
    x = Tensor.of("x", np.array([1]))
    inputs = spelled(InferRequest([x]))
    for version, result in ("1", 2), ("10", 11):
        names = Request(model_name="versioned", model_version=version).SerializeToString()
        answer = caller.call("ModelInfer", inputs + names)
        read = read_infer_response(proto.parse(proto.message("ModelInferResponse"), answer))
        assert read.output("output-0").array().tolist() == [result]


def test_large_contents_and_what_surrounds_them(caller: Caller) -> None:
    big, small = np.arange(1 << 16, dtype="f4").reshape(-1, 4), np.ones((1 << 14, 4), "f4")
    inputs = [Tensor.of("a", big), Tensor.of("b", small)]
    asked = InferRequest(inputs, model_name="add_sub", id="é", parameters={"n": 1})
    answer = read_infer_response(caller.infer(asked))
    assert answer.id == "é"
    assert (answer.output("sum").array() == big + small).all()
    assert (answer.output("difference").array() == big - small).all()


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (lambda r: r.ClearField("raw_input_contents"), "INVALID_ARGUMENT", "$.inputs[0].contents"),
        (lambda r: r.raw_input_contents.append(b""), "INVALID_ARGUMENT", "$.raw_input_contents: 2"),
        (lambda r: r.inputs[0].shape.append(2), "INVALID_ARGUMENT", "$.inputs[0]"),
        (lambda r: r.inputs[0].contents.fp32_contents.append(1), "INVALID_ARGUMENT",
         "$.inputs[0].contents: give contents or raw_input_contents, not both"),
        (lambda r: setattr(r.inputs[0], "datatype", "F"), "INVALID_ARGUMENT",
         "$.inputs[0].datatype: unknown datatype 'F'"),
        (lambda r: r.inputs[0].shape.__setitem__(0, 2**62), "INVALID_ARGUMENT",
         "$.inputs[0].shape: the shape"),
        (lambda r: r.outputs.add(name="y"), "INVALID_ARGUMENT", "$.outputs[0].name: the model"),
        (lambda r: setattr(r, "model_name", ""), "NOT_FOUND", "Model '' is not known"),
        (lambda r: setattr(r, "model_version", "7"), "NOT_FOUND", "has no version '7'"),
        (lambda r: setattr(r, "model_name", "n" * 5000), "NOT_FOUND", f"'{'n' * 59} is not known"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(
    caller: Caller, change: Any, code: str, text: str
) -> None:
    message = write_infer_request(request())
    change(message)
    told = caller.refused("ModelInfer", message.SerializeToString())
    assert told[0] == code
    assert text in told[1]


def test_half_a_message_is_an_invalid_argument(caller: Caller) -> None:
    for name in proto.methods():
        if name != "ModelStreamInfer":
            code, details = caller.refused(name, b"\x0a\x20half")
            assert code == "INVALID_ARGUMENT"
            assert f": the bytes are no {name}Request message: 32 bytes are announced" in details
    whole = spelled(InferRequest([Tensor.of("x", np.ones(50_000))], model_name="identity"))
    code, details = caller.refused("ModelInfer", whole[:-100])
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("$.raw_input_contents[0]: the bytes are no ModelInferRequest")


def test_half_a_message_in_a_stream_leaves_it_open(caller: Caller) -> None:
    half, whole = caller.stream(b"\x0a\x20half", spelled(request(id="b")))
    kind = proto.message("ModelStreamInferResponse")
    assert "the bytes are no ModelInferRequest" in proto.parse(kind, half).error_message
    assert proto.parse(kind, whole).infer_response.id == "b"


def test_an_error_in_a_stream_names_its_request(caller: Caller) -> None:
    (answer,) = caller.stream(spelled(request("nobody", id="a")))
    read = proto.parse(proto.message("ModelStreamInferResponse"), answer)
    assert (read.error_message, read.infer_response.id) == ("Model 'nobody' is not known.", "a")


def test_a_method_that_is_not_there_is_unimplemented(caller: Caller) -> None:
    assert caller.refused("ModelDream", b"")[0] == "UNIMPLEMENTED"


def test_the_request_id_of_the_metadata_comes_back(caller: Caller) -> None:
    data = spelled(request())
    metadata = (("request_id", "mine"),)
    _, call = caller.method("ModelInfer").with_call(data, metadata=metadata, timeout=60)
    assert dict(call.trailing_metadata())["request_id"] == "mine"
    _, call = caller.method("ServerLive").with_call(b"", metadata=metadata, timeout=60)
    assert dict(call.trailing_metadata())["request_id"] == "mine"
    stream = caller.stream(data, metadata=metadata)
    assert len(list(stream)) == 1
    assert dict(stream.trailing_metadata())["request_id"] == "mine"


def test_reflection_and_health_know_the_service(caller: Caller) -> None:
    ask = reflection_pb2.ServerReflectionRequest(file_containing_symbol=proto.SERVICE)
    reflection = reflection_pb2_grpc.ServerReflectionStub(caller.channel)
    (answer,) = reflection.ServerReflectionInfo(iter([ask]), timeout=60)
    (file,) = answer.file_descriptor_response.file_descriptor_proto
    assert FileDescriptorProto.FromString(file).service[0].name == "GRPCInferenceService"
    check = health_pb2.HealthCheckRequest(service=proto.SERVICE)
    status = health_pb2_grpc.HealthStub(caller.channel).Check(check, timeout=60).status
    assert status == health_pb2.HealthCheckResponse.SERVING


def test_the_older_service_for_the_repository_answers_the_same(caller: Caller) -> None:
    def ask(name: str, **fields: Any) -> Any:
        old = caller.channel.unary_unary(f"/{proto.OLD_REPOSITORY}/{name}")
        asked = proto.message(f"{name}Request")(**fields)
        return proto.parse(proto.message(f"{name}Response"), old(asked.SerializeToString()))

    def states() -> dict[str, str]:
        return {model.name: model.state for model in ask("RepositoryIndex").models}

    assert states()["double"] == "READY"
    ask("RepositoryModelUnload", model_name="double")
    assert states()["double"] == "UNAVAILABLE"
    assert "double" not in {m.name for m in ask("RepositoryIndex", ready=True).models}
    ask("RepositoryModelLoad", model_name="double")
    assert states()["double"] == "READY"
    with pytest.raises(grpc.RpcError) as raised:
        ask("RepositoryModelLoad", model_name="nobody")
    error: Any = raised.value
    assert error.code() is grpc.StatusCode.NOT_FOUND
