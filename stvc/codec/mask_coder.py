"""Lossless coder for mask rasters: scene classes (0 to 11) or two-valued masks, a few dozen bytes.

The pixels are visited and predicted as ``mask_model`` tells; its integer frequencies go to
constriction's range coder. Payload::

    0 bytes   every pixel is 0
    1 byte    every pixel has this value
    else      first byte: bits 0-1 kind, bit 2 the previous raster votes, bit 3 the raster is one of
              half the size with every pixel repeated 2 x 2; bits 4-7 by kind:
      kind 0  scene classes: bits 4-7 and the next byte (low to high) tell which of the classes
              0 to 11 occur; then range-coded words
      kind 1  two values: if bit 4 is clear they are 0 and 1, else two bytes name them; then words
      kind 2  anything else, or noise: bits 4-7 = 0: raw bytes; 1: a zstd frame of them; 2: packed
              bits of a raster of 0 and 1

Range-coded words are big-endian; bytes at the end are cut if zeros in their place decode alike.
"""

from __future__ import annotations

from typing import NamedTuple

import constriction
import numpy as np
import numpy.typing as npt
import zstandard

from stvc.codec import mask_model, mask_native
from stvc.codec.mask_model import F32, I64
from stvc.errors import CorruptError
from stvc.masks.lookup import looked_up
from stvc.native import kernels
from stvc.types import U8

I32 = npt.NDArray[np.int32]

walk = mask_model.walk if kernels is None else mask_native.walk

_SCENE, _PAIR, _PLAIN = 0, 1, 2
_SCENE_CLASSES = 12
_PREVIOUS, _REPEATED = 4, 8
_RAW, _ZSTD, _BITS = 0, 1, 2
_THOROUGH, _QUICK = 19, 3
_HOPELESS = 1.5
# ^ times as large: no level of zstd makes up for that, and the highest takes longer than the rest
_MOST_CUT = 7
_FAMILY = constriction.stream.model.Categorical(perfect=False)
# Beyond this many pixels a few bytes are not worth the memory and time that they take to save.
_CUT_PIXELS = 2**20
_PIECE = 256
"""Pixels that are encoded at once: where to begin when only the last ones are decoded."""
_LAST_WORDS = 4
"""Two words that may be cut or rounded, and two that the decoder reads ahead."""


def encode_mask(classes: U8, previous: U8 | None = None) -> bytes:
    """Code a raster of classes without loss.

    Parameters
    ----------
    classes : ndarray, (H, W) uint8
        Any values; scene classes 0 to 11 and two-valued rasters are coded best.
    previous : ndarray, (H, W) uint8, optional
        A raster that resembles it, such as the date before; used if that saves bytes.

    Returns
    -------
    bytes
        Never more than H * W + 1 bytes.

    Raises
    ------
    ValueError
        If ``classes`` is not a two-dimensional uint8 raster or ``previous`` has another shape.
    """
    if classes.ndim != 2 or classes.dtype != np.uint8:
        raise ValueError(f"want a (H, W) uint8 raster, got {classes.dtype} {classes.shape}")
    if previous is not None and (previous.shape != classes.shape or previous.dtype != np.uint8):
        raise ValueError(
            f"the previous raster is {previous.dtype} {previous.shape}, want uint8 {classes.shape}"
        )
    values = np.flatnonzero(np.bincount(classes.ravel(), minlength=256)).astype(np.uint8)
    if len(values) <= 1:
        return bytes(int(v) for v in values if v)
    modeled = []
    if len(values) == 2 or values[-1] < _SCENE_CLASSES:
        for reference in (None,) if previous is None else (None, previous):
            modeled.append(_encode_modeled(classes, values, reference))
    shortest = min((draft.size for draft in modeled), default=classes.size + 1)
    candidates = [
        _encode_plain(classes, values, shortest),
        *(draft.finish() for draft in modeled if draft.size - _MOST_CUT <= shortest),
    ]
    return min(candidates, key=len)


def decode_mask(payload: bytes, shape: tuple[int, int], previous: U8 | None = None) -> U8:
    """Invert `encode_mask`.

    Parameters
    ----------
    payload : bytes
        From `encode_mask`.
    shape : (int, int)
        (H, W).
    previous : ndarray, (H, W) uint8, optional
        What `encode_mask` was given.

    Returns
    -------
    ndarray, (H, W) uint8

    Raises
    ------
    CorruptError
        If the payload breaks the format, or needs a previous raster and has none.
    """
    if len(payload) < 2:
        return np.full(shape, payload[0] if payload else 0, np.uint8)
    first = payload[0]
    kind = first & 3
    if kind == _PLAIN:
        return _decode_plain(payload[1:], shape, first >> 4)
    if kind == _SCENE:
        present = first >> 4 | payload[1] << 4
        values = np.flatnonzero([present >> k & 1 for k in range(_SCENE_CLASSES)]).astype(np.uint8)
        words = payload[2:]
    elif kind == _PAIR:
        named = first >> 4 & 1
        values = np.frombuffer(payload[1:3] if named else b"\0\1", np.uint8)
        words = payload[3:] if named else payload[1:]
    else:
        raise CorruptError(f"a mask payload starts with the unknown byte {first}")
    if len(values) < 2 or values[0] == values[1]:
        raise CorruptError("a mask payload names fewer than two classes")
    if first & _PREVIOUS and previous is None:
        raise CorruptError("a mask payload needs the mask before it, which is not there")
    reference = previous if first & _PREVIOUS else None
    if first & _REPEATED:
        small = ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
        half = None if reference is None else reference[::2, ::2]
        raster = _decode_modeled(words, small, values, kind, half)
        return raster.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]
    return _decode_modeled(words, shape, values, kind, reference)


