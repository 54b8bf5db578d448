"""What the frames of a place leave behind for those that are predicted from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from stvc.codec.backgrounds import Backgrounds, at_frame
from stvc.codec.mask_coder import Earlier
from stvc.codec.packed_state import PackedState, is_large, pack, unpack
from stvc.codec.place import SECONDS_PER_DAY, Place, Tile
from stvc.codec.references import ReferenceState, linked_state
from stvc.codec.structure import Link
from stvc.codec.unit import UnitContext
from stvc.types import U8

Bool = npt.NDArray[np.bool_]
U16 = npt.NDArray[np.uint16]


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
    held : collection of int
        Frames whose references will be asked for, even though no later frame may link to them;
        those of a small place's latest frame always can be.
    """

    def __init__(
        self,
        place: Place,
        backgrounds: Backgrounds | None,
        links: Sequence[Link] = (),
        walk: Sequence[int] | None = None,
        held: Collection[int] = (),
    ) -> None:
        self.place = place
        self.links = links
        self._backgrounds = backgrounds
        self._days: dict[int, int] = {}
        self._states: dict[int, dict[tuple[int, int], ReferenceState | PackedState]] = {}
        self._large, self._held = is_large(place), held
        self._classes: dict[int, Earlier] = {}
        self._last_use: dict[int, int] | None = None
        if walk is not None:
            self._last_use = {k: frame for frame in walk for k in links[frame]}

    def previous_classes(self, frame: int) -> Earlier | None:
        """Mask classes that a frame's are predicted from.

        Those of the frames that it links to, or of one and what that one was predicted from itself.
        """
        found = [self._classes[k] for k in self.links[frame] if k >= 0]
        if len(found) < 2:
            return found[0] if found else None
        return Earlier(found[0].first, found[1].first)

    def start_frame(self, frame: int, time: int) -> None:
        """Turn to a frame; those that it links to must have been started, and be done when needed.

        Parameters
        ----------
        frame : int
        time : int
            Seconds since 1970.
        """
        self._days[frame] = time // SECONDS_PER_DAY
        self._states[frame] = {}

    def state(self, frame: int, group: int, tile: Tile) -> ReferenceState:
        """References of a tile of a started frame; advance them with what is decoded."""
        key = (group, tile.index)
        mine = self._states[frame]
        known = mine.get(key)
        if not isinstance(known, ReferenceState):
            background = at_frame(self._backgrounds, frame, group)
            fresh = self.place.state(group, tile, background)
            if known is not None:  # put away already: for those who look on only
                return unpack(known, fresh)
            before, after = (
                None if k < 0 else unpack(self._states[k].get(key, fresh), fresh)
                for k in self.links[frame]
            )
            mine[key] = known = linked_state(fresh, before, after, self._days[frame])
            known.background = fresh.background  # links may go back to an older version's
        return known

    def settle(self, frame: int, group: int, tile: Tile) -> None:
        """Put a tile's references away once they are advanced: a large place has many of them."""
        if not self._large:
            return
        key = (group, tile.index)
        state = self._states[frame].pop(key)
        unused = self._last_use is not None and self._last_use.get(frame, -1) <= frame
        if frame in self._held or not unused:
            self._states[frame][key] = pack(state) if isinstance(state, ReferenceState) else state

    def end_frame(self, frame: int, classes: U8) -> None:
        """Keep the classes of a frame, which is done."""
        before = self.previous_classes(frame)
        self._classes[frame] = Earlier(classes, None if before is None else before.first)

    def forget(self, last: int) -> None:
        """Forget frames that nobody will link to, once all up to ``last`` are done; it stays."""
        if self._last_use is None:
            return
        for k in [k for k in self._states if k < last and self._last_use.get(k, -1) <= last]:
            del self._states[k], self._days[k]
            self._classes.pop(k, None)

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
