"""The area of interest: GeoJSON in, a checked polygon in WGS84 out."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvc._geojson import SWAPPED, GeoJsonProblem, name_of, read_polygons
from stvc.errors import AoiError

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon, Polygon

MAX_BYTES = 10_000_000
"""Largest GeoJSON that is read; a field's outline has a few kB."""


@dataclass(frozen=True)
class Aoi:
    """An area of interest."""

    geometry: Polygon | MultiPolygon
    """Valid polygon with an area, longitude and latitude in degrees (WGS84)."""
    name: str
    """From the file: a feature's name or id, else the file's stem."""

    @property
    def geojson(self) -> str:
        """The geometry as GeoJSON text, rounded to 1e-7 degrees (1 cm)."""
        import numpy as np
        import shapely

        return str(shapely.to_geojson(shapely.transform(self.geometry, lambda xy: np.round(xy, 7))))

    def bounds_in(self, crs: str) -> tuple[float, float, float, float]:
        """Bound the area in another CRS.

        Parameters
        ----------
        crs : str
            WKT or ``EPSG:...``.

        Returns
        -------
        tuple of float
            Left, bottom, right, top.

        Raises
        ------
        AoiError
            If the area lies where the CRS has no coordinates.
        """
        import numpy as np
        import shapely

        transformer = _from_degrees(crs)
        west, south, east, north = self.geometry.bounds
        # A straight edge in degrees is curved in meters: its middle may stick out of its ends' box.
        dense = shapely.segmentize(self.geometry, max(east - west, north - south) / 64)
        x, y = transformer.transform(*shapely.get_coordinates(dense).T)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise AoiError(
                f"AOI {self.name} ({west:g}, {south:g} to {east:g}, {north:g}) lies outside the "
                "range of the source's CRS; choose a source that covers it"
            )
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())


@lru_cache(maxsize=64)
def _from_degrees(crs: str) -> Any:
    """Transformer from longitude and latitude; to make one takes longer than to use it."""
    from pyproj import Transformer

    return Transformer.from_crs("EPSG:4326", crs, always_xy=True)


def read_aoi(path: str | Path) -> Aoi:
    """Read an area of interest from a GeoJSON file.

    Parameters
    ----------
    path : str or Path
        File, or ``-`` for standard input. Polygon, MultiPolygon, Feature, FeatureCollection and
        GeometryCollection are read; several polygons become their union.

    Returns
    -------
    Aoi

    Raises
    ------
    AoiError
        With one line that names the file and what is wrong in it.
    """
    where = "standard input" if str(path) == "-" else str(path)
    try:
        if str(path) == "-":
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AoiError(f"{where}: cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_BYTES:
        raise AoiError(
            f"{where}: larger than {MAX_BYTES // 1_000_000} MB; simplify the outline, "
            "a pixel has 10 m"
        )
    return parse_aoi(raw, where, "aoi" if str(path) == "-" else Path(path).stem)


def parse_aoi(raw: bytes, where: str, name: str) -> Aoi:
    """Parse GeoJSON bytes.

    Parameters
    ----------
    raw : bytes
        GeoJSON in UTF-8.
    where : str
        What messages call the origin.
    name : str
        Name of the area if the GeoJSON has none.

    Returns
    -------
    Aoi

    Raises
    ------
    AoiError
        If it is not GeoJSON, or holds no usable polygon.
    """
    import shapely

    if not raw.strip():
        raise AoiError(f"{where}: is empty; want a GeoJSON polygon")
    try:
        top = json.loads(raw.decode("utf-8-sig"))
        parts = read_polygons(top)
    except GeoJsonProblem as problem:
        raise AoiError(f"{where}: {problem}") from None
    except json.JSONDecodeError as error:
        raise AoiError(
            f"{where}: is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except UnicodeDecodeError as error:
        raise AoiError(f"{where}: is not UTF-8 text (byte {error.start})") from None
    except (RecursionError, ValueError) as error:  # nesting, or a number of 5000 digits
        raise AoiError(f"{where}: is not usable JSON: {error}") from None
    return Aoi(shapely.union_all(parts), name_of(top) or name)


def check_overlap(aoi: Aoi, ground: Polygon | MultiPolygon | None, source: str) -> None:
    """Refuse an area that a source does not cover at all.

    Parameters
    ----------
    aoi : Aoi
        The area.
    ground : shapely geometry or None
        What the source covers in WGS84; None = everything.
    source : str
        The source's name.

    Raises
    ------
    AoiError
        If the two do not meet; says so if they would with longitude and latitude swapped.
    """
    import shapely

    if ground is None or aoi.geometry.intersection(ground).area > 0:
        return
    swapped = shapely.transform(aoi.geometry, lambda xy: xy[:, ::-1])
    west, south, east, north = ground.bounds
    hint = (
        SWAPPED
        if swapped.intersection(ground).area > 0
        else f"it covers {west:.4f}, {south:.4f} to {east:.4f}, {north:.4f}"
    )
    left, bottom, right, top = aoi.geometry.bounds
    raise AoiError(
        f"AOI {aoi.name} ({left:.4f}, {bottom:.4f} to {right:.4f}, {top:.4f}) lies off the ground "
        f"of source {source}; {hint}"
    )
