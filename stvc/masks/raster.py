"""A mask from raster files: one for all dates, or one per date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.errors import CorruptInputError, SourceError

if TYPE_CHECKING:
    import xarray as xr

    from stvc.grid import GridSpec


def mask_from_raster(ds: xr.Dataset, path: Path) -> xr.DataArray:
    """Read hidden ground from a raster, or from one raster per date.

    Parameters
    ----------
    ds : xarray.Dataset
        The frames to mask.
    path : Path
        A raster of any grid in the frames' CRS, other than 0 = hidden (nodata too); or a folder or
        a pattern of them, whose names tell the dates.

    Returns
    -------
    xarray.DataArray, (T, Hm, Wm) bool
        Named ``mask``, on the raster's own pixels around the frames' ground.

    Raises
    ------
    SourceError
        If a raster cannot be read, has another CRS, does not cover the ground, or a date has none.
    """
    import xarray as xr

    from stvc.source._lattice import snapped, spell
    from stvc.source._rasters import grid_of, opened
    from stvc.source.files.names import moment_in

    crs, bounds = _ground(ds)
    times = ds["time"].values.astype("datetime64[D]")
    files = _files(path)
    if len(files) == 1:
        of_time = dict.fromkeys(times, files[0])
    else:
        dated = {file: moment_in(file.stem) for file in files}
        undated = [file.name for file, moment in dated.items() if moment is None]
        if undated:
            raise SourceError(f"{path}: the name of {undated[0]} tells no date")
        of_time = {m.astype("datetime64[D]"): f for f, m in dated.items() if m is not None}
    lacking = [time for time in times if time not in of_time]
    if lacking:
        raise SourceError(f"{path} has no mask of {lacking[0]}; every date needs one")
    target: GridSpec | None = None
    read: dict[Path, npt.NDArray[np.bool_]] = {}
    for file in dict.fromkeys(of_time[time] for time in times):
        with opened(str(file), "files") as raster:
            grid = grid_of(raster)
            if grid.crs != crs:
                raise SourceError(f"{file} ({spell(grid)}) is not in the CRS of the frames")
            if target is None:
                target = snapped(grid, bounds)
            read[file] = _hidden(raster, grid, target, file)
    assert target is not None
    suffix = _suffix(ds, target)
    stack = np.stack([read[of_time[time]] for time in times])
    dims = ("time", f"y{suffix}", f"x{suffix}")
    coords = {"time": ds["time"], dims[1]: target.y, dims[2]: target.x}
    attrs = {"mask_method": "file", "mask_file": path.name}
    return xr.DataArray(stack, coords, dims, name="mask", attrs=attrs)


def _files(path: Path) -> list[Path]:
    import glob

    found = sorted(path.glob("*.tif*")) if path.is_dir() else [path] if path.is_file() else []
    found = found or sorted(map(Path, glob.glob(str(path))))  # noqa: PTH207 -- may be absolute
    if not found:
        raise SourceError(f"{path} does not exist, and matches no raster")
    return found


def _ground(ds: xr.Dataset) -> tuple[str, tuple[float, float, float, float]]:
    """CRS of some frames, and the bounds of their pixels."""
    from stvc.dataset import series_from_dataset
    from stvc.source._lattice import canonical_crs

    series = series_from_dataset(ds.isel(time=[0]).drop_vars(_masks(ds)))
    if not series.crs_wkt:
        raise SourceError("the frames have no CRS: a raster cannot be laid over them")
    edges = []
    for grid in series.grids:
        half = grid.gsd / 2
        edges.append(
            (grid.x.min() - half, grid.y.min() - half, grid.x.max() + half, grid.y.max() + half)
        )
    left, bottom, right, top = np.array(edges).T
    return canonical_crs(series.crs_wkt), (left.min(), bottom.min(), right.max(), top.max())


def _masks(ds: xr.Dataset) -> list[str]:
    from stvc.masks.rule import VARIABLES

    return [name for name in VARIABLES if name in ds.data_vars]


def _hidden(raster: object, grid: GridSpec, target: GridSpec, file: Path) -> npt.NDArray[np.bool_]:
    from stvc.source._lattice import overlap_of, spell

    common = overlap_of(grid, target)
    if common is None or common[1].shape != (target.height, target.width):
        raise SourceError(
            f"{file} ({spell(grid)}) does not cover the frames' ground ({spell(target)}), or does "
            "not share the other masks' pixels"
        )
    there = common[0]
    values = raster.read(  # type: ignore[attr-defined]
        1, window=((there.row, there.row_stop), (there.col, there.col_stop))
    )
    if values.dtype.kind not in "iufb":
        raise CorruptInputError(f"{file} holds {values.dtype}, want numbers")
    nodata = raster.nodatavals[0]  # type: ignore[attr-defined]
    hidden: npt.NDArray[np.bool_] = values != 0
    if nodata is not None and nodata != 0:
        hidden |= values == nodata
    return hidden


def _suffix(ds: xr.Dataset, target: GridSpec) -> str:
    """Name the mask's dims: those of the bands if it has their pixels."""
    suffixes = [str(dim)[1:] for dim in ds.dims if str(dim).startswith("y")]
    for suffix in suffixes:
        y, x = ds[f"y{suffix}"].values, ds[f"x{suffix}"].values
        if np.array_equal(y, target.y) and np.array_equal(x, target.x):
            return suffix
    made = f"{target.gsd:g}".replace(".", "_")
    while made in suffixes:
        made += "m"
    return made
