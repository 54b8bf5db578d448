"""Sentinel-2 products for STAC and file tests: small tiles whose DN follow from where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from pyproj import Transformer

GSD = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B8A": 20, "B11": 20, "B01": 60, "SCL": 20}
EARTH_SEARCH = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B08": "nir",
    "B8A": "nir08",
    "B11": "swir16",
    "SCL": "scl",
}
LEFT, TOP = 649_980.0, 5_620_800.0
"""Corner of the usual tile, on 60 m; it holds `servers.places.FIELD`."""


@dataclass(frozen=True)
class Product:
    """One tile of one sensing."""

    day: str
    """``2021-06-01``."""
    clock: str = "10:50:31"
    baseline: str = "02.14"
    offset: int = 0
    """What its stored DN have more than reflectance x 10000."""
    tile: str = "31UFS"
    left: float = LEFT
    top: float = TOP
    side: int = 1200
    """In m."""
    epsg: int = 32631
    satellite: str = "S2A"
    datatake: str = "105031"
    """Start of the sensing, the same for all its tiles."""
    orbit: str = "R051"
    bands: tuple[str, ...] = tuple(GSD)
    blank: tuple[slice, slice] | None = None
    """10 m pixels, on whole 60 m ones, that were not imaged."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More properties of its item."""

    @property
    def stamp(self) -> str:
        return f"{self.day}T{self.clock}".replace("-", "").replace(":", "")

    @property
    def name(self) -> str:
        number = f"N{self.baseline.replace('.', '')}"
        sensed = f"{self.day.replace('-', '')}T{self.datatake}"
        return f"{self.satellite}_MSIL2A_{sensed}_{number}_{self.orbit}_T{self.tile}_{self.stamp}"

    @property
    def item_id(self) -> str:
        version = f"{self.baseline.replace('.', '')}{self.orbit}"
        return f"{self.satellite}_{self.tile}_{self.day.replace('-', '')}_{version}_L2A"

    def reflectance(self, band: str) -> npt.NDArray[np.uint16]:
        """Reflectance x 10000, or classes, of the whole tile; 0 = nodata."""
        gsd = GSD[band]
        return dn_at(band, self.left, self.top, self.side // gsd, self.day, self.blank)

    def stored(self, band: str) -> npt.NDArray[np.uint16]:
        """What the file holds."""
        values = self.reflectance(band)
        if band == "SCL":
            return values.astype(np.uint8)
        return np.where(values == 0, 0, values + self.offset).astype(np.uint16)


def dn_at(
    band: str, left: float, top: float, side: int, day: str, blank: Any = None
) -> npt.NDArray[np.uint16]:
    """DN of (side, side) pixels: each tells its band, its day, and where it lies."""
    gsd = GSD[band]
    col = (left + gsd * np.arange(side)) // gsd
    row = (top - gsd * np.arange(side)) // gsd
    number = list(GSD).index(band)
    days = int(np.datetime64(day).astype(int))
    ramp = (row[:, None] * 7 + col[None] * 3 + days * 11) % 900
    values = ramp.astype(np.uint16) + 200 + 50 * number
    if band == "SCL":
        values = np.where(ramp % 17 == 0, 9, 4).astype(np.uint16)
    if blank is not None:
        ratio = gsd // 10
        rows, cols = (slice(b.start // ratio, b.stop // ratio) for b in blank)
        values[rows, cols] = 0
    return values


def write_rasters(product: Product, folder: Path, driver: str = "GTiff") -> dict[str, Path]:
    """Write each band as a tiled raster."""
    files = {}
    for band in product.bands:
        path = folder / f"{product.name}_{band}.{'tif' if driver == 'GTiff' else 'jp2'}"
        write_raster(path, product.stored(band), product, GSD[band], driver)
        files[band] = path
    return files


def write_raster(
    path: Path, values: npt.NDArray[Any], product: Product, gsd: int, driver: str = "GTiff"
) -> None:
    """Write one raster on a product's ground."""
    options: dict[str, Any] = {"tiled": True, "blockxsize": 64, "blockysize": 64}
    options |= {"compress": "deflate"}
    if driver == "JP2OpenJPEG":
        options = {"QUALITY": 100, "REVERSIBLE": "YES"}
    with rasterio.open(
        path,
        "w",
        driver=driver,
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype.name,
        crs=f"EPSG:{product.epsg}",
        transform=rasterio.Affine(gsd, 0, product.left, 0, -gsd, product.top),
        **({"nodata": 0} if driver == "GTiff" else {}),
        **options,
    ) as raster:
        raster.write(values, 1)


def item_of(product: Product, base: str, *, style: str = "earth-search") -> dict[str, Any]:
    """A STAC item as earth-search or the Copernicus Data Space words it."""
    ring = outline(product)
    lon, lat = zip(*ring, strict=True)
    assets: dict[str, Any] = {
        "thumbnail": {"href": "thumb.jpg", "type": "image/jpeg", "roles": ["thumbnail"]},
        "metadata": {"href": "m.xml", "type": "application/xml", "roles": ["metadata"]},
    }
    for band in product.bands:
        gsd = GSD[band]
        key = EARTH_SEARCH[band] if style == "earth-search" else f"{band}_{gsd}m"
        assets[key] = {
            "href": f"{base}/{product.name}_{band}.tif",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "proj:shape": [product.side // gsd] * 2,
            "proj:transform": [gsd, 0, product.left, 0, -gsd, product.top],
        }
    properties: dict[str, Any] = {
        "datetime": f"{product.day}T{product.clock}Z",
        "platform": f"sentinel-{product.satellite[1:].lower()}",
    }
    if style == "earth-search":
        properties |= {
            "proj:epsg": product.epsg,
            "s2:processing_baseline": product.baseline,
            "s2:product_uri": f"{product.name}.SAFE",
        }
    else:
        properties |= {"proj:code": f"EPSG:{product.epsg}", "processing:version": product.baseline}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": product.item_id if style == "earth-search" else product.name,
        "collection": "sentinel-2-l2a",
        "bbox": [min(lon), min(lat), max(lon), max(lat)],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties | dict(product.extra),
        "links": [],
        "assets": assets,
    }


def outline(product: Product) -> list[list[float]]:
    """The tile's corners in WGS84, closed."""
    bottom, right = product.top - product.side, product.left + product.side
    box = shapely.box(product.left, bottom, right, product.top)
    transformer = Transformer.from_crs(product.epsg, 4326, always_xy=True)
    x, y = box.exterior.xy
    return [[float(a), float(b)] for a, b in zip(*transformer.transform(x, y), strict=True)]
