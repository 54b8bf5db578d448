"""Time series to measure on: from .npz or NetCDF files, cut to size, on their native grids."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.bands import find_band
from stvc.errors import CorruptInputError
from stvc.masks import hidden, hidden_on_grid
from stvc.types import U8, U16, GroupGrid, MaskGrid, Series

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cut:
    """Which part of a cube is measured."""

    dates: int | None = None
    """First that many dates; None for all."""
    crop: int | None = None
    """Side of the central crop in pixels of the finest grid; None for all."""
    group: str = "all"
    """``"10"``, ``"20"``, ``"60"``: bands of that native GSD; ``"all"``."""
    native: bool = True
    """Take bands that are exact repetitions of coarser pixels back to their own grid."""


@dataclass(frozen=True)
class Cube:
    """A time series with its name and, per band group, the pixels that hide the ground."""

    name: str
    """File name without its suffix."""
    series: Series
    """Pixels, grids, mask classes."""
    hidden: tuple[Bool, ...]
    """Per group: (T, H, W), true = cloud, shadow or nodata."""

    @property
    def samples(self) -> int:
        """Number of samples over all groups."""
        return sum(group.size for group in self.series.pixels)

    @property
    def shape(self) -> str:
        """Dates and, per group, bands and size, as in ``30x(4x128x128)``."""
        groups = "+".join("x".join(map(str, grid.shape)) for grid in self.series.grids)
        return f"{len(self.series.times)}x({groups})"


def load_cube(path: Path, cut: Cut = Cut()) -> Cube:
    """Read a cube.

    Parameters
    ----------
    path : Path
        ``.npz`` with ``x`` (T, C, H, W) uint16 and optionally ``mask`` (T, H, W) 1 = hidden,
        ``scl`` (T, H, W), ``bands``, ``dates``; or a NetCDF file with one (time, y, x) variable
        per band, optionally ``SCL`` or ``mask``.
    cut : Cut
        Which part.

    Returns
    -------
    Cube
        Dates ascending; unknown dates become 5-day steps.

    Raises
    ------
    CorruptInputError
        If the file holds no such cube, or nothing is left of it after the cut.
    """
    try:
        series = _read_npz(path, cut) if path.suffix == ".npz" else _read_netcdf(path)
    except (OSError, KeyError, ValueError) as error:
        raise CorruptInputError(f"{path} holds no cube that can be measured: {error}") from error
    series = _cut(series, cut)
    flags = hidden(series.classes, series.mask.kind)
    return Cube(
        path.stem, series, tuple(hidden_on_grid(flags, series.mask, grid) for grid in series.grids)
    )


def find_cubes(names: list[str]) -> list[Path]:
    """List the cube files that names stand for.

    Parameters
    ----------
    names : list of str
        Files, folders (all ``.npz`` and ``.nc`` in them), or ``"sample"``: the Sentinel-2 series
        that the package ``nrt`` brings along.

    Raises
    ------
    CorruptInputError
        If a name stands for no file.
    """
    found: list[Path] = []
    for name in names:
        path = _sample_path() if name == "sample" else Path(name)
        files = (
            [path]
            if path.is_file()
            else sorted(file for file in path.glob("*") if file.suffix in (".npz", ".nc"))
        )
        if not files:
            raise CorruptInputError(f"{name}: no such cube file, nor a folder with any")
        found += files
    return found


def nominal_gsd(band: str) -> int | None:
    """Native GSD of a Sentinel-2 band in m; None for any other band."""
    known = find_band(band)
    return known.gsd if known else None


def _sample_path() -> Path:
    spec = importlib.util.find_spec("nrt")
    if spec is None or not spec.submodule_search_locations:
        raise CorruptInputError(
            "the cube `sample` is in a package: pip install --no-deps nrt==0.2.1"
        )
    folder = Path(spec.submodule_search_locations[0], "data")
    return folder / "sentinel2_cube_subset_romania_10m.nc"


def _read_npz(path: Path, cut: Cut) -> Series:
    with np.load(path) as file:
        # cut the dates first: what is left out need not be looked through for repeated pixels
        first = slice(cut.dates)
        x: U16 = file["x"][first]
        if x.dtype != np.uint16 or x.ndim != 4:
            raise CorruptInputError(f"x is {x.dtype} {x.shape}, expected uint16 (T, C, H, W)")
        names = (
            list(map(str, file["bands"]))
            if "bands" in file
            else [f"band{i + 1}" for i in range(x.shape[1])]
        )
        classes, kind = np.zeros((len(x), 0, 0), np.uint8), "none"
        if "mask" in file:
            classes, kind = (file["mask"][first] != 0).astype(np.uint8), "mask"
        elif "scl" in file:
            classes, kind = file["scl"][first].astype(np.uint8), "SCL"
        times = _times(list(map(str, file["dates"][first])) if "dates" in file else [], len(x))
        meta = json.loads(str(file["meta"])) if "meta" in file else {}
    base = float(meta.get("res") or 10.0)
    by_factor: dict[int, list[int]] = {}
    for band, name in enumerate(names):
        factor = _repetition(x[:, band], name, names) if cut.native else 1
        by_factor.setdefault(factor, []).append(band)
    grids, pixels = [], []
    for factor, chosen in sorted(by_factor.items()):
        y, x_axis = _centers(x.shape[2:], factor, base)
        suffix = "" if factor == 1 else f"{base * factor:g}"
        grids.append(GroupGrid(suffix, tuple(names[b] for b in chosen), y, x_axis))
        pixels.append(np.ascontiguousarray(x[:, chosen, ::factor, ::factor]))
    factor = next((f for f in sorted(by_factor, reverse=True) if _repeats(classes, f)), 1)
    suffix = "" if factor == 1 else f"{base * factor:g}"
    mask = MaskGrid(kind, suffix, *_centers(classes.shape[1:], factor, base))
    return _ascending(
        Series(times, tuple(grids), tuple(pixels), mask, classes[:, ::factor, ::factor])
    )


def _read_netcdf(path: Path) -> Series:
    import xarray as xr

    from stvc.dataset import series_from_dataset

    with xr.open_dataset(path, mask_and_scale=False) as opened:
        cube = opened.load()
    for name in ("SCL", "mask"):
        if name in cube:
            cube[name] = cube[name].astype(np.uint8 if name == "SCL" else bool)
    return series_from_dataset(cube)


def _repetition(band: U16, name: str, names: list[str]) -> int:
    """How many times over each pixel of a (T, H, W) band was repeated on the cube's grid."""
    gsd = nominal_gsd(name) or 0
    finest = min(filter(None, map(nominal_gsd, names)), default=0)
    # Only a band that is coarser by its name: a constant 10 m band is no repeated 20 m band.
    factors = [f for f in (6, 3, 2) if gsd >= f * finest > 0]
    return next((f for f in factors if _repeats(band, f)), 1)