def _encode_plain(classes: U8, values: U8, rival: int) -> bytes:
    """Code without a model; ``rival`` is how many bytes the models take."""
    raw = classes.tobytes()
    forms = {_RAW: raw, _ZSTD: zstandard.ZstdCompressor(level=_QUICK).compress(raw)}
    if len(forms[_ZSTD]) < _HOPELESS * rival and len(raw) <= _CUT_PIXELS:
        forms[_ZSTD] = zstandard.ZstdCompressor(level=_THOROUGH).compress(raw)
    if values[-1] == 1:
        forms[_BITS] = np.packbits(classes).tobytes()
    form = min(forms, key=lambda form: len(forms[form]))
    return bytes((_PLAIN | form << 4,)) + forms[form]


def _decode_plain(body: bytes, shape: tuple[int, int], form: int) -> U8:
    size = shape[0] * shape[1]
    if form == _ZSTD:
        try:
            # The content size that a frame declares is what would be allocated: check it first.
            declared = zstandard.frame_content_size(body)
            raw = zstandard.ZstdDecompressor().decompress(body) if declared == size else b""
        except zstandard.ZstdError as error:
            raise CorruptError(f"a mask payload cannot be unpacked ({error})") from error
    elif form == _BITS:
        packed = np.frombuffer(body, np.uint8)
        raw = np.unpackbits(packed)[:size].tobytes() if len(body) == (size + 7) // 8 else b""
    else:
        raw = body
    if len(raw) != size or form > _BITS:
        raise CorruptError(f"a mask payload of form {form} does not hold the {size} pixels")
    return np.frombuffer(raw, np.uint8).reshape(shape).copy()


def _encode_modeled(classes: U8, values: U8, previous: U8 | None) -> _Draft:
    kind = _SCENE if values[-1] < _SCENE_CLASSES and values[-1] > 1 else _PAIR
    start = kind | (0 if previous is None else _PREVIOUS)
    height, width = classes.shape
    small = classes[::2, ::2]
    if np.array_equal(small.repeat(2, axis=0).repeat(2, axis=1)[:height, :width], classes):
        start |= _REPEATED
        classes = small
        previous = None if previous is None else previous[::2, ::2]
    if kind == _SCENE:
        present = sum(1 << int(value) for value in values)
        prefix = bytes((start | (present & 15) << 4, present >> 4))
    elif values[-1] == 1:
        prefix = bytes((start,))
    else:
        prefix = bytes((start | 16, *values.tolist()))
    # Eight bits a pixel: of a whole tile, 64-bit ones would take a gigabyte.
    ranks = np.zeros(256, np.uint8)
    ranks[values] = np.arange(len(values))
    rank = looked_up(ranks, classes).ravel()
    encoder = constriction.stream.queue.RangeEncoder()
    coded: list[_Coded] = []

    def put(table: F32, positions: I64) -> I32:
        symbols = rank[positions].astype(np.int32)
        for start in range(0, len(symbols), _PIECE):
            piece = slice(start, start + _PIECE)
            if rank.size <= _CUT_PIXELS:
                position, state = encoder.pos()
                coded.append(_Coded(position, state, symbols[piece], table[piece].copy()))
            encoder.encode(symbols[piece], _FAMILY, table[piece])
        return symbols

    walk(classes.shape, values, kind == _SCENE, previous, put)
    return _Draft(prefix, encoder.get_compressed().astype(">u4").tobytes(), coded)


def _decode_modeled(
    words: bytes, shape: tuple[int, int], values: U8, kind: int, previous: U8 | None
) -> U8:
    decoder = constriction.stream.queue.RangeDecoder(_words(words))

    def take(table: F32, positions: I64) -> I32:
        try:
            symbols: I32 = decoder.decode(_FAMILY, table)
        except AssertionError as error:
            raise CorruptError("a mask payload holds words that no encoder writes") from error
        return symbols

    return looked_up(values, walk(shape, values, kind == _SCENE, previous, take))


class _Coded(NamedTuple):
    """Pixels that were encoded one after the other."""

    position: int
    """Words that the encoder had settled before them."""
    state: tuple[int, int]
    """The encoder's interval before them: lower end and range."""
    symbols: I32
    """(n,)."""
    table: F32
    """(n, K) frequencies."""


class _Draft(NamedTuple):
    """A payload whose end may still be cut."""

    prefix: bytes
    words: bytes
    coded: list[_Coded]

    @property
    def size(self) -> int:
        """Bytes, before they are cut."""
        return len(self.prefix) + len(self.words)

    def finish(self) -> bytes:
        """Payload without the bytes that do not matter."""
        return self.prefix + _cut(self.words, self.coded)


def _cut(words: bytes, coded: list[_Coded]) -> bytes:
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
        decoder = constriction.stream.queue.RangeDecoder(_words(block))
        decoder.seek(pieces[0].position, pieces[0].state)
        try:
            return all(
                np.array_equal(decoder.decode(_FAMILY, piece.table), piece.symbols)
                for piece in pieces
            )
        except AssertionError:
            return False

    found = words
    shortest, longest = max(1, len(words) - _MOST_CUT), len(words) - 1
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


def _words(block: bytes) -> npt.NDArray[np.uint32]:
    return np.frombuffer(block + bytes(-len(block) % 4), ">u4").astype(np.uint32)
