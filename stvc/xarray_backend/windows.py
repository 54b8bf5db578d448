"""Where tiles and boxes of pixels meet."""

from __future__ import annotations

from collections.abc import Sequence

from stvc.codec.place import TILE, Tile
from stvc.types import GroupGrid


def tiles_of_box(tiles: Sequence[Tile], grid: GroupGrid, rows: slice, columns: slice) -> list[Tile]:
    """Pick the tiles that have pixels of a box, without looking at the others.

    Parameters
    ----------
    tiles : sequence of Tile
        All of the grid, as `stvc.codec.place.tiles_of` lists them.
    grid : GroupGrid
    rows, columns : slice
        With start and stop.
    """
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return []
    across = -(-len(grid.x) // TILE)
    return [
        tiles[row * across + column]
        for row in range(rows.start // TILE, -(-rows.stop // TILE))
        for column in range(columns.start // TILE, -(-columns.stop // TILE))
    ]


def windows(
    tile: Tile, rows: slice, columns: slice
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a tile's part of a box lies in the box, and in the tile."""
    into, inside = [], []
    for axis, box in ((tile.rows, rows), (tile.columns, columns)):
        first, stop = max(axis.start, box.start), min(axis.stop, box.stop)
        into.append(slice(first - box.start, stop - box.start))
        inside.append(slice(first - axis.start, stop - axis.start))
    return (into[0], into[1]), (inside[0], inside[1])
