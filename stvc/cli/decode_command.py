"""``stvc decode``, declared."""

from __future__ import annotations

from typing import Annotated

import typer

from stvc import console
from stvc.cli import flags
from stvc.cli.options import read_bands, read_date, read_period, refuse_stdout


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(decode)


def decode(
    archive: flags.Archive,
    output: flags.DecodeOutput,
    form: flags.Form = None,
    date: flags.Day = None,
    start: flags.Start = None,
    end: flags.End = None,
    bands: flags.Bands = None,
    fill: Annotated[
        bool,
        flags.switch(
            "--fill",
            help="Cloud-free: predictions under clouds, marked by a variable, filled.",
        ),
    ] = False,
    on_error: flags.OnErrorFlag = flags.OnError.stop,
    cache_dir: flags.CacheDir = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> int:
    """Decode an archive, or some of its dates and bands, to NetCDF or GeoTIFF.

    Pixels are DN (uint16, 0 = nodata). GeoTIFFs: one file per date and native grid, and the mask.

    \b
    Examples:
      stvc decode field.stvc -o field.nc
      stvc decode field.stvc -o cloudfree.nc --fill
      stvc decode field.stvc -o tiles/ --start 2020-05-01 --end 2020-09-30
      stvc decode field.stvc -o june.tif --date 2020-06-30 --bands B02,B03,B04
    """  # noqa: D301
    refuse_stdout(output)
    console.log_to_stderr(verbose, quiet=quiet)
    first, last = read_period(start, end)

    from stvc.cli import decode as work

    return work.decode(
        work.DecodeRequest(
            archive=archive,
            out=output,
            form=form,
            on_day=read_date(date, "--date"),
            start=first,
            end=last,
            bands=read_bands(bands),
            fill=fill,
            on_error=on_error.value,
            cache_dir=cache_dir,
            as_json=as_json,
            quiet=quiet,
        )
    )
