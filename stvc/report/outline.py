"""The outline of an archive's field on its maps."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from stvc.grid import is_index
from stvc.types import GroupGrid

_MAX_POINTS = 2000


def outline(attrs: dict[str, Any], crs_wkt: str, grid: GroupGrid) -> list[list[list[float]]]:
    """Draw the area of interest in fractions of the map's width and height.

    Parameters
    ----------
    attrs : dict
        The archive's; ``aoi`` is a GeoJSON geometry in WGS84, as sources write it.
    crs_wkt : str
        The archive's CRS.
    grid : GroupGrid
        The grid that the maps show.

    Returns
    -------
    list of rings, each a list of [x, y] from the upper left corner
        Empty if there is no area, or it cannot be drawn.
    """
    said = attrs.get("aoi")
    if not crs_wkt or said is None or min(grid.shape[1:]) < 2 or is_index(grid.y):
        return []
    import shapely
    from pyproj import CRS, Transformer
    from pyproj.exceptions import ProjError

    try:
        text = said if isinstance(said, str) else json.dumps(said)
        shape = shapely.from_geojson(text)
        to_grid = Transformer.from_crs("EPSG:4326", CRS.from_wkt(crs_wkt), always_xy=True)
        drawn = shapely.transform(shape, lambda xy: np.stack(to_grid.transform(*xy.T), axis=1))
    except (ProjError, shapely.errors.ShapelyError, ValueError, TypeError):
        return []  # the attribute is the user's own: whatever stands there is no reason to fail
    polygons = [p for p in shapely.get_parts(drawn) if p.geom_type == "Polygon"]
    rings = [ring for p in polygons for ring in (p.exterior, *p.interiors)]
    half_x, half_y = grid.gsd / 2, abs(float(grid.y[1] - grid.y[0])) / 2
    left, right = float(grid.x.min()) - half_x, float(grid.x.max()) + half_x
    bottom, top = float(grid.y.min()) - half_y, float(grid.y.max()) + half_y
    found: list[list[list[float]]] = []
    for ring in rings:
        xy = np.asarray(ring.coords)[:, :2]
        if len(xy) > _MAX_POINTS or not np.isfinite(xy).all():
            continue
        x, y = (xy[:, 0] - left) / (right - left), (top - xy[:, 1]) / (top - bottom)
        found.append([[round(float(a), 5), round(float(b), 5)] for a, b in zip(x, y, strict=True)])
    return found
