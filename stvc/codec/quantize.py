"""Quantization steps, the importance of a token, and the quantizer itself.

Everything the decoder repeats (`step_size`, `importance_class`, `token_steps`, `dequantize`)
is integer arithmetic.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stvc.codec.transform import BLOCK, COEFFICIENTS, FRACTION_BITS, I32
from stvc.native import kernels

STEP_OCTAVE = 32
"""Step indices per doubling of the step: one index is 0.19 dB."""
MAX_STEP_INDEX = 14 * STEP_OCTAVE
SKIPPED = 255
"""Importance class of a token that is not coded at all."""
COARSE_CLASS = 4
"""Importance class of hidden ground under ``clouds="coarse"``: a step four times as large."""
MAX_SYMBOL = 1 << 15
CENTROID_UNITS = 32
_TABLE = 1 << 14
# ^ levels up to which a table of values is cheaper than working each one out

_CLEAR_LIMITS = (6, 12, 24, 48)
# ^ of 64 pixels. Only clear pixels count as distortion, so a token with n clear ones is coded at
#   equal slope with a step sqrt(64 / n) times as large (R = 64 log(1/step), D = n step**2 / 12).

_OCTAVE_STEPS = np.rint(2.0 ** (np.arange(STEP_OCTAVE) / STEP_OCTAVE + 16)).astype(np.int64)


def step_size(index: npt.NDArray[np.int64] | int) -> npt.NDArray[np.int64]:
    """Return the quantization step in units of 2**-4 DN: ``2**(index / 32)`` DN, at least 1/16."""
    return np.asarray(_STEPS.take(index, mode="clip"))


def _steps() -> npt.NDArray[np.int64]:
    i = np.arange(MAX_STEP_INDEX + 1)
    shift = 16 - FRACTION_BITS - i // STEP_OCTAVE
    mantissa = _OCTAVE_STEPS[i % STEP_OCTAVE]
    right = np.maximum(shift, 0)
    down = (mantissa + (np.int64(1) << right >> 1)) >> right
    return np.asarray(np.where(shift >= 0, down, mantissa << np.maximum(-shift, 0)))


_STEPS = _steps()


_EACH_BYTE = np.uint64(0x0101010101010101)


def importance_class(hidden: npt.NDArray[np.bool_], coarse: bool) -> npt.NDArray[np.uint8]:
    """Class of each token from the hidden pixels.

    Parameters
    ----------
    hidden : array, (H, W) bool, H and W multiples of 8
        Pixels whose value does not matter.
    coarse : bool
        Code wholly hidden tokens with a coarse step instead of skipping them.

    Returns
    -------
    array, (H/8, W/8) uint8
        0 (full quality) to 4 (step x 4), the step is ``2**(class / 2)`` times as large;
        or `SKIPPED`.
    """
    h, w = hidden.shape[0] // BLOCK, hidden.shape[1] // BLOCK
    eights = np.ascontiguousarray(hidden).view(np.uint64).reshape(h, BLOCK, w).sum(1)
    # ^ counts in each byte, which the product adds up in the highest one
    clear = COEFFICIENTS - (eights * _EACH_BYTE >> np.uint64(56)).astype(np.intp)
    classes = len(_CLEAR_LIMITS) - np.searchsorted(_CLEAR_LIMITS, clear, side="right")
    nothing = COARSE_CLASS if coarse else SKIPPED
    return np.where(clear == 0, nothing, classes).astype(np.uint8)


def token_steps(index: int, importance: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Step of each token in units of 2**-4 DN (skipped tokens get the base step)."""
    extra = np.where(importance == SKIPPED, 0, importance).astype(np.int64)
    return step_size(index + extra * (STEP_OCTAVE // 2))


def quantize(
    residual: npt.NDArray[np.generic], steps: npt.NDArray[np.int64], dead_zone: float
) -> I32:
    """Round a residual to symbols with a dead zone.

    Parameters
    ----------
    residual : array, (..., 64) in units of 2**-4 DN
    steps : array, broadcastable to ``residual``, units of 2**-4 DN
    dead_zone : float
        Rounding offset in steps: 0.5 rounds to nearest, less favors small symbols.

    Returns
    -------
    array, int32
        Symbols, magnitude at most `MAX_SYMBOL`.
    """
    if kernels is not None and residual.dtype == np.float64 and _by_token(residual, steps):
        out = np.empty(residual.shape, np.int32)
        given = np.ascontiguousarray(residual), np.ascontiguousarray(steps, np.int64)
        kernels.quantize(*given, dead_zone, MAX_SYMBOL, out)
        return out
    magnitude = np.abs(residual) / steps
    magnitude += dead_zone
    np.minimum(np.floor(magnitude, out=magnitude), MAX_SYMBOL, out=magnitude)
    return np.asarray(np.copysign(magnitude, residual, out=magnitude), np.int32)


def dequantize(symbols: I32, steps: npt.NDArray[np.int64], shrink: tuple[int, int]) -> I32:
    """Return the residual that symbols stand for, in units of 2**-4 DN.

    Parameters
    ----------
    symbols : array, int32
    steps : array, broadcastable to ``symbols``
    shrink : (int, int)
        Distance of the reconstruction point from the bin center toward zero, in 1/32 step, for
        symbols of magnitude 1 and for larger ones (the bins' centroids, measured by the encoder).
    """
    if kernels is not None and symbols.dtype == np.int32 and _by_token(symbols, steps):
        out = np.empty(symbols.shape, np.int32)
        given = np.ascontiguousarray(symbols), np.ascontiguousarray(steps, np.int64)
        kernels.dequantize(*given, shrink, out)
        return out
    largest = int(max(symbols.max(), -int(symbols.min()))) if symbols.size else 0
    present = np.unique(steps)
    if largest * len(present) > _TABLE:
        return _values(symbols.astype(np.int64), steps, shrink).astype(np.int32)
    levels = np.arange(-largest, largest + 1)
    table = _values(levels, present[:, None], shrink).astype(np.int32)
    rows = np.searchsorted(present, steps) * len(levels) + largest
    return np.asarray(table.take(symbols + rows.astype(np.int32)))


def _by_token(x: npt.NDArray[np.generic], steps: npt.NDArray[np.int64]) -> bool:
    """Whether an array is (C, h, w, 64), with a step for each of its tokens."""
    return x.ndim == 4 and x.shape[3] == COEFFICIENTS and steps.shape == (1, *x.shape[1:3], 1)


def _values(
    s: npt.NDArray[np.int64], steps: npt.NDArray[np.int64], shrink: tuple[int, int]
) -> npt.NDArray[np.int64]:
    m = np.abs(s)
    toward = np.where(m == 1, shrink[0], shrink[1])
    value = (m * CENTROID_UNITS - toward) * steps + CENTROID_UNITS // 2
    return np.asarray(np.sign(s) * (value // CENTROID_UNITS))
