"""Fields, and the products that satellites make of them: what a perfect archive would hold."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import Transformer
from servers.places import TILE
from servers.sentinelhub_scenes import Scene, Synthetic, scene

EPSG = 32631
STRIPS = 5
"""Swaths side by side; each is imaged on a day of its own out of five."""
REVISIT = 5
COLUMNS, COLUMN_M, ROW_M = 3, 3_000.0, 2_500.0
"""Fields stand so far apart, and so far from the swaths' edges, that there is no doubt about which
products image them."""
FIRST_COLUMN_M, FIRST_ROW_M = 6_000.0, 4_000.0
NEAR_M = 1_000.0
"""From here on, nobody takes a place for imaged that is not; no row is so near to another."""
MOST_PLACES = STRIPS * COLUMNS * 40
STRIP_M = (TILE[2] - TILE[0]) / STRIPS

KINDS = ("plain",) * 5 + ("late", "late", "reprocessed", "halves", "half")
"""What becomes of ten passes: published on the day; days later; again with a newer baseline; cut in
two; cut, and only one part ever published."""
OVERCAST = 0.65
"""Share of passes that see nothing but clouds, as over Central Europe."""
SMALLEST_PX, LARGEST_PX = 2, 6
"""Sides of fields: as small as real ones come, because a year has some 15,000 frames of them."""
BANDS = (
    ("B04", "B08"),
    ("B02", "B03", "B04", "B08"),
    ("B8A", "B11"),
    ("B04", "B08"),
    ("B04", "B8A", "B11"),
    ("B05", "B06", "B07"),
    ("B01", "B04"),
)
TARGETS: tuple[Mapping[str, float | bool], ...] = (
    {"quality": 40},
    {"lossless": True},
    {"quality": 30},
    {"max_error": 25},
)

_CLOUD = {"SCL": 9, "CLP": 230}

Version = frozenset[str]
"""Ids of the products that a frame is made of."""
Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Place:
    """One field."""

    id: str
    strip: int
    bounds: Bounds
    """Left, bottom, right, top in m."""
    bands: tuple[str, ...]
    target: Mapping[str, float | bool]


@dataclass(frozen=True)
class Overcast:
    """Clouds from edge to edge."""

    above: Synthetic

    def read(self, band: str, x: Any, y: Any) -> tuple[Any, Any]:
        """See `servers.sentinelhub_scenes.Imagery`."""
        values, there = self.above.read(band, x, y)
        return np.full_like(values, _CLOUD[band]) if band in _CLOUD else values, there


@dataclass(frozen=True)
class Part:
    """A piece of a pass, in all its versions, oldest first."""

    versions: tuple[Scene, ...]

    def covers(self, place: Place) -> bool:
        """Whether it is listed for a place: near a cut, both parts are.

        Catalogs go by boxes in degrees, which lie askew on swaths, and the source by footprints
        that bend: it takes what lies within a kilometer.
        """
        left, bottom, right, top = self.versions[0].bounds
        west, south, east, north = place.bounds
        return (
            west < right + NEAR_M
            and east > left - NEAR_M
            and south < top + NEAR_M
            and north > bottom - NEAR_M
        )

    def listed(self, day: date) -> Scene | None:
        """The version that counts on a day."""
        return next((v for v in reversed(self.versions) if v.listed(day)), None)


@dataclass(frozen=True)
class Pass:
    """A satellite over one swath."""

    strip: int
    time: np.datetime64
    """When the recording began: the time of its frames."""
    parts: tuple[Part, ...]
    kind: str

    def version(self, place: Place, day: date) -> Version:
        """Products that a place's frame is made of on a day; none = there is no frame yet."""
        found = (part.listed(day) for part in self.parts if part.covers(place))
        return frozenset(product.product_id for product in found if product is not None)

    def holds(self, first: datetime, last: datetime) -> bool:
        """Whether any of it was sensed in a span of time."""
        return any(first <= v.sensed <= last for part in self.parts for v in part.versions)


