"""Symbols to range-coded words and back, over constriction's range coder: the definition.

Everything goes through integer-valued frequencies whose sum is a power of two. Symbols of one batch
are sorted by table, so that each table is called once. ``rangecoder_native`` does the same in C.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from stvc.codec.tables import DIRECT_SCALES, FRACTIONS, TOTAL, Tables, split_scale
from stvc.errors import CorruptError
from stvc.model.architecture import LOCATION_BITS, SCALES

I64 = npt.NDArray[np.int64]
Ints = npt.NDArray[np.signedinteger[Any] | np.unsignedinteger[Any]]

_WIDE, _LOW_BITS = split_scale(np.arange(SCALES))
_REDUCED = _WIDE.astype(np.int16)
_IMPOSSIBLE = (AssertionError, ValueError, RuntimeError)
ONE = 1 << 24
"""Probabilities are in units of 2**-24."""
MAX_UNIFORM_BITS = 12
"""Integers are coded in parts of so many bits."""
_MAX_ESCAPE_BITS = 24


@lru_cache(maxsize=64)
def _uniform(size: int) -> Any:
    return constriction.stream.model.Uniform(size)


@lru_cache(maxsize=64)
def _categorical(frequencies: tuple[int, ...]) -> Any:
    return constriction.stream.model.Categorical(np.array(frequencies, np.float64), perfect=False)


@lru_cache(maxsize=1)
def _odds() -> Any:
    return constriction.stream.model.Categorical(perfect=False)


def _shares(edges: I64) -> npt.NDArray[np.float64]:
    """Frequencies of two symbols for which constriction puts the edge exactly there."""
    return np.stack([edges - 1, ONE - 1 - edges], 1).astype(np.float64)


class Models:
    """Constriction's form of a set of tables, built when first needed."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.reach = np.array([tables.reach(k) for k in range(len(tables.starts) - 1)], np.int64)
        self.bits = np.log2(TOTAL) - np.log2(tables.frequencies)
        """Code length of every entry of every table, for encoder decisions."""
        self._models: dict[int, Any] = {}

    @cached_property
    def edges(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32]]:
        """Where entries begin, in units of 2**-24, as constriction computes it.

        Each table has one edge more than entries, the last of them 1. The second array (tables + 1)
        says where the tables begin in the first.
        """
        starts = self.tables.starts.astype(np.int64)
        sizes = np.diff(starts)
        below = np.concatenate([[0], np.cumsum(self.tables.frequencies, dtype=np.int64)])
        table = np.repeat(np.arange(len(sizes)), sizes + 1)
        entry = np.arange(len(table)) - (starts[:-1] + np.arange(len(sizes)))[table]
        low, high = below[starts[:-1]], below[starts[1:]]
        scale = (ONE - sizes).astype(np.float64) / (high - low).astype(np.float64)
        place = (below[starts[table] + entry] - low[table]).astype(np.float64)
        edges = np.floor(place * scale[table]).astype(np.int64) + entry
        edges[entry == sizes[table]] = ONE
        # ^ what rounding left over goes to the last entry
        return edges.astype(np.uint32), (starts + np.arange(len(starts))).astype(np.int32)

    def __getitem__(self, table: int) -> Any:
        found = self._models.get(table)
        if found is None:
            frequencies = self.tables.frequencies_of(table).astype(np.float64)
            found = constriction.stream.model.Categorical(frequencies, perfect=False)
            self._models[table] = found
        return found


