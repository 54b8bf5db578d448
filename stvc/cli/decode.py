"""``stvc decode``: from an archive to NetCDF or GeoTIFF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from stvc.cli.options import ExportFormat
from stvc.cli.reading import ReadRequest
from stvc.console import progress_bar
from stvc.exit_codes import ExitCode

if TYPE_CHECKING:
    from stvc.archive_view import Archive

_SUFFIXES = {
    ".nc": ExportFormat.netcdf,
    ".nc4": ExportFormat.netcdf,
    ".tif": ExportFormat.geotiff,
    ".tiff": ExportFormat.geotiff,
}


@dataclass(frozen=True)
class DecodeRequest(ReadRequest):
    """Everything that ``stvc decode`` was asked for."""

    form: ExportFormat | None
    """None: told by the name of ``out``."""
    fill: bool
    """Put the codec's prediction under clouds, and mark it."""


def decode(request: DecodeRequest) -> ExitCode:
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
        If the selection is empty or does not fit the output's name.
    """
    form = _form(request)
    with request.open() as archive:
        return _export(request, form, archive)


def _export(request: DecodeRequest, form: ExportFormat, archive: Archive) -> ExitCode:
    from stvc.export import write_geotiffs, write_netcdf

    info = archive.info()
    times = request.times(info)
    if form is ExportFormat.geotiff:
        _check_single_file(request, len(times), info["groups"])
    whole = len(times) == len(info["dates"])
    with progress_bar(quiet=request.quiet) as progress:
        decoded = archive.to_xarray(
            time=None if whole else times,
            bands=request.bands,
            fill=True if request.fill else None,
            progress=progress,
        )
    if form is ExportFormat.netcdf:
        files = [write_netcdf(decoded, request.out, info)]
    else:
        files = write_geotiffs(decoded, request.out, info)
    request.tell("decode", form.value, files, len(times), archive.damaged)
    return ExitCode.PARTIAL if archive.damaged else ExitCode.OK


def _form(request: DecodeRequest) -> ExportFormat:
    suffix = request.out.suffix.lower()
    named = _SUFFIXES.get(suffix)
    if request.form is None:
        if named is None and suffix:
            raise typer.BadParameter(
                f"cannot tell the format from {request.out.name!r}; "
                "end it in .nc or .tif, name a directory, or give --format",
                param_hint="--output",
            )
        return named or ExportFormat.geotiff
    if named is not None and named is not request.form:
        raise typer.BadParameter(
            f"{request.form.value} contradicts the output's name {request.out.name!r}",
            param_hint="--format",
        )
    return request.form


def _check_single_file(request: DecodeRequest, dates: int, groups: list[dict[str, Any]]) -> None:
    if request.out.suffix.lower() not in (".tif", ".tiff"):
        return
    grids = [g for g in groups if request.bands is None or set(g["bands"]) & set(request.bands)]
    if dates * len(grids) > 1:
        raise typer.BadParameter(
            f"{dates} dates on {len(grids)} grids give {dates * len(grids)} GeoTIFFs; "
            "name a directory, or choose with --date and --bands",
            param_hint="--output",
        )
