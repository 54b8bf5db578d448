"""Archives as a STAC catalog: one Collection per archive, one Item per date."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.errors import CorruptInputError, StvcError
from stvc.export.layers import Layer, layers_of, stamp
from stvc.export.rules import replacing
from stvc.stac.assets import archive_asset, find_rasters, raster_asset
from stvc.stac.fields import (
    Fields,
    band_fields,
    crs_fields,
    cube_fields,
    extensions_of,
    footprint,
    grid_fields,
    source_fields,
)

if TYPE_CHECKING:
    import pystac
    import xarray as xr

    from stvc.header import OpenPlace
    from stvc.types import Series

_log = logging.getLogger(__name__)
_WORLD = [-180.0, -90.0, 180.0, 90.0]


@dataclass(frozen=True)
class CatalogReport:
    """What `write_catalog` wrote."""

    path: Path
    """``catalog.json``."""
    collections: int
    items: int
    rasters: int
    """Raster assets that were linked."""


@dataclass(frozen=True)
class _Described:
    """One archive, read but not decoded."""

    path: Path
    info: dict[str, Any]
    opened: OpenPlace
    timeline: Series
    blank: xr.Dataset
    """One date with the archive's variables and coordinates, without pixels."""
    layers: list[Layer]

    @property
    def metric(self) -> bool:
        return bool(self.opened.crs) and self.layers[0].label.endswith("m")

    @property
    def bands(self) -> list[Fields]:
        return [
            field
            for layer in self.layers
            for field in band_fields(self.blank, layer, metric=self.metric)
        ]


def write_catalog(
    archives: Sequence[Path],
    out: Path,
    *,
    rasters: Path | None = None,
    license: str = "other",
) -> CatalogReport:
    """Write a self-contained static catalog beside or around archives.

    Parameters
    ----------
    archives : sequence of Path
        Nothing of them is decoded.
    out : Path
        A directory; what it holds besides is left alone, and an earlier catalog's other
        collections stay in it.
    rasters : Path, optional
        Where ``stvc export`` wrote rasters of these archives: Items link what is there.
    license : str
        SPDX identifier of the pixels, or ``other``.

    Returns
    -------
    CatalogReport

    Raises
    ------
    StvcError
        If pystac is not installed.
    CorruptInputError
        If two archives share a name, or `rasters` holds nothing of them.
    """
    try:
        import pystac
    except ImportError as missing:
        raise StvcError(
            "writing STAC needs pystac; install it with pip install 'stvc[stac]'"
        ) from missing
    names = [path.stem for path in archives]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CorruptInputError(
            f"two archives are named {', '.join(twice)}, and a collection is named by its archive; "
            "rename one, or write another catalog"
        )
    made = [_collection(_describe(path), out, rasters, license) for path in archives]
    linked = sum(len(i.assets) - 1 for c in made for i in c.get_items())
    if rasters is not None and not linked:
        raise CorruptInputError(
            f"{rasters} holds no raster of {', '.join(names)}; "
            f"write them first: stvc export {archives[0]} -o {rasters}"
        )
    catalog = _root(out, names)
    catalog.add_children(made)
    catalog.normalize_hrefs(str(out.resolve()), skip_unresolved=True)
    catalog.catalog_type = pystac.CatalogType.SELF_CONTAINED  # every link is relative
    items = 0
    for collection in made:
        for item in collection.get_items():
            item.make_asset_hrefs_relative()
            items += 1
        collection.make_asset_hrefs_relative()
    # Items first, the catalog last: whoever reads meanwhile finds no link that leads nowhere.
    for collection in made:
        for item in collection.get_items():
            _save(item)
        _save(collection)
    _save(catalog)
    assert isinstance(catalog, pystac.Catalog)
    return CatalogReport(out / "catalog.json", len(made), items, linked)


def _save(thing: pystac.STACObject) -> None:
    import json

    path = Path(thing.get_self_href() or "")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(thing.to_dict(include_self_link=False), indent=2, ensure_ascii=False)
    with replacing(path) as scratch:
        scratch.write_text(text + "\n", encoding="utf-8")


def _root(out: Path, names: Sequence[str]) -> pystac.Catalog:
    """Open the catalog that is there, without the collections that come anew, or make one."""
    import pystac

    path = out / "catalog.json"
    if path.is_file():
        try:
            catalog = pystac.Catalog.from_file(str(path.resolve()))
        except (pystac.STACError, pystac.STACTypeError, ValueError, KeyError) as error:
            raise CorruptInputError(
                f"{path} is no STAC catalog ({error}); name another output"
            ) from None
        for name in names:
            catalog.remove_child(name)
        return catalog
    return pystac.Catalog(
        "stvc", "Satellite image time series in stvc archives", title="stvc archives"
    )


