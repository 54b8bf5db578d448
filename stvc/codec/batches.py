"""Batches: symbols that the network told of at once, on their way to the range coder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stvc.codec.adaptation import Correction
from stvc.codec.columns import Columns, corrected_scales, write_columns
from stvc.codec.costs import symbol_bits
from stvc.codec.rangecoder import Ints, Models, Writer


class Batch(NamedTuple):
    """Symbols with their locations (1/8 steps) and scale indices, (tokens, coefficients) each."""

    symbols: Ints
    location: Ints
    scale: Ints
    component: int
    low: int
    """Zigzag index of the first coefficient."""


def batch_bits(batches: Sequence[Batch], models: Models) -> float:
    """Total code length of batches in bits."""
    return float(sum(symbol_bits(b.symbols, b.location, b.scale, models).sum() for b in batches))


def corrected_batches(
    batches: Sequence[Batch], correction: Correction, models: Models
) -> list[Batch]:
    """The same symbols under corrected scales, see `stvc.codec.adaptation`."""
    found = []
    for batch in batches:
        columns = Columns.of(batch.location, batch.scale, correction, batch.component, batch.low)
        scale = corrected_scales(batch.symbols, columns, models)
        found.append(batch._replace(scale=scale))
    return found


def write_batches(
    writer: Writer, batches: Sequence[Batch], models: Models, *, by_columns: bool = False
) -> None:
    """Range-code batches in order; ``by_columns`` those whose scales were corrected."""
    for symbols, location, scale, _, _ in batches:
        if by_columns:
            write_columns(writer, symbols, location, scale, models)
        else:
            writer.symbols(
                np.reshape(symbols, -1), np.reshape(location, -1), np.reshape(scale, -1), models
            )
