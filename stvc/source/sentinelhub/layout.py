"""Which pixels a place has on each native grid, and the rectangles in which they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stvc.aoi import Aoi
from stvc.bands import SENTINEL2, find_band
from stvc.errors import AoiError, SourceError
from stvc.grid import GridSpec, Window

MAX_SIDE = 2500
"""Most pixels a side that the service answers in one request."""

MAX_PIXELS = 150_000_000
"""Most pixels of a frame on its finest grid; a whole tile of Sentinel-2 has 120 million."""

MASK_GSD = 20
"""Ground sampling distance of the scene classes, in m."""

BANDS = {band.name: band.gsd for band in SENTINEL2 if band.name != "B10"}
"""Bands of L2A with their native ground sampling distance; B10 sees no ground."""

_EDGE = 1e-6


@dataclass(frozen=True)
class Group:
    """The bands of one native grid, and the grid."""

    bands: tuple[str, ...]
    """Band names; () if only the mask lives here."""
    spec: GridSpec
    """The grid."""

    @property
    def gsd(self) -> int:
        """Ground sampling distance in m."""
        return round(self.spec.gsd)

    @property
    def suffix(self) -> str:
        """Dimension suffix in datasets."""
        return "" if self.gsd == 10 else str(self.gsd)

    def windows(self) -> Iterator[Window]:
        """Cut the grid into rectangles that the service answers, row by row."""
        for row in range(0, self.spec.height, MAX_SIDE):
            for col in range(0, self.spec.width, MAX_SIDE):
                yield Window(
                    row,
                    min(row + MAX_SIDE, self.spec.height),
                    col,
                    min(col + MAX_SIDE, self.spec.width),
                )


@dataclass(frozen=True)
class Layout:
    """All native grids of a place; they share their outer edges."""

    epsg: int
    """UTM zone of the place."""
    crs_wkt: str
    """The same as WKT."""
    groups: tuple[Group, ...]
    """Finest first; one of them has the mask's ground sampling distance."""

    @property
    def mask(self) -> GridSpec:
        """The mask's grid."""
        return next(group.spec for group in self.groups if group.gsd == MASK_GSD)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Outer edges: left, bottom, right, top, in m."""
        return self.groups[0].spec.bounds


def lay_out(aoi: Aoi, bands: Sequence[str] | None) -> Layout:
    """Put a place on native grids: its UTM zone, snapped outwards to the coarsest grid asked for.

    Tiles of Sentinel-2 begin at multiples of 60 m, so pixels come as they were recorded wherever
    the place and the tile are in the same zone.

    Parameters
    ----------
    aoi : Aoi
        The place.
    bands : sequence of str or None
        Band names; None = all of L2A.

    Returns
    -------
    Layout

    Raises
    ------
    AoiError
        If the place is too large, or beyond UTM.
    SourceError
        If there is no such band.
    """
    from pyproj import CRS
    from sentinelhub.constants import CRS as ServiceCrs

    chosen = choose_bands(bands)
    center = aoi.geometry.centroid
    if not -80 <= center.y <= 84:
        raise AoiError(
            f"AOI {aoi.name} lies at latitude {center.y:.1f}, beyond UTM (80 S to 84 N); "
            "Sentinel-2's grid has no such place"
        )
    epsg = int(ServiceCrs.get_utm_from_wgs84(center.x, center.y).epsg)
    distances = sorted({*chosen.values(), MASK_GSD})
    # 20 and 60 m share edges only every 60 m; 10 and 20 m every 20 m.
    block = distances[-1]
    left, bottom, right, top = aoi.bounds_in(f"EPSG:{epsg}")
    col, col_stop = math.floor(left / block + _EDGE), math.ceil(right / block - _EDGE)
    row, row_stop = math.floor(bottom / block + _EDGE), math.ceil(top / block - _EDGE)
    width, height = max(col_stop - col, 1) * block, max(row_stop - row, 1) * block
    pixels = width * height / distances[0] ** 2
    if pixels > MAX_PIXELS:
        raise AoiError(
            f"AOI {aoi.name} is {width / 1000:.0f} by {height / 1000:.0f} km, "
            f"{pixels / 1e6:.0f} million pixels a date; split it into places of at most "
            f"{MAX_PIXELS / 1e6:.0f} million"
        )
    wkt = str(CRS.from_epsg(epsg).to_wkt())
    groups = tuple(
        Group(
            tuple(name for name, of in chosen.items() if of == gsd),
            GridSpec(
                wkt,
                float(col * block),
                float(row * block + height),
                float(gsd),
                height // gsd,
                width // gsd,
            ),
        )
        for gsd in distances
    )
    return Layout(epsg, wkt, groups)


def choose_bands(bands: Sequence[str] | None) -> dict[str, int]:
    """Resolve band names to ESA's, each once, with their ground sampling distance in m."""
    if bands is None:
        return dict(BANDS)
    chosen: dict[str, int] = {}
    for asked in bands:
        band = find_band(asked)
        if band is None or band.name not in BANDS:
            raise SourceError(
                f"source sentinelhub has no band {asked!r}; it has {', '.join(BANDS)}"
            )
        chosen[band.name] = band.gsd
    if not chosen:
        raise SourceError(f"no band is asked of source sentinelhub; it has {', '.join(BANDS)}")
    return chosen
