"""From scenes that have not been read to a dataset on native grids."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.dataset import dataset_from_series
from stvc.errors import SourceError
from stvc.grid import GridSpec
from stvc.radiometry import harmonize, offset_is_gone
from stvc.source._lattice import centers
from stvc.source._rasters import read_layer
from stvc.source._scenes import MASKS, Overpass, Scene
from stvc.types import U8, U16, GroupGrid, MaskGrid, Series

if TYPE_CHECKING:
    import xarray as xr

_WORKERS = 8
# ^ Reads wait for a server most of the time; more than this, and servers complain.

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """The bands, or the mask, that share one grid of the dataset."""

    suffix: str
    """Dimension suffix, as in `GroupGrid`."""
    names: tuple[str, ...]
    """Band names; of a mask, its own name alone."""
    grid: GridSpec
    """Where they go."""


@dataclass(frozen=True)
class Plan:
    """What a dataset is to hold, frames aside."""

    groups: tuple[Target, ...]
    """Bands, by native grid."""
    mask: Target | None
    """The mask that steers the codec."""
    extra: str
    """The optional part of stvc that brings the reader along."""
    on_frame_error: str = "raise"
    """``raise``, or ``skip``: leave frames out whose reading fails, and name them."""


def assemble(plan: Plan, found: Sequence[Overpass], attrs: Mapping[str, Any]) -> xr.Dataset:
    """Read frames into a dataset.

    Parameters
    ----------
    plan : Plan
    found : sequence of Overpass
        The frames to read, sorted by time.
    attrs : mapping
        Attributes of the dataset.

    Returns
    -------
    xarray.Dataset
        Frames without a single imaged pixel are left out; with ``on_frame_error="skip"`` also
        those that failed: ``attrs["incomplete"]`` is then a JSON list of objects with ``time``,
        ``product_id`` and ``baseline`` where they are known, and ``error``.

    Raises
    ------
    SourceError
        If a frame cannot be read wholly, and frames must not be left out.
    """
    read: list[_Frame] = []
    incomplete: list[dict[str, str]] = []
    with ThreadPoolExecutor(_WORKERS) as pool:
        for overpass in found:
            try:
                frame = _read(plan, overpass, pool)
            except SourceError as error:
                if plan.on_frame_error != "skip":
                    raise SourceError(f"frame {overpass.time}: {error}") from error
                told = {"time": str(overpass.time), **overpass.named}
                incomplete.append({**told, "error": f"{type(error).__name__}: {error}"})
                _log.warning("frame %s is left out: %s", overpass.time, error)
                continue
            if any(pixels.any() for pixels in frame.pixels):
                read.append(frame)
            else:
                _log.info("frame %s is left out: nothing of the area was imaged", overpass.time)
    lost = {"incomplete": json.dumps(incomplete)} if incomplete else {}
    return dataset_from_series(_series(plan, read, {**attrs, **lost}))


def check_some(frames: xr.Dataset) -> None:
    """Raise SourceError if frames were left out, and none is left."""
    lost = json.loads(frames.attrs.get("incomplete", "[]"))
    if lost and not frames.sizes["time"]:
        raise SourceError(
            f"none of {len(lost)} frames could be read; the first: {lost[0]['time']}: "
            f"{lost[0]['error']}"
        )


@dataclass(frozen=True)
class _Frame:
    time: np.datetime64
    pixels: list[U16]
    classes: U8 | None
    provenance: dict[str, Any]


def _read(plan: Plan, overpass: Overpass, pool: ThreadPoolExecutor) -> _Frame:
    targets = [*plan.groups, *([plan.mask] if plan.mask else [])]
    _check_bands(overpass, [name for target in targets for name in target.names])
    jobs = [(t, name, s) for s in overpass.scenes for t in targets for name in t.names]
    rasters = iter(list(pool.map(lambda job: _read_one(plan, *job), jobs)))
    merged = [np.zeros((len(t.names), t.grid.height, t.grid.width), np.uint16) for t in targets]
    offsets = []
    for scene in overpass.scenes:
        of_band = {name: next(rasters) for target in targets for name in target.names}
        offset = _settled_offset(scene, of_band)
        offsets.append(offset)
        for target, stack in zip(targets, merged, strict=True):
            for into, name in zip(stack, target.names, strict=True):
                raster = of_band[name]
                if raster is not None:
                    dn = raster if name in MASKS else harmonize(raster, offset)
                    np.copyto(into, dn, where=into == 0)
    classes = merged.pop()[0].astype(np.uint8) if plan.mask else None
    return _Frame(overpass.time, merged, classes, _provenance(overpass, offsets))


def _read_one(plan: Plan, target: Target, name: str, scene: Scene) -> U16 | None:
    if name not in scene.layers:
        return None
    return read_layer(scene.layers[name], target.grid, plan.extra, raw=name in MASKS)


def _check_bands(overpass: Overpass, names: Sequence[str]) -> None:
    """Refuse frames that lack a band: its pixels would look like nodata."""
    held = [scene.layers for scene in overpass.scenes]
    parts = held if overpass.whole else [{name: layer for of in held for name, layer in of.items()}]
    for scene, layers in zip(overpass.scenes, parts, strict=False):
        gone = [name for name in names if name not in layers]
        if gone:
            raise SourceError(
                f"{scene.name if overpass.whole else 'it'} has no {', '.join(gone)}; it has "
                f"{', '.join(layers) or 'no raster'}"
            )


def _settled_offset(scene: Scene, of_band: Mapping[str, U16 | None]) -> int:
    """Tell what to add to a scene's DN: what metadata claim, unless its pixels refute them."""
    if not scene.claimed_offset:
        return 0
    for name, raster in of_band.items():
        if raster is not None and name not in MASKS and offset_is_gone(raster):
            _log.warning(
                "%s: its metadata say that DN hold an offset of %d, but a fifth of %s lies below "
                "800 DN, which no reflectance explains: the offset is gone already and is not "
                "removed again",
                scene.name,
                -scene.claimed_offset,
                name,
            )
            return 0
    return scene.claimed_offset


