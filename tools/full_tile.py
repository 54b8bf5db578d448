"""Encode and decode mosaics up to a whole Sentinel-2 tile: processor time, memory, file size.

    python tools/full_tile.py --sides 256 512 1024 2048 4096 10980 --effort fast

Repeats a cube, every second time mirrored so that no seam shows, to squares of the sides asked for,
and codes the first dates that are nearly clear, with bands of 10 m and scene classes of 20 m, as
Sentinel-2 products have them. Each step is a process of its own:

- encode: the mosaic in memory, ``stvc.encode``;
- tiles: the archive opened as a lazy dataset, read tile by tile; every clear pixel is held against
  the mosaic, and what a tile misses must be what the encoder noted in the index;
- whole: ``stvc.open(path).to_xarray()``, all pixels in memory at once.

With ``--append`` one more date is appended after that.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import xarray as xr

    from stvc.types import Series

SENTINEL_2_TILE = 10_980
SIDES = (256, 512, 1024, 2048, 4096, SENTINEL_2_TILE)
NEARLY_CLEAR = 0.9
NATURAL_CLASSES = 5
"""Scene classes of a date whose mask is as intricate as one of a whole tile."""
# ^ the parent imports nothing heavy: what it holds would count in the peaks of its children


@dataclass(frozen=True)
class Task:
    """What all steps of one side share."""

    cube: str
    side: int
    dates: int
    settings: dict[str, Any]
    path: Path


class Mosaic:
    """A cube's clearest dates, repeated to a square; made afresh wherever it is looked at.

    Parameters
    ----------
    cube : str
        As ``tools/bench_peers/cubes.py`` finds it; of its bands those of 10 m.
    side : int
        Pixels of 10 m.
    dates : range
        Which of the dates that are nearly clear.
    """

    def __init__(self, cube: str, side: int, dates: range) -> None:
        import numpy as np

        sys.path.insert(0, str(Path(__file__).resolve().parent))
        from bench_peers.cubes import Cut, find_cubes, load_cube

        from stvc.masks import hidden, hidden_on_grid

        series = _even(load_cube(find_cubes([cube])[0], Cut(group="10")).series)
        flags = hidden_on_grid(
            hidden(series.classes, series.mask.kind), series.mask, series.grids[0]
        )
        clear = np.flatnonzero(1 - flags.mean((1, 2)) >= NEARLY_CLEAR)
        found = [k for k in clear if len(np.unique(series.classes[k])) >= NATURAL_CLASSES]
        found = found if len(found) >= dates.stop else list(clear)
        if len(found) < dates.stop:
            raise SystemExit(f"{cube}: {len(found)} dates are nearly clear, {dates.stop} wanted")
        chosen = found[dates.start : dates.stop]
        self.grid, self.mask = series.grids[0], series.mask
        self.times = series.times[chosen]
        self._pixels = series.pixels[0][chosen]
        self._classes = series.classes[chosen]
        self._hidden = flags[chosen]
        self.side = side

    def pixels(self, rows: slice, columns: slice) -> npt.NDArray[np.uint16]:
        """(T, C, h, w) DN of a box."""
        return _box(self._pixels, rows, columns)

    def clear(self, rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
        """(T, h, w): neither under clouds nor nodata."""
        import numpy as np

        shown = _box(self._pixels, rows, columns).any(1)
        return np.asarray(~_box(self._hidden, rows, columns) & shown)

    def dataset(self) -> xr.Dataset:
        """All of it, in memory; bands are views of one array, as of a file that is read at once."""
        import numpy as np
        import xarray as xr

        side = self.side
        whole = np.empty((*self._pixels.shape[:2], side, side), np.uint16)
        for start in range(0, side, 512):
            rows = slice(start, min(start + 512, side))
            whole[:, :, rows] = self.pixels(rows, slice(0, side))
        variables: dict[str, Any] = {
            band: (("time", "y", "x"), whole[:, c]) for c, band in enumerate(self.grid.bands)
        }
        coords: dict[str, Any] = {"time": self.times.astype("datetime64[ns]")}
        coords |= {"y": _longer(self.grid.y, side), "x": _longer(self.grid.x, side)}
        if self.mask.kind != "none":
            suffix = self.mask.suffix
            factor = round(len(self.grid.y) / len(self.mask.y))  # 1 of 10 m, 2 of 20 m
            least = slice(0, -(-side // factor))
            classes = _box(self._classes, least, least)
            shown = classes.astype(bool) if self.mask.variable == "mask" else classes
            variables[self.mask.variable] = (("time", "y" + suffix, "x" + suffix), shown)
            coords |= {"y" + suffix: _longer(self.mask.y, least.stop)}
            coords |= {"x" + suffix: _longer(self.mask.x, least.stop)}
        return xr.Dataset(variables, coords)


def _even(series: Series) -> Series:
    """Cut a cube to an even size, and bring classes that were repeated to 10 m back to 20 m."""
    from dataclasses import replace

    grid, mask = series.grids[0], series.mask
    height, width = (len(axis) // 2 * 2 for axis in (grid.y, grid.x))
    if mask.kind == "none" or len(mask.y) != len(grid.y):
        return series
    return replace(
        series,
        grids=(replace(grid, y=grid.y[:height], x=grid.x[:width]),),
        pixels=(series.pixels[0][:, :, :height, :width],),
        mask=replace(
            mask,
            suffix="20",
            y=grid.y[:height].reshape(-1, 2).mean(1),
            x=grid.x[:width].reshape(-1, 2).mean(1),
        ),
        classes=series.classes[:, :height:2, :width:2],
    )


def _box(stack: npt.NDArray[Any], rows: slice, columns: slice) -> npt.NDArray[Any]:
    """Cut a box out of the endless mirrored repetition of (..., H, W)."""
    import numpy as np

    def places(wanted: slice, length: int) -> npt.NDArray[np.intp]:
        times, within = np.divmod(np.arange(wanted.start, wanted.stop), length)
        return np.asarray(np.where(times % 2 == 1, length - 1 - within, within), np.intp)

    down = stack.take(places(rows, stack.shape[-2]), axis=-2)
    return down.take(places(columns, stack.shape[-1]), axis=-1)


def _longer(axis: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Go on with an axis in its steps."""
    import numpy as np

    step = float(axis[1] - axis[0]) if len(axis) > 1 else 10.0
    return np.asarray(float(axis[0]) + step * np.arange(count), np.float64)


