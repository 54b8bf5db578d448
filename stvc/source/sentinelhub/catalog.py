"""What a catalog lists, and how its products make frames: one frame for one overpass.

A satellite's pass over a place may come as several products: neighboring tiles of Sentinel-2's
grid, and halves where the recording was cut. They make one frame. A product that ESA processed
again is listed once more with a newer baseline: the frame takes the newest.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.errors import SourceError

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

PASS = timedelta(minutes=10)
"""Longest time that a satellite takes over one place; its next orbit comes after 100 minutes."""

SAG = 0.01
"""Degrees by which a footprint may be off: edges of tiles, straight in UTM, are given by their ends
only, and 110 km of them bend by up to 1 km in longitude and latitude."""

KEPT_S = 600.0
"""How long a listing serves the fetches that follow it; a process may live on for days."""

_PRODUCT = re.compile(
    r"(?P<platform>S2[A-Z])_MSIL\d[A-Z]_(?P<start>\d{8}T\d{6})_N(?P<baseline>\d{4})"
    r"_R(?P<orbit>\d{3})_T(?P<tile>[A-Z0-9]{5})_(?P<made>\d{8}T\d{6})"
)
_PLAIN = re.compile(r"[\w.:+-]{1,200}")


@dataclass(frozen=True)
class Product:
    """One product that the catalog lists."""

    id: str
    """As the catalog has it, without ``.SAFE``."""
    sensed: datetime
    """When the tile was imaged, UTC."""
    platform: str
    """``S2A``; empty if unknown."""
    start: datetime | None
    """When the recording began that the tile is cut from; the same for all its tiles."""
    baseline: str
    """Processing baseline, ``05.09``; empty if the id does not tell."""
    orbit: int
    """Relative orbit; -1 if unknown."""
    tile: str
    """Tile of Sentinel-2's grid; empty if unknown."""
    made: str
    """When it was processed, sortable; empty if unknown."""
    footprint: BaseGeometry | None
    """Imaged ground in WGS84; None if the catalog does not tell."""

    @property
    def age(self) -> tuple[str, str, str]:
        """Sorts older versions before newer ones."""
        return self.baseline, self.made, self.id


@dataclass(frozen=True)
class Overpass:
    """The products that make one frame."""

    time: np.datetime64
    """The frame's time, seconds: when the recording began, which no late product changes."""
    products: tuple[Product, ...]
    """Newest first; at least one."""
    outdated: tuple[Product, ...]
    """Older versions of them."""
    contested: bool
    """Whether a request for its seconds would also meet products that are not its own."""

    @property
    def product_id(self) -> str:
        """All product ids, sorted, separated by commas."""
        return ",".join(sorted(product.id for product in self.products))

    @property
    def supersedes(self) -> str:
        """Ids of outdated products, sorted, separated by commas."""
        return ",".join(sorted(product.id for product in self.outdated))

    @property
    def baseline(self) -> str:
        """Newest processing baseline of its products."""
        return max(product.baseline for product in self.products)

    @property
    def span(self) -> tuple[datetime, datetime]:
        """First and last sensing time."""
        times = [product.sensed for product in self.products]
        return min(times), max(times)


@dataclass(frozen=True)
class Listing:
    """What the catalog said, and when."""

    place: str
    """Whatever tells places apart."""
    start: date | None
    """First day asked for; None = from the beginning."""
    end: date | None
    """Last day."""
    frames: tuple[Overpass, ...]
    """What was listed."""
    at: float
    """When, by the monotonic clock."""

    def holds(self, place: str, start: date | None, end: date | None) -> bool:
        """Whether it answers another question too."""
        return (
            self.place == place
            and (self.start is None or (start is not None and start >= self.start))
            and (self.end is None or (end is not None and end <= self.end))
            and time.monotonic() - self.at < KEPT_S
        )


