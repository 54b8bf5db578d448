"""Head of a chunk: what it says of itself, and the numbers it is written in."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, cast

import google_crc32c
import numpy as np
import numpy.typing as npt
import zstandard

from stvc._header_rules import MAX_PIXELS, VERSIONS
from stvc.codec.place import Settings
from stvc.codec.spectral import Klt, fit_klt
from stvc.errors import CorruptError, TooLargeError, VersionError

MAGIC = 0xC5
VERSION = 1
"""Version of this layout."""

_MATRIX_AS_IT_IS = 16
"""Bands up to which the spectral matrix is dense: beyond, most of it is 0."""

_MAX_SIDE = 1 << 20
# ^ Along any axis: what a few bytes declare must not fill memory with coordinates.

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class ChunkSettings:
    """What decides the bytes of a chunk."""

    step_index: int
    """Quantization step."""
    max_error: int | None = None
    """Bound on every pixel, DN; 0 is lossless; None: no bound."""
    gsd: int = 10
    """Pixel size in m: tells the entropy model what textures to expect."""
    days: int = 5
    """Days from one frame to the next: tells it how far a frame may differ from the last."""
    model: str | None = None
    """Entropy model; None: the default one."""


@dataclass(frozen=True)
class ChunkHead:
    """What a chunk says of itself."""

    shape: Shape
    """(T, C, H, W)."""
    settings: ChunkSettings
    klt: Klt
    generation: int
    """Of the codec: version of the bit stream of the units."""
    size: int
    """Bytes of the head."""


def read_head(payload: bytes, shape: Shape | None = None) -> ChunkHead:
    """Check a chunk's checksum and read what it says of itself.

    Parameters
    ----------
    payload : bytes
    shape : (int, int, int, int), optional
        (T, C, H, W) that is expected.

    Raises
    ------
    CorruptError, TooLargeError, VersionError
    """
    if len(payload) < 8 or payload[0] != MAGIC:
        raise CorruptError(
            f"{len(payload)} bytes that start with {payload[:2].hex() or 'nothing'} are no stvc "
            "chunk; another codec wrote them, or they are damaged"
        )
    if payload[1] != VERSION:
        raise VersionError(
            f"a chunk of version {payload[1]}, this stvc reads {VERSION}; install a newer stvc"
        )
    (want,) = struct.unpack("<I", payload[-4:])
    got = google_crc32c.value(payload[:-4])
    if want != got:
        raise CorruptError(
            f"a chunk of {len(payload)} bytes is damaged: checksum {got:08x}, not {want:08x}; "
            "copy the store again"
        )
    parser = Parser(payload, 2, len(payload) - 4)
    stream = parser.varint()
    if stream not in VERSIONS:
        raise VersionError(
            f"a chunk with bit stream version {stream}, this stvc reads "
            f"{' and '.join(map(str, VERSIONS))}; "
            "install a newer stvc"
        )
    model = parser.take(parser.varint()).decode("ascii", "replace")
    found = cast(Shape, tuple(parser.varint() for _ in range(4)))
    if shape is not None and found != tuple(shape):
        raise CorruptError(
            f"a chunk holds {_times(found)} samples (time, band, y, x) where {_times(shape)} are "
            "expected; it belongs to another array"
        )
    fits = int(np.prod(found, dtype=object)) <= MAX_PIXELS and max(found) <= _MAX_SIDE
    if not fits or 0 in found:
        raise TooLargeError(f"a chunk declares {_times(found)} samples, at most {MAX_PIXELS} fit")
    step, bound, gsd, days = (parser.varint() for _ in range(4))
    settings = ChunkSettings(step, bound - 1 if bound else None, gsd, days, model)
    try:
        Settings.from_header({"step_index": step, "clouds": "keep"})
    except CorruptError:
        raise CorruptError(f"a chunk declares the step {step}; it is damaged") from None
    klt = _unpack_klt(parser, found[1])
    return ChunkHead(found, settings, klt, stream, parser.position)


def pack_head(shape: Shape, settings: ChunkSettings, klt: Klt, generation: int) -> bytes:
    """Write a chunk's head."""
    model = str(settings.model).encode("ascii")
    bound = 0 if settings.max_error is None else 1 + settings.max_error
    numbers = (*shape, settings.step_index, bound, settings.gsd, settings.days)
    matrix = klt.matrix.astype("<i2").tobytes()
    if shape[1] == 1:
        matrix = b""
    elif shape[1] > _MATRIX_AS_IT_IS:
        packed = zstandard.compress(matrix, 19)
        matrix = varint(len(packed)) + packed
    return b"".join(
        (
            bytes([MAGIC, VERSION]),
            varint(generation),
            varint(len(model)),
            model,
            *map(varint, numbers),
            klt.mean.astype("<u2").tobytes(),
            klt.spread.tobytes(),
            matrix,
        )
    )


def _unpack_klt(parser: Parser, bands: int) -> Klt:
    mean = np.frombuffer(parser.take(2 * bands), "<u2").astype(np.int32)
    spread = np.frombuffer(parser.take(bands), np.uint8)
    if bands == 1:
        return Klt(_alone(), mean, spread)
    size = 2 * bands * bands
    if bands <= _MATRIX_AS_IT_IS:
        matrix = parser.take(size)
    else:
        packed = parser.take(parser.varint())
        try:
            fits = zstandard.frame_content_size(packed) == size
            matrix = zstandard.decompress(packed, max_output_size=size) if fits else b""
        except zstandard.ZstdError as error:
            raise CorruptError(f"a chunk's spectral transform is damaged ({error})") from None
        if len(matrix) != size:
            raise CorruptError(f"a chunk's spectral transform is not {bands} x {bands}")
    values: npt.NDArray[Any] = np.frombuffer(matrix, "<i2").astype(np.int16)
    return Klt(values.reshape(bands, bands), mean, spread)


def _alone() -> npt.NDArray[np.int16]:
    """Return the only transform of a single band."""
    return fit_klt(np.zeros((1, 1), np.uint16)).matrix


class Parser:
    """Reads numbers and byte strings, never beyond the end."""

    def __init__(self, payload: bytes, position: int, end: int) -> None:
        self._payload, self.position, self.end = payload, position, end

    def take(self, size: int) -> bytes:
        """Read a byte string."""
        if size > self.end - self.position:
            raise CorruptError(f"a chunk ends {size} bytes early; it is damaged")
        self.position += size
        return self._payload[self.position - size : self.position]

    def varint(self) -> int:
        """Read an unsigned LEB128 number."""
        value = 0
        for shift in range(0, 42, 7):
            (byte,) = self.take(1)
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise CorruptError("a chunk holds an endless number; it is damaged")

    def optional(self) -> bytes | None:
        """Read what `optional` wrote."""
        size = self.varint()
        return self.take(size - 1) if size else None


def varint(value: int) -> bytes:
    """Write an unsigned LEB128 number."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def optional(payload: bytes | None) -> bytes:
    """Write a payload that may not be there, behind its size plus one."""
    return b"\0" if payload is None else varint(len(payload) + 1) + payload


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
