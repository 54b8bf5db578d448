"""The command line's flags and arguments: their names, types and help."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stvc.cli.options import ExportFormat, read_date_size, read_error_bound


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
Bands = Annotated[
    str | None, typer.Option(metavar="B02,B03", help="Bands, separated by commas; default: all.")
]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", metavar="", help="Print errors only.")]
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
    str,
    typer.Option(
        metavar="GEOJSON", help="Area of interest: a GeoJSON file in WGS84, or - for stdin."
    ),
]
OptionalAoi = Annotated[
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
    typer.Option(min=0, max=100, help="Quality, 0 to 100.", rich_help_panel="Quality"),
]
Psnr = Annotated[
    float | None,
    typer.Option(
        metavar="DB",
        min=15,
        max=90,
        help="PSNR on clear pixels, peak 10000.",
        rich_help_panel="Quality",
    ),
]
MaxError = Annotated[
    int | None,
    typer.Option(
        metavar="E",
        parser=read_error_bound,
        help="Hard bound on the error of every clear pixel: DN, as 25, or reflectance, as 0.0025r.",
        rich_help_panel="Quality",
    ),
]
MaxBytes = Annotated[
    int | None,
    typer.Option(
        metavar="SIZE",
        parser=read_date_size,
        help="Most bytes per date, as 20kB: larger dates get coarser.",
        rich_help_panel="Quality",
    ),
]
Lossless = Annotated[
    bool,
    typer.Option("--lossless", metavar="", help="Exact pixels.", rich_help_panel="Quality"),
]
CloudsFlag = Annotated[
    Clouds | None,
    typer.Option(
        help="Ground under clouds: coded alike, coarsely, or not at all (default).",
        rich_help_panel="Quality",
    ),
]
ReferenceFlag = Annotated[
    Reference | None,
    typer.Option(help="What dates are predicted from (default: auto).", rich_help_panel="Quality"),
]
EffortFlag = Annotated[
    Effort | None,
    typer.Option(
        help="fast: several times faster, larger files, the same pixels.",
        rich_help_panel="Quality",
    ),
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
    typer.Option(
        "--external-background",
        metavar="",
        help="Keep the background in the cache, only its hash in the archive (see stvc bundle).",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", metavar="", help="Start anew if the archive exists."),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        metavar="",
        help="Only tell which dates would be fetched, their pixels, size and cost; write nothing.",
    ),
]
ServiceProfile = Annotated[
    str | None,
    typer.Option(
        "--sh-profile",
        metavar="NAME",
        help="Sentinel Hub profile (see stvc config).",
        rich_help_panel="Source sentinelhub",
    ),
]
MaxRequests = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Stop before more requests than this.",
        rich_help_panel="Source sentinelhub",
    ),
]
MaxPu = Annotated[
    float | None,
    typer.Option(
        metavar="PU",
        min=0,
        help="Stop before more processing units than this are spent.",
        rich_help_panel="Source sentinelhub",
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
