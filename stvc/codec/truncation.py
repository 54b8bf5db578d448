"""What rate control of JPEG 2000 cut from a band: lossless units from generation 7 on.

Where a product lost the lowest bit of wavelet coefficients, its values no longer lie in the steps
that they were made in. An encoder may then tell values that do, and that give the band once the
same bits are cut from them again: that is what `truncated` does in decoders.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stvc.codec import wavelet
from stvc.codec.rangecoder import Reader, Writer

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Modes = npt.NDArray[np.uint8]

LEAST_SIDE = 8
"""Pixels; nothing is told of smaller bands."""
BLOCK = 4
"""Coefficients a side of what is cut together."""
WHOLE, CUT, UNREFINED = range(3)
"""Modes of blocks: nothing is lost; every lowest bit is; only those of magnitudes of 2 and more are
(of three coding passes over a bit-plane, the first had still been written)."""
_PHASES = 4
_MOST_COUNTED = 255


@dataclass(frozen=True, eq=False)
class Truncation:
    """Which coefficients of a band lost their lowest bit."""

    phase: int
    """Of the finest level, see `stvc.codec.wavelet.forward`."""
    second: int | None
    """Of the second level; None: nothing was cut there."""
    blocks: tuple[Modes, ...]
    """Of HH, LH, HL of the finest level, then of HH of the second, if there is one: (h, w) modes of
    blocks of coefficients."""


class Subband(NamedTuple):
    """Where the coefficients of a subband lie among all of their level."""

    rows: slice
    columns: slice
    usable: Bool
    """(h, w): nothing beyond the edges of the band went into them."""

    @property
    def blocks(self) -> tuple[int, int]:
        """How many there are."""
        h, w = self.usable.shape
        return -(-h // BLOCK), -(-w // BLOCK)

    def spread(self, blocks: Modes) -> Modes:
        """(h, w) modes of coefficients, given those of their blocks."""
        h, w = self.usable.shape
        return np.asarray(
            blocks.repeat(BLOCK, 0)[:h].repeat(BLOCK, 1)[:, :w] * self.usable, np.uint8
        )


@lru_cache(maxsize=32)
def subbands(shape: tuple[int, int], phase: int) -> tuple[Subband, ...]:
    """HH, LH and HL of the finest level of an (H, W) band."""
    found = []
    for high in ((True, True), (True, False), (False, True)):
        ends = [
            _inside(size, first, 1 - first if odd else first, 2, 1 if odd else 2)
            for size, first, odd in zip(shape, (phase >> 1, phase & 1), high, strict=True)
        ]
        (rows, down), (columns, across) = ends
        found.append(Subband(rows, columns, down[:, None] & across))
    return tuple(found)


@lru_cache(maxsize=32)
def second_subband(shape: tuple[int, int], phase: int, second: int) -> Subband:
    """HH of the second level of an (H, W) band, among the low frequencies of the first."""
    ends = []
    for size, first, parity in zip(
        shape, (phase >> 1, phase & 1), (second >> 1, second & 1), strict=True
    ):
        count = -(-(size - first) // 2)
        at = np.arange(1 - parity, count, 2)
        pixel = first + 2 * at
        ends.append((slice(1 - parity, None, 2), (pixel >= 4) & (pixel < size - 4)))
    (rows, down), (columns, across) = ends
    return Subband(rows, columns, down[:, None] & across)


def _inside(size: int, first: int, start: int, stride: int, reach: int) -> tuple[slice, Bool]:
    at = np.arange(start, size, stride)
    return slice(start, None, stride), (at >= reach) & (at < size - reach)


def cut(coefficients: I64, modes: Modes | int = CUT) -> I64:
    """Lose the lowest bit of magnitudes, and come back in the middle of what is left."""
    kept = np.abs(coefficients) >> 1
    small = np.where(modes == UNREFINED, coefficients, 0)
    found = np.where(kept > 0, np.sign(coefficients) * (2 * kept + 1), small)
    return np.asarray(np.where(modes == WHOLE, coefficients, found), np.int64)


def truncated(values: I64, truncation: Truncation) -> I64:
    """Cut a band.

    Parameters
    ----------
    values : array, (H, W)
        DN; both sides at least `LEAST_SIDE`.
    truncation : Truncation

    Returns
    -------
    array, (H, W)
        DN, within 0 to 65535.
    """
    shape = (values.shape[0], values.shape[1])
    made = wavelet.forward(values, truncation.phase)
    if truncation.second is not None:
        coarse = wavelet.low(made, truncation.phase)
        deeper = wavelet.forward(coarse, truncation.second)
        hh = second_subband(shape, truncation.phase, truncation.second)
        _cut_some(deeper, hh, truncation.blocks[-1])
        coarse[:] = wavelet.inverse(deeper, truncation.second)
    for subband, blocks in zip(subbands(shape, truncation.phase), truncation.blocks, strict=False):
        _cut_some(made, subband, blocks)
    return np.clip(wavelet.inverse(made, truncation.phase), 0, 65535)


def _cut_some(made: I64, subband: Subband, blocks: Modes) -> None:
    part = made[subband.rows, subband.columns]
    part[:] = cut(part, subband.spread(blocks))


def write_truncation(writer: Writer, truncation: Truncation | None) -> None:
    """Tell it, or that there is none."""
    writer.flag(truncation is not None)
    if truncation is None:
        return
    writer.uniform(truncation.phase, _PHASES)
    writer.uniform(0 if truncation.second is None else truncation.second + 1, _PHASES + 1)
    for blocks in truncation.blocks:
        lost, refined = _Counts(blocks.shape), _Counts(blocks.shape)
        for y, x in np.ndindex(blocks.shape):
            mode = int(blocks[y, x])
            writer.flag(mode != WHOLE, lost.of(y, x))
            lost.note(y, x, mode != WHOLE)
            if mode != WHOLE:
                writer.flag(mode == UNREFINED, refined.of(y, x))
                refined.note(y, x, mode == UNREFINED)


def read_truncation(reader: Reader, shape: tuple[int, int]) -> Truncation | None:
    """Read what `write_truncation` wrote of an (H, W) band."""
    if not reader.flag():
        return None
    phase, second = reader.uniform(_PHASES), reader.uniform(_PHASES + 1)
    sizes = [subband.blocks for subband in subbands(shape, phase)]
    if second:
        sizes.append(second_subband(shape, phase, second - 1).blocks)
    found = []
    for size in sizes:
        lost, refined = _Counts(size), _Counts(size)
        for y, x in np.ndindex(size):
            flag = reader.flag(lost.of(y, x))
            lost.note(y, x, flag)
            if flag:
                refined.note(y, x, reader.flag(refined.of(y, x)))
        found.append(lost.flags.astype(np.uint8) + refined.flags)
    return Truncation(phase, second - 1 if second else None, tuple(found))


class _Counts:
    """How often the answer was yes, by whether it was to the left and above."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._flags = np.zeros((shape[0] + 1, shape[1] + 1), bool)
        self._counts = [[1, 1] for _ in range(3)]

    @property
    def flags(self) -> Bool:
        return self._flags[1:, 1:]

    def _context(self, y: int, x: int) -> list[int]:
        return self._counts[int(self._flags[y, x + 1]) + int(self._flags[y + 1, x])]

    def of(self, y: int, x: int) -> tuple[int, int]:
        """Frequencies of no and yes."""
        no, yes = self._context(y, x)
        return no, yes

    def note(self, y: int, x: int, flag: bool) -> None:
        counts = self._context(y, x)
        counts[flag] += 1
        if sum(counts) > _MOST_COUNTED:
            counts[:] = [(k + 1) // 2 for k in counts]
        self._flags[y + 1, x + 1] = flag
