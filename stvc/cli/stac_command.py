"""Declaration of ``stvc stac``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stvc import console
from stvc.cli import flags
from stvc.cli.options import refuse_stdout


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(stac)


def stac(
    archives: Annotated[
        list[Path], typer.Argument(metavar="ARCHIVE...", help="The .stvc files to describe.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Directory of the catalog.")
    ],
    rasters: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Link rasters that stvc export wrote to DIR."),
    ] = None,
    license: Annotated[
        str, typer.Option(metavar="SPDX", help="License of the pixels; other: see the source.")
    ] = "other",
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> int:
    """Write a STAC catalog of archives: a Collection for each, an Item for each date.

    Nothing is decoded. Assets are linked by relative paths: move catalog and files together. Into
    a catalog that exists, collections are added; one of the same name is written anew.

    \b
    Examples:
      stvc stac field.stvc -o catalog/
      stvc stac fields/*.stvc -o catalog/
      stvc export field.stvc -o cogs/ --split-bands
      stvc stac field.stvc -o catalog/ --rasters cogs/    (one asset per band, for odc-stac)
    """  # noqa: D301
    refuse_stdout(output)
    console.log_to_stderr(verbose, quiet=quiet)

    from stvc.cli import stac as work

    return work.stac(
        work.StacRequest(
            archives=archives,
            out=output,
            rasters=rasters,
            license=license,
            as_json=as_json,
            quiet=quiet,
        )
    )
