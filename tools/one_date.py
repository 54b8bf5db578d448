"""Decode single dates out of a long archive: processor time, each from a file opened anew.

    python tools/one_date.py --dates 500 --side 64 --effort fast default

Repeats the years of a cube until there are enough dates, encodes the central square, and decodes
dates drawn at random one by one: ``stvc.open(path).to_xarray(time=date)``. A date is predicted from
others, so what counts is the median and the worst. The ``cold`` time is the first decoding of a
process that has imported stvc and nothing else: most of it is other imports and loading the model.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

YEAR_DAYS = 365.25


@dataclass(frozen=True)
class Task:
    """What is measured."""

    cube: str
    side: int
    dates: int
    effort: str
    quality: float | None
    picks: int
    path: Path


def long_dataset(cube: str, side: int, dates: int) -> xr.Dataset:
    """Repeat a cube's years.

    Parameters
    ----------
    cube : str
        As ``tools/bench_peers/cubes.py`` finds it.
    side : int
        Pixels, out of the middle.
    dates : int
        How many.

    Returns
    -------
    xarray.Dataset
    """
    from dataclasses import replace

    import numpy as np

    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from bench_peers.cubes import Cut, find_cubes, load_cube

    from stvc.dataset import dataset_from_series

    series = load_cube(find_cubes([cube])[0], Cut(crop=side)).series
    days = (series.times[-1] - series.times[0]) / np.timedelta64(1, "D")
    years = int(days // YEAR_DAYS) + 1
    laps, within = np.divmod(np.arange(dates), len(series.times))
    shift = np.rint(laps * years * YEAR_DAYS).astype("timedelta64[D]")
    return dataset_from_series(
        replace(
            series,
            times=series.times[within] + shift,
            pixels=tuple(group[within] for group in series.pixels),
            classes=series.classes[within],
            provenance=(),
        )
    )


def encode(task: Task) -> dict[str, Any]:
    """Write the archive."""
    import stvc

    ds = long_dataset(task.cube, task.side, task.dates)
    before = time.process_time()
    stvc.encode(ds, task.path, quality=task.quality, effort=task.effort)
    seconds = time.process_time() - before
    return {"bytes": task.path.stat().st_size, "encode_s_per_date": round(seconds / task.dates, 3)}


def decode(task: Task) -> dict[str, Any]:
    """Decode dates drawn at random."""
    import random

    import stvc

    with stvc.open(task.path) as archive:
        times = archive.times
    chosen = random.Random(0).sample(range(len(times)), min(task.picks, len(times)))
    spent = []
    for position in (chosen[0], *chosen):
        before = time.process_time()
        with stvc.open(task.path) as archive:
            ds = archive.to_xarray(time=times[position])
        spent.append(time.process_time() - before)
        assert ds.sizes["time"] == 1
    cold, *warm = spent
    return {
        "median_s": round(statistics.median(warm), 4),
        "worst_s": round(max(warm), 4),
        "cold_s": round(cold, 3),
    }


def measure(task: Task) -> dict[str, Any]:
    """Encode and decode, each in a process of its own.

    Parameters
    ----------
    task : Task

    Returns
    -------
    dict
        A row of the table.
    """
    row: dict[str, Any] = {"effort": task.effort, "dates": task.dates, "side": task.side}
    context = multiprocessing.get_context("spawn")
    for step in (encode, decode):
        answer = context.Queue()
        process = context.Process(target=_work, args=(step, task, answer))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{step.__name__} failed")
        row |= answer.get()
    return row


def _work(step: Any, task: Task, answer: Any) -> None:
    answer.put(step(task))


def main(arguments: list[str] | None = None) -> None:
    """Measure each effort and print a table; one JSON object a row with ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cube", default="sample", help="a .npz or .nc file, or sample")
    parser.add_argument("--dates", type=int, default=500)
    parser.add_argument("--side", type=int, default=64, help="pixels of the finest grid")
    parser.add_argument(
        "--effort", nargs="+", choices=("fast", "default"), default=["fast", "default"]
    )
    parser.add_argument("--quality", type=float)
    parser.add_argument("--picks", type=int, default=50, help="dates to decode")
    parser.add_argument("--keep", type=Path, help="a folder for the archives")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        for number, effort in enumerate(options.effort):
            path = (options.keep or Path(scratch)) / f"dates_{options.side}_{effort}.stvc"
            row = measure(
                Task(
                    options.cube,
                    options.side,
                    options.dates,
                    effort,
                    options.quality,
                    options.picks,
                    path,
                )
            )
            if options.json:
                print(json.dumps(row), flush=True)
                continue
            if number == 0:
                print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
            print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
