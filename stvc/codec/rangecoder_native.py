"""`rangecoder_numpy` on native kernels: the same words, a batch of symbols in one call."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.codec.rangecoder_numpy import I64, MAX_UNIFORM_BITS, ONE, Ints, Models
from stvc.errors import CorruptError
from stvc.native import kernels

_Batch = tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32], I64, npt.NDArray[np.uint8] | I64]


@lru_cache(maxsize=64)
def _edge(frequencies: tuple[int, int]) -> int:
    """Where true begins, in units of 2**-24."""
    return int(frequencies[0] * ((ONE - 2) / sum(frequencies))) + 1


def _batch(location: Ints, scale: Ints, models: Models) -> _Batch:
    """Arrays of the types that kernels take."""
    where = np.ascontiguousarray(location, np.int64)
    wide: npt.NDArray[np.uint8] | I64
    if scale.dtype == np.uint8:
        wide = np.ascontiguousarray(scale, np.uint8)
    else:
        wide = np.ascontiguousarray(scale, np.int64)
    return *models.edges, where, wide


class Writer:
    """Encoder of one payload; see `stvc.codec.rangecoder_numpy.Writer`."""

    def __init__(self) -> None:
        assert kernels is not None
        self._coder = kernels.Encoder()

    def uniform(self, value: int, size: int) -> None:
        """Write one integer in ``range(size)``, every value equally likely."""
        if size > 1:
            self._coder.uniform(size, value)

    def flag(self, value: bool, frequencies: tuple[int, int] = (1, 1)) -> None:
        """Write one bit with the given odds of (false, true)."""
        self._coder.flag(_edge(frequencies), value)

    def bits(self, values: I64, count: int) -> None:
        """Write integers below ``2**count`` as they are."""
        low = min(count, MAX_UNIFORM_BITS)
        parts = np.ascontiguousarray(values & ((1 << low) - 1), np.int64)
        self._coder.uniforms(1 << low, parts)
        if count > low:
            self.bits(values >> low, count - low)

    def symbols(self, symbols: Ints, location: Ints, scale: Ints, models: Models) -> None:
        """Write a batch of symbols under their locations (1/8 steps) and scale indices."""
        batch = _batch(location, scale, models)
        self._coder.symbols(*batch, np.ascontiguousarray(symbols, np.int64))

    def columns(self, arrays: tuple[Any, ...], symbols: npt.NDArray[np.int32]) -> None:
        """Write the columns of a group, see `stvc.codec.columns.write_columns`."""
        self._coder.columns(*arrays, symbols)

    def unit(self, *arrays: Any) -> None:
        """Write all columns of a unit, see `stvc.codec.fast_coding.FastCoding.write`."""
        self._coder.unit(*arrays)

    def mixture(self, arrays: tuple[I64, ...], levels: I64) -> None:
        """Write levels, see `stvc.codec.predictive_mixture.write_levels`."""
        self._coder.mixture(*arrays, levels)

    def traced(self, arrays: tuple[I64, ...], levels: I64, leaning: tuple[Any, ...]) -> None:
        """Write levels that lean on counts, which learn."""
        self._coder.traced(*arrays, levels, *leaning)

    def getvalue(self) -> bytes:
        """Little-endian words without trailing zero bytes."""
        words: bytes = self._coder.words()
        return words.rstrip(b"\0")


class Reader:
    """Decoder of one payload; mirrors `Writer` call by call."""

    def __init__(self, payload: bytes) -> None:
        assert kernels is not None
        self._coder = kernels.Decoder(payload)
        self._impossible = kernels.ImpossibleBits

    def uniform(self, size: int) -> int:
        """Read one integer in ``range(size)``."""
        return int(self._read(self._coder.uniform, size)) if size > 1 else 0

    def flag(self, frequencies: tuple[int, int] = (1, 1)) -> bool:
        """Read one bit."""
        return bool(self._read(self._coder.flag, _edge(frequencies)))

    def bits(self, amount: int, count: int) -> I64:
        """Read ``amount`` integers below ``2**count``."""
        low = min(count, MAX_UNIFORM_BITS)
        values = np.empty(amount, np.int64)
        self._read(self._coder.uniforms, 1 << low, values)
        return values | (self.bits(amount, count - low) << low) if count > low else values

    def symbols(self, location: Ints, scale: Ints, models: Models) -> I64:
        """Read a batch of symbols."""
        found = np.empty(len(location), np.int64)
        self._read(self._coder.symbols, *_batch(location, scale, models), found)
        return found

    def columns(self, arrays: tuple[Any, ...], found: npt.NDArray[np.int32]) -> None:
        """Read the columns of a group, see `stvc.codec.columns.read_columns`."""
        self._read(self._coder.columns, *arrays, found)

    def mixture(self, arrays: tuple[I64, ...], found: I64) -> None:
        """Read levels, see `stvc.codec.predictive_mixture.read_levels`."""
        self._read(self._coder.mixture, *arrays, found)

    def traced(self, arrays: tuple[I64, ...], found: I64, leaning: tuple[Any, ...]) -> None:
        """Read levels that lean on counts, which learn."""
        self._read(self._coder.traced, *arrays, found, *leaning)

    def _read(self, read: Any, *args: Any) -> Any:
        try:
            return read(*args)
        except self._impossible as error:
            raise CorruptError(
                f"range coder met impossible bits ({error}); the payload is damaged"
            ) from None
