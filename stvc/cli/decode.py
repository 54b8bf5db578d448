"""``stvc decode``: from an archive to NetCDF or GeoTIFF."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stvc.cli.options import ExportFormat, require_file
from stvc.console import byte_size, emit_json, note, progress_bar
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
class DecodeRequest:
    """Everything that ``stvc decode`` was asked for."""

    archive: Path
    """The archive to read."""
    out: Path
    """A ``.nc`` or ``.tif`` file, or a directory for GeoTIFFs."""
    form: ExportFormat | None
    """None: told by the name of ``out``."""
    on_day: date | None
    """Only this day; excludes ``start`` and ``end``."""
    start: date | None
    """First day, inclusive."""
    end: date | None
    """Last day, inclusive."""
    bands: list[str] | None
    """Band names; None: all."""
    fill: bool
    """Put the codec's prediction under clouds, and mark it."""
    on_error: str
    """``raise`` stops at the first damaged unit, ``skip`` decodes the rest."""
    cache_dir: Path | None
    """Where an external background is looked up; None: the user's cache directory."""
    as_json: bool
    """Print a JSON object instead of a sentence."""
    quiet: bool
    """Print errors only (and the JSON object, if asked for)."""


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
    if request.on_day and (request.start or request.end):
        raise typer.BadParameter("excludes --start and --end", param_hint="--date")
    require_file(request.archive)

    import stvc.api as api

    with api.open(
        request.archive, on_error=request.on_error, cache_dir=request.cache_dir
    ) as archive:
        return _export(request, form, archive)


def _export(request: DecodeRequest, form: ExportFormat, archive: Archive) -> ExitCode:
    from stvc.export import frames_between, write_geotiffs, write_netcdf

    info = archive.info()
    _check_bands(request.bands, [band for group in info["groups"] for band in group["bands"]])
    first, last = (
        (request.on_day, request.on_day) if request.on_day else (request.start, request.end)
    )
    times = frames_between([frame["time"] for frame in info["dates"]], first, last)
    if len(times) == 0:
        wanted = first if first == last else f"{first or 'the beginning'} to {last or 'the end'}"
        raise typer.BadParameter(
            f"no frame at {wanted}; {request.archive} holds {len(info['dates'])} dates "
            f"from {info['first_date']} to {info['last_date']} (see stvc info -v)",
            param_hint="--date" if request.on_day else "--start/--end",
        )
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
    damaged = archive.damaged
    _tell(request, files, len(times), form, damaged)
    return ExitCode.PARTIAL if damaged else ExitCode.OK


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


def _check_bands(wanted: list[str] | None, held: list[str]) -> None:
    missing = [band for band in wanted or () if band not in held]
    if missing:
        raise typer.BadParameter(
            f"the archive has no {', '.join(missing)}; it has {', '.join(held)}",
            param_hint="--bands",
        )


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


def _tell(
    request: DecodeRequest,
    files: list[Path],
    dates: int,
    form: ExportFormat,
    damaged: tuple[str, ...],
) -> None:
    if damaged:
        note(f"warning: {len(damaged)} damaged units decoded as nodata: {'; '.join(damaged)}")
    size = sum(path.stat().st_size for path in files)
    if request.as_json:
        emit_json(
            {
                "command": "decode",
                "path": request.out,
                "format": form.value,
                "frames": dates,
                "files": [str(path) for path in files],
                "bytes": size,
                "damaged": list(damaged),
            }
        )
    elif not request.quiet:
        many = f"{len(files)} file{'' if len(files) == 1 else 's'}"
        print(
            f"{request.out}: {dates} date{'' if dates == 1 else 's'} as {form.value}, "
            f"{many}, {byte_size(size)}"
        )
