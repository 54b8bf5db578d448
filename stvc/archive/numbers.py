"""Integers one by one through an adaptive binary range coder: few bytes for short tables.

A number is told by flags: whether it is 0, how many bits it has, its sign, the two bits below its
highest one; what is left are bits as they are. The odds of a flag are counted, under up to three
contexts that vote with their counts. All arithmetic is on integers. See `docs/format/file.md`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast

from stvc.errors import CorruptError
from stvc.native import kernels

_START, _SEEN = 2, 8
"""Counts of a flag that was never seen, and what seeing it once adds."""
_RECENT, _FULL = 16, 2040
"""What a count keeps when the other outcome is seen; sum from which on both are halved."""
_FOURS = 15
"""Most groups of four bits that a number has."""
_LENGTH, _TWO, _ONE, _SIGN, _TOP = 1, 16, 31, 127, 128
"""Nodes: flags of a number. Node 0 says whether there is one."""
_NODE, _PLACE, _COLUMN = 10, 20, 22
"""Where a voter's context, its place among them and its column start in its number."""
_TOP_BITS = 2
_PIECE = 8
_WORD = 2**32


class Numbers(Protocol):
    """Codes numbers: what `NumberCoder` and its native twin have in common."""

    def number(
        self, column: int, contexts: tuple[int, ...], value: int = 0, *, signed: bool = False
    ) -> int:
        """Code one number; see `NumberCoder.number`."""
        ...


class Writing(Numbers, Protocol):
    """Numbers on their way to bytes."""

    def finish(self) -> bytes:
        """Return the bytes; see `NumberEncoder.finish`."""
        ...


def writing() -> Writing:
    """Begin to write numbers, in C where native kernels are."""
    return NumberEncoder() if kernels is None else cast(Writing, kernels.Numbers())


@contextmanager
def reading(block: bytes) -> Iterator[Numbers]:
    """Read numbers from a block, in C where native kernels are.

    Raises
    ------
    CorruptError
        If no encoder writes such a block.
    """
    if kernels is None:
        yield NumberDecoder(block)
        return
    try:
        yield cast(Numbers, kernels.Numbers(block))
    except kernels.ImpossibleBits as error:
        raise CorruptError(f"numbers that no encoder writes ({error})") from None


class _Counts(dict[int, list[int]]):
    """Zeros and ones of each flag, by voter and node."""

    def __missing__(self, key: int) -> list[int]:
        pair = self[key] = [_START, _START]
        return pair


class NumberCoder(ABC):
    """Codes numbers; the encoder is told them, the decoder returns them.

    One walk serves both directions, so that they cannot disagree.
    """

    def __init__(self) -> None:
        self._known = _Counts()

    def number(
        self, column: int, contexts: tuple[int, ...], value: int = 0, *, signed: bool = False
    ) -> int:
        """Code one number.

        Parameters
        ----------
        column : int
            What the number is: numbers of one column share their counts.
        contexts : tuple of int
            What resembles it, in as many ways as the column always has: at most three numbers
            below 1024.
        value : int
            The number, magnitude below 2**60; ignored by a decoder.
        signed : bool
            Whether it may be negative.

        Returns
        -------
        int
            The number.

        Raises
        ------
        CorruptError
            If a decoder meets a number of more than 60 bits.
        """
        voters = [column << _COLUMN]
        for k, context in enumerate(contexts, 1):
            voters.append(column << _COLUMN | k << _PLACE | context << _NODE)
        bits = abs(value).bit_length()
        if not self._flag(voters, 0, bits > 0):
            return 0
        fours = 0
        while self._flag(voters, _LENGTH + fours, bits > 4 * fours + 4):
            fours += 1
            if fours == _FOURS:
                raise CorruptError(f"a number of more than {4 * _FOURS} bits")
        two = self._flag(voters, _TWO + fours, bits > 4 * fours + 2)
        found = 4 * fours + 2 * two
        found += 1 + self._flag(voters, _ONE + found, bits > found + 1)
        negative = signed and self._flag(voters, _SIGN, value < 0)
        rest = found - 1
        magnitude = 1
        for _ in range(min(_TOP_BITS, rest)):
            rest -= 1
            bit = self._flag(voters[:1], _TOP + 8 * found + magnitude, bool(abs(value) >> rest & 1))
            magnitude = 2 * magnitude + bit
        while rest:
            bits = min(rest, _PIECE)
            rest -= bits
            magnitude = magnitude << bits | self._bits(bits, abs(value) >> rest & (1 << bits) - 1)
        return -magnitude if negative else magnitude

    def _flag(self, voters: list[int], node: int, value: bool) -> bool:
        known = self._known
        pairs = [known[voter + node] for voter in voters]
        zeros = ones = 0
        for zero, one in pairs:
            zeros += zero
            ones += one
        value = self._split(zeros, ones, value)
        other = not value
        for pair in pairs:
            pair[value] += _SEEN
            # An outcome that was common once is forgotten soon when the other one comes.
            if pair[other] > _RECENT:
                pair[other] = (pair[other] + _RECENT) >> 1
            if pair[value] + pair[other] > _FULL:
                pair[:] = (pair[0] + 1) >> 1, (pair[1] + 1) >> 1
        return value

    @abstractmethod
    def _split(self, zeros: int, ones: int, value: bool) -> bool:
        """Code a flag whose outcomes have these odds."""

    @abstractmethod
    def _bits(self, bits: int, value: int) -> int:
        """Code some bits as they are, at most eight."""


