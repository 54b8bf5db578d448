"""The command line's flags and arguments: their names, types and help."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from stvc.cli.options import ExportFormat, read_date_size, read_error_bound

_QUALITY = "Quality"
_quality_option = partial(typer.Option, rich_help_panel=_QUALITY)
_service_option = partial(typer.Option, rich_help_panel="Source sentinelhub")


def switch(*names: str, help: str, **more: Any) -> Any:
    """Declare a flag that takes no value.

    The names are said, else typer makes up a ``--no-...`` beside them; and the help is told that
    there is no value, else it shows a type.
    """
    return typer.Option(*names, metavar="", help=help, **more)


class Clouds(StrEnum):
    """What happens to ground under clouds, shadows and nodata."""

    keep = "keep"
    coarse = "coarse"
    drop = "drop"


class Reference(StrEnum):
    """What a date may be predicted from."""

    auto = "auto"
    none = "none"
    background = "background"
    recent = "recent"
    both = "both"


class Effort(StrEnum):
    """How much computing the size of a file is worth."""

    default = "default"
    fast = "fast"


class OnError(StrEnum):
    """What happens to damaged coding units."""

    # The name `raise` is a keyword; typer shows and reads the values.
    stop = "raise"
    skip = "skip"


Archive = Annotated[Path, typer.Argument(metavar="ARCHIVE", help="The .stvc file to read.")]
Start = Annotated[
    str | None, typer.Option(metavar="DATE", help="First day, YYYY-MM-DD, inclusive.")
]
End = Annotated[str | None, typer.Option(metavar="DATE", help="Last day, YYYY-MM-DD, inclusive.")]
Day = Annotated[str | None, typer.Option(metavar="DATE", help="Only this day.")]
Bands = Annotated[
    str | None, typer.Option(metavar="B02,B03", help="Bands, separated by commas; default: all.")
]
Json = Annotated[bool, switch("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, switch("-q", "--quiet", help="Print errors only.")]
Verbose = Annotated[
    int,
    typer.Option(
        "-v",
        "--verbose",
        count=True,
        metavar="",
        show_default=False,
        help="Log to stderr; -vv logs more.",
    ),
]
Aoi = Annotated[
    str | None,
    typer.Option(
        metavar="GEOJSON",
        help="Area of interest: a GeoJSON file in WGS84, or - for stdin; files need none.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="ARCHIVE",
        help="The .stvc file to write or to append to; default: the area's file name.",
    ),
]
Quality = Annotated[
    float | None,
    _quality_option(min=0, max=100, help="Quality, 0 to 100."),
]
Psnr = Annotated[
    float | None,
    _quality_option(metavar="DB", min=15, max=90, help="PSNR on clear pixels, peak 10000."),
]
MaxError = Annotated[
    int | None,
    _quality_option(
        metavar="E",
        parser=read_error_bound,
        help="Hard bound on the error of every clear pixel: DN, as 25, or reflectance, as 0.0025r.",
    ),
]
MaxBytes = Annotated[
    int | None,
    _quality_option(
        metavar="SIZE",
        parser=read_date_size,
        help="Most bytes per date, as 20kB: larger dates get coarser.",
    ),
]
Lossless = Annotated[
    bool,
    switch("--lossless", help="Exact pixels.", rich_help_panel=_QUALITY),
]
CloudsFlag = Annotated[
    Clouds | None,
    _quality_option(help="Ground under clouds: coded alike, coarsely, or not at all (default)."),
]
ReferenceFlag = Annotated[
    Reference | None,
    _quality_option(help="What dates are predicted from (default: auto)."),
]
EffortFlag = Annotated[
    Effort | None,
    _quality_option(help="fast: several times faster, larger files, the same pixels."),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        envvar="STVC_CACHE_DIR",
        help="Where backgrounds of places are kept for later archives; default: the user's cache.",
    ),
]
ExternalBackground = Annotated[
    bool,
    switch(
        "--external-background",
        help="Keep the background in the cache, only its hash in the archive (see stvc bundle).",
    ),
]
Overwrite = Annotated[
    bool,
    switch("--overwrite", help="Start anew if the archive exists."),
]
DryRun = Annotated[
    bool,
    switch(
        "--dry-run",
        help="Only tell which dates would be fetched, their pixels, size and cost; write nothing.",
    ),
]
ServiceProfile = Annotated[
    str | None,
    _service_option("--sh-profile", metavar="NAME", help="Sentinel Hub profile (see stvc config)."),
]
MaxRequests = Annotated[
    int | None,
    _service_option(metavar="N", min=0, help="Stop before more requests than this."),
]
MaxPu = Annotated[
    float | None,
    _service_option(
        metavar="PU", min=0, help="Stop before more processing units than this are spent."
    ),
]
Form = Annotated[
    ExportFormat | None, typer.Option("--format", help="Default: told by the output's name.")
]
OnErrorFlag = Annotated[
    OnError,
    typer.Option(help="Stop at damage, or decode the rest (exit code 3, damaged parts are 0)."),
]
DecodeOutput = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="FILE.nc; a directory for GeoTIFFs; FILE.tif for one date of one grid.",
    ),
]
OriginalSource = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Take the original from a source, with --aoi."),
]
OriginalArea = Annotated[
    str | None,
    typer.Option(metavar="GEOJSON", help="The area that the archive was encoded with."),
]
