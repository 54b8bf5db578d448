"""What a dataset must hold to become a series: each rule, and the message when it is broken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc.errors import CorruptInputError
from stvc.types import F64, U8, U16, GroupGrid, MaskGrid

if TYPE_CHECKING:
    import xarray as xr

Times = npt.NDArray[np.datetime64]
Order = npt.NDArray[np.intp] | None
"""Indices that sort the frames by time; None = sorted already."""


def find_grid_mapping(ds: xr.Dataset) -> list[str]:
    """Names of the scalar variables that hold a CRS; ``spatial_ref`` first."""
    marks = {"crs_wkt", "grid_mapping_name"}
    found = [
        str(name)
        for name, variable in ds.variables.items()
        if variable.ndim == 0 and (name == "spatial_ref" or not marks.isdisjoint(variable.attrs))
    ]
    return sorted(found, key=lambda name: name != "spatial_ref")


def listed(names: Iterable[Any]) -> str:
    """Join names for a message, eight at most."""
    shown = [str(name) for name in names]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")


def read_times(ds: xr.Dataset) -> tuple[Times, npt.NDArray[np.int64], Order]:
    """Whole seconds, nanoseconds beyond them, and the sorting order (None = sorted already)."""
    if "time" not in ds.dims:
        date = "'time'" if "time" in ds.coords else "time=[numpy.datetime64('2024-06-01')]"
        raise CorruptInputError(
            f"the dataset has no dim time; for a single date: ds.expand_dims({date})"
        )
    if ds.sizes["time"] == 0:
        raise CorruptInputError("the dataset has no dates (its dim time has size 0)")
    if "time" not in ds.variables or ds["time"].dtype.kind != "M":
        found = str(ds["time"].dtype) if "time" in ds.variables else "no coordinate"
        raise CorruptInputError(
            f"dim time needs datetime64 coordinates, it has {found}; "
            "set them with ds.assign_coords(time=...)"
        )
    exact: Times = ds["time"].values
    if np.isnat(exact).any():
        raise CorruptInputError(
            f"time {int(np.flatnonzero(np.isnat(exact))[0])} is NaT; drop it: ds.dropna('time')"
        )
    order = None if np.all(exact[1:] >= exact[:-1]) else np.argsort(exact, kind="stable")
    exact = exact if order is None else exact[order]
    times = exact.astype("datetime64[s]")
    twice = np.flatnonzero(times[1:] == times[:-1])
    if len(twice):
        raise CorruptInputError(
            f"time {times[twice[0]]} stands twice in the dataset; "
            "merge or drop one: ds.drop_duplicates('time')"
        )
    return times, (exact - times).astype("timedelta64[ns]").astype(np.int64), order


def pixel_variables(ds: xr.Dataset, mapping: list[str]) -> Iterator[tuple[str, str]]:
    """Bands and masks with their dimension suffix; every other variable must be explainable."""
    for name, variable in ds.variables.items():
        if not isinstance(name, str):
            raise CorruptInputError(f"variable {name!r} is not named by a string; rename it")
        dims = tuple(str(dim) for dim in variable.dims)
        if name in ds.dims or dims in ((), ("time",)):
            continue
        space = [dim for dim in dims if dim != "time"]
        rows = [dim for dim in space if dim.startswith("y")]
        if len(dims) == 3 and len(rows) == 1 and "x" + rows[0][1:] in space:
            if 0 in variable.shape:
                raise CorruptInputError(f"variable {name} is empty: {dict(ds[name].sizes)}")
            yield name, rows[0][1:]
            continue
        cure = f"drop it: ds.drop_vars({name!r})"
        if len(dims) == 4:
            other = next((dim for dim in space if dim[:1] not in "yx"), space[0])
            cure = f"make one variable per band: ds[{name!r}].to_dataset({other!r})"
        elif len(dims) == 3 and "time" in dims:
            cure = f"rename its dims: ds.rename({space[0]}='y', {space[1]}='x')"
        raise CorruptInputError(
            f"variable {name} has dims ({', '.join(dims)}), "
            f"want (time, y, x) or (time, y20, x20); {cure}"
        )


def read_centers(ds: xr.Dataset, dim: str) -> F64:
    """Read pixel centers along a dim; an axis without coordinates counts from 0."""
    if dim not in ds.variables:
        return np.arange(ds.sizes[dim], dtype=np.float64)
    values = ds.variables[dim].values
    if values.dtype.kind not in "iuf":
        raise CorruptInputError(
            f"coordinate {dim} is {values.dtype}, want numbers; "
            f"drop it if it has no meaning: ds.drop_vars({dim!r})"
        )
    centers: F64 = values.astype(np.float64)
    steps = np.diff(centers)
    if not np.isfinite(centers).all() or not (np.all(steps > 0) or np.all(steps < 0)):
        raise CorruptInputError(
            f"coordinate {dim} is not strictly rising or falling; sort it: ds.sortby({dim!r})"
        )
    return centers


def _values(ds: xr.Dataset, name: str, suffix: str, order: Order) -> npt.NDArray[Any]:
    values = ds.variables[name].transpose("time", "y" + suffix, "x" + suffix).values
    return values if order is None else values[order]


def _whole(values: npt.NDArray[Any], name: str, top: int, cure: str) -> npt.NDArray[Any]:
    """Check that all values are integers from 0 to `top`; NaN becomes 0."""
    if values.dtype.kind not in "iuf":
        raise CorruptInputError(f"variable {name} is {values.dtype}, want integers; {cure}")
    if values.dtype.kind == "f":
        values = values.astype(np.promote_types(values.dtype, np.float32))  # float16 ends at 65504
        values = np.where(np.isnan(values), values.dtype.type(0), values)
        with np.errstate(invalid="ignore"):
            broken = values[values != np.rint(values)]
        if broken.size:
            raise CorruptInputError(f"variable {name} holds {broken[0]}, want integers; {cure}")
    if values.dtype.kind == "u" and np.iinfo(values.dtype).max <= top:
        return values
    outside = values[(values < 0) | (values > top)] if values.size else values
    if outside.size:
        raise CorruptInputError(f"variable {name} holds {outside[0]}, want 0 to {top}; {cure}")
    return values


def read_dn(ds: xr.Dataset, name: str, suffix: str, order: Order) -> U16:
    """Read a band's (T, H, W) DN."""
    values = _values(ds, name, suffix, order)
    if values.dtype == np.uint16:
        return values
    cure = (
        "give DN = reflectance x 10000 as uint16, 0 = nodata "
        "(files opened with xarray: mask_and_scale=False)"
    )
    return _whole(values, name, 65535, cure).astype(np.uint16)


