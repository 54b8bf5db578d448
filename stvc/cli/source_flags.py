"""Flags of sources and masks: their names, types and help."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_SOURCES = "Sources"
_MASKS = "Masks"


class MaskMethod(StrEnum):
    """What tells hidden ground."""

    scl = "scl"
    clp = "clp"
    file = "file"
    omnicloudmask = "omnicloudmask"
    s2cloudless = "s2cloudless"
    none = "none"


class DatesFrom(StrEnum):
    """Where a file's date comes from."""

    auto = "auto"
    tag = "tag"
    name = "name"


class OnFrameError(StrEnum):
    """What happens to a frame that cannot be read wholly."""

    stop = "raise"
    skip = "skip"


StacUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Of a STAC API or a static catalog, or a path (--source stac).",
        rich_help_panel=_SOURCES,
    ),
]
Collection = Annotated[
    str | None,
    typer.Option(
        metavar="ID", help="STAC collection, as sentinel-2-l2a.", rich_help_panel=_SOURCES
    ),
]
Assets = Annotated[
    str | None,
    typer.Option(
        metavar="B04=KEY,...",
        help="STAC asset of each band; default: told from their names.",
        rich_help_panel=_SOURCES,
    ),
]
TileCrs = Annotated[
    str | None,
    typer.Option(
        "--crs",
        metavar="EPSG:CODE",
        help="UTM zone to read where tiles of several overlap (--source stac).",
        rich_help_panel=_SOURCES,
    ),
]
Paths = Annotated[
    list[str] | None,
    typer.Option(
        "--path",
        metavar="PATH",
        help="File, folder, SAFE folder or 'pattern'; may be given several times (--source files).",
        rich_help_panel=_SOURCES,
    ),
]
BandNames = Annotated[
    str | None,
    typer.Option(
        metavar="B02,B03",
        help="Names of a file's bands in order, where it does not name them.",
        rich_help_panel=_SOURCES,
    ),
]
DnOffset = Annotated[
    int | None,
    typer.Option(
        metavar="DN",
        help="What to add to DN, 0 or -1000, whatever metadata say.",
        rich_help_panel=_SOURCES,
    ),
]
DatesFromFlag = Annotated[
    DatesFrom | None,
    typer.Option(
        "--dates-from",
        help="Where a GeoTIFF's date comes from, if tag and name disagree.",
        rich_help_panel=_SOURCES,
    ),
]
OnFrameErrorFlag = Annotated[
    OnFrameError | None,
    typer.Option(
        "--on-frame-error",
        help="Stop at a frame that cannot be read wholly, or leave it out and name it.",
        rich_help_panel=_SOURCES,
    ),
]
AcceptOffset = Annotated[
    bool,
    typer.Option(
        "--accept-offset",
        metavar="",
        help="Append frames that lie a baseline's offset (1000 DN) beside the archive.",
        rich_help_panel=_SOURCES,
    ),
]
Mask = Annotated[
    MaskMethod | None,
    typer.Option(help="What tells hidden ground; default: scl.", rich_help_panel=_MASKS),
]
MaskClasses = Annotated[
    str | None,
    typer.Option(
        metavar="0,1,3,8-10",
        help="Mask classes that hide the ground; default: nodata, defects, shadow, clouds, cirrus.",
        rich_help_panel=_MASKS,
    ),
]
MaskThreshold = Annotated[
    int | None,
    typer.Option(
        metavar="0..255",
        help="Cloud probability that hides the ground; default: 102 = 0.4.",
        rich_help_panel=_MASKS,
    ),
]
MaskDilate = Annotated[
    float | None,
    typer.Option(
        metavar="METERS", help="Hide ground this near to hidden ground.", rich_help_panel=_MASKS
    ),
]
MaskFile = Annotated[
    Path | None,
    typer.Option(
        metavar="RASTER",
        help="Hidden ground (not 0), one for all dates or one per date (--mask file).",
        rich_help_panel=_MASKS,
    ),
]
MaskWeights = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Weights of omnicloudmask (folder) or s2cloudless (file); never downloaded.",
        rich_help_panel=_MASKS,
    ),
]
