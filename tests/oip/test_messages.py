"""Protobuf: raw and typed contents, what may be wrong with them, and other packages beside us."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from salver.oip import messages, metadata_messages, proto, targets
from salver.oip.errors import InvalidMessageError, InvalidResultError
from salver.oip.metadata import (
    BatchStatistics,
    Duration,
    InferStatistics,
    MemoryUsage,
    ModelMetadata,
    ModelStatistics,
    ResponseStatistics,
    ServerMetadata,
    TensorMetadata,
)
from salver.oip.types import InferRequest, InferResponse, Tensor

Request = proto.message("ModelInferRequest")
SOURCE = Path(proto.__file__).parent


def message(*inputs: dict[str, Any], raw: tuple[bytes, ...] = ()) -> Any:
    return Request(inputs=list(inputs), raw_input_contents=list(raw))


def test_the_schema_is_what_protoc_reads(tmp_path: Path) -> None:
    protoc = import_module("grpc_tools.protoc")
    descriptor_pb2 = import_module("google.protobuf.descriptor_pb2")
    out = tmp_path / "set"

    code = protoc.main(["protoc", f"-I{SOURCE}", f"-o{out}", "inference.proto"])
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    file.name = proto.FILE.name

    assert code == 0
    assert file == proto.FILE


def test_other_packages_with_the_same_messages_can_be_imported_beside_ours() -> None:
    import_module("tritonclient.grpc")
    ours, theirs = "import salver.oip.messages", "import tritonclient.grpc"
    for code in (f"{ours}; {theirs}", f"{theirs}; {ours}"):
        subprocess.run(
            [sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(SOURCE.parents[2])}
        )


def test_every_method_of_the_service_is_there() -> None:
    methods = proto.methods()

    assert len(methods) == 20
    assert methods["ModelInfer"].input_type is Request.DESCRIPTOR
    assert methods["ModelStreamInfer"].server_streaming


X = {"name": "x", "datatype": "FP32", "shape": [2]}


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (message(X, raw=(b"1234",)), r"^\$\.inputs\[0\]: 4 bytes are given, but 2 elements"),
        (message(X, raw=(b"12345678", b"")), r"^\$\.raw_input_contents: 2 entries .*, but 1"),
        (message(X, X | {"name": "y"}, raw=(b"12345678",)), r"^\$\.inputs\[1\]: there is no entry"),
        (
            message(X | {"contents": {"fp32_contents": [1, 2]}}, raw=(b"12345678",)),
            r"^\$\.inputs\[0\]\.contents: give contents or raw_input_contents, not both$",
        ),
        (
            message(
                X | {"contents": {"fp32_contents": [1, 2]},
                     "parameters": {"shared_memory_region": {"string_param": "r"}}}
            ),
            r"^\$\.inputs\[0\]\.contents: a tensor lies either in shared memory or here",
        ),
        (message(X), r"^\$\.inputs\[0\]\.contents\.fp32_contents: 0 elements are given"),
        (message(X | {"contents": {"fp32_contents": [1]}}), r"1 elements are given, but the shape"),
        (
            message(X | {"contents": {"fp64_contents": [1, 2]}}),
            r"^\$\.inputs\[0\]\.contents: FP32 belongs in fp32_contents, but fp64_contents",
        ),
        (
            message(X | {"datatype": "FP16", "contents": {"fp32_contents": [1, 2]}}),
            r"FP16 has no typed contents; send it in raw_input_contents$",
        ),
        (
            message(X | {"datatype": "UINT8", "contents": {"uint_contents": [1, 300]}}),
            r"^\$\.inputs\[0\]\.contents\.uint_contents\[1\]: 300 is no UINT8",
        ),
        (
            message(X | {"datatype": "INT8", "contents": {"int_contents": [1, -129]}}),
            r"^\$\.inputs\[0\]\.contents\.int_contents\[1\]: -129 is no INT8",
        ),
        (message(X | {"shape": [-2]}), r"^\$\.inputs\[0\]\.shape\[0\]: a size of -2 is impossible"),
        (message(X | {"shape": [2**62, 2**62]}), r"\.shape: .* larger than any memory$"),
        (message(X | {"datatype": "FLOAT"}), r"^\$\.inputs\[0\]\.datatype: unknown datatype"),
        (message(X, X, raw=(b"12345678",) * 2), r"^\$\.inputs\[1\]\.name: 'x' appears twice$"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(bad: Any, error: str) -> None:
    with pytest.raises(InvalidMessageError, match=error):
        messages.read_infer_request(bad)


def test_an_input_in_shared_memory_has_no_raw_entry() -> None:
    request = InferRequest(
        [
            Tensor("s", "FP32", (2,), None, {"shared_memory_region": "r"}),
            Tensor.of("x", np.ones(2, "f4")),
        ]
    )

    read = messages.read_infer_request(messages.write_infer_request(request))

    assert read.inputs[0].data is None
    assert read.inputs[1].array().tolist() == [1, 1]


def test_an_answer_is_typed_only_for_a_typed_request() -> None:
    request = InferRequest([Tensor.of("x", np.ones(2, "f4"))])

    assert messages.uses_typed_contents(messages.write_infer_request(request, True))
    assert not messages.uses_typed_contents(messages.write_infer_request(request))
    assert not messages.uses_typed_contents(Request())


def test_fp16_cannot_be_answered_in_typed_contents() -> None:
    response = InferResponse([Tensor.of("x", np.ones(2, "f2"))])

    with pytest.raises(InvalidResultError, match="FP16 has no typed contents"):
        messages.fill_response(proto.message("ModelInferResponse")(), response, None)


def test_typed_contents_with_unknown_fields_behind_them_are_still_exact() -> None:
    request = messages.write_infer_request(InferRequest([Tensor.of("x", np.ones(2, "f4"))]), True)
    request.inputs[0].contents.MergeFromString(b"\xf8\x3f\x01")  # field 1023, which nobody knows

    read = messages.read_infer_request(request)

    assert read.inputs[0].array().tolist() == [1, 1]


def test_parameters_keep_their_types() -> None:
    parameters = {"b": True, "i": -5, "u": 2**63, "d": 0.5, "s": "x", "big": 2**64}
    request = InferRequest([], parameters=parameters)

    read = messages.read_infer_request(messages.write_infer_request(request))

    assert read.parameters == parameters | {"big": float(2**64)}
    assert isinstance(read.parameters["b"], bool)


def test_metadata_come_out_as_they_went_in() -> None:
    model = ModelMetadata(
        "m",
        "p",
        [TensorMetadata("x", "FP32", [-1, 3], {"content_type": "np"})],
        [],
        ["1"],
        {"k": "v"},
    )
    server = ServerMetadata("salver", "1", ["binary_tensor_data"])

    assert (
        metadata_messages.read_model_metadata(metadata_messages.write_model_metadata(model))
        == model
    )
    assert (
        metadata_messages.read_server_metadata(metadata_messages.write_server_metadata(server))
        == server
    )


def test_statistics_and_configuration_are_filled_from_plain_data() -> None:
    statistics = ModelStatistics(
        "m", "1", 5, 6, 7, InferStatistics(success=Duration(1, 2)), {"0": ResponseStatistics()},
        [BatchStatistics(4, compute_infer=Duration(3, 4))], [MemoryUsage("CPU", 0, 9)],
    )  # fmt: skip
    filled = metadata_messages.fill(
        proto.message("ModelStatisticsResponse")(),
        {"model_stats": [msgspec.to_builtins(statistics)]},
    )
    config = {"name": "m", "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}]}

    (stats,) = filled.model_stats
    assert (stats.inference_stats.success.ns, stats.batch_stats[0].compute_infer.count) == (2, 3)
    assert stats.memory_usage[0].byte_size == 9
    assert "0" in stats.response_stats
    assert metadata_messages.fill(proto.message("ModelConfig")(), config).input[0].data_type == 11


def test_an_error_in_a_stream_names_its_request() -> None:
    assert targets.write_stream_error("no", "7").infer_response.id == "7"


@settings(max_examples=200)
@given(st.data())
def test_broken_messages_raise_only_our_errors(data: st.DataObject) -> None:
    request = InferRequest(
        [Tensor.of("x", np.arange(3, dtype="f4")), Tensor.of("s", np.array(["a", "b"]))],
        parameters={"a": 1},
    )
    typed = data.draw(st.booleans())
    wire = bytearray(messages.write_infer_request(request, typed).SerializeToString())
    cut = data.draw(st.integers(0, len(wire)))
    if cut < len(wire):
        wire[cut] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del wire[cut:]
    try:
        read = messages.read_infer_request(proto.parse(Request, bytes(wire)))
    except InvalidMessageError:
        return
    for tensor in read.inputs:
        assert tensor.array().size == tensor.count
