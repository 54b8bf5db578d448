"""Means over parcels, date by date: a table for people who think in fields, not in pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc.errors import AoiError, CorruptInputError, StvcError
from stvc.indices import reflectance, spectral_index

if TYPE_CHECKING:
    import xarray as xr

F64 = npt.NDArray[np.float64]
_INSTALL = "pip install 'stvc[zonal]'"


@dataclass(frozen=True)
class Parcel:
    """One polygon in the dataset's CRS."""

    name: str
    geometry: Any
    """shapely geometry."""


def zonal_means(
    ds: xr.Dataset,
    parcels: Any,
    variable: str | xr.DataArray = "NDVI",
    *,
    name_from: str | None = None,
) -> xr.Dataset:
    """Average a variable over the clear pixels of parcels, each pixel by the share inside.

    Parameters
    ----------
    ds : xarray.Dataset
        With coordinates and CRS; of an archive, only the tiles under parcels are decoded.
    parcels : GeoDataFrame, mapping, str or path-like
        A GeoDataFrame in any CRS; or GeoJSON in WGS84: a mapping, its text, or a file.
    variable : str or DataArray
        A band, an index (``"NDVI"``), or an array on the dataset's dims.
    name_from : str, optional
        Property that names the parcels; their id, or a number, if not given.

    Returns
    -------
    xarray.Dataset
        Dims ``(parcel, time)``: ``mean`` and ``std`` over clear pixels, NaN where none is;
        ``clear_share``, by area; and along ``parcel`` the ``area`` in pixels. A table:
        ``.to_dataframe()``.

    Raises
    ------
    AoiError
        If parcels are no polygons, or there are none.
    CorruptInputError
        If the dataset has no CRS or coordinates, or no such variable.
    StvcError
        If exactextract is not installed.
    """
    import xarray as xr

    array = _resolve(ds, variable)
    y, x = (str(dim) for dim in array.dims[-2:])
    wkt = _crs(ds)
    for dim in (y, x):
        if dim not in array.coords or array.sizes[dim] < 2:
            raise CorruptInputError(f"zonal means need coordinates of two and more pixels on {dim}")
    found = list(_parcels(parcels, wkt, name_from))
    if "time" not in array.dims:
        array = array.expand_dims("time")
    times = array.sizes["time"]
    shape = len(found), times
    mean, std, share = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    area = np.zeros(len(found))
    for row, parcel in enumerate(found):
        covered = _coverage(array[y].values, array[x].values, parcel, wkt)
        if covered is None:
            continue
        (rows, columns), weight = covered
        part = array.isel({y: rows, x: columns})
        hidden = _hidden(ds, part, y, x, rows, columns)
        values = np.asarray(part.values, np.float64)
        clear = np.isfinite(values) & ~hidden
        area[row] = weight.sum()
        total = (weight * clear).sum((1, 2))
        share[row] = total / area[row]
        with np.errstate(invalid="ignore", divide="ignore"):
            seen = np.where(clear, values, 0.0)
            mean[row] = (weight * seen).sum((1, 2)) / total
            off = np.where(clear, (values - mean[row][:, None, None]) ** 2, 0.0)
            std[row] = np.sqrt((weight * off).sum((1, 2)) / total)
    coords: dict[str, Any] = {"parcel": [p.name for p in found], "time": array["time"].values}
    name = "value" if array.name is None else str(array.name)
    return xr.Dataset(
        {
            "mean": (("parcel", "time"), mean, {"long_name": f"mean {name} of clear pixels"}),
            "std": (("parcel", "time"), std, {"long_name": f"deviation of {name}"}),
            "clear_share": (("parcel", "time"), share, {"units": "1"}),
            "area": (("parcel",), area, {"long_name": "pixels, by share inside"}),
        },
        coords=coords,
        attrs={"variable": name},
    )


def _resolve(ds: xr.Dataset, variable: str | xr.DataArray) -> xr.DataArray:
    if not isinstance(variable, str):
        return variable
    if variable in ds.data_vars:
        return reflectance(ds[variable])
    return spectral_index(ds, variable)


def _crs(ds: xr.Dataset) -> str:
    from stvc._dataset_rules import find_grid_mapping
    from stvc.grid import crs_wkt_of

    names = find_grid_mapping(ds)
    wkt = crs_wkt_of(ds.variables[names[0]].attrs) if names else ""
    if not wkt:
        raise CorruptInputError("the dataset has no CRS, so parcels cannot be placed on it")
    return wkt


def _hidden(
    ds: xr.Dataset, part: xr.DataArray, y: str, x: str, rows: slice, columns: slice
) -> npt.NDArray[np.bool_]:
    """Hidden pixels of a part, by the mask; none if there is no mask."""
    from stvc.clear_pixels import hidden_pixels

    hidden = hidden_pixels(ds, part)
    if hidden is None:
        return np.zeros(part.shape, bool)
    if hidden.dims[-2:] == (y, x) and hidden.sizes[y] == ds.sizes.get(y):
        hidden = hidden.isel({y: rows, x: columns})
    flags = np.asarray(hidden.values)
    return flags if flags.ndim == 3 else flags[None]


