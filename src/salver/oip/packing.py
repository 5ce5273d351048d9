"""From what a function returned to an answer: held to its annotation, in every protocol alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salver.oip.errors import InvalidResultError
from salver.oip.plainarrays import write_plain
from salver.oip.signature import Output, Signature
from salver.oip.types import InferResponse

__all__ = ("packed", "plain_of")


def packed(signature: Signature, result: Any) -> InferResponse:
    """The response that a result is. InvalidResultError: it is not what was declared."""
    if isinstance(result, InferResponse):
        return result
    only = signature.only
    try:
        if only is not None:
            return InferResponse([only.slot.encode(only.tensor, result)])
        return _packed(signature, result)
    except InvalidResultError as error:
        raise _told(signature, error) from None


def plain_of(signature: Signature, result: Any) -> Any:
    """The same in plain JSON: something that `to_json` writes; several outputs by their names."""
    if isinstance(result, InferResponse):
        return {tensor.name: write_plain(tensor) for tensor in result.outputs}
    only = signature.only
    try:
        if only is not None:
            return only.slot.to_plain(only.tensor, result)
        return _plain(signature, result)
    except InvalidResultError as error:
        raise _told(signature, error) from None


def _told(signature: Signature, error: InvalidResultError) -> InvalidResultError:
    return InvalidResultError(f"{signature.name}: {error}")


def _packed(signature: Signature, result: Any) -> InferResponse:
    group = signature.group
    if group is not None:
        whole = _of_group(signature, result)
        return InferResponse([] if whole is None else group.encode_all(whole))
    values = _values(signature, result)
    # What is None where it may be has no tensor.
    return InferResponse(
        [o.slot.encode(o.tensor, v) for o, v in values if v is not None or not o.nullable]
    )


def _plain(signature: Signature, result: Any) -> Any:
    if signature.group is not None:
        return _of_group(signature, result)
    values = _values(signature, result)
    found = {
        o.tensor: None if v is None and o.nullable else o.slot.to_plain(o.tensor, v)
        for o, v in values
    }
    if signature.named and values:
        return found
    return next(iter(found.values()), None)


def _of_group(signature: Signature, result: Any) -> Any:
    """A frame or a dict of arrays, or None where it may be."""
    group = signature.group
    assert group is not None  # noqa: S101 - the caller looked
    if result is None and signature.nullable:
        return None
    empty = group.content_type == "dict" and result == {}
    if not empty and not group.can_encode(result):
        what = {"pd": "a DataFrame", "dict": "a dict of arrays"}.get(
            group.content_type, group.content_type
        )
        raise InvalidResultError(f"{what} is declared, but {result!r:.60} was returned.")
    return result


def _values(signature: Signature, result: Any) -> list[tuple[Output, Any]]:
    outputs = signature.outputs
    if signature.direct:
        raise InvalidResultError(f"an InferResponse is declared, but {result!r:.60} was returned.")
    if not outputs and result is not None:
        raise InvalidResultError(f"None is declared, but {result!r:.60} was returned.")
    if signature.several:
        if not isinstance(result, tuple) or len(result) != len(outputs):
            raise InvalidResultError(
                f"a tuple of {len(outputs)} is declared, but {result!r:.60} was returned."
            )
        return list(zip(outputs, result, strict=True))
    if result is None and signature.nullable:
        return []
    if outputs and outputs[0].field is not None:
        return [(output, _field(result, str(output.field))) for output in outputs]
    return [(output, result) for output in outputs]


def _field(result: Any, name: str) -> Any:
    try:
        return result[name] if isinstance(result, Mapping) else getattr(result, name)
    except (KeyError, AttributeError):
        raise InvalidResultError(
            f"the result has no {name!r}, which its annotation promises; got {result!r:.60}."
        ) from None
