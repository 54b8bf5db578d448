"""Decode single tiles of some dates: only the units that a request touches, each once.

A unit is predicted from those of the frames that its own links to, and so on. What a unit leaves
behind is remembered, as are the frames decoded on the way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.archive import ArchiveReader, Kind, UnitKey
from stvc.codec.backgrounds import at_frame
from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.frame_stats import links_of
from stvc.codec.place import SECONDS_PER_DAY, Tile
from stvc.codec.references import ReferenceState, linked_state
from stvc.codec.unit import decode_unit
from stvc.errors import CorruptError
from stvc.header import OpenPlace
from stvc.threads import SMALL
from stvc.types import U8, U16, CloudMode
from stvc.xarray_backend.counts import count
from stvc.xarray_backend.lru import ByteCache
from stvc.xarray_backend.masks_of_frames import FrameMasks
from stvc.xarray_backend.payloads import Payloads, Read
from stvc.xarray_backend.quiet import settled
from stvc.xarray_backend.windows import tiles_of_box, windows

Bool = npt.NDArray[np.bool_]

_BATCH = 32 << 20
"""Most payload bytes to fetch ahead at once."""


@dataclass(frozen=True)
class TileFrame:
    """One decoded unit as users see it."""

    pixels: U16
    """(C, h, w) DN."""
    prediction: U16 | None
    """(C, h, w) what the references alone say; None if it was not asked for."""

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self.pixels.nbytes + (0 if self.prediction is None else self.prediction.nbytes)


class TileDecoder:
    """Decoder of an open archive, for threads.

    Parameters
    ----------
    reader : ArchiveReader
    opened : OpenPlace
        With backgrounds.
    cache_bytes : int
        What decoded frames may take; as much again for masks and states together.
    ahead : bool
        Fetch the payloads of a request together: for remote files.
    """

    def __init__(
        self, reader: ArchiveReader, opened: OpenPlace, cache_bytes: int, *, ahead: bool
    ) -> None:
        self.place = opened.place
        self._reader = reader
        self._opened = opened
        self._ahead = ahead
        self._frames: ByteCache[TileFrame] = ByteCache(cache_bytes)
        self._others: ByteCache[object] = ByteCache(cache_bytes)
        self._masks = FrameMasks(reader, opened.place, self._others)
        self._links = links_of(reader.frames, opened.place)
        self._linked = {k for link in self._links for k in link}
        self._rules = FrameDecoder(opened.place, None)  # for its rules only: it is never advanced
        self._payloads = Payloads(reader)
        self._tiles = [opened.place.tiles(g) for g in range(len(opened.place.grids))]
        self._locks = {
            (g, tile.index): threading.Lock() for g, own in enumerate(self._tiles) for tile in own
        }
        self._single = max(len(g.y) * len(g.x) for g in opened.place.grids) <= SMALL

    @property
    def predicts_hidden(self) -> bool:
        """Whether what is stored under clouds already is the prediction."""
        settings = self.place.settings
        return settings.clouds is CloudMode.DROP and not settings.lossless

    def classes(self, frames: Sequence[int]) -> U8:
        """(T, Hm, Wm) mask classes of frames."""
        read = self._payloads.reading([key for f in frames for key in self._mask_chain(f)])
        out = np.empty((len(frames), len(self.place.mask.y), len(self.place.mask.x)), np.uint8)
        for position in np.argsort(frames, kind="stable"):
            out[position] = self._masks.classes(frames[position], read)
        return out

    def unseen(self, group: int, frames: Sequence[int], rows: slice, columns: slice) -> Bool:
        """(T, h, w): pixels that a cloud, shadow or defect hides, nodata apart."""
        read = self._payloads.reading([key for f in frames for key in self._mask_chain(f)])
        out = np.empty((len(frames), rows.stop - rows.start, columns.stop - columns.start), bool)
        for position in np.argsort(frames, kind="stable"):
            hidden = self._masks.hidden(frames[position], read)
            unclear, nodata = hidden.cut(group, rows, columns)
            out[position] = unclear & ~nodata
        return out

    def band(
        self,
        group: int,
        channel: int,
        frames: Sequence[int],
        rows: slice,
        columns: slice,
        fill: bool | None = None,
    ) -> U16:
        """(T, h, w) box of one band; see `bands`."""
        return self.bands(group, [channel], frames, rows, columns, fill)[:, 0]

    def bands(
        self,
        group: int,
        channels: Sequence[int],
        frames: Sequence[int],
        rows: slice,
        columns: slice,
        fill: bool | None = None,
    ) -> U16:
        """Decode a box of some bands of a group.

        Parameters
        ----------
        group : int
        channels : sequence of int
            K positions in the group.
        frames : sequence of int
            T indices in the file, in any order.
        rows, columns : slice
            With start and stop, on the group's grid: h and w pixels.
        fill : bool, optional
            What hidden pixels hold: the codec's prediction (True), nodata (False), or what is
            stored (None).

        Returns
        -------
        ndarray, (T, K, h, w) uint16
            DN.

        Raises
        ------
        CorruptError
            If a unit on the way is damaged.
        """
        tiles = tiles_of_box(self._tiles[group], rows, columns)
        box = rows.stop - rows.start, columns.stop - columns.start
        out = np.empty((len(frames), len(channels), *box), np.uint16)
        predict = fill is True and not self.predicts_hidden
        order = [int(k) for k in np.argsort(frames, kind="stable")]
        alone = self._single or threading.current_thread() is not threading.main_thread()
        with settled(single=alone):
            for batch, read in self._batches(group, tiles, frames, predict):
                for tile in batch:
                    into, inside = windows(tile, rows, columns)
                    for position in order:
                        frame = frames[position]
                        unit = self._unit(group, tile, frame, predict, read)
                        shown = unit.pixels
                        if fill is not None and (predict or not fill):
                            other = unit.prediction if fill else None
                            hidden = self._masks.hidden(frame, read)
                            unclear, nodata = hidden.cut(group, tile.rows, tile.columns)
                            under = np.uint16(0) if other is None else other
                            shown = np.where(unclear & ~nodata, under, shown)
                        out[(position, slice(None), *into)] = shown[(list(channels), *inside)]
        return out

    def _unit(self, group: int, tile: Tile, frame: int, predict: bool, read: Read) -> TileFrame:
        key = (group, tile.index)
        with self._locks[key]:
            known = self._frames.get((*key, frame))
            if known is not None and not (predict and known.prediction is None):
                return known
            # Held here as well: the cache may drop a state before the frame that needs it.
            states: dict[int, ReferenceState] = {}
            for step in self._missing(group, tile, frame, states):
                known = self._decode(step, group, tile, predict, read, states)
                self._frames.put((*key, step), known, known.nbytes)
            assert known is not None
            return known

    def _missing(
        self,
        group: int,
        tile: Tile,
        frame: int,
        states: dict[int, ReferenceState],
    ) -> list[int]:
        """Frames of a tile to decode, ascending, for one to be known; fills in known states."""
        needed, waiting = {frame}, [frame]
        while waiting:
            for k in self._links[waiting.pop()]:
                if k < 0 or k in needed or k in states:
                    continue
                found = self._others.get(("state", group, tile.index, k))
                if isinstance(found, ReferenceState):
                    states[k] = found
                else:
                    needed.add(k)
                    waiting.append(k)
        return sorted(needed)

    def _decode(
        self,
        frame: int,
        group: int,
        tile: Tile,
        predict: bool,
        read: Read,
        states: dict[int, ReferenceState],
    ) -> TileFrame:
        """Decode a unit whose links are in ``states``, and enter what it leaves behind."""
        place = self.place
        time = self._reader.frames[frame].time
        fresh = place.state(group, tile, at_frame(self._opened.backgrounds, frame, group))
        before, after = (states[k] if k >= 0 else None for k in self._links[frame])
        state = linked_state(fresh, before, after, time // SECONDS_PER_DAY)
        state.background = fresh.background
        hidden = self._masks.hidden(frame, read)
        unclear, nodata = hidden.cut(group, tile.rows, tile.columns)
        height, width = tile.size
        # The flags are cut out already: on a large grid whole ones would cost more than decoding.
        local = Tile(tile.index, slice(0, height), slice(0, width))
        context = place.context(group, local, unclear, nodata, time)
        key = UnitKey(Kind.PIXELS, frame, group, tile.index)
        payload = read(key)
        model = self._opened.model
        try:
            guess = decode_unit(b"", context, state, model)[0] if predict else None
            decoded, shift = decode_unit(payload, context, state, model)
        except CorruptError as error:
            raise CorruptError(f"{self._reader.describe(key)}: {error}") from None
        shown = self._rules.finish(context, decoded, nodata)
        foreseen = None if guess is None else self._rules.finish(context, guess, nodata)
        state.update(decoded, context.unclear, context.day, shift)
        states[frame] = state
        if frame in self._linked:
            self._others.put(("state", group, tile.index, frame), state, state.nbytes)
        count(units=1, samples=shown.size)
        return TileFrame(shown, foreseen)

    def _batches(
        self, group: int, tiles: list[Tile], frames: Sequence[int], predict: bool
    ) -> Iterable[tuple[list[Tile], Read]]:
        """Cut a request into parts whose payloads are fetched together."""
        if not self._ahead:
            yield tiles, self._payloads.reading([])
            return
        wanted = sorted(set(frames))
        masks = [key for frame in wanted for key in self._mask_chain(frame)]
        batch: list[Tile] = []
        keys: list[UnitKey] = list(masks)
        size = 0
        for tile in tiles:
            mine = self._pixel_chain(group, tile, wanted, predict)
            size += sum(self._reader.units[key].length for key in mine)
            batch.append(tile)
            keys += mine
            if size > _BATCH:
                yield batch, self._payloads.reading(keys)
                batch, keys, size = [], [], 0
        if batch:
            yield batch, self._payloads.reading(keys)

    def _pixel_chain(
        self, group: int, tile: Tile, frames: list[int], predict: bool
    ) -> list[UnitKey]:
        """Units of a tile that must be decoded to show frames, as far as can be foreseen."""
        needed: dict[int, None] = {}
        states: dict[int, ReferenceState] = {}
        for frame in frames:
            known = self._frames.get((group, tile.index, frame))
            if known is not None and not (predict and known.prediction is None):
                continue
            needed.update(dict.fromkeys(self._missing(group, tile, frame, states)))
        keys = [UnitKey(Kind.PIXELS, k, group, tile.index) for k in needed]
        masks = [key for k in needed for key in self._masks.keys(k)]
        return [key for key in (*keys, *masks) if key in self._reader.units]

    def _mask_chain(self, frame: int) -> list[UnitKey]:
        if not self._ahead:
            return []
        chain = self._masks.chain(frame)
        return [UnitKey(Kind.MASK, k, 0, 0) for k in chain if not self._masks.knows(k)]
