"""NetCDF-4: one file with all dates, chunked and compressed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.export.cf import pixel_attributes, skeleton, time_encoding
from stvc.export.rules import ask_for_extra, replacing
from stvc.export.stream import CHUNK_BYTES, FrameStream, Pixels, Progress, chunks_of, runs

if TYPE_CHECKING:
    import xarray as xr

_CHUNK_CACHE = 4 * CHUNK_BYTES
# ^ Per variable. Chunks are written whole: the library's 64 MB would only be memory for nothing.


def write_netcdf(ds: xr.Dataset, path: Path, info: Mapping[str, Any]) -> Path:
    """Write frames as one NetCDF-4 file: DN as they are, and how exact they are.

    Parameters
    ----------
    ds : xarray.Dataset
        What ``Archive.to_xarray()`` returns.
    path : Path
        The file to write; replaced at once when whole, or left alone.
    info : mapping
        What ``Archive.info()`` returns.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    StvcError
        If no NetCDF writer is installed.
    """
    return stream_netcdf(FrameStream.of_dataset(ds, info), path, physical=False)


def stream_netcdf(
    stream: FrameStream, path: Path, *, physical: bool = True, progress: Progress | None = None
) -> Path:
    """Write frames as one NetCDF-4 file, a few dates at a time.

    Parameters
    ----------
    stream : FrameStream
    path : Path
        Replaced at once when whole, or left alone.
    physical : bool
        Give bands the ``scale_factor`` and ``_FillValue`` with which readers see reflectance.
    progress : callable, optional
        Called with (done, total, what).

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    StvcError
        If no NetCDF writer is installed.
    """
    if not find_spec("netCDF4"):
        ask_for_extra("NetCDF", None)
    import netCDF4

    path.parent.mkdir(parents=True, exist_ok=True)
    file: Any = None
    with replacing(path) as scratch:
        try:
            for where, frame, block in runs(stream, progress):
                if file is None:
                    _write_around(skeleton(stream, frame), scratch)
                    file = netCDF4.Dataset(scratch, "a")
                    for name, pixels in block.items():
                        _define(file, name, frame, pixels, stream.count, physical=physical)
                for name, pixels in block.items():
                    file.variables[name][where] = _stored(pixels)
        finally:
            if file is not None:
                file.close()
    return path


def _write_around(ds: xr.Dataset, path: Path) -> None:
    """Write everything but the pixels."""
    encoding: dict[Any, dict[str, Any]] = {
        name: {"_FillValue": None}  # coordinates have no holes
        for name, variable in ds.variables.items()
        if variable.dtype.kind == "f"
    }
    encoding["time"] = time_encoding(ds)
    ds.to_netcdf(path, engine="netcdf4", encoding=encoding)


def _define(
    file: Any, name: str, frame: xr.Dataset, pixels: Pixels, dates: int, *, physical: bool
) -> None:
    """Make an empty variable (time, y, x)."""
    dims = tuple(map(str, frame[name].dims))
    for dim, size in zip(dims[1:], pixels.shape[1:], strict=True):
        if dim not in file.dimensions:  # an axis without coordinates
            file.createDimension(dim, size)
    attrs = pixel_attributes(name, frame, physical=physical)
    variable = file.createVariable(
        name,
        _stored(pixels).dtype,
        dims,
        compression="zlib",
        complevel=4,
        shuffle=True,
        chunksizes=chunks_of(dates, pixels.shape[1:], pixels.dtype.itemsize),
        fill_value=attrs.pop("_FillValue", False),
        chunk_cache=_CHUNK_CACHE,
    )
    variable.set_auto_maskandscale(False)
    for key in {"scale_factor", "add_offset"} & set(attrs) if physical else ():
        attrs[key] = np.float32(attrs[key])  # readers unpack to the type that this has
    if pixels.dtype == np.bool_:
        attrs["dtype"] = "bool"  # how xarray knows
    variable.setncatts(attrs)


def _stored(pixels: Pixels) -> Pixels:
    """NetCDF has no booleans."""
    return pixels.astype(np.int8) if pixels.dtype == np.bool_ else pixels
