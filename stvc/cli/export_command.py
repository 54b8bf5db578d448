"""Declaration of ``stvc export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stvc import console
from stvc.cli import flags
from stvc.cli.options import read_bands, read_date, read_period, refuse_stdout


class Form(StrEnum):
    """What an archive can be exported to."""

    cog = "cog"
    geotiff = "geotiff"
    netcdf = "netcdf"
    zarr = "zarr"


class Compress(StrEnum):
    """How rasters are compressed, without loss."""

    deflate = "deflate"
    zstd = "zstd"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(export)


def export(
    archive: flags.Archive,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="A directory for rasters, or a .nc, .zarr or .tif name.",
        ),
    ],
    form: Annotated[
        Form | None,
        typer.Option("--format", help="Default: by the output's name; a directory gets COGs."),
    ] = None,
    date: flags.Day = None,
    start: flags.Start = None,
    end: flags.End = None,
    bands: flags.Bands = None,
    compress: Annotated[
        Compress, typer.Option(help="Lossless compression of rasters.")
    ] = Compress.deflate,
    split_bands: Annotated[
        bool,
        flags.switch("--split-bands", help="Rasters: one file per band, not per grid."),
    ] = False,
    dn: Annotated[
        bool,
        flags.switch("--dn", help="NetCDF, Zarr: no scale_factor, so that readers see DN."),
    ] = False,
    on_error: flags.OnErrorFlag = flags.OnError.stop,
    cache_dir: flags.CacheDir = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> int:
    """Export an archive, or some of its dates and bands, to COG, GeoTIFF, NetCDF or Zarr.

    Rasters hold DN (0 = nodata) with scale and offset: one file per date and native grid, and one
    for the mask. Dates are decoded one by one; what an interrupted export has written is whole.

    \b
    Examples:
      stvc export field.stvc -o cogs/
      stvc export field.stvc -o cogs/ --start 2020-05-01 --end 2020-09-30 --split-bands
      stvc export field.stvc -o field.nc --bands B04,B08
      stvc export field.stvc -o field.zarr
      stvc export field.stvc -o june.tif --date 2020-06-30 --bands B02,B03,B04 --compress zstd
    """  # noqa: D301
    refuse_stdout(output)
    console.log_to_stderr(verbose, quiet=quiet)
    first, last = read_period(start, end)

    from stvc.cli import export as work

    return work.export(
        work.ExportRequest(
            archive=archive,
            out=output,
            form=form,
            on_day=read_date(date, "--date"),
            start=first,
            end=last,
            bands=read_bands(bands),
            compress=compress.value,
            split_bands=split_bands,
            dn=dn,
            on_error=on_error.value,
            cache_dir=cache_dir,
            as_json=as_json,
            quiet=quiet,
        )
    )
