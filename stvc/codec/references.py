"""What a frame may be predicted from: the historical background and the recent state.

Everything here is made of decoded values only, so that encoder and decoder agree to the bit.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stvc.codec.generations import NEWEST
from stvc.codec.predictive_learning import Memories
from stvc.codec.registration import warp
from stvc.codec.transform import I32
from stvc.native import kernels

NEVER = np.int32(-(1 << 30))
"""Day number of a pixel that has never been seen clear."""

MEMORY = 4
"""The running mean moves by 1/n of the way toward the n-th clear value, never by less than 1/4."""
_SHARE_BITS = 12
_ONE = 1 << _SHARE_BITS
_SHARES = np.array([0, *(_ONE // n for n in range(1, MEMORY + 1))], np.int32)


@dataclass
class ReferenceState:
    """References of one tile and band group, advanced frame by frame.

    The state lives in the geometry of the background: a frame that was registered with a shift
    is moved back before it enters.
    """

    mean: npt.NDArray[np.int32]
    """(C,) DN to assume where nothing is known."""
    shape: tuple[int, int]
    """(H, W), multiples of 8."""
    background: I32 | None = None
    """(C, H, W) decoded historical background, DN."""
    use_recent: bool = True
    """False switches the recent state off (then only the background predicts)."""
    generation: int = NEWEST
    """Of the codec: 1 knows neither the running mean nor later frames."""
    two_sided: bool = False
    """Whether ``second`` comes from the other side of the frame's date."""
    recent: I32 = field(init=False)
    """(C, H, W) latest clear decoded value of each pixel."""
    recent_day: npt.NDArray[np.int32] = field(init=False)
    """(H, W) its acquisition, days since 1970; `NEVER` where the background stands in."""
    second: I32 = field(init=False)
    """(C, H, W) the clear value before the latest."""
    second_day: npt.NDArray[np.int32] = field(init=False)
    """(H, W) its acquisition day."""
    average: I32 = field(init=False)
    """(C, H, W) running mean of the clear values, DN: less noise than any single date."""
    count: npt.NDArray[np.int32] = field(init=False)
    """(H, W) clear values in it, counted up to `MEMORY`."""
    memory: Memories = field(init=False)
    """What the predictive coder learned on the latest date that it coded."""

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the recent state: a frame without references starts here."""
        c = len(self.mean)
        if self.background is None:
            base = np.broadcast_to(self.mean.astype(np.int32)[:, None, None], (c, *self.shape))
        else:
            base = self.background
        self.recent = base.copy()
        self.second = base.copy()
        self.recent_day = np.full(self.shape, NEVER, np.int32)
        self.second_day = self.recent_day.copy()
        self.average = self.recent
        self.count = np.zeros(self.shape, np.int32)
        self.two_sided = False
        self.memory = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to predict from but the mean."""
        return self.background is None and not bool((self.recent_day > NEVER).any())

    @property
    def nbytes(self) -> int:
        """Size of what it holds beside the background, as far as it is not shared."""
        planes = (self.recent, self.second, self.average)
        return sum(a.nbytes for a in (*planes, self.recent_day, self.second_day, self.count))

    def update(
        self,
        decoded: npt.NDArray[np.generic],
        hidden: npt.NDArray[np.bool_],
        day: int,
        shift: tuple[int, int],
    ) -> None:
        """Let a decoded frame become the latest clear state; arrays are replaced, never changed.

        Parameters
        ----------
        decoded : array, (C, H, W) DN
        hidden : array, (H, W) bool
            Pixels that keep their old state.
        day : int
            Acquisition, days since 1970.
        shift : (int, int)
            The shift its references were warped by.
        """
        if not self.use_recent:
            return
        self.two_sided = False
        clear = ~hidden
        home = warp(decoded, (-shift[0], -shift[1]))
        whole = bool(clear.all())
        if kernels is not None and self.generation > 1 and not whole:
            self._advance(home, hidden, day)
            return

        def choose(new: I32, old: I32) -> I32:
            return new if whole else np.where(clear, new, old)

        if self.generation > 1:
            self.count = choose(np.minimum(self.count + 1, MEMORY), self.count)
            moved = home - self.average
            moved *= _SHARES[self.count]
            moved += _ONE >> 1
            moved >>= _SHARE_BITS
            moved += self.average
            self.average = choose(moved, self.average)
        self.second = choose(self.recent, self.second)
        self.second_day = choose(self.recent_day, self.second_day)
        self.recent = choose(home, self.recent)
        self.recent_day = choose(np.full_like(self.recent_day, day), self.recent_day)

    def _advance(self, home: I32, hidden: npt.NDArray[np.bool_], day: int) -> None:
        """Do what `update` does on a native kernel."""
        assert kernels is not None
        old = (
            np.ascontiguousarray(x, np.int32)
            for x in (
                self.recent,
                self.average,
                self.recent_day,
                self.count,
                self.second,
                self.second_day,
            )
        )
        new = self._room()
        kernels.advance(
            len(home), day, np.ascontiguousarray(home), np.ascontiguousarray(hidden), _SHARES,
            *old, *new,
        )  # fmt: skip
        self._take(new)

    def _room(self) -> list[npt.NDArray[np.int32]]:
        """Arrays for what `_take` takes."""
        planes, days = self.recent.shape, self.recent_day.shape
        return [np.empty(planes if k < 3 else days, np.int32) for k in range(6)]

    def _take(self, new: list[npt.NDArray[np.int32]]) -> None:
        self.recent, self.second, self.average = new[:3]
        self.recent_day, self.second_day, self.count = new[3:]

    def between(self, later: ReferenceState, day: int) -> ReferenceState:
        """Combine the states after an earlier and a later frame, for a frame between them.

        Per pixel, ``recent`` is the value that is closer in time, ``second`` the other one, and
        the running means are averaged.

        Parameters
        ----------
        later : ReferenceState
            Same place and shape.
        day : int
            Acquisition of the frame between, days since 1970.
        """
        made = copy(self)
        made.two_sided = True
        if kernels is not None:
            return self._between(made, later, day)
        mine = np.abs(day - self.recent_day.astype(np.int64))
        closer = mine <= np.abs(day - later.recent_day.astype(np.int64))
        made.recent = np.where(closer, self.recent, later.recent)
        made.recent_day = np.where(closer, self.recent_day, later.recent_day)
        made.second = np.where(closer, later.recent, self.recent)
        made.second_day = np.where(closer, later.recent_day, self.recent_day)
        both = (self.average + later.average + 1) >> 1
        made.average = np.where(
            self.count == 0, later.average, np.where(later.count == 0, self.average, both)
        )
        made.count = np.maximum(self.count, later.count)
        return made

    def _between(self, made: ReferenceState, later: ReferenceState, day: int) -> ReferenceState:
        """Do what `between` does on a native kernel."""
        assert kernels is not None
        sides = (
            np.ascontiguousarray(x, np.int32)
            for side in (self, later)
            for x in (side.recent, side.average, side.recent_day, side.count)
        )
        new = self._room()
        kernels.between(len(self.recent), day, *sides, *new)
        made._take(new)
        return made


def linked_state(
    fresh: ReferenceState, before: ReferenceState | None, after: ReferenceState | None, day: int
) -> ReferenceState:
    """References of a frame from the states that its links left behind.

    Parameters
    ----------
    fresh : ReferenceState
        Of a place that nothing is known of but its background.
    before, after : ReferenceState or None
        States after the frames that it links to; not changed.
    day : int
        Acquisition, days since 1970.
    """
    if before is not None and after is not None:
        return before.between(after, day)
    made = copy(before or after or fresh)
    made.two_sided = False
    return made
