"""What a frame may be predicted from: the historical background and the recent state.

Everything here is made of decoded values only, so that encoder and decoder agree to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stvc.codec.registration import warp
from stvc.codec.transform import I32

NEVER = np.int32(-(1 << 30))
"""Day number of a pixel that has never been seen clear."""


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
    recent: I32 = field(init=False)
    """(C, H, W) latest clear decoded value of each pixel."""
    recent_day: npt.NDArray[np.int32] = field(init=False)
    """(H, W) its acquisition, days since 1970; `NEVER` where the background stands in."""
    second: I32 = field(init=False)
    """(C, H, W) the clear value before the latest."""
    second_day: npt.NDArray[np.int32] = field(init=False)
    """(H, W) its acquisition day."""

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the recent state: a random-access point starts here."""
        c = len(self.mean)
        if self.background is None:
            base = np.broadcast_to(self.mean.astype(np.int32)[:, None, None], (c, *self.shape))
        else:
            base = self.background
        self.recent = base.copy()
        self.second = base.copy()
        self.recent_day = np.full(self.shape, NEVER, np.int32)
        self.second_day = self.recent_day.copy()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to predict from but the mean."""
        return self.background is None and not bool((self.recent_day > NEVER).any())

    def update(
        self,
        decoded: npt.NDArray[np.generic],
        hidden: npt.NDArray[np.bool_],
        day: int,
        shift: tuple[int, int],
    ) -> None:
        """Let a decoded frame become the latest clear state.

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
        clear = ~hidden
        home = warp(decoded, (-shift[0], -shift[1]))
        self.second = np.where(clear, self.recent, self.second)
        self.second_day = np.where(clear, self.recent_day, self.second_day)
        self.recent = np.where(clear, home, self.recent)
        self.recent_day = np.where(clear, np.int32(day), self.recent_day)