def _provenance(overpass: Overpass, offsets: Sequence[int]) -> dict[str, Any]:
    """Say what a frame was made of."""
    told: dict[str, Any] = {}
    for scene in overpass.scenes:
        told |= {key: value for key, value in scene.tags.items() if key not in told}
    named = overpass.named
    told |= named
    if "baseline" in named:
        certain = {
            round(layer.offset)
            for scene in overpass.scenes
            for name, layer in scene.layers.items()
            if name not in MASKS
        }
        removed = {offset + extra for offset in certain or {0} for extra in offsets}
        # Tiles of one frame may differ: what is left on record is that some of it was moved.
        told.setdefault("offset_dn", min(removed))
        told.setdefault("harmonized", True)
    return told


def _series(plan: Plan, frames: Sequence[_Frame], attrs: dict[str, Any]) -> Series:
    grids, pixels = [], []
    for index, target in enumerate(plan.groups):
        y, x = centers(target.grid)
        grids.append(GroupGrid(target.suffix, target.names, y, x))
        empty = np.zeros((0, len(target.names), len(y), len(x)), np.uint16)
        pixels.append(np.stack([frame.pixels[index] for frame in frames]) if frames else empty)
    mask = MaskGrid("none", "", np.zeros(0), np.zeros(0))
    classes = np.zeros((len(frames), 0, 0), np.uint8)
    if plan.mask is not None:
        y, x = centers(plan.mask.grid)
        mask = MaskGrid(plan.mask.names[0], plan.mask.suffix, y, x)
        classes = np.zeros((len(frames), len(y), len(x)), np.uint8)
        for into, frame in zip(classes, frames, strict=True):
            if frame.classes is not None:
                np.copyto(into, frame.classes)
    return Series(
        times=np.array([frame.time for frame in frames], "datetime64[s]"),
        grids=tuple(grids),
        pixels=tuple(pixels),
        mask=mask,
        classes=classes,
        crs_wkt=plan.groups[0].grid.crs,
        attrs=attrs,
        provenance=tuple(frame.provenance for frame in frames),
        band_attrs={name: {} for target in plan.groups for name in target.names},
    )
