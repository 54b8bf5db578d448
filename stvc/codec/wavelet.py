"""One level of the reversible 5/3 wavelet transform of JPEG 2000 (ISO/IEC 15444-1, Annex F)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


def forward(values: I64, phase: int) -> I64:
    """Transform (H, W) integers, both sides at least 2; coefficients in the places of their pixels.

    ``phase`` is ``2 y + x`` of the first row and column that are even: that hold low frequencies.
    Edges are mirrored.
    """
    return _analyzed(_analyzed(values, phase >> 1).T, phase & 1).T


def inverse(coefficients: I64, phase: int) -> I64:
    """Invert `forward`."""
    return _composed(_composed(coefficients.T, phase & 1).T, phase >> 1)


def low(coefficients: I64, phase: int) -> I64:
    """(h, w) view of the low frequencies."""
    return coefficients[phase >> 1 :: 2, phase & 1 :: 2]


def _analyzed(values: I64, first: int) -> I64:
    out = values.copy()
    for start, sign, half in ((1 - first, -1, 0), (first, 1, 1)):
        _lift(out, start, sign, half)
    return out


def _composed(values: I64, first: int) -> I64:
    out = values.copy()
    for start, sign, half in ((first, -1, 1), (1 - first, 1, 0)):
        _lift(out, start, sign, half)
    return out


def _lift(rows: I64, start: int, sign: int, half: int) -> None:
    """Move every other row by what its neighbors say: their mean, or half of it."""
    at = np.arange(start, len(rows), 2)
    last = len(rows) - 1
    before, after = np.abs(at - 1), last - np.abs(last - (at + 1))
    around = rows[before] + rows[after]
    rows[at] += sign * ((around + 2 * half) >> (1 + half))
