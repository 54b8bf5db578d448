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
      kind 3  like 0 and 1, but a network corrects the votes, and a second raster may help; bit 4
              set: scene classes, bits 6 and 7 and the next byte tell which of 2 to 11 occur, bit 5:
              a byte behind it tells of 0 and 1; bit 4 clear: two values, which two bytes name if
              bit 5 is set; then words
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

from stvc._header_rules import FORMAT_VERSION
from stvc.codec import mask_model, mask_native
from stvc.codec.mask_model import F32, I64
from stvc.codec.mask_words import FAMILY, MOST_CUT, Draft, Interval, words_of
from stvc.errors import CorruptError
from stvc.masks.lookup import looked_up
from stvc.native import kernels
from stvc.types import U8

walk = mask_model.walk if kernels is None else mask_native.walk

I32 = npt.NDArray[np.int32]

_SCENE, _PAIR, _PLAIN, _REFINED = 0, 1, 2, 3
_REFINED_SCENE, _MORE = 16, 32
REFINED = 4
"""Generation of the codec from which on the network is used."""
_SCENE_CLASSES = 12
_PREVIOUS, _REPEATED = 4, 8
_RAW, _ZSTD, _BITS = 0, 1, 2
_THOROUGH, _QUICK = 19, 3
_HOPELESS = 1.5
# ^ times as large: no level of zstd makes up for that, and the highest takes longer than the rest
# Beyond this many pixels a few bytes are not worth the memory and time that they take to save.
_CUT_PIXELS = 2**20
_FEW_PIXELS = 2**10


class Earlier(NamedTuple):
    """Rasters that resemble one: what is known of the frames that it links to."""

    first: U8
    """(H, W)."""
    second: U8 | None = None
    """(H, W); helps from generation 4 on."""


def encode_mask(
    classes: U8, previous: U8 | Earlier | None = None, generation: int = FORMAT_VERSION
) -> bytes:
    """Code a raster of classes without loss.

    Parameters
    ----------
    classes : ndarray, (H, W) uint8
        Any values; scene classes 0 to 11 and two-valued rasters are coded best.
    previous : ndarray, (H, W) uint8, or Earlier, optional
        One or two rasters that resemble it, such as the date before; used if that saves bytes.
    generation : int
        Of the archive: what its readers understand.

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
    earlier = Earlier(previous) if isinstance(previous, np.ndarray) else previous
    for raster in earlier or ():
        if raster is not None and (raster.shape != classes.shape or raster.dtype != np.uint8):
            raise ValueError(
                f"a previous raster is {raster.dtype} {raster.shape}, want uint8 {classes.shape}"
            )
    values = np.flatnonzero(np.bincount(classes.ravel(), minlength=256)).astype(np.uint8)
    if len(values) <= 1:
        return bytes(int(v) for v in values if v)
    modeled = []
    if len(values) == 2 or values[-1] < _SCENE_CLASSES:
        scene = values[-1] < _SCENE_CLASSES and values[-1] > 1
        kinds = [_SCENE if scene else _PAIR]
        if generation >= REFINED:
            sure = classes.size > (_FEW_PIXELS if scene else _CUT_PIXELS)
            kinds = [_REFINED] if sure else [_REFINED, *kinds]
            # ^ the network hardly ever loses: of 100 scenes, 3 bytes in 19,000
        modeled = [
            _encode_modeled(classes, values, kind, scene, reference)
            for kind in kinds
            for reference in ((None,) if earlier is None else (None, earlier))
        ]
    shortest = min((draft.size for draft in modeled), default=classes.size + 1)
    candidates = [
        _encode_plain(classes, values, shortest),
        *(draft.finish() for draft in modeled if draft.size - MOST_CUT <= shortest),
    ]
    return min(candidates, key=len)


def decode_mask(payload: bytes, shape: tuple[int, int], previous: U8 | Earlier | None = None) -> U8:
    """Invert `encode_mask`.

    Parameters
    ----------
    payload : bytes
        From `encode_mask`.
    shape : (int, int)
        (H, W).
    previous : ndarray, (H, W) uint8, or Earlier, optional
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
    if kind == _REFINED:
        scene, values, words = _open_refined(payload)
    else:
        scene, values, words = _open(payload)
    if len(values) < 2 or values[0] == values[1]:
        raise CorruptError("a mask payload names fewer than two classes")
    if first & _PREVIOUS and previous is None:
        raise CorruptError("a mask payload needs the mask before it, which is not there")
    earlier = Earlier(previous) if isinstance(previous, np.ndarray) else previous
    told = _Told(scene, values, kind == _REFINED, earlier if first & _PREVIOUS else None)
    if first & _REPEATED:
        small = ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
        raster = _decode_modeled(words, small, told._replace(earlier=_halved(told.earlier)))
        return raster.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]
    return _decode_modeled(words, shape, told)


