"""Where tiles and boxes of pixels meet."""

from __future__ import annotations

from collections.abc import Sequence

from stvc.codec.place import TILE, Tile


def tiles_of_box(tiles: Sequence[Tile], rows: slice, columns: slice) -> list[Tile]:
    """Pick the tiles that have pixels of a box, without looking at the others.

    Parameters
    ----------
    tiles : sequence of Tile
        All of a grid, as `stvc.codec.place.tiles_of` lists them.
    rows, columns : slice
        With start and stop.
    """
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return []
    down, across = (1 + axis.start // TILE for axis in (tiles[-1].rows, tiles[-1].columns))
    return [
        tiles[row * across + column] for row in _met(rows, down) for column in _met(columns, across)
    ]


def _met(box: slice, count: int) -> range:
    """Tiles along an axis: all begin at multiples of `TILE`, the last one may be longer."""
    return range(min(box.start // TILE, count - 1), min(-(-box.stop // TILE), count))


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
