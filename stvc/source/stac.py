"""Frames from any STAC API or static catalog whose assets are COGs or JPEG 2000 files."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.aoi import Aoi
from stvc.bands import find_band
from stvc.errors import NoDataError, SourceError
from stvc.grid import GridSpec
from stvc.source._assembly import Plan, Target, assemble, check_some
from stvc.source._lattice import boxes, canonical_crs, offset_between, spell
from stvc.source._rasters import grid_of, opened
from stvc.source._scenes import (
    MASKS,
    Layer,
    Listing,
    Overpass,
    Scene,
    between,
    overpasses,
    preferred_masks,
)
from stvc.source._stac_assets import (
    band_assets,
    baseline_of,
    offset_in_pixels,
    product_id,
    read_assets,
)
from stvc.source._stac_catalog import find_items
from stvc.source.protocol import Times

if TYPE_CHECKING:
    import pystac
    import xarray as xr

_NESTING = 20
# ^ In meters. SCL has 20 m pixels: boxes are snapped to them even if only 10 m bands are asked.

_log = logging.getLogger(__name__)


class StacSource:
    """Frames of a STAC catalog, one per overpass, on native grids.

    Parameters
    ----------
    stac_url : str
        URL or path of an API's landing page, a static catalog, a collection, or a file with an
        item collection.
    collection : str, optional
        Only items of this collection; may be left out if there is only one.
    assets : mapping of str to str, or str, optional
        Band name to asset key, also as ``B04=red,B08=nir``; told from the asset names of
        earth-search, the Copernicus Data Space and the Planetary Computer if not given.
    dn_offset : int, optional
        DN to add, 0 or -1000, whatever metadata say.
    crs : str, optional
        ``EPSG:...`` of the tiles to read where an area lies on tiles of several UTM zones.
    mask : {"scl", "clp"}
        Which mask to read if items have both.
    on_frame_error : {"raise", "skip"}
        ``skip`` leaves frames out that cannot be read wholly, and names them in
        ``attrs["incomplete"]``.
    """

    name = "stac"

    def __init__(
        self,
        stac_url: str,
        collection: str | None = None,
        assets: Mapping[str, str] | str | None = None,
        dn_offset: int | str | None = None,
        crs: str | None = None,
        mask: str = "scl",
        on_frame_error: str = "raise",
    ) -> None:
        self._url = stac_url
        self._collection = collection
        self._assets = read_assets(assets)
        self._dn_offset = None if dn_offset is None else int(dn_offset)
        self._crs = None if crs is None else canonical_crs(crs)
        if on_frame_error not in ("raise", "skip"):
            raise SourceError(f"on_frame_error={on_frame_error!r}; choose raise or skip")
        self._on_frame_error = on_frame_error
        self._masks = preferred_masks(mask)
        self._listing: Listing | None = None

    def ground(self) -> None:
        """Return None: what a catalog covers is told by its items."""

    def dates(self, aoi: Aoi, start: date | None, end: date | None) -> Times:
        """List the overpasses of an area; see `Source.dates`."""
        found = self._overpasses(aoi, start, end)
        return np.array([overpass.time for overpass in found], "datetime64[s]")

    def products(self, aoi: Aoi, start: date | None, end: date | None) -> list[dict[str, Any]]:
        """List the overpasses of an area with what they are made of.

        Returns
        -------
        list of dict
            ``time`` (datetime64[s]), ``product_id`` (the item's id if it names no product) and
            ``baseline`` if it is known.
        """
        found = self._overpasses(aoi, start, end)
        return [{"time": overpass.time, **overpass.named} for overpass in found]

    def fetch(
        self,
        aoi: Aoi,
        start: date | None,
        end: date | None,
        bands: Sequence[str] | None,
        exclude: Collection[np.datetime64],
        *,
        on_frame_error: str | None = None,
    ) -> xr.Dataset:
        """Read the frames of an area; see `Source.fetch`.

        ``on_frame_error`` is as the class takes it; None = what the class was given.
        """
        found = self._overpasses(aoi, start, end, reuse=True)
        if not found:
            raise NoDataError(
                f"source {self.name}: {self._url} has no item over {aoi.name} from "
                f"{start or 'its beginning'} to {end or 'its end'}"
            )
        plan = self._plan(found, aoi, bands)
        if on_frame_error is not None:
            plan = replace(plan, on_frame_error=on_frame_error)
        had = {known.astype("datetime64[s]") for known in exclude}
        fresh = [overpass for overpass in found if overpass.time not in had]
        attrs = {"source": self.name, "aoi": aoi.geojson, "aoi_name": aoi.name}
        frames = assemble(plan, fresh, attrs)
        if on_frame_error is None:
            check_some(frames)
        return frames

    def _overpasses(
        self, aoi: Aoi, start: date | None, end: date | None, *, reuse: bool = False
    ) -> list[Overpass]:
        """Search; ``reuse`` takes what the last search brought, if it answers this one."""
        known = self._listing if reuse else None
        if known is not None and known.holds(aoi.geojson, start, end):
            found = known.found
        else:
            items = find_items(self._url, self._collection, aoi, start, end)
            scenes = self._of_one_crs(self._scenes(items), aoi)
            found = overpasses(scenes, float(aoi.geometry.centroid.x))
            self._listing = Listing(aoi.geojson, start, end, found, time.monotonic())
        return [overpass for overpass in found if between(overpass.time, start, end)]

    def _scenes(self, items: Sequence[pystac.Item]) -> list[Scene]:
        """Read items; those without a single raster are passed over, unless all are such."""
        scenes = [self._scene(item) for item in items]
        bare = [scene.name for scene in scenes if not scene.layers]
        if bare and len(bare) == len(scenes):
            raise SourceError(
                f"item {bare[0]} has no asset that is known to be a Sentinel-2 band; name them "
                "with --assets B04=KEY,B08=KEY"
            )
        if bare:
            more = f" and {len(bare) - 1} more" if len(bare) > 1 else ""
            _log.warning("item %s%s without raster assets: passed over", bare[0], more)
        return [scene for scene in scenes if scene.layers]

    def _scene(self, item: pystac.Item) -> Scene:
        moment = item.datetime or item.common_metadata.start_datetime
        if moment is None:
            raise SourceError(f"item {item.id} has no datetime")
        told = item.properties
        assets = {key: asset.to_dict() for key, asset in item.assets.items()}
        product = product_id(item.id, told)
        baseline = baseline_of(product, told)
        try:
            of_band = band_assets(assets, self._assets)
            bands = [name for name in of_band if name not in MASKS]
            offset = self._dn_offset
            if offset is None:
                first = assets[of_band[bands[0]]] if bands else {}
                offset = offset_in_pixels(baseline, told, first) if bands else 0
            layers = {
                name: Layer(
                    str(item.assets[key].get_absolute_href() or item.assets[key].href),
                    self._grid(item, assets[key], key),
                )
                for name, key in of_band.items()
            }
        except SourceError as error:
            raise SourceError(f"item {item.id}: {error}") from error
        return Scene(
            name=item.id,
            time=np.datetime64(moment.replace(tzinfo=None), "s"),
            layers=layers,
            baseline=baseline,
            product_id=product,
            claimed_offset=offset,
            tags={"platform": str(told["platform"])} if told.get("platform") else {},
        )

    def _grid(self, item: pystac.Item, asset: dict[str, Any], key: str) -> GridSpec:
        """Read an asset's grid: from the item if it tells, else from the head of the file."""
        # Transform and shape of the asset only: those of the item are the 10 m bands', and often
        # stand beside 20 m assets that say nothing.
        t, shape = asset.get("proj:transform"), asset.get("proj:shape")
        told = {**item.properties, **asset}
        code = told.get("proj:code") or (told.get("proj:epsg") and f"EPSG:{told['proj:epsg']}")
        if code and t and shape and t[1] == t[3] == 0 and t[4] == -t[0]:
            return GridSpec(canonical_crs(code), t[2], t[5], t[0], int(shape[0]), int(shape[1]))
        with opened(item.assets[key].get_absolute_href() or asset["href"], "stac") as raster:
            return grid_of(raster)

    def _of_one_crs(self, scenes: list[Scene], aoi: Aoi) -> list[Scene]:
        """Choose the tiles of one UTM zone: the one that the area's middle lies in, if any does."""
        of_crs: dict[str, list[Scene]] = {}
        for scene in scenes:
            of_crs.setdefault(next(iter(scene.layers.values())).grid.crs, []).append(scene)
        if self._crs is not None:
            return of_crs.get(self._crs, [])
        if len(of_crs) <= 1:
            return scenes
        middle = aoi.geometry.centroid
        zone = int((middle.x + 180) // 6) % 60 + 1
        home = canonical_crs(f"EPSG:{(32600 if middle.y >= 0 else 32700) + zone}")
        chosen = home if home in of_crs else min(of_crs)
        left = sum(len(group) for crs, group in of_crs.items() if crs != chosen)
        _log.info("%d items of other UTM zones than the area's are left out", left)
        return of_crs[chosen]

    def _plan(self, found: Sequence[Overpass], aoi: Aoi, bands: Sequence[str] | None) -> Plan:
        """Lay out the grids: those of the first frame, to which all others must be aligned."""
        scenes = [scene for overpass in found for scene in overpass.scenes]
        known: dict[str, Layer] = {}
        for scene in scenes:
            for name, layer in scene.layers.items():
                first = known.setdefault(name, layer)
                if offset_between(first.grid, layer.grid) is None:
                    raise SourceError(
                        f"{layer.href} ({spell(layer.grid)}) does not share its pixels with "
                        f"{first.href} ({spell(first.grid)}); stvc does not resample: choose one "
                        "collection or one UTM zone"
                    )
        names = _chosen(bands, [name for name in known if name not in MASKS])
        mask = next((name for name in self._masks if name in known), None)
        wanted = [*names, *([mask] if mask else [])]
        gsds = {name: known[name].grid.gsd for name in wanted}
        anchors = {gsds[name]: known[name].grid for name in wanted}
        fine = min(anchors.values(), key=lambda grid: grid.gsd)
        if fine.gsd == 10 and max(anchors) < _NESTING:
            coarse = GridSpec(
                fine.crs, fine.left, fine.top, _NESTING, fine.height // 2, fine.width // 2
            )
            anchors[float(_NESTING)] = coarse
        boxed = dict(zip(anchors, boxes(list(anchors.values()), aoi), strict=True))
        groups = [
            Target(_suffix(gsd), tuple(n for n in names if gsds[n] == gsd), boxed[gsd])
            for gsd in dict.fromkeys(gsds[name] for name in names)
        ]
        steering = Target(_suffix(gsds[mask]), (mask,), boxed[gsds[mask]]) if mask else None
        return Plan(tuple(groups), steering, "stac", self._on_frame_error)


def _suffix(gsd: float) -> str:
    return "" if gsd == 10 else f"{gsd:g}".replace(".", "_")


def _chosen(bands: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Translate the names of the bands that are asked for to those of the catalog."""
    if bands is None:
        if not known:
            raise SourceError("source stac: its items hold masks only")
        return list(known)
    chosen = []
    for band in bands:
        entry = find_band(band)
        name = band if band in known or entry is None else entry.name
        if name not in known:
            raise SourceError(
                f"source stac has no band {band}; its items hold {', '.join(known) or 'none'}"
            )
        chosen.append(name)
    return list(dict.fromkeys(chosen))
