"""Values to tensors and back, as the metadata of a model want them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from PIL import Image

from salver.client.errors import InputError
from salver.client.values import tensors_of, values_of
from salver.oip.codecs.registry import built_in
from salver.oip.metadata import ModelMetadata
from salver.oip.signature import Signature
from salver.oip.types import InferResponse, Tensor
from salver.spec.endpoint import Field

MASKED = np.ma.masked_array([1.0, 2.0], mask=[False, True])
Halves = Annotated[torch.Tensor, Field("BF16", (-1,))]


def text(x: str) -> str: ...  # type: ignore[empty-body]
def blob(x: bytes) -> bytes: ...  # type: ignore[empty-body]
def array(x: np.ndarray) -> np.ndarray: ...  # type: ignore[empty-body]
def halves(x: Halves) -> Halves: ...  # type: ignore[empty-body]
def singles(x: npt.NDArray[np.float32]) -> None: ...
def series(x: pd.Series) -> pd.Series: ...  # type: ignore[empty-body]
def frame(x: pd.DataFrame) -> pd.DataFrame: ...  # type: ignore[empty-body]
def arrays(x: dict[str, np.ndarray]) -> None: ...


def several() -> tuple[  # type: ignore[empty-body]
    Annotated[int, Field(name="n")], Annotated[str | None, Field(name="note")], Image.Image | None
]: ...


def metadata(function: Callable[..., Any]) -> ModelMetadata:
    return Signature.of(function).metadata("m")


def sent(function: Callable[..., Any], value: Any) -> list[Tensor]:
    return tensors_of(metadata(function), {"x": value})


@pytest.mark.parametrize(
    ("function", "value", "said"),
    [
        (text, b"abc", "expected str, or a list of them, got b'abc'"),
        (text, bytearray(b"abc"), "expected str, or a list of them"),
        (blob, "abc", "expected bytes, or a list of them"),
        (array, None, "expected an array, got None"),
        (array, {"a": 1}, "expected an array, got {'a': 1}"),
        (frame, [{"a": 1}], "expected a DataFrame or a dict of its columns, got"),
        (arrays, [1, 2], "expected a dict of arrays, got"),
        (singles, torch.ones(2, dtype=torch.bfloat16), ".* got an array of bfloat16"),
        (array, MASKED, "masked elements have no form in the protocol"),
        (singles, MASKED.astype("f4"), "masked elements have no form in the protocol"),
    ],
)
def test_what_is_something_else_is_refused_with_its_name(
    function: Callable[..., Any], value: Any, said: str
) -> None:
    with pytest.raises(InputError, match=rf"^Model 'm': input 'x': {said}.* It is m\(x: "):
        sent(function, value)


@pytest.mark.parametrize("value", [b"\0\xff", bytearray(b"\0\xff"), memoryview(b"\0\xff")])
def test_bytes_of_any_kind_are_bytes(value: Any) -> None:
    (tensor,) = sent(blob, value)
    assert tensor.array().tolist() == [b"\0\xff"]


@pytest.mark.parametrize("function", [halves, array])
def test_halves_of_torch_go_as_they_are(function: Callable[..., Any]) -> None:
    value = torch.tensor([1.5, -2], dtype=torch.bfloat16, requires_grad=True)
    (tensor,) = sent(function, value)
    assert tensor.datatype == "BF16"
    assert built_in().named("torch").decode(tensor).tolist() == [1.5, -2]


def test_a_dict_of_columns_is_a_frame() -> None:
    tensors = sent(frame, {"a": [1, 2], "b": ["x", "ü"], "c": np.ones(2, "f4")})
    found = built_in().group_named("pd").decode_all(tensors)
    assert found.to_dict("list") == {"a": [1, 2], "b": ["x", "ü"], "c": [1, 1]}
    assert found["c"].dtype == np.float32


@pytest.mark.parametrize("values", [[1, 2], ["a", None], [True, None], []])
def test_a_series_comes_back_as_one_whatever_is_in_it(values: list[Any]) -> None:
    value = pd.Series(values)
    answer = InferResponse([built_in().named("series").encode("output-0", value)])
    pd.testing.assert_series_equal(values_of(answer, metadata(series)), value)


def test_several_outputs_are_in_the_order_of_the_model_or_of_the_wish() -> None:
    codec = built_in()
    outputs = [codec.encode("note", "x"), codec.encode("n", 1)]
    found = values_of(InferResponse(outputs), metadata(several))
    assert list(found.items()) == [("n", 1), ("note", "x"), ("output-2", None)]
    found = values_of(InferResponse(outputs), metadata(several), ["note", "n"])
    assert list(found.items()) == [("note", "x"), ("n", 1)]