def read_classes(ds: xr.Dataset, name: str, suffix: str, order: Order) -> U8:
    """Read a mask's (T, Hm, Wm) classes; of a boolean mask, 1 = hidden."""
    values = _values(ds, name, suffix, order)
    if values.dtype == np.bool_:
        return values.astype(np.uint8) if name == "mask" else _whole(values, name, 255, "cast it")
    if name == "mask":
        return _whole(values, name, 1, "mask is boolean: ds['mask'] != 0").astype(np.uint8)
    cure = "SCL holds scene classes as uint8"
    return _whole(values, name, 255, cure).astype(np.uint8, copy=False)


def check_same_ground(mask: MaskGrid, grids: list[GroupGrid]) -> None:
    """Refuse a mask that lies beside the bands."""
    for grid in grids:
        for axis in ("y", "x"):
            ours, theirs = getattr(mask, axis), getattr(grid, axis)
            if ours.max() < theirs.min() - grid.gsd or ours.min() > theirs.max() + grid.gsd:
                raise CorruptInputError(
                    f"{mask.kind} lies off the ground of {grid.bands[0]}: "
                    f"its {axis}{mask.suffix} runs from {ours.min():g} to {ours.max():g}, "
                    f"{axis}{grid.suffix} from {theirs.min():g} to {theirs.max():g}; "
                    "give both the same coordinates"
                )
