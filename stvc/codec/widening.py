"""How much wider than the network said whole bands of a unit lie: choice and syntax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from stvc.codec.adaptation import BANDS, entries, lessons
from stvc.codec.columns import Columns, column_costs
from stvc.codec.rangecoder import Ints, Models, Reader, Writer
from stvc.codec.tables import FRACTIONS
from stvc.codec.transform import COEFFICIENTS
from stvc.model.architecture import SCALES
from stvc.native import kernels

I64 = npt.NDArray[np.int64]
Costs = Callable[[I64, Sequence[int]], I64]
"""From widenings (C, bands) and some farther ones to what these cost, (C, bands, n), 1/64 bit."""

MOST = 9
"""Largest widening either way, in scale indices."""
_NONE, _SOME, _WIDER, _MORE = (1, 2), (1, 1), (3, 2), (1, 1)
# ^ odds (false, true): a component has some; a band has one; it is negative; it is larger
_COARSE = (-6, -3, 0, 3, 6)
_FINE = (-2, -1, 1, 2)
# ^ what a unit costs has one valley, nearly
_UNIT = 64
# ^ costs are in 1/64 bit
_STARTS = [low for low, _ in BANDS]
_REACH, _ROW = 15, 96
# ^ as in kernels.h


def write_widening(writer: Writer, widening: I64) -> None:
    """Write widenings (C, bands)."""
    for component in widening.tolist():
        some = any(component)
        writer.flag(some, _NONE)
        for value in component if some else ():
            writer.flag(value != 0, _SOME)
            if value:
                writer.flag(value < 0, _WIDER)
                for k in range(1, MOST):
                    writer.flag(abs(value) > k, _MORE)
                    if abs(value) == k:
                        break


def read_widening(reader: Reader, components: int) -> I64:
    """Read what `write_widening` wrote."""
    found = np.zeros((components, len(BANDS)), np.int64)
    for component in found:
        if not reader.flag(_NONE):
            continue
        for band in range(len(BANDS)):
            if reader.flag(_SOME):
                sign = -1 if reader.flag(_WIDER) else 1
                size = 1
                while size < MOST and reader.flag(_MORE):
                    size += 1
                component[band] = sign * size
    return found


def widening_bits(widening: I64) -> float:
    """Bits that `write_widening` takes, about."""
    silent = ~widening.any(1)
    sizes = np.abs(widening[~silent])
    return float(1.6 * silent.sum() + 0.6 * (~silent).sum() + _prices(sizes).sum() / _UNIT)


def _prices(sizes: I64) -> I64:
    """1/64 bit that a widening of some magnitude costs."""
    return np.asarray(np.where(sizes == 0, _UNIT, _UNIT * (2 + sizes)))


def choose_widening(
    groups: Sequence[tuple[int, int, Ints, Ints, Ints]], components: int, models: Models
) -> I64:
    """Choose the widenings (C, bands) that a unit's symbols cost least with.

    Parameters
    ----------
    groups : sequence of (component, low, symbols, location, scale)
        Coefficients from ``low`` on, (tokens, columns) each.
    components : int
    models : Models
    """
    if kernels is None:
        return _cheapest(_few_costs(groups, models), components)
    bits = np.zeros((components, COEFFICIENTS, 2 * MOST + 1), np.int64)
    for k, low, symbols, location, scale in groups:
        columns = slice(low, low + scale.shape[1])
        bits[k, columns] += all_costs(symbols[None], location[None], scale[None], models)[0]
    return _cheapest(_known_costs(bits), components)


def widening_of(symbols: Ints, location: Ints, scale: Ints, models: Models) -> I64:
    """Choose for a unit whose coefficients lie together; arguments as for `all_costs`."""
    bits = all_costs(symbols, location, scale, models)
    return _cheapest(_known_costs(bits), len(symbols))


def _cheapest(costs: Costs, components: int) -> I64:
    """Walk down to the widenings that cost least."""
    best = np.zeros((components, len(BANDS)), np.int64)
    least = np.full(best.shape, np.iinfo(np.int64).max)
    for farther in (_COARSE, _FINE):
        tried = best[..., None] + np.array(farther)
        total = costs(best, farther) + _prices(np.abs(tried))
        which = total.argmin(-1)[..., None]
        lowest = np.take_along_axis(total, which, -1)[..., 0]
        better = lowest < least
        least = np.where(better, lowest, least)
        best = np.where(better, np.take_along_axis(tried, which, -1)[..., 0], best)
    return best


def _few_costs(groups: Sequence[tuple[int, int, Ints, Ints, Ints]], models: Models) -> Costs:
    """Costs worked out for what is asked."""
    sizes = [high - low for low, high in BANDS]

    def costs(around: I64, farther: Sequence[int]) -> I64:
        spread = np.repeat(around, sizes, axis=1).astype(np.int32)
        bits = np.zeros((*spread.shape, len(farther)), np.int64)
        for k, low, symbols, location, scale in groups:
            mine = spread[k, low : low + scale.shape[1]]
            columns = Columns.plain(location, scale)._replace(widening=mine)
            bits[k, low : low + scale.shape[1]] += column_costs(symbols, columns, farther, models)
        return np.asarray(np.add.reduceat(bits, _STARTS, axis=1))

    return costs


def _known_costs(bits: I64) -> Costs:
    """Costs that are known (C, coefficients, widenings) of all."""
    known = np.add.reduceat(bits, _STARTS, axis=1)

    def costs(around: I64, farther: Sequence[int]) -> I64:
        return np.take_along_axis(known, around[..., None] + np.array(farther) + MOST, -1)

    return costs


def all_costs(symbols: Ints, location: Ints, scale: Ints, models: Models) -> I64:
    """What columns cost under every widening, -`MOST` to `MOST`, on a native kernel.

    Parameters
    ----------
    symbols, scale : array, (C, tokens, columns)
    location : array, (C, tokens, n)
        Of the first n columns, 1/8 steps; all others lie at 0.
    models : Models

    Returns
    -------
    array, (C, columns, 2 MOST + 1) int64
        1/64 bit; see `stvc.codec.columns.column_costs`.
    """
    assert kernels is not None
    components, _, columns = scale.shape
    out = np.empty((components, columns, 2 * MOST + 1), np.int64)
    kernels.widening_costs(
        (*scale.shape, location.shape[2]),
        *models.edges,
        lessons(models).costs,
        _near_costs(models),
        np.ascontiguousarray(symbols, np.int32),
        np.ascontiguousarray(location, np.int32),
        np.ascontiguousarray(scale, np.uint8),
        out,
    )
    return out


@lru_cache(maxsize=4)
def _near_costs(models: Models) -> npt.NDArray[np.int16]:
    """Costs of symbols near their location, (fractions, 2 `_REACH` + 1, `_ROW`).

    A row lists what a symbol costs by scale, `MOST` scales before the first one as under that, and
    behind the last one as under that: all widenings of a scale lie one behind the other.
    """
    location = np.arange(FRACTIONS)[:, None, None] - FRACTIONS // 2
    symbols = np.arange(-_REACH, _REACH + 1)[:, None]
    scale = np.clip(np.arange(_ROW) - MOST, 0, SCALES - 1)
    shape = np.broadcast_shapes(symbols.shape, location.shape, scale.shape)
    tried, where, wide = (np.broadcast_to(x, shape) for x in (symbols, location, scale))
    _, entry, low_bits = entries(tried, where, wide, models)
    return np.asarray(lessons(models).costs[entry] + 64 * low_bits, np.int16)
