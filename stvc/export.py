"""From decoded frames to files that other tools read: NetCDF, and one GeoTIFF per date and grid."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc._export_rules import ask_for_export_extra, claims, replacing
from stvc._geotiff import write_geotiffs

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["frames_between", "write_geotiffs", "write_netcdf"]

Times = npt.NDArray[np.datetime64]


def frames_between(times: Sequence[str], first: date | None, last: date | None) -> Times:
    """Choose frames by day.

    Parameters
    ----------
    times : sequence of str
        ISO times of the frames, UTC.
    first, last : date or None
        Both days inclusive; None leaves that end open.

    Returns
    -------
    ndarray, (n,) datetime64[s]
        The times of the chosen frames, in the given order.
    """
    every = np.array([time.removesuffix("Z") for time in times], dtype="datetime64[s]")
    days = every.astype("datetime64[D]")
    chosen = np.ones(len(every), dtype=bool)
    if first is not None:
        chosen &= days >= np.datetime64(first, "D")
    if last is not None:
        chosen &= days <= np.datetime64(last, "D")
    return every[chosen]


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
    if not find_spec("netCDF4"):
        ask_for_export_extra("NetCDF", None)
    written = _plain_dataset(ds)
    written.attrs = {"Conventions": "CF-1.11", **written.attrs, **claims(info)}
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in written.variables.items():
        if variable.ndim == 3:
            encoding[str(name)] = {"zlib": True, "complevel": 4, "shuffle": True}
        elif variable.dtype.kind == "f":
            encoding[str(name)] = {"_FillValue": None}  # coordinates have no holes
    # Explicit, because xarray would otherwise choose a unit that a later append cannot keep.
    written["time"].encoding = {"units": "seconds since 1970-01-01", "dtype": "int64"}
    whole_seconds = ds["time"].values.astype("datetime64[s]")
    if np.any(whole_seconds != ds["time"].values):
        written["time"].encoding["units"] = "nanoseconds since 1970-01-01"
    with replacing(path) as scratch:
        written.to_netcdf(scratch, engine="netcdf4", encoding=encoding)
    return path


def _plain_dataset(ds: xr.Dataset) -> xr.Dataset:
    """Copy a dataset, without its pixels, so that NetCDF writers accept every value of it."""
    written = ds.copy(deep=False)
    for name, variable in written.variables.items():
        variable.attrs = {key: _plain_attribute(item) for key, item in variable.attrs.items()}
        if variable.dtype == object:
            text = np.array(["" if cell is None else str(cell) for cell in variable.values.flat])
            written[name] = (variable.dims, text.reshape(variable.shape), variable.attrs)
    for key in ("units", "calendar"):
        written["time"].attrs.pop(key, None)  # the encoding says these
    written.attrs = {key: _plain_attribute(item) for key, item in written.attrs.items()}
    return written


def _plain_attribute(value: Any) -> Any:
    if isinstance(value, (str, int, float, np.number, np.ndarray)) and not isinstance(value, bool):
        return value
    return json.dumps(value, default=str)