class _Told(NamedTuple):
    """What a payload says before its words."""

    scene: bool
    values: U8
    refined: bool
    earlier: Earlier | None


def _open(payload: bytes) -> tuple[bool, U8, bytes]:
    """Whether a payload of kind 0 or 1 holds scene classes; its classes; its words."""
    first = payload[0]
    if first & 3 == _SCENE:
        return True, _present(first >> 4 | payload[1] << 4), payload[2:]
    named = first >> 4 & 1
    values = np.frombuffer(payload[1:3] if named else b"\0\1", np.uint8)
    return False, values, payload[3:] if named else payload[1:]


def _open_refined(payload: bytes) -> tuple[bool, U8, bytes]:
    """Read the same of kind 3."""
    first = payload[0]
    more = bool(first & _MORE)
    if first & _REFINED_SCENE:
        rare = (payload[2:3] or b"\xff")[0] if more else 0
        if rare > 3:
            raise CorruptError(f"a mask payload tells of its rare classes by {rare}, want 0 to 3")
        return True, _present(rare | first >> 4 & 12 | payload[1] << 4), payload[2 + more :]
    if first >> 6:
        raise CorruptError(f"a mask payload starts with the unknown byte {first}")
    values = np.frombuffer(payload[1:3] if more else b"\0\1", np.uint8)
    return False, values, payload[3:] if more else payload[1:]


def _present(bits: int) -> U8:
    return np.flatnonzero([bits >> k & 1 for k in range(_SCENE_CLASSES)]).astype(np.uint8)


def _prefix(start: int, kind: int, scene: bool, values: U8) -> bytes:
    """Name the classes, as `_open` and `_open_refined` read them."""
    present = sum(1 << int(value) for value in values) if scene else 0
    if kind == _SCENE:
        return bytes((start | (present & 15) << 4, present >> 4))
    if scene:
        start |= _REFINED_SCENE | (present & 12) << 4 | (_MORE if present & 3 else 0)
        return bytes((start, present >> 4, *([present & 3] if present & 3 else [])))
    if values[-1] == 1:
        return bytes((start,))
    return bytes((start | (_MORE if kind == _REFINED else 16), *values.tolist()))


def _halved(earlier: Earlier | None) -> Earlier | None:
    if earlier is None:
        return None
    second = earlier.second
    return Earlier(earlier.first[::2, ::2], None if second is None else second[::2, ::2])


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


def _encode_modeled(
    classes: U8, values: U8, kind: int, scene: bool, earlier: Earlier | None
) -> Draft:
    start = kind | (0 if earlier is None else _PREVIOUS)
    height, width = classes.shape
    small = classes[::2, ::2]
    if np.array_equal(small.repeat(2, axis=0).repeat(2, axis=1)[:height, :width], classes):
        start |= _REPEATED
        classes, earlier = small, _halved(earlier)
    # Eight bits a pixel: of a whole tile, 64-bit ones would take a gigabyte.
    ranks = np.zeros(256, np.uint8)
    ranks[values] = np.arange(len(values))
    rank = looked_up(ranks, classes).ravel()
    first, second = (None, None) if earlier is None else earlier
    words, end = encode(rank, (classes.shape, values, scene, first), kind == _REFINED, second)
    prefix = _prefix(start, kind, scene, values)
    return Draft(prefix, words, end if rank.size <= _CUT_PIXELS else None)


def plain_encode(
    rank: U8, about: tuple[tuple[int, int], U8, bool, U8 | None], network: bool, second: U8 | None
) -> tuple[bytes, Interval]:
    """Encode ranks (H * W,) of classes; ``about`` and the rest as for `walk`."""
    encoder = constriction.stream.queue.RangeEncoder()

    def put(table: F32, positions: I64) -> I32:
        symbols = rank[positions].astype(np.int32)
        encoder.encode(symbols, FAMILY, table)
        return symbols

    mask_model.walk(*about, put, network, second)
    words = encoder.get_compressed().astype(">u4").tobytes()
    return words, Interval(*encoder.pos())


encode = plain_encode if kernels is None else mask_native.encode


def _decode_modeled(words: bytes, shape: tuple[int, int], told: _Told) -> U8:
    decoder = constriction.stream.queue.RangeDecoder(words_of(words))

    def take(table: F32, positions: I64) -> I32:
        try:
            symbols: I32 = decoder.decode(FAMILY, table)
        except AssertionError as error:
            raise CorruptError("a mask payload holds words that no encoder writes") from error
        return symbols

    first, second = (None, None) if told.earlier is None else told.earlier
    values = told.values
    return looked_up(values, walk(shape, values, told.scene, first, take, told.refined, second))
