"""A public client: what it sends is read by us, and what we send is read by it."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis.extra import numpy as hnp

from salver.oip import messages, proto
from salver.oip.datatypes import DATATYPES
from salver.oip.rest import RestFormat, write_response
from salver.oip.targets import stream_item
from salver.oip.types import InferRequest, InferResponse, Tensor
from tests.oip.strategies import answered

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    triton_http = import_module("tritonclient.http")
    triton_grpc = import_module("tritonclient.grpc")
    ml_dtypes = import_module("ml_dtypes")
    service_pb2 = import_module("tritonclient.grpc.service_pb2")
    client_parts = import_module("tritonclient.grpc._utils")

REST = RestFormat()
NAMES = sorted(DATATYPES)
COMMON = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def client_arrays(draw: st.DrawFn, datatype: str) -> Any:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3))
    if datatype == "BYTES":
        return draw(hnp.arrays(object, shape, elements=st.text(max_size=4).map(str.encode)))
    if datatype == "BF16":
        bits = draw(hnp.arrays("<u2", shape, elements=st.integers(0, 0x7F00)))
        return bits.view(ml_dtypes.bfloat16)
    elements = {"allow_nan": False} if DATATYPES[datatype].kind == "float" else None
    return draw(hnp.arrays(DATATYPES[datatype].dtype, shape, elements=elements))


def same(found: Any, array: Any, datatype: str) -> bool:
    if datatype == "BF16":
        array = array.view(np.uint16)
    return bool(np.array_equal(found, array)) and found.shape == array.shape


@COMMON
@given(data=st.data(), datatype=st.sampled_from(NAMES), binary=st.booleans())
def test_its_http_requests_are_read(data: st.DataObject, datatype: str, binary: bool) -> None:
    if datatype in ("BF16", "FP16"):
        binary = True  # the client refuses these in JSON
    array = data.draw(client_arrays(datatype))
    tensor = triton_http.InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    outputs = [triton_http.InferRequestedOutput("y", binary_data=binary, class_count=2)]

    body, length = triton_http.InferenceServerClient.generate_request_body(
        [tensor], outputs=outputs, request_id="7", sequence_id=5, priority=1, timeout=10
    )
    request = REST.read_request(body, length)

    assert same(request.inputs[0].array(), array, datatype)
    assert request.id == "7"
    assert request.parameters["sequence_id"] == 5
    assert request.outputs[0].parameters["classification"] == 2
    assert request.wants_binary("y") is binary


def test_it_asks_for_binary_outputs_when_it_names_none() -> None:
    tensor = triton_http.InferInput("x", [1], "FP32")
    tensor.set_data_from_numpy(np.ones(1, "f4"))

    body, length = triton_http.InferenceServerClient.generate_request_body([tensor])

    assert REST.read_request(body, length).wants_binary("anything")


def test_its_bare_nan_is_read() -> None:
    array = np.array([np.nan, np.inf, -np.inf, 1], "f4")
    tensor = triton_http.InferInput("x", [4], "FP32")
    tensor.set_data_from_numpy(array, binary_data=False)

    body, length = triton_http.InferenceServerClient.generate_request_body([tensor])

    assert np.array_equal(REST.read_request(body, length).inputs[0].array(), array, equal_nan=True)


@COMMON
@given(data=st.data(), datatype=st.sampled_from(NAMES), binary=st.booleans())
def test_it_reads_our_http_responses(data: st.DataObject, datatype: str, binary: bool) -> None:
    if datatype == "BF16":
        binary = True  # the client has no BF16 in JSON
    array = data.draw(client_arrays(datatype))
    response = InferResponse([Tensor.of("y", array)], "m", "1", "7")
    body = write_response(response, lambda _: binary)

    result = triton_http.InferenceServerClient.parse_response_body(
        body.join(), header_length=body.header_length
    )

    found = result.as_numpy("y")
    if datatype == "BYTES" and not binary:
        found = np.array([e.encode() if isinstance(e, str) else e for e in found.flat], object)
        found = found.reshape(array.shape)
    assert np.array_equal(found, array)
    assert result.get_response()["id"] == "7"


@COMMON
@given(data=st.data(), datatype=st.sampled_from(NAMES))
def test_its_grpc_requests_are_read(data: st.DataObject, datatype: str) -> None:
    array = data.draw(client_arrays(datatype))
    tensor = triton_grpc.InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    message = client_parts._get_inference_request(
        model_name="m", inputs=[tensor], model_version="1", request_id="7",
        outputs=[triton_grpc.InferRequestedOutput("y")], sequence_id=0, sequence_start=False,
        sequence_end=False, priority=3, timeout=None, parameters={"f": 0.5},
    )  # fmt: skip

    ours = proto.parse(proto.message("ModelInferRequest"), message.SerializeToString())
    request = messages.read_infer_request(ours)

    assert same(request.inputs[0].array(), array, datatype)
    assert (request.model_name, request.model_version, request.id) == ("m", "1", "7")
    assert request.parameters == {"priority": 3, "f": 0.5}
    assert not messages.uses_typed_contents(ours)


@COMMON
@given(data=st.data(), datatype=st.sampled_from(NAMES))
def test_it_reads_our_grpc_responses(data: st.DataObject, datatype: str) -> None:
    array = data.draw(client_arrays(datatype))
    response = InferResponse([Tensor.of("y", array)], "m", "1", "7", {"n": 1})
    item = stream_item(answered(response))

    theirs = service_pb2.ModelStreamInferResponse.FromString(item)
    result = triton_grpc.InferResult(theirs.infer_response)

    assert np.array_equal(result.as_numpy("y"), array)
    assert result.get_response().id == "7"


def test_every_message_of_its_service_has_the_same_fields_as_ours() -> None:
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    for name, method in proto.methods().items():
        for ours, other in (
            (method.input_type, theirs[name].input_type),
            (method.output_type, theirs[name].output_type),
        ):
            compare(ours, other, set())


def compare(ours: Any, theirs: Any, seen: set[str]) -> None:
    if ours.full_name in seen:
        return
    seen.add(ours.full_name)
    for field in ours.fields:
        other = theirs.fields_by_number.get(field.number)
        if other is None:  # what only we, or the protocol, have
            assert (ours.name, field.number) in {
                ("ModelMetadataResponse", 6),
                ("TensorMetadata", 4),
            }
            continue
        assert (field.name, field.type) == (other.name, other.type)
        assert field.is_repeated == other.is_repeated
        if field.message_type is not None:
            compare(field.message_type, other.message_type, seen)


def test_our_requests_are_read_by_its_messages() -> None:
    request = InferRequest([Tensor.of("x", np.arange(3, dtype="f4"))], model_name="m")
    wire = messages.write_infer_request(request, typed_contents=True).SerializeToString()

    theirs = service_pb2.ModelInferRequest.FromString(wire)

    assert list(theirs.inputs[0].contents.fp32_contents) == [0, 1, 2]
