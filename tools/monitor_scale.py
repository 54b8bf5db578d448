"""Measure a monitoring run over 1, 10, 100 and 1,000 fields: fields per second, memory, bytes.

    python tools/monitor_scale.py --fields 1 10 100 1000 --dates 3 --workers 1

Each size is two runs in a process of its own: one that writes all archives, one a "morning" later
that appends a single date to each. The frames come from memory (textured ground with clouds), so
that what is measured is stvc's own cost per field, without any network. Memory is flat if the peak
of 1,000 fields is that of 10.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Collection, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from stvc.aoi import Aoi

FIRST = date(2024, 5, 1)
EVERY_DAYS = 5
BANDS = ("B02", "B03", "B04", "B08")


class GroundSource:
    """A smooth place with noise, 10 m pixels, four bands; a date every five days, for ever."""

    name = "ground"

    def __init__(self, side: int = 32) -> None:
        self._side = side

    def ground(self) -> None:
        """Cover everything."""

    def dates(self, aoi: Aoi, start: date | None, end: date | None) -> Any:
        """List a date every five days."""
        count = ((end or FIRST) - FIRST).days // EVERY_DAYS + 1
        days = [FIRST + k * timedelta(EVERY_DAYS) for k in range(max(count, 0))]
        days = [day for day in days if start is None or day >= start]
        return np.array(days, "datetime64[s]")

    def fetch(
        self,
        aoi: Aoi,
        start: date | None,
        end: date | None,
        bands: Sequence[str] | None,
        exclude: Collection[np.datetime64],
    ) -> xr.Dataset:
        """Make the frames."""
        import xarray as xr

        times = np.array([t for t in self.dates(aoi, start, end) if t not in exclude], "M8[ns]")
        side, seed = self._side, int.from_bytes(aoi.name.encode()[-6:])
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:side, 0:side] / side
        waves = rng.uniform(2, 12, (4, 2))
        base = sum(np.sin(a * y + b * x) for a, b in waves)
        pixels = np.stack(
            [
                [
                    base * 150 + 800 * (band + 1) + rng.normal(0, 15, (side, side))
                    for band in range(4)
                ]
                for _ in times
            ]
        ).reshape(len(times), 4, side, side)
        axes = {"y": 5e6 - 10.0 * np.arange(side), "x": 4e5 + 10.0 * np.arange(side)}
        variables = {
            name: (("time", "y", "x"), np.rint(pixels[:, c]).clip(1, 10_000).astype(np.uint16))
            for c, name in enumerate(BANDS)
        }
        return xr.Dataset(variables, {"time": times, **axes})


def work(task: Any) -> Any:
    """Do a field's work in a process that does not know the source yet."""
    from stvc import source
    from stvc.monitor.field_run import run_field

    source._REGISTRY["ground"] = "monitor_scale:GroundSource"
    return run_field(task)


def job_of(folder: Path, fields: int, side: int) -> Path:
    """Write a job of equal squares."""
    corners = [[14, 45], [14.004, 45], [14.004, 45.003], [14, 45.003], [14, 45]]
    shape = {"type": "Polygon", "coordinates": [corners]}
    features = [
        {"type": "Feature", "properties": {"id": f"field-{k:05d}"}, "geometry": shape}
        for k in range(fields)
    ]
    (folder / "fields.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )
    path = folder / "fields.toml"
    path.write_text(
        f'[defaults]\nsource = "ground"\n[sources.ground]\nside = {side}\n'
        '[[fields]]\nfile = "fields.geojson"\n'
    )
    return path


def measure(fields: int, dates: int, side: int, workers: int, answer: Any) -> None:
    """Run a job twice; send one row of results."""
    from stvc import source
    from stvc.monitor import runner
    from stvc.monitor.events import EventLog
    from stvc.monitor.executors import InProcess, Processes
    from stvc.monitor.fields import read_job

    source._REGISTRY["ground"] = "monitor_scale:GroundSource"
    runner._executor = lambda options: InProcess() if workers == 1 else Processes(workers, work)
    last = FIRST + (dates - 1) * timedelta(EVERY_DAYS)
    with tempfile.TemporaryDirectory() as name, open(os.devnull, "w") as nowhere:
        job = read_job(job_of(Path(name), fields, side))
        row: dict[str, Any] = {"fields": fields, "workers": workers, "dates": dates, "side": side}
        work(_warm_up(job, last))
        row["rss_start_mb"] = _peak()
        runs = (("write", last), ("append", last + timedelta(EVERY_DAYS)))
        for what, today in runs:
            wall, processor = time.perf_counter(), _processor()
            code = runner.run(job, runner.RunOptions(today=today), EventLog(nowhere))
            if code:
                raise SystemExit(f"the {what} run of {fields} fields returned {code}")
            row[f"{what}_s_per_field"] = round((time.perf_counter() - wall) / fields, 4)
            row[f"{what}_cpu_s_per_field"] = round((_processor() - processor) / fields, 4)
        row["fields_per_minute"] = round(60 / row["append_s_per_field"], 1)
        row["rss_peak_mb"] = _peak()
        row["bytes_per_field"] = (
            sum(p.stat().st_size for p in job.archives.glob("*.stvc")) // fields
        )
    answer.put(row)


def _warm_up(job: Any, today: date) -> Any:
    """One field beside the job: imports and the model are not what is measured."""
    from dataclasses import replace

    from stvc.monitor import runner

    task = runner._task(job, job.fields[0], runner.RunOptions(today=today))
    return replace(task, id="warm", archive=job.path.parent / "warm" / "warm.stvc")


def _peak() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round(max(own, children) / 1024, 1)


def _processor() -> float:
    used = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def main() -> None:
    """Measure each size and print a table; one JSON object a row with ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--dates", type=int, default=3, help="dates of a new archive")
    parser.add_argument("--side", type=int, default=32, help="pixels a side, 10 m")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for number, fields in enumerate(options.fields):
        answer = context.Queue()
        process = context.Process(
            target=measure, args=(fields, options.dates, options.side, options.workers, answer)
        )
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(process.exitcode)
        row = answer.get()
        if options.json:
            print(json.dumps(row), flush=True)
            continue
        if number == 0:
            print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
        print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
