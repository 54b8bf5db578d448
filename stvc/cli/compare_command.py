"""``stvc compare``, declared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stvc import console
from stvc.cli import flags
from stvc.cli.options import refuse_stdout

First = Annotated[
    Path,
    typer.Argument(
        metavar="ORIGINAL",
        help="What was encoded: .nc, .zarr, .npz, .stvc or a folder of GeoTIFFs. "
        "Left out with --source.",
    ),
]
Second = Annotated[
    Path | None, typer.Argument(metavar="ARCHIVE", help="The .stvc file.", show_default=False)
]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="PAGE", help="Also write a .html, .md or .json file."),
]
LabelFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Classes for the classifier: .npy or .tif of integers on the finest grid, "
        "0 = unlabeled.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command()
    def compare(
        original: First,
        archive: Second = None,
        output: Output = None,
        source: flags.OriginalSource = None,
        aoi: flags.OriginalArea = None,
        labels: LabelFile = None,
        cache_dir: flags.CacheDir = None,
        as_json: flags.Json = False,
        quiet: flags.Quiet = False,
        verbose: flags.Verbose = 0,
    ) -> int:
        """Measure how faithful an archive is to its original, and what it is fit for.

        Errors per band, indices, phenology, change, classification and texture
        on the decoded pixels; one verdict per use, with its limits.

        \b
        Examples:
          stvc compare cube.nc field.stvc
          stvc compare cube.zarr field.stvc -o compare.html
          stvc compare field.stvc --source sample --aoi field.geojson --json
          stvc compare lossless.stvc small.stvc --labels crops.tif
        """  # noqa: D301 - typer reads backspace characters as "do not rewrap"
        refuse_stdout(output)
        console.log_to_stderr(verbose, quiet=quiet)

        from stvc.cli import compare as work
        from stvc.cli.original import OriginalChoice

        if archive is None and source is None:
            raise typer.BadParameter(
                "is missing: give an original and an archive, or --source and --aoi",
                param_hint="ARCHIVE",
            )
        if archive is not None and source is not None:
            raise typer.BadParameter(
                "names an original beside the one given as a file; keep one", param_hint="--source"
            )
        path = original if archive is None else archive
        choice = OriginalChoice(None if archive is None else original, source, aoi)
        return work.compare(
            path,
            choice,
            out=output,
            labels=labels,
            cache_dir=cache_dir,
            as_json=as_json,
            quiet=quiet,
        )
