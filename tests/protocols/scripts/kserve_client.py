"""KServe's own client against a server whose address is given: prints what went well."""

import asyncio
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


def request(model: str, array: np.ndarray, datatype: str, *, binary: bool) -> InferRequest:
    tensor = InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model, [tensor], request_id="7")


async def main(url: str) -> None:
    v2 = InferenceRESTClient(RESTConfig(protocol="v2"))
    print("live", await v2.is_server_live(url))
    print("ready", await v2.is_server_ready(url))
    print("model", await v2.is_model_ready(url, "identity"))
    for datatype, kind in (("FP32", "f4"), ("INT64", "i8"), ("BOOL", "?"), ("FP16", "f2")):
        array = np.arange(6).reshape(2, 3).astype(kind)
        for binary in (True, False) if datatype != "FP16" else (True,):
            answer = await v2.infer(
                url, request("identity", array, datatype, binary=binary), model_name="identity"
            )
            same = np.array_equal(answer.outputs[0].as_numpy(), array)
            print(datatype, binary, same, answer.id)
    v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
    print("v1", await v1.infer(url, {"instances": [1.0, 2.0]}, model_name="double"))
    print("v1 ready", await v1.is_model_ready(url, "double"))


asyncio.run(main(sys.argv[1]))
