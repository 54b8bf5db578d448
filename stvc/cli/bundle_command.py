"""``stvc bundle``, declared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stvc import console
from stvc.cli import flags
from stvc.cli.options import refuse_stdout

Output = Annotated[
    Path,
    typer.Option(
        "-o", "--output", metavar="OUT", help="The .stvc file to write; may be ARCHIVE itself."
    ),
]
Strip = Annotated[
    bool,
    flags.switch("--strip", help="The reverse: move the background out, into the cache."),
]
Overwrite = Annotated[bool, flags.switch("--overwrite", help="Replace OUT if it exists.")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command()
    def bundle(
        archive: flags.Archive,
        output: Output,
        strip: Strip = False,
        cache_dir: flags.CacheDir = None,
        overwrite: Overwrite = False,
        as_json: flags.Json = False,
        quiet: flags.Quiet = False,
        verbose: flags.Verbose = 0,
    ) -> int:
        """Make an archive with an external background whole, so that it decodes anywhere.

        \b
        Examples:
          stvc bundle field.stvc -o whole.stvc
          stvc bundle field.stvc -o field.stvc
          stvc bundle whole.stvc -o thin.stvc --strip --cache-dir /mnt/backgrounds
        """  # noqa: D301 - typer reads backspace characters as "do not rewrap"
        refuse_stdout(output)
        console.log_to_stderr(verbose, quiet=quiet)

        from stvc.cli import bundle as work

        return work.bundle(
            archive,
            output,
            strip=strip,
            cache_dir=cache_dir,
            overwrite=overwrite,
            as_json=as_json,
            quiet=quiet,
        )
