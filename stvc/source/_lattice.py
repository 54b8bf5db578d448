"""Grids that share a lattice: whether two are cut from the same one, and boxes over areas."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from stvc.aoi import Aoi
from stvc.grid import GridSpec, Window
from stvc.types import F64

if TYPE_CHECKING:
    from shapely.geometry import Polygon

_SLACK = 0.01
# ^ In pixels: what coordinates written as decimal text lose.


@lru_cache(maxsize=256)
def canonical_crs(crs: str) -> str:
    """Spell a CRS as PROJ does, so that files that mean the same CRS say the same.

    Parameters
    ----------
    crs : str
        WKT or ``EPSG:...``; empty = none.

    Returns
    -------
    str
        WKT2; of the EPSG entry if `crs` means one.
    """
    if not crs:
        return ""
    from pyproj import CRS

    read = CRS.from_user_input(crs)
    code = read.to_epsg(min_confidence=90)
    if code is not None:
        entry = CRS.from_epsg(code)
        # Not all WKT knows datum ensembles: files spell the datum that an ensemble replaced.
        same = entry.ellipsoid == read.ellipsoid and (
            entry.coordinate_operation == read.coordinate_operation
        )
        if entry == read or same:
            return _spelling(code)
    return str(read.to_wkt())


@lru_cache(maxsize=256)
def _spelling(code: int) -> str:
    """WKT2 of an EPSG entry, the same for the whole process.

    Not so from call to call: GDAL and pyproj may each bring a database of their own, and whichever
    is asked first inside the other's environment answers in its own words.
    """
    from pyproj import CRS

    return str(CRS.from_epsg(code).to_wkt())


def offset_between(grid: GridSpec, other: GridSpec) -> tuple[int, int] | None:
    """Find the whole-pixel shift from one grid to another.

    Parameters
    ----------
    grid, other : GridSpec
        Their `crs` as `canonical_crs` spells it.

    Returns
    -------
    (int, int) or None
        Row and column of the corner of `other` in pixels of `grid`; None if they do not share a
        lattice.
    """
    extent = max(grid.height, grid.width, other.height, other.width)
    if grid.crs != other.crs or abs(grid.gsd - other.gsd) * extent > _SLACK * grid.gsd:
        return None
    row, col = (grid.top - other.top) / grid.gsd, (other.left - grid.left) / grid.gsd
    if max(abs(row - round(row)), abs(col - round(col))) > _SLACK:
        return None
    return round(row), round(col)


def overlap_of(grid: GridSpec, other: GridSpec) -> tuple[Window, Window] | None:
    """Find what two grids of one lattice have in common.

    Returns
    -------
    (Window, Window) or None
        The same pixels in `grid` and in `other`; None if they do not meet.
    """
    shift = offset_between(grid, other)
    if shift is None:
        return None
    row, col = max(0, shift[0]), max(0, shift[1])
    row_stop = min(grid.height, shift[0] + other.height)
    col_stop = min(grid.width, shift[1] + other.width)
    if row >= row_stop or col >= col_stop:
        return None
    return Window(row, row_stop, col, col_stop), Window(
        row - shift[0], row_stop - shift[0], col - shift[1], col_stop - shift[1]
    )


def union_of(grids: Iterable[GridSpec]) -> GridSpec:
    """Return the smallest grid that holds some grids of one lattice.

    Parameters
    ----------
    grids : iterable of GridSpec
        At least one; all on the lattice of the first.
    """
    first, *others = grids
    row = col = 0
    row_stop, col_stop = first.height, first.width
    for other in others:
        shift = offset_between(first, other)
        assert shift is not None  # callers refuse other lattices with the files' names
        row, col = min(row, shift[0]), min(col, shift[1])
        row_stop = max(row_stop, shift[0] + other.height)
        col_stop = max(col_stop, shift[1] + other.width)
    return first.crop(Window(row, row_stop, col, col_stop))


def snapped(anchor: GridSpec, bounds: Sequence[float]) -> GridSpec:
    """Return the smallest grid on a lattice that covers some bounds.

    Parameters
    ----------
    anchor : GridSpec
        Any grid of the lattice; the result may reach beyond it.
    bounds : sequence of float
        Left, bottom, right, top in CRS units.
    """
    left, bottom, right, top = bounds
    window = Window(
        math.floor((anchor.top - top) / anchor.gsd + 1e-6),
        math.ceil((anchor.top - bottom) / anchor.gsd - 1e-6),
        math.floor((left - anchor.left) / anchor.gsd + 1e-6),
        math.ceil((right - anchor.left) / anchor.gsd - 1e-6),
    )
    return anchor.crop(
        Window(
            window.row,
            max(window.row_stop, window.row + 1),
            window.col,
            max(window.col_stop, window.col + 1),
        )
    )


def boxes(anchors: Sequence[GridSpec], aoi: Aoi) -> list[GridSpec]:
    """Snap an area to several lattices of one CRS, the coarsest first, so that grids nest.

    Parameters
    ----------
    anchors : sequence of GridSpec
        One per native grid.
    aoi : Aoi

    Returns
    -------
    list of GridSpec
        In the order of `anchors`; all cover the same ground where the lattices nest.
    """
    bounds: tuple[float, float, float, float] = aoi.bounds_in(anchors[0].crs)
    made: dict[int, GridSpec] = {}
    for index in sorted(range(len(anchors)), key=lambda i: -anchors[i].gsd):
        made[index] = snapped(anchors[index], bounds)
        bounds = made[index].bounds
    return [made[index] for index in range(len(anchors))]


def clipped(grid: GridSpec, ground: GridSpec) -> GridSpec | None:
    """Cut a grid off at the edges of another on its lattice; None if they do not meet."""
    common = overlap_of(grid, ground)
    return None if common is None else grid.crop(common[0])


def outline(grid: GridSpec) -> Polygon:
    """Return a grid's extent as a polygon in WGS84."""
    import shapely
    from pyproj import Transformer

    transformer = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    width = max(grid.bounds[2] - grid.bounds[0], grid.bounds[3] - grid.bounds[1])
    box = shapely.segmentize(shapely.box(*grid.bounds), width / 64)
    return shapely.transform(box, lambda xy: np.stack(transformer.transform(*xy.T), axis=1))


def spell(grid: GridSpec) -> str:
    """Describe a grid in a message."""
    from pyproj import CRS

    crs = "no CRS"
    if grid.crs:
        read = CRS.from_user_input(grid.crs)
        crs = ":".join(read.to_authority() or (read.name,))
    return (
        f"{grid.width} x {grid.height} pixels of {grid.gsd:.9g} from "
        f"({grid.left:.9g}, {grid.top:.9g}), {crs}"
    )


def centers(grid: GridSpec) -> tuple[F64, F64]:
    """Return pixel centers (y, x); without a CRS they count from 0."""
    if not grid.crs:
        return np.arange(grid.height, dtype=np.float64), np.arange(grid.width, dtype=np.float64)
    return grid.y, grid.x
