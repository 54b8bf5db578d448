"""Order in which the predictive coder visits pixels, and where their neighbors lie in memory.

Pixels are coded in raster order, all rows and bands at once along a slanted front: pixel (y, x) of
the band at position c of the coding order belongs to step ``x + 2 y + 4 c``, from generation 5 on
``x + 2 y + 7 c``. Everything that its prediction reads (earlier pixels of its row, two columns
ahead in earlier rows, 3 x 3 or 5 x 5 pixels of earlier bands) was coded in an earlier step, so a
step is one batch of array operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

SLANT = 2
DELAYS = (4, 7)
"""Steps between two bands: before generation 5, and since (5 x 5 pixels of earlier bands)."""
MARGIN = 3
"""Cells around each plane."""
BANDS_BACK = 3
"""Earlier bands that a prediction sees; as many empty planes stand before the first band."""


@dataclass(frozen=True)
class Layout:
    """Cells of C planes of H x W pixels with margins, and the steps that fill them."""

    shape: tuple[int, int, int]
    """(C, H, W)."""
    row: int
    """Cells per row."""
    plane: int
    """Cells per plane."""
    cells: I64
    """(C H W,) cell of each pixel in coding order: by step, then band."""
    starts: I64
    """(steps + 1,) where each step begins in ``cells``."""
    band_starts: I64
    """(steps, C + 1) where each band begins within its step."""
    margin_to: I64
    """Margin cells, by the step that knows their value."""
    margin_from: I64
    """The pixel cells that they repeat."""
    margin_starts: I64
    """(steps + 1,) where each step begins in the margin lists."""

    @property
    def size(self) -> int:
        """Cells of all planes, empty ones included."""
        return (self.shape[0] + BANDS_BACK) * self.plane

    def offset(self, dy: int, dx: int, bands_back: int = 0) -> int:
        """Distance in cells to a neighbor."""
        return dy * self.row + dx - bands_back * self.plane

    def planes(self, pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        """Lay (C, H, W) pixels out in cells, edges repeated into the margins."""
        edge = [(0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)]
        padded = np.pad(pixels, edge, mode="edge").reshape(-1)
        return np.concatenate([np.zeros(BANDS_BACK * self.plane), padded.astype(np.float64)])


@lru_cache(maxsize=4)
def layout_of(shape: tuple[int, int, int], generation: int) -> Layout:
    """Layout of a unit's shape (C, H, W), none of them 0, in a generation of the codec."""
    c, h, w = shape
    row, plane = w + 2 * MARGIN, (h + 2 * MARGIN) * (w + 2 * MARGIN)
    band, y, x = (a.reshape(-1) for a in np.indices(shape))
    step = x + SLANT * y + DELAYS[generation > 4] * band
    cell = (band + BANDS_BACK) * plane + (y + MARGIN) * row + x + MARGIN
    order = np.lexsort((cell, step))
    steps = int(step.max()) + 1
    counts = np.bincount(step * c + band, minlength=steps * c).reshape(steps, c)
    band_starts = np.concatenate([np.zeros((steps, 1), np.int64), counts.cumsum(1)], 1)
    starts = np.concatenate([[0], counts.sum(1).cumsum()])

    to, source, when = [], [], []
    first, last, bottom = x == 0, x == w - 1, y == h - 1
    for k in range(1, MARGIN + 1):
        for chosen, move in (
            (first & ~bottom, row - k),  # left of the next row: the pixel above its first one
            (last, k),
            (bottom, k * row),
            (bottom & first, row - k),
        ):
            source.append(cell[chosen])
            to.append(cell[chosen] + move)
            when.append(step[chosen])
    corner = bottom & last
    source.append(cell[corner])
    to.append(cell[corner] + row + 1)
    when.append(step[corner])
    known = np.concatenate(when)
    by_step = np.argsort(known, kind="stable")
    margin_starts = np.searchsorted(known[by_step], np.arange(steps + 1))
    return Layout(
        shape,
        row,
        plane,
        cell[order],
        starts.astype(np.int64),
        band_starts,
        np.concatenate(to)[by_step],
        np.concatenate(source)[by_step],
        margin_starts.astype(np.int64),
    )
