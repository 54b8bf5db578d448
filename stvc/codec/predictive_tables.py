"""Integer tables of the predictive coder: logarithms, powers, and logistic frequency tables.

All are built from Python and int64 integers alone, so they are the same on every machine.
"""

from __future__ import annotations

from functools import lru_cache
from math import isqrt

import numpy as np
import numpy.typing as npt

from stvc.codec.rangecoder import Models
from stvc.codec.tables import DIRECT_SCALES, FRACTIONS, TOTAL, Tables, reach_of
from stvc.model.architecture import SCALE_OCTAVE, SCALE_ZERO

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

OCTAVE = 16
"""Units of `log16` per octave."""
EIGHTH = 8
"""Predictions are in 1/8 DN."""
_ONE = 1 << 60
_MANTISSA_SHIFT = 52 - 4
_EXPONENT_BIAS = 1023 * OCTAVE
_LOG2_E = 5909  # log2(e) in 1/4096
_EXP_BITS = 23


def log16(values: F64) -> I64:
    """16 log2(v) of integers v >= 1 held in float64, the mantissa taken as linear.

    Reads exponent and mantissa of the number's IEEE form: exact everywhere, less than 2.4
    units from the logarithm.
    """
    return np.asarray((values.view(np.int64) >> _MANTISSA_SHIFT) - _EXPONENT_BIAS, np.int64)


def falling_powers(octaves: tuple[int, int], start: int, count: int) -> F64:
    """``start * 2 ** (-k * numerator / denominator)`` for k in range(count), rounded down.

    ``octaves`` is (numerator, denominator), the denominator a power of two.
    """
    root = 2 * _ONE
    step = octaves[1]
    while step > 1:
        root, step = isqrt(root * _ONE), step // 2
    ratio = _ONE
    for _ in range(octaves[0]):
        ratio = ratio * _ONE // root
    table, value = [], start * _ONE
    for _ in range(count):
        table.append(value // _ONE)
        value = value * ratio // _ONE
    return np.array(table, np.float64)


@lru_cache(maxsize=1)
def _fractions() -> I64:
    """``2**40 * 2 ** (-k / 4096)``."""
    return falling_powers((1, 4096), 1 << 40, 4096).astype(np.int64)


LARGEST_SCALE = 20 * OCTAVE
SIZES = falling_powers((1, OCTAVE), 1 << 20, LARGEST_SCALE + 1)[::-1].copy()
"""``2 ** (scale / 16)``, at least 1, of expected errors in 1/8 DN."""


def exp_negative(x: I64) -> I64:
    """``2**23 exp(-x / 4096)`` for x >= 0."""
    fractions = _fractions()
    y = x * _LOG2_E >> 12
    whole = np.minimum(y >> 12, 62)
    return np.asarray(fractions[y & 4095] >> (40 - _EXP_BITS) >> whole, np.int64)


def logistic(x: I64) -> I64:
    """``2**23 / (1 + exp(-x / 4096))``."""
    upper = (1 << 2 * _EXP_BITS) // ((1 << _EXP_BITS) + exp_negative(np.abs(x)))
    return np.where(x >= 0, upper, (1 << _EXP_BITS) - upper)


@lru_cache(maxsize=1)
def logistic_models() -> Models:
    """Frequency tables of logistic distributions, laid out as `stvc.codec.tables` has it."""
    parts, starts = [], [0]
    for fraction in range(FRACTIONS):
        for scale in range(DIRECT_SCALES):
            reach = reach_of(scale)
            width = _quarter_octave(scale)
            edges = (np.arange(-reach, reach + 2) * 8 - 4 - (fraction - FRACTIONS // 2)) * (1 << 26)
            x = edges // width
            mass = np.diff(logistic(x))
            mass = np.append(mass, max((1 << _EXP_BITS) - int(mass.sum()), 0))
            counts = (mass * (TOTAL - len(mass)) >> _EXP_BITS) + 1
            counts[mass.argmax()] += TOTAL - counts.sum()
            parts.append(counts.astype(np.int32))
            starts.append(starts[-1] + len(counts))
    return Models(Tables(np.concatenate(parts), np.array(starts, np.int32)))


def _quarter_octave(scale: int) -> int:
    """``2**17 * 2 ** ((scale - SCALE_ZERO) / SCALE_OCTAVE)``, so that edges come out in 1/4096."""
    fourth = isqrt(isqrt((1 << 4 * 40) << (scale % SCALE_OCTAVE)))
    octave = scale // SCALE_OCTAVE - SCALE_ZERO // SCALE_OCTAVE
    rest = isqrt(isqrt((1 << 4 * 40) << (SCALE_ZERO % SCALE_OCTAVE)))
    value = (fourth << 40) // rest
    return (value << (octave + 8)) >> (40 - 17 + 8)
