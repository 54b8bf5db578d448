"""Cubes, which hold many dates in one file: NetCDF, Zarr and ``.npz`` as frames on native grids."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.aoi import Aoi
from stvc.bands import find_band
from stvc.dataset import dataset_from_series, select_times, series_from_dataset
from stvc.errors import CorruptInputError, NoDataError, SourceError
from stvc.grid import GridSpec, crs_wkt_of
from stvc.radiometry import SCALE, harmonize
from stvc.source._lattice import canonical_crs, outline
from stvc.source._rasters import as_dn
from stvc.source._scenes import MASKS, Layer, between
from stvc.source.files.names import tidy_band
from stvc.types import Series
from stvc.versions import BASELINE_KEYS, PRODUCT_KEYS

if TYPE_CHECKING:
    import xarray as xr
    from shapely.geometry import Polygon

_CLAIMS = re.compile(r"stvc_|Conventions$|history$|incomplete$")
_NO_GRID = GridSpec("", 0, 0, 1, 1, 1)


class CubeFiles:
    """Cubes of one place, joined along time.

    Parameters
    ----------
    cubes : mapping of Path to xarray.Dataset
        As `stvc.source.files.opening` opens them: dims ``time, y, x`` and bands as variables.
    dn_offset : int or None
        DN to add; None = what attributes say.
    masks : tuple of str
        Names of masks, the preferred one first.
    """

    def __init__(
        self, cubes: Mapping[Path, xr.Dataset], dn_offset: int | None, masks: tuple[str, ...]
    ) -> None:
        self._masks = masks
        self._cubes = cubes
        self._dn_offset = dn_offset

    def ground(self) -> Polygon | None:
        """Outline of the first cube in WGS84; None if it has no CRS."""
        ds = next(iter(self._cubes.values()))
        crs = crs_of(ds)
        if not crs or min(ds.sizes["y"], ds.sizes["x"]) < 2:
            return None
        y, x = ds["y"].values, ds["x"].values
        return outline(GridSpec.from_centers(crs, y if y[0] > y[-1] else y[::-1], x))

    def frames(self, start: date | None, end: date | None) -> list[dict[str, Any]]:
        """Frames between two days, by time: ``time``, and ``product_id``, ``baseline`` if known."""
        every = [frame for ds in self._cubes.values() for frame in _named(ds)]
        found = [frame for frame in every if between(frame["time"], start, end)]
        return sorted(found, key=lambda frame: frame["time"])

    def fetch(
        self,
        aoi: Aoi | None,
        start: date | None,
        end: date | None,
        bands: Sequence[str] | None,
        exclude: Collection[np.datetime64],
        attrs: dict[str, Any],
        on_frame_error: str | None = None,
    ) -> xr.Dataset:
        """Read the frames; see `FilesSource.fetch`. A cube is read as a whole, or fails so."""
        if not self.frames(start, end):
            every = [frame["time"] for frame in self.frames(None, None)]
            raise NoDataError(
                f"source files has no date from {start or 'its first'} to {end or 'its last'}; it "
                f"has {len(every)} dates" + (f" from {every[0]} to {every[-1]}" if every else "")
            )
        had = {time.astype("datetime64[s]") for time in exclude}
        read: dict[Path, Series] = {}
        for path, ds in self._cubes.items():
            rows = [between(t, start, end) and t not in had for t in _seconds(ds)]
            if any(rows):
                read[path] = self._read(path, ds.isel(time=np.flatnonzero(rows)), aoi, bands)
        if not read:  # everything is there already: one frame tells the form, and goes
            path, ds = next(iter(self._cubes.items()))
            form = self._read(path, ds.isel(time=[0]), aoi, bands)
            return dataset_from_series(select_times(form, np.zeros(1, np.bool_)))
        joined = _joined(read)
        told = {key: value for key, value in joined.attrs.items() if not _CLAIMS.match(key)}
        return dataset_from_series(replace(joined, attrs={**told, **attrs}))

    def _read(
        self, path: Path, ds: xr.Dataset, aoi: Aoi | None, bands: Sequence[str] | None
    ) -> Series:
        try:
            ds = ds[_variables(path, ds, bands, self._masks)]
            if aoi is not None:
                ds = _cut(path, ds, aoi)
            ds = ds.load()
            for name in _bands(ds):
                if name not in MASKS:
                    ds[name] = self._as_dn(path, ds[name])
            series = series_from_dataset(ds)
        except CorruptInputError as error:
            raise CorruptInputError(f"{path}: {error}") from error
        except (OSError, RuntimeError) as error:
            raise SourceError(f"{path} cannot be read: {error}") from error
        return replace(series, crs_wkt=canonical_crs(series.crs_wkt))

    def _as_dn(self, path: Path, band: xr.DataArray) -> xr.DataArray:
        """Turn a band's values into DN; what its attributes say of the scale is used up."""
        attrs = dict(band.attrs)
        offset = self._dn_offset
        if find_band(str(band.name)) is None:  # the unit of its DN is not ours to know
            return band
        missing = attrs.pop("_FillValue", attrs.pop("missing_value", None))
        scale, shift = attrs.pop("scale_factor", None), attrs.pop("add_offset", 0.0)
        floats = band.dtype.kind == "f"
        if scale is None:
            scale = SCALE if floats and _is_reflectance(band) else 1.0
            shift = shift * SCALE
        else:
            scale, shift = round(float(scale) * SCALE, 9), round(float(shift) * SCALE, 6)
        missing = 0.0 if missing is None and not floats else missing
        layer = Layer(
            str(path),
            _NO_GRID,
            scale=float(scale),
            offset=float(shift) if offset is None else 0.0,
            nodata=None if missing is None else float(missing),
        )
        dn = as_dn(band.values, layer)
        out = band.copy(data=harmonize(dn, offset) if offset else dn)
        out.attrs = attrs
        return out


