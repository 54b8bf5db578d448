"""A folder of raster files as frames: which grid, which bands, which dates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.aoi import Aoi
from stvc.errors import NoDataError, SourceError
from stvc.grid import GridSpec
from stvc.source._assembly import Plan, Target, assemble, check_some
from stvc.source._lattice import boxes, clipped, offset_between, outline, spell, union_of
from stvc.source._scenes import MASKS, Layer, Overpass, Scene, between, overpasses
from stvc.source.files.names import tidy_band

if TYPE_CHECKING:
    import xarray as xr
    from shapely.geometry import Polygon


class RasterFiles:
    """Scenes whose rasters share one lattice per native grid.

    Parameters
    ----------
    scenes : sequence of Scene
        One per file, or per SAFE folder.
    products : bool
        Whether they are products, whose versions and overpasses are told by their ids; other
        files are one frame if they are of the same second.
    masks : tuple of str
        Names of masks, the preferred one first.
    on_frame_error : {"raise", "skip"}
        As for `Plan`.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        *,
        products: bool,
        masks: tuple[str, ...],
        on_frame_error: str,
    ) -> None:
        self._masks = masks
        self._scenes = scenes
        self._products = products
        self._on_frame_error = on_frame_error
        self._layers: dict[str, list[Layer]] = {}
        for scene in scenes:
            for name, layer in scene.layers.items():
                self._layers.setdefault(name, []).append(layer)
        self._check_lattices()

    def ground(self) -> Polygon | None:
        """Outline of all files in WGS84; None if they have no CRS."""
        grid = union_of(layer.grid for layer in next(iter(self._layers.values())))
        return outline(grid) if grid.crs else None

    def frames(self, start: date | None, end: date | None) -> list[dict[str, Any]]:
        """Frames between two days, by time: ``time``, and ``product_id``, ``baseline`` if known."""
        return [{"time": found.time, **found.named} for found in self._overpasses(start, end)]

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
        """Read the frames; see `FilesSource.fetch`."""
        plan = self._plan(aoi, bands)
        if on_frame_error is not None:
            plan = replace(plan, on_frame_error=on_frame_error)
        found = self._overpasses(start, end)
        if not found:
            every = self._overpasses(None, None)
            raise NoDataError(
                f"source files has no date from {start or 'its first'} to {end or 'its last'}; it "
                f"has {len(every)} dates from {every[0].time} to {every[-1].time}"
            )
        had = {time.astype("datetime64[s]") for time in exclude}
        fresh = [overpass for overpass in found if overpass.time not in had]
        frames = assemble(plan, fresh, attrs)
        if on_frame_error is None:
            check_some(frames)
        return frames

    def _overpasses(self, start: date | None, end: date | None) -> list[Overpass]:
        if self._products:
            ground = self.ground()
            found = overpasses(self._scenes, 0.0 if ground is None else ground.centroid.x)
        else:
            of_second: dict[np.datetime64, list[Scene]] = {}
            for scene in self._scenes:
                of_second.setdefault(scene.time, []).append(scene)
            found = [_merged(time, of_second[time]) for time in sorted(of_second)]
        return [overpass for overpass in found if between(overpass.time, start, end)]

    def _check_lattices(self) -> None:
        """Refuse rasters of one band that do not share their pixels: nothing is resampled."""
        for layers in self._layers.values():
            for layer in layers[1:]:
                if offset_between(layers[0].grid, layer.grid) is None:
                    raise SourceError(
                        f"{layers[0].href} ({spell(layers[0].grid)}) and {layer.href} "
                        f"({spell(layer.grid)}) do not share their pixels; stvc does not resample: "
                        "warp one to the other's grid (gdalwarp -tap -tr SIZE SIZE), or leave it "
                        "out"
                    )

    def _plan(self, aoi: Aoi | None, bands: Sequence[str] | None) -> Plan:
        names = [name for name in self._layers if name not in MASKS]
        if bands is not None:
            tidied = [tidy_band(band) for band in bands]
            lacking = [band for band, name in zip(bands, tidied, strict=True) if name not in names]
            if lacking:
                raise SourceError(
                    f"source files has no band {', '.join(lacking)}; it has "
                    f"{', '.join(names) or 'none'}"
                )
            names = list(dict.fromkeys(tidied))
        if not names:
            raise SourceError(f"source files has masks only ({', '.join(self._layers)})")
        mask = next((name for name in self._masks if name in self._layers), None)
        unions = {
            name: union_of(layer.grid for layer in self._layers[name])
            for name in [*names, *([mask] if mask else [])]
        }
        grids = self._grids(unions, aoi)
        suffixes = _suffixes(grids, [*names])
        keys = {name: _key(grids[name], suffixes[name]) for name in grids}
        groups = [
            Target(
                suffixes[first],
                tuple(name for name in names if keys[name] == keys[first]),
                grids[first],
            )
            for first in {keys[name]: name for name in reversed(names)}.values()
        ]
        groups.sort(key=lambda target: names.index(target.names[0]))
        steering = Target(suffixes[mask], (mask,), grids[mask]) if mask else None
        return Plan(tuple(groups), steering, "files", self._on_frame_error)

    def _grids(self, unions: dict[str, GridSpec], aoi: Aoi | None) -> dict[str, GridSpec]:
        """Cut the area out of each band's grid."""
        crs = {grid.crs for grid in unions.values()}
        if len(crs) > 1:
            one, other = (next(n for n in unions if unions[n].crs == c) for c in sorted(crs)[:2])
            raise SourceError(
                f"{self._layers[one][0].href} ({spell(unions[one])}) and "
                f"{self._layers[other][0].href} ({spell(unions[other])}) differ in CRS"
            )
        if aoi is None:
            return unions
        if not crs.pop():
            raise SourceError("source files has no CRS, so no area can be cut out; leave out --aoi")
        cut: dict[str, GridSpec] = {}
        anchors = list(unions.values())
        for (name, union), box in zip(unions.items(), boxes(anchors, aoi), strict=True):
            inside = clipped(box, union)
            if inside is None:
                raise NoDataError(
                    f"AOI {aoi.name} does not reach {name}, which covers {spell(union)}; move it"
                )
            cut[name] = inside
        return cut


def _merged(time: np.datetime64, scenes: Sequence[Scene]) -> Overpass:
    """Make one frame of the files of one second: bands side by side, tiles side by side."""
    held: dict[tuple[str, GridSpec], Scene] = {}
    for scene in scenes:
        for name, layer in scene.layers.items():
            other = held.setdefault((name, layer.grid), scene)
            if other is not scene:
                raise SourceError(
                    f"{other.name} and {scene.name} both hold {name} of {time}; leave one out"
                )
    return Overpass(time, tuple(sorted(scenes, key=lambda scene: scene.name)), whole=False)


def _key(grid: GridSpec, suffix: str) -> tuple[str, GridSpec]:
    return suffix, grid


def _suffixes(grids: dict[str, GridSpec], names: Sequence[str]) -> dict[str, str]:
    """Name each grid: the finest band's has no suffix, others carry their pixel size."""
    finest = min(grids[name].gsd for name in names)
    first = next(name for name in names if grids[name].gsd == finest)
    given: dict[GridSpec, str] = {grids[first]: ""}
    for grid in grids.values():
        if grid in given:
            continue
        suffix = f"{grid.gsd:g}".replace(".", "_") if grid.crs else f"_{len(given)}"
        while suffix in given.values():
            suffix += "b"
        given[grid] = suffix
    return {name: given[grid] for name, grid in grids.items()}
