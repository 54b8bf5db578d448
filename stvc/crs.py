"""A CRS in an archive's header: by its code, where that says all of it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.errors import CorruptError

if TYPE_CHECKING:
    from pyproj import CRS

_SAME_DEGREES = 1e-9
"""What two ways to WGS84 may differ by: a tenth of a millimeter."""
_PROBES = 5


@lru_cache(maxsize=256)
def short_crs(wkt: str) -> str:
    """Name a CRS by its code if that means the same CRS.

    Parameters
    ----------
    wkt : str
        WKT, or empty.

    Returns
    -------
    str
        ``AUTHORITY:CODE``, else ``wkt`` itself.
    """
    if not wkt:
        return ""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        crs = CRS.from_wkt(wkt)
        code = crs.to_authority(min_confidence=100)
        if code is not None and CRS.from_authority(*code) == crs:
            return ":".join(code)
        code = code or _own_code(crs)
        if code is not None and _is_entry(crs, CRS.from_authority(*code)):
            return ":".join(code)
    except CRSError:
        pass
    return wkt


def long_crs(text: str) -> str:
    """WKT of what `short_crs` left.

    Raises
    ------
    CorruptError
        If PROJ does not know it.
    """
    if not text or "[" in text:
        return text
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return str(CRS.from_user_input(text).to_wkt())
    except CRSError:
        raise CorruptError(
            f"archive header: CRS {text[:60]!r} is unknown; copy or encode it again"
        ) from None


def _own_code(crs: CRS) -> tuple[str, str] | None:
    """Return the code at the root of a CRS, below a shift to WGS84."""
    named: dict[str, Any] = (_unbound(crs).to_json_dict()).get("id") or {}
    return (named["authority"], str(named["code"])) if "code" in named else None


def _unbound(crs: CRS) -> CRS:
    return crs.source_crs if crs.is_bound and crs.source_crs is not None else crs


def _is_entry(crs: CRS, entry: CRS) -> bool:
    """Whether an authority's entry means the same places by the same coordinates.

    Older WKT has no order of axes and other names for them, and GDAL added a shift to WGS84 of its
    own: coordinates are always x, y here, and such a shift must be what PROJ does without it.
    """
    plain = _unbound(crs)
    if plain.geodetic_crs is None or entry.geodetic_crs is None or plain.is_compound:
        return False
    same = plain.geodetic_crs.equals(entry.geodetic_crs, ignore_axis_order=True)
    if plain.is_geographic or entry.is_geographic:
        same = same and plain.is_geographic and entry.is_geographic
    else:
        same = same and plain.coordinate_operation == entry.coordinate_operation
    return same and _axes(plain) == _axes(entry) and (plain is crs or _same_ground(crs, entry))


def _axes(crs: CRS) -> list[tuple[str, float]]:
    return sorted((axis.direction, axis.unit_conversion_factor) for axis in crs.axis_info)


def _same_ground(crs: CRS, entry: CRS) -> bool:
    """Whether both turn the same coordinates into the same places on WGS84."""
    from pyproj import Transformer

    if entry.area_of_use is None:
        return False
    west, south, east, north = entry.area_of_use.bounds
    probes = np.meshgrid(np.linspace(west, east, _PROBES), np.linspace(south, north, _PROBES))
    x, y = Transformer.from_crs("EPSG:4326", entry, always_xy=True).transform(*probes)
    ways = [
        np.array(Transformer.from_crs(way, "EPSG:4326", always_xy=True).transform(x, y))
        for way in (crs, entry)
    ]
    return bool(np.isfinite(ways).all()) and bool((abs(ways[0] - ways[1]) < _SAME_DEGREES).all())