def _is_reflectance(band: xr.DataArray) -> bool:
    """Tell floats from 0 to 1 or so from DN that were stored as floats."""
    values = band.values[np.isfinite(band.values)]
    if not values.size or np.array_equal(values, np.rint(values)):
        return False
    if values.max() > 20:
        raise CorruptInputError(
            f"variable {band.name} holds {values.max():g} beside fractions: neither reflectance "
            "nor DN; give DN = reflectance x 10000 as integers"
        )
    return True


def crs_of(ds: xr.Dataset) -> str:
    """CRS of a cube as WKT, empty if there is none."""
    for name, variable in ds.variables.items():
        if variable.ndim == 0 and (
            name == "spatial_ref" or {"crs_wkt", "grid_mapping_name"} & set(variable.attrs)
        ):
            return canonical_crs(crs_wkt_of(variable.attrs))
    return ""


def _seconds(ds: xr.Dataset) -> list[np.datetime64]:
    return list(ds["time"].values.astype("datetime64[s]"))


def _named(ds: xr.Dataset) -> list[dict[str, Any]]:
    """Times of a cube's frames, with what its variables along time say of products."""
    columns = {
        name: ds[name].values.tolist()
        for name in (*PRODUCT_KEYS, *BASELINE_KEYS)
        if name in ds.variables and ds[name].dims == ("time",)
    }
    return [
        {"time": time, **{name: column[row] for name, column in columns.items() if column[row]}}
        for row, time in enumerate(_seconds(ds))
    ]


def _bands(ds: xr.Dataset) -> list[str]:
    return [str(name) for name, variable in ds.data_vars.items() if variable.ndim == 3]


def _variables(
    path: Path, ds: xr.Dataset, bands: Sequence[str] | None, preferred: tuple[str, ...]
) -> list[str]:
    """Names to read: the bands asked for, the masks, and everything along time alone."""
    held = _bands(ds)
    masks = [name for name in preferred if name in held][:1]
    chosen = [name for name in held if name not in MASKS]
    if bands is not None:
        tidied = [tidy_band(band) for band in bands]
        spelled = {tidy_band(name): name for name in chosen}
        lacking = [band for band, t in zip(bands, tidied, strict=True) if t not in spelled]
        if lacking:
            raise SourceError(
                f"{path} has no band {', '.join(lacking)}; it has {', '.join(chosen) or 'none'}"
            )
        chosen = [spelled[name] for name in dict.fromkeys(tidied)]
    rest = [str(name) for name, variable in ds.data_vars.items() if variable.ndim < 3]
    order = {name: place for place, name in enumerate(map(str, ds.data_vars))}
    return sorted([*chosen, *masks, *rest], key=lambda name: order[name])


