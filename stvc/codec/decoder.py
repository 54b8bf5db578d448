"""Decode frames of an archive; mirror image of `stvc.codec.encoder`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from stvc.archive import Kind, UnitKey
from stvc.codec.frame_stats import NODATA_FROM_CLASSES, FrameStats
from stvc.codec.mask_coder import decode_mask
from stvc.codec.place import Place, Tile, tiles_of
from stvc.codec.references import ReferenceState
from stvc.codec.unit import UnitContext, decode_unit
from stvc.errors import CorruptError
from stvc.types import U8

if TYPE_CHECKING:
    from stvc.archive import ArchiveReader
    from stvc.model.weights import EntropyModel

Bool = npt.NDArray[np.bool_]
U16 = npt.NDArray[np.uint16]

Damage = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class DecodedFrame:
    """One frame as users see it."""

    index: int
    classes: U8
    """(Hm, Wm) mask classes."""
    pixels: tuple[U16, ...]
    """Per group (C, H, W) DN; groups that were not asked for are empty."""
    unclear: tuple[Bool, ...]
    """Per group (H, W)."""


class FrameDecoder:
    """References of a place, advanced frame by frame; shared by encoder and decoder.

    Parameters
    ----------
    place : Place
    backgrounds : tuple of array, optional
        Per group (C, H, W) decoded historical background.
    """

    def __init__(self, place: Place, backgrounds: tuple[U16, ...] | None) -> None:
        self.place = place
        self.previous_classes: U8 | None = None
        self._backgrounds = backgrounds
        self._states: dict[tuple[int, int], ReferenceState] = {}

    def state(self, group: int, tile: Tile) -> ReferenceState:
        """References of a tile."""
        key = (group, tile.index)
        if key not in self._states:
            background = None if self._backgrounds is None else self._backgrounds[group]
            self._states[key] = self.place.state(group, tile, background)
        return self._states[key]

    def start_frame(self, frame: int) -> None:
        """Forget the recent state at random-access points."""
        if frame % self.place.settings.key_interval == 0:
            self.previous_classes = None
            for state in self._states.values():
                state.reset()

    def end_frame(self, classes: U8) -> None:
        """Keep the classes for the next mask."""
        self.previous_classes = classes

    def nodata_under_classes(self, classes: U8) -> tuple[Bool, ...] | None:
        """Nodata pixels per group if mask class 0 alone tells them; None if there is no SCL."""
        from stvc.masks import hidden_on_grid

        if self.place.mask.kind != "SCL":
            return None
        none = (classes == 0)[None]
        return tuple(hidden_on_grid(none, self.place.mask, grid)[0] for grid in self.place.grids)

    def finish(self, context: UnitContext, decoded: U16, nodata: Bool) -> U16:
        """Crop a decoded unit and put nodata back: what users see (H, W without padding)."""
        h, w = context.size
        shown = decoded[:, :h, :w].copy()
        if self.place.settings.max_error != 0:
            shown = np.maximum(shown, 1)
            # ^ DN 0 means nodata: a lossy value must not turn into it (and stays within any bound)
        shown[:, nodata] = 0
        return shown


def chain_start(frame: int, place: Place) -> int:
    """First frame to decode in order to decode ``frame``."""
    return frame - frame % place.settings.key_interval


def decode_frames(
    reader: ArchiveReader,
    place: Place,
    backgrounds: tuple[U16, ...] | None,
    model: EntropyModel,
    frames: list[int],
    groups: list[int],
    *,
    on_damage: Damage | None = None,
    decoder: FrameDecoder | None = None,
) -> Iterator[DecodedFrame]:
    """Decode frames in ascending order, following each chain back to its random-access point.

    Parameters
    ----------
    reader : ArchiveReader
    place : Place
    backgrounds : tuple of array, optional
    model : EntropyModel
    frames : list of int
        Ascending frame indices.
    groups : list of int
        Band groups to decode.
    on_damage : callable, optional
        Gets the description of every damaged unit, which then decodes to nodata; without it
        damage raises.
    decoder : FrameDecoder, optional
        Advanced to the last frame, for an encoder to go on from.

    Raises
    ------
    CorruptError
        If a unit is damaged and ``on_damage`` is not given.
    """
    walker = decoder or FrameDecoder(place, backgrounds)
    units = _Units(reader, on_damage)
    done = -1
    for wanted in frames:
        for frame in range(max(done + 1, chain_start(wanted, place)), wanted + 1):
            decoded = _decode_one(units, walker, model, frame, groups)
            done = frame
        yield decoded


class _Units:
    """Reads and decodes units; remembers what is broken until the next random-access point."""

    def __init__(self, reader: ArchiveReader, on_damage: Damage | None) -> None:
        self.reader = reader
        self._on_damage = on_damage
        self._broken: set[tuple[Kind, int, int]] = set()

    def start_chain(self) -> None:
        """Nothing before this frame matters any more."""
        self._broken.clear()

    def attempt(self, key: UnitKey, decode: Callable[[bytes], T], *needs: UnitKey) -> T | None:
        """Decode a unit; None if it, or one that it is predicted from, is damaged."""
        try:
            for link in (key, *needs):
                if self._id(link) in self._broken:
                    raise CorruptError(
                        f"{self.reader.describe(key)}: cannot be decoded without the damaged unit "
                        "that it is predicted from"
                    )
            return self._decode(key, decode)
        except CorruptError as error:
            if self._on_damage is None:
                raise
            self._broken.add(self._id(key))
            self._on_damage(str(error))
            return None

    @staticmethod
    def _id(key: UnitKey) -> tuple[Kind, int, int]:
        return key.kind, key.group, key.tile

    def _decode(self, key: UnitKey, decode: Callable[[bytes], T]) -> T:
        if key not in self.reader.units:
            raise CorruptError(f"{self.reader.describe(key)}: missing; copy the archive again")
        payload = self.reader.read(key)
        try:
            return decode(payload)
        except CorruptError as error:
            raise CorruptError(f"{self.reader.describe(key)}: {error}") from None


def _decode_one(
    units: _Units, walker: FrameDecoder, model: EntropyModel, frame: int, groups: list[int]
) -> DecodedFrame:
    place = walker.place
    record = units.reader.frames[frame]
    if frame % place.settings.key_interval == 0:
        units.start_chain()
    walker.start_frame(frame)
    shape = (len(place.mask.y), len(place.mask.x))
    classes: U8 = np.zeros(shape, np.uint8)
    mask_key = UnitKey(Kind.MASK, frame, 0, 0)
    if place.mask.kind != "none":
        previous = walker.previous_classes
        found = units.attempt(mask_key, lambda payload: decode_mask(payload, shape, previous))
        classes = classes if found is None else found
    nodata = _nodata(units, walker, frame, classes)
    unclear = place.unclear(classes, nodata)
    images: list[U16] = []
    for g, grid in enumerate(place.grids):
        c, h, w = grid.shape
        if g not in groups:
            images.append(np.zeros((c, 0, 0), np.uint16))
            continue
        image = np.zeros((c, h, w), np.uint16)
        for tile in tiles_of(grid):
            context = place.context(g, tile, unclear[g], nodata[g], record.time)
            state = walker.state(g, tile)
            decode = partial(decode_unit, context=context, state=state, model=model)
            key = UnitKey(Kind.PIXELS, frame, g, tile.index)
            result = units.attempt(key, decode, mask_key, UnitKey(Kind.MASK, frame, 1 + g, 0))
            if result is None:
                continue
            decoded, shift = result
            state.update(decoded, context.unclear, context.day, shift)
            part = (tile.rows, tile.columns)
            image[:, *part] = walker.finish(context, decoded, nodata[g][part])
        images.append(image)
    walker.end_frame(classes)
    return DecodedFrame(frame, classes, tuple(images), unclear)


def _nodata(units: _Units, walker: FrameDecoder, frame: int, classes: U8) -> tuple[Bool, ...]:
    """Nodata pixels per group."""
    if FrameStats.unpack(units.reader.frames[frame].stats).flags & NODATA_FROM_CLASSES:
        implied = walker.nodata_under_classes(classes)
        if implied is not None:
            return implied
    out = []
    for g, grid in enumerate(walker.place.grids):
        _, h, w = grid.shape
        key = UnitKey(Kind.MASK, frame, 1 + g, 0)
        found = None
        if key in units.reader.units:
            found = units.attempt(key, partial(decode_mask, shape=(h, w), previous=None))
        out.append(np.zeros((h, w), bool) if found is None else found != 0)
    return tuple(out)
