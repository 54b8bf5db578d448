"""Turns of a unit's components: for what the spectral transform leaves correlated in one date.

Residuals of two components are turned against each other (Givens rotations) before they are
quantized, by one angle or by one for each band of frequencies; decoders turn dequantized levels
back. Turns are orthonormal, so errors stay as large as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.codec.rangecoder import Reader, Writer
from stvc.codec.transform import COEFFICIENTS, I32
from stvc.native import kernels

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

TURNED = 6
"""Generation of the codec from which on units are turned."""
BANDS = ((0, 6), (6, 21), (21, 36), (36, 64))
"""Of frequencies, in zigzag order."""
COMPONENTS = 6
"""Components that are turned, at most: the first ones."""
MOST = 15
"""Angles are 2.8125 degrees times -15 to 15."""
UNITS = 64
"""Angles that make half a turn."""
BITS = 14
_COSINES = (
    16384, 16364, 16305, 16207, 16069, 15893, 15679, 15426,
    15137, 14811, 14449, 14053, 13623, 13160, 12665, 12140,
)  # fmt: skip
"""Of the angles from 0 on, in 2**-14."""
_SINES = (
    0, 804, 1606, 2404, 3196, 3981, 4756, 5520,
    6270, 7005, 7723, 8423, 9102, 9760, 10394, 11003,
)  # fmt: skip
_NONE = np.zeros((0, COEFFICIENTS), np.int64)
_SOME, _TURNED, _EACH, _ONE = (1, 1), (2, 1), (1, 1), (1, 2)


def pairs_of(components: int) -> list[tuple[int, int]]:
    """Pairs of components, in the order in which encoders turn them."""
    return [(j, k) for k in range(1, min(components, COMPONENTS)) for j in range(k)]


def turn(coefficients: I32, turns: I64) -> I32:
    """Turn integer coefficients.

    Parameters
    ----------
    coefficients : array, (C, h, w, 64) int32, zigzag order
    turns : array, (pairs, bands)
        Angles, -15 to 15.
    """
    return np.asarray(_turned(coefficients, turns, back=False), np.int32)


def turn_back(coefficients: I32, turns: I64) -> I32:
    """Invert `turn`, up to rounding."""
    return np.asarray(_turned(coefficients, turns, back=True), np.int32)


def turn_residual(residual: F64, turns: I64) -> F64:
    """Turn (C, h, w, 64) residuals in floating point (encoder only)."""
    return np.asarray(_turned(residual, turns, back=False), np.float64)


def turn_residual_back(residual: F64, turns: I64) -> F64:
    """Invert `turn_residual`."""
    return np.asarray(_turned(residual, turns, back=True), np.float64)


def factors(turns: I64 | None) -> tuple[I64, I64]:
    """(pairs, 64) cosines and sines of each frequency, in 2**-14; empty if nothing is turned."""
    if turns is None:
        return _NONE, _NONE
    angles = turns.repeat([high - low for low, high in BANDS], 1)
    cosine, sine = np.array(_COSINES)[np.abs(angles)], np.array(_SINES)[np.abs(angles)]
    return cosine, np.where(angles < 0, -sine, sine)


def write_turns(writer: Writer, turns: I64 | None) -> None:
    """Range-code turns."""
    writer.flag(turns is not None, _SOME)
    for row in [] if turns is None else turns.tolist():
        writer.flag(any(row), _TURNED)
        if not any(row):
            continue
        each = len(set(row)) > 1
        writer.flag(each, _EACH)
        for angle in row if each else row[:1]:
            if each:
                writer.flag(angle != 0, _ONE)
            if angle:
                writer.uniform(angle + MOST - (angle > 0), 2 * MOST)


def read_turns(reader: Reader, components: int) -> I64 | None:
    """Read what `write_turns` wrote."""
    if not reader.flag(_SOME):
        return None
    turns = np.zeros((len(pairs_of(components)), len(BANDS)), np.int64)
    for row in turns:
        if not reader.flag(_TURNED):
            continue
        each = reader.flag(_EACH)
        for b in range(len(BANDS) if each else 1):
            if not each or reader.flag(_ONE):
                angle = reader.uniform(2 * MOST) - MOST
                row[b] = angle + (angle >= 0)
        if not each:
            row[:] = row[0]
    return turns


def _turned(x: I32 | F64, turns: I64, *, back: bool) -> npt.NDArray[Any]:
    cosine, sine = factors(turns)
    if kernels is not None:
        found = np.array(x, order="C")
        tokens = found[0].size // COEFFICIENTS
        kernels.turn((len(x), tokens, back), cosine, sine, found)
        return found
    one, half = 1 << BITS, 1 << BITS >> 1
    order = list(enumerate(pairs_of(len(x))))
    exact = x.dtype == np.int32
    out: npt.NDArray[Any] = x.astype(np.int64 if exact else np.float64)
    for p, (j, k) in reversed(order) if back else order:
        if not turns[p].any():
            continue
        c, s = cosine[p], -sine[p] if back else sine[p]
        first, second = c * out[j] + s * out[k], c * out[k] - s * out[j]
        if exact:
            first, second = first + half >> BITS, second + half >> BITS
        else:
            first, second = first / one, second / one
        out[j], out[k] = first, second
    return out
