"""Recognises values and annotations of libraries that may not be there, without importing them."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any, get_origin

import numpy as np

from salver.oip.errors import UnsupportedError

__all__ = ("is_array_like", "is_instance", "is_type", "loaded")


def is_type(hint: object, module: str, name: str) -> bool:
    """Whether an annotation is that class of that library, or one derived from it."""
    kind = get_origin(hint) or hint
    return isinstance(kind, type) and any(
        base.__name__ == name and base.__module__.partition(".")[0] == module
        for base in kind.__mro__
    )


def is_array_like(hint: object) -> bool:
    """Whether an annotation is an array, a tensor, a series or an image."""
    return (
        (get_origin(hint) or hint) is np.ndarray
        or is_type(hint, "torch", "Tensor")
        or is_type(hint, "pandas", "Series")
        or is_type(hint, "PIL", "Image")
    )


def is_instance(value: object, module: str, name: str) -> bool:
    """Whether a value is of that class of that library."""
    return module in sys.modules and is_type(type(value), module, name)


def loaded(module: str, *, extra: str = "") -> ModuleType:
    """The library, imported if need be: for clients that name its content type first."""
    try:
        return import_module(module)
    except ImportError:
        raise UnsupportedError(
            f"This needs {module}, which is not installed here. "
            f"Install it with: pip install {extra or module}"
        ) from None


def attribute(module: str, name: str) -> Any:
    """One attribute of a library."""
    return getattr(loaded(module), name)
