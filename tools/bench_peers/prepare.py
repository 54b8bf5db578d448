"""What hidden pixels become before a codec that knows no masks: spatial and temporal filling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stvc.types import F64, U16

Bool = npt.NDArray[np.bool_]


def fill_temporal(pixels: U16, hidden: Bool) -> U16:
    """Give hidden pixels their last clear value; before the first clear date, the next one.

    Parameters
    ----------
    pixels : ndarray, (T, C, H, W) uint16
        Frames.
    hidden : ndarray, (T, H, W) bool
        What to replace; pixels that are never clear stay as they are.

    Returns
    -------
    ndarray, (T, C, H, W) uint16
        Filled frames.
    """
    count = len(pixels)
    now = np.arange(count)[:, None, None]
    last = np.maximum.accumulate(np.where(hidden, -1, now), axis=0)
    following = np.minimum.accumulate(np.where(hidden, count, now)[::-1], axis=0)[::-1]
    origin = np.where(last >= 0, last, np.where(following < count, following, now))
    return np.take_along_axis(pixels, origin[:, None], axis=0)


def inpaint_spatial(pixels: U16, hidden: Bool) -> U16:
    """Give hidden pixels a smooth (pull-push) interpolation of the clear ones of the same date.

    Parameters
    ----------
    pixels : ndarray, (T, C, H, W) uint16
        Frames.
    hidden : ndarray, (T, H, W) bool
        What to replace; a date without any clear pixel becomes the mean of all clear pixels.

    Returns
    -------
    ndarray, (T, C, H, W) uint16
        Filled frames.
    """
    filled = pixels.copy()
    clear = ~hidden
    mean = np.moveaxis(pixels, 1, -1)[clear].mean(axis=0) if clear.any() else pixels.mean((0, 2, 3))
    for t in np.flatnonzero(hidden.any(axis=(1, 2))):
        if clear[t].any():
            weight = clear[t].astype(np.float64)
            smooth = _pull_push(pixels[t] * weight, weight)
        else:
            smooth = np.broadcast_to(mean[:, None, None], pixels[t].shape)
        filled[t] = np.where(hidden[t], np.rint(smooth), pixels[t])
    return filled


def _pull_push(weighted: F64, weight: F64) -> F64:
    """Fill where ``weight`` (H, W) is 0 from ever coarser averages of ``weighted`` (C, H, W).

    Reference: Gortler et al. 1996, The Lumigraph, section 3.4.
    """
    known = weight > 0
    mean = weighted / np.where(known, weight, 1.0)
    if known.all():
        return mean
    height, width = weight.shape
    even = [(0, height % 2), (0, width % 2)]
    coarse_weight = _sum2(np.pad(weight, even))
    coarse = _sum2(np.pad(weighted, [(0, 0), *even]))
    # Weights saturate at 1: many clear pixels must not outweigh a nearer one.
    cap = np.where(coarse_weight > 1, coarse_weight, 1.0)
    guess = _double(_double(_pull_push(coarse / cap, coarse_weight / cap), 1), 2)
    return np.where(known, mean, guess[:, :height, :width])


def _sum2(plane: F64) -> F64:
    """Sum 2 x 2 blocks of the last two axes."""
    h, w = plane.shape[-2:]
    return plane.reshape(*plane.shape[:-2], h // 2, 2, w // 2, 2).sum(axis=(-3, -1))


def _double(planes: F64, axis: int) -> F64:
    """Interpolate linearly to twice the pixels along an axis; edges are held."""
    index = np.arange(planes.shape[axis])
    before = planes.take(np.maximum(index - 1, 0), axis)
    after = planes.take(np.minimum(index + 1, index[-1]), axis)
    pair = np.stack([0.75 * planes + 0.25 * before, 0.75 * planes + 0.25 * after], axis + 1)
    return pair.reshape(*planes.shape[:axis], -1, *planes.shape[axis + 1 :])
