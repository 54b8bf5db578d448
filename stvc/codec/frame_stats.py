"""What an archive remembers about the error of each unit and frame, as small integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.archive import FrameRecord
from stvc.codec.structure import Link, chain
from stvc.errors import CorruptError
from stvc.native import kernels
from stvc.types import GroupGrid

if TYPE_CHECKING:
    from stvc.codec.place import Place

U16 = npt.NDArray[np.uint16]

NODATA_FROM_CLASSES = 1
"""Frame flag: nodata pixels of every group are exactly those under mask class 0 (SCL)."""

_NDVI_UNITS = 100_000
_CLEAR_UNITS = 1000
_MSE_OCTAVE = 32
_MSE_LIMIT = 33.0
# ^ beyond what 16-bit pixels can miss: a forged index must not overflow
_STEP_BITS = 24
_RED = "B04"
_NIR = ("B08", "B8A")


@dataclass(frozen=True)
class FrameStats:
    """Per frame."""

    flags: int = 0
    clear_share: float = 0.0
    """Share of pixels that show the ground, over all groups."""
    ndvi: float | None = None
    """Mean absolute NDVI error on clear pixels; None without red and near infrared."""

    def pack(self) -> tuple[int, int, int]:
        """Integers for the index: flags, per mille, NDVI error in 1e-5 plus one (0 = none)."""
        ndvi = 0 if self.ndvi is None else 1 + round(self.ndvi * _NDVI_UNITS)
        return self.flags, round(self.clear_share * _CLEAR_UNITS), ndvi

    @classmethod
    def unpack(cls, stats: tuple[int, ...]) -> FrameStats:
        """Inverse of `pack`."""
        flags, clear, ndvi = (*stats, 0, 0, 0)[:3]
        return cls(flags, clear / _CLEAR_UNITS, (ndvi - 1) / _NDVI_UNITS if ndvi else None)


def error_stats(
    original: U16, decoded: U16, clear: npt.NDArray[np.bool_], *, alone: bool
) -> tuple[int, int, int]:
    """Achieved error of a unit on clear pixels.

    Parameters
    ----------
    original, decoded : array, (C, H, W) uint16
    clear : array, (H, W) bool
    alone : bool
        Whether the tile is its group's only one: the frame's clear share tells its weight.

    Returns
    -------
    (int, int, int)
        Largest absolute error; mean squared error as ``1 + round(32 log2(1 + mse))``, 0 where no
        pixel is clear; number of clear pixels (0 for a tile that is alone).
    """
    count, squares, largest = clear_errors(decoded, original, ~clear)
    if not count:
        return 0, 0, 0
    stored = 1 + round(_MSE_OCTAVE * np.log2(1 + squares / (count * len(original))))
    return largest, stored, 0 if alone else count


def clear_errors(
    decoded: U16, original: U16, unclear: npt.NDArray[np.bool_]
) -> tuple[int, int, int]:
    """Errors on clear pixels.

    Parameters
    ----------
    decoded : array, (C, H, W) uint16
    original : array, (C, h, w) uint16
        Of the same pixels as far as it goes.
    unclear : array, (H, W) bool

    Returns
    -------
    (int, int, int)
        Number of clear pixels, sum of all bands' squared errors, largest absolute error.
    """
    c, h, w = original.shape
    if kernels is not None:
        given = (np.ascontiguousarray(x) for x in (decoded, original, unclear))
        count, squares, largest = kernels.squared_error((c, h, w, *unclear.shape), *given)
        return count, squares, largest
    miss = (decoded[:, :h, :w].astype(np.int64) - original)[:, ~unclear[:h, :w]]
    return miss.shape[1], int((miss * miss).sum()), int(np.abs(miss).max(initial=0))


def mean_squared_error(stored: int) -> float:
    """Mean squared error from its stored form (within 1.1 %)."""
    return float(2.0 ** min((stored - 1) / _MSE_OCTAVE, _MSE_LIMIT) - 1) if stored else 0.0


def ndvi_bands(grid: GroupGrid) -> tuple[int, int] | None:
    """Channel positions of red and near infrared, if the group has both."""
    for nir in _NIR:
        if _RED in grid.bands and nir in grid.bands:
            return grid.bands.index(_RED), grid.bands.index(nir)
    return None


def pack_link(frame: int, link: Link) -> int:
    """Return how far back a frame links: steps to `before` plus 2**24 times those to `after`.

    No link is no step.
    """
    before, after = (frame - k if k >= 0 else 0 for k in link)
    return before + (after << _STEP_BITS)


def links_of(records: Sequence[FrameRecord], place: Place) -> tuple[Link, ...]:
    """Links of all frames of an archive.

    Raises
    ------
    CorruptError
        If a frame links to one that is not before it in the archive.
    """
    if place.generation == 1:
        return tuple(chain(len(records), place.settings.key_interval))
    links = []
    for frame, record in enumerate(records):
        steps = (*record.stats, 0, 0, 0, 0)[3]
        far = (steps & ((1 << _STEP_BITS) - 1), steps >> _STEP_BITS)
        if steps < 0 or max(far) > frame:
            raise CorruptError(f"frame {frame} links {max(far)} frames back; the index is damaged")
        links.append(Link(*(frame - n if n else -1 for n in far)))
    return tuple(links)