def _repeats(stack: U16 | U8, factor: int) -> bool:
    """Tell whether (T, H, W) consists of factor x factor blocks of one value."""
    t, h, w = stack.shape
    if h % factor or w % factor:
        return False
    blocks = stack.reshape(t, h // factor, factor, w // factor, factor)
    return bool((blocks == blocks[:, :, :1, :, :1]).all())


def _centers(size: tuple[int, ...], factor: int, base: float) -> tuple[Any, Any]:
    """Pixel centers (y descending, x ascending) of a grid over ``size`` finest pixels, in m."""
    height, width = size
    y = (height - factor * (np.arange(height // factor) + 0.5)) * base
    return y, factor * (np.arange(width // factor) + 0.5) * base


def _times(dates: list[str], count: int) -> npt.NDArray[np.datetime64]:
    try:
        return np.array([np.datetime64(date, "s") for date in dates]).reshape(count)
    except ValueError:
        days = 91 if dates and dates[0].startswith("season") else 5
        return np.datetime64("2020-01-01", "s") + np.arange(count) * np.timedelta64(days, "D")


def _ascending(series: Series) -> Series:
    """Sort by time; of equal times, the later ones move on by a second each."""
    order = np.argsort(series.times, kind="stable")
    seconds = series.times[order].astype(np.int64)
    steps = np.arange(len(order))
    distinct = np.maximum.accumulate(seconds - steps) + steps
    return replace(
        series,
        times=distinct.astype("datetime64[s]"),
        classes=series.classes[order],
        pixels=tuple(group[order] for group in series.pixels),
    )


def _cut(series: Series, cut: Cut) -> Series:
    keep, mask = slice(cut.dates), series.mask
    heights = [len(grid.y) for grid in series.grids]
    widths = [len(grid.x) for grid in series.grids]
    grids, pixels = [], []
    for grid, group in zip(series.grids, series.pixels, strict=True):
        bands = [
            i
            for i, band in enumerate(grid.bands)
            if cut.group == "all" or nominal_gsd(band) == int(cut.group)
        ]
        if bands:
            rows = _window(len(grid.y), heights, cut.crop)
            columns = _window(len(grid.x), widths, cut.crop)
            grids.append(
                GroupGrid(
                    grid.suffix, tuple(grid.bands[i] for i in bands), grid.y[rows], grid.x[columns]
                )
            )
            pixels.append(np.ascontiguousarray(group[keep, :, rows, columns][:, bands]))
    if not grids or not len(series.times[keep]):
        raise CorruptInputError(f"nothing is left of the cube with {cut}")
    rows, columns = _window(len(mask.y), heights, cut.crop), _window(len(mask.x), widths, cut.crop)
    return replace(
        series,
        times=series.times[keep],
        grids=tuple(grids),
        pixels=tuple(pixels),
        mask=replace(mask, y=mask.y[rows], x=mask.x[columns]),
        classes=series.classes[keep, rows, columns],
        provenance=series.provenance[keep],
    )


def _window(length: int, lengths: list[int], crop: int | None) -> slice:
    """Central window of one axis of one grid, at pixel edges of the coarsest of all grids."""
    finest, coarsest = max(lengths), min(lengths)
    if crop is None or crop >= finest:
        return slice(None)
    edge = finest // coarsest
    start = (finest - crop) // 2 // edge * edge
    stop = start - (-crop // edge) * edge
    factor = max(1, finest // max(length, 1))
    return slice(start // factor, stop // factor)
