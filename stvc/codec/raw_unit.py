"""A coding unit as it is, or as zstd packs it: where no coder helps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import zstandard

from stvc.errors import CorruptError

U16 = npt.NDArray[np.uint16]

_RAW_LEVEL = 19


def encode(pixels: U16) -> bytes:
    """Pack (C, H, W) pixels: byte 0 tells whether zstd helped."""
    little = np.ascontiguousarray(pixels, "<u2").tobytes()
    packed = zstandard.compress(little, _RAW_LEVEL)
    return b"\1" + packed if len(packed) < len(little) else b"\0" + little


def decode(body: bytes, shape: tuple[int, int, int], padded: tuple[int, ...]) -> U16:
    """Unpack to (C, *padded) pixels.

    Raises
    ------
    CorruptError
        If the body cannot have been written by `encode`.
    """
    want = int(np.prod(shape)) * 2
    little = body[1:]
    if body[:1] == b"\1":
        try:
            if zstandard.frame_content_size(little) != want:
                raise CorruptError("a raw unit declares a wrong size; the payload is damaged")
            little = zstandard.decompress(little, max_output_size=want)
        except zstandard.ZstdError as error:
            raise CorruptError(
                f"a raw unit cannot be unpacked ({error}); the payload is damaged"
            ) from None
    if len(little) != want:
        raise CorruptError(
            f"a raw unit holds {len(little)} bytes, not {want}; the payload is damaged"
        )
    pixels = np.frombuffer(little, "<u2").reshape(shape).astype(np.uint16)
    edge = [(0, 0), (0, padded[0] - shape[1]), (0, padded[1] - shape[2])]
    return np.pad(pixels, edge, mode="edge")
