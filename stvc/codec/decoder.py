"""Decode frames of an archive; mirror image of `stvc.codec.encoder`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc import threads
from stvc.archive import Kind, UnitKey
from stvc.codec.backgrounds import Backgrounds, at_frame
from stvc.codec.frame_stats import NODATA_FROM_CLASSES, FrameStats, links_of
from stvc.codec.mask_coder import decode_mask
from stvc.codec.place import SECONDS_PER_DAY, Place, Tile, tiles_of
from stvc.codec.references import ReferenceState, linked_state
from stvc.codec.structure import GROUP, Link, walk_to
from stvc.codec.unit import UnitContext, decode_unit
from stvc.codec.unit_reading import Damage, Spread, Units
from stvc.types import U8

if TYPE_CHECKING:
    from stvc.archive import ArchiveReader
    from stvc.model.weights import EntropyModel

Bool = npt.NDArray[np.bool_]
U16 = npt.NDArray[np.uint16]


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
    backgrounds : tuple of array, or Versions, optional
        Per group (C, H, W) decoded historical background.
    links : sequence of Link
        Of all frames of the archive, those to be encoded included.
    walk : sequence of int, optional
        Ascending indices of the frames that will be started: what no later one links to is
        forgotten. Without it, every state is kept.
    """

    def __init__(
        self,
        place: Place,
        backgrounds: Backgrounds | None,
        links: Sequence[Link] = (),
        walk: Sequence[int] | None = None,
    ) -> None:
        self.place = place
        self.links = links
        self._backgrounds = backgrounds
        self._frame = self._day = -1
        self._states: dict[int, dict[tuple[int, int], ReferenceState]] = {}
        self._classes: dict[int, U8] = {}
        self._last_use: dict[int, int] | None = None
        self._previous = -1
        if walk is not None:
            self._last_use = {k: frame for frame in walk for k in links[frame]}

    @property
    def link(self) -> Link:
        """Frames that the started one is predicted from."""
        return self.links[self._frame]

    @property
    def previous_classes(self) -> U8 | None:
        """Mask classes that the started frame's are predicted from."""
        return next((self._classes[k] for k in self.link if k >= 0), None)

    def start_frame(self, frame: int, time: int) -> None:
        """Turn to a frame; those that it links to must have been walked.

        Parameters
        ----------
        frame : int
        time : int
            Seconds since 1970.
        """
        self._frame, self._day = frame, time // SECONDS_PER_DAY
        self._states[frame] = {}

    def state(self, group: int, tile: Tile) -> ReferenceState:
        """References of a tile of the started frame; advance them with what is decoded."""
        key = (group, tile.index)
        mine = self._states[self._frame]
        if key not in mine:
            background = at_frame(self._backgrounds, self._frame, group)
            fresh = self.place.state(group, tile, background)
            before, after = (
                None if k < 0 else self._states[k].get(key) or fresh for k in self.link
            )
            mine[key] = linked_state(fresh, before, after, self._day)
            mine[key].background = fresh.background  # links may go back to an older version's
        return mine[key]

    def end_frame(self, classes: U8) -> None:
        """Keep the frame's classes, forget frames that nobody will link to."""
        self._classes[self._frame] = classes
        if self._last_use is not None:
            done = {*self.link, self._previous} - {-1, self._frame}
            for k in done:
                if self._last_use.get(k, -1) <= self._frame:
                    self._states.pop(k, None)
                    self._classes.pop(k, None)
            self._previous = self._frame
            # ^ the state of the latest frame stays, for those who ask what is known by now

    def nodata_under_classes(self, classes: U8) -> tuple[Bool, ...] | None:
        """Nodata pixels per group if mask class 0 alone tells them; None if there is no SCL."""
        from stvc.masks import hidden_on_grid

        if self.place.mask.variable != "SCL":
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


