"""Mask classes and hidden pixels of single frames, decoded along their chains and remembered."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.archive import ArchiveReader, Kind, UnitKey
from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.frame_stats import NODATA_FROM_CLASSES, FrameStats, links_of
from stvc.codec.mask_coder import REFINED, Earlier, decode_mask
from stvc.codec.place import Place
from stvc.errors import CorruptError
from stvc.types import U8
from stvc.xarray_backend.counts import count
from stvc.xarray_backend.lru import ByteCache
from stvc.xarray_backend.payloads import Read

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Hidden:
    """What one frame hides, per group, eight pixels a byte."""

    unclear: tuple[U8, ...]
    nodata: tuple[U8 | None, ...]
    """None: no pixel."""

    def cut(self, group: int, rows: slice, columns: slice) -> tuple[Bool, Bool]:
        """Unpack (unclear, nodata) of a rectangle."""
        first = columns.start // 8
        within = slice(columns.start - 8 * first, columns.stop - 8 * first)

        def unpack(packed: U8) -> Bool:
            # Whole rows of a large place would cost more than the tile that is cut out of them.
            flags = np.unpackbits(packed[rows, first : -(-columns.stop // 8)], axis=1)
            return flags[:, within].astype(bool)

        unclear = unpack(self.unclear[group])
        packed = self.nodata[group]
        return unclear, np.zeros_like(unclear) if packed is None else unpack(packed)

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        held = [*self.unclear, *(n for n in self.nodata if n is not None)]
        return sum(array.nbytes for array in held)


class FrameMasks:
    """Masks of an archive's frames.

    Parameters
    ----------
    reader : ArchiveReader
    place : Place
    cache : ByteCache
        Shared with others; keys are told apart.
    """

    def __init__(self, reader: ArchiveReader, place: Place, cache: ByteCache[object]) -> None:
        self._reader = reader
        self._place = place
        self._cache = cache
        self._guard = threading.RLock()
        self._links = links_of(reader.frames, place)
        self._rules = FrameDecoder(place, None)  # for its rules only: it is never advanced

    def keys(self, frame: int) -> list[UnitKey]:
        """Units that `hidden` of a frame reads, those of the chain before it apart."""
        found = [UnitKey(Kind.MASK, frame, g, 0) for g in range(len(self._place.grids) + 1)]
        return [key for key in found if key in self._reader.units]

    def knows(self, frame: int) -> bool:
        """Whether a frame's classes are at hand."""
        return self._held(("classes", frame)) is not None

    def classes(self, frame: int, read: Read) -> U8:
        """(Hm, Wm) mask classes of a frame.

        Parameters
        ----------
        frame : int
            Index in the file.
        read : callable
            Gives a unit's payload.

        Raises
        ------
        CorruptError
        """
        place = self._place
        shape = (len(place.mask.y), len(place.mask.x))
        if place.mask.kind == "none":
            return np.zeros(shape, np.uint8)
        with self._guard:
            done: dict[int, U8] = {}
            waiting = self._lead(frame, done)
            while waiting:
                k = waiting.pop()
                if k not in done:
                    found = [done[j] for j in self._sources(k)]
                    earlier = Earlier(*found) if found else None
                    done[k] = self._decode(UnitKey(Kind.MASK, k, 0, 0), shape, earlier, read)
                    self._cache.put(("classes", k), done[k], done[k].nbytes)
                # Rasters of a whole tile are large: no more of them than will be looked at.
                wanted = {frame, *waiting, *(j for later in waiting for j in self._sources(later))}
                done = {j: raster for j, raster in done.items() if j in wanted}
            return done[frame]

    def chain(self, frame: int) -> list[int]:
        """Frames whose masks lead to one: itself, those it is predicted from, and so on.

        They descend. What leads to frames whose classes are at hand is left out.
        """
        return self._lead(frame, {})

    def _lead(self, frame: int, held: dict[int, U8]) -> list[int]:
        """`chain`; classes at hand are put into ``held``, as the cache may drop them."""
        found: set[int] = set()
        waiting = [frame]
        while waiting:
            k = waiting.pop()
            if k in found:
                continue
            found.add(k)
            known = self._held(("classes", k))
            if known is None:
                waiting += self._sources(k)
            else:
                held[k] = known
        return sorted(found, reverse=True)

    def _sources(self, frame: int) -> list[int]:
        """Frames whose classes a frame's are predicted from, see `FrameDecoder`."""
        linked = [k for k in self._links[frame] if k >= 0]
        if self._place.generation < REFINED:
            return linked[:1]
        if len(linked) == 1:
            linked += [k for k in self._links[linked[0]] if k >= 0][:1]
        return linked

    def hidden(self, frame: int, read: Read) -> Hidden:
        """Give what a frame hides; see `classes`."""
        found = self._cache.get(("hidden", frame))
        if isinstance(found, Hidden):
            return found
        classes = self.classes(frame, read)
        nodata = self._nodata(frame, classes, read)
        unclear = self._place.unclear(classes, nodata)
        made = Hidden(
            tuple(np.packbits(u, axis=1) for u in unclear),
            tuple(np.packbits(n, axis=1) if n.any() else None for n in nodata),
        )
        self._cache.put(("hidden", frame), made, made.nbytes)
        return made

    def _held(self, key: tuple[str, int]) -> U8 | None:
        found = self._cache.get(key)
        return found if isinstance(found, np.ndarray) else None

    def _nodata(self, frame: int, classes: U8, read: Read) -> tuple[Bool, ...]:
        if FrameStats.unpack(self._reader.frames[frame].stats).flags & NODATA_FROM_CLASSES:
            implied = self._rules.nodata_under_classes(classes)
            if implied is not None:
                return implied
        out = []
        for g, grid in enumerate(self._place.grids):
            shape = grid.shape[1:]
            key = UnitKey(Kind.MASK, frame, 1 + g, 0)
            if key in self._reader.units:
                out.append(self._decode(key, shape, None, read) != 0)
            else:
                out.append(np.zeros(shape, bool))
        return tuple(out)

    def _decode(
        self, key: UnitKey, shape: tuple[int, int], earlier: Earlier | None, read: Read
    ) -> U8:
        payload = read(key)
        try:
            decoded = decode_mask(payload, shape, earlier)
        except CorruptError as error:
            raise CorruptError(f"{self._reader.describe(key)}: {error}") from None
        count(masks=1)
        return decoded
