"""One array of frames as one self-contained, checked payload: what a Zarr chunk holds.

Little-endian; ``v`` is an unsigned LEB128 number::

    u8 0xC5, u8 version    of this layout
    v                      version of the bit stream of the units
    v n, n bytes           id of the entropy model, ASCII
    v T, v C, v H, v W     shape
    v step, v bound        step index; 0 = no bound, else 1 + largest error in DN
    v gsd, v days          pixel size, days from one frame to the next
    C x u16, C x u8        mean and spread of the spectral transform
    C * C x i16            its matrix; not there if C = 1, a zstd frame behind its size if C > 16
    per frame              v 0, or 1 + size and payload of the nodata mask
                           per tile: v size, payload
    u8 0 or 1              1: masks of bands that are 0 where others are not follow,
                           per frame and band: v 0, or 1 + size and payload
    u32                    CRC32C of all bytes before

A chunk knows neither mask nor background: frames are predicted from the frames before them in it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import google_crc32c
import numpy as np

from stvc import threads
from stvc.archive import FrameRecord, Kind, UnitKey
from stvc.chunk_head import (
    ChunkHead,
    ChunkSettings,
    Parser,
    Shape,
    optional,
    pack_head,
    read_head,
    varint,
)
from stvc.codec.decoder import decode_frames
from stvc.codec.encoder import encode_frames, fit_klts
from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.frame_stats import pack_link
from stvc.codec.mask_coder import decode_mask, encode_mask
from stvc.codec.place import SECONDS_PER_DAY, Place, Settings, nodata_of
from stvc.codec.spectral import Klt
from stvc.codec.structure import Planned, chain, plan_frames
from stvc.errors import CorruptError, CorruptInputError
from stvc.model.weights import load_model
from stvc.types import U16, CloudMode, GroupGrid, MaskGrid, Series

if TYPE_CHECKING:
    from stvc.archive import ArchiveReader

__all__ = ["ChunkHead", "ChunkSettings", "Shape", "decode_chunk", "encode_chunk", "read_head"]


def encode_chunk(pixels: U16, settings: ChunkSettings) -> bytes:
    """Encode frames to a self-contained payload.

    Parameters
    ----------
    pixels : ndarray, (T, C, H, W) uint16
        DN; 0 = nodata, and comes back as 0 wherever it stands.
    settings : ChunkSettings

    Returns
    -------
    bytes
        The same for the same input on every machine.

    Raises
    ------
    CorruptInputError
        If `pixels` is not a uint16 array of four axes, or is empty.
    ModelError
        If the entropy model is not installed.
    """
    if pixels.dtype != np.uint16 or pixels.ndim != 4 or 0 in pixels.shape:
        raise CorruptInputError(
            f"a chunk is a uint16 array (time, band, y, x), got {pixels.dtype} {pixels.shape}"
        )
    shape = cast(Shape, pixels.shape)
    model = load_model(settings.model)
    settings = replace(settings, model=model.model_id)
    grid = _grid(shape, settings)
    nodata = nodata_of(pixels)
    series = _series(pixels, grid, settings)
    klt = fit_klts(series, (nodata,))[0]
    place = _place(shape, settings, klt, model.generation)
    plan = _plan(shape[0], settings, place)
    ordered = replace(
        series,
        times=series.times[[p.position for p in plan]],
        pixels=(pixels[[p.position for p in plan]],),
    )
    links = [p.link for p in plan]
    with threads.fitting((grid,)):
        decoder = FrameDecoder(place, None, links, range(len(links)))
        encoded = encode_frames(ordered, place, decoder, model)
    units = {key: payload for key, payload, _ in encoded.units}
    out = [pack_head(shape, settings, klt, model.generation)]
    for frame in range(shape[0]):
        out.append(optional(units.get(UnitKey(Kind.MASK, frame, 1, 0))))
        for tile in place.tiles(0):
            payload = units[UnitKey(Kind.PIXELS, frame, 0, tile.index)]
            out += [varint(len(payload)), payload]
    # A bound of 0 keeps every 0 by itself; any other decodes imaged pixels to 1 at least.
    zero = pixels == 0 if settings.max_error != 0 else np.zeros(shape, bool)
    partial = zero & ~nodata[:, None]
    out.append(bytes([bool(partial.any())]))
    if partial.any():
        for band in partial.reshape(-1, *shape[2:]).astype(np.uint8):
            coded = encode_mask(band, None, model.generation) if band.any() else None
            out.append(optional(coded))
    body = b"".join(out)
    return body + struct.pack("<I", google_crc32c.value(body))


def decode_chunk(payload: bytes, shape: Shape | None = None) -> U16:
    """Decode what `encode_chunk` made.

    Parameters
    ----------
    payload : bytes
    shape : (int, int, int, int), optional
        (T, C, H, W) that is expected.

    Returns
    -------
    ndarray, (T, C, H, W) uint16

    Raises
    ------
    CorruptError
        If the payload is damaged, or has another shape.
    VersionError, ModelError
        If this stvc cannot know how to read it.
    """
    head = read_head(payload, shape)
    grid = _grid(head.shape, head.settings)
    place = _place(head.shape, head.settings, head.klt, head.generation)
    frames = head.shape[0]
    parser = Parser(payload, head.size, len(payload) - 4)
    units: dict[UnitKey, bytes] = {}
    for frame in range(frames):
        mask = parser.optional()
        if mask is not None:
            units[UnitKey(Kind.MASK, frame, 1, 0)] = mask
        for tile in place.tiles(0):
            units[UnitKey(Kind.PIXELS, frame, 0, tile.index)] = parser.take(parser.varint())
    plan = _plan(frames, head.settings, place)
    held = _Held(units, tuple(_record(k, p, head.settings) for k, p in enumerate(plan)))
    model = load_model(head.settings.model)
    pixels = np.empty(head.shape, np.uint16)
    with threads.fitting((grid,)):
        # `decode_frames` asks an archive's reader for units; a chunk holds them in memory.
        reader = cast("ArchiveReader", held)
        for one in decode_frames(reader, place, None, model, list(range(frames)), [0]):
            pixels[plan[one.index].position] = one.pixels[0]
    if parser.take(1) != b"\0":
        for band in pixels.reshape(-1, *head.shape[2:]):
            zero = parser.optional()
            if zero is not None:
                band[decode_mask(zero, head.shape[2:]) != 0] = 0
    if parser.position != parser.end:
        raise CorruptError("a chunk holds bytes behind its end; it is damaged")
    return pixels


@dataclass(frozen=True)
class _Held:
    """Units in memory, with the part of `ArchiveReader` that the decoder uses."""

    units: Mapping[UnitKey, bytes]
    frames: tuple[FrameRecord, ...]

    def read(self, key: UnitKey) -> bytes:
        return self.units[key]

    def describe(self, key: UnitKey) -> str:
        return f"chunk: frame {key.frame}, tile {key.tile}"


def _grid(shape: Shape, settings: ChunkSettings) -> GroupGrid:
    _, bands, height, width = shape
    names = tuple(f"band{k}" for k in range(bands))
    y, x = (np.arange(side, dtype=np.float64) * settings.gsd for side in (height, width))
    return GroupGrid("", names, y, x)


def _place(shape: Shape, settings: ChunkSettings, klt: Klt, generation: int) -> Place:
    # One chain: a chunk is decoded as a whole, so that no random access is needed inside.
    how = Settings(
        settings.step_index, CloudMode.KEEP, settings.max_error, key_interval=max(1, shape[0])
    )
    nowhere = MaskGrid("none", "", np.zeros(0), np.zeros(0))
    return Place((_grid(shape, settings),), nowhere, (klt,), how, generation)


def _seconds(position: int, settings: ChunkSettings) -> int:
    return position * settings.days * SECONDS_PER_DAY


def _plan(frames: int, settings: ChunkSettings, place: Place) -> list[Planned]:
    """Coding order and links of a chunk's frames: they follow from how many there are."""
    if place.generation == 1:
        return [Planned(k, link) for k, link in enumerate(chain(frames, frames))]
    times = [_seconds(k, settings) if settings.days else k for k in range(frames)]
    return plan_frames([], [], times, [1.0] * frames)


def _record(frame: int, planned: Planned, settings: ChunkSettings) -> FrameRecord:
    stats = (0, 0, 0, pack_link(frame, planned.link))
    return FrameRecord(_seconds(planned.position, settings), {}, stats)


def _series(pixels: U16, grid: GroupGrid, settings: ChunkSettings) -> Series:
    frames = len(pixels)
    seconds = np.array([_seconds(t, settings) for t in range(frames)], "datetime64[s]")
    nowhere = MaskGrid("none", "", np.zeros(0), np.zeros(0))
    return Series(seconds, (grid,), (pixels,), nowhere, np.zeros((frames, 0, 0), np.uint8))
