"""Open NetCDF and Zarr cubes with the dims and names that stvc has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.errors import SourceError
from stvc.source._rasters import ask_for
from stvc.source._scenes import MASKS
from stvc.source.files.names import moment_in, tidy_band

if TYPE_CHECKING:
    import xarray as xr

_DIMS = {
    "t": "time",
    "date": "time",
    "dates": "time",
    "lat": "y",
    "latitude": "y",
    "northing": "y",
    "Y": "y",
    "lon": "x",
    "longitude": "x",
    "easting": "x",
    "X": "x",
}
_BAND_DIMS = ("band", "bands", "variable", "spectral", "wavelength")
_SIDE = ("lat_bnds", "lon_bnds", "time_bnds", "x_bnds", "y_bnds")


def open_netcdf(path: Path, band_names: list[str] | None) -> xr.Dataset:
    """Open a NetCDF file without reading its pixels.

    Raises
    ------
    SourceError
        If it cannot be opened, or is no series of images.
    """
    import xarray as xr

    try:
        import netCDF4  # noqa: F401 -- only to see whether it is there
    except ImportError as missing:
        ask_for("files", "netCDF4", missing)
    try:
        ds = xr.open_dataset(path, engine="netcdf4", mask_and_scale=False, cache=False)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    return as_cube(ds, path, band_names)


def open_zarr(path: Path, band_names: list[str] | None) -> xr.Dataset:
    """Open a Zarr store without reading its pixels.

    Raises
    ------
    SourceError
        If it cannot be opened, or is no series of images.
    """
    import xarray as xr

    try:
        import zarr  # noqa: F401 -- only to see whether it is there
    except ImportError as missing:
        ask_for("files", "zarr", missing)
    consolidated = (path / ".zmetadata").exists() or None
    try:
        ds = xr.open_zarr(
            path, mask_and_scale=False, chunks=None, consolidated=consolidated or False
        )
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    return as_cube(ds, path, band_names)


def as_cube(ds: xr.Dataset, path: Path, band_names: list[str] | None) -> xr.Dataset:
    """Bring any series of images to one variable per band with dims ``time, y, x``.

    Parameters
    ----------
    ds : xarray.Dataset
        Of openEO, odc-stac, stackstac, rioxarray, xarray, or stvc's own making.
    path : Path
        What messages call it.
    band_names : list of str or None
        Names of the bands in order, where the file does not name them.

    Returns
    -------
    xarray.Dataset
        Lazy where `ds` is.

    Raises
    ------
    SourceError
        If there is no time or no band, or names do not fit.
    """
    ds = ds.drop_vars([name for name in _SIDE if name in ds.variables])
    ds = ds.rename({o: n for o, n in _DIMS.items() if o in ds.dims and n not in ds.variables})
    band_dim = next((name for name in _BAND_DIMS if name in ds.dims), None)
    if band_dim is not None:
        ds = _split(ds, band_dim, path, band_names)
    if "time" not in ds.dims:
        ds = _with_time(ds, path)
    bands = [str(n) for n, v in ds.data_vars.items() if v.ndim == 3 and n not in MASKS]
    if band_names is not None and band_dim is None:
        if len(band_names) != len(bands):
            raise SourceError(
                f"{path} has {len(bands)} bands ({', '.join(bands)}), {len(band_names)} names are "
                "given"
            )
        ds = ds.rename({b: n for b, n in zip(bands, band_names, strict=True) if b != n})
        bands = list(band_names)
    if not bands:
        raise SourceError(
            f"{path} has no band with dims (time, y, x); it has "
            f"{', '.join(f'{n} {v.dims}' for n, v in ds.data_vars.items()) or 'no variables'}"
        )
    for name in ("SCL", "CLP"):
        lower = name.lower()
        if lower in ds.data_vars and name not in ds.variables:
            ds = ds.rename({lower: name})
    return ds


def _split(ds: xr.Dataset, dim: str, path: Path, band_names: list[str] | None) -> xr.Dataset:
    """Make one variable per band of the variable that stacks them."""
    import xarray as xr

    stacked = [name for name, variable in ds.data_vars.items() if dim in variable.dims]
    count = ds.sizes[dim]
    names = band_names or [str(value) for value in ds[dim].values if dim in ds.variables]
    if len(stacked) != 1 or len(names) != count or (not band_names and _numbers(names)):
        raise SourceError(
            f"{path}: dim {dim} stacks {count} bands called {', '.join(names) or 'nothing'} in "
            f"{', '.join(map(str, stacked)) or 'no variable'}; give their names in order with "
            "--band-names B02,B03,B04,B08"
        )
    cube = ds[stacked[0]]
    rest = ds.drop_vars([stacked[0], *(c for c in ds.coords if dim in ds[c].dims)])
    parts: dict[Any, Any] = {}
    for index, name in enumerate(names):
        part = cube.isel({dim: index}, drop=True)
        parts[tidy_band(name)] = part.drop_vars(
            [c for c in part.coords if c not in part.dims and part[c].dims != ()], errors="ignore"
        )
    return xr.merge([rest, xr.Dataset(parts)], combine_attrs="override", compat="override")


def _numbers(names: list[str]) -> bool:
    return all(name.strip().lstrip("-").replace(".", "", 1).isdigit() for name in names)


def _with_time(ds: xr.Dataset, path: Path) -> xr.Dataset:
    """Give a single date its dim: from a scalar coordinate, or from the file's name."""
    if "time" in ds.coords and ds["time"].ndim == 0 and ds["time"].dtype.kind == "M":
        return ds.expand_dims("time")
    moment = moment_in(path.stem)
    if moment is None:
        raise SourceError(f"{path} has no dim time, and its name tells no date")
    flat = [name for name, variable in ds.data_vars.items() if variable.ndim == 2]
    time = np.array([moment], "datetime64[ns]")
    return ds.assign({name: ds[name].expand_dims(time=time) for name in flat})
