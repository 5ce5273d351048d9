"""Tensors of PyTorch itself; skipped where it is not installed."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import numpy as np
import pytest

from salver.oip.binding import Binder
from salver.oip.codecs import built_in
from salver.oip.errors import ContentError, InvalidResultError
from salver.oip.rest import RestFormat, write_response
from salver.oip.signature import Signature
from salver.oip.types import InferRequest, InferResponse, Tensor
from salver.spec.endpoint import Field

torch = import_module("torch")
REGISTRY = built_in()
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
          "float64"]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("binary", [False, True])
def test_tensors_of_every_dtype_come_back(dtype: str, binary: bool) -> None:
    value = torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=getattr(torch, dtype)).t()
    body = write_response(InferResponse([REGISTRY.encode("x", value)]), lambda _: binary)

    (tensor,) = RestFormat().read_response(body.join(), body.header_length).outputs
    found = REGISTRY.decode(tensor)

    assert found.dtype == value.dtype
    assert torch.equal(found, value)
    found[0, 0] = 1  # it is the receiver's own


def test_a_function_of_tensors_is_a_model() -> None:
    def double(x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
        return x * 2

    # As the annotations of a module are resolved where it stands.
    double.__annotations__ = {"x": torch.Tensor, "return": torch.Tensor}
    binder = Binder(Signature.of(double))
    request = InferRequest([Tensor.of("x", np.ones((2, 2), "f4"))])

    response = binder.pack(double(**binder.bind(request)))
    plain: Any = double(**binder.bind_json(b'{"x":[[1,2.0]]}'))

    assert response.outputs[0].array().tolist() == [[2, 2], [2, 2]]
    assert plain.tolist() == [[2, 4]]
    assert binder.pack_json(plain) == b"[[2.0,4.0]]"


@pytest.mark.parametrize(
    ("declared", "returned"),
    [("BF16", torch.float32), ("BF16", torch.float64), ("BF16", torch.int32),
     ("FP32", torch.float64), ("FP32", torch.bfloat16), ("FP16", torch.bfloat16)],
)  # fmt: skip
def test_a_result_of_another_type_becomes_the_declared_one(declared: str, returned: Any) -> None:
    def ones() -> Any:
        return torch.ones(2, dtype=returned)

    ones.__annotations__ = {"return": Annotated[torch.Tensor, Field(declared, (-1,))]}
    (tensor,) = Binder(Signature.of(ones)).pack(ones()).outputs

    assert (tensor.datatype, REGISTRY.decode(tensor).tolist()) == (declared, [1, 1])


def test_a_result_of_another_kind_is_not_cast() -> None:
    def ones() -> Any:
        return torch.ones(2)

    ones.__annotations__ = {"return": Annotated[torch.Tensor, Field("INT64", (-1,))]}
    with pytest.raises(InvalidResultError, match="is declared INT64, but an array of FP32"):
        Binder(Signature.of(ones)).pack(ones())


def test_parameters_that_need_a_gradient_can_be_returned() -> None:
    value = torch.ones(2, requires_grad=True)

    assert REGISTRY.encode("x", value).array().tolist() == [1, 1]


def test_text_is_no_tensor() -> None:
    with pytest.raises(ContentError, match=r"^\.datatype: a torch tensor cannot hold BYTES$"):
        REGISTRY.decode(Tensor.of("x", np.array(["a"]), {"content_type": "torch"}))
