"""Mixtures of distributions, in integers: how the levels of pixels are distributed.

The pixel network gives each pixel three logistic distributions and three values that it may repeat
(left, above, reference), with weights. `stvc.codec.predictive_decisions` codes levels under them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_tables import (
    EIGHTH,
    LARGEST_SCALE,
    OCTAVE,
    SIZES,
    exp_negative,
    falling_powers,
    logistic,
)
from stvc.codec.predictive_walk import Step
from stvc.model.architecture import LOCATION_BITS, RESIDUAL_BITS
from stvc.native import kernels

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

PARTS, COPIES = 3, 3
OUTPUTS = 3 * PARTS + COPIES
"""Of the network: locations, scales, weights."""
LEVEL_BITS = 6
"""Locations are in 1/64 level."""
_WEIGHT_BITS = 16
_MASS_BITS = 22
WHOLE_BITS = _WEIGHT_BITS + _MASS_BITS
"""Of the mass of a mixture: 2**38."""
_STEP_BITS, _REACH = 4, 16
"""The logistic function is linear between 16ths, and cut at 16."""
_POINT_BITS = 16
_INVERSE_BITS = 33
_POINT_SHIFT = _INVERSE_BITS + LOCATION_BITS - _POINT_BITS
_FARTHEST = 1 << 24
"""In 1/64 DN: products with inverse scales stay below 2**63."""
_OUTPUT_LIMIT = 1 << 13
FLOOR_BITS = 12
"""Each level has a little mass more; in an interval, 2**-12 of a mixture."""
_LEAST_WIDTH, _MOST_WIDTH = 2, 17
"""Of half the interval, as powers of two."""
_OUTSIDE_BITS = 34.0
"""What a level outside of its interval costs, about."""


@dataclass(frozen=True)
class Mixture:
    """Distributions of the levels of n pixels."""

    location: I64
    """(3, n) in 1/64 level."""
    inverse: I64
    """(3, n) 2**36 / (64 scale), the scale in levels."""
    copies: I64
    """(3, n) levels."""
    weight: I64
    """(6, n) of the three distributions and the three levels, 2**16 at most in all."""
    width: I64
    """(n,) the interval is from ``-2**width`` to ``2**width``."""

    def arrays(self) -> tuple[I64, ...]:
        """What kernels ask for."""
        parts = (self.location, self.inverse, self.copies, self.weight, self.width, _logistic())
        return tuple(np.ascontiguousarray(part, np.int64) for part in parts)

    def of(self, chosen: Bool) -> Mixture:
        """Of some of the pixels."""
        if chosen.all():
            return self
        return Mixture(
            self.location[:, chosen],
            self.inverse[:, chosen],
            self.copies[:, chosen],
            self.weight[:, chosen],
            self.width[chosen],
        )


def mixture_of(step: Step, outputs: npt.NDArray[np.int32], pitch: int) -> Mixture:
    """Read what the network says of a step's pixels.

    Parameters
    ----------
    step : Step
        With ``copies``.
    outputs : array, (n, OUTPUTS)
        In 1/64: locations in expected errors, scales in octaves, weights in nats.
    pitch : int
        DN per level.
    """
    assert step.copies is not None
    if kernels is not None:
        return _form_native(step, step.copies, outputs, pitch)
    found = np.clip(outputs.T.astype(np.int64), -_OUTPUT_LIMIT, _OUTPUT_LIMIT)
    whole = step.whole
    size = SIZES[np.clip(step.scale, 0, LARGEST_SCALE)].astype(np.int64)
    moved = step.prediction - whole * EIGHTH + (found[:PARTS] * size >> RESIDUAL_BITS)
    location = (moved << (LEVEL_BITS - LOCATION_BITS)) // pitch
    farthest = _FARTHEST // pitch
    location = np.clip(location, -farthest, farthest)
    rank = step.scale + (found[PARTS : 2 * PARTS] * OCTAVE >> RESIDUAL_BITS)
    rank = np.clip(rank, 0, LARGEST_SCALE)
    copies = (step.copies - whole + pitch // 2) // pitch
    below = np.minimum(found[2 * PARTS :].max(0) - found[2 * PARTS :], len(_falling()) - 1)
    share = _falling()[below]
    weight = (share << _WEIGHT_BITS) // share.sum(0)
    return Mixture(location, _inverses()[rank] * pitch, copies, weight, _width(rank.max(0), pitch))


def _form_native(step: Step, copies: I64, outputs: npt.NDArray[np.int32], pitch: int) -> Mixture:
    """Do what `mixture_of` does on a native kernel."""
    assert kernels is not None
    n = len(step.prediction)
    rows = PARTS, PARTS, COPIES, PARTS + COPIES
    location, inverse, levels, weight = (np.empty((count, n), np.int64) for count in rows)
    width = np.empty(n, np.int64)
    kernels.form_mixture(
        pitch,
        np.ascontiguousarray(outputs, np.int32),
        np.ascontiguousarray(step.prediction, np.int64),
        np.ascontiguousarray(step.scale, np.int64),
        np.ascontiguousarray(copies, np.int64),
        SIZES,
        _falling(),
        _inverses(),
        location,
        inverse,
        levels,
        weight,
        width,
    )
    return Mixture(location, inverse, levels, weight, width)


def single(step: Step, rank: I64) -> Mixture:
    """One distribution around each prediction, of levels of 1 DN.

    Parameters
    ----------
    step : Step
    rank : array, (n,)
        16 log2 of its scale in 1/8 DN.
    """
    rank = np.clip(rank, 0, LARGEST_SCALE)
    location = (step.prediction - step.whole * EIGHTH) << (LEVEL_BITS - LOCATION_BITS)
    weight = np.zeros((PARTS + COPIES, len(rank)), np.int64)
    weight[0] = 1 << _WEIGHT_BITS
    return Mixture(
        np.tile(location, (PARTS, 1)),
        np.tile(_inverses()[rank], (PARTS, 1)),
        np.zeros((COPIES, len(rank)), np.int64),
        weight,
        _width(rank, 1),
    )


def _width(rank: I64, pitch: int) -> I64:
    """Of an interval that 16 scales fit into on either side."""
    octaves = -(-(rank - (LOCATION_BITS + pitch.bit_length() - 1) * OCTAVE) // OCTAVE)
    return np.asarray(np.clip(octaves + 4, _LEAST_WIDTH, _MOST_WIDTH), np.int64)


def level_bits(mixture: Mixture, levels: I64) -> npt.NDArray[np.float64]:
    """(n,) bits that `write_levels` will take, nearly."""
    if kernels is not None:
        mass, outside = np.empty(len(levels), np.int64), np.empty(len(levels), bool)
        kernels.level_masses(
            *mixture.arrays(), np.ascontiguousarray(levels, np.int64), mass, outside
        )
    else:
        pixels, half = np.arange(len(levels)), 1 << mixture.width
        outside = (levels < -half) | (levels >= half)
        level = np.clip(levels, -half, half - 1)
        mass = mass_below(mixture, pixels, level + 1) - mass_below(mixture, pixels, level)
    bits = WHOLE_BITS - np.log2(np.maximum(mass, 1))
    return np.where(outside, _OUTSIDE_BITS, bits)


def mass_below(mixture: Mixture, pixels: I64, level: I64) -> I64:
    """What lies below (n,) levels, in 2**-38, and a little for every level below."""
    edge = (level << LEVEL_BITS) - (1 << LEVEL_BITS - 1)
    point = (edge - mixture.location[:, pixels]) * mixture.inverse[:, pixels] >> _POINT_SHIFT
    limit = (_REACH << _POINT_BITS) - 1
    point = np.clip(point, -limit, limit) + (_REACH << _POINT_BITS)
    at, rest = point >> _POINT_BITS - _STEP_BITS, point & (1 << _POINT_BITS - _STEP_BITS) - 1
    curve = _logistic()
    first = curve[at]
    share = first + ((curve[at + 1] - first) * rest >> _POINT_BITS - _STEP_BITS)
    weight = mixture.weight[:, pixels]
    total = (share * weight[:PARTS]).sum(0)
    copied = (weight[PARTS:] * (mixture.copies[:, pixels] < level)).sum(0)
    floor = WHOLE_BITS - FLOOR_BITS - 1 - mixture.width[pixels]
    least = (level + (1 << mixture.width[pixels])) << floor
    return np.asarray(total + (copied << _MASS_BITS) + least, np.int64)


@lru_cache(maxsize=1)
def _logistic() -> I64:
    """``2**22 / (1 + exp(-x))`` for x from -16 to 16 in 16ths."""
    x = np.arange(-_REACH << _STEP_BITS, (_REACH << _STEP_BITS) + 2)
    return logistic(x << 12 - _STEP_BITS) >> 1


@lru_cache(maxsize=1)
def _falling() -> I64:
    """``2**23 exp(-k / 64)``, down to less than 2**-16."""
    return exp_negative(np.arange(12 << RESIDUAL_BITS) << 12 - RESIDUAL_BITS)


@lru_cache(maxsize=1)
def _inverses() -> I64:
    """``2**33 / 2**(k / 16)``."""
    return falling_powers((1, OCTAVE), 1 << _INVERSE_BITS, LARGEST_SCALE + 1).astype(np.int64)
