"""``stvc quicklook``, declared."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stvc import console
from stvc.cli import flags
from stvc.cli.options import read_date, read_period, refuse_stdout


class ViewFlag(StrEnum):
    """What a picture shows."""

    true_color = "true-color"
    false_color = "false-color"
    ndvi = "ndvi"
    mask = "mask"


class CloudsShown(StrEnum):
    """How hidden ground is drawn."""

    hatch = "hatch"
    hide = "hide"
    show = "show"


Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="PICTURE",
        help=".png or .jpg (several dates: a contact sheet); .gif or .webp (an animation).",
    ),
]
Dates = Annotated[
    list[str] | None,
    typer.Option("--date", metavar="DATE", help="A day, YYYY-MM-DD; may be given several times."),
]
All = Annotated[bool, flags.switch("--all", help="All dates.")]
Shown = Annotated[ViewFlag, typer.Option("--view", help="What to show.")]
Clouds = Annotated[
    CloudsShown,
    typer.Option("--clouds", help="Hidden ground: hatched, pale, or as the archive decodes it."),
]
MinClear = Annotated[
    float,
    typer.Option(
        metavar="SHARE", min=0, max=1, help="Leave out dates that are less clear, 0 to 1."
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        metavar="PX", min=32, max=4096, help="Longest side; default: 640, of animations 480."
    ),
]
Speed = Annotated[
    float,
    typer.Option("--fps", metavar="N", min=0.1, max=50, help="Dates per second of animations."),
]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command()
    def quicklook(
        archive: flags.Archive,
        output: Output,
        date: Dates = None,
        start: flags.Start = None,
        end: flags.End = None,
        all_dates: All = False,
        view: Shown = ViewFlag.true_color,
        clouds: Clouds = CloudsShown.hatch,
        min_clear: MinClear = 0.0,
        size: Size = None,
        fps: Speed = 3.0,
        cache_dir: flags.CacheDir = None,
        as_json: flags.Json = False,
        quiet: flags.Quiet = False,
        verbose: flags.Verbose = 0,
    ) -> int:
        """Draw dates of an archive: a picture, a contact sheet, or an animation.

        Without dates: the latest clear one, or all of them in an animation.
        One brightness holds for all dates.

        \b
        Examples:
          stvc quicklook field.stvc -o field.png
          stvc quicklook field.stvc -o june.png --date 2020-06-30 --view ndvi
          stvc quicklook field.stvc -o season.gif --start 2020-03-01 --min-clear 0.7
          stvc quicklook field.stvc -o sheet.png --all --clouds hide
        """  # noqa: D301 - typer reads backspace characters as "do not rewrap"
        refuse_stdout(output)
        console.log_to_stderr(verbose, quiet=quiet)
        first, last = read_period(start, end)

        from stvc.cli import quicklook as work

        return work.quicklook(
            work.QuicklookRequest(
                archive=archive,
                out=output,
                days=[day for text in date or () if (day := read_date(text, "--date"))],
                start=first,
                end=last,
                every=all_dates,
                view=view.value,
                clouds=clouds.value,
                min_clear=min_clear,
                size=size,
                fps=fps,
                cache_dir=cache_dir,
                as_json=as_json,
                quiet=quiet,
            )
        )
