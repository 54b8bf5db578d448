"""How every field of a job stands, read from archives' indexes and from the last runs' memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stvc.archive import ArchiveReader
from stvc.codec.frame_stats import FrameStats
from stvc.errors import StvcError
from stvc.monitor.fields import Job
from stvc.monitor.refusals import Refusals
from stvc.monitor.state import read_state
from stvc.versions import superseded


@dataclass(frozen=True)
class FieldStatus:
    """One field."""

    field: str
    frames: int = 0
    """Dates, superseded versions not counted."""
    superseded: int = 0
    first_date: str | None = None
    last_date: str | None = None
    clear_share: float | None = None
    """Mean over dates."""
    bytes: int = 0
    ratio: float | None = None
    """Raw pixels to file."""
    last_run: str | None = None
    last_success: str | None = None
    failures: int = 0
    """Failed runs in a row."""
    last_error: str | None = None
    """Message of the last run if it failed, or what is wrong with the archive or the field."""
    refused: tuple[dict[str, Any], ...] = ()
    """Frames that are not asked for again: time, product_id, baseline, error, message, at, runs."""
    readable: bool = True
    """False if there is an archive that cannot be opened."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def statuses(job: Job) -> Iterator[FieldStatus]:
    """Tell how each field of a job stands; decodes nothing, asks no source.

    Parameters
    ----------
    job : Job

    Yields
    ------
    FieldStatus
        In the order of the job.
    """
    for field in job.fields:
        if field.problem is not None:
            yield FieldStatus(field.id, last_error=field.problem)
            continue
        path = job.archive(field)
        state = read_state(path)
        message = (state.last_error or {}).get("message")
        known: dict[str, Any] = {
            "last_run": state.last_run,
            "last_success": state.last_success,
            "failures": state.failures,
            "last_error": None if message is None else str(message),
            "refused": tuple(refusal.told() for refusal in Refusals(state.refused).final()),
        }
        if path.exists():
            try:
                known |= _archive(path)
            except (StvcError, OSError) as error:
                known |= {"last_error": str(error), "readable": False}
        yield FieldStatus(field.id, **known)


def _archive(path: Path) -> dict[str, Any]:
    with ArchiveReader.open(path) as reader:
        frames = reader.frames
        gone = superseded(frames)
        shown = [frame for k, frame in enumerate(frames) if k not in gone]
        times = sorted(frame.time for frame in shown)
        shares = [FrameStats.unpack(frame.stats).clear_share for frame in shown]
        raw = 2 * _samples(reader.header) * len(frames)
        return {
            "frames": len(shown),
            "superseded": len(gone),
            "first_date": _iso(times[0]) if times else None,
            "last_date": _iso(times[-1]) if times else None,
            "clear_share": round(float(np.mean(shares)), 4) if shares else None,
            "bytes": reader.size,
            "ratio": round(raw / reader.size, 2) if raw else None,
        }


def _samples(header: dict[str, Any]) -> int:
    """Samples of one frame; 0 if the header does not tell."""
    try:
        return sum(
            len(grid["bands"]) * _length(grid["y"]) * _length(grid["x"]) for grid in header["grids"]
        )
    except (KeyError, TypeError, ValueError, IndexError):
        return 0


def _length(axis: list[Any]) -> int:
    return len(axis) - 1 if axis[0] == "values" else int(axis[2])


def _iso(seconds: int) -> str:
    return str(np.datetime64(seconds, "s"))
