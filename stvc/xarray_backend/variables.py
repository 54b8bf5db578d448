"""Which variables an archive shows, on which dims, with lazy arrays and encoded like in a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from pyproj import CRS
from xarray.core import indexing

from stvc._columns import DTYPE_KEY, column_from_json
from stvc.codec.frame_stats import FrameStats
from stvc.codec.place import TILE, tile_count
from stvc.dataset import COORD_KEY, SUBSECOND_KEY
from stvc.errors import QualityError
from stvc.grid import is_index, spatial_ref_attrs
from stvc.types import GroupGrid, MaskGrid
from stvc.versions import SUPERSEDED_COLUMN, SUPERSEDES_KEY, superseded
from stvc.xarray_backend.attributes import (
    QUANTIZATION,
    Achieved,
    axis_attrs,
    band_attrs,
    mask_attrs,
    plain,
    quantization_attrs,
)
from stvc.xarray_backend.lazy_array import ArchiveArray, Layer
from stvc.xarray_backend.resample import axis_map
from stvc.xarray_backend.session import Session, Source

if TYPE_CHECKING:
    from stvc.header import OpenPlace

CLEAR_SHARE = "clear_share"
"""Coordinate along time: share of pixels that show the ground, from the index."""
FILLED = "filled"
"""Variable that marks filled pixels; with the dimension suffix of its grid."""


@dataclass(frozen=True)
class View:
    """What a user asked to see of an archive."""

    versions: str = "latest"
    """``"latest"`` or ``"all"``; see `Archive.frame_order`."""
    fill: bool | None = None
    """What hidden pixels hold: the codec's prediction, nodata, or what is stored."""
    resolution: float | None = None
    """Bring everything to the grid of this pixel size."""


