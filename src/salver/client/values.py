"""Values to tensors and back, as a model's metadata want them; what does not fit is told here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from salver.client.errors import InputError
from salver.oip import bfloat16
from salver.oip.codecs.elements import ElementCodec
from salver.oip.codecs.foreign import is_instance
from salver.oip.codecs.json import to_json
from salver.oip.codecs.numpy import array_of, tensor_of, unmasked
from salver.oip.codecs.registry import Registry, built_in
from salver.oip.datatypes import DATATYPES, Datatype
from salver.oip.errors import InvalidResultError, ProtocolError
from salver.oip.framing import as_objects
from salver.oip.metadata import ModelMetadata, TensorMetadata
from salver.oip.plainarrays import completed
from salver.oip.types import InferResponse, Tensor
from salver.oip.value_slots import NumberSlot

__all__ = ("named", "signature_of", "tensors_of", "values_of")

_REGISTRY: Final[Registry] = built_in()
_KINDS: Final = {"bool": "b", "int": "iu", "uint": "iu", "float": "fiu"}


def signature_of(metadata: ModelMetadata) -> str:
    """The model as one line: `score(rows: FP32[-1,2], weight: FP64[1] = ...) -> output-0: ...`."""
    given = ", ".join(_shown(t) + (" = ..." if t.optional else "") for t in metadata.inputs)
    return f"{metadata.name}({given}) -> {', '.join(map(_shown, metadata.outputs)) or 'nothing'}"


def _shown(wanted: TensorMetadata) -> str:
    shape = "..." if wanted.parameters.get("any_shape") else ",".join(map(str, wanted.shape))
    datatype = "any" if wanted.parameters.get("any_datatype") else wanted.datatype
    return f"{wanted.name}: {datatype}[{shape}]"


def named(metadata: ModelMetadata, args: Sequence[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Positional arguments under the names of the inputs, in their order."""
    if not isinstance(given, Mapping):
        raise _wrong(metadata, f"expected a dict of inputs by name, got {given!r:.60}.")
    names = [tensor.name for tensor in metadata.inputs]
    if len(args) > len(names):
        raise _wrong(
            metadata, f"{len(args)} inputs are given by position, and it has {len(names)}."
        )
    values = dict(zip(names, args, strict=False))
    for name in given:
        if name in values:
            raise _wrong(metadata, f"input {name!r} is given twice, by position and by name.")
    return values | dict(given)


def tensors_of(metadata: ModelMetadata, values: Mapping[str, Any]) -> list[Tensor]:
    """The inputs of a call. InputError: the model takes something else."""
    tensors: list[Tensor] = []
    known = {tensor.name: tensor for tensor in metadata.inputs}
    for name, value in values.items():
        wanted = known.get(name)
        if wanted is None:
            near = get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise _wrong(metadata, f"there is no input {name!r}.{hint}")
        if value is None and wanted.optional:
            continue
        try:
            tensors += _tensors(wanted, value)
        except (ProtocolError, InputError) as error:
            said = _said(error).removeprefix(f"output {name!r}: ")  # it is one to the codecs
            raise _wrong(metadata, f"input {name!r}: {said}.") from None
    for wanted in metadata.inputs:
        if wanted.name not in values and not wanted.optional:
            raise _wrong(metadata, f"input {wanted.name!r} is missing.")
    return tensors


def _wrong(metadata: ModelMetadata, what: str) -> InputError:
    return InputError(f"Model {metadata.name!r}: {what} It is {signature_of(metadata)}.")


def _said(error: Exception) -> str:
    return str(error).removesuffix(".")


# ---- one input


