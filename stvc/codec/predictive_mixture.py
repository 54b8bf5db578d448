"""Levels under a mixture of distributions, one binary decision after the other.

The pixel network gives each pixel three logistic distributions and three values that it may repeat
(left, above, reference), with weights. A level is told by whether it lies in an interval around the
prediction and then by halving the interval; every decision has the probability that the mixture
gives it, in integers. All pixels of a step take their first decision, then all their second.
"""

from __future__ import annotations

from collections.abc import Callable
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
from stvc.codec.rangecoder import Reader, Writer
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
"""Of one distribution; with the weight, 2**38."""
_STEP_BITS, _REACH = 4, 16
"""The logistic function is linear between 16ths, and cut at 16."""
_POINT_BITS = 16
_INVERSE_BITS = 33
_POINT_SHIFT = _INVERSE_BITS + LOCATION_BITS - _POINT_BITS
_FARTHEST = 1 << 24
"""In 1/64 DN: products with inverse scales stay below 2**63."""
_OUTPUT_LIMIT = 1 << 13
_FLOOR_BITS = 12
_LEAST_WIDTH, _MOST_WIDTH = 2, 17
"""Of half the interval, as powers of two."""
_EDGE_BITS = 24
_SMALLEST_EDGE = 1 << 8
_ESCAPE_BITS = 18
_ESCAPED_BITS = 34.0
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
    level_rank = -(-(rank.max(0) - (LOCATION_BITS + pitch.bit_length() - 1) * OCTAVE) // OCTAVE)
    width = np.clip(level_rank + 4, _LEAST_WIDTH, _MOST_WIDTH)
    return Mixture(location, _inverses()[rank] * pitch, copies, weight, width)


def write_levels(writer: Writer, mixture: Mixture, levels: I64) -> None:
    """Code the (n,) levels of a step."""
    if kernels is not None:
        writer.mixture(_arrays(mixture), np.ascontiguousarray(levels, np.int64))  # type: ignore[attr-defined]
        return
    inside = (levels >= -(1 << mixture.width)) & (levels < 1 << mixture.width)

    def tell(edges: I64, pixels: I64, middle: I64 | None) -> Bool:
        answer = inside[pixels] if middle is None else levels[pixels] >= middle
        writer.flags(answer, edges)
        return np.asarray(answer, bool)

    _decide(mixture, tell)
    escaped = levels[~inside]
    if len(escaped):
        writer.bits(escaped + (1 << _ESCAPE_BITS - 1), _ESCAPE_BITS)


def level_bits(mixture: Mixture, levels: I64) -> npt.NDArray[np.float64]:
    """(n,) bits that `write_levels` will take, nearly."""
    pixels, half = np.arange(len(levels)), 1 << mixture.width
    inside = (levels >= -half) & (levels < half)
    level = np.clip(levels, -half, half - 1)
    mass = _mass(mixture, pixels, level + 1) - _mass(mixture, pixels, level)
    bits = _WEIGHT_BITS + _MASS_BITS - np.log2(np.maximum(mass, 1))
    return np.where(inside, bits, _ESCAPED_BITS)


def read_levels(reader: Reader, mixture: Mixture) -> I64:
    """Read what `write_levels` wrote."""
    if kernels is not None:
        found = np.empty(len(mixture.width), np.int64)
        reader.mixture(_arrays(mixture), found)  # type: ignore[attr-defined]
        return found
    levels, inside = _decide(mixture, lambda edges, pixels, middle: reader.flags(edges))
    count = int(np.count_nonzero(~inside))
    if count:
        levels[~inside] = reader.bits(count, _ESCAPE_BITS) - (1 << _ESCAPE_BITS - 1)
    return levels


def _arrays(m: Mixture) -> tuple[I64, ...]:
    parts = (m.location, m.inverse, m.copies, m.weight, m.width, _logistic())
    return tuple(np.ascontiguousarray(part, np.int64) for part in parts)


def _decide(mixture: Mixture, ask: Callable[[I64, I64, I64 | None], Bool]) -> tuple[I64, Bool]:
    """Walk through all decisions: (n,) levels and which of them lie in their intervals.

    ``ask(edges, pixels, middle)`` is told where "yes" begins, in 2**-24, and answers for these
    pixels whether their level is inside, or at least ``middle``.
    """
    pixels = np.arange(len(mixture.width))
    low, high = -(1 << mixture.width), 1 << mixture.width
    below, above = _mass(mixture, pixels, low), _mass(mixture, pixels, high)
    everything = (1 << _WEIGHT_BITS + _MASS_BITS) + (1 << _WEIGHT_BITS + _MASS_BITS - _FLOOR_BITS)
    outside = ((everything - (above - below)) << _EDGE_BITS) // everything
    inside = ask(_kept(outside), pixels, None)
    pixels = pixels[inside]
    while len(pixels):
        left, right, start, stop = low[pixels], high[pixels], below[pixels], above[pixels]
        middle = (left + right) >> 1
        here = _mass(mixture, pixels, middle)
        edges = ((here - start) << _EDGE_BITS) // (stop - start)
        up = ask(_kept(edges), pixels, middle)
        low[pixels], below[pixels] = np.where(up, middle, left), np.where(up, here, start)
        high[pixels], above[pixels] = np.where(up, right, middle), np.where(up, stop, here)
        pixels = pixels[high[pixels] - low[pixels] > 1]
    return low, inside


def _kept(edges: I64) -> I64:
    return np.clip(edges, _SMALLEST_EDGE, (1 << _EDGE_BITS) - _SMALLEST_EDGE)


def _mass(mixture: Mixture, pixels: I64, level: I64) -> I64:
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
    floor = _WEIGHT_BITS + _MASS_BITS - _FLOOR_BITS - 1 - mixture.width[pixels]
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
