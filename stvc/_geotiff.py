"""GeoTIFF export: one multiband file per date and native grid, and one for the mask."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc._export_rules import ask_for_export_extra, claims, replacing
from stvc.radiometry import reflectance_scale

if TYPE_CHECKING:
    import xarray as xr

_MASKS = ("SCL", "mask")


def write_geotiffs(ds: xr.Dataset, out: Path, info: Mapping[str, Any]) -> list[Path]:
    """Write frames as GeoTIFFs: one multiband file per date and native grid, and the mask's.

    Parameters
    ----------
    ds : xarray.Dataset
        What ``Archive.to_xarray()`` returns.
    out : Path
        A directory (made if need be); or a file ending in ``.tif`` if `ds` has one frame and its
        bands share one grid, and then the mask is not written.
    info : mapping
        What ``Archive.info()`` returns.

    Returns
    -------
    list of Path
        The files, by date, then by grid, then the mask.

    Raises
    ------
    StvcError
        If rasterio is not installed.
    ValueError
        If `out` is one file and `ds` needs more.
    """
    layers = _layers(ds)
    single = out.suffix.lower() in (".tif", ".tiff")
    if single:
        layers = [layer for layer in layers if not layer.is_mask]
        if len(layers) != 1 or ds.sizes["time"] != 1:
            raise ValueError(f"{ds.sizes['time']} dates on {len(layers)} grids do not fit one file")
    else:
        out.mkdir(parents=True, exist_ok=True)
    files = []
    stem = Path(str(info["path"])).stem
    for frame, time in enumerate(ds["time"].values.astype("datetime64[s]")):
        stamp = str(time).replace("-", "").replace(":", "").removesuffix("T000000")
        for layer in layers:
            path = out if single else out / f"{stem}_{stamp}_{layer.label}.tif"
            with replacing(path) as scratch:
                _write_layer(ds, layer, frame, scratch, info)
            files.append(path)
    return files


@dataclass(frozen=True)
class _Layer:
    """The variables that go into one GeoTIFF."""

    label: str
    names: tuple[str, ...]
    y: npt.NDArray[np.float64]
    x: npt.NDArray[np.float64]
    is_mask: bool


def _layers(ds: xr.Dataset) -> list[_Layer]:
    by_dims: dict[tuple[str, str], list[str]] = {}
    masks: list[tuple[str, tuple[str, str]]] = []
    for name, variable in ds.data_vars.items():
        if variable.ndim != 3:
            continue
        plane = (str(variable.dims[1]), str(variable.dims[2]))
        if name in _MASKS:
            masks.append((str(name), plane))
        else:
            by_dims.setdefault(plane, []).append(str(name))
    metric = _is_metric(ds)
    layers: list[_Layer] = []
    for plane, names in by_dims.items():
        y, x = _centers(ds, plane[0]), _centers(ds, plane[1])
        label = f"{abs(_steps(ds, y, x)[1]):g}m" if metric else f"grid{plane[0][1:]}"
        if any(label == other.label for other in layers):
            label += f"_{plane[0]}"
        layers.append(_Layer(label, tuple(names), y, x, is_mask=False))
    for name, plane in masks:
        y, x = _centers(ds, plane[0]), _centers(ds, plane[1])
        layers.append(_Layer(name, (name,), y, x, is_mask=True))
    return layers


def _centers(ds: xr.Dataset, axis: str) -> npt.NDArray[np.float64]:
    # A dataset without CRS may have no coordinates: pixels count from 0 then.
    return np.asarray(ds[axis].values, dtype=np.float64)


def _steps(
    ds: xr.Dataset, y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """Return the signed pixel sizes (dy, dx); an axis of one pixel takes the other axis's."""
    dy = float(y[-1] - y[0]) / (len(y) - 1) if len(y) > 1 else 0.0
    dx = float(x[-1] - x[0]) / (len(x) - 1) if len(x) > 1 else 0.0
    if dx == 0 and dy == 0:
        stored = str(_grid_mapping(ds).get("GeoTransform", "")).split()
        dx = abs(float(stored[1])) if len(stored) == 6 else 1.0
    dx = dx or abs(dy)
    return dy or -abs(dx), dx


def _grid_mapping(ds: xr.Dataset) -> dict[str, Any]:
    return dict(ds.coords["spatial_ref"].attrs) if "spatial_ref" in ds.coords else {}


def _crs_wkt(ds: xr.Dataset) -> str:
    attrs = _grid_mapping(ds)
    return str(attrs.get("crs_wkt") or attrs.get("spatial_ref") or "")


def _is_metric(ds: xr.Dataset) -> bool:
    from pyproj import CRS

    wkt = _crs_wkt(ds)
    if not wkt:
        return False
    crs = CRS.from_user_input(wkt)
    return crs.is_projected and crs.axis_info[0].unit_name in ("metre", "meter")


def _write_layer(
    ds: xr.Dataset, layer: _Layer, frame: int, path: Path, info: Mapping[str, Any]
) -> None:
    try:
        import rasterio
        import rasterio.crs
        import rasterio.errors
    except ImportError as missing:
        ask_for_export_extra("GeoTIFF", missing)
    pixels = np.stack([ds[name].values[frame] for name in layer.names])
    if layer.is_mask:
        pixels = pixels.astype(np.uint8)
    dy, dx = _steps(ds, layer.y, layer.x)
    top, left = float(layer.y[0]), float(layer.x[0])
    wkt = _crs_wkt(ds)
    if wkt and dy > 0:  # south-up grids confuse most readers; without a CRS, row 0 is the top
        pixels, top, dy = pixels[:, ::-1], float(layer.y[-1]), -dy
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": pixels.dtype.name,
        "count": pixels.shape[0],
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "nodata": None if layer.names == ("mask",) else 0,
        "compress": "deflate",
        "predictor": 2,
        "interleave": "band",
    }
    if wkt:
        profile["crs"] = rasterio.crs.CRS.from_user_input(wkt)
        profile["transform"] = rasterio.Affine(dx, 0.0, left - dx / 2, 0.0, dy, top - dy / 2)
    if max(pixels.shape[1:]) > 512:
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    with warnings.catch_warnings():
        # A dataset without CRS has no place on earth, and neither has its GeoTIFF: no news.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        raster = rasterio.open(path, "w", **profile)
    with raster:
        raster.write(pixels)
        raster.descriptions = layer.names
        if not layer.is_mask:
            radiometry = [_scale_and_offset(ds[name].attrs, name) for name in layer.names]
            raster.scales = [scale for scale, _ in radiometry]
            raster.offsets = [offset for _, offset in radiometry]
        raster.update_tags(**_tags(ds, frame, info))


def _scale_and_offset(attrs: Mapping[str, Any], band: str) -> tuple[float, float]:
    """Tell how DN become physical values; what the dataset says goes before what is usual."""
    scale = float(attrs.get("scale_factor", reflectance_scale(band)))
    return scale, float(attrs.get("add_offset", 0.0))


def _tags(ds: xr.Dataset, frame: int, info: Mapping[str, Any]) -> dict[str, str]:
    moment = str(ds["time"].values[frame].astype("datetime64[s]"))
    tags = {
        "TIFFTAG_DATETIME": moment.replace("-", ":").replace("T", " "),
        "TIFFTAG_SOFTWARE": f"stvc, archive format {info['format_version']}",
    }
    for name, variable in ds.variables.items():
        if variable.dims == ("time",) and name != "time":
            tags[str(name)] = str(variable.values[frame])
    return tags | {key: str(value) for key, value in claims(info).items()}
