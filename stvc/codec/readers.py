"""Several payloads, read side by side: one that is damaged must not take the others along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stvc.codec.adaptation import Correction
from stvc.codec.columns import MOST_SYMBOL, Columns, corrected_scales, read_columns
from stvc.codec.costs import symbol_bits
from stvc.codec.rangecoder import Ints, Models, Reader
from stvc.codec.transform import I32
from stvc.errors import CorruptError

Listener = Callable[[npt.NDArray[np.intp], npt.NDArray[np.float64]], None]
"""Is told raster indices of tokens and the bits that they took."""


class Told(NamedTuple):
    """What the network says of a group of some tokens."""

    location: Ints
    """(tokens, n), 1/8 steps."""
    scale: Ints
    """(tokens, n)."""
    component: int
    low: int
    """Zigzag index of the first coefficient."""
    tokens: npt.NDArray[np.intp]
    """(tokens,) raster indices."""


class Readers:
    """Readers of units that go through the network together.

    Parameters
    ----------
    readers : sequence of Reader
    models : Models
    listener : Listener, optional
        Is told what was read.
    """

    def __init__(
        self, readers: Sequence[Reader], models: Models, listener: Listener | None = None
    ) -> None:
        self._readers, self._models, self._listener = readers, models, listener
        self._broken: dict[int, CorruptError] = {}

    def group(self, unit: int, told: Told, correction: Correction | None) -> I32:
        """Read the coefficients of a group, (tokens, n).

        Zeros once the unit has turned out to be damaged.
        """
        if unit in self._broken:
            return np.zeros(told.scale.shape, np.int32)
        try:
            symbols, scale = self._read(self._readers[unit], told, correction)
        except CorruptError as error:
            self._broken[unit] = error
            return np.zeros(told.scale.shape, np.int32)
        if self._listener is not None:
            bits = symbol_bits(symbols, told.location, scale, self._models)
            self._listener(told.tokens, bits.sum(1))
        return symbols

    def _read(self, reader: Reader, told: Told, correction: Correction | None) -> tuple[I32, Ints]:
        """Symbols, and the scales that they were read under."""
        location, scale = told.location, told.scale
        if correction is not None:
            columns = Columns.of(location, scale, correction, told.component, told.low)
            symbols = read_columns(reader, columns, self._models)
            if self._listener is not None:
                scale = corrected_scales(symbols, columns, self._models)
            return symbols, scale
        values = reader.symbols(location.reshape(-1), scale.reshape(-1), self._models)
        if len(values) and int(np.abs(values).max()) >= MOST_SYMBOL:
            raise CorruptError("a symbol is beyond every quantizer level; the payload is damaged")
        return values.reshape(scale.shape).astype(np.int32), scale

    def outcomes(self, symbols: Sequence[I32]) -> list[I32 | CorruptError]:
        """Symbols of all units, or what is wrong with them."""
        return [self._broken.get(k, found) for k, found in enumerate(symbols)]
