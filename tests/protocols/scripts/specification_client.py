"""The specification's own stub against a server whose address is given: prints what it saw."""

import sys

import grpc
from open_inference.grpc import protocol as pb
from open_inference.grpc.service import GRPCInferenceServiceStub

RAW = bytes(range(12))

with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = GRPCInferenceServiceStub(channel)
    print("live", stub.ServerLive(pb.ServerLiveRequest()).live)
    print("ready", stub.ServerReady(pb.ServerReadyRequest()).ready)
    print("model", stub.ModelReady(pb.ModelReadyRequest(name="identity")).ready)
    print(stub.ServerMetadata(pb.ServerMetadataRequest()).name)
    model = stub.ModelMetadata(pb.ModelMetadataRequest(name="add_sub"))
    print(model.name, [i.name for i in model.inputs], [o.name for o in model.outputs])
    asked = pb.ModelInferRequest(model_name="identity")
    tensor = asked.inputs.add(name="x", datatype="FP32", shape=[3])
    tensor.contents.fp32_contents.extend([1, 2, 3])
    print("typed", list(stub.ModelInfer(asked).outputs[0].contents.fp32_contents))
    tensor.ClearField("contents")
    asked.raw_input_contents.append(RAW)
    print("raw", stub.ModelInfer(asked).raw_output_contents[0] == RAW)
    asked.model_name = "nobody"
    try:
        stub.ModelInfer(asked)
    except grpc.RpcError as error:
        print(error.code())
