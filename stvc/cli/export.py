"""``stvc export``: from an archive to COG, GeoTIFF, NetCDF or Zarr."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stvc.cli.export_command import Form
from stvc.cli.reading import ReadRequest
from stvc.console import progress_bar
from stvc.exit_codes import ExitCode

if TYPE_CHECKING:
    from stvc.archive_view import Archive
    from stvc.export.stream import Progress, Times

_SUFFIXES = {
    ".nc": (Form.netcdf,),
    ".nc4": (Form.netcdf,),
    ".zarr": (Form.zarr,),
    ".tif": (Form.cog, Form.geotiff),
    ".tiff": (Form.cog, Form.geotiff),
}
# ^ The first is meant if --format says nothing.


@dataclass(frozen=True)
class ExportRequest(ReadRequest):
    """Everything that ``stvc export`` was asked for."""

    form: Form | None
    """None: told by the name of ``out``."""
    compress: str
    """Of rasters: ``deflate`` or ``zstd``."""
    split_bands: bool
    """One raster per band."""
    dn: bool
    """NetCDF and Zarr without scale."""


def export(request: ExportRequest) -> ExitCode:
    """Export an archive, or a selection of it.

    Returns
    -------
    ExitCode
        ``OK``, or ``PARTIAL`` if damaged units were skipped, as ``on_error`` allows.

    Raises
    ------
    StvcError
        If the archive is damaged or an optional package is missing.
    typer.BadParameter
        If the selection is empty or does not fit the output.
    """
    form = _form(request)
    with request.open() as archive:
        times = request.times(archive.info())
        _check_output(request, form, len(times), archive.info())
        with progress_bar(quiet=request.quiet) as progress:
            files = _write(request, form, archive, times, progress)
        damaged = archive.damaged
    request.tell("export", form.value, files, len(times), damaged)
    return ExitCode.PARTIAL if damaged else ExitCode.OK


def _write(
    request: ExportRequest, form: Form, archive: Archive, times: Times, progress: Progress | None
) -> list[Path]:
    from stvc.export import (
        FrameStream,
        RasterForm,
        stream_netcdf,
        stream_rasters,
        stream_zarr,
    )

    stream = FrameStream.of_archive(archive, times, request.bands)
    physical = not request.dn
    if form is Form.netcdf:
        return [stream_netcdf(stream, request.out, physical=physical, progress=progress)]
    if form is Form.zarr:
        return [stream_zarr(stream, request.out, physical=physical, progress=progress)]
    stored = RasterForm(form is Form.cog, request.compress, request.split_bands)
    return stream_rasters(stream, request.out, stored, progress=progress)


def _form(request: ExportRequest) -> Form:
    suffix = request.out.suffix.lower()
    named = _SUFFIXES.get(suffix, ())
    if request.form is None:
        if not named and suffix and not request.out.is_dir():
            raise typer.BadParameter(
                f"cannot tell the format from {request.out.name!r}; "
                "end it in .nc, .zarr or .tif, name a directory, or give --format",
                param_hint="--output",
            )
        return named[0] if named else Form.cog
    if named and request.form not in named:
        raise typer.BadParameter(
            f"{request.form.value} contradicts the output's name {request.out.name!r}",
            param_hint="--format",
        )
    return request.form


def _check_output(request: ExportRequest, form: Form, dates: int, info: Mapping[str, Any]) -> None:
    """Refuse what cannot end well before anything is decoded."""
    raster = form in (Form.cog, Form.geotiff)
    if request.dn and raster:
        raise typer.BadParameter(
            "is for NetCDF and Zarr; rasters always hold DN", param_hint="--dn"
        )
    if request.split_bands and not raster:
        raise typer.BadParameter(
            f"is for rasters; {form.value} has one variable per band anyway",
            param_hint="--split-bands",
        )
    if not raster:
        if form is Form.netcdf and request.out.is_dir():
            raise typer.BadParameter(
                f"{request.out} is a directory; name a file for NetCDF", param_hint="--output"
            )
        return
    if request.out.suffix.lower() not in (".tif", ".tiff"):
        if request.out.is_file():
            raise typer.BadParameter(
                f"{request.out} is a file; name a directory for rasters", param_hint="--output"
            )
        return
    chosen = [
        set(group["bands"]) & set(request.bands or group["bands"]) for group in info["groups"]
    ]
    files = sum(len(bands) if request.split_bands else bool(bands) for bands in chosen)
    if dates * files > 1:
        raise typer.BadParameter(
            f"{dates} dates of {files} {'bands' if request.split_bands else 'grids'} give "
            f"{dates * files} rasters; name a directory, or choose with --date and --bands",
            param_hint="--output",
        )
