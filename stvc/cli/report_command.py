"""``stvc report``, declared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stvc import console
from stvc.cli import flags
from stvc.cli.options import refuse_stdout

Output = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="PAGE", help="The .html file; default: the archive's name."
    ),
]
Original = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="What was encoded (.nc, .zarr, .npz, .stvc, folder of GeoTIFFs): adds errors.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command()
    def report(
        archive: flags.Archive,
        output: Output = None,
        original: Original = None,
        source: flags.OriginalSource = None,
        aoi: flags.OriginalArea = None,
        cache_dir: flags.CacheDir = None,
        as_json: flags.Json = False,
        quiet: flags.Quiet = False,
        verbose: flags.Verbose = 0,
    ) -> int:
        """Write a page about an archive that opens in any browser, without a network.

        Maps of every date (true color, NDVI, mask, bits spent), NDVI curve, bytes
        per date, provenance; with the original also errors and verdicts.

        \b
        Examples:
          stvc report field.stvc -o report.html
          stvc report field.stvc -o report.html --original cube.nc
          stvc report field.stvc -o report.html --source sample --aoi field.geojson
        """  # noqa: D301 - typer reads backspace characters as "do not rewrap"
        refuse_stdout(output)
        console.log_to_stderr(verbose, quiet=quiet)

        from stvc.cli import report as work
        from stvc.cli.original import OriginalChoice

        return work.report(
            archive,
            output or archive.with_suffix(".html"),
            OriginalChoice(original, source, aoi),
            cache_dir=cache_dir,
            as_json=as_json,
            quiet=quiet,
        )