def _tensors(wanted: TensorMetadata, value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    content_type = str(wanted.parameters.get("content_type", ""))
    if content_type in ("pd", "dict"):
        return _columns(content_type, value)
    if wanted.parameters.get("any_datatype"):
        return [_any(wanted.name, content_type, value)]
    kind = DATATYPES[wanted.datatype]
    if content_type == "number" and len(wanted.shape) > 1 and _is_ragged(value):
        return [_lists(wanted).encode(wanted.name, value)]
    tensor = (
        _bytes(wanted, content_type, value) if kind.width == 0 else _numbers(wanted, kind, value)
    )
    if not wanted.parameters.get("any_shape"):
        tensor = _shaped(tensor, wanted.shape)
    return [tensor]


def _columns(content_type: str, value: Any) -> list[Tensor]:
    """Of a frame, or of a dict of arrays: for want of pandas, that is a frame too."""
    if is_instance(value, "pandas", "DataFrame"):
        return _REGISTRY.group_named("pd").encode_all(value)
    if not isinstance(value, Mapping):
        what = (
            "a DataFrame or a dict of its columns" if content_type == "pd" else "a dict of arrays"
        )
        raise InputError(f"expected {what}, got {value!r:.60}")
    return [_any(str(name), "np", column) for name, column in value.items()]


def _is_ragged(value: Any) -> bool:
    try:
        np.asarray(value)
    except ValueError:
        return isinstance(value, list | tuple)
    return False


def _lists(wanted: TensorMetadata) -> NumberSlot:
    """What carries lists of numbers within each other, also those that no tensor holds."""
    kind: type = {"BOOL": bool, "INT64": int}.get(wanted.datatype, float)
    hint: Any = kind
    for _ in wanted.shape:
        hint = list[hint]
    return NumberSlot(kind, len(wanted.shape), hint)


def _any(name: str, content_type: str, value: Any) -> Tensor:
    if isinstance(value, list | tuple) and content_type in ("np", "torch"):
        array = _array(value)
        if array.dtype == np.float64 and content_type == "torch":  # as torch.tensor has it
            array = array.astype(np.float32)
        value = array if array.dtype.kind != "O" else value
    if isinstance(value, np.ndarray):
        return tensor_of(name, value)
    if content_type and (value is None or isinstance(value, Mapping)):
        raise InputError(f"expected an array, got {value!r:.60}")
    try:
        return _REGISTRY.encode(name, value)
    except InvalidResultError:
        raise InputError(f"a value of type {type(value).__name__} has no form here") from None


def _bytes(wanted: TensorMetadata, content_type: str, value: Any) -> Tensor:
    name = wanted.name
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "OSUTM":
            raise InputError(f"expected BYTES (str or bytes), got an array of {value.dtype}")
        return tensor_of(name, value)
    if content_type == "json":
        many = wanted.shape != [1] and isinstance(value, list | tuple)
        elements = [to_json(item, computed=False) for item in (value if many else (value,))]
        parameters = {"content_type": "json"}
        return Tensor(name, "BYTES", (len(elements),), as_objects(elements), parameters)
    if content_type == "str":
        value = _as_told(value)
    codec = _REGISTRY.named(content_type) if content_type not in ("", "np") else None
    if isinstance(codec, ElementCodec):
        if value != [] and not codec.can_encode(value):
            raise InputError(f"expected {content_type}, or a list of them, got {value!r:.60}")
        return codec.encode(name, value)
    if isinstance(value, str | bytes | bytearray | memoryview):
        value = [value]
    return Tensor.of(name, as_objects(_flat(value)).reshape(np.shape(value) or (1,)))


def _as_told(value: Any) -> Any:
    """Members of an Enum, dates and the like as the text or number that JSON has for them."""
    try:
        return msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview))
    except TypeError:
        return value


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [element for item in value for element in _flat(item)]
    return [value]


def _numbers(wanted: TensorMetadata, kind: Datatype, value: Any) -> Tensor:
    array = _array(value)
    if array.dtype.kind == "O":
        array = _array(_as_told(value))
    exact = isinstance(value, np.ndarray) or hasattr(value, "__array__")
    if kind.name == "BF16":
        array = _as_bf16(array)
    elif exact and array.ndim and array.dtype.newbyteorder("<") != kind.dtype:
        raise InputError(
            f"expected {kind.name} (numpy.{kind.dtype.name}), got an array of {array.dtype}; "
            f"convert it: array.astype({kind.dtype.name!r})"
        )
    else:
        array = _converted(array, kind)
    return Tensor(wanted.name, kind.name, array.shape, array)


