"""BF16, which NumPy has not: the upper half of an FP32, held as uint16 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ("narrow", "widen")


def widen(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """The values of these bits; exact."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def narrow(values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """The bits of these values, rounded to nearest, ties to even; too large becomes infinite."""
    with np.errstate(over="ignore"):
        bits = values.astype(np.float32).view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    halves = (rounded >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), halves).astype(np.uint16, copy=False)
