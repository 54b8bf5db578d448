"""Sub-pixel registration: an estimated shift, and the fixed-point warp that applies it.

Clear dates of one place shift against each other by fractions of a pixel. The estimate is a
suggestion (floating point, encoder only); what travels is a shift in 1/8 pixel, and the warp that
both sides apply is integer arithmetic.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.codec.transform import BLOCK, F64, I32, blocks_of, planes_of
from stvc.model.arithmetic import exact_products
from stvc.native import kernels

if TYPE_CHECKING:
    import torch

F32 = npt.NDArray[np.float32]

_WORST_CONDITION = 1e4
SHIFT_UNITS = 8
MAX_SHIFT = 2 * SHIFT_UNITS
"""Largest shift per axis, in 1/8 pixel."""

_TAPS = 6
_TAP_BITS = 7
_PASS_BITS = 3
# ^ each pass keeps 4 fractional bits: 65535 * 16 * 128 times what the taps' magnitudes sum to, 1.6
#   at most, stays below 2**28


def _filters() -> npt.NDArray[np.int64]:
    """(8, 6) Lanczos-3 taps per 1/8 pixel, integers that sum to 128."""
    phase = np.arange(SHIFT_UNITS)[:, None] / SHIFT_UNITS
    t = np.arange(-2, 4)[None] - phase
    taps = np.sinc(t) * np.sinc(t / 3)
    taps = np.rint(taps / taps.sum(1, keepdims=True) * (1 << _TAP_BITS)).astype(np.int64)
    taps[np.arange(SHIFT_UNITS), np.where(phase[:, 0] > 0.5, 3, 2)] += (1 << _TAP_BITS) - taps.sum(
        1
    )
    return np.asarray(taps, np.int64)


FILTERS = _filters()
_FILTERS_32 = FILTERS.astype(np.int32)


def _shift_rows(planes: I32, shift: int) -> I32:
    """Sample (C, H, W) at ``row + shift / 8``, edges repeated, 4 bits more precise."""
    whole, phase = divmod(shift, SHIFT_UNITS)
    height = planes.shape[1]
    if phase == 0:
        index = np.clip(np.arange(height) + whole, 0, height - 1)
        return np.asarray(planes.take(index, 1)) << (_TAP_BITS - _PASS_BITS)
    rows = np.clip(np.arange(height + _TAPS - 1) + whole - 2, 0, height - 1)
    padded = planes.take(rows, 1)
    taps = FILTERS[phase].tolist()
    total = padded[:, :height] * np.int32(taps[0])
    total += 1 << _PASS_BITS >> 1
    for k, tap in enumerate(taps[1:], 1):
        total += padded[:, k : k + height] * np.int32(tap)
    total >>= _PASS_BITS
    return np.asarray(total)


def warp(planes: npt.NDArray[np.generic], shift: tuple[int, int]) -> I32:
    """Translate planes by a fraction of a pixel, in fixed point.

    Parameters
    ----------
    planes : array, (C, H, W) integers, 0 to 65535
    shift : (int, int)
        (dy, dx) in 1/8 pixel: the output at ``p`` is the input at ``p + shift / 8``.

    Returns
    -------
    array, (C, H, W) int32, 0 to 65535
    """
    if shift == (0, 0):
        return planes.astype(np.int32)
    if kernels is not None:
        out = np.empty(planes.shape, np.int32)
        given = np.ascontiguousarray(planes, np.int32)
        kernels.warp(given, _FILTERS_32, planes.shape, shift, out)
        return out
    down = _shift_rows(planes.astype(np.int32), shift[0])
    both = _shift_rows(np.ascontiguousarray(down.swapaxes(1, 2)), shift[1]).swapaxes(1, 2)
    scale = 2 * (_TAP_BITS - _PASS_BITS)
    both += 1 << scale >> 1
    both >>= scale
    return np.clip(both, 0, 65535, out=np.empty(planes.shape, np.int32))


def warp_blocks(
    planes: npt.NDArray[np.generic], shift: tuple[int, int], tokens: npt.NDArray[np.intp]
) -> I32:
    """Do what `warp` does for some blocks alone.

    Parameters
    ----------
    planes : array, (C, H, W) integers, 0 to 65535; H and W multiples of 8
    shift : (int, int)
    tokens : array, (n,) int
        Which blocks, by their place in raster order.

    Returns
    -------
    array, (C, 8, 8 n) int32
        They lie side by side.
    """
    c, _, width = planes.shape
    if kernels is not None:
        out = np.empty((c, BLOCK, BLOCK * len(tokens)), np.int32)
        given = np.ascontiguousarray(planes, np.int32)
        which = np.ascontiguousarray(tokens, np.int64)
        kernels.warp_blocks(given, _FILTERS_32, planes.shape, shift, which, out)
        return out
    w = width // BLOCK
    blocks = blocks_of(warp(planes, shift))[:, tokens // w, tokens % w]
    return np.asarray(planes_of(blocks[:, None]), np.int32)


def estimate_shift(
    current: npt.NDArray[np.generic],
    reference: npt.NDArray[np.generic],
    clear: npt.NDArray[np.bool_],
    iterations: int = 3,
) -> tuple[int, int]:
    """Estimate the shift that `warp` should apply to ``reference`` (Lucas-Kanade, encoder only).

    Parameters
    ----------
    current, reference : array, (H, W)
        One spectral component of the frame and of its reference, DN.
    clear : array, (H, W) bool
        Pixels to trust.

    Returns
    -------
    (int, int)
        (dy, dx) in 1/8 pixel, at most `MAX_SHIFT`; (0, 0) if there is too little to see.
    """
    if clear.sum() < 64 or min(current.shape) < 16:
        return 0, 0
    weight = clear.copy()
    weight[:3] = weight[-3:] = False
    weight[:, :3] = weight[:, -3:] = False
    base = np.clip(reference, 0, 65535)[None]
    target = _blurred(current)
    shift, last = np.zeros(2), (MAX_SHIFT + 1, 0)
    for _ in range(iterations):
        down, across = np.rint(shift * SHIFT_UNITS).astype(int).tolist()
        if (down, across) == last:
            break
            # ^ the same shift would be found again
        last = down, across
        moved = _blurred(warp(base, last)[0])
        yy, yx, xx, *side = equations(target, moved, weight)
        normal = np.array([[yy, yx], [yx, xx]])
        if not np.isfinite(normal).all() or _is_singular(yy, yx, xx):
            return 0, 0
        shift = np.array(last) / SHIFT_UNITS + np.linalg.solve(normal, np.array(side))
        shift = np.clip(shift, -MAX_SHIFT / SHIFT_UNITS, MAX_SHIFT / SHIFT_UNITS)
    rounded = np.rint(shift * SHIFT_UNITS).astype(int)
    return int(rounded[0]), int(rounded[1])


def _is_singular(yy: float, yx: float, xx: float) -> bool:
    """Whether a symmetric matrix of sums of squares is no base to solve equations on."""
    middle, apart = (yy + xx) / 2, float(np.hypot((yy - xx) / 2, yx))
    least, most = abs(middle - apart), middle + apart
    return least <= 0 or most > _WORST_CONDITION * least


def plain_equations(target: F32, moved: F32, weight: npt.NDArray[np.bool_]) -> F64:
    """Set up the robust normal equations of the shift that is still missing.

    Parameters
    ----------
    target, moved : array, (H, W) float32
        Blurred.
    weight : array, (H, W) bool

    Returns
    -------
    array, (5,)
        Sums over (down, down), (down, across), (across, across), (down, error), (across, error).
    """
    wide = np.pad(moved, 1, mode="edge") * np.float32(0.5)
    gx = (wide[1:-1, 2:] - wide[1:-1, :-2])[weight].astype(np.float64)
    gy = (wide[2:, 1:-1] - wide[:-2, 1:-1])[weight].astype(np.float64)
    error = (target.astype(np.float64) - moved)[weight]
    if not len(error):
        return np.zeros(5)
    error -= np.median(error)
    # ^ haze and illumination lift whole frames
    robust = 1.0 / (1.0 + (error / (1.5 * np.median(np.abs(error)) + 1.0)) ** 2)
    pairs = ((gy, gy), (gy, gx), (gx, gx), (gy, error), (gx, error))
    return np.array([(robust * a * b).sum() for a, b in pairs])


def native_equations(target: F32, moved: F32, weight: npt.NDArray[np.bool_]) -> F64:
    """Do what `plain_equations` does on a native kernel."""
    assert kernels is not None
    out = np.empty(5)
    kernels.equations(target, moved, weight, weight.shape, out)
    return out


equations = plain_equations if kernels is None else native_equations


def _blurred(plane: npt.NDArray[np.generic]) -> F32:
    """Blur a plane (H, W)."""
    image = np.ascontiguousarray(plane, np.float32)
    return plain_blur(image) if kernels is None else native_blur(image)


def plain_blur(plane: F32) -> F32:
    """Blur by `_blur_kernel` both ways, edges reflected."""
    import torch
    from torch.nn.functional import conv2d, pad

    row = _blur_kernel()
    with exact_products():
        image = torch.from_numpy(plane)[None, None]
        image = conv2d(pad(image, (2, 2, 2, 2), mode="reflect"), row[None, None, None])
        return np.asarray(conv2d(image, row[None, None, :, None])[0, 0].numpy())


def native_blur(plane: F32) -> F32:
    """Do what `plain_blur` does on a native kernel."""
    assert kernels is not None
    out = np.empty_like(plane)
    kernels.blur(plane, _blur_kernel().numpy(), plane.shape, out)
    return out


@lru_cache(maxsize=1)
def _blur_kernel() -> torch.Tensor:
    """Gaussian of sigma 1, 5 taps: to the bit `kornia.filters.get_gaussian_kernel1d`.

    It is written out because every process that encodes would import kornia for five numbers: a
    quarter of a second of processor time after torch, longer than registering a small series.
    """
    import torch

    x = torch.arange(5, dtype=torch.float32) - 2
    kernel = torch.exp(-x.pow(2.0) / 2)
    return kernel / kernel.sum()
