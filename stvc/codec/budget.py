"""Keeping a date within a number of bytes: shares of its tiles, steps that fit (encoder only).

What masks take goes first; each tile may then take the share of what is left that its visible
samples are of those left.

The network is asked once at the finest step allowed and once at the step that is found here, which
takes the plain coder's bits for granted: they follow from the symbols alone. What the network saved
at the first step it is expected to save at the next, with a margin; where it does not, the plain
coder's own bits decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.codec.quantize import MAX_STEP_INDEX
from stvc.errors import QualityError
from stvc.types import CloudMode

if TYPE_CHECKING:
    from stvc.archive import UnitKey
    from stvc.codec.place import Place

Bool = npt.NDArray[np.bool_]

_MARGIN = 1.04
"""The share that the network saves shrinks a little as steps grow."""


def coarser_step(
    plain_bits: Callable[[int], float], finest: int, allowed: float, saving: float
) -> int:
    """Find the finest step index whose bits are expected to fit.

    Parameters
    ----------
    plain_bits : callable
        Bits of the unit under the plain coder at a step index.
    finest : int
        Step index that was too fine.
    allowed : float
        Bits that the unit may take.
    saving : float
        Network bits over plain bits as far as known, at most 1; 1 for a bound that must hold.

    Returns
    -------
    int
        Between ``finest + 1`` and `MAX_STEP_INDEX`, which may still be too fine.
    """
    margin = _MARGIN if saving < 1 else 1.0
    low, high = finest, MAX_STEP_INDEX
    # ^ low does not fit, high is assumed to
    while high - low > 1:
        middle = (low + high) // 2
        if plain_bits(middle) * saving * margin <= allowed:
            high = middle
        else:
            low = middle
    return high


class Allowance:
    """What the tiles of one date may still take.

    Parameters
    ----------
    left : int
        Bytes.
    samples : int
        Visible samples of all tiles.
    """

    def __init__(self, left: int, samples: int) -> None:
        self._left, self._samples = left, samples

    def take(self, visible: Bool, bands: int) -> int:
        """Bytes that the next tile may take, by its visible pixels (h, w)."""
        mine = int(visible.sum()) * bands
        share = self._left * mine // max(self._samples, mine, 1)
        self._samples -= mine
        return share

    def spend(self, size: int) -> None:
        """Tell what it took."""
        self._left -= size


def allowance_of(
    place: Place,
    unclear: Sequence[Bool],
    units: Sequence[tuple[UnitKey, bytes, tuple[int, int, int]]],
    frame: int,
) -> Allowance | None:
    """Start a date's account; None if its size is not bounded.

    Parameters
    ----------
    place : Place
    unclear : sequence of array, per group (H, W) bool
    units : sequence
        What was coded so far, masks of this frame included.
    frame : int

    Raises
    ------
    QualityError
        If the masks alone take too much.
    """
    most = place.settings.max_bytes
    if most is None:
        return None
    masks = sum(len(payload) for key, payload, _ in units if key.frame == frame)
    if masks >= most:
        raise QualityError(
            f"max_bytes={most}: the mask of one date takes {masks} bytes; allow more bytes per date"
        )
    everything = place.settings.clouds is not CloudMode.DROP
    samples = sum(
        len(grid.bands) * int(np.count_nonzero(~hidden | everything))
        for grid, hidden in zip(place.grids, unclear, strict=True)
    )
    return Allowance(most - masks, samples)
