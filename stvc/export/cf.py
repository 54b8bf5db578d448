"""CF attributes: what NetCDF and Zarr readers need to know of bands, masks, axes and time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.bands import find_band
from stvc.export.rules import claims
from stvc.export.stream import MASKS, FrameStream
from stvc.radiometry import reflectance_scale

if TYPE_CHECKING:
    import xarray as xr


_GEOGRAPHIC = {"x": ("longitude", "degrees_east"), "y": ("latitude", "degrees_north")}


def skeleton(stream: FrameStream, first: xr.Dataset) -> xr.Dataset:
    """Make what stands around the pixels: axes, CRS, columns along time, attributes.

    Parameters
    ----------
    stream : FrameStream
    first : xarray.Dataset
        One of its frames.

    Returns
    -------
    xarray.Dataset
        Without any variable of three dims; every attribute is a string, a number or 1-D.
    """
    import xarray as xr

    around = {n: v for n, v in first.variables.items() if "time" not in v.dims}
    variables = {**stream.columns.variables, **around}
    coords = {n: v for n, v in variables.items() if n in first.coords or n in stream.columns.coords}
    data_vars = {n: v for n, v in variables.items() if n not in coords}
    made = xr.Dataset(
        {n: v.copy(deep=False) for n, v in data_vars.items()},
        {n: v.copy(deep=False) for n, v in coords.items()},
    )
    for name, variable in made.variables.items():
        variable.attrs = {key: plain_attribute(item) for key, item in variable.attrs.items()}
        if variable.dtype == object:
            text = np.array(["" if cell is None else str(cell) for cell in variable.values.flat])
            made[name] = (variable.dims, text.reshape(variable.shape), variable.attrs)
    for key in ("units", "calendar"):
        made["time"].attrs.pop(key, None)  # the encoding says these
    made["time"].attrs.setdefault("standard_name", "time")
    if "spatial_ref" in first.coords:
        _describe_axes(made, first)
    attrs = {**stream.columns.attrs, **first.attrs}
    made.attrs = {
        "Conventions": "CF-1.11",
        **{key: plain_attribute(item) for key, item in attrs.items()},
        **claims(stream.info),
    }
    return made


def _describe_axes(made: xr.Dataset, first: xr.Dataset) -> None:
    from pyproj import CRS

    crs = CRS.from_user_input(first.coords["spatial_ref"].attrs["crs_wkt"])
    unit = crs.axis_info[0].unit_name if crs.axis_info else ""
    for name in made.coords:
        axis = str(name)[:1]
        if made[name].dims != (name,) or axis not in ("x", "y"):
            continue
        if crs.is_geographic:
            word, units = _GEOGRAPHIC[axis]
        else:
            word, units = f"projection_{axis}_coordinate", "m" if unit == "metre" else unit
        for key, text in (("standard_name", word), ("units", units), ("axis", axis.upper())):
            if text:
                made[name].attrs.setdefault(key, text)


def time_encoding(ds: xr.Dataset) -> dict[str, Any]:
    """Choose how time is stored: whole seconds if that keeps it, so that dates can be appended."""
    times = ds["time"].values
    whole = bool(np.all(times.astype("datetime64[s]") == times))
    unit = "seconds" if whole else "nanoseconds"
    return {
        "units": f"{unit} since 1970-01-01",
        "calendar": "proleptic_gregorian",
        "dtype": "int64",
    }


def pixel_attributes(name: str, frame: xr.Dataset, *, physical: bool) -> dict[str, Any]:
    """Give a band's or mask's attributes.

    Parameters
    ----------
    name : str
        Variable.
    frame : xarray.Dataset
        Of one date.
    physical : bool
        Say how DN become reflectance, so that readers scale them; else DN stay DN for all.

    Returns
    -------
    dict
        ``_FillValue`` among them if 0 means nodata to readers that scale.
    """
    variable = frame[name]
    attrs = {key: plain_attribute(item) for key, item in variable.attrs.items()}
    attrs = {key: item for key, item in attrs.items() if key not in ("_FillValue", "grid_mapping")}
    if "spatial_ref" in frame.coords:
        attrs["grid_mapping"] = "spatial_ref"
    if name in MASKS:
        if name == "SCL":
            from stvc.masks import SCL_MEANINGS

            attrs.setdefault("flag_values", np.arange(len(SCL_MEANINGS), dtype=np.uint8))
            attrs.setdefault("flag_meanings", " ".join(SCL_MEANINGS))
            attrs["flag_values"] = np.asarray(attrs["flag_values"], np.uint8)
            attrs.setdefault("long_name", "scene classification")
        return attrs
    if physical:
        scale, offset = scale_and_offset(variable.attrs, name)
        attrs |= {"_FillValue": np.uint16(0)}
        # Left out where they change nothing: with an offset, xarray decodes to float64.
        attrs.pop("add_offset", None)
        if scale != 1.0:
            attrs["scale_factor"] = scale
        if offset:
            attrs["add_offset"] = offset
        band = find_band(name)
        if band is not None:
            attrs.setdefault("long_name", f"{band.common_name} reflectance")
            attrs.setdefault("units", "1")
    return attrs


def scale_and_offset(attrs: Mapping[Any, Any], band: str) -> tuple[float, float]:
    """Tell how DN become physical values; what the dataset says goes before what is usual."""
    scale = float(attrs.get("scale_factor", reflectance_scale(band)))
    return scale, float(attrs.get("add_offset", 0.0))


def plain_attribute(value: Any) -> Any:
    """Turn what NetCDF and Zarr cannot hold (dicts, lists of lists, None, booleans) into JSON."""
    if isinstance(value, (str, int, float, np.number)) and not isinstance(value, bool):
        return value
    if isinstance(value, np.ndarray) and value.ndim <= 1 and value.dtype.kind in "iuf":
        return value
    return json.dumps(value.tolist() if isinstance(value, np.ndarray) else value, default=str)
