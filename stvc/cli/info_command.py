"""``stvc info`` and ``stvc verify``, declared."""

from __future__ import annotations

from typing import Annotated

import typer

from stvc import console
from stvc.cli import flags


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(info)
    app.command()(verify)


def info(
    archive: flags.Archive,
    as_json: flags.Json = False,
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            metavar="",
            show_default=False,
            help="One more row for every date.",
        ),
    ] = 0,
) -> int:
    """Print what an archive holds: dates, sizes, ratio, errors on clear pixels, settings.

    \b
    Examples:
      stvc info field.stvc
      stvc info field.stvc -v
      stvc info field.stvc --json | jq .ratio
    """  # noqa: D301
    from stvc.cli import info as work

    return work.info(archive, as_json=as_json, dates=verbose > 0)


def verify(
    archive: flags.Archive,
    cache_dir: flags.CacheDir = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> int:
    """Check every checksum, then decode everything; exit code 65 if anything is damaged.

    \b
    Examples:
      stvc verify field.stvc
      stvc verify field.stvc -q || echo damaged
      stvc verify field.stvc --json | jq -r .sha256
    """  # noqa: D301
    console.log_to_stderr(verbose, quiet=quiet)

    from stvc.cli import info as work

    return work.verify(archive, cache_dir=cache_dir, as_json=as_json, quiet=quiet)