def _parcels(parcels: Any, wkt: str, name_from: str | None) -> Iterator[Parcel]:
    """Read polygons and bring them to a CRS."""
    import shapely
    from pyproj import Transformer

    entries = list(_entries(parcels, name_from, wkt))
    if not entries:
        raise AoiError("there are no parcels; give at least one polygon")
    transformer = Transformer.from_crs("EPSG:4326", wkt, always_xy=True)
    for name, geometry, projected in entries:
        if geometry is None or geometry.is_empty or "Polygon" not in geometry.geom_type:
            kind = "nothing" if geometry is None else geometry.geom_type
            raise AoiError(f"parcel {name} is {kind}, want a polygon")
        if not projected:
            geometry = shapely.transform(
                geometry, lambda xy: np.stack(transformer.transform(*xy.T), axis=1)
            )
            if not np.isfinite(shapely.get_coordinates(geometry)).all():
                raise AoiError(f"parcel {name} cannot be placed in the dataset's CRS")
        yield Parcel(name, geometry)


def _entries(parcels: Any, name_from: str | None, wkt: str) -> Iterator[tuple[str, Any, bool]]:
    """Names, geometries, and whether they are in the target CRS already."""
    import shapely

    if hasattr(parcels, "geometry") and hasattr(parcels, "to_crs"):
        if name_from is not None and name_from not in getattr(parcels, "columns", ()):
            raise AoiError(f"the parcels have no column {name_from!r}")
        known = parcels.crs is not None
        moved = parcels.to_crs(wkt) if known else parcels
        names = moved.index if name_from is None else moved[name_from]
        for name, geometry in zip(names, moved.geometry, strict=True):
            yield str(name), geometry, known
        return
    for number, feature in enumerate(_features(_geojson(parcels))):
        properties = feature.get("properties") or {}
        name = properties.get(name_from) if name_from else feature.get("id", properties.get("id"))
        if name_from and name is None:
            raise AoiError(f"parcel {number} has no property {name_from!r}")
        try:
            geometry = shapely.from_geojson(json.dumps(feature.get("geometry")))
        except (shapely.errors.ShapelyError, TypeError, ValueError) as error:
            raise AoiError(f"parcel {number} is no GeoJSON geometry ({error})") from None
        yield str(number if name is None else name), geometry, False


def _geojson(parcels: Any) -> Mapping[str, Any]:
    if isinstance(parcels, Mapping):
        return parcels
    if not isinstance(parcels, (str, Path)):
        raise AoiError(
            f"parcels are {type(parcels).__name__}; give a GeoDataFrame, GeoJSON, or its file"
        )
    text = str(parcels)
    try:
        found = json.loads(text if text.lstrip()[:1] == "{" else Path(parcels).read_text())
    except (OSError, ValueError) as error:
        raise AoiError(f"parcels cannot be read ({error}); give GeoJSON in WGS84") from None
    if not isinstance(found, dict):
        raise AoiError("parcels: the JSON is no GeoJSON object")
    return found


def _features(geojson: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    kind = geojson.get("type")
    if kind == "FeatureCollection":
        return list(geojson.get("features", []))
    return [geojson] if kind == "Feature" else [{"geometry": geojson}]


def _coverage(y: F64, x: F64, parcel: Parcel, wkt: str) -> tuple[tuple[slice, slice], F64] | None:
    """Rows and columns under a parcel, and the share of each pixel inside; None if it lies off."""
    try:
        from exactextract import exact_extract
        from exactextract.raster import NumPyRasterSource
    except ImportError as error:
        raise StvcError(f"zonal means need exactextract: {_INSTALL}") from error
    steps = [(axis[-1] - axis[0]) / (len(axis) - 1) for axis in (y, x)]
    left, bottom, right, top = parcel.geometry.bounds
    picked = []
    for axis, step, low, high in ((y, steps[0], bottom, top), (x, steps[1], left, right)):
        inside = np.flatnonzero((axis + abs(step) / 2 > low) & (axis - abs(step) / 2 < high))
        if not len(inside):
            return None
        picked.append(slice(int(inside[0]), int(inside[-1]) + 1))
    rows, columns = picked
    ys, xs = y[rows], x[columns]
    half_y, half_x = abs(steps[0]) / 2, abs(steps[1]) / 2
    raster = NumPyRasterSource(
        np.zeros((len(ys), len(xs))),
        xmin=xs.min() - half_x,
        ymin=ys.min() - half_y,
        xmax=xs.max() + half_x,
        ymax=ys.max() + half_y,
        srs_wkt=wkt,
    )
    feature = {"type": "Feature", "properties": {}, "geometry": parcel.geometry.__geo_interface__}
    (found,) = exact_extract(raster, [feature], ["cell_id", "coverage"])
    shares = np.zeros(len(ys) * len(xs))
    shares[np.asarray(found["properties"]["cell_id"], np.intp)] = found["properties"]["coverage"]
    weight: F64 = shares.reshape(len(ys), len(xs))
    # The raster counts from north-west; the dataset may run the other way.
    weight = weight if steps[0] < 0 else weight[::-1]
    weight = weight if steps[1] > 0 else weight[:, ::-1]
    return ((rows, columns), weight) if weight.sum() > 0 else None
