"""Levels under mixtures, one binary decision after the other.

A level is told by whether it lies in an interval around the prediction and then by halving the
interval; every decision has the probability that the pixel's mixture gives it, in integers. All
pixels of a step take their first decision, then all their second. Levels may lean on traces of
earlier processing (`stvc.codec.predictive_traces`): decisions about the lowest bits of values
on counts or on how values are made, the last ones of pixels that complete coefficients on tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_mixture import FLOOR_BITS, WHOLE_BITS, Mixture, mass_below
from stvc.codec.predictive_traces import TABLE, Leaning
from stvc.codec.rangecoder import Reader, Writer
from stvc.native import kernels

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Ask = Callable[[I64, I64, I64 | None], Bool]
"""Is told where "yes" begins, in 2**-24, of which pixels, and answers whether their level is at
least as large as the third argument, or, where that is None, inside of its interval."""

_EDGE_BITS = 24
_SMALLEST_EDGE = 1 << 8
_TABLE_BITS = 20
"""Of the masses in a table, before coefficients lean on them."""
_ESCAPE_BITS = 18
_LEAST_LEANING_WIDTH = 4


def write_levels(
    writer: Writer, mixture: Mixture, levels: I64, leaning: Leaning | None = None
) -> None:
    """Code the (n,) levels of a step, and let the counts behind a leaning learn of them."""
    mixture = _widened(mixture, leaning)
    if kernels is not None:
        known = np.ascontiguousarray(levels, np.int64)
        if leaning is None:
            writer.mixture(mixture.arrays(), known)  # type: ignore[attr-defined]
        else:
            writer.traced(mixture.arrays(), known, leaning.arrays())  # type: ignore[attr-defined]
        return
    low, high = _interval(mixture, leaning)
    inside = (levels >= low) & (levels < high)

    def tell(edges: I64, pixels: I64, middle: I64 | None) -> Bool:
        answer = inside[pixels] if middle is None else levels[pixels] >= middle
        writer.flags(answer, edges)
        return np.asarray(answer, bool)

    _decide(mixture, tell, leaning)
    if leaning is not None:
        leaning.learn(levels)
    escaped = levels[~inside]
    if len(escaped):
        writer.bits(escaped + (1 << _ESCAPE_BITS - 1), _ESCAPE_BITS)


def read_levels(reader: Reader, mixture: Mixture, leaning: Leaning | None = None) -> I64:
    """Read what `write_levels` wrote."""
    mixture = _widened(mixture, leaning)
    if kernels is not None:
        found = np.empty(len(mixture.width), np.int64)
        if leaning is None:
            reader.mixture(mixture.arrays(), found)  # type: ignore[attr-defined]
        else:
            reader.traced(mixture.arrays(), found, leaning.arrays())  # type: ignore[attr-defined]
        return found
    levels, inside = _decide(mixture, lambda edges, pixels, middle: reader.flags(edges), leaning)
    count = int(np.count_nonzero(~inside))
    if count:
        levels[~inside] = reader.bits(count, _ESCAPE_BITS) - (1 << _ESCAPE_BITS - 1)
    if leaning is not None:
        leaning.learn(levels)
    return levels


def _widened(mixture: Mixture, leaning: Leaning | None) -> Mixture:
    """Intervals that may begin up to three levels lower."""
    if leaning is None:
        return mixture
    return replace(mixture, width=np.maximum(mixture.width, _LEAST_LEANING_WIDTH))


def _interval(mixture: Mixture, leaning: Leaning | None) -> tuple[I64, I64]:
    """(n,) levels where the intervals begin and end."""
    half = 1 << mixture.width
    low = -half
    if leaning is not None:
        low = low - (leaning.whole & 3)
        # ^ decisions about the two lowest bits of a value are the last ones
    return low, low + 2 * half


def _decide(
    mixture: Mixture,
    ask: Ask,
    leaning: Leaning | None,
) -> tuple[I64, Bool]:
    """Walk through all decisions: (n,) levels and which of them lie in their intervals."""
    pixels = np.arange(len(mixture.width))
    low, high = _interval(mixture, leaning)
    below, above = mass_below(mixture, pixels, low), mass_below(mixture, pixels, high)
    everything = (1 << WHOLE_BITS) + (1 << WHOLE_BITS - FLOOR_BITS)
    outside = ((everything - (above - below)) << _EDGE_BITS) // everything
    inside = ask(_kept(outside), pixels, None)
    pixels = pixels[inside]
    tables = None if leaning is None else _Tables(mixture, leaning)
    while len(pixels):
        if tables is not None:
            tables.enter(pixels, low, high, below, above)
        left, right, start, stop = low[pixels], high[pixels], below[pixels], above[pixels]
        middle = (left + right) >> 1
        here = mass_below(mixture, pixels, middle)
        if tables is not None:
            here = tables.instead(pixels, middle, here)
        edges = _kept(((here - start) << _EDGE_BITS) // (stop - start))
        noted = None
        if leaning is not None:
            edges, noted = leaning.lean(edges, pixels, left, right)
        up = ask(_kept(edges), pixels, middle)
        if leaning is not None and noted is not None:
            leaning.note(noted, up)
        low[pixels], below[pixels] = np.where(up, middle, left), np.where(up, here, start)
        high[pixels], above[pixels] = np.where(up, right, middle), np.where(up, stop, here)
        pixels = pixels[high[pixels] - low[pixels] > 1]
    return low, inside


class _Tables:
    """Masses of the last values of pixels that complete coefficients."""

    def __init__(self, mixture: Mixture, leaning: Leaning) -> None:
        n, m = len(mixture.width), len(leaning.closing)
        self._mixture, self._leaning = mixture, leaning
        self._slot = np.full(n, -1)
        self._slot[leaning.closing] = np.arange(m)
        self._base = np.zeros(m, np.int64)
        self._sums = np.zeros((m, TABLE + 1), np.int64)
        self._entered = np.zeros(n, bool)

    def enter(self, pixels: I64, low: I64, high: I64, below: I64, above: I64) -> None:
        """Make tables where an interval has become as small as one."""
        size = high[pixels] - low[pixels]
        new = (self._slot[pixels] >= 0) & ~self._entered[pixels] & (size <= TABLE)
        pixels, size = pixels[new], size[new]
        if not len(pixels):
            return
        slot, base = self._slot[pixels], low[pixels]
        levels = base[:, None] + np.minimum(np.arange(TABLE + 1), size[:, None])
        each = np.repeat(pixels, TABLE + 1)
        masses = mass_below(self._mixture, each, levels.reshape(-1)).reshape(levels.shape)
        whole = (masses[:, -1] - masses[:, 0]).astype(np.float64)
        down = np.maximum(np.frexp(whole)[1] - _TABLE_BITS, 0)[:, None]
        parts = np.maximum(np.diff(masses) >> down, 1) * self._leaning.table(slot, base).T
        self._sums[slot, 1:] = np.cumsum(parts, 1)
        self._base[slot] = base
        self._entered[pixels] = True
        below[pixels], above[pixels] = 0, self._sums[slot, size]

    def instead(self, pixels: I64, level: I64, mass: I64) -> I64:
        """Masses below levels, from the tables where there are."""
        entered = self._entered[pixels]
        slot = self._slot[pixels[entered]]
        mass[entered] = self._sums[slot, level[entered] - self._base[slot]]
        return mass


def _kept(edges: I64) -> I64:
    return np.clip(edges, _SMALLEST_EDGE, (1 << _EDGE_BITS) - _SMALLEST_EDGE)
