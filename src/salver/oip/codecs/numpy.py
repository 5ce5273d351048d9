"""Arrays, and mappings of names to arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final, get_args, get_origin

import numpy as np
import numpy.typing as npt

from salver.oip import bfloat16
from salver.oip.codecs.foreign import attribute
from salver.oip.datatypes import HELD
from salver.oip.errors import ContentError, InvalidResultError
from salver.oip.types import Tensor

__all__ = (
    "DictCodec",
    "NumberCodec",
    "NumpyCodec",
    "array_of",
    "tensor_of",
    "unmasked",
    "writable",
)

_ARRAYS: Final = (np.ndarray, np.generic)
_TIMES: Final = ("datetime64[s]", "datetime64[ms]", "datetime64[us]", "datetime64[ns]")


class NumpyCodec:
    """`np`: any array; the shape is kept as it is."""

    content_type = "np"

    def fits(self, hint: object) -> bool:
        return (get_origin(hint) or hint) is np.ndarray

    def can_encode(self, value: object) -> bool:
        return isinstance(value, _ARRAYS)

    def encode(self, name: str, value: Any) -> Tensor:
        return tensor_of(name, value)

    def decode(self, tensor: Tensor) -> npt.NDArray[Any]:
        return array_of(tensor)


class NumberCodec:
    """`number`: a number or boolean of Python, or regular nested lists of them."""

    content_type = "number"

    def fits(self, hint: object) -> bool:
        while get_origin(hint) is list and (items := get_args(hint)):  # none: typing's bare List
            (hint,) = items
        return any(hint is kind for kind in (bool, int, float))

    def can_encode(self, value: object) -> bool:
        if isinstance(value, bool | int | float):
            return True
        if not isinstance(value, list | tuple) or not value:
            return False
        try:
            array = np.array(value)
        except (ValueError, OverflowError):
            return False
        return array.dtype.kind in "biuf"

    def encode(self, name: str, value: Any) -> Tensor:
        return Tensor.of(name, np.atleast_1d(np.array(value)))

    def decode(self, tensor: Tensor) -> Any:
        return tensor.array().tolist()


class DictCodec:
    """`dict`: one array per name, for a whole message."""

    content_type = "dict"

    def fits(self, hint: object) -> bool:
        arguments = get_args(hint)
        origin = get_origin(hint)
        return (
            isinstance(origin, type)
            and issubclass(origin, Mapping)
            and len(arguments) == 2
            and arguments[0] is str
            and NumpyCodec().fits(arguments[1])
        )

    def can_encode(self, value: object) -> bool:
        return (
            isinstance(value, Mapping)
            and bool(value)
            and all(isinstance(k, str) and isinstance(v, np.ndarray) for k, v in value.items())
        )

    def encode_all(self, value: Mapping[str, Any]) -> list[Tensor]:
        return [tensor_of(name, array) for name, array in value.items()]

    def decode_all(self, tensors: Sequence[Tensor]) -> dict[str, npt.NDArray[Any]]:
        return {tensor.name: array_of(tensor) for tensor in tensors}


def tensor_of(name: str, value: npt.NDArray[Any] | np.generic) -> Tensor:
    """A tensor of an array; strings and times say in `dtype` what they were."""
    array: npt.NDArray[Any] = value if type(value) is np.ndarray else unmasked(value)
    datatype = HELD.get(array.dtype)
    if datatype is not None:
        return Tensor(name, datatype, array.shape, array, {"content_type": "np"})
    kind = array.dtype.kind
    if kind == "M":
        if str(array.dtype) not in _TIMES:  # a day or a year is its first second
            fitting = (unit for unit in _TIMES if np.can_cast(array.dtype, unit))
            array = array.astype(next(fitting, _TIMES[-1]))
        return _text(name, np.datetime_as_string(array), str(array.dtype))
    if kind == "U" or (kind == "T" and array.dtype.name.startswith("StringDType")):
        return _text(name, array, "str")
    if kind == "c":
        raise InvalidResultError(
            f"{name!r} holds complex numbers, which the protocol has not; "
            "give their real and imaginary parts."
        )
    return Tensor.of(name, array, {"content_type": "np"})


def unmasked(value: Any) -> npt.NDArray[Any]:
    """Anything that NumPy makes an array of as one of its own class. InvalidResultError: elements
    are masked."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise InvalidResultError(
            "masked elements have no form in the protocol; give what `filled(value)` returns."
        )
    return np.asarray(value)


def _text(name: str, array: Any, dtype: str) -> Tensor:
    return Tensor.of(name, np.asarray(array), {"content_type": "np", "dtype": dtype})


def array_of(tensor: Tensor, *, own: bool = True) -> npt.NDArray[Any]:
    """The array of a tensor; `own`: one that may be written to, whatever it came from."""
    array = tensor.array()
    if tensor.datatype == "BYTES":
        return _from_text(array, tensor)
    if tensor.datatype == "BF16":
        if find_spec("ml_dtypes") is None:
            return bfloat16.widen(array)
        array = array.view(attribute("ml_dtypes", "bfloat16"))
    return writable(array) if own else array


def writable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array itself, or a copy where it is a view of bytes that cannot change."""
    return array if array.flags.writeable else array.copy()


def _from_text(array: npt.NDArray[Any], tensor: Tensor) -> npt.NDArray[Any]:
    dtype = tensor.parameters.get("dtype")
    if dtype is None:
        return array
    if dtype != "str" and dtype not in _TIMES:
        raise ContentError(
            f"expected 'str' or one of {', '.join(_TIMES)}, got {dtype!r:.60}", ".parameters.dtype"
        )
    try:
        text = np.array([element.decode() for element in array.ravel()], dtype=str)
        return text.astype("U" if dtype == "str" else dtype).reshape(array.shape)
    except ValueError as error:  # not UTF-8, or no time
        raise ContentError(f"not all elements are {dtype}: {error}", ".data") from None
