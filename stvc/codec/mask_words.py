"""Range-coded words of a mask payload, and which bytes at their end are not needed."""

from __future__ import annotations

from typing import NamedTuple

import constriction
import numpy as np
import numpy.typing as npt

from stvc.codec.mask_model import F32

I32 = npt.NDArray[np.int32]

FAMILY = constriction.stream.model.Categorical(perfect=False)
MOST_CUT = 7
"""Bytes that may go."""
_LAST_WORDS = 4
# ^ two words that may be cut or rounded, and two that the decoder reads ahead


class Coded(NamedTuple):
    """Pixels that were encoded one after the other."""

    position: int
    """Words that the encoder had settled before them."""
    state: tuple[int, int]
    """The encoder's interval before them: lower end and range."""
    symbols: I32
    """(n,)."""
    table: F32
    """(n, K) frequencies."""


class Draft(NamedTuple):
    """A payload whose end may still be cut."""

    prefix: bytes
    words: bytes
    coded: list[Coded]

    @property
    def size(self) -> int:
        """Bytes, before they are cut."""
        return len(self.prefix) + len(self.words)

    def finish(self) -> bytes:
        """Payload without the bytes that do not matter."""
        return self.prefix + _cut(self.words, self.coded)


def _cut(words: bytes, coded: list[Coded]) -> bytes:
    """Cut the bytes at the end that do not matter to a decoder that reads zeros there."""
    if not coded:
        return words
    # What the last words say is known before the last pixels: only those are decoded, as long as
    # the two words that the decoder looks at when it begins are the same.
    settled = len(words) // 4 - _LAST_WORDS
    last = max((k for k, piece in enumerate(coded) if piece.position <= settled), default=0)

    def decodes(block: bytes) -> bool:
        alike = 4 * (coded[last].position + 2)
        pieces = coded[last if block[:alike] == words[:alike] else 0 :]
        decoder = constriction.stream.queue.RangeDecoder(words_of(block))
        try:
            for piece in reversed(pieces):
                # The last ones go wrong first; each begins where it did in the encoder.
                decoder.seek(piece.position, piece.state)
                if not np.array_equal(decoder.decode(FAMILY, piece.table), piece.symbols):
                    return False
        except AssertionError:
            return False
        return True

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
