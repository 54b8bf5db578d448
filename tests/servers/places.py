"""Areas of interest for tests, given in meters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from pyproj import Transformer

from stvc.aoi import Aoi

TILE = (600_000.0, 5_590_200.0, 709_800.0, 5_700_000.0)
"""Ground of the Sentinel-2 tile 31UFS, EPSG:32631."""

FIELD = (650_010.0, 5_620_010.0, 650_390.0, 5_620_430.0)
"""A field in it, off all pixel edges of 20 and 60 m."""


def area(bounds: Sequence[float] = FIELD, epsg: int = 32631, name: str = "field") -> Aoi:
    """A rectangle in a projected CRS, as an area of interest."""
    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    box = shapely.box(*bounds)
    return Aoi(
        shapely.transform(box, lambda xy: np.stack(to_degrees.transform(*xy.T), axis=1)), name
    )
