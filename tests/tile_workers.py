"""What workers of a cluster are asked to do by tests; importable there by name."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import scenes

import stvc
from stvc.codec.tile_job import CodedTile, TileJob, work
from stvc.monitor.cluster import on_workers

WIDE = (8, 392)
"""Two tiles, one of them narrow."""


def wide_series(dates: int) -> Any:
    """Two native grids, of which the finer one has two tiles."""
    groups = {"": ("B04", "B08"), "20": ("B11",)}
    return scenes.dataset(dates, WIDE, groups=groups, mask="SCL", mask_suffix="20", crs=True)


def encode_there(path: str, marker: str) -> None:
    """Encode and append as a task of a cluster; a worker dies of the first second tile."""
    ds = wide_series(5)

    def spread(
        work_: Callable[[TileJob], list[CodedTile]], jobs: Sequence[TileJob]
    ) -> list[list[CodedTile]]:
        assert work_ is work
        return on_workers(partial(die_once, Path(marker)), jobs)

    stvc.encode(ds.isel(time=slice(0, 3)), path, max_error=40, spread=spread)
    stvc.append(ds.isel(time=slice(3, 5)), path, spread=spread)


def die_once(marker: Path, job: TileJob) -> list[CodedTile]:
    """Do a tile's work; the first who meets tile 1 does not survive it."""
    if job.tile.index == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return work(job)
