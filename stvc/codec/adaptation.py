"""How wide a unit's coefficients really lie: corrections of the scales that the network names.

From generation 4 on. Two things are learned about a unit that the network cannot know beforehand:

* how much wider or narrower than expected whole bands of frequencies lie: the encoder measures it
  and says so in the unit's header, as a *widening* per component and band;
* which tokens hold more than expected: a token's coefficients of a group are coded one after the
  other, and those that are told already correct the scales of those that follow.

The second is a step of Fisher scoring on the logarithm of the scale: the score of a symbol is how
many bits a slightly wider table would have saved, its information the score's mean square; both
come from the model's frequency tables by integer arithmetic alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from stvc.codec.rangecoder import Ints, Models, address
from stvc.codec.tables import DIRECT_SCALES, FRACTIONS, TOTAL
from stvc.model.architecture import GROUPS, SCALES

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

ADAPTED = 4
"""Generation of the codec from which on scales are corrected."""
BANDS = GROUPS
"""Zigzag ranges that share a widening."""
MOST = 8
"""Largest correction, in scale indices."""
WEIGHTS = {"default": (0, 364, 227, 166, 177), "fast": (0, 439, 336, 239, 256)}
"""How far a token's own score moves its scales, by effort of the model and band.

Fitted by ``train/scale_weights.py``'s least squares on archives of seven places (``fast``: six of
them) that no table of rates reports on."""

_LOG_BITS = 6
PRIOR = 1 << 14
"""Information that stands for 'as the network said'."""
_UNSEEN = 384
# ^ score of what neither of two tables gives more than the least frequency
_HIGHEST = 1023
_ESCAPE = 12 << _LOG_BITS


@lru_cache(maxsize=1)
def _thresholds() -> I64:
    """Least 16-bit numbers whose ``round(64 log2(x))`` is 64 * 15 + k, k = 0 to 64."""
    out = []
    for k in range((1 << _LOG_BITS) + 1):
        # x >= 2**(15 + (2 k - 1) / 128) in integers
        power = (15 << (_LOG_BITS + 1)) + 2 * k - 1
        low, high = 1, 1 << 17
        while low < high:
            middle = (low + high) // 2
            if middle ** (2 << _LOG_BITS) >= 1 << power:
                high = middle
            else:
                low = middle + 1
        out.append(low)
    return np.array(out, np.int64)


def logarithms(values: npt.NDArray[np.integer]) -> I64:
    """``round(64 log2(x))`` of integers from 1 to 65536, by integer arithmetic."""
    x = np.asarray(values, np.int64)
    length = np.searchsorted(np.int64(1) << np.arange(17, dtype=np.int64), x, side="right") - 1
    mantissa = np.where(length > 15, x >> 1, x << np.maximum(15 - length, 0))
    found = np.searchsorted(_thresholds(), mantissa, side="right") - 1
    return np.asarray((length << _LOG_BITS) + found)


@dataclass(frozen=True)
class Lessons:
    """What symbols teach about scales; parallel to the frequencies of `Models.tables`."""

    scores: npt.NDArray[np.int16]
    """1/64 bit that a scale one index higher saves against one lower."""
    information: I32
    """(tables,) mean square of the scores."""
    costs: npt.NDArray[np.int16]
    """1/64 bit, for encoder decisions; of an escape, about."""


@lru_cache(maxsize=4)
def lessons(models: Models) -> Lessons:
    """Derive scores from a model's frequency tables."""
    tables = models.tables
    scores = np.zeros(len(tables.frequencies), np.int16)
    information = np.zeros(FRACTIONS * DIRECT_SCALES, np.int32)
    for table in range(FRACTIONS * DIRECT_SCALES):
        scale = table % DIRECT_SCALES
        reach = tables.reach(table)
        below, above = table - (scale > 0), table + (scale < DIRECT_SCALES - 1)
        apart = above - below
        narrow, wide = (_within(tables.frequencies_of(k), reach) for k in (below, above))
        score = (logarithms(wide) - logarithms(narrow)) * (2 // apart)
        score = np.where((wide == 1) & (narrow == 1), _UNSEEN, score)
        # from the center outward a symbol never tells less
        score[reach:] = np.maximum.accumulate(score[reach:])
        score[reach::-1] = np.maximum.accumulate(score[reach::-1])
        score = np.append(score, score.max())
        score = np.minimum(score, _HIGHEST)
        start, stop = tables.starts[table], tables.starts[table + 1]
        scores[start:stop] = score
        weighted = tables.frequencies[start:stop].astype(np.int64) * np.square(score)
        information[table] = weighted.sum() // TOTAL
    costs = (logarithms(np.array([TOTAL]))[0] - logarithms(tables.frequencies)).astype(np.int16)
    costs[tables.starts[1:] - 1] += _ESCAPE
    return Lessons(scores, information, costs)


def _within(frequencies: I32, reach: int) -> I64:
    """Frequencies of ``-reach .. reach``; 1 beyond the table's own."""
    mine = (len(frequencies) - 2) // 2
    out = np.ones(2 * reach + 1, np.int64)
    shared = min(mine, reach)
    out[reach - shared : reach + shared + 1] = frequencies[mine - shared : mine + shared + 1]
    return out


@dataclass(frozen=True)
class Correction:
    """How scales of a unit's coefficients are corrected."""

    widening: I32
    """(C, 64) added to the scales of a component's coefficients, see `widened`."""
    weights: I32
    """(64,) of what a token's earlier coefficients taught, see `WEIGHTS`."""


def widened(widening: I64, effort: str) -> Correction:
    """Spread widenings (C, bands) over coefficients."""
    sizes = [high - low for low, high in BANDS]
    return Correction(
        np.repeat(widening, sizes, axis=1).astype(np.int32),
        np.repeat(WEIGHTS[effort], sizes).astype(np.int32),
    )


class Walk:
    """Corrects the scales of a group's coefficients, one column of tokens after the other.

    The definition; `stvc.codec.columns` walks in C where native kernels are.

    Parameters
    ----------
    tokens : int
    widening, weights : array, (columns,)
    models : Models
    """

    def __init__(self, tokens: int, widening: I32, weights: I32, models: Models) -> None:
        self._score, self._information = np.zeros(tokens, np.int64), np.zeros(tokens, np.int64)
        self._widening, self._weights = widening.tolist(), weights.tolist()
        self._models, self._column = models, 0

    def scale(self, scale: Ints) -> I64:
        """Corrected scale indices of the next column (tokens,)."""
        base = scale.astype(np.int64) + self._widening[self._column]
        self._base = np.clip(base, 0, SCALES - 1)
        total = self._information + PRIOR
        twice = 2 * self._weights[self._column] * self._score
        moved = np.clip((twice + total) // (2 * total), -MOST, MOST)
        return np.asarray(np.clip(self._base + moved, 0, SCALES - 1))

    def learn(self, symbols: Ints, location: Ints) -> None:
        """Take in the column's symbols (tokens,) and their locations."""
        learned = lessons(self._models)
        table, entry, _ = entries(symbols, location, self._base, self._models)
        self._score += learned.scores[entry]
        self._information += learned.information[table]
        self._column += 1


def entries(symbols: Ints, location: Ints, scale: Ints, models: Models) -> tuple[Ints, Ints, Ints]:
    """Table of each symbol, its entry among all tables' frequencies, and its low bits."""
    whole, table, low_bits = address(location.astype(np.int64), scale.astype(np.int64))
    high = (symbols - whole) >> low_bits
    reach = models.reach[table]
    place = np.where(np.abs(high) <= reach, high + reach, 2 * reach + 1)
    return table, models.tables.starts[table] + place, low_bits
