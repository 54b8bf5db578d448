"""Scenes: products of one sensing time, as lists of rasters that have not been read yet."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np

from stvc.errors import SourceError
from stvc.grid import GridSpec
from stvc.masks import VARIABLES

MASKS = VARIABLES
"""Layers that are mask values: read as they are, without scale or offset."""

KEPT_S = 600.0
"""How long a listing serves the fetches that follow it; a process may live on for days."""

_PRODUCT = re.compile(
    r"(?P<platform>S2[A-D])_MSI(?P<level>L1C|L2A)_(?P<sensed>\d{8}T\d{6})_N(?P<baseline>\d{4})"
    r"_R(?P<orbit>\d{3})_T(?P<tile>\w{5})_(?P<made>\d{8}T\d{6})"
)


@dataclass(frozen=True)
class Layer:
    """One band of one raster file."""

    href: str
    """Path or URL, as rasterio opens it."""
    grid: GridSpec
    """The raster's whole grid."""
    index: int = 1
    """Band number in the file, from 1."""
    scale: float = 1.0
    """DN = value * scale + offset."""
    offset: float = 0.0
    """DN to add, after scaling."""
    nodata: float | None = 0.0
    """Value that means "not imaged", next to NaN."""


@dataclass(frozen=True)
class Scene:
    """What one product, or one set of files, holds of one sensing time."""

    name: str
    """What messages call it: product or item id, or the file's name."""
    time: np.datetime64
    """Sensing time, datetime64[s], UTC."""
    layers: Mapping[str, Layer]
    """By band name; masks by the names in `MASKS`."""
    baseline: str = ""
    """Processing baseline, ``05.09``; empty if unknown."""
    product_id: str = ""
    """Of the archive that published it; empty if there is none."""
    claimed_offset: int = 0
    """DN to add on the word of metadata, which pixels may refute; layers hold what is certain."""
    tags: Mapping[str, Any] = field(default_factory=dict)
    """More to keep on record of the frame."""

    @property
    def product(self) -> re.Match[str] | None:
        """The parts of an ESA product id, if the scene has one."""
        return _PRODUCT.match(self.product_id)


@dataclass(frozen=True)
class Overpass:
    """Scenes that become one frame: tiles of one sensing, seen within a minute or so."""

    time: np.datetime64
    """Of the earliest scene, datetime64[s]."""
    scenes: tuple[Scene, ...]
    """In order of their names; earlier ones win where tiles overlap."""
    whole: bool = True
    """Whether each scene must hold every band; False if a frame's bands come in several files."""

    @property
    def named(self) -> dict[str, str]:
        """``product_id`` and ``baseline`` if they are known, spelled as frames have them."""
        told: dict[str, str] = {}
        products = dict.fromkeys(s.product_id for s in self.scenes if s.product_id)
        if products:
            told["product_id"] = ";".join(products)
        baselines = [scene.baseline for scene in self.scenes if scene.baseline]
        if baselines:
            told["baseline"] = max(baselines)
        return told


@dataclass(frozen=True)
class Listing:
    """What a search brought, for the fetches that follow it."""

    place: str
    """Whatever tells places apart."""
    start: date | None
    """First day asked for; None = from the beginning."""
    end: date | None
    """Last day; None = to the end."""
    found: list[Overpass]
    at: float
    """When, by the monotonic clock."""

    def holds(self, place: str, start: date | None, end: date | None) -> bool:
        """Whether it answers another question too, and is fresh."""
        return (
            self.place == place
            and (self.start is None or (start is not None and start >= self.start))
            and (self.end is None or (end is not None and end <= self.end))
            and time.monotonic() - self.at < KEPT_S
        )


def overpasses(scenes: Iterable[Scene], longitude: float) -> list[Overpass]:
    """Gather scenes to frames: one per solar day, satellite and orbit.

    Parameters
    ----------
    scenes : iterable of Scene
    longitude : float
        Of the place, in degrees: the sun's noon tells days apart, not midnight in Greenwich.

    Returns
    -------
    list of Overpass
        Sorted by time. Of several versions of one tile only the newest baseline is kept.
    """
    solar = np.timedelta64(round(longitude * 240), "s")
    groups: dict[tuple[Any, ...], list[Scene]] = {}
    for scene in _newest(scenes):
        day = (scene.time + solar).astype("datetime64[D]")
        told = scene.product
        track = told["platform"] + told["orbit"] if told else scene.tags.get("platform", "")
        groups.setdefault((day, track), []).append(scene)
    found = [
        Overpass(
            min(scene.time for scene in group), tuple(sorted(group, key=lambda scene: scene.name))
        )
        for group in groups.values()
    ]
    return _apart(sorted(found, key=lambda overpass: overpass.time))


def _newest(scenes: Iterable[Scene]) -> list[Scene]:
    """Of several versions of one tile's sensing, keep the newest."""
    kept: dict[tuple[str, ...], Scene] = {}
    for scene in scenes:
        told = scene.product
        key = told.group("platform", "level", "sensed", "tile") if told else (scene.name,)
        if key not in kept or _version(scene) > _version(kept[key]):
            kept[key] = scene
    return list(kept.values())


def _version(scene: Scene) -> tuple[str, str, str]:
    told = scene.product
    return scene.baseline, told["made"] if told else "", scene.name


def _apart(found: Sequence[Overpass]) -> list[Overpass]:
    """Refuse two frames of one second: archives tell frames apart by their times."""
    for one, other in pairwise(found):
        if one.time == other.time:
            raise SourceError(
                f"{one.scenes[0].name} and {other.scenes[0].name} are two frames of {one.time}; "
                "choose one collection or one product level"
            )
    return list(found)


def preferred_masks(mask: str) -> tuple[str, ...]:
    """Order the names in `MASKS`, the asked one first.

    Raises
    ------
    SourceError
        If there is no such mask.
    """
    first = next((name for name in MASKS if name.lower() == mask.lower()), None)
    if first is None:
        raise SourceError(f"mask {mask!r}; a source has {', '.join(n.lower() for n in MASKS)}")
    return (first, *(name for name in MASKS if name != first))


def between(time: np.datetime64, start: Any, end: Any) -> bool:
    """Tell whether a time lies on or between two days; None = no limit."""
    day = time.astype("datetime64[D]")
    return (start is None or day >= np.datetime64(start, "D")) and (
        end is None or day <= np.datetime64(end, "D")
    )
