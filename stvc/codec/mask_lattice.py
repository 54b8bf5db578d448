"""Order in which the mask coder visits pixels: a lattice that gets finer and finer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from stvc.codec.mask_tables import OFFSETS

I64 = npt.NDArray[np.int64]

CHUNK = 4096
"""Cells of a pass that make one step."""
_PLAN_PIXELS = 2**17


@dataclass(frozen=True)
class Step:
    """Some pixels of one pass; all of them are coded at once."""

    kind: int
    """0 and 1: centers of squares, 2: middles of horizontal sides, 3: of vertical sides."""
    spacing: int
    """Lattice spacing h in pixels."""
    width: int
    """Raster width."""
    rows: I64
    """(n,)."""
    columns: I64
    """(n,)."""
    neighbors: I64
    """(n, 36) positions in the flat raster; its size for those outside."""

    def part(self, chosen: I64) -> Step:
        """Some of its pixels."""
        return Step(
            self.kind,
            self.spacing,
            self.width,
            self.rows[chosen],
            self.columns[chosen],
            self.neighbors[chosen],
        )


def plan(height: int, width: int) -> Iterable[Iterable[Step]]:
    """Give the passes over a raster, as `passes` does; those of small ones are kept."""
    return (_kept_plan if height * width <= _PLAN_PIXELS else passes)(height, width)


@lru_cache(maxsize=4)
def _kept_plan(height: int, width: int) -> tuple[tuple[Step, ...], ...]:
    return tuple(tuple(steps) for steps in passes(height, width))


def passes(height: int, width: int) -> Iterator[Iterable[Step]]:
    """Yield the passes, coarse to fine, each in steps of bounded size."""
    shape = (height, width)
    spacing = 1 << (max(shape) - 1).bit_length()
    yield _steps(0, spacing, shape, (0, 0))
    while spacing > 1:
        spacing //= 2
        for kind, corner in enumerate(((1, 1), (1, 1), (0, 1), (1, 0))):
            yield _steps(kind, spacing, shape, corner)


def _steps(
    kind: int, spacing: int, shape: tuple[int, int], corner: tuple[int, int]
) -> Iterator[Step]:
    height, width = shape
    down = len(range(corner[0] * spacing, height, 2 * spacing))
    across = len(range(corner[1] * spacing, width, 2 * spacing))
    for start in range(0, down * across, CHUNK):
        cell = np.arange(start, min(start + CHUNK, down * across))
        row, column = cell // across, cell % across
        if kind < 2:
            half = (row + column) % 2 == kind
            row, column = row[half], column[half]
        if len(row) == 0:
            continue
        rows = (2 * row + corner[0]) * spacing
        columns = (2 * column + corner[1]) * spacing
        y = rows[:, None] + OFFSETS[:, 0] * spacing
        x = columns[:, None] + OFFSETS[:, 1] * spacing
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        neighbors = np.where(inside, y * width + x, height * width)
        yield Step(kind, spacing, width, rows, columns, neighbors)
