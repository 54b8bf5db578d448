"""The sample: 140 Sentinel-2 dates of a Romanian forest that the package ``nrt`` brings along.

nrt 0.2.1 (EUPL-1.2) ships two netCDF files, which are HDF5. They are read where they lie: nrt is
neither imported, which would pull numba in, nor copied.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Collection, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from stvc.aoi import Aoi, check_overlap
from stvc.bands import find_band
from stvc.dataset import dataset_from_series
from stvc.errors import NoDataError, SourceError
from stvc.grid import GridSpec, Window, crs_wkt_of
from stvc.source.planning import FetchPlan
from stvc.source.protocol import Times
from stvc.types import U8, U16, GroupGrid, MaskGrid, Series

if TYPE_CHECKING:
    import xarray as xr
    from shapely.geometry import Polygon

INSTALL = "pip install --no-deps nrt==0.2.1"
"""How a user gets the sample; later versions of nrt hold no imagery."""

_FILES = {10: "sentinel2_cube_subset_romania_10m.nc", 20: "sentinel2_cube_subset_romania_20m.nc"}
_VARIABLES = {
    10: {"B02": "B2", "B03": "B3", "B04": "B4", "B08": "B8"},
    20: {"B8A": "B8A", "B11": "B11"},  # the 20 m file's B3 and B4 are averages of the 10 m bands
}
_SUFFIX = {10: "", 20: "20"}
_log = logging.getLogger(__name__)


class _Layout(NamedTuple):
    """What both files say of themselves, pixels aside."""

    times: Times
    fine: GridSpec
    coarse: GridSpec


class SampleSource:
    """Frames of the sample, cropped to an area of interest.

    Parameters
    ----------
    folder : Path or None
        Where the two files lie; None = inside the installed package ``nrt``.
    """

    name = "sample"

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._layout: _Layout | None = None

    def ground(self) -> Polygon:
        """Return the sample's ground in WGS84."""
        import shapely
        from pyproj import Transformer

        fine = self._read_layout().fine
        transformer = Transformer.from_crs(fine.crs, "EPSG:4326", always_xy=True)
        outline = shapely.segmentize(shapely.box(*fine.bounds), fine.gsd * 10)
        return shapely.transform(outline, lambda xy: np.stack(transformer.transform(*xy.T), axis=1))

    def dates(self, aoi: Aoi, start: date | None, end: date | None) -> Times:
        """List the sample's dates; see `Source.dates`."""
        check_overlap(aoi, self.ground(), self.name)
        times = self._read_layout().times
        return times[_between(times, start, end)]

    def fetch(
        self,
        aoi: Aoi,
        start: date | None,
        end: date | None,
        bands: Sequence[str] | None,
        exclude: Collection[np.datetime64],
    ) -> xr.Dataset:
        """Read the sample's frames; see `Source.fetch`.

        The box is snapped to 20 m even if only 10 m bands are asked, so that SCL, a 20 m product,
        nests in it.
        """
        wanted = _choose(bands)
        layout = self._read_layout()
        window, covered = self._window(aoi, layout)
        rows = _between(layout.times, start, end)
        if not rows.any():
            first, last = layout.times[[0, -1]].astype("datetime64[D]")
            raise NoDataError(
                f"source {self.name} has no date from {start or first} to {end or last}; "
                f"it has {len(layout.times)} dates from {first} to {last}"
            )
        had = np.array([time.astype("datetime64[s]") for time in exclude], dtype="datetime64[s]")
        rows &= ~np.isin(layout.times, had)

        grids: list[GroupGrid] = []
        pixels: list[U16] = []
        for gsd in dict.fromkeys(gsd for _, gsd in wanted):
            names = tuple(name for name, of in wanted if of == gsd)
            part = window if gsd == 10 else window.scaled(2)
            spec = (layout.fine if gsd == 10 else layout.coarse).crop(part)
            grids.append(GroupGrid(suffix=_SUFFIX[gsd], bands=names, y=spec.y, x=spec.x))
            variables = [_VARIABLES[gsd][name] for name in names]
            pixels.append(np.stack(self._read(gsd, variables, rows, part), axis=1))
        spec = layout.coarse.crop(window.scaled(2))
        classes: U8 = self._read(20, ["SCL"], rows, window.scaled(2))[0].astype(np.uint8)
        attrs: dict[str, Any] = {
            "source": self.name,
            "aoi": aoi.geojson,
            "aoi_name": aoi.name,
            "credit": "Contains modified Copernicus Sentinel data 2015-2021",
        }
        if covered < 0.999:
            _log.warning(
                "AOI %s: source %s covers %.0f %% of it; the rest is cut off",
                aoi.name,
                self.name,
                100 * covered,
            )
            attrs["aoi_covered"] = round(covered, 3)
        return dataset_from_series(
            Series(
                times=layout.times[rows],
                grids=tuple(grids),
                pixels=tuple(pixels),
                mask=MaskGrid("SCL", "20", spec.y, spec.x),
                classes=classes,
                crs_wkt=layout.fine.crs,
                attrs=attrs,
                band_attrs={name: {} for name, _ in wanted},
            )
        )

    def plan(
        self,
        aoi: Aoi,
        start: date | None,
        end: date | None,
        bands: Sequence[str] | None,
        exclude: Collection[np.datetime64],
    ) -> FetchPlan:
        """Tell what `fetch` would bring; see `stvc.source.planning.plan_fetch`."""
        wanted = _choose(bands)
        window, _ = self._window(aoi, self._read_layout())
        height, width = window.shape
        had = {time.astype("datetime64[s]") for time in exclude}
        times = [time for time in self.dates(aoi, start, end) if time not in had]
        finest = min(gsd for _, gsd in wanted)
        pixels = sum(2 * height * width * 100 // gsd**2 for _, gsd in wanted)
        return FetchPlan(
            times=np.array(times, dtype="datetime64[s]"),
            height=height * 10 // finest,
            width=width * 10 // finest,
            gsd=float(finest),
            raw_bytes=(pixels + height * width // 4) * len(times),
            requests=0,
        )

    def _window(self, aoi: Aoi, layout: _Layout) -> tuple[Window, float]:
        """Snap the area's box to the 10 m grid; also tell the share of the area inside it."""
        ground = self.ground()
        check_overlap(aoi, ground, self.name)
        window = layout.fine.snap(aoi.bounds_in(layout.fine.crs), multiple=2)
        if window is None:  # the overlap is thinner than rounding
            raise NoDataError(
                f"AOI {aoi.name} only touches the edge of source {self.name}; move it"
            )
        return window, float(aoi.geometry.intersection(ground).area / aoi.geometry.area)

    def _path(self, gsd: int) -> Path:
        folder = _nrt_folder() if self._folder is None else self._folder
        path = folder / _FILES[gsd]
        if not path.is_file():
            raise SourceError(
                f"source {self.name}: {path} does not exist; install nrt 0.2.1, the version that "
                f"brings it: {INSTALL}"
            )
        return path

    def _read_layout(self) -> _Layout:
        if self._layout is None:
            times, fine = _read_axes(self._path(10))
            times_20, coarse = _read_axes(self._path(20))
            if not np.array_equal(times, times_20) or fine.nests_in(coarse) != 2:
                raise SourceError(
                    f"source {self.name}: the 10 m and 20 m files do not share dates and ground; "
                    f"reinstall: {INSTALL}"
                )
            self._layout = _Layout(times, fine, coarse)
        return self._layout

    def _read(
        self, gsd: int, variables: Sequence[str], rows: npt.NDArray[np.bool_], window: Window
    ) -> list[U16]:
        path = self._path(gsd)
        picked = np.flatnonzero(rows)
        # One slab from the first to the last row: HDF5 reads single rows of a list far slower.
        slab = slice(picked[0], picked[-1] + 1) if len(picked) else slice(0, 0)
        box = (slab, slice(window.row, window.row_stop), slice(window.col, window.col_stop))
        try:
            with h5py.File(path, "r", locking=False) as file:
                return [_as_dn(file[name][box])[rows[slab]] for name in variables]
        except (OSError, KeyError, ValueError) as error:
            raise SourceError(
                f"source {self.name}: {path} is damaged; reinstall: {INSTALL}"
            ) from error


def _nrt_folder() -> Path:
    try:
        spec = importlib.util.find_spec("nrt")
    except ValueError:  # a half-imported module without a spec
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(f"source sample needs the package nrt, which is not installed: {INSTALL}")
    return Path(spec.submodule_search_locations[0]) / "data"


def _read_axes(path: Path) -> tuple[Times, GridSpec]:
    try:
        with h5py.File(path, "r", locking=False) as file:
            units = file["time"].attrs["units"]
            units = units.decode() if isinstance(units, bytes) else str(units)
            since = re.match(r"days since (\d{4}-\d{2}-\d{2})(?: 00:00:00)?$", units)
            if since is None:
                raise ValueError(f"time is in {units}")
            days = file["time"][:].astype("timedelta64[D]")
            times: Times = (np.datetime64(since[1], "D") + days).astype("datetime64[s]")
            if not np.all(times[1:] > times[:-1]) or not len(times):
                raise ValueError("time is not sorted")
            crs = crs_wkt_of(file["spatial_ref"].attrs)
            return times, GridSpec.from_centers(crs, file["y"][:], file["x"][:])
    except (OSError, KeyError, ValueError) as error:
        raise SourceError(f"source sample: {path} is damaged; reinstall: {INSTALL}") from error


def _choose(bands: Sequence[str] | None) -> list[tuple[str, int]]:
    """Resolve band names to (name, resolution in m), each once."""
    known = {name: gsd for gsd, variables in _VARIABLES.items() for name in variables}
    if bands is None:
        return list(known.items())
    chosen = {}
    for asked in bands:
        band = find_band(asked)
        if band is None or band.name not in known:
            raise SourceError(f"source sample has no band {asked!r}; it has {', '.join(known)}")
        chosen[band.name] = known[band.name]
    if not chosen:
        raise SourceError(f"no band is asked of source sample; it has {', '.join(known)}")
    return list(chosen.items())


def _between(times: Times, start: date | None, end: date | None) -> npt.NDArray[np.bool_]:
    days = times.astype("datetime64[D]")
    inside = np.ones(len(times), dtype=np.bool_)
    if start is not None:
        inside &= days >= np.datetime64(start, "D")
    if end is not None:
        inside &= days <= np.datetime64(end, "D")
    return inside


def _as_dn(values: npt.NDArray[Any]) -> U16:
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0)
    return values.astype(np.uint16)
