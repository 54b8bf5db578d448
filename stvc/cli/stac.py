"""``stvc stac``: archives as a STAC catalog."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from stvc.cli.options import require_file
from stvc.console import emit_json
from stvc.exit_codes import ExitCode


@dataclass(frozen=True)
class StacRequest:
    """Everything that ``stvc stac`` was asked for."""

    archives: list[Path]
    """The archives to describe."""
    out: Path
    """Directory of the catalog."""
    rasters: Path | None
    """Directory of exported rasters to link."""
    license: str
    """SPDX identifier, or ``other``."""
    as_json: bool
    """Print a JSON object instead of a sentence."""
    quiet: bool
    """Print errors only (and the JSON object, if asked for)."""


def stac(request: StacRequest) -> ExitCode:
    """Write the catalog.

    Raises
    ------
    StvcError
        If an archive is damaged, or pystac is missing.
    typer.BadParameter
        If the output is a file, or there are no rasters where they should be.
    """
    if request.out.is_file():
        raise typer.BadParameter(
            f"{request.out} is a file; name a directory", param_hint="--output"
        )
    if request.rasters is not None and not request.rasters.is_dir():
        raise typer.BadParameter(f"{request.rasters} is no directory", param_hint="--rasters")
    for archive in request.archives:
        require_file(archive)

    from stvc.stac import write_catalog

    report = write_catalog(
        request.archives, request.out, rasters=request.rasters, license=request.license
    )
    if request.as_json:
        emit_json({"command": "stac", **vars(report)})
    elif not request.quiet:
        linked = f", {report.rasters} rasters linked" if report.rasters else ""
        print(
            f"{report.path}: {report.collections} "
            f"collection{'' if report.collections == 1 else 's'}, {report.items} items{linked}"
        )
    return ExitCode.OK