class Writer:
    """Encoder of one payload."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def uniform(self, value: int, size: int) -> None:
        """Write one integer in ``range(size)``, every value equally likely."""
        if size > 1:
            self._coder.encode(value, _uniform(size))

    def flag(self, value: bool, frequencies: tuple[int, int] = (1, 1)) -> None:
        """Write one bit with the given odds of (false, true)."""
        self._coder.encode(int(value), _categorical(frequencies))

    def flags(self, values: npt.NDArray[np.bool_], edges: I64) -> None:
        """Write bits, each true with a probability of ``1 - edge / 2**24``."""
        self._coder.encode(values.astype(np.int32), _odds(), _shares(edges))

    def bits(self, values: I64, count: int) -> None:
        """Write integers below ``2**count`` as they are."""
        low = min(count, MAX_UNIFORM_BITS)
        self._coder.encode((values & ((1 << low) - 1)).astype(np.int32), _uniform(1 << low))
        if count > low:
            self.bits(values >> low, count - low)

    def symbols(self, symbols: Ints, location: Ints, scale: Ints, models: Models) -> None:
        """Write a batch of symbols under their locations (1/8 steps) and scale indices."""
        whole, table, low_bits = _address(location, scale)
        relative = (symbols - whole).astype(np.int32, copy=False)
        high = relative if low_bits is None else (relative >> low_bits).astype(np.int32)
        order, runs = _runs(table)
        ordered = high[order]
        limits = _repeated(models.reach, runs)
        escaped = np.abs(ordered) > limits
        coded = ordered + limits
        some = bool(escaped.any())
        if some:
            coded[escaped] = 2 * limits[escaped] + 1
        encode = self._coder.encode
        for k, start, stop in runs:
            encode(coded[start:stop], models[k])
        if low_bits is not None:
            for count in np.unique(low_bits[low_bits > 0]):
                chosen = low_bits == count
                self.bits(relative[chosen] & ((1 << int(count)) - 1), int(count))
        if some:
            where = np.sort(order[escaped])
            reach = models.reach[table[where]]
            for value, limit in zip(high[where].tolist(), reach.tolist(), strict=True):
                self._escape(value, limit)

    def _escape(self, value: int, limit: int) -> None:
        excess = abs(value) - limit
        length = excess.bit_length()
        self.uniform(length, _MAX_ESCAPE_BITS)
        self.bits(np.array([excess]), length)
        self.flag(value < 0)

    def getvalue(self) -> bytes:
        """Little-endian words without trailing zero bytes."""
        words: bytes = self._coder.get_compressed().astype("<u4").tobytes()
        return words.rstrip(b"\0")


class Reader:
    """Decoder of one payload; mirrors `Writer` call by call."""

    def __init__(self, payload: bytes) -> None:
        padded = payload + b"\0" * (-len(payload) % 4)
        self._coder = constriction.stream.queue.RangeDecoder(
            np.frombuffer(padded, "<u4").astype(np.uint32)
        )

    def uniform(self, size: int) -> int:
        """Read one integer in ``range(size)``."""
        return int(self._decode(_uniform(size))) if size > 1 else 0

    def flag(self, frequencies: tuple[int, int] = (1, 1)) -> bool:
        """Read one bit."""
        return bool(self._decode(_categorical(frequencies)))

    def flags(self, edges: I64) -> npt.NDArray[np.bool_]:
        """Read as many bits as there are edges."""
        try:
            return np.asarray(self._coder.decode(_odds(), _shares(edges)), bool)
        except _IMPOSSIBLE as error:
            raise _impossible(error) from None

    def bits(self, amount: int, count: int) -> I64:
        """Read ``amount`` integers below ``2**count``."""
        low = min(count, MAX_UNIFORM_BITS)
        values: I64 = self._decode(_uniform(1 << low), amount).astype(np.int64)
        return values | (self.bits(amount, count - low) << low) if count > low else values

    def symbols(self, location: Ints, scale: Ints, models: Models) -> I64:
        """Read a batch of symbols."""
        whole, table, low_bits = _address(location, scale)
        order, runs = _runs(table)
        ordered = np.empty(len(table), np.int32)
        decode = self._coder.decode
        try:
            for k, start, stop in runs:
                ordered[start:stop] = decode(models[k], stop - start)
        except _IMPOSSIBLE as error:
            raise _impossible(error) from None
        limits = _repeated(models.reach, runs)
        ordered -= limits
        escaped = ordered > limits
        found = np.empty(len(table), np.int64)
        found[order] = ordered
        if low_bits is not None:
            low = np.zeros_like(found)
            for count in np.unique(low_bits[low_bits > 0]):
                chosen = low_bits == count
                low[chosen] = self.bits(int(chosen.sum()), int(count))
        if escaped.any():
            where = np.sort(order[escaped])
            reach = models.reach[table[where]]
            found[where] = [self._escape(limit) for limit in reach.tolist()]
        if low_bits is not None:
            found = (found << low_bits) | low
        found += whole
        return found

    def _escape(self, limit: int) -> int:
        length = self.uniform(_MAX_ESCAPE_BITS)
        excess = int(self.bits(1, length)[0]) if length else 0
        return -(limit + excess) if self.flag() else limit + excess

    def _decode(self, model: Any, amount: int | None = None) -> Any:
        try:
            return (
                self._coder.decode(model) if amount is None else self._coder.decode(model, amount)
            )
        except _IMPOSSIBLE as error:
            raise _impossible(error) from None


def _impossible(error: Exception) -> CorruptError:
    return CorruptError(f"range coder met impossible bits ({error}); the payload is damaged")


def address(location: Ints, scale: Ints) -> tuple[Ints, Ints, Ints]:
    """Whole part of the location, the table, and the number of low bits coded as they are."""
    whole, table, low_bits = _address(location, scale)
    return whole, table, np.zeros_like(table) if low_bits is None else low_bits


def _address(location: Ints, scale: Ints) -> tuple[Ints, Ints, Ints | None]:
    """`address`; None if no low bits are coded as they are."""
    shifted = location + FRACTIONS // 2
    fraction = shifted & (FRACTIONS - 1)
    table = _REDUCED.take(scale)
    low_bits = None
    if int(scale.max(initial=0)) >= DIRECT_SCALES:
        low_bits = _LOW_BITS[scale]
        fraction = np.where(low_bits > 0, 0, fraction)
    # ^ dropping low bits rounds down: the center of a coarse bin lies half a bin above its floor,
    #   so the mean is -1/2 in coarse units, which is fraction 0
    table += (fraction * DIRECT_SCALES).astype(np.int16)
    return shifted >> LOCATION_BITS, table, low_bits


def _runs(table: Ints) -> tuple[npt.NDArray[np.intp], list[tuple[int, int, int]]]:
    """Stable order by table, and (table, start, stop) of each run."""
    order = np.argsort(table, kind="stable")
    # ^ numpy sorts 16-bit integers by radix
    counts = np.bincount(table)
    used = np.flatnonzero(counts)
    stops = np.cumsum(counts[used]).tolist()
    return order, list(zip(used.tolist(), [0, *stops[:-1]], stops, strict=False))


def _repeated(values: I64, runs: list[tuple[int, int, int]]) -> npt.NDArray[np.int32]:
    """One value per run, for each of its symbols."""
    table, start, stop = np.array(runs, np.int64).reshape(-1, 3).T
    return np.repeat(values[table].astype(np.int32), stop - start)
