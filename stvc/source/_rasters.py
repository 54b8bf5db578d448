"""Windowed reads of rasters, local or behind http, that fail loudly."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from stvc.errors import SourceError
from stvc.grid import GridSpec
from stvc.radiometry import NODATA
from stvc.source._lattice import canonical_crs, overlap_of, spell
from stvc.source._scenes import Layer
from stvc.types import U16

if TYPE_CHECKING:
    import rasterio

_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # ^ One request fewer per file; a server's directory listing is of no use.
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_RETRY_CODES": "429,500,502,503,504",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_CONNECTTIMEOUT": "30",
    "GDAL_HTTP_MULTIRANGE": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/",
    # ^ A job that runs for months must not be told of yesterday's 404.
    "GDAL_TIFF_INTERNAL_MASK": "YES",
    "GTIFF_HONOUR_NEGATIVE_SCALEY": "NO",
}
_CDSE = {"AWS_S3_ENDPOINT": "eodata.dataspace.copernicus.eu", "AWS_VIRTUAL_HOSTING": "FALSE"}


def gdal_path(href: str) -> str:
    """Spell a path or URL as GDAL opens it.

    Parameters
    ----------
    href : str
        Local path, ``file:``, ``http:``, ``https:`` or ``s3:`` URL.
    """
    for scheme, prefix in (("http://", "/vsicurl/http://"), ("https://", "/vsicurl/https://")):
        if href.startswith(scheme):
            return prefix + href.removeprefix(scheme)
    if href.startswith("s3://"):
        return "/vsis3/" + href.removeprefix("s3://")
    if href.startswith("file://"):
        from urllib.parse import unquote, urlsplit

        return unquote(urlsplit(href).path)
    return href


@contextlib.contextmanager
def opened(href: str, extra: str) -> Iterator[rasterio.DatasetReader]:
    """Open a raster for reading.

    Parameters
    ----------
    href : str
        As for `gdal_path`.
    extra : str
        The optional part of stvc that brings rasterio along, for the message if it is missing.

    Raises
    ------
    SourceError
        If it cannot be opened, or a read inside the block fails.
    """
    try:
        import rasterio
        import rasterio.env
        import rasterio.errors
    except ImportError as missing:
        ask_for(extra, "rasterio", missing)
    path = gdal_path(href)
    settings: dict[str, Any] = {k: v for k, v in _GDAL.items() if k not in os.environ}
    if path.startswith("/vsis3/eodata/"):  # the Copernicus Data Space, not Amazon
        settings |= {k: v for k, v in _CDSE.items() if k not in os.environ}
    try:
        with (
            rasterio.env.Env(session=rasterio.session.DummySession(), **settings),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as raster:
                yield raster
    except rasterio.errors.RasterioError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise SourceError(f"{href} cannot be read: {reason}") from error


def ask_for(extra: str, package: str, cause: Exception) -> NoReturn:
    """Say which optional part of stvc is missing."""
    raise SourceError(
        f"this needs the package {package}, which is not installed: pip install 'stvc[{extra}]'"
    ) from cause


def grid_of(raster: rasterio.DatasetReader) -> GridSpec:
    """Read a raster's grid.

    Raises
    ------
    SourceError
        If its pixels are not square, or rotated.
    """
    t = raster.transform
    if raster.crs is None and t.is_identity:
        return GridSpec("", 0.0, 0.0, 1.0, raster.height, raster.width)
    extent = max(raster.height, raster.width)
    if t.b or t.d or t.e >= 0 or abs(t.a + t.e) * extent > 0.01 * abs(t.a):
        raise SourceError(
            f"{raster.name}: pixels of {t.a:g} by {t.e:g} (rotation {t.b:g}, {t.d:g}) are not "
            "square and north-up; warp it: gdalwarp -tr SIZE SIZE"
        )
    crs = canonical_crs(raster.crs.to_wkt()) if raster.crs else ""
    if not crs:
        raise SourceError(f"{raster.name}: it has no CRS; set one: gdal_edit.py -a_srs EPSG:...")
    return GridSpec(crs, t.c, t.f, t.a, raster.height, raster.width)


def read_layer(layer: Layer, target: GridSpec, extra: str, *, raw: bool) -> U16 | None:
    """Read what a raster holds of a grid.

    Parameters
    ----------
    layer : Layer
    target : GridSpec
        On the raster's lattice, (H, W) pixels.
    extra : str
        As for `opened`.
    raw : bool
        Values as they are (masks), or DN.

    Returns
    -------
    ndarray, (H, W) uint16, or None
        0 = nodata, also beside the raster; None if the two do not meet.

    Raises
    ------
    SourceError
        If a byte of it cannot be had, or the file is not what was announced.
    """
    common = overlap_of(layer.grid, target)
    if common is None:
        return None
    there, here = common
    with opened(layer.href, extra) as raster:
        found = grid_of(raster)
        if found != layer.grid and (
            overlap_of(found, layer.grid) is None or found.bounds != layer.grid.bounds
        ):
            raise SourceError(
                f"{layer.href} is a raster of {spell(found)}, announced as {spell(layer.grid)}; "
                "the catalog is wrong"
            )
        if layer.index > raster.count:
            raise SourceError(
                f"{layer.href} has {raster.count} bands, band {layer.index} is wanted"
            )
        values = raster.read(
            layer.index, window=((there.row, there.row_stop), (there.col, there.col_stop))
        )
    out = np.zeros((target.height, target.width), np.uint16)
    out[here.row : here.row_stop, here.col : here.col_stop] = (
        as_classes(values, layer.href) if raw else as_dn(values, layer)
    )
    return out


def as_dn(values: npt.NDArray[Any], layer: Layer) -> U16:
    """Turn raw values into DN: scaled, the offset removed, imaged pixels from 1 on.

    Parameters
    ----------
    values : ndarray
        Any numbers.
    layer : Layer
        Its scale, offset and nodata value apply.

    Returns
    -------
    ndarray, uint16
        0 = nodata.
    """
    missing = np.zeros(values.shape, np.bool_)
    if values.dtype.kind == "f":
        missing |= ~np.isfinite(values)
    if layer.nodata is not None and np.isfinite(layer.nodata):
        missing |= values == layer.nodata
    if values.dtype == np.uint16 and layer.scale == 1 and layer.offset == 0:
        return np.where(missing, np.uint16(NODATA), values)
    numbers = np.where(missing, 0, values).astype(np.float64) * layer.scale + layer.offset
    dn = np.clip(np.rint(numbers), 1, 65535)
    return np.where(missing, NODATA, dn).astype(np.uint16)


def as_classes(values: npt.NDArray[Any], where: str) -> U16:
    """Check mask values: whole numbers from 0 to 255.

    Raises
    ------
    SourceError
        If there are others.
    """
    numbers = np.nan_to_num(values) if values.dtype.kind == "f" else values
    if numbers.size and (numbers.min() < 0 or numbers.max() > 255):
        raise SourceError(
            f"{where}: mask values run from {numbers.min()} to {numbers.max()}, want 0 to 255"
        )
    return numbers.astype(np.uint16)
