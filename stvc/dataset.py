"""xarray datasets in and out: one variable per band, dims ``(time, y, x)`` or with a suffix."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc._band_stack import stack_bands
from stvc._columns import DTYPE_KEY, Column, column_from_json, column_to_json, jsonable
from stvc._dataset_rules import (
    Order,
    Times,
    check_same_ground,
    find_grid_mapping,
    listed,
    pixel_variables,
    read_centers,
    read_classes,
    read_dn,
    read_times,
)
from stvc.errors import CorruptError, CorruptInputError
from stvc.grid import crs_wkt_of, is_index, spatial_ref_attrs
from stvc.masks import VARIABLES, MaskRule
from stvc.types import GroupGrid, MaskGrid, Series
from stvc.versions import SUPERSEDES_KEY

if TYPE_CHECKING:
    import xarray as xr

MASK_NAMES = VARIABLES
"""Variables that are mask values, not bands."""

COORD_KEY = "__coord__"
"""Key in a column's attributes: true if the column is a coordinate of the dataset."""

SUBSECOND_KEY = "__nanoseconds__"
"""Provenance key: what a sensing time has beyond whole seconds."""


def series_from_dataset(ds: xr.Dataset) -> Series:
    """Read a dataset into a series, checking everything that the codec relies on.

    Parameters
    ----------
    ds : xarray.Dataset
        One variable per band with dims ``(time, y, x)``, or ``(time, y20, x20)`` and the like for
        bands of another resolution; DN as uint16, or any integers or integer-valued floats from 0
        to 65535 (NaN becomes 0 = nodata). ``SCL`` (classes 0 to 255) or ``mask`` (boolean) may
        stand on any such dims. Variables with dims ``(time,)`` are kept per frame. The CRS is read
        from ``spatial_ref``, or another grid mapping variable.

    Returns
    -------
    Series
        Frames in order of time (an unsorted dataset is sorted), bands in dataset order, grouped by
        dimension suffix.

    Raises
    ------
    CorruptInputError
        If the dataset breaks these rules; the message names the variable.

    Notes
    -----
    An axis without coordinates counts its pixels from 0. Such an axis comes back without
    coordinates if the dataset has no CRS either.
    """
    if not hasattr(ds, "data_vars"):
        raise CorruptInputError(
            f"want an xarray.Dataset with one variable per band, got {type(ds).__name__}; "
            "of a DataArray with a dim band: array.to_dataset('band')"
        )
    mapping = find_grid_mapping(ds)
    times, nanoseconds, order = read_times(ds)
    suffix_of = dict(pixel_variables(ds, mapping))
    masks = [name for name in MASK_NAMES if name in suffix_of]
    if len(masks) > 1:
        raise CorruptInputError(
            f"the dataset has both {masks[0]} and {masks[1]}, and one must steer the bits; "
            f"keep one: ds.drop_vars({masks[1]!r})"
        )
    bands = [name for name in suffix_of if name not in MASK_NAMES]
    if not bands:
        raise CorruptInputError(
            f"the dataset has no band; it has {listed(ds.data_vars) or 'no variables'}, "
            "and a band is a variable with dims (time, y, x)"
        )
    grids, pixels = [], []
    for suffix in dict.fromkeys(suffix_of[name] for name in bands):
        names = tuple(name for name in bands if suffix_of[name] == suffix)
        y, x = read_centers(ds, "y" + suffix), read_centers(ds, "x" + suffix)
        grids.append(GroupGrid(suffix=suffix, bands=names, y=y, x=x))
        bands_of_grid = (read_dn(ds, name, suffix, order) for name in names)
        pixels.append(stack_bands(bands_of_grid, len(names)))
    mask = MaskGrid("none", "", np.zeros(0), np.zeros(0))
    classes = np.zeros((len(times), 0, 0), dtype=np.uint8)
    if masks:
        suffix = suffix_of[masks[0]]
        y, x = read_centers(ds, "y" + suffix), read_centers(ds, "x" + suffix)
        rule = MaskRule.of_attrs(masks[0], ds.variables[masks[0]].attrs)
        mask = MaskGrid(kind=rule.kind, suffix=suffix, y=y, x=x)
        classes = read_classes(ds, masks[0], suffix, order)
        check_same_ground(mask, grids)
    attrs = {str(key): jsonable(value) for key, value in ds.attrs.items()}
    provenance, column_attrs = _provenance(ds, order, nanoseconds)
    for name, variable in ds.variables.items():
        if variable.ndim == 0 and name not in mapping:
            attrs.setdefault(str(name), jsonable(variable.values[()]))
    return Series(
        times=times,
        grids=tuple(grids),
        pixels=tuple(pixels),
        mask=mask,
        classes=classes,
        crs_wkt=crs_wkt_of(ds.variables[mapping[0]].attrs) if mapping else "",
        attrs=attrs,
        provenance=provenance,
        band_attrs=_variable_attrs(ds, mapping, column_attrs),
    )


def dataset_from_series(series: Series) -> xr.Dataset:
    """Write a series back as the dataset it was read from.

    Parameters
    ----------
    series : Series
        Decoded or read frames.

    Returns
    -------
    xarray.Dataset
        Same variables, dims, coordinates, attributes and CRS; bands are views of `series.pixels`.

    Raises
    ------
    CorruptError
        If an archive's names and attributes make no dataset; those of `series_from_dataset` do.
    """
    try:
        return _dataset_from_series(series)
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        raise CorruptError(
            f"the archive's names and attributes make no dataset ({' '.join(str(error).split())}); "
            "it was not written by stvc, or is damaged"
        ) from error


