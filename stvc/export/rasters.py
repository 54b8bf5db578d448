"""GeoTIFF and COG: one multiband file per date and native grid, and one for the mask."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.bands import find_band
from stvc.errors import CorruptInputError
from stvc.export.cf import scale_and_offset
from stvc.export.layers import Layer, crs_wkt, file_name, layers_of
from stvc.export.rules import ask_for_extra, claims, replacing
from stvc.export.stream import FrameStream, Progress

if TYPE_CHECKING:
    import xarray as xr

_SCL_COLORS = (
    (0, 0, 0), (255, 0, 0), (47, 47, 47), (100, 50, 0), (0, 160, 0), (255, 230, 90),
    (0, 0, 255), (128, 128, 128), (192, 192, 192), (255, 255, 255), (100, 200, 255),
    (255, 150, 255),
)  # fmt: skip
# ^ ESA's colors of the scene classes 0 to 11, as SNAP and the Copernicus Browser draw them.


@dataclass(frozen=True)
class RasterForm:
    """How pixels are stored."""

    cog: bool = False
    """Cloud-optimized: tiled, with overviews, directories first."""
    compress: str = "deflate"
    """``deflate``, which every reader knows, or ``zstd``, which is faster and a little smaller."""
    split: bool = False
    """One file per band."""


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
    return stream_rasters(FrameStream.of_dataset(ds, info), out, RasterForm())


def stream_rasters(
    stream: FrameStream, out: Path, form: RasterForm, *, progress: Progress | None = None
) -> list[Path]:
    """Write frames as GeoTIFFs or COGs, date by date.

    Parameters
    ----------
    stream : FrameStream
    out : Path
        As for `write_geotiffs`.
    form : RasterForm
    progress : callable, optional
        Called with (done, total, what).

    Returns
    -------
    list of Path
        The files, by date, then by grid, then the mask; each is whole.
    """
    single = out.suffix.lower() in (".tif", ".tiff")
    stem = Path(str(stream.info["path"])).stem
    files: dict[int, list[Path]] = {}
    for position, frame in stream.frames:
        layers = layers_of(frame, split=form.split)
        if single:
            layers = [layer for layer in layers if not layer.is_mask]
            if len(layers) != 1 or stream.count != 1:
                what = "files" if form.split else "grids"
                raise ValueError(
                    f"{stream.count} dates on {len(layers)} {what} do not fit one file"
                )
        (out.parent if single else out).mkdir(parents=True, exist_ok=True)
        time = frame["time"].values[0]
        files[position] = []
        for layer in layers:
            path = out if single else out / file_name(stem, time, layer.label)
            with replacing(path) as scratch:
                _write_layer(frame, layer, scratch, stream.info, form)
            files[position].append(path)
        if progress is not None:
            progress(len(files), stream.count, "exporting")
    if not files:
        raise CorruptInputError("no dates to export")
    return [path for position in sorted(files) for path in files[position]]


def _write_layer(
    ds: xr.Dataset, layer: Layer, path: Path, info: Mapping[str, Any], form: RasterForm
) -> None:
    try:
        import rasterio.shutil
    except ImportError as missing:
        ask_for_extra("GeoTIFF", missing)
    packed = {"compress": form.compress, "predictor": 2}
    if not form.cog:
        large = max(len(layer.y), len(layer.x)) > 512
        tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256} if large else {}
        _write_plain(ds, layer, path, info, {"interleave": "band", **packed, **tiles})
        return
    # The COG driver copies: what it copies from is on disk, for a large place would fill memory.
    source = path.with_suffix(".source.tif")
    try:
        _write_plain(ds, layer, source, info, {"tiled": True, "bigtiff": "if_safer"})
        with _unplaced():
            rasterio.shutil.copy(
                source,
                path,
                driver="COG",
                compress=form.compress.upper(),
                predictor="NO" if layer.is_mask else "STANDARD",
                blocksize=512 if max(len(layer.y), len(layer.x)) > 512 else 256,
                # A mean of classes is no class.
                overview_resampling="NEAREST" if layer.is_mask else "AVERAGE",
                overview_predictor="NO" if layer.is_mask else "STANDARD",
                bigtiff="IF_SAFER",
            )
    finally:
        source.unlink(missing_ok=True)


def _write_plain(
    ds: xr.Dataset, layer: Layer, path: Path, info: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    import rasterio
    import rasterio.crs
    from rasterio.enums import ColorInterp

    pixels = np.stack([ds[name].values[0] for name in layer.names])
    if layer.is_mask:
        pixels = pixels.astype(np.uint8)
    if layer.flipped(ds):
        pixels = pixels[:, ::-1]
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": pixels.dtype.name,
        "count": pixels.shape[0],
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "nodata": None if layer.names[0] in ("mask", "CLP") else 0,
        "photometric": "minisblack",
        **options,
    }
    wkt = crs_wkt(ds)
    if wkt:
        profile["crs"] = rasterio.crs.CRS.from_user_input(wkt)
        profile["transform"] = rasterio.Affine(*layer.transform(ds))
    with _unplaced():
        raster = rasterio.open(path, "w", **profile)
    with raster:
        if layer.names == ("SCL",):
            raster.write_colormap(1, dict(enumerate(_SCL_COLORS)))
        raster.write(pixels)
        raster.descriptions = layer.names
        if not layer.is_mask:
            radiometry = [scale_and_offset(ds[name].attrs, name) for name in layer.names]
            raster.scales = [scale for scale, _ in radiometry]
            raster.offsets = [offset for _, offset in radiometry]
            known = [find_band(name) for name in layer.names]
            visible = [band.common_name if band else "" for band in known]
            raster.colorinterp = [
                ColorInterp[name] if name in ("red", "green", "blue") else ColorInterp.undefined
                for name in visible
            ]
        raster.update_tags(**_tags(ds, info))


@contextlib.contextmanager
def _unplaced() -> Iterator[None]:
    """Let a missing CRS pass: a dataset without one has no place on earth, which is no news."""
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _tags(ds: xr.Dataset, info: Mapping[str, Any]) -> dict[str, str]:
    moment = str(ds["time"].values[0].astype("datetime64[s]"))
    tags = {
        "TIFFTAG_DATETIME": moment.replace("-", ":").replace("T", " "),
        "TIFFTAG_SOFTWARE": f"stvc, archive format {info['format_version']}",
    }
    for name, variable in ds.variables.items():
        if variable.dims == ("time",) and name != "time":
            tags[str(name)] = str(variable.values[0])
    return tags | {key: str(value) for key, value in claims(info).items()}
