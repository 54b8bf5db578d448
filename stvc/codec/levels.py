"""Rate-distortion optimized choice of levels (encoder only), by the entropy model's own rates.

The quantizer's dead zone settles how much distortion a unit may have. Among all levels that cost no
more distortion, those are taken that cost the fewest bits: each level is the nearest one or one of
the next two toward zero, whichever is least by ``error**2 + slope * bits``, and the slope is the
largest that keeps the distortion. So quality can still be aimed at without the network.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stvc.codec.costs import symbol_bits
from stvc.codec.quantize import CENTROID_UNITS, MAX_SYMBOL
from stvc.codec.rangecoder import Models

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

_STEEPEST = 0.5
"""Squared steps per bit; a fine uniform quantizer works at ``2 ln 2 / 12``."""
_HALVINGS = 8
_CANDIDATES = 3


def choose_levels(
    residual: F64,
    plain: I64,
    location: I64,
    scale: I64,
    shrink: tuple[int, int],
    models: Models,
    leniency: float = 1.0,
) -> I64 | None:
    """Choose levels of a unit.

    Parameters
    ----------
    residual : array, (N,) float64
        In steps.
    plain : array, (N,) int64
        Levels that the dead zone made.
    location, scale : array, (N,) int64
        What the entropy model said when it was told ``plain``.
    shrink : (int, int)
        Reconstruction points, see `stvc.codec.quantize.dequantize`.
    models : Models
    leniency : float
        What the squared error of ``plain`` is multiplied by.

    Returns
    -------
    array, (N,) int64, or None
        Levels with no more squared error than that; None if there is nothing to choose.
    """
    size = np.abs(residual)
    nearest = np.minimum(np.floor(size + 0.5), MAX_SYMBOL).astype(np.int64)
    open_ones = np.flatnonzero((nearest > 0) | (plain != 0))
    if not len(open_ones):
        return None
    size, nearest = size[open_ones], nearest[open_ones]
    sign = np.sign(residual[open_ones]).astype(np.int64)
    levels = np.maximum(nearest - np.arange(_CANDIDATES)[:, None], 0)
    where, wide = location[open_ones], scale[open_ones]
    bits = np.stack([symbol_bits(sign * level, where, wide, models) for level in levels])
    errors = _squared_error(size, levels, shrink)
    allowed = leniency * _squared_error(size, np.abs(plain[open_ones]), shrink).sum()
    chosen, low, high = None, 0.0, _STEEPEST
    for _ in range(_HALVINGS):
        slope = (low + high) / 2
        best = (errors + slope * bits).argmin(0)[None]
        if np.take_along_axis(errors, best, 0).sum() > allowed:
            high = slope
        else:
            low = slope
            chosen = np.take_along_axis(levels, best, 0)[0]
    if chosen is None:
        return None
    found = plain.copy()
    found[open_ones] = sign * chosen
    return found


def _squared_error(size: F64, levels: I64, shrink: tuple[int, int]) -> F64:
    inward = np.where(levels == 1, shrink[0], np.where(levels > 1, shrink[1], 0))
    miss = size - levels + inward / CENTROID_UNITS
    return np.asarray(miss * miss)
