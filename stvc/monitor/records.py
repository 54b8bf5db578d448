"""An archive's frames as events and tables tell them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stvc.archive import ArchiveReader, Kind
from stvc.codec.frame_stats import FrameStats
from stvc.monitor.listing import Listed, Loss
from stvc.versions import BASELINE_KEYS, PRODUCT_KEYS, superseded


def frame_name(seconds: int, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Name a frame: its time, and what its source says of product and baseline.

    Parameters
    ----------
    seconds : int
        Since 1970 UTC.
    provenance : mapping

    Returns
    -------
    dict
        JSON values.
    """
    time = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    known = {key: provenance[key] for key in (*PRODUCT_KEYS, *BASELINE_KEYS) if provenance.get(key)}
    return {"time": time, **known}


def frame_entries(reader: ArchiveReader, first: int) -> list[dict[str, Any]]:
    """Describe the frames from a file index on.

    Parameters
    ----------
    reader : ArchiveReader
    first : int
        Index of the first new frame.

    Returns
    -------
    list of dict
        Per frame its name, ``bytes``, ``clear_share``, and ``late``: whether a later date was there
        before.
    """
    sizes = _sizes(reader)
    newest = max((frame.time for frame in reader.frames[:first]), default=None)
    return [
        {
            **_entry(reader, index, sizes),
            "late": newest is not None and reader.frames[index].time < newest,
        }
        for index in range(first, len(reader.frames))
    ]


def superseded_entries(reader: ArchiveReader, first: int) -> list[dict[str, Any]]:
    """Describe the frames that frames from a file index on supersede, each with what does it."""
    sizes = _sizes(reader)
    return [
        {
            **_entry(reader, old, sizes),
            "by": frame_name(reader.frames[new].time, reader.frames[new].provenance),
        }
        for old, new in sorted(superseded(reader.frames).items())
        if new >= first
    ]


def missing_entries(
    asked: Sequence[Listed], got: Collection[np.datetime64], lost: Sequence[Loss]
) -> list[dict[str, Any]]:
    """Describe frames that were asked for, but did not come.

    Parameters
    ----------
    asked : sequence of Listed
    got : collection of datetime64[s]
        Times of those that came.
    lost : sequence of Loss
        What the source says of the others.

    Returns
    -------
    list of dict
        Per frame its name, ``error`` and ``message``; None where the source says nothing.
    """
    reasons = {loss.time: loss for loss in lost}
    entries = []
    for frame in asked:
        if frame.time not in got:
            name = frame_name(int(frame.time.astype(np.int64)), frame.provenance)
            loss = reasons.get(name["time"])
            why = (None, None) if loss is None else (loss.error, loss.message)
            entries.append({**name, "error": why[0], "message": why[1]})
    return entries


def _entry(reader: ArchiveReader, index: int, sizes: Counter[int]) -> dict[str, Any]:
    record = reader.frames[index]
    return {
        **frame_name(record.time, record.provenance),
        "bytes": sizes[index],
        "clear_share": round(FrameStats.unpack(record.stats).clear_share, 4),
    }


def _sizes(reader: ArchiveReader) -> Counter[int]:
    sizes: Counter[int] = Counter()
    for key, unit in reader.units.items():
        if key.kind is not Kind.BACKGROUND:
            sizes[key.frame] += unit.length
    return sizes
