"""From the expected size of an error to the frequency table of its symbol.

The walk foresees the mean logarithm of (half a level + |error|). Which logistic distribution that
stands for depends on the place, above all where most symbols are 0, so each band sends a curve: for
each quarter octave above half a level, the scale index less the natural one.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_tables import EIGHTH, OCTAVE, log16, logistic_models
from stvc.codec.predictive_walk import Step
from stvc.codec.rangecoder import Reader, Writer, address
from stvc.model.architecture import LOCATION_BITS, SCALE_OCTAVE, SCALE_ZERO, SCALES

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

BUCKETS = 48
_PER_BUCKET = OCTAVE // SCALE_OCTAVE
_NATURAL = SCALE_ZERO - SCALE_OCTAVE
"""Scale index of a half level."""
_LOWEST, _CORRECTIONS = -20, 32
_TURN = (7, 1)
_TURNS = (-3, -2, -1, 1, 2, 3)
_TURN_BITS = 5.6
_COARSE = SCALE_ZERO + 7
"""From this scale on, the fraction of a prediction does not matter to the table."""
_MAGNITUDES = 512


def address_of(step: Step, curves: I64, pitch: int) -> tuple[I64, I64]:
    """Location (1/8 levels) and scale index of a step's symbols.

    Parameters
    ----------
    step : Step
    curves : array, (C, buckets)
        Corrections of the scale index.
    pitch : int
        DN per level.
    """
    fraction = ((step.prediction + EIGHTH // 2) & (EIGHTH - 1)) - EIGHTH // 2
    location = (2 * fraction + pitch) // (2 * pitch)
    bucket = _bucket(step, pitch)
    scale = np.clip(_NATURAL + bucket + curves[step.band, bucket], 0, SCALES - 1)
    return np.where(scale < _COARSE, location, 0), scale


def fit_curves(coded: list[tuple[Step, I64]], bands: int, pitch: int) -> tuple[I64, F64]:
    """Find the curves that code symbols in the fewest bits: (C, buckets), and (C,) how many."""
    counts = np.zeros((bands, BUCKETS, _MAGNITUDES))
    if coded:
        where = np.concatenate([s.band * BUCKETS + _bucket(s, pitch) for s, _ in coded])
        size = np.concatenate([np.minimum(np.abs(v), _MAGNITUDES - 1) for _, v in coded])
        counts = np.bincount(where * _MAGNITUDES + size, minlength=counts.size).astype(np.float64)
        counts = counts.reshape(bands, BUCKETS, _MAGNITUDES)
    bits = counts @ _magnitude_bits().T
    scale = _NATURAL + np.arange(BUCKETS)[:, None] + _LOWEST + np.arange(_CORRECTIONS)
    costs = np.take_along_axis(bits, np.clip(scale, 0, SCALES - 1)[None], 2)
    paths = [_path(cost) for cost in costs]
    return np.stack([path for path, _ in paths]), np.array([cost for _, cost in paths])


def _path(costs: F64) -> tuple[I64, float]:
    """Cheapest sequence of corrections, (buckets,), of costs (buckets, corrections); its cost."""
    index = np.arange(_CORRECTIONS)
    turn = np.abs(index[:, None] - index)
    moves = np.where(turn == 0, 0.2, np.where(turn <= max(_TURNS), _TURN_BITS, np.inf))
    total, back = costs[0], []
    for cost in costs[1:]:
        through = total[:, None] + moves
        back.append(through.argmin(0))
        total = through.min(0) + cost
    path = [int(total.argmin())]
    for came in reversed(back):
        path.append(int(came[path[-1]]))
    return np.array(path[::-1], np.int64) + _LOWEST, float(total.min())


def write_curves(writer: Writer, curves: I64) -> None:
    """Write the curves of all bands."""
    for curve in curves.tolist():
        writer.uniform(curve[0] - _LOWEST, _CORRECTIONS)
        for before, after in pairwise(curve):
            writer.flag(after != before, _TURN)
            if after != before:
                writer.uniform(_TURNS.index(after - before), len(_TURNS))


def read_curves(reader: Reader, bands: int) -> I64:
    """Read what `write_curves` wrote."""
    curves = np.zeros((bands, BUCKETS), np.int64)
    for curve in curves:
        value = reader.uniform(_CORRECTIONS) + _LOWEST
        curve[0] = value
        for bucket in range(1, BUCKETS):
            if reader.flag(_TURN):
                value += _TURNS[reader.uniform(len(_TURNS))]
            curve[bucket] = value
    return curves


def _bucket(step: Step, pitch: int) -> I64:
    floor = int(log16(np.array([EIGHTH * pitch * 0.5]))[0])
    return np.asarray(np.clip((step.scale - floor) // _PER_BUCKET, 0, BUCKETS - 1), np.int64)


@lru_cache(maxsize=1)
def _magnitude_bits() -> F64:
    """(scales, magnitudes) code length of a symbol, escapes roughly."""
    models = logistic_models()
    scale, size = (a.reshape(-1) for a in np.indices((SCALES, _MAGNITUDES)))
    _, table, low_bits = address(np.zeros_like(scale) << LOCATION_BITS, scale)
    high = size >> low_bits
    reach = models.reach[table]
    entry = np.where(high > reach, 2 * reach + 1, high + reach)
    bits = models.bits[models.tables.starts[table] + entry] + low_bits + 12.0 * (high > reach)
    return np.asarray(bits.reshape(SCALES, _MAGNITUDES), np.float64)
