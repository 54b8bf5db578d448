"""Frames as values: their pixels, those that were lost, and the dataset that they make."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.aoi import Aoi
from stvc.dataset import dataset_from_series
from stvc.errors import SourceError
from stvc.radiometry import offset_of_baseline
from stvc.source.sentinelhub.catalog import Overpass
from stvc.source.sentinelhub.layout import MASK_GSD, Layout
from stvc.types import U8, U16, GroupGrid, MaskGrid, Series

if TYPE_CHECKING:
    import xarray as xr

SOURCE = "sentinelhub"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FramePixels:
    """One frame on all grids of a layout."""

    bands: dict[int, U16]
    """Per ground sampling distance: (C, H, W)."""
    mask: U8
    """(Hm, Wm)."""


@dataclass(frozen=True)
class Loss:
    """A frame that could not be had, and why."""

    frame: Overpass
    """The frame."""
    error: SourceError
    """Why."""

    def named(self) -> dict[str, str]:
        """Name it for a JSON list."""
        return {
            "time": str(self.frame.time),
            "product_id": self.frame.product_id,
            "error": f"{type(self.error).__name__}: {self.error}",
        }


def provenance_of(frame: Overpass, *, harmonized: bool) -> dict[str, Any]:
    """Tell what a frame is made of.

    Parameters
    ----------
    frame : Overpass
    harmonized : bool
        Whether the baseline's offset is off.

    Returns
    -------
    dict
        JSON values: ``product_id`` and ``supersedes`` (outdated products; several are separated by
        commas), ``baseline``, ``orbit`` (relative, -1 if unknown), ``offset_dn``, ``harmonized``
        and ``source``.
    """
    offset = offset_of_baseline(frame.baseline) if frame.baseline and not harmonized else 0
    return {
        "product_id": frame.product_id,
        "baseline": frame.baseline,
        "orbit": max(product.orbit for product in frame.products),
        "offset_dn": offset,
        "harmonized": harmonized,
        "source": SOURCE,
        "supersedes": frame.supersedes,
    }


def to_dataset(
    aoi: Aoi,
    layout: Layout,
    mask: str,
    frames: Sequence[tuple[np.datetime64, FramePixels, dict[str, Any]]],
    losses: Sequence[Loss],
) -> xr.Dataset:
    """Put frames together.

    Parameters
    ----------
    aoi : Aoi
        The place.
    layout : Layout
        Its grids.
    mask : str
        Name of the mask variable.
    frames : sequence of (datetime64, FramePixels, dict)
        Time, pixels and provenance, by time; may be empty.
    losses : sequence of Loss
        Named in ``attrs["incomplete"]``.

    Returns
    -------
    xarray.Dataset
        As `stvc.dataset.series_from_dataset` wants it.
    """
    groups = [group for group in layout.groups if group.bands]
    attrs: dict[str, Any] = {
        "source": SOURCE,
        "aoi": aoi.geojson,
        "aoi_name": aoi.name,
        "credit": "Contains modified Copernicus Sentinel data, processed by Sentinel Hub",
    }
    if losses:
        attrs["incomplete"] = json.dumps([loss.named() for loss in losses])
        _log.warning(
            "AOI %s: %d of %d dates could not be fetched: %s",
            aoi.name,
            len(losses),
            len(losses) + len(frames),
            losses[0].error,
        )
    pixels = [
        np.zeros((len(frames), len(g.bands), g.spec.height, g.spec.width), np.uint16)
        for g in groups
    ]
    spec = layout.mask
    classes = np.zeros((len(frames), spec.height, spec.width), np.uint8)
    for row, (_, got, _) in enumerate(frames):
        classes[row] = got.mask
        for group, stack in zip(groups, pixels, strict=True):
            stack[row] = got.bands[group.gsd]
    return dataset_from_series(
        Series(
            times=np.array([time for time, _, _ in frames], dtype="datetime64[s]"),
            grids=tuple(
                GroupGrid(suffix=g.suffix, bands=g.bands, y=g.spec.y, x=g.spec.x) for g in groups
            ),
            pixels=tuple(pixels),
            mask=MaskGrid(mask, str(MASK_GSD), spec.y, spec.x),
            classes=classes,
            crs_wkt=layout.crs_wkt,
            attrs=attrs,
            provenance=tuple(provenance for _, _, provenance in frames),
            band_attrs={name: {} for g in groups for name in g.bands},
        )
    )
