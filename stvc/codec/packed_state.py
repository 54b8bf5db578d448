"""References in little memory, between the frame that leaves them behind and those that need them.

At work a tile's references take some 60 bytes a pixel with four bands; of a whole Sentinel-2 tile
that would be 7 GB a date. Nearly all of it is 16-bit pixels, repeated values, and days of which
there are few: packed, a first date leaves about 8 bytes a pixel. Unpacking gives back every value.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_learning import Memories
from stvc.codec.references import NEVER, ReferenceState
from stvc.codec.transform import I32

if TYPE_CHECKING:
    from stvc.codec.place import Place

Stored = npt.NDArray[Any]

LARGE = 1 << 20
"""Pixels of a place, over all groups, from which on references are put away between frames."""
_PEAK = (1 << 16) - 1
_UNSEEN = np.uint16(_PEAK)


@dataclass(frozen=True)
class PackedState:
    """What a tile's references hold, beside their background, which the next frame brings along."""

    recent: Stored
    second: Stored
    average: Stored | None
    """None: it is `recent`."""
    recent_day: Stored
    second_day: Stored
    first_day: tuple[int, int]
    """What the two were counted from."""
    count: Stored
    two_sided: bool
    memory: Memories

    @property
    def nbytes(self) -> int:
        """Size of what it holds."""
        planes = (self.recent, self.second, self.average, self.recent_day, self.second_day)
        return self.count.nbytes + sum(a.nbytes for a in planes if a is not None)


def is_large(place: Place) -> bool:
    """Whether a place's references are put away; packing would only slow down small ones."""
    return sum(len(grid.y) * len(grid.x) for grid in place.grids) >= LARGE


def pack(state: ReferenceState) -> PackedState:
    """Put references away; the packed form shares nothing with them."""
    (recent_day, first), (second_day, other) = map(_days, (state.recent_day, state.second_day))
    alike = state.average is state.recent or np.array_equal(state.average, state.recent)
    return PackedState(
        _planes(state.recent),
        _planes(state.second),
        None if alike else _planes(state.average),
        recent_day,
        second_day,
        (first, other),
        _flat(state.count.astype(np.uint8)),
        state.two_sided,
        state.memory,
    )


def unpack(kept: PackedState | ReferenceState, fresh: ReferenceState) -> ReferenceState:
    """Bring references back; those that were not put away are given as they are.

    Parameters
    ----------
    kept : PackedState or ReferenceState
    fresh : ReferenceState
        Of the same tile: lends its background; not changed.
    """
    if isinstance(kept, ReferenceState):
        return kept
    bands = (len(fresh.mean), *fresh.shape)
    made = copy(fresh)
    made.recent = _wide(kept.recent, bands)
    made.second = _wide(kept.second, bands)
    made.average = made.recent if kept.average is None else _wide(kept.average, bands)
    made.recent_day = _dated(kept.recent_day, kept.first_day[0], fresh.shape)
    made.second_day = _dated(kept.second_day, kept.first_day[1], fresh.shape)
    made.count = _wide(kept.count, fresh.shape)
    made.two_sided, made.memory = kept.two_sided, kept.memory
    return made


def _planes(values: I32) -> Stored:
    """(C, H, W) in 16 bits where they fit; bands that are all of one value as (C, 1, 1)."""
    narrow = _flat(values)
    fits = narrow.size == 0 or (narrow.min() >= 0 and narrow.max() <= _PEAK)
    # ^ a forged header may name any mean
    return narrow.astype(np.uint16) if fits else narrow.copy()


def _flat(values: Stored) -> Stored:
    """Keep one value per band, or one in all, if that is all there is."""
    corner = values[..., :1, :1]
    return corner.copy() if bool((values == corner).all()) else values


def _wide(stored: Stored, shape: tuple[int, ...]) -> I32:
    return np.array(np.broadcast_to(stored, shape), np.int32)


def _days(days: npt.NDArray[np.int32]) -> tuple[Stored, int]:
    """(H, W) days, counted from the first one where 16 bits hold that."""
    one = _flat(days)
    if one.size == 1:
        return one, 0
    seen = days > NEVER
    first = int(days[seen].min())
    # ^ days that differ are not all `NEVER`
    last = int(days[seen].max())
    if last - first >= _PEAK:
        return days.copy(), 0
    counted = np.where(seen, days.astype(np.int64) - first, _PEAK).astype(np.uint16)
    return counted, first


def _dated(stored: Stored, first: int, shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    if stored.dtype != np.uint16:
        return _wide(stored, shape)
    return np.where(stored == _UNSEEN, NEVER, stored.astype(np.int32) + np.int32(first))
