"""Code lengths of symbols, for encoder decisions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.codec.rangecoder import Ints, Models, address
from stvc.model.architecture import SCALES
from stvc.native import kernels

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_COSTS = 255
"""Levels up to which the bits of every scale are kept in a table."""


def best_scale(values: I64, models: Models) -> int:
    """Scale index that codes centered integers with the fewest bits; 0 if there are none."""
    if not len(values):
        return 0
    levels, counts = histogram(values)
    return int((centered_costs(levels, models) @ counts).argmin())


def band_scales(
    symbols: npt.NDArray[np.signedinteger[Any]],
    bands: Sequence[tuple[int, int]],
    models: Models,
    left_out: Bool | None = None,
) -> tuple[I64, float]:
    """Scale indices that code integers around 0 with the fewest bits, and those bits.

    Parameters
    ----------
    symbols : array, (C, n, 64)
    bands : sequence of (first, behind the last)
        Coefficients that share a scale; together all 64.
    models : Models
    left_out : array, (n,) bool, optional
        Tokens whose symbols, all 0, are not coded.

    Returns
    -------
    array, (C, bands), and float
        Scale 0 and no bits if there are no symbols.
    """
    shape = len(symbols), len(bands)
    if left_out is not None and kernels is None:
        symbols, left_out = symbols[:, ~left_out], None
    if left_out is not None and left_out.all():
        symbols = symbols[:, :0]
    if not symbols.size:
        return np.zeros(shape, np.int64), 0.0
    low, high = int(symbols.min()), int(symbols.max())
    width = high - low + 1
    if max(high, -low) > _COSTS:
        symbols = symbols if left_out is None else symbols[:, ~left_out]
        parts = [
            histogram(component[:, slice(*band)].reshape(-1))
            for component in symbols
            for band in bands
        ]
        costs = np.stack([centered_costs(levels, models) @ counts for levels, counts in parts], 1)
    else:
        rows = np.repeat(np.arange(len(bands)), [stop - start for start, stop in bands])
        count = plain_counts if kernels is None else native_counts
        counts = count(symbols, rows, (low, width), left_out)
        used = counts.reshape(-1, width).any(0)
        levels = np.flatnonzero(used) + low
        costs = centered_costs(levels, models) @ counts.reshape(-1, width)[:, used].T
    return costs.argmin(0).reshape(shape), float(costs.min(0).sum())


def plain_counts(
    symbols: npt.NDArray[np.signedinteger[Any]],
    rows: I64,
    levels: tuple[int, int],
    left_out: Bool | None = None,
) -> I64:
    """How often each level occurs.

    Parameters
    ----------
    symbols : array, (C, n, 64)
    rows : array, (64,)
        Band of each coefficient.
    levels : (int, int)
        The lowest, and how many there may be.
    left_out : array, (n,) bool, optional
        Tokens that do not count.

    Returns
    -------
    array, (C * bands * levels,)
    """
    low, width = levels
    seen = symbols if left_out is None else symbols[:, ~left_out]
    bands = int(rows[-1]) + 1
    place = rows * width + np.arange(len(seen))[:, None, None] * (bands * width)
    size = len(seen) * bands * width
    return np.bincount((seen + (place - low)).reshape(-1), minlength=size)


def native_counts(
    symbols: npt.NDArray[np.signedinteger[Any]],
    rows: I64,
    levels: tuple[int, int],
    left_out: Bool | None = None,
) -> I64:
    """Do what `plain_counts` does on a native kernel."""
    assert kernels is not None
    c, n, _ = symbols.shape
    bands = int(rows[-1]) + 1
    out = np.empty(c * bands * levels[1], np.int64)
    kernels.count_levels(
        (c, n, bands),
        levels,
        np.ascontiguousarray(symbols, np.int32),
        np.zeros(n, bool) if left_out is None else np.ascontiguousarray(left_out),
        rows.astype(np.uint8),
        out,
    )
    return out


def histogram(values: npt.NDArray[np.signedinteger[Any]]) -> tuple[I64, I64]:
    """Levels that occur, ascending, and how often."""
    low, high = int(values.min()), int(values.max())
    if high - low > 4 * len(values) + _COSTS:
        levels, counts = np.unique(values, return_counts=True)
        return levels.astype(np.int64), counts
    counts = np.bincount((values - low).astype(np.intp))
    used = np.flatnonzero(counts)
    return used + low, counts[used]


def centered_costs(levels: I64, models: Models) -> npt.NDArray[np.float64]:
    """(SCALES, n) bits of integers around location 0 under every scale."""
    if max(int(levels.max()), -int(levels.min())) <= _COSTS:
        return _cost_table(models)[:, levels + _COSTS]
    grid = np.broadcast_to(levels, (SCALES, len(levels)))
    return symbol_bits(grid, 0, np.arange(SCALES)[:, None], models)


@lru_cache(maxsize=4)
def _cost_table(models: Models) -> npt.NDArray[np.float64]:
    grid = np.broadcast_to(np.arange(-_COSTS, _COSTS + 1), (SCALES, 2 * _COSTS + 1))
    return symbol_bits(grid, 0, np.arange(SCALES)[:, None], models)


def symbol_bits(
    symbols: Ints, location: Ints | int, scale: Ints, models: Models
) -> npt.NDArray[np.float64]:
    """Code length of each symbol in bits (an estimate for escapes), for encoder decisions."""
    where = np.broadcast_to(np.asarray(location, np.int64), symbols.shape)
    wide = np.broadcast_to(np.asarray(scale, np.int64), symbols.shape)
    whole, table, low_bits = address(where, wide)
    high = (symbols - whole) >> low_bits
    reach = models.reach[table]
    inside = np.abs(high) <= reach
    index = models.tables.starts[table] + np.where(inside, high + reach, 2 * reach + 1)
    bits = models.bits[index] + low_bits
    return np.asarray(bits + np.where(inside, 0, 6 + np.log2(np.maximum(np.abs(high) - reach, 1))))
