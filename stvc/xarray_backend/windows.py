"""Where tiles and boxes of pixels meet."""

from __future__ import annotations

from stvc.codec.place import Tile


def overlap(tile: Tile, rows: slice, columns: slice) -> bool:
    """Tell whether a tile has pixels of a box."""
    return bool(
        max(tile.rows.start, rows.start) < min(tile.rows.stop, rows.stop)
        and max(tile.columns.start, columns.start) < min(tile.columns.stop, columns.stop)
    )


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
