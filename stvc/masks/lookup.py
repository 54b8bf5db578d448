"""Tables over the values of a raster, applied without eight bytes for each pixel."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from stvc.types import U8

T = TypeVar("T", bound=np.generic)

_AT_ONCE = 1 << 20
# ^ numpy makes 64-bit positions of all indices before it looks any of them up


def looked_up(table: npt.NDArray[T], values: U8) -> npt.NDArray[T]:
    """Give ``table[values]``.

    Parameters
    ----------
    table : array, (N,)
    values : array, any shape, uint8
        Below N.
    """
    if values.size <= _AT_ONCE:
        return table[values]
    found = np.empty(values.shape, table.dtype)
    flat, into = values.reshape(-1), found.reshape(-1)
    for start in range(0, flat.size, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        into[part] = table[flat[part]]
    return found
