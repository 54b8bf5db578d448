"""Which days a field's source is asked for, and how many frames at once."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from stvc.aoi import Aoi
from stvc.archive import FrameRecord
from stvc.monitor.settings import WHOLE_PERIOD, FieldSettings

BATCH_BYTES = 256 * 2**20
"""Raw pixels that are fetched at once: coding holds a few copies of them."""
_BANDS_UNKNOWN = 12


def window(
    held: tuple[FrameRecord, ...], settings: FieldSettings, today: date
) -> tuple[date | None, date]:
    """Give the days in which to look for frames that an archive lacks.

    It begins some days before the last date held, not before today: after an outage nothing is left
    out.

    Parameters
    ----------
    held : tuple of FrameRecord
        Empty for a new field.
    settings : FieldSettings
    today : date

    Returns
    -------
    (date or None, date)
        First and last day, both included; None = the source's beginning.
    """
    end = today if settings.end is None else min(today, settings.end)
    if not held or settings.look_back == WHOLE_PERIOD:
        return settings.start, end
    last = np.datetime64(max(frame.time for frame in held), "s").astype("datetime64[D]")
    since: date = min(last.astype(date), today) - timedelta(days=settings.look_back)
    return since if settings.start is None else max(since, settings.start), end


def batch_size(aoi: Aoi, bands: list[str] | None) -> int:
    """Number of frames of a place whose pixels stay within `BATCH_BYTES`; at least one.

    Reckons with 10 m pixels in every band, which is too many for coarser ones, never too few.
    """
    west, south, east, north = aoi.geometry.bounds
    meters = 111_320.0
    width = (east - west) * meters * float(np.cos(np.radians((south + north) / 2))) + 20
    height = (north - south) * meters + 20
    frame = width * height / 100 * 2 * (len(bands) if bands else _BANDS_UNKNOWN)
    return max(1, int(BATCH_BYTES / frame))