def _cut(path: Path, ds: xr.Dataset, aoi: Aoi) -> xr.Dataset:
    """Cut an area's box out, snapped outwards to pixel edges, coarse grids first."""
    crs = crs_of(ds)
    if not crs:
        raise SourceError(f"{path} has no CRS, so no area can be cut out; leave out --aoi")
    left, bottom, right, top = aoi.bounds_in(crs)
    suffixes = [str(dim)[1:] for dim in ds.dims if str(dim).startswith("y")]
    sizes = {suffix: _pixel(ds, "x" + suffix) for suffix in suffixes}
    chosen: dict[str, slice] = {}
    for suffix in sorted(suffixes, key=lambda suffix: -sizes[suffix]):
        size = sizes[suffix]
        for axis, low, high in (("y", bottom, top), ("x", left, right)):
            at = ds[axis + suffix].values.astype(np.float64)
            near = 1e-6 * size
            inside = np.flatnonzero((at + size / 2 > low + near) & (at - size / 2 < high - near))
            if not len(inside):
                raise NoDataError(
                    f"AOI {aoi.name} lies off {path}, whose {axis}{suffix} runs from "
                    f"{at.min():.9g} to {at.max():.9g}; move it"
                )
            chosen[axis + suffix] = slice(int(inside[0]), int(inside[-1]) + 1)
            edges = at[inside].min() - size / 2, at[inside].max() + size / 2
            if axis == "y":
                bottom, top = min(bottom, edges[0]), max(top, edges[1])
            else:
                left, right = min(left, edges[0]), max(right, edges[1])
    return ds.isel(chosen)


def _pixel(ds: xr.Dataset, dim: str) -> float:
    for name in (dim, "y" + dim[1:]):
        if ds.sizes[name] > 1:
            at = ds[name].values
            return abs(float(at[-1] - at[0])) / (len(at) - 1)
    return 1.0


def _joined(read: Mapping[Path, Series]) -> Series:
    """Join series of several files along time."""
    (first_path, first), *others = read.items()
    for path, other in others:
        same = [(g.bands, g.y.tolist(), g.x.tolist()) for g in first.grids] == [
            (g.bands, g.y.tolist(), g.x.tolist()) for g in other.grids
        ]
        if not same or other.crs_wkt != first.crs_wkt or other.mask.kind != first.mask.kind:
            raise SourceError(
                f"{first_path} ({_spell(first)}) and {path} ({_spell(other)}) do not have the same "
                "bands, grid and mask; stvc does not resample: encode them apart"
            )
    parts = [first, *(series for _, series in others)]
    times = np.concatenate([series.times for series in parts])
    order = np.argsort(times, kind="stable")
    twice = np.flatnonzero(np.diff(times[order].astype(np.int64)) == 0)
    if len(twice):
        raise SourceError(f"time {times[order][twice[0]]} stands in two files; leave one out")
    provenance = [frame for s in parts for frame in (s.provenance or ({},) * len(s.times))]
    return replace(
        first,
        times=times[order],
        pixels=tuple(
            np.concatenate([series.pixels[group] for series in parts])[order]
            for group in range(len(first.grids))
        ),
        classes=np.concatenate([series.classes for series in parts])[order],
        provenance=tuple(provenance[row] for row in order) if any(provenance) else (),
    )


def _spell(series: Series) -> str:
    grid = series.grids[0]
    bands = ",".join(band for g in series.grids for band in g.bands)
    return (
        f"{bands}, {len(grid.x)} x {len(grid.y)} pixels of {grid.gsd:g} from "
        f"({grid.x[0]:.9g}, {grid.y[0]:.9g}), mask {series.mask.kind}"
    )
