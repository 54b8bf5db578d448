"""Metrics of a run for node_exporter's textfile collector."""

from __future__ import annotations

import os
import time
from calendar import timegm
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stvc.monitor.results import DONE, FieldResult
from stvc.monitor.state import read_state, write_atomically

if TYPE_CHECKING:
    from stvc.monitor.runner import Totals

Sample = tuple[str, float]


def write(
    path: Path, totals: Totals, results: Iterable[FieldResult], code: int, seconds: float
) -> None:
    """Write the metrics of a run, whole or not at all.

    Parameters
    ----------
    path : Path
        ``*.prom`` in the collector's folder.
    totals : Totals
    results : iterable of FieldResult
        Of all fields of the run.
    code : int
        Exit code.
    seconds : float
        Of the run.

    Raises
    ------
    OSError
        If the file cannot be written; a file that was there stays.
    """
    write_atomically(path, "".join(_lines(totals, list(results), code, seconds)))
    os.chmod(path, 0o644)  # noqa: PTH101 - node_exporter is another user


def _lines(totals: Totals, results: list[FieldResult], code: int, seconds: float) -> Iterator[str]:
    run = "stvc_monitor_"
    yield from _gauge(run + "last_run_timestamp_seconds", "End of the last run.", time.time())
    yield from _gauge(run + "exit_code", "Exit code of the last run.", code)
    yield from _gauge(run + "duration_seconds", "Duration of the last run.", seconds)
    statuses = [(_labels(status=s), float(totals.counts[s])) for s in (*DONE, "failed", "deferred")]
    yield from _gauges(run + "fields", "Fields of the last run by outcome.", statuses)
    for name, text, value in (
        ("frames_added", "Frames appended by the last run.", totals.frames_added),
        ("frames_superseded", "Frames superseded by the last run.", totals.frames_superseded),
        ("frames_refused", "Frames that are not asked for again.", totals.frames_refused),
        ("bytes_added", "Bytes that archives grew by in the last run.", totals.bytes_added),
        ("requests", "Requests of the last run, where sources count.", totals.requests or 0),
        ("processing_units", "Processing units spent by the last run.", totals.pu or 0),
    ):
        yield from _gauge(run + name, text, value)
    each = [(_labels(field=result.id), result) for result in results]
    of = "stvc_field_"
    up = [(label, float(result.status in DONE)) for label, result in each]
    yield from _gauges(of + "up_to_date", "Whether the last run brought it up to date.", up)
    size = [(label, float(r.bytes_after)) for label, r in each if r.bytes_after]
    yield from _gauges(of + "archive_bytes", "Size of the archive.", size)
    frames = [(label, float(r.frames_total)) for label, r in each if r.bytes_after]
    yield from _gauges(of + "frames", "Frames in the archive.", frames)
    last = [(label, _seconds(r.last_date)) for label, r in each if r.last_date]
    yield from _gauges(of + "last_frame_timestamp_seconds", "Sensing of the last frame.", last)
    states = [(label, read_state(Path(r.path)).last_success) for label, r in each]
    success = [(label, _seconds(at)) for label, at in states if at]
    yield from _gauges(of + "last_success_timestamp_seconds", "Last time up to date.", success)


def _gauge(name: str, text: str, value: float) -> Iterator[str]:
    return _gauges(name, text, [("", value)])


def _gauges(name: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} gauge\n"
    for labels, value in samples:
        yield f"{name}{labels} {value:.17g}\n"


def _labels(**labels: str) -> str:
    escaped = (
        '{}="{}"'.format(key, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for key, value in labels.items()
    )
    return "{" + ",".join(escaped) + "}"


def _seconds(iso: str) -> float:
    """Seconds since 1970 of an ISO time in UTC."""
    try:
        return float(timegm(time.strptime(iso.removesuffix("Z"), "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return 0.0
