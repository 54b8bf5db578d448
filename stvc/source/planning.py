"""What a fetch would bring and cost, told without fetching a pixel (``--dry-run``)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol, runtime_checkable

import numpy as np

from stvc.aoi import Aoi
from stvc.bands import find_band
from stvc.errors import AoiError
from stvc.source.protocol import Source, Times

_METERS_PER_DEGREE = 111_320.0


@dataclass(frozen=True)
class FetchPlan:
    """What a fetch would bring; None where the source does not tell."""

    times: Times
    """(T,) datetime64[s] of frames that the caller lacks."""
    height: int | None
    """Rows of the finest grid."""
    width: int | None
    """Columns of it."""
    gsd: float | None
    """Its ground sampling distance in m."""
    raw_bytes: int | None
    """Of all frames' pixels and masks, uncompressed."""
    requests: int | None = None
    """Requests for pixels that it takes; 0 = none to any service."""
    processing_units: float | None = None
    """What they are expected to cost."""
    estimated: bool = False
    """Whether sizes are reckoned from the outline, not from the source's own grid."""


@runtime_checkable
class Plans(Protocol):
    """A source that can tell what a fetch would bring."""

    def plan(
        self,
        aoi: Aoi,
        start: date | None,
        end: date | None,
        bands: Sequence[str] | None,
        exclude: Collection[np.datetime64],
    ) -> FetchPlan:
        """See `plan_fetch`."""
        ...


def plan_fetch(
    source: Source,
    aoi: Aoi,
    start: date | None,
    end: date | None,
    bands: Sequence[str] | None,
    exclude: Collection[np.datetime64],
) -> FetchPlan:
    """Tell what ``source.fetch`` with the same arguments would bring.

    Parameters
    ----------
    source : Source
        One that is `Plans` is asked; of others the dates are listed, and sizes are reckoned from
        the outline of the place.
    aoi, start, end, bands, exclude
        As in `Source.fetch`.

    Returns
    -------
    FetchPlan

    Raises
    ------
    AoiError, SourceError
        As `Source.dates`.
    """
    if isinstance(source, Plans):
        return source.plan(aoi, start, end, bands, exclude)
    had = {time.astype("datetime64[s]") for time in exclude}
    listed = source.dates(aoi, start, end).astype("datetime64[s]")
    times = np.array([time for time in listed if time not in had], dtype="datetime64[s]")
    ground = source.ground()
    seen = aoi.geometry if ground is None else aoi.geometry.intersection(ground)
    if seen.is_empty:
        raise AoiError(f"AOI {aoi.name} lies off the ground of source {source.name}")
    west, south, east, north = seen.bounds
    narrowing = float(np.cos(np.radians((south + north) / 2)))
    across = max((east - west) * _METERS_PER_DEGREE * narrowing, 1.0)
    down = max((north - south) * _METERS_PER_DEGREE, 1.0)
    known = [find_band(name) for name in bands or ()]
    distances = [band.gsd for band in known if band is not None]
    finest = min(distances, default=10)
    raw = None
    if distances and len(distances) == len(known):
        a_frame = sum(across * down / gsd**2 * 2 for gsd in distances) + across * down / 400
        raw = round(a_frame * len(times))
    return FetchPlan(
        times=times,
        height=round(down / finest) or 1,
        width=round(across / finest) or 1,
        gsd=float(finest),
        raw_bytes=raw,
        estimated=True,
    )