class NumberEncoder(NumberCoder):
    """Writes numbers; `finish` returns the bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._low, self._range = 0, _WORD - 1
        self._written = bytearray()

    def finish(self) -> bytes:
        """Return the bytes, without those at the end that are 0 anyway; use it once."""
        last = self._low + self._range - 1
        for zeros in range(32, -1, -1):
            rounded = last >> zeros << zeros
            if rounded >= self._low:
                break
        self._low = rounded
        for _ in range(4):
            self._shift()
        return bytes(self._written).rstrip(b"\0")

    def _split(self, zeros: int, ones: int, value: bool) -> bool:
        part = (self._range >> 16) * ((zeros << 16) // (zeros + ones))
        if value:
            self._low += part
            self._range -= part
        else:
            self._range = part
        self._refill()
        return value

    def _bits(self, bits: int, value: int) -> int:
        self._range >>= bits
        self._low += value * self._range
        self._refill()
        return value

    def _refill(self) -> None:
        while self._range < 2**24:
            self._shift()
            self._range <<= 8

    def _shift(self) -> None:
        if self._low >= _WORD:
            self._low -= _WORD
            at = len(self._written) - 1
            while self._written[at] == 255:
                self._written[at] = 0
                at -= 1
            self._written[at] += 1
        self._written.append(self._low >> 24)
        self._low = self._low << 8 & _WORD - 1


class NumberDecoder(NumberCoder):
    """Reads numbers; bytes behind the end are 0.

    Parameters
    ----------
    block : bytes
        From `NumberEncoder.finish`.
    """

    def __init__(self, block: bytes) -> None:
        super().__init__()
        self._block, self._at = block, 4
        self._point = int.from_bytes(block[:4].ljust(4, b"\0"), "big")
        self._range = _WORD - 1
        if self._point >= self._range:
            raise CorruptError("numbers that start with four bytes of 255")

    def _split(self, zeros: int, ones: int, value: bool) -> bool:
        part = (self._range >> 16) * ((zeros << 16) // (zeros + ones))
        value = self._point >= part
        if value:
            self._point -= part
            part = self._range - part
        self._range = part
        if part < 2**24:
            self._refill()
        return value

    def _bits(self, bits: int, value: int) -> int:
        self._range >>= bits
        value = self._point // self._range
        if value >> bits:
            raise CorruptError("bits that no encoder writes")
        self._point -= value * self._range
        self._refill()
        return value

    def _refill(self) -> None:
        while self._range < 2**24:
            byte = self._block[self._at] if self._at < len(self._block) else 0
            self._point = self._point << 8 | byte
            self._at += 1
            self._range <<= 8
