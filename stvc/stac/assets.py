"""Assets of STAC Items: the archive itself, and rasters that were exported from it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.errors import CorruptInputError
from stvc.export.layers import Layer, file_name, layers_of
from stvc.export.rules import ask_for_extra
from stvc.stac.fields import Fields, band_fields, file_fields, grid_fields

if TYPE_CHECKING:
    import pystac
    import xarray as xr

MEDIA_TYPE = "application/x-stvc"
"""Not HDF5's, though an archive is HDF5: clients would take it for a raster and open it."""


def archive_asset(path: Path, bands: list[Fields]) -> pystac.Asset:
    """Describe an archive, with what xarray needs to open it."""
    import pystac

    stat = path.stat()
    return pystac.Asset(
        str(path.resolve()),
        title="All dates, as one stvc archive",
        media_type=MEDIA_TYPE,
        roles=["data"],
        extra_fields={
            **_archive_file_fields(path, stat.st_size, stat.st_mtime_ns),
            "xarray:open_kwargs": {"engine": "stvc"},
            "bands": bands,
        },
    )


@lru_cache(maxsize=64)
def _archive_file_fields(path: Path, size: int, changed: int) -> Fields:
    # Every date names the archive: it is read once.
    return file_fields(path)


def find_rasters(
    folder: Path | None, stem: str, time: np.datetime64, ds: xr.Dataset
) -> list[tuple[Layer, Path]]:
    """Find a date's exported rasters by their names.

    Parameters
    ----------
    folder : Path or None
        Where ``stvc export`` wrote them; None finds nothing.
    stem : str
        Of the archive.
    time : datetime64
    ds : xarray.Dataset
        With the archive's variables.
    """
    if folder is None:
        return []
    every = {layer.label: layer for split in (False, True) for layer in layers_of(ds, split=split)}
    named = ((layer, folder / file_name(stem, time, layer.label)) for layer in every.values())
    return [(layer, path) for layer, path in named if path.is_file()]


def raster_asset(path: Path, ds: xr.Dataset, layer: Layer, *, metric: bool) -> pystac.Asset:
    """Describe an exported raster.

    Raises
    ------
    CorruptInputError
        If it does not have the archive's grid: it is of something else.
    """
    import pystac

    try:
        import rasterio
    except ImportError as missing:
        ask_for_extra("links to rasters", missing)
    with rasterio.open(path) as raster:
        names = tuple(name for name in raster.descriptions if name)
        if raster.shape != (len(layer.y), len(layer.x)) or not set(names) <= set(layer.names):
            raise CorruptInputError(
                f"{path} holds {', '.join(names) or 'no bands'} on {raster.shape} pixels, the "
                f"archive {', '.join(layer.names)} on {(len(layer.y), len(layer.x))}; export anew"
            )
        cloud_optimized = raster.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
    held = {field["name"]: field for field in band_fields(ds, layer, metric=metric)}
    fields: dict[str, Any] = {**file_fields(path), "bands": [held[name] for name in names]}
    if "spatial_ref" in ds.coords:
        fields |= grid_fields(ds, layer)
    if metric:
        fields["gsd"] = held[names[0]]["gsd"]
    return pystac.Asset(
        str(path.resolve()),
        title=", ".join(names),
        media_type=pystac.MediaType.COG if cloud_optimized else pystac.MediaType.GEOTIFF,
        roles=["data", "data-mask"] if layer.is_mask else ["data", "reflectance"],
        extra_fields=fields,
    )
