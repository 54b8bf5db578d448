"""Dilation of masks: clouds are larger than what a classifier sees of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bool = npt.NDArray[np.bool_]


def grown(found: Bool, distance: float) -> Bool:
    """Hide all pixels within a distance of a hidden one.

    Parameters
    ----------
    found : ndarray, (T, H, W) bool
    distance : float
        In pixels, between pixel centers (Euclidean).

    Returns
    -------
    ndarray, (T, H, W) bool
    """
    out = found.copy()
    if not found.any():
        return out
    _, height, width = found.shape
    for dy in range(min(int(distance), height - 1) + 1):
        # The disk's half-width in this row. Exact: both sides are small multiples of 1e-6.
        reach = int(np.sqrt(distance * distance - dy * dy + 1e-6))
        wide = _spread(found, min(reach, width - 1))
        out[:, dy:] |= wide[:, : height - dy]
        out[:, : height - dy] |= wide[:, dy:]
    return out


def _spread(found: Bool, reach: int) -> Bool:
    """Hide pixels whose row has a hidden one at most `reach` columns away."""
    if not reach:
        return found
    width = found.shape[2]
    counts = np.zeros((*found.shape[:2], width + 1), np.int32)
    np.cumsum(found, axis=2, out=counts[:, :, 1:])
    first = np.maximum(np.arange(width) - reach, 0)
    stop = np.minimum(np.arange(width) + reach + 1, width)
    near: Bool = counts[:, :, stop] > counts[:, :, first]
    return near
