"""``stvc encode``: from an area of interest to an archive, or to the dates that one lacks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stvc.cli.options import QualityFlags
from stvc.cli.settled import Settled, settled_by
from stvc.console import byte_size, emit_json, note, progress_bar
from stvc.exit_codes import ExitCode

if TYPE_CHECKING:
    import xarray as xr

    from stvc.aoi import Aoi
    from stvc.api import EncodeReport

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodeRequest:
    """Everything that ``stvc encode`` was asked for."""

    aoi: str | None
    """Path of a GeoJSON file, or ``-`` for standard input; None: all that the source covers."""
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
    external_background: bool
    """Keep the background in the cache, and only its hash in the archive."""
    source_options: dict[str, Any]
    """What the source's class is given."""
    mask_options: dict[str, Any]
    """What `stvc.masks.choice.MaskChoice` is given."""
    accept_offset: bool
    """Append frames whose DN lie an offset beside the archive's."""
    dry_run: bool
    """Only tell what would be fetched."""
    overwrite: bool
    """Start anew even if the archive exists."""
    as_json: bool
    """Print a JSON object instead of a sentence."""
    quiet: bool
    """Print errors only (and the JSON object, if asked for)."""


def default_output(aoi: str | None, paths: Sequence[str] | None = None) -> Path:
    """Return ``FIELD.stvc`` in the working directory for ``some/where/FIELD.geojson``.

    Without an area, the name is that of the first of `paths`.

    Raises
    ------
    typer.BadParameter
        If the area of interest comes from standard input, which has no name.
    """
    if aoi is None:
        first = Path(paths[0]) if paths else Path()
        if not first.stem or any(sign in first.name for sign in "*?["):
            raise typer.BadParameter(
                "is needed when there is no --aoi to name the archive after", param_hint="--output"
            )
        return Path(first.stem + ".stvc")
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
    if request.external_background and (
        request.flags.lossless or request.flags.reference in ("none", "recent")
    ):
        raise typer.BadParameter(
            "excludes --lossless and --reference none or recent, which use no background",
            param_hint="--external-background",
        )
    if not request.out.parent.is_dir():
        raise typer.BadParameter(
            f"there is no directory {request.out.parent}", param_hint="--output"
        )
    if request.out.is_dir():
        raise typer.BadParameter(
            f"{request.out} is a directory; name a file in it", param_hint="--output"
        )
    settled = settled_by(request) if request.out.exists() and not request.overwrite else None

    from stvc.aoi import read_aoi
    from stvc.cli.masking import check_rule, mask_option
    from stvc.masks.choice import MaskChoice, choose_mask
    from stvc.source import get_source, names, needs_area

    if request.aoi is None and request.source in names() and needs_area(request.source):
        raise typer.BadParameter(
            f"is needed: source {request.source} has no extent of its own", param_hint="--aoi"
        )
    choice = MaskChoice(**request.mask_options)
    kind = None if settled is None else settled.mask
    if kind is not None:
        check_rule(kind, choice, request.out)
    options = request.source_options | mask_option(request.source, choice, kind)
    source = get_source(request.source, **options)
    aoi = None if request.aoi is None else read_aoi(request.aoi)
    bands = request.bands if settled is None else settled.bands
    exclude = () if settled is None else tuple(np.array(settled.times, "datetime64[s]"))
    _log.info("asking %s for %s, %s to %s", source.name, request.aoi, request.start, request.end)
    if request.dry_run:
        from stvc.cli.dry_run import show_plan

        return show_plan(source, aoi or _whole(source), request, bands, exclude)
    frames = _fetch(source, aoi, request, bands, exclude)
    if not request.quiet and hasattr(source, "usage"):
        used = source.usage()
        note(
            f"source {source.name}: {used['requests']:.0f} requests, "
            f"{used['pu_spent']:.3g} processing units"
        )
    if settled is not None and (frames is None or frames.sizes["time"] == 0):
        return _unchanged(request, settled)
    if frames is None:
        raise RuntimeError("a source returned nothing for a new archive without saying why")
    frames = choose_mask(frames, choice)

    import stvc.api as api
    from stvc.background.cache import default_cache_dir

    with progress_bar(quiet=request.quiet) as progress:
        if settled is not None:
            report = api.append(
                frames,
                request.out,
                cache_dir=request.cache_dir,
                accept_offset=request.accept_offset,
                progress=progress,
            )
        else:
            report = api.encode(
                frames,
                request.out,
                external_background=request.external_background,
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


def _whole(source: Any) -> Aoi:
    """Make an area of all that a source covers."""
    from stvc.aoi import Aoi

    ground = source.ground()
    if ground is None:
        raise typer.BadParameter(
            "is needed: the files have no CRS that would tell their extent", param_hint="--aoi"
        )
    return Aoi(ground, source.name)


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
            f"source {source.name} has no frame of {aoi.name if aoi else 'its ground'} "
            f"from {request.start or 'its beginning'} to {request.end or 'its end'}; "
            "choose another --start or --end"
        )
    return frames


def _unchanged(request: EncodeRequest, settled: Settled) -> ExitCode:
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
