"""Flags of sources and masks: their names, types and help."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from stvc.cli.flags import switch

_SOURCES = "Sources"
_source_option = partial(typer.Option, rich_help_panel=_SOURCES)
_mask_option = partial(typer.Option, rich_help_panel="Masks")


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
    _source_option(
        metavar="URL", help="Of a STAC API or a static catalog, or a path (--source stac)."
    ),
]
Collection = Annotated[
    str | None,
    _source_option(metavar="ID", help="STAC collection, as sentinel-2-l2a."),
]
Assets = Annotated[
    str | None,
    _source_option(
        metavar="B04=KEY,...", help="STAC asset of each band; default: told from their names."
    ),
]
TileCrs = Annotated[
    str | None,
    _source_option(
        "--crs",
        metavar="EPSG:CODE",
        help="UTM zone to read where tiles of several overlap (--source stac).",
    ),
]
Paths = Annotated[
    list[str] | None,
    _source_option(
        "--path",
        metavar="PATH",
        help="File, folder, SAFE folder or 'pattern'; may be given several times (--source files).",
    ),
]
BandNames = Annotated[
    str | None,
    _source_option(
        metavar="B02,B03", help="Names of a file's bands in order, where it does not name them."
    ),
]
DnOffset = Annotated[
    int | None,
    _source_option(metavar="DN", help="What to add to DN, 0 or -1000, whatever metadata say."),
]
DatesFromFlag = Annotated[
    DatesFrom | None,
    _source_option(
        "--dates-from", help="Where a GeoTIFF's date comes from, if tag and name disagree."
    ),
]
OnFrameErrorFlag = Annotated[
    OnFrameError | None,
    _source_option(
        "--on-frame-error",
        help="Stop at a frame that cannot be read wholly, or leave it out and name it.",
    ),
]
AcceptOffset = Annotated[
    bool,
    switch(
        "--accept-offset",
        help="Append frames that lie a baseline's offset (1000 DN) beside the archive.",
        rich_help_panel=_SOURCES,
    ),
]
Mask = Annotated[
    MaskMethod | None,
    _mask_option(help="What tells hidden ground; default: scl."),
]
MaskClasses = Annotated[
    str | None,
    _mask_option(
        metavar="0,1,3,8-10",
        help="Mask classes that hide the ground; default: nodata, defects, shadow, clouds, cirrus.",
    ),
]
MaskThreshold = Annotated[
    int | None,
    _mask_option(
        metavar="0..255", help="Cloud probability that hides the ground; default: 102 = 0.4."
    ),
]
MaskDilate = Annotated[
    float | None,
    _mask_option(metavar="METERS", help="Hide ground this near to hidden ground."),
]
MaskFile = Annotated[
    Path | None,
    _mask_option(
        metavar="RASTER",
        help="Hidden ground (not 0), one for all dates or one per date (--mask file).",
    ),
]
MaskWeights = Annotated[
    Path | None,
    _mask_option(
        metavar="PATH",
        help="Weights of omnicloudmask (folder) or s2cloudless (file); never downloaded.",
    ),
]