class World:
    """Places and passes, all following from a seed.

    Parameters
    ----------
    places : int
        At most `MOST_PLACES`.
    first : date
        Day of the first pass.
    days : int
    seed : int
    """

    def __init__(self, places: int, first: date, days: int, seed: int) -> None:
        if not 1 <= places <= MOST_PLACES:
            raise ValueError(f"{places} fields; want 1 to {MOST_PLACES}")
        self._random = random.Random(seed)
        self.first, self.days = first, [first + timedelta(k) for k in range(days)]
        self.places = [self._place(number) for number in range(places)]
        self.passes: list[Pass] = list(self._passes())
        self._of_strip = {
            strip: [p for p in self.passes if p.strip == strip] for strip in range(STRIPS)
        }
        self.scenes = {
            version.product_id: version
            for overpass in self.passes
            for part in overpass.parts
            for version in part.versions
        }

    def passes_of(self, place: Place) -> list[Pass]:
        """Passes over a place's swath, by time."""
        return self._of_strip[place.strip]

    def expected(self, place: Place, day: date) -> dict[np.datetime64, Version]:
        """Tell what a complete archive of a place shows on a day: version by time of frame."""
        found = {p.time: p.version(place, day) for p in self.passes_of(place)}
        return {time: version for time, version in found.items() if version}

    def place_at(self, x: float, y: float) -> Place | None:
        """The place around a point, in m; within a kilometer of its center."""
        strip = int((x - TILE[0]) // STRIP_M)
        column = round((x - TILE[0] - strip * STRIP_M - FIRST_COLUMN_M) / COLUMN_M)
        row = round((y - TILE[1] - FIRST_ROW_M) / ROW_M)
        number = (row * COLUMNS + column) * STRIPS + strip
        return self.places[number] if 0 <= number < len(self.places) else None

    def write_job(self, folder: Path, *, look_back: int, attempts: int) -> Path:
        """Write the job's files.

        Parameters
        ----------
        folder : Path
        look_back : int
            Days.
        attempts : int
            How often the source asks for one thing in one run.

        Returns
        -------
        Path
            Of the TOML file.
        """
        to_degrees = Transformer.from_crs(EPSG, 4326, always_xy=True)
        features, settings = [], []
        for place in self.places:
            left, bottom, right, top = place.bounds
            ring = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
            shape = {"type": "Polygon", "coordinates": [[to_degrees.transform(*p) for p in ring]]}
            features.append({"type": "Feature", "properties": {"id": place.id}, "geometry": shape})
            settings.append(f"[settings.{place.id}]\nbands = {json.dumps(place.bands)}\n")
            settings += [f"{key} = {json.dumps(value)}\n" for key, value in place.target.items()]
        collection = {"type": "FeatureCollection", "features": features}
        (folder / "fields.geojson").write_text(json.dumps(collection))
        path = folder / "fields.toml"
        path.write_text(
            f'archives = "archives"\ncache_dir = "cache"\n'
            f'[defaults]\nsource = "sentinelhub"\nstart = {self.first}\nlook_back = {look_back}\n'
            f"[sources.sentinelhub]\nretry_wait_s = 0.01\nattempts = {attempts}\n"
            '[[fields]]\nfile = "fields.geojson"\n' + "".join(settings)
        )
        return path

    def _place(self, number: int) -> Place:
        spot, strip = divmod(number, STRIPS)
        row, column = divmod(spot, COLUMNS)
        x = TILE[0] + strip * STRIP_M + FIRST_COLUMN_M + column * COLUMN_M
        y = TILE[1] + FIRST_ROW_M + row * ROW_M
        width, height = (10.0 * self._random.randint(SMALLEST_PX, LARGEST_PX) for _ in range(2))
        x, y = (value + self._random.uniform(-20, 20) for value in (x, y))
        return Place(
            f"field-{number:03d}",
            strip,
            (x - width / 2, y - height / 2, x + width / 2, y + height / 2),
            BANDS[number % len(BANDS)],
            TARGETS[number % len(TARGETS)],
        )

    def _passes(self) -> Iterator[Pass]:
        kinds: list[str] = []
        for number, day in enumerate(self.days):
            if not kinds:
                kinds = self._random.sample(KINDS, len(KINDS))
            yield self._pass(number % REVISIT, day, kinds.pop())

    def _pass(self, strip: int, day: date, kind: str) -> Pass:
        left = TILE[0] + strip * STRIP_M
        ground = (left, TILE[1], left + STRIP_M, TILE[3])
        overcast = self._random.random() < OVERCAST
        start = f"10:4{strip}:21"

        def product(
            bounds: Bounds, delay: int = 0, *, part: int = 0, baseline: str = "0509"
        ) -> Scene:
            made = day + timedelta(delay)
            found = scene(
                str(day),
                bounds,
                baseline=baseline,
                orbit=8 + 17 * strip,
                start=start,
                delay_s=400.25 + 4 * part,
                made=f"{made:%Y%m%d}T1{part}{baseline[2:]}00",
                published=str(made),
            )
            seed = 20 * day.toordinal() + 10 * part + (baseline != "0509")
            seen = Synthetic(seed, offset=1000)
            return replace(found, imagery=Overcast(seen) if overcast else seen)

        if kind in ("halves", "half"):
            south, north = self._cut(strip, ground)
            if kind == "halves":
                later = self._random.choice((0, 1, 3))
                parts = [Part((product(south),)), Part((product(north, later, part=1),))]
            else:
                parts = [Part((product(self._random.choice((south, north))),))]
        elif kind == "reprocessed":
            delay = self._random.randint(2, 10)
            old, new = product(ground), product(ground, delay, baseline="0510")
            if self._random.random() < 0.5:
                old = replace(old, withdrawn=new.published)
            parts = [Part((old, new))]
        else:
            delay = self._random.randint(1, 9) if kind == "late" else 0
            parts = [Part((product(ground, delay),))]
        return Pass(strip, np.datetime64(f"{day}T{start}", "s"), tuple(parts), kind)

    def _cut(self, strip: int, ground: Bounds) -> tuple[Bounds, Bounds]:
        """Cut a swath in two, through the middle of one of its fields if there is one."""
        left, bottom, right, top = ground
        own = [place for place in self.places if place.strip == strip]
        y = (bottom + top) / 2
        if own:
            chosen = self._random.choice(own)
            y = (chosen.bounds[1] + chosen.bounds[3]) / 2
        return (left, bottom, right, y), (left, y, right, top)