def _dataset_from_series(series: Series) -> xr.Dataset:
    import xarray as xr

    has_crs = bool(series.crs_wkt)
    attrs_of = {name: dict(values) for name, values in series.band_attrs.items()}
    coords: dict[str, Any] = {"time": ("time", _full_times(series), attrs_of.pop("time", {}))}
    variables: dict[str, Any] = {}
    placed: list[GroupGrid | MaskGrid] = list(series.grids)
    if series.mask.kind != "none":
        placed.append(series.mask)
    for grid in placed:
        for axis, centers in (("y", grid.y), ("x", grid.x)):
            name = axis + grid.suffix
            attrs = attrs_of.pop(name, {})
            if name not in coords and (has_crs or not is_index(centers)):
                coords[name] = (name, centers, attrs)
    for grid, pixels in zip(series.grids, series.pixels, strict=True):
        dims = ("time", "y" + grid.suffix, "x" + grid.suffix)
        for channel, band in enumerate(grid.bands):
            variables[band] = (dims, pixels[:, channel], attrs_of.get(band, {}))
    if series.mask.kind != "none":
        name, suffix = series.mask.variable, series.mask.suffix
        classes = series.classes.astype(np.bool_) if name == "mask" else series.classes
        attrs = {**attrs_of.get(name, {}), **MaskRule.parse(series.mask.kind).attrs}
        variables[name] = (("time", "y" + suffix, "x" + suffix), classes, attrs)
    for name, column in _columns(series).items():
        attrs = attrs_of.get(name, {})
        values = column_from_json(column, attrs.pop(DTYPE_KEY, None))
        target = coords if attrs.pop(COORD_KEY, False) else variables
        if name in coords or name in variables:
            raise ValueError(f"{name!r} is a column of the frames, and a band or an axis")
        target[name] = ("time", values, attrs)
    if has_crs:
        coords["spatial_ref"] = ((), np.int64(0), spatial_ref_attrs(series.crs_wkt, series.grids))
    order = [name for name in attrs_of if name in variables]
    ordered = {name: variables[name] for name in dict.fromkeys([*order, *variables])}
    ds = xr.Dataset(ordered, coords=coords, attrs=dict(series.attrs))
    if has_crs:
        for variable in ds.data_vars.values():
            if variable.ndim == 3:
                variable.encoding["grid_mapping"] = "spatial_ref"
    return ds


def select_times(series: Series, keep: npt.NDArray[np.bool_]) -> Series:
    """Keep some of a series' frames.

    Parameters
    ----------
    series : Series
        T frames.
    keep : ndarray, (T,) bool
        True = stays.

    Returns
    -------
    Series
        The kept frames; the same object if all are kept.
    """
    if keep.all():
        return series
    rows = np.flatnonzero(keep)
    return replace(
        series,
        times=series.times[rows],
        pixels=tuple(pixels[rows] for pixels in series.pixels),
        classes=series.classes[rows],
        provenance=tuple(series.provenance[row] for row in rows) if series.provenance else (),
    )


def _full_times(series: Series) -> Times:
    """Give times with what they have beyond whole seconds, in nanoseconds where those reach."""
    beyond = [frame.get(SUBSECOND_KEY, 0) for frame in series.provenance] or [0] * len(series.times)
    fine = series.times.astype("datetime64[ns]")
    if np.any(fine.astype("datetime64[s]") != series.times):  # before 1678 or after 2262
        return series.times
    exact: Times = fine + np.array(beyond, dtype="timedelta64[ns]")
    return exact


def _provenance(
    ds: xr.Dataset, order: Order, nanoseconds: npt.NDArray[np.int64]
) -> tuple[tuple[dict[str, Any], ...], dict[str, dict[str, Any]]]:
    """Per-frame values, and per column what brings it back exactly."""
    frames: list[dict[str, Any]] = [{} for _ in nanoseconds]
    column_attrs: dict[str, dict[str, Any]] = {}
    for name, variable in ds.variables.items():
        if variable.dims != ("time",) or name in ("time", SUPERSEDES_KEY):
            continue  # what supersedes what is for `append` to decide
        column: Column = variable.values
        cells, dtype = column_to_json(column if order is None else column[order])
        extra: dict[str, Any] = {COORD_KEY: True} if name in ds.coords else {}
        column_attrs[str(name)] = extra if dtype is None else {**extra, DTYPE_KEY: dtype}
        for frame, cell in zip(frames, cells, strict=True):
            frame[str(name)] = cell
    for frame, beyond in zip(frames, nanoseconds, strict=True):
        if beyond:
            frame[SUBSECOND_KEY] = int(beyond)
    return (tuple(frames) if any(frames) else ()), column_attrs


def _columns(series: Series) -> dict[str, list[Any]]:
    """Provenance by column; a frame without the column has None there."""
    names = dict.fromkeys(name for frame in series.provenance for name in frame)
    for own in (SUBSECOND_KEY, SUPERSEDES_KEY):
        names.pop(own, None)
    return {name: [frame.get(name) for frame in series.provenance] for name in names}


def _variable_attrs(
    ds: xr.Dataset, mapping: list[str], column_attrs: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Collect attributes; data variables have an entry even if empty, which keeps their order."""
    kept: dict[str, dict[str, Any]] = {}
    for name, variable in ds.variables.items():
        if name in mapping or variable.ndim == 0:
            continue
        # The grid mapping is written anew with the CRS; two of them would stop ds.to_netcdf().
        attrs = {str(k): jsonable(v) for k, v in variable.attrs.items() if k != "grid_mapping"}
        attrs |= column_attrs.get(str(name), {})
        if attrs or name in ds.data_vars:
            kept[str(name)] = attrs
    return kept