def decode_frames(
    reader: ArchiveReader,
    place: Place,
    backgrounds: Backgrounds | None,
    model: EntropyModel,
    frames: list[int],
    groups: list[int],
    *,
    on_damage: Damage | None = None,
    decoder: FrameDecoder | None = None,
    ahead: Callable[[list[int]], None] | None = None,
) -> Iterator[DecodedFrame]:
    """Decode frames in ascending order, each after those that it is predicted from.

    Parameters
    ----------
    reader : ArchiveReader
    place : Place
    backgrounds : tuple of array, or Versions, optional
    model : EntropyModel
    frames : list of int
        Ascending frame indices.
    groups : list of int
        Band groups to decode.
    on_damage : callable, optional
        Gets the description of every damaged unit, which then decodes to nodata; without it
        damage raises.
    decoder : FrameDecoder, optional
        Walks the frames: for an encoder to go on from, or to watch. It must know the links.
    ahead : callable, optional
        Gets the frames that will be decoded next, a group at a time: to fetch their units.

    Raises
    ------
    CorruptError
        If a unit is damaged and ``on_damage`` is not given.
    """
    links = links_of(reader.frames, place)
    walk = walk_to(frames, links)
    walker = decoder or FrameDecoder(place, backgrounds, links, walk)
    units = Units(reader, on_damage)
    wanted = set(frames)
    tasks = sum(len(tiles_of(place.grids[g])) for g in groups)
    for position, frame in enumerate(walk):
        if ahead is not None and position % GROUP == 0:
            ahead(walk[position : position + GROUP])
        with threads.spread_over(tasks) as spread:
            decoded = _decode_one(units, walker, model, frame, groups, spread)
        if frame in wanted:
            yield decoded


def _decode_one(
    units: Units,
    walker: FrameDecoder,
    model: EntropyModel,
    frame: int,
    groups: list[int],
    spread: Spread,
) -> DecodedFrame:
    place = walker.place
    record = units.reader.frames[frame]
    walker.start_frame(frame, record.time)
    shape = (len(place.mask.y), len(place.mask.x))
    classes: U8 = np.zeros(shape, np.uint8)
    mask_key = UnitKey(Kind.MASK, frame, 0, 0)
    if place.mask.kind != "none":
        previous = walker.previous_classes
        found = units.attempt(
            mask_key, walker.link, lambda payload: decode_mask(payload, shape, previous)
        )
        classes = classes if found is None else found
    nodata = _nodata(units, walker, frame, classes)
    unclear = place.unclear(classes, nodata)
    images: list[U16] = []
    jobs: list[tuple[UnitKey, Callable[[bytes], None], tuple[UnitKey, ...]]] = []
    for g, grid in enumerate(place.grids):
        c, h, w = grid.shape
        if g not in groups:
            images.append(np.zeros((c, 0, 0), np.uint16))
            continue
        image = np.zeros((c, h, w), np.uint16)
        images.append(image)
        needs = (mask_key, UnitKey(Kind.MASK, frame, 1 + g, 0))
        for tile in tiles_of(grid):
            context = place.context(g, tile, unclear[g], nodata[g], record.time)
            part = (tile.rows, tile.columns)
            decode = partial(
                _decode_tile, walker, model, (g, tile), context, nodata[g][part], image[:, *part]
            )
            jobs.append((UnitKey(Kind.PIXELS, frame, g, tile.index), decode, needs))
    for _ in units.attempts(jobs, walker.link, spread):
        pass
    walker.end_frame(classes)
    return DecodedFrame(frame, classes, tuple(images), unclear)


def _decode_tile(
    walker: FrameDecoder,
    model: EntropyModel,
    where: tuple[int, Tile],
    context: UnitContext,
    nodata: Bool,
    image: U16,
    payload: bytes,
) -> None:
    """Decode one tile into its part of an image, and advance its references."""
    state = walker.state(*where)
    decoded, shift = decode_unit(payload, context, state, model)
    state.update(decoded, context.unclear, context.day, shift)
    image[...] = walker.finish(context, decoded, nodata)


def _nodata(units: Units, walker: FrameDecoder, frame: int, classes: U8) -> tuple[Bool, ...]:
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
            found = units.attempt(key, Link(), partial(decode_mask, shape=(h, w), previous=None))
        out.append(np.zeros((h, w), bool) if found is None else found != 0)
    return tuple(out)
