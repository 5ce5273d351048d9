"""KServe's own gRPC client against a server whose address is given: prints what went well."""

import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest


def request(model: str, array: np.ndarray, datatype: str, *, binary: bool) -> InferRequest:
    tensor = InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model, [tensor], request_id="7")


async def main(url: str) -> None:
    async with InferenceGRPCClient(url) as client:
        print("live", await client.is_server_live())
        print("ready", await client.is_server_ready())
        print("model", await client.is_model_ready("identity"))
        for datatype, kind in (("FP32", "f4"), ("INT64", "i8"), ("BOOL", "?"), ("FP16", "f2")):
            array = np.arange(6).reshape(2, 3).astype(kind)
            for binary in (True, False) if datatype != "FP16" else (True,):
                asked = request("identity", array, datatype, binary=binary)
                answer = await client.infer(asked)
                same = np.array_equal(answer.outputs[0].as_numpy(), array)
                print(datatype, binary, same, answer.id)


asyncio.run(main(sys.argv[1]))
