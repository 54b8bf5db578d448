"""GeoJSON, read with suspicion: each rule, and the message when it is broken."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shapely.geometry import Polygon

SWAPPED = "GeoJSON wants longitude first, then latitude: swap them"
REPROJECT = "reproject it: ogr2ogr -t_srs EPSG:4326 out.geojson in.geojson"
_WGS84 = re.compile(r"(?i)(^|[:/])(OGC.*CRS84|EPSG[:/0.]*4326)$|^(CRS84|WGS ?84)$")


class GeoJsonProblem(Exception):
    """What is wrong in a GeoJSON, without its origin."""


def read_polygons(top: Any) -> list[Polygon]:
    """Read and check all polygons of a GeoJSON object.

    Parameters
    ----------
    top : Any
        Parsed JSON.

    Returns
    -------
    list of shapely Polygon
        At least one; each valid, with an area, in longitude and latitude.

    Raises
    ------
    GeoJsonProblem
        With what is wrong.
    """
    import shapely

    if not isinstance(top, dict) or not isinstance(top.get("type"), str):
        raise GeoJsonProblem("is JSON, but no GeoJSON object: it has no type member")
    _check_crs(top)
    parts = [_polygon(rings, number) for number, rings in enumerate(_polygons(top), 1)]
    if not parts:
        raise GeoJsonProblem(f"holds no polygon, only an empty {top['type']}")
    rings = [ring for part in parts for ring in (part.exterior, *part.interiors)]
    _check_range([ring.bounds for ring in rings])
    # ^ holes too: a polygon's own bounds are those of its shell
    for number, part in enumerate(parts, 1):
        if not part.is_valid:
            reason = str(shapely.is_valid_reason(part)).replace("[", " at ").rstrip("]")
            raise GeoJsonProblem(f"polygon {number} is not valid: {reason}; redraw it there")
        if part.area <= 0:
            raise GeoJsonProblem(f"polygon {number} has no area")
    return parts


def name_of(top: dict[str, Any]) -> str | None:
    """Find the name or id of a lone feature.

    Parameters
    ----------
    top : dict
        GeoJSON object.

    Returns
    -------
    str or None
        At most 80 characters on one line.
    """
    features = top.get("features")
    feature = features[0] if isinstance(features, list) and len(features) == 1 else top
    properties = feature.get("properties") if isinstance(feature, dict) else None
    named = properties.get("name") if isinstance(properties, dict) else None
    for candidate in (named, feature.get("id"), top.get("name")):
        if isinstance(candidate, str | int) and str(candidate).strip():
            return " ".join(str(candidate).split())[:80]
    return None


def _check_crs(top: dict[str, Any]) -> None:
    """Refuse the ``crs`` member of old GeoJSON unless it says WGS84."""
    crs = top.get("crs")
    if crs is None:
        return
    properties = crs.get("properties") if isinstance(crs, dict) else None
    named = properties.get("name") if isinstance(properties, dict) else crs
    if not isinstance(named, str) or not _WGS84.search(named):
        raise GeoJsonProblem(f"has coordinates in {str(named)[:60]}, want WGS84; {REPROJECT}")


def _polygons(member: Any) -> Iterator[Any]:
    """Yield the rings of each polygon in a GeoJSON object."""
    kind = member.get("type") if isinstance(member, dict) else None
    if kind in ("FeatureCollection", "GeometryCollection"):
        key = "features" if kind == "FeatureCollection" else "geometries"
        members = member.get(key)
        if not isinstance(members, list):
            raise GeoJsonProblem(f"{kind} has no list of {key}")
        for part in members:
            yield from _polygons(part)
    elif kind == "Feature":
        if member.get("geometry") is None:
            raise GeoJsonProblem("a feature has no geometry; remove it, or draw its polygon")
        yield from _polygons(member["geometry"])
    elif kind in ("Polygon", "MultiPolygon"):
        rings = member.get("coordinates")
        if not isinstance(rings, list):
            raise GeoJsonProblem(f"{kind} has no list of coordinates")
        yield from [rings] if kind == "Polygon" else rings
    else:
        shown = kind if isinstance(kind, str) else type(member).__name__
        raise GeoJsonProblem(f"holds a {shown[:60]}, want Polygon or MultiPolygon")


def _polygon(rings: Any, number: int) -> Polygon:
    from shapely.geometry import Polygon

    if not isinstance(rings, list) or not rings:
        raise GeoJsonProblem(f"polygon {number} has no rings")
    checked = [
        _ring(ring, f"ring {index} of polygon {number}") for index, ring in enumerate(rings, 1)
    ]
    return Polygon(checked[0], checked[1:])


def _ring(ring: Any, label: str) -> list[tuple[float, float]]:
    if not isinstance(ring, list):
        raise GeoJsonProblem(f"{label} is no list of points")
    points = []
    for index, point in enumerate(ring, 1):
        numbers: list[Any] = point[:2] if isinstance(point, list) and len(point) > 1 else [None]
        if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
            shown = json.dumps(point)[:40]
            raise GeoJsonProblem(f"{label}: point {index} is {shown}, want [lon, lat]")
        try:
            x, y = float(numbers[0]), float(numbers[1])
        except OverflowError:
            x = y = math.inf
        if not (math.isfinite(x) and math.isfinite(y)):
            raise GeoJsonProblem(f"{label}: point {index} is not finite")
        points.append((x, y))
    if points and points[0] != points[-1]:
        raise GeoJsonProblem(
            f"{label} is not closed: it starts at {points[0][0]:g}, {points[0][1]:g} and ends at "
            f"{points[-1][0]:g}, {points[-1][1]:g}; repeat the first point at the end"
        )
    if len(points) < 4:
        raise GeoJsonProblem(f"{label} has {len(points)} points, want 4 or more (first = last)")
    return points


def _check_range(boxes: list[tuple[float, float, float, float]]) -> None:
    """Refuse coordinates that are no longitude and latitude, guessing what they are."""
    west, south = min(box[0] for box in boxes), min(box[1] for box in boxes)
    east, north = max(box[2] for box in boxes), max(box[3] for box in boxes)
    if max(-west, east) > 180 or max(-south, north) > 90:
        cure = "want longitude within 180 and latitude within 90 degrees"
        if max(-west, east) <= 90 and max(-south, north) <= 180:
            cure = SWAPPED
        elif max(-west, east, -south, north) > 360:
            cure = f"these look like meters; {REPROJECT}"
        raise GeoJsonProblem(
            f"coordinates run from {west:g}, {south:g} to {east:g}, {north:g}; {cure}"
        )
    widest = max(box[2] - box[0] for box in boxes)
    if widest > 180:
        raise GeoJsonProblem(
            f"a polygon is {widest:g} degrees wide; split it at the antimeridian (RFC 7946, 3.1.9)"
        )
