"""Make training cubes (``.npz``) from any stvc source, or from NetCDF files.

    python data_pipelines/make_training_cubes.py --source sample --aoi FIELD.geojson -o cubes/
    python data_pipelines/make_training_cubes.py field1.nc field2.nc -o cubes/

One file per place and native grid: ``x`` (T, C, H, W) uint16 DN, ``bands``, ``dates``, ``mask``
(T, H, W) 1 = hidden. Frames with less than ``--min-clear`` clear pixels are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from stvc.dataset import series_from_dataset
from stvc.masks import hidden, hidden_on_grid
from stvc.types import Series


def write_cubes(series: Series, name: str, out: Path, min_clear: float) -> list[Path]:
    """Write one cube per native grid of a series; returns the files."""
    unclear = hidden(series.classes, series.mask.kind)
    written = []
    for grid, pixels in zip(series.grids, series.pixels, strict=True):
        mask = hidden_on_grid(unclear, series.mask, grid) | (pixels == 0).all(1)
        kept = 1 - mask.mean((1, 2)) >= min_clear
        if not kept.any():
            print(f"{name} {','.join(grid.bands)}: no frame is clear enough")
            continue
        # train/cubes.py tells 20 m groups by their file name
        suffix = "_20m" if round(grid.gsd) == 20 else ""
        path = out / f"{name}_{'-'.join(grid.bands)}{suffix}.npz"
        np.savez_compressed(
            path,
            x=pixels[kept],
            bands=np.array(grid.bands),
            dates=series.times[kept].astype(str),
            mask=mask[kept].astype(np.uint8),
        )
        written.append(path)
    return written


def main() -> None:
    """Read the command line, write the cubes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "files", nargs="*", type=Path, help="NetCDF files with one variable per band"
    )
    parser.add_argument("--source", help="an stvc source, instead of files")
    parser.add_argument("--aoi", help="GeoJSON file, with --source")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--min-clear", type=float, default=0.05)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    series: list[tuple[str, Series]] = []
    if options.source:
        from stvc.aoi import read_aoi
        from stvc.source import get_source

        aoi = read_aoi(options.aoi)
        ds = get_source(options.source).fetch(aoi, start=None, end=None, bands=None, exclude=())
        series.append((aoi.name or options.source, series_from_dataset(ds)))
    for path in options.files:
        import xarray as xr

        with xr.open_dataset(path) as ds:
            series.append((path.stem, series_from_dataset(ds.load())))
    for name, one in series:
        for written in write_cubes(one, name, options.out, options.min_clear):
            print(written)


if __name__ == "__main__":
    main()
