"""Range-coded words of a mask payload, and which bytes at their end are not needed."""

from __future__ import annotations

from typing import NamedTuple

import constriction
import numpy as np
import numpy.typing as npt

FAMILY = constriction.stream.model.Categorical(perfect=False)
MOST_CUT = 7
"""Bytes that may go."""


class Interval(NamedTuple):
    """Where an encoder stands."""

    settled: int
    """Words that it has written."""
    state: tuple[int, int]
    """Lower end and range, 64 bits each: what further words are about."""


class Draft(NamedTuple):
    """A payload whose end may still be cut."""

    prefix: bytes
    words: bytes
    """Big-endian."""
    end: Interval | None
    """Where the encoder stood when all was encoded; without it, nothing is cut."""

    @property
    def size(self) -> int:
        """Bytes, before they are cut."""
        return len(self.prefix) + len(self.words)

    def finish(self) -> bytes:
        """Payload without the bytes that do not matter."""
        return self.prefix + (self.words if self.end is None else _cut(self.words, self.end))


def _cut(words: bytes, end: Interval) -> bytes:
    """Cut the bytes at the end that do not matter to a decoder that reads zeros there."""
    settled, (lower, width) = end
    size = 4 * settled + 8
    least = int.from_bytes(words[: 4 * settled], "big")
    if lower + 2**32 > 2**64:
        least -= 1
        # ^ the encoder rounds up when it ends, which was carried into what had been settled
    least = (least << 64) + lower

    def decodes(block: bytes) -> bool:
        """Whether a number is inside the interval that is left: all pixels are decoded then."""
        return 0 <= int.from_bytes(block.ljust(size, b"\0")[:size], "big") - least < width

    found = words
    shortest, longest = max(1, len(words) - MOST_CUT), len(words) - 1
    while shortest <= longest:
        # Any number inside the coder's last interval will do: try the cut one and its successor.
        length = (shortest + longest) // 2
        rounded = int.from_bytes(words[:length], "big") + 1
        blocks = (words[:length], rounded.to_bytes(length + 1, "big")[1:])
        block = next((block for block in blocks if decodes(block)), None)
        if block is None:
            shortest = length + 1
        else:
            found, longest = block, length - 1
            # ^ if a length will do, longer ones would
    return found


def words_of(block: bytes) -> npt.NDArray[np.uint32]:
    """Read big-endian words; missing bytes at the end are 0."""
    return np.frombuffer(block + bytes(-len(block) % 4), ">u4").astype(np.uint32)