def _array(value: Any) -> npt.NDArray[Any]:
    if is_instance(value, "torch", "Tensor"):  # on whatever device
        value = array_of(_REGISTRY.encode("", value), own=False)
    try:
        return unmasked(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{value!r:.80} is no array: {error}") from None


def _as_bf16(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype.name == "bfloat16":
        return array.view("<u2")
    if array.dtype.kind not in "fiu":
        raise InputError(f"expected BF16 (bfloat16 or float32), got {array.dtype}")
    return bfloat16.narrow(array)


def _converted(array: npt.NDArray[Any], kind: Datatype) -> npt.NDArray[Any]:
    """Numbers of Python, or in the very dtype, as the datatype: never to another value."""
    if array.dtype == kind.dtype:
        return array
    if array.size and array.dtype.kind not in _KINDS[kind.kind]:
        raise InputError(f"expected {kind.name}, got {array.dtype.name} ({array!r:.60})")
    if array.size and kind.kind in ("int", "uint"):
        least, greatest = kind.bounds
        if int(array.min()) < least or int(array.max()) > greatest:
            raise InputError(f"a value is not between {least} and {greatest}, as {kind.name} are")
    with np.errstate(over="ignore"):
        found = array.astype(kind.dtype)
    if kind.kind == "float" and bool((np.isinf(found) & np.isfinite(array)).any()):
        raise InputError(f"a value is too large for {kind.name}")
    return found


def _shaped(tensor: Tensor, wanted: Sequence[int]) -> Tensor:
    """As it is, or one value where one is wanted."""
    given = tensor.shape
    fits = len(given) == len(wanted) and all(
        size in (-1, found) for size, found in zip(wanted, given, strict=True)
    )
    if fits:
        return tensor
    if tensor.count == 1 and not given and all(size in (-1, 1) for size in wanted):
        return _reshaped(tensor, (1,) * len(wanted))
    if completed(given, wanted) != given:
        return _shaped(_reshaped(tensor, completed(given, wanted)), wanted)
    raise InputError(f"expected the shape {list(wanted)}, got {list(given)}")


def _reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    array = tensor.array().reshape(shape)
    return Tensor(tensor.name, tensor.datatype, shape, array, tensor.parameters)


# ---- outputs


def values_of(response: InferResponse, metadata: ModelMetadata, asked: Sequence[str] = ()) -> Any:
    """The output, or a dict of several; columns of a frame are a frame where pandas is at hand.

    What is optional and was not given is None.
    """
    wanted = {tensor.name: tensor for tensor in metadata.outputs}
    if _is_frame(response, metadata):
        return _REGISTRY.group_named("pd").decode_all(response.outputs)
    given = {t.name: _value(t, wanted.get(t.name)) for t in response.outputs}
    values = {
        name: given.get(name)
        for name in asked or wanted
        if name in given or (name in wanted and wanted[name].optional)
    } | given
    if not values and not wanted:
        return None
    whole = any(tensor.parameters.get("content_type") == "dict" for tensor in metadata.outputs)
    return next(iter(values.values())) if len(values) == 1 and not whole else values


def _is_frame(response: InferResponse, metadata: ModelMetadata) -> bool:
    return (
        bool(response.outputs)
        and all("pd_dtype" in tensor.parameters for tensor in response.outputs)
        and not any(t.parameters.get("content_type") == "series" for t in metadata.outputs)
        and find_spec("pandas") is not None
    )


def _value(tensor: Tensor, wanted: TensorMetadata | None) -> Any:
    content_type = _content_type(tensor, wanted)
    single = wanted is not None and wanted.shape == [1]
    if content_type == "number":
        numbers = tensor.array().tolist()
        return numbers[0] if single and tensor.shape == (1,) else numbers
    if wanted is not None and wanted.datatype != "BYTES" and content_type == "json":
        return _lists(wanted).decode(tensor)
    if _is_series(tensor, wanted):
        return _REGISTRY.named("series").decode(tensor)
    codec = _REGISTRY.named(content_type) if content_type not in ("", "np") else None
    if not isinstance(codec, ElementCodec):
        return array_of(tensor, own=False)
    values = codec.decode(tensor)
    return values[0] if single and len(values) == 1 else values


def _is_series(tensor: Tensor, wanted: TensorMetadata | None) -> bool:
    """Whatever its cells are."""
    kinds = tensor.parameters, {} if wanted is None else wanted.parameters
    said = any(kind.get("content_type") == "series" for kind in kinds)
    return said and find_spec("pandas") is not None


def _content_type(tensor: Tensor, wanted: TensorMetadata | None) -> str:
    """What the tensor says that it is, or the model of it."""
    found = tensor.parameters.get("content_type")
    if found is None and wanted is not None:
        found = wanted.parameters.get("content_type")
    return "" if found is None else str(found)
