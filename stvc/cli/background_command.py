"""``stvc background list | show | build | refresh | prune``, declared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stvc import console
from stvc.cli import flags
from stvc.cli.options import read_bands, read_bytes, read_period, read_span, refuse_stdout

Aoi = Annotated[
    str | None,
    typer.Option(
        metavar="GEOJSON", help="Area of interest: a GeoJSON file in WGS84, or - for stdin."
    ),
]
FromArchive = Annotated[
    Path | None,
    typer.Option(metavar="ARCHIVE", help="Take the frames from this archive instead."),
]
SourceName = Annotated[str, typer.Option(help="Where frames come from.")]
QualityFlag = Annotated[float, typer.Option(min=0, max=100, help="Quality of the background.")]
Last = Annotated[
    str,
    typer.Option(metavar="SPAN", help="How far back from the newest frame: 90d, 12w, 2y, or all."),
]
Hash = Annotated[
    str, typer.Argument(metavar="HASH", help="Its first digits, as stvc background list shows.")
]
Picture = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="PNG", help="Draw it into this file."),
]
MaxSize = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Keep at most this much, the latest used: 2GB, 500MB."),
]
OlderThan = Annotated[
    str | None, typer.Option(metavar="SPAN", help="Not used for this long: 90d, 12w, 2y.")
]
Unused = Annotated[
    bool,
    flags.switch("--unused", help="Superseded ones, which no encode would use."),
]
NeededToo = Annotated[
    bool,
    flags.switch(
        "--needed-too",
        help="Also those that archives with an external background cannot be decoded without.",
    ),
]
DryRun = Annotated[bool, flags.switch("--dry-run", help="Only tell.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    background = typer.Typer(
        name="background",
        help="The cache of historical backgrounds: cloud-free composites of places, shared by all "
        "jobs of a user.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.add_typer(background)
    background.command("list")(list_entries)
    background.command()(show)
    background.command()(build)
    background.command()(refresh)
    background.command()(prune)


def list_entries(cache_dir: flags.CacheDir = None, as_json: flags.Json = False) -> int:
    """List all backgrounds, those used latest first.

    \b
    Examples:
      stvc background list
      stvc background list --json | jq -r '.entries[].sha256'
    """  # noqa: D301
    from stvc.cli import background as work

    return work.list_entries(cache_dir, as_json=as_json)


def show(
    content_hash: Hash,
    output: Picture = None,
    cache_dir: flags.CacheDir = None,
    as_json: flags.Json = False,
) -> int:
    """Tell what is known about a background, or draw it.

    \b
    Examples:
      stvc background show 3fa4c1
      stvc background show 3fa4c1 -o background.png
    """  # noqa: D301
    refuse_stdout(output)
    from stvc.cli import background as work

    return work.show(content_hash, output, cache_dir, as_json=as_json)


def build(
    aoi: Aoi = None,
    archive: FromArchive = None,
    source: SourceName = "sample",
    start: flags.Start = None,
    end: flags.End = None,
    bands: flags.Bands = None,
    quality: QualityFlag = 40.0,
    cache_dir: flags.CacheDir = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> int:
    """Build the background of a place that has none, for all archives to come.

    \b
    Examples:
      stvc background build --aoi field.geojson --end 2023-12-31
      stvc background build --archive field.stvc
    """  # noqa: D301
    console.log_to_stderr(verbose, quiet=quiet)
    first, last = read_period(start, end)
    from stvc.cli import background_build as work

    return work.build(
        work.BuildRequest(
            aoi=aoi,
            archive=archive,
            source=source,
            start=first,
            end=last,
            days=None,
            bands=read_bands(bands),
            quality=quality,
            refresh=False,
            cache_dir=cache_dir,
            as_json=as_json,
            quiet=quiet,
        )
    )


def refresh(
    aoi: Aoi = None,
    archive: FromArchive = None,
    source: SourceName = "sample",
    start: flags.Start = None,
    end: flags.End = None,
    last: Last = "2y",
    bands: flags.Bands = None,
    quality: QualityFlag = 40.0,
    cache_dir: flags.CacheDir = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> int:
    """Make a new version of a place's background from recent frames.

    New archives use the new version. Archives that exist keep theirs, which stays in the cache.

    \b
    Examples:
      stvc background refresh --aoi field.geojson
      stvc background refresh --archive field.stvc --last 1y
    """  # noqa: D301
    console.log_to_stderr(verbose, quiet=quiet)
    first, final = read_period(start, end)
    from stvc.cli import background_build as work

    return work.build(
        work.BuildRequest(
            aoi=aoi,
            archive=archive,
            source=source,
            start=first,
            end=final,
            days=None if last == "all" or first else read_span(last, "--last"),
            bands=read_bands(bands),
            quality=quality,
            refresh=True,
            cache_dir=cache_dir,
            as_json=as_json,
            quiet=quiet,
        )
    )


def prune(
    max_size: MaxSize = None,
    older_than: OlderThan = None,
    unused: Unused = False,
    needed_too: NeededToo = False,
    dry_run: DryRun = False,
    cache_dir: flags.CacheDir = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> int:
    """Remove damaged backgrounds, and those that one of the conditions meets.

    A background that is gone is built again when it is needed, except for archives encoded with
    --external-background: theirs are spared.

    \b
    Examples:
      stvc background prune --max-size 2GB
      stvc background prune --older-than 90d --unused --dry-run
    """  # noqa: D301
    size = None if max_size is None else read_bytes(max_size, "--max-size")
    days = None if older_than is None else read_span(older_than, "--older-than")
    from stvc.cli import background as work

    return work.prune(
        cache_dir,
        max_size=size,
        older_than=days,
        unused=unused,
        needed_too=needed_too,
        dry_run=dry_run,
        as_json=as_json,
        quiet=quiet,
    )