def _describe(path: Path) -> _Described:
    import stvc.api as api
    from stvc.archive import ArchiveReader
    from stvc.dataset import dataset_from_series
    from stvc.header import open_place
    from stvc.types import Series

    with api.open(path) as archive:
        info = archive.info()
        timeline = archive.timeline()
    with ArchiveReader.open(path) as reader:
        opened = open_place(reader, with_background=False)
    place = opened.place
    blank = dataset_from_series(
        Series(
            times=timeline.times[:1],
            grids=place.grids,
            # Broadcast, for a large place: nobody looks at these pixels.
            pixels=tuple(np.broadcast_to(np.uint16(0), (1, *grid.shape)) for grid in place.grids),
            mask=place.mask,
            classes=np.zeros((1, len(place.mask.y), len(place.mask.x)), np.uint8),
            crs_wkt=opened.crs,
            band_attrs=opened.band_attrs,
        )
    )
    return _Described(path, info, opened, timeline, blank, layers_of(blank))


def _collection(
    archive: _Described, out: Path, rasters: Path | None, license: str
) -> pystac.Collection:
    import pystac

    times = [_utc(time) for time in archive.timeline.times]
    crs = archive.opened.crs
    bounds = grid_fields(archive.blank, archive.layers[0])["proj:bbox"]
    outline = footprint(crs, bounds) if crs else None
    items = [_item(archive, k, outline, rasters) for k in range(len(times))]
    first = archive.info
    collection = pystac.Collection(
        archive.path.stem,
        f"{first['frames']} dates of {', '.join(b for g in first['groups'] for b in g['bands'])}, "
        f"in one stvc archive of {first['bytes']} bytes",
        pystac.Extent(
            pystac.SpatialExtent([outline[1] if outline else _WORLD]),
            pystac.TemporalExtent([[times[0], times[-1]]]),
        ),
        title=archive.path.stem,
        license=license,
        keywords=["stvc", "time series"],
        assets={"archive": archive_asset(archive.path, archive.bands)},
        extra_fields=cube_fields(
            archive.opened, archive.layers, archive.blank, [_iso(t) for t in times]
        ),
    )
    collection.summaries = pystac.Summaries(_summaries(archive, items))
    collection.add_items(items)
    collection.stac_extensions = extensions_of(
        collection.to_dict(include_self_link=False, transform_hrefs=False)
    )
    return collection


def _item(
    archive: _Described,
    frame: int,
    outline: tuple[Fields, list[float]] | None,
    rasters: Path | None,
) -> pystac.Item:
    import pystac

    time = archive.timeline.times[frame]
    told = archive.info["dates"][frame]
    record = archive.timeline.provenance[frame] if archive.timeline.provenance else {}
    properties: Fields = source_fields(record, archive.info)
    if archive.metric:
        properties["gsd"] = min(field["gsd"] for field in archive.bands)
    if archive.opened.place.mask.kind != "none":
        properties["eo:cloud_cover"] = round(100 * (1 - told["clear_share"]), 1)
    for key in ("psnr_clear", "max_error_clear"):
        if told[key] is not None:
            properties[f"stvc:{key}"] = told[key]
    if archive.opened.crs:
        properties |= crs_fields(archive.opened.crs)
        properties |= grid_fields(archive.blank, archive.layers[0])
    item = pystac.Item(
        f"{archive.path.stem}_{stamp(time)}",
        outline[0] if outline else None,
        outline[1] if outline else None,
        _utc(time),
        properties,
        assets={"archive": archive_asset(archive.path, archive.bands)},
    )
    for layer, path in find_rasters(rasters, archive.path.stem, time, archive.blank):
        item.add_asset(layer.label, raster_asset(path, archive.blank, layer, metric=archive.metric))
    item.stac_extensions = extensions_of(
        item.to_dict(include_self_link=False, transform_hrefs=False)
    )
    return item


def _summaries(archive: _Described, items: list[pystac.Item]) -> Fields:
    fields: Fields = {"bands": archive.bands}
    for key in ("platform", "constellation", "proj:code"):
        values = sorted({item.properties[key] for item in items if item.properties.get(key)})
        if values:
            fields[key] = values
    if archive.metric:
        fields["gsd"] = sorted({field["gsd"] for field in archive.bands})
    cover = [i.properties["eo:cloud_cover"] for i in items if "eo:cloud_cover" in i.properties]
    if cover:
        fields["eo:cloud_cover"] = {"minimum": min(cover), "maximum": max(cover)}
    return fields


def _utc(time: np.datetime64) -> datetime:
    return datetime.fromtimestamp(int(time.astype("datetime64[s]").astype(np.int64)), UTC)


def _iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
