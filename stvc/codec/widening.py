"""How much wider than the network said whole bands of a unit lie: choice and syntax."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stvc.codec.adaptation import BANDS
from stvc.codec.columns import Columns, column_costs
from stvc.codec.rangecoder import Ints, Models, Reader, Writer

I64 = npt.NDArray[np.int64]

MOST = 9
"""Largest widening either way, in scale indices."""
_NONE, _SOME, _WIDER, _MORE = (1, 2), (1, 1), (3, 2), (1, 1)
# ^ odds (false, true): a component has some; a band has one; it is negative; it is larger
_COARSE = (-6, -3, 0, 3, 6)
_FINE = (-2, -1, 1, 2)
# ^ what a unit costs has one valley, nearly
_UNIT = 64
# ^ costs are in 1/64 bit


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
    starts = [low for low, _ in BANDS]
    sizes = [high - low for low, high in BANDS]
    best = np.zeros((components, len(BANDS)), np.int64)
    least = np.full(best.shape, np.iinfo(np.int64).max)
    for farther in (_COARSE, _FINE):
        around = best.copy()
        spread = np.repeat(around, sizes, axis=1).astype(np.int32)
        bits = np.zeros((*spread.shape, len(farther)), np.int64)
        for k, low, symbols, location, scale in groups:
            mine = spread[k, low : low + scale.shape[1]]
            columns = Columns.plain(location, scale)._replace(widening=mine)
            bits[k, low : low + scale.shape[1]] += column_costs(symbols, columns, farther, models)
        tried = around[..., None] + np.array(farther)
        total = np.add.reduceat(bits, starts, axis=1) + _prices(np.abs(tried))
        which = total.argmin(-1)[..., None]
        lowest = np.take_along_axis(total, which, -1)[..., 0]
        better = lowest < least
        least = np.where(better, lowest, least)
        best = np.where(better, np.take_along_axis(tried, which, -1)[..., 0], best)
    return best
