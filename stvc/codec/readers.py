"""Several payloads, read side by side: one that is damaged must not take the others along."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stvc.codec.rangecoder import Ints, Models, Reader
from stvc.codec.transform import I32
from stvc.errors import CorruptError

I64 = npt.NDArray[np.int64]

_MOST = 1 << 24
# ^ far beyond every quantizer level


class Readers:
    """Readers of units that go through the network together.

    Parameters
    ----------
    readers : sequence of Reader
    models : Models
    """

    def __init__(self, readers: Sequence[Reader], models: Models) -> None:
        self._readers, self._models = readers, models
        self._broken: dict[int, CorruptError] = {}

    def symbols(self, unit: int, location: Ints, scale: Ints) -> I64:
        """Read a batch of a unit's symbols; zeros once the unit has turned out to be damaged."""
        if unit not in self._broken:
            try:
                values = self._readers[unit].symbols(location, scale, self._models)
                if len(values) and int(np.abs(values).max()) >= _MOST:
                    raise CorruptError(
                        "a symbol is beyond every quantizer level; the payload is damaged"
                    )
            except CorruptError as error:
                self._broken[unit] = error
            else:
                return values
        return np.zeros(len(scale), np.int64)

    def outcomes(self, symbols: Sequence[I32]) -> list[I32 | CorruptError]:
        """Symbols of all units, or what is wrong with them."""
        return [self._broken.get(k, found) for k, found in enumerate(symbols)]