class Contents:
    """An archive's frames and grids as one view shows them.

    Parameters
    ----------
    source : Source
    session : Session
    view : View

    Raises
    ------
    QualityError
        If the view asks for something that does not exist.
    """

    def __init__(self, source: Source, session: Session, view: View) -> None:
        if view.fill not in (None, True, False):
            raise QualityError(f"fill={view.fill!r}; choose True, False or None")
        self.source = source
        self.view = view
        self.reader = session.reader
        self.opened: OpenPlace = session.opened
        self.place = self.opened.place
        self.frames = tuple(_frame_order(session, view.versions))
        self.achieved = Achieved(self.reader, self.place, self.frames)

    def whole(self) -> xr.Dataset:
        """Everything in one dataset: native grids on dims of their own, or one resolution."""
        grids: list[GroupGrid | MaskGrid] = [*self.place.grids]
        if self.place.mask.kind != "none":
            grids.append(self.place.mask)
        if self.view.resolution is None:
            return self._dataset(grids, None)
        return self._dataset(grids, self._grid_of(self.view.resolution))

    def groups(self) -> dict[str, xr.Dataset]:
        """One dataset per native grid, dims ``(time, y, x)`` in each: ``"r10m"``, ``"r20m"``."""
        members: dict[str, list[GroupGrid | MaskGrid]] = {}
        lead: dict[str, GroupGrid | MaskGrid] = {}
        placed: list[GroupGrid | MaskGrid] = [*self.place.grids]
        if self.place.mask.kind != "none":
            placed.append(self.place.mask)
        for grid in placed:
            home = next((n for n, other in lead.items() if _same_ground(grid, other)), None)
            if home is None:
                home = self._name(grid, set(lead))
                lead[home] = grid
            members.setdefault(home, []).append(grid)
        return {
            name: self._dataset(grids, _as_target(lead[name])) for name, grids in members.items()
        }

    def _name(self, grid: GroupGrid | MaskGrid, taken: set[str]) -> str:
        name = f"grid{grid.suffix or '0'}"
        if self.opened.crs and max(len(grid.y), len(grid.x)) > 1:
            unit = "deg" if CRS.from_user_input(self.opened.crs).is_geographic else "m"
            name = f"r{_gsd(grid):g}{unit}".replace(".", "_")
        return name if name not in taken else f"{name}_{grid.suffix or len(taken)}"

    def _grid_of(self, resolution: float) -> GroupGrid:
        for grid in self.place.grids:
            if abs(_gsd(grid) - resolution) < 1e-6 * max(abs(resolution), 1e-9):
                return _as_target(grid)
        held = ", ".join(f"{_gsd(grid):g}" for grid in self.place.grids)
        raise QualityError(
            f"resolution={resolution:g}: {self.source.location} holds {held}; choose one of these, "
            "or resample what you read: ds.rio.reproject, ds.interp"
        )

    def _dataset(self, grids: list[GroupGrid | MaskGrid], target: GroupGrid | None) -> xr.Dataset:
        """Variables of some grids, on their own dims or all on a target's."""
        stored = {name: dict(attrs) for name, attrs in self.opened.band_attrs.items()}
        variables: dict[str, xr.Variable] = {}
        for group, grid in enumerate(self.place.grids):
            if not any(grid is member for member in grids):
                continue
            for channel, band in enumerate(grid.bands):
                layer = Layer("band", self.frames, group, channel, self.view.fill)
                attrs = band_attrs(
                    band, stored.get(band, {}), surface=self.place.mask.variable == "SCL"
                )
                attrs |= {"quantization": QUANTIZATION, **self.achieved.attrs(group)}
                variables[band] = self._variable(layer, grid, target, attrs)
        mask = self.place.mask
        if any(member is mask for member in grids):
            kind = "mask" if mask.variable == "mask" else "classes"
            attrs = mask_attrs(mask, stored.get(mask.variable, {}))
            variables[mask.variable] = self._variable(Layer(kind, self.frames), mask, target, attrs)
        if self.view.fill:
            variables |= self._marks(grids, target)
        order = [name for name in stored if name in variables]
        ordered = {name: variables[name] for name in dict.fromkeys([*order, *variables])}
        placed: list[GroupGrid | MaskGrid] = [target] if target is not None else grids
        columns, coords = self._columns(stored)
        ordered |= columns
        coords = {"time": self._time(stored), **self._axes(placed, stored), **coords}
        if self.opened.crs:
            shown = tuple(g for g in placed if isinstance(g, GroupGrid))
            coords["spatial_ref"] = xr.Variable(
                (), np.int64(0), plain(spatial_ref_attrs(self.opened.crs, shown))
            )
        coords[QUANTIZATION] = xr.Variable(
            (), np.int8(0), quantization_attrs(self.reader, self.place)
        )
        attrs = {"Conventions": "CF-1.12", **plain(self.opened.attrs)}
        return xr.Dataset(ordered, coords=coords, attrs=attrs)

    def _marks(
        self, grids: list[GroupGrid | MaskGrid], target: GroupGrid | None
    ) -> dict[str, xr.Variable]:
        found: dict[str, xr.Variable] = {}
        attrs = {
            "long_name": "pixel is the codec's prediction, not an observation",
            "flag_values": np.array([0, 1], np.int8),
            "flag_meanings": "as_observed filled",
        }
        for group, grid in enumerate(self.place.grids):
            if any(grid is member for member in grids):
                layer = Layer("filled", self.frames, group)
                suffix = grid.suffix if target is None else ""
                found.setdefault(FILLED + suffix, self._variable(layer, grid, target, dict(attrs)))
        return found

    def _variable(
        self,
        layer: Layer,
        grid: GroupGrid | MaskGrid,
        target: GroupGrid | None,
        attrs: dict[str, Any],
    ) -> xr.Variable:
        suffix, shape = grid.suffix, (len(grid.y), len(grid.x))
        native = shape
        if target is not None:
            suffix, shape = "", (len(target.y), len(target.x))
            pixel = None if max(shape) == 1 else target.gsd
            rows = axis_map(grid.y, target.y, pixel, layer.kind)
            columns = axis_map(grid.x, target.x, pixel, layer.kind)
            layer = replace(layer, rows=rows, columns=columns)
            if "same" not in (rows.how, columns.how):
                attrs = {**attrs, "resampling": f"{rows.how} from {_gsd(grid):g}"}
        array = ArchiveArray(self.source, layer, (len(layer.frames), *shape), native)
        interval = max(1, min(self.place.settings.key_interval, len(layer.frames)))
        tiles: list[int | tuple[int, ...]] = list(shape)
        if layer.kind == "band":
            tiles = [self._tiles(n, size) for n, size in zip(native, shape, strict=True)]
        dims = ("time", "y" + suffix, "x" + suffix)
        chunks = (interval, *tiles)
        encoding: dict[str, Any] = {
            "preferred_chunks": dict(zip(dims, chunks, strict=True)),
            "source": self.source.location,
        }
        if self.opened.crs:
            encoding["grid_mapping"] = "spatial_ref"
        return xr.Variable(dims, indexing.LazilyIndexedArray(array), attrs, encoding, fastpath=True)

    def _tiles(self, pixels: int, size: int) -> int | tuple[int, ...]:
        """What tiles of an axis become on an axis of another size; one number if that tells all."""
        starts = [TILE * k for k in range(tile_count(pixels, self.place.generation))]
        edges = sorted({round(at * size / pixels) for at in (*starts, pixels)})
        sizes = tuple(after - at for at, after in pairwise(edges))
        alike = len(set(sizes[:-1])) < 2 and sizes[-1] <= sizes[0]
        return sizes[0] if alike else sizes

    def _time(self, stored: dict[str, dict[str, Any]]) -> xr.Variable:
        records = [self.reader.frames[k] for k in self.frames]
        seconds = np.array([r.time for r in records], np.int64)
        beyond = np.array([r.provenance.get(SUBSECOND_KEY, 0) for r in records], np.int64)
        own = plain(stored.pop("time", {}))
        attrs = {"standard_name": "time", "axis": "T", **own, "calendar": "proleptic_gregorian"}
        if beyond.any():
            seconds = seconds * 10**9 + beyond
        attrs["units"] = f"{'nano' if beyond.any() else ''}seconds since 1970-01-01"
        return xr.Variable(("time",), seconds, attrs)

    def _axes(
        self, placed: list[GroupGrid | MaskGrid], stored: dict[str, dict[str, Any]]
    ) -> dict[str, xr.Variable]:
        found: dict[str, xr.Variable] = {}
        for grid in placed:
            for axis, centers in (("y", grid.y), ("x", grid.x)):
                name = axis + grid.suffix
                if name in found or (not self.opened.crs and is_index(centers)):
                    continue
                attrs = axis_attrs(self.opened.crs, axis, stored.get(name, {}))
                found[name] = xr.Variable((name,), centers, attrs, {"_FillValue": None})
        return found

    def _columns(
        self, stored: dict[str, dict[str, Any]]
    ) -> tuple[dict[str, xr.Variable], dict[str, xr.Variable]]:
        """Values on record per frame: variables, and those that are coordinates."""
        records = [self.reader.frames[k] for k in self.frames]
        names = dict.fromkeys(name for record in records for name in record.provenance)
        for own in (SUBSECOND_KEY, SUPERSEDES_KEY, CLEAR_SHARE):
            names.pop(own, None)
        variables: dict[str, xr.Variable] = {}
        coords: dict[str, xr.Variable] = {}
        for name in names:
            attrs = stored.get(name, {})
            cells = [record.provenance.get(name) for record in records]
            column = _writable(column_from_json(cells, attrs.pop(DTYPE_KEY, None)))
            into = coords if attrs.pop(COORD_KEY, False) else variables
            into[name] = xr.Variable(("time",), column, plain(attrs))
        if self.view.versions == "all":
            gone = superseded(self.reader.frames)
            coords[SUPERSEDED_COLUMN] = xr.Variable(
                ("time",), np.array([k in gone for k in self.frames])
            )
        shares = [FrameStats.unpack(record.stats).clear_share for record in records]
        coords[CLEAR_SHARE] = xr.Variable(
            ("time",),
            np.array(shares, np.float32),
            {"long_name": "share of pixels that show the ground", "units": "1"},
            {"_FillValue": None},
        )
        return variables, coords


def _frame_order(session: Session, versions: str) -> list[int]:
    """File indices by time; the rule of `Archive.frame_order`."""
    if versions not in ("latest", "all"):
        raise QualityError(f"versions={versions!r}; choose latest or all")
    frames = session.reader.frames
    gone = superseded(frames) if versions == "latest" else {}
    return sorted((k for k in range(len(frames)) if k not in gone), key=lambda k: frames[k].time)


def _writable(column: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Make text, and columns of mixed values, what NetCDF and Zarr hold best: objects of str."""
    if column.dtype.kind not in "OU":
        return column
    text = np.empty(len(column), np.object_)
    text[:] = ["" if cell is None else str(cell) for cell in column]
    return text


def _same_ground(a: GroupGrid | MaskGrid, b: GroupGrid | MaskGrid) -> bool:
    return np.array_equal(a.y, b.y) and np.array_equal(a.x, b.x)


def _as_target(grid: GroupGrid | MaskGrid) -> GroupGrid:
    return GroupGrid("", (), grid.y, grid.x)


def _gsd(grid: GroupGrid | MaskGrid) -> float:
    return GroupGrid("", (), grid.y, grid.x).gsd
