"""Coefficients of a group to range-coded words and back, column by column, with corrected scales.

Which scales is told by `stvc.codec.adaptation`; here a whole group goes through its walk, in C
where native kernels are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from stvc.codec.adaptation import Correction, Walk, entries, lessons
from stvc.codec.rangecoder import Ints, Models, Reader, Writer
from stvc.errors import CorruptError
from stvc.model.architecture import SCALES
from stvc.native import kernels

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

MOST_SYMBOL = 1 << 24
"""Far beyond every quantizer level."""


class Columns(NamedTuple):
    """Where and how the coefficients of a group are coded."""

    location: Ints
    """(tokens, columns), 1/8 steps."""
    scale: Ints
    """(tokens, columns) as the network says."""
    widening: I32
    """(columns,)."""
    weights: I32
    """(columns,)."""

    @classmethod
    def of(
        cls, location: Ints, scale: Ints, correction: Correction, component: int, low: int
    ) -> Columns:
        """Those of a component, from coefficient ``low`` on."""
        mine = slice(low, low + scale.shape[1])
        return cls(location, scale, correction.widening[component, mine], correction.weights[mine])

    @classmethod
    def plain(cls, location: Ints, scale: Ints) -> Columns:
        """Those whose scales stand."""
        nothing = np.zeros(scale.shape[1], np.int32)
        return cls(location, scale, nothing, nothing)


def _arrays(columns: Columns, models: Models, values: Any = None) -> tuple[Any, ...]:
    """Arguments that all kernels take."""
    learned = lessons(models)
    return (
        columns.scale.shape,
        *models.edges,
        learned.scores if values is None else values,
        learned.information,
        np.ascontiguousarray(columns.widening),
        np.ascontiguousarray(columns.weights),
        np.ascontiguousarray(columns.location, np.int32),
        np.ascontiguousarray(columns.scale, np.uint8),
    )


def read_columns(reader: Reader, columns: Columns, models: Models) -> I32:
    """Read the symbols (tokens, columns) of a group.

    Raises
    ------
    CorruptError
        If no encoder writes such bits.
    """
    found = np.zeros(columns.scale.shape, np.int32)
    if kernels is not None:
        cast(Any, reader).columns(_arrays(columns, models), found)
        return found
    walk = Walk(len(found), columns.widening, columns.weights, models)
    for j in range(len(columns.widening)):
        symbols = reader.symbols(columns.location[:, j], walk.scale(columns.scale[:, j]), models)
        if len(symbols) and int(np.abs(symbols).max()) >= MOST_SYMBOL:
            raise CorruptError("a symbol is beyond every quantizer level; the payload is damaged")
        walk.learn(symbols, columns.location[:, j])
        found[:, j] = symbols
    return found


def corrected_scales(symbols: Ints, columns: Columns, models: Models) -> U8:
    """Scales (tokens, columns) that symbols will be coded with."""
    out = np.empty(columns.scale.shape, np.uint8)
    if kernels is not None:
        values = np.ascontiguousarray(symbols, np.int32)
        kernels.corrected_scales(*_arrays(columns, models), values, out)
        return out
    walk = Walk(len(out), columns.widening, columns.weights, models)
    for j in range(len(columns.widening)):
        out[:, j] = walk.scale(columns.scale[:, j])
        walk.learn(symbols[:, j].astype(np.int64), columns.location[:, j])
    return out


def write_columns(
    writer: Writer, symbols: Ints, location: Ints, scale: Ints, models: Models
) -> None:
    """Write the symbols (tokens, columns) of a group under corrected scales."""
    if kernels is not None:
        columns = Columns.plain(location, scale)
        cast(Any, writer).columns(_arrays(columns, models), np.ascontiguousarray(symbols, np.int32))
        return
    for j in range(scale.shape[1]):
        writer.symbols(symbols[:, j], location[:, j], scale[:, j], models)


def column_costs(symbols: Ints, columns: Columns, farther: Sequence[int], models: Models) -> I64:
    """(columns, n) 1/64 bit that each column takes if its scales are widened by that much more."""
    learned = lessons(models)
    tried = np.array(farther, np.int32)
    out = np.zeros((columns.scale.shape[1], len(tried)), np.int64)
    if kernels is not None:
        arrays = _arrays(columns, models, learned.costs)
        kernels.column_costs(*arrays, np.ascontiguousarray(symbols, np.int32), tried, out)
        return out
    for k, more in enumerate(farther):
        wide = columns.scale.astype(np.int64) + columns.widening + more
        wide = np.clip(wide, 0, SCALES - 1)
        _, entry, low_bits = entries(symbols.astype(np.int64), columns.location, wide, models)
        out[:, k] = (learned.costs[entry].astype(np.int64) + 64 * low_bits).sum(0)
    return out