class Clock:
    """Processor time of what is measured, without what checks it."""

    def __init__(self) -> None:
        self.cpu = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the block."""
        before = time.process_time()
        yield
        self.cpu += time.process_time() - before


def encode(task: Task) -> dict[str, Any]:
    """Encode the mosaic."""
    import stvc

    ds = Mosaic(task.cube, task.side, range(task.dates)).dataset()
    clock, before = Clock(), _peak()
    with clock.running():
        stvc.encode(ds, task.path, **task.settings)
    return {"cpu": clock.cpu, "before_mb": before, "bytes": task.path.stat().st_size}


def tiles(task: Task) -> dict[str, Any]:
    """Decode tile by tile, and hold every clear pixel against the mosaic."""
    import numpy as np
    import xarray as xr

    from stvc.archive import ArchiveReader, Kind, UnitKey
    from stvc.codec.frame_stats import error_stats
    from stvc.header import open_place

    mosaic, clock, unlike = Mosaic(task.cube, task.side, range(task.dates)), Clock(), 0
    with ArchiveReader.open(task.path) as reader:
        noted = reader.units
        index_of = {frame.time: k for k, frame in enumerate(reader.frames)}
        cuts = open_place(reader, with_background=False).place.tiles(0)
    frames = [index_of[int(t)] for t in mosaic.times.astype("datetime64[s]").astype(np.int64)]
    with clock.running():
        ds = xr.open_dataset(task.path, engine="stvc", cache=False, mask_and_scale=False)
    for tile in cuts:
        with clock.running():
            part = ds[list(mosaic.grid.bands)].isel(y=tile.rows, x=tile.columns)
            shown = np.stack([part[band].values for band in mosaic.grid.bands], 1)
        original = mosaic.pixels(tile.rows, tile.columns)
        clear = mosaic.clear(tile.rows, tile.columns)
        for t, frame in enumerate(frames):
            found = error_stats(original[t], shown[t], clear[t], alone=len(cuts) == 1)
            if found != noted[UnitKey(Kind.PIXELS, frame, 0, tile.index)].stats:
                unlike += int(clear[t].sum())
    return {"cpu": clock.cpu, "unlike": unlike}


def whole(task: Task) -> dict[str, Any]:
    """Decode everything at once."""
    import stvc

    clock = Clock()
    with clock.running():
        stvc.open(task.path).to_xarray()
    return {"cpu": clock.cpu}


def append(task: Task) -> dict[str, Any]:
    """Append one more date."""
    import stvc

    ds = Mosaic(task.cube, task.side, range(task.dates, task.dates + 1)).dataset()
    clock = Clock()
    with clock.running():
        stvc.append(ds, task.path)
    return {"cpu": clock.cpu, "bytes": task.path.stat().st_size}


STEPS = {step.__name__: step for step in (encode, tiles, whole, append)}


def measure(task: Task, steps: list[str]) -> dict[str, Any]:
    """Measure one side; each step in a process of its own.

    Parameters
    ----------
    task : Task
    steps : list of str
        Of `STEPS`, ``encode`` first.

    Returns
    -------
    dict
        A row of the table.
    """
    megapixels = task.side**2 * task.dates / 1e6
    row: dict[str, Any] = {"side": task.side}
    for step in steps:
        done = _apart(step, task)
        share = 1 if step != "append" else task.dates
        row[f"{step}_s_per_mpx"] = round(done["cpu"] / megapixels * share, 3)
        row[f"{step}_mb"] = done["peak_mb"]
        if step == "encode":
            bands = 4
            row["input_mb"] = done["before_mb"]
            row["encode_mb_per_s"] = round(2 * bands * megapixels / done["cpu"], 2)
            row["bytes"] = done["bytes"]
            row["bits_per_sample"] = round(8 * done["bytes"] / (bands * megapixels * 1e6), 4)
        if step == "tiles":
            row["as_encoded"] = done["unlike"] == 0
    return row


def _apart(step: str, task: Task) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_work, args=(step, task, answer))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{step} of {task.side} pixels a side failed")
    found: dict[str, Any] = answer.get()
    return found


def _work(step: str, task: Task, answer: Any) -> None:
    _warm_up(task)
    answer.put({**STEPS[step](task), "peak_mb": _peak()})


def _warm_up(task: Task) -> None:
    """Walk all paths once with 16 x 16 pixels: imports and models are not what is measured."""
    import xarray as xr

    import stvc

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "warm.stvc")
        ds = Mosaic(task.cube, 16, range(2)).dataset()
        stvc.encode(ds.isel(time=[0]), path, effort=task.settings.get("effort", "default"))
        stvc.append(ds, path)
        stvc.open(path).to_xarray()
        xr.open_dataset(path, engine="stvc").load().close()


def _peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


def main(arguments: list[str] | None = None) -> None:
    """Measure each side and print a table; one JSON object a row with ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=list(SIDES), help="pixels of 10 m")
    parser.add_argument("--cube", default="sample", help="a .npz or .nc file, or sample")
    parser.add_argument("--dates", type=int, default=1)
    parser.add_argument("--effort", choices=("fast", "default"), default="fast")
    parser.add_argument("--quality", type=float)
    parser.add_argument("--psnr", type=float, help="dB; aiming at it takes trials of the whole")
    parser.add_argument("--append", action="store_true", help="append one more date at the end")
    parser.add_argument("--no-whole", action="store_true", help="leave the decoding at once out")
    parser.add_argument("--keep", type=Path, help="a folder for the archives")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    asked = {"quality": options.quality, "psnr": options.psnr}
    settings = {"effort": options.effort, **{k: v for k, v in asked.items() if v is not None}}
    left_out = {"whole"} if options.no_whole else set()
    left_out |= set() if options.append else {"append"}
    steps = [step for step in STEPS if step not in left_out]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        for number, side in enumerate(options.sides):
            path = folder / f"tile_{side}.stvc"
            row = measure(Task(options.cube, side, options.dates, settings, path), steps)
            if options.json:
                print(json.dumps(row), flush=True)
                continue
            if number == 0:
                print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
            print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
