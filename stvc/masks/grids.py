"""Hidden pixels on a band group's grid, told by a mask on a grid of its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stvc.grid import is_index
from stvc.types import F64, GroupGrid, MaskGrid

Bool = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]

_TOLERANCE = 1e-6
# ^ In pixels. A tie must not turn on a coordinate's last bit: encoder and decoder both come here.


def hidden_on_grid(hidden: Bool, mask: MaskGrid, grid: GroupGrid) -> Bool:
    """Bring hidden pixels from the mask's grid to a band group's grid.

    A coarser mask is repeated (nearest pixel); of a finer mask, one hidden pixel inside a band
    pixel hides that band pixel.

    Parameters
    ----------
    hidden : ndarray, (T, Hm, Wm) bool
        Hidden pixels on the mask's grid.
    mask : MaskGrid
        The mask's grid.
    grid : GroupGrid
        The band group's grid, (H, W) pixels.

    Returns
    -------
    ndarray, (T, H, W) bool
        Hidden pixels on the group's grid; a view of `hidden` if the two grids are the same.
    """
    _, height, width = grid.shape
    if mask.kind == "none":
        return np.zeros((len(hidden), height, width), dtype=np.bool_)
    if np.array_equal(mask.y, grid.y) and np.array_equal(mask.x, grid.x):
        return hidden
    pixel = None if max(height, width) == 1 else grid.gsd
    return _pool(
        _pool(hidden, 1, *axis_spans(mask.y, grid.y, pixel)), 2, *axis_spans(mask.x, grid.x, pixel)
    )


def axis_spans(fine: F64, coarse: F64, pixel: float | None) -> tuple[Index, Index]:
    """Find, along one axis, the mask pixels that speak for each band pixel.

    Parameters
    ----------
    fine : ndarray, (M,) float64
        Mask pixel centers, strictly monotonic.
    coarse : ndarray, (N,) float64
        Band pixel centers, strictly monotonic.
    pixel : float or None
        Band pixel size, used where `coarse` has one pixel only; None if it cannot be told, which
        lets that one pixel cover the whole mask.

    Returns
    -------
    tuple of ndarray, (N,) intp each
        First mask index and one past the last, at least one pixel apart.
    """
    if len(fine) != len(coarse) and is_index(fine) and is_index(coarse):
        # Without coordinates both grids count from 0: they share their ground, not a pixel size.
        coarse = (coarse + 0.5) * (len(fine) / len(coarse)) - 0.5
        pixel = len(fine) / len(coarse)
    if len(fine) == 1:
        return np.zeros(len(coarse), dtype=np.intp), np.ones(len(coarse), dtype=np.intp)
    if fine[-1] < fine[0]:
        fine, coarse = -fine, -coarse
    mask_pixel = float(fine[-1] - fine[0]) / (len(fine) - 1)
    if len(coarse) > 1:
        pixel = abs(float(coarse[-1] - coarse[0])) / (len(coarse) - 1)
    if pixel is None:
        return np.zeros(1, dtype=np.intp), np.full(1, len(fine), dtype=np.intp)
    slack = _TOLERANCE * mask_pixel
    nearest = np.searchsorted((fine[1:] + fine[:-1]) / 2, coarse + slack, side="right")
    if pixel <= mask_pixel * (1 + _TOLERANCE):
        return nearest, nearest + 1
    first = np.searchsorted(fine, coarse - pixel / 2 - slack, side="left")
    stop = np.searchsorted(fine, coarse + pixel / 2 + slack, side="right")
    empty = stop <= first  # band pixels off the mask's ground
    return np.where(empty, nearest, first), np.where(empty, nearest + 1, stop)


def _pool(hidden: Bool, axis: int, first: Index, stop: Index) -> Bool:
    """Any hidden pixel in ``first[i]:stop[i]`` along `axis` hides output pixel ``i``."""
    if np.all(stop - first == 1):
        return np.take(hidden, first, axis=axis)
    counts = np.cumsum(hidden, axis=axis, dtype=np.int32)
    zero = np.zeros_like(np.take(counts, [0], axis=axis))
    counts = np.concatenate([zero, counts], axis=axis)
    pooled: Bool = np.take(counts, stop, axis=axis) > np.take(counts, first, axis=axis)
    return pooled
