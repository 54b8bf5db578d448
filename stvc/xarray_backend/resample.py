"""From one native grid to another, axis by axis: coarser pixels repeated, finer ones averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.masks import axis_spans
from stvc.types import F64

Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class AxisMap:
    """Which pixels of a native axis each pixel of an array's axis stands for."""

    first: tuple[int, ...] = ()
    """Per pixel of the array; empty if the two axes are the same."""
    stop: tuple[int, ...] = ()
    """One past the last; ``first + 1`` everywhere where pixels are repeated."""
    how: str = "same"
    """``"same"``, ``"nearest"``, ``"mean"`` (nodata left out) or ``"any"``."""

    def span(self, picked: Index, length: int) -> slice:
        """Smallest native slice that holds all that ``picked`` pixels stand for."""
        if self.how == "same":
            return slice(int(picked.min()), int(picked.max()) + 1)
        first, stop = np.array(self.first)[picked], np.array(self.stop)[picked]
        return slice(int(first.min()), min(int(stop.max()), length))

    def apply(
        self, block: npt.NDArray[Any], picked: Index, span: slice, *, axis: int
    ) -> npt.NDArray[Any]:
        """Turn a native block into the picked pixels along one axis."""
        if self.how == "same":
            wanted = picked - span.start
            if np.array_equal(wanted, np.arange(block.shape[axis])):
                return block
            return np.asarray(np.take(block, wanted, axis=axis))
        first = np.array(self.first)[picked] - span.start
        stop = np.array(self.stop)[picked] - span.start
        if self.how == "nearest":
            return np.asarray(np.take(block, first, axis=axis))
        if self.how == "any":
            return np.asarray(_sums(block, first, stop, axis) > 0)
        # Rows and columns one after the other: exact where both spans are full, and within half a
        # DN of the plain mean beside nodata.
        count = np.maximum(_sums(block != 0, first, stop, axis), 1)
        mean = (_sums(block, first, stop, axis) + count // 2) // count
        return np.asarray(mean.astype(block.dtype))


SAME = AxisMap()


def axis_map(native: F64, target: F64, pixel: float | None, kind: str) -> AxisMap:
    """Find which native pixels each target pixel stands for.

    Parameters
    ----------
    native, target : ndarray, (N,) and (M,) float64
        Pixel centers along one axis.
    pixel : float or None
        Target pixel size, if it cannot be told from `target`.
    kind : str
        `Layer.kind` of what is resampled: bands are averaged where target pixels are larger,
        booleans hide if any pixel hides, classes take the pixel nearest to the center.

    Returns
    -------
    AxisMap
    """
    if np.array_equal(native, target):
        return SAME
    first, stop = axis_spans(native, target, pixel)
    if np.all(stop - first == 1):
        how = "nearest"
    elif kind == "classes":
        first, how = (first + stop - 1) // 2, "nearest"
        stop = first + 1
    else:
        how = "mean" if kind == "band" else "any"
    return AxisMap(tuple(first.tolist()), tuple(stop.tolist()), how)


def _sums(block: npt.NDArray[Any], first: Index, stop: Index, axis: int) -> npt.NDArray[Any]:
    sums = np.cumsum(block, axis=axis, dtype=np.int64)
    zero = np.zeros_like(np.take(sums, [0], axis=axis))
    sums = np.concatenate([zero, sums], axis=axis)
    return np.asarray(np.take(sums, stop, axis=axis) - np.take(sums, first, axis=axis))
