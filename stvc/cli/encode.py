"""``stvc encode``: from an area of interest to an archive, or to the dates that one lacks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stvc.bands import find_band
from stvc.cli.options import QualityFlags, as_flags, effective_settings
from stvc.console import byte_size, emit_json, note, progress_bar
from stvc.exit_codes import ExitCode

if TYPE_CHECKING:
    import xarray as xr

    from stvc.api import EncodeReport

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodeRequest:
    """Everything that ``stvc encode`` was asked for."""

    aoi: str
    """Path of a GeoJSON file, or ``-`` for standard input."""
    out: Path
    """The archive to write or to append to."""
    source: str
    """Name of a registered source."""
    start: date | None
    """First day, inclusive; None: from the beginning."""
    end: date | None
    """Last day, inclusive; None: until the last frame there is."""
    bands: list[str] | None
    """Band names; None: all of the source, or those of the archive."""
    flags: QualityFlags
    """What was said about quality, clouds and references."""
    cache_dir: Path | None
    """Where backgrounds are kept; None: the user's cache directory."""
    overwrite: bool
    """Start anew even if the archive exists."""
    as_json: bool
    """Print a JSON object instead of a sentence."""
    quiet: bool
    """Print errors only (and the JSON object, if asked for)."""


def default_output(aoi: str) -> Path:
    """Return ``FIELD.stvc`` in the working directory for ``some/where/FIELD.geojson``.

    Raises
    ------
    typer.BadParameter
        If the area of interest comes from standard input, which has no name.
    """
    if aoi == "-":
        raise typer.BadParameter(
            "is needed when the area of interest comes from standard input",
            param_hint="--output",
        )
    return Path(Path(aoi).stem + ".stvc")


def encode(request: EncodeRequest) -> ExitCode:
    """Make an archive, or append to the one that is there.

    Returns
    -------
    ExitCode
        ``OK``, also when the archive holds everything already.

    Raises
    ------
    StvcError
        What the area of interest, the source or the codec object to.
    typer.BadParameter
        If the flags contradict each other or the settings of an existing archive.
    """
    import numpy as np

    request.flags.check()
    if not request.out.parent.is_dir():
        raise typer.BadParameter(
            f"there is no directory {request.out.parent}", param_hint="--output"
        )
    if request.out.is_dir():
        raise typer.BadParameter(
            f"{request.out} is a directory; name a file in it", param_hint="--output"
        )
    settled = _settled(request) if request.out.exists() and not request.overwrite else None

    from stvc.aoi import read_aoi
    from stvc.source import get_source

    source = get_source(request.source)
    aoi = read_aoi(request.aoi)
    bands = request.bands if settled is None else settled.bands
    exclude = () if settled is None else tuple(np.array(settled.times, "datetime64[s]"))
    _log.info("asking %s for %s, %s to %s", source.name, aoi.name, request.start, request.end)
    frames = _fetch(source, aoi, request, bands, exclude)
    if settled is not None and (frames is None or frames.sizes["time"] == 0):
        return _unchanged(request, settled)
    if frames is None:
        raise RuntimeError("a source returned nothing for a new archive without saying why")

    import stvc.api as api
    from stvc.background.cache import default_cache_dir

    with progress_bar(quiet=request.quiet) as progress:
        if settled is not None:
            report = api.append(frames, request.out, progress=progress)
        else:
            report = api.encode(
                frames,
                request.out,
                cache_dir=request.cache_dir or default_cache_dir(),
                # Not True: an archive that another process made meanwhile must survive.
                overwrite=request.overwrite,
                progress=progress,
                **request.flags.encode_arguments(),
            )
    if settled is not None and report.frames_added == 0:
        return _unchanged(request, settled)
    _tell(request, report, appended=settled is not None)
    return ExitCode.OK


@dataclass(frozen=True)
class _Settled:
    """What an existing archive has decided already."""

    bands: list[str]
    times: list[str]
    size: int


def _settled(request: EncodeRequest) -> _Settled:
    import stvc.api as api

    with api.open(request.out) as archive:
        info = archive.info()
    settings = effective_settings(info, api.DEFAULT_QUALITY)
    wrong = request.flags.conflicts(settings)
    bands = [band for group in info["groups"] for band in group["bands"]]
    if request.bands is not None and _tidy(request.bands) != _tidy(bands):
        wrong.append(f"--bands {','.join(request.bands)}")
    if wrong:
        kept = f"{as_flags(settings)} --bands {','.join(bands)}"
        raise typer.BadParameter(
            f"{', '.join(wrong)} contradicts the archive, which keeps its settings ({kept}); "
            "leave it out, or start anew with --overwrite",
            param_hint=str(request.out),
        )
    return _Settled(bands, [frame["time"] for frame in info["dates"]], int(info["bytes"]))


def _tidy(bands: list[str]) -> list[str]:
    known = [(name, find_band(name)) for name in bands]
    return sorted(name if band is None else band.name for name, band in known)


def _fetch(
    source: Any, aoi: Any, request: EncodeRequest, bands: list[str] | None, exclude: Sequence[Any]
) -> xr.Dataset | None:
    """Ask the source; None if it has nothing for an archive that holds dates (``exclude``)."""
    from stvc.errors import NoDataError

    try:
        frames: xr.Dataset = source.fetch(aoi, request.start, request.end, bands, exclude)
    except NoDataError:
        if len(exclude) == 0:
            raise
        return None
    if frames.sizes["time"] == 0 and len(exclude) == 0:
        raise NoDataError(
            f"source {source.name} has no frame of {aoi.name} "
            f"from {request.start or 'its beginning'} to {request.end or 'its end'}; "
            "choose another --start or --end"
        )
    return frames


def _unchanged(request: EncodeRequest, settled: _Settled) -> ExitCode:
    if not request.quiet:
        note(f"nothing new: {request.out} already holds all {len(settled.times)} dates")
    if request.as_json:
        emit_json(
            {
                "command": "encode",
                "status": "unchanged",
                "path": request.out,
                "frames_added": 0,
                "frames_total": len(settled.times),
                "bytes_before": settled.size,
                "bytes_after": settled.size,
                "psnr_clear": None,
                "seconds": 0.0,
            }
        )
    return ExitCode.OK


def _tell(request: EncodeRequest, report: EncodeReport, *, appended: bool) -> None:
    if request.as_json:
        emit_json(
            {
                "command": "encode",
                "status": "appended" if appended else "written",
                "path": report.path,
                "frames_added": report.frames_added,
                "frames_total": report.frames_total,
                "bytes_before": report.bytes_before,
                "bytes_after": report.bytes_after,
                "psnr_clear": report.psnr_clear,
                "seconds": round(report.seconds, 3),
            }
        )
        return
    if request.quiet:
        return
    many = f"{report.frames_added} date{'' if report.frames_added == 1 else 's'}"
    # Unknown if nothing is clear, infinite if nothing is lost: no number to print then.
    psnr = report.psnr_clear
    quality = "" if psnr is None else f"{psnr:.2f} dB on clear pixels, "
    if appended:
        grown = byte_size(report.bytes_after - report.bytes_before)
        print(
            f"{report.path}: appended {many} in {grown}, {report.frames_total} dates in "
            f"{byte_size(report.bytes_after)} in all, {quality}{report.seconds:.1f} s"
        )
    else:
        print(
            f"{report.path}: {many} in {byte_size(report.bytes_after)}, "
            f"{quality}{report.seconds:.1f} s"
        )