def product_of(feature: Any) -> Product:
    """Read a catalog feature.

    Parameters
    ----------
    feature : JSON value
        A STAC Item of Sentinel-2 L2A.

    Returns
    -------
    Product

    Raises
    ------
    SourceError
        If it has no usable id or time. The id is text from outside: only plain ones are taken.
    """
    name = feature.get("id") if isinstance(feature, Mapping) else None
    if not isinstance(name, str) or not _PLAIN.fullmatch(name) or ".." in name:
        raise SourceError(f"the catalog lists a product with the id {name!r:.60}, which is none")
    properties = feature.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    sensed = _time(properties.get("datetime"))
    if sensed is None:
        raise SourceError(
            f"the catalog lists {name} with the time {properties.get('datetime')!r:.40}; "
            "want one like 2023-05-01T10:10:31Z"
        )
    name = name.removesuffix(".SAFE")
    parts = _PRODUCT.match(name)
    platform = str(properties.get("platform", ""))
    if parts is None:
        short = re.fullmatch(r"sentinel-(\d[a-z])", platform.lower())
        return Product(
            id=name,
            sensed=sensed,
            platform=f"S{short[1].upper()}" if short else "",
            start=None,
            baseline="",
            orbit=-1,
            tile="",
            made="",
            footprint=_footprint(feature),
        )
    return Product(
        id=name,
        sensed=sensed,
        platform=parts["platform"],
        start=_time(parts["start"]),
        baseline=f"{parts['baseline'][:2]}.{parts['baseline'][2:]}",
        orbit=int(parts["orbit"]),
        tile=parts["tile"],
        made=parts["made"],
        footprint=_footprint(feature),
    )


def overpasses(products: Iterable[Product], place: BaseGeometry) -> tuple[Overpass, ...]:
    """Sort products into frames.

    Parameters
    ----------
    products : iterable of Product
        In any order, possibly with repetitions.
    place : shapely geometry
        The area of interest in WGS84.

    Returns
    -------
    tuple of Overpass
        By time, times strictly increasing; only those that may image some of the place.
    """
    unique = {product.id: product for product in products}
    by_time = sorted(unique.values(), key=lambda product: (product.sensed, product.id))
    open_groups: dict[tuple[str, int], list[Product]] = {}
    groups: list[list[Product]] = []
    for product in by_time:
        key = product.platform, product.orbit
        group = open_groups.get(key)
        if group is None or product.sensed - group[0].sensed > PASS:
            group = open_groups[key] = []
            groups.append(group)
        group.append(product)
    seen = [
        found
        for group in groups
        if any(p.footprint is None or p.footprint.distance(place) < SAG for p in group)
        for found in [_overpass(group, by_time)]
    ]
    seen.sort(key=lambda found: (found.time, found.product_id))
    apart: list[Overpass] = []
    for found in seen:
        time = found.time
        if apart and time <= apart[-1].time:  # two satellites in one second
            time = apart[-1].time + np.timedelta64(1, "s")
        apart.append(Overpass(time, found.products, found.outdated, found.contested))
    return tuple(apart)


def _overpass(group: Sequence[Product], listed: Sequence[Product]) -> Overpass:
    newest, outdated = _newest(group)
    starts = [product.start for product in newest if product.start is not None]
    begin = min(starts or [product.sensed for product in newest])
    first = min(product.sensed for product in newest)
    last = max(product.sensed for product in newest)
    own = {product.id for product in newest}
    near = timedelta(seconds=1)
    return Overpass(
        time=np.datetime64(begin.replace(tzinfo=None), "s"),
        products=newest,
        outdated=outdated,
        contested=any(
            first - near <= product.sensed <= last + near and product.id not in own
            for product in listed
        ),
    )


def _newest(group: Sequence[Product]) -> tuple[tuple[Product, ...], tuple[Product, ...]]:
    """Part an overpass's products into those to use, newest first, and older versions of them.

    Two products of one tile are versions if they image the same ground. If they do not, they are
    the two sides of a cut in the recording, whatever their baselines.
    """
    newest: list[Product] = []
    outdated: list[Product] = []
    for product in sorted(group, key=lambda product: product.age, reverse=True):
        replaced = any(
            product.tile
            and (product.start, product.tile) == (newer.start, newer.tile)
            and _same_ground(product, newer)
            for newer in newest
        )
        (outdated if replaced else newest).append(product)
    return tuple(newest), tuple(outdated)


def _same_ground(older: Product, newer: Product) -> bool:
    if older.footprint is None or newer.footprint is None:
        return True
    common = older.footprint.intersection(newer.footprint).area
    smaller = min(older.footprint.area, newer.footprint.area)
    return bool(common > 0.5 * smaller)


def _time(text: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _footprint(feature: Mapping[str, Any]) -> BaseGeometry | None:
    """The imaged ground; None if it cannot be told, which is no reason to leave a product out."""
    import shapely
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    try:
        geometry = shapely.make_valid(shape(feature["geometry"]))
        return None if geometry.is_empty or geometry.area == 0 else geometry
    except (ShapelyError, KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None
