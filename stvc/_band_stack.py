"""Bands side by side in one array, without a second copy of them where that can be spared."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import as_strided

from stvc.types import U16


def stack_bands(bands: Iterable[U16], count: int) -> U16:
    """Stack bands as (T, C, H, W).

    Parameters
    ----------
    bands : iterable of array, (T, H, W) uint16
        Taken one after the other: of bands that are read from files, memory holds one beside the
        stack.
    count : int
        How many there will be, one at least.

    Returns
    -------
    array, (T, C, H, W) uint16
        To be read, not written: a view of the bands if there is but one, or if they are parts of
        one array at equal distances, as those of a file that was read at once are.
    """
    held: list[U16] = []
    stack: U16 | None = None
    for k, band in enumerate(bands):
        if stack is None:
            held.append(band)
            if _joined(held):
                continue
            stack = np.empty((len(band), count, *band.shape[1:]), np.uint16)
            for earlier, part in enumerate(held):
                stack[:, earlier] = part
            held.clear()
        else:
            stack[:, k] = band
        del band  # before the next one is read
    if stack is not None:
        return stack
    first = held[0]
    if len(held) == 1:
        return first[:, None]
    step = _address(held[1]) - _address(first)
    shape = (len(first), count, *first.shape[1:])
    strides = (first.strides[0], step, *first.strides[1:])
    return as_strided(first, shape, strides)


def _joined(bands: list[U16]) -> bool:
    """Whether bands are views of one array, each as far from the one before as the second is."""
    first = bands[0]
    if len(bands) == 1:
        return True
    steps = {_address(b) - _address(a) for a, b in pairwise(bands)}
    return len(steps) == 1 and all(
        band.base is not None and band.base is first.base and band.strides == first.strides
        for band in bands
    )


def _address(band: U16) -> int:
    return int(band.__array_interface__["data"][0])
