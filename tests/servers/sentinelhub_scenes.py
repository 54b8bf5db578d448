"""Imagery for the loopback Sentinel Hub server: pixels that follow from where they lie."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

GSD = {"B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20, "B08": 10}
GSD |= {"B8A": 20, "B09": 60, "B11": 20, "B12": 20, "SCL": 20, "CLP": 20}


class Imagery(Protocol):
    """Pixels of a product, wherever they are asked for."""

    def read(self, band: str, x: F64, y: F64) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Values at points (any shape) in the product's CRS, and where there are any."""
        ...


@dataclass(frozen=True)
class Synthetic:
    """Smooth ground with square clouds; native pixels, so that coarse bands are coarse."""

    seed: int = 0
    offset: int = 0
    """Added to DN, as new baselines have it."""

    def read(self, band: str, x: F64, y: F64) -> tuple[Array, npt.NDArray[np.bool_]]:
        gsd = GSD[band]
        col = np.floor(x / gsd + 1e-6).astype(np.int64)
        row = np.floor(y / gsd + 1e-6).astype(np.int64)
        everywhere = np.ones(x.shape, np.bool_)
        cloudy = _noise(col * gsd // 160, row * gsd // 160, self.seed) % 6 == 0
        if band == "SCL":
            return np.where(cloudy, 9, 4 + _noise(col, row, 7) % 2), everywhere
        if band == "CLP":
            return np.where(cloudy, 230, _noise(col, row, 7) % 40), everywhere
        tone = list(GSD).index(band)
        ground = 1800 + 700 * np.sin(col * gsd / 170 + tone) + 500 * np.cos(row * gsd / 230 - tone)
        values = np.rint(ground) + _noise(col, row, tone) % 9 + 5 * (self.seed % 40)
        return np.where(cloudy, 7000 + tone, values).astype(np.int64) + self.offset, everywhere


@dataclass(frozen=True)
class Raster:
    """Arrays on north-up grids, such as a date of a real series; nothing beyond their edges."""

    bands: Mapping[str, Array]
    """Per band: (H, W)."""
    x: Mapping[str, F64]
    """Per band: pixel centers."""
    y: Mapping[str, F64]

    def read(self, band: str, x: F64, y: F64) -> tuple[Array, npt.NDArray[np.bool_]]:
        if band not in self.bands:
            return np.zeros(x.shape, np.int64), np.ones(x.shape, np.bool_)
        across, down = self.x[band], self.y[band]
        col = np.rint((x - across[0]) / (across[1] - across[0])).astype(np.int64)
        row = np.rint((y - down[0]) / (down[1] - down[0])).astype(np.int64)
        inside = (col >= 0) & (col < len(across)) & (row >= 0) & (row < len(down))
        values = np.asarray(self.bands[band])
        return np.where(inside, values[row * inside, col * inside], 0), inside


@dataclass(frozen=True)
class Scene:
    """One product."""

    product_id: str
    sensed: datetime
    """UTC; fractions of a second are hidden by the catalog, as the real one does."""
    bounds: tuple[float, float, float, float]
    """Imaged ground: left, bottom, right, top in `epsg`."""
    epsg: int = 32631
    imagery: Imagery = field(default_factory=Synthetic)
    published: date | None = None
    """First day on which it is listed; None = the day of sensing."""
    withdrawn: date | None = None
    """First day on which it is no longer listed."""

    def listed(self, today: date | None) -> bool:
        """Whether the catalog has it on a day; None = at the end of time."""
        if today is None:
            return self.withdrawn is None
        first = self.published or self.sensed.date()
        return first <= today and (self.withdrawn is None or today < self.withdrawn)

    @property
    def baseline(self) -> int:
        """509 for N0509, 0 if unknown."""
        found = re.search(r"_N(\d{4})_", self.product_id)
        return int(found[1]) if found else 0


def scene(
    day: str,
    bounds: Sequence[float],
    *,
    tile: str = "31UFS",
    baseline: str = "0509",
    platform: str = "S2B",
    orbit: int = 94,
    start: str = "10:40:21",
    delay_s: float = 400.25,
    made: str | None = None,
    epsg: int = 32631,
    imagery: Imagery | None = None,
    published: str | None = None,
    suffix: str = "",
) -> Scene:
    """Make a scene with a name as ESA gives it.

    Parameters
    ----------
    day : str
        ISO date of sensing.
    bounds : sequence of float
        Imaged ground in `epsg`.
    start, delay_s
        When the recording began, and how long after it the tile was imaged.
    made : str
        Processing time in the name; the default follows from the baseline.
    """
    began = datetime.fromisoformat(f"{day}T{start}").replace(tzinfo=UTC)
    compact = began.strftime("%Y%m%dT%H%M%S")
    made = made or f"{began:%Y%m%d}T1{baseline[1:]}00"
    name = f"{platform}_MSIL2A_{compact}_N{baseline}_R{orbit:03d}_T{tile}_{made}{suffix}"
    offset = 1000 if int(baseline) >= 400 else 0
    return Scene(
        name,
        began + timedelta(seconds=delay_s),
        (bounds[0], bounds[1], bounds[2], bounds[3]),
        epsg,
        imagery or Synthetic(seed=int(f"{began:%j}"), offset=offset),
        None if published is None else date.fromisoformat(published),
    )


def _noise(col: Array, row: Array, seed: int) -> Array:
    """A number from 0 to 65535 for each pixel, the same wherever it is asked for."""
    mixed = (col * 73856093) ^ (row * 19349663) ^ (seed * 83492791 + 374761393)
    mixed = (mixed ^ (mixed >> 13)) * 1274126177
    return np.asarray((mixed ^ (mixed >> 16)) & 0xFFFF)
