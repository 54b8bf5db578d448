"""``stvc background build | refresh``: from frames to a place's background."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stvc.cli.background import open_cache
from stvc.cli.options import require_file
from stvc.console import byte_size, emit_json
from stvc.exit_codes import ExitCode

if TYPE_CHECKING:
    from stvc.codec.spectral import Klt
    from stvc.types import Series

_SHORT = 12


@dataclass(frozen=True)
class BuildRequest:
    """Everything that ``stvc background build`` or ``refresh`` was asked for."""

    aoi: str | None
    """Path of a GeoJSON file, or ``-`` for standard input; excludes ``archive``."""
    archive: Path | None
    """An archive whose decoded frames are used instead of a source's."""
    source: str
    """Name of a registered source."""
    start: date | None
    """First day, inclusive."""
    end: date | None
    """Last day, inclusive."""
    days: int | None
    """Only frames at most this many days older than the newest; None: all."""
    bands: list[str] | None
    """Band names; None: all."""
    quality: float
    """0 to 100; a refreshed version keeps that of the version before."""
    refresh: bool
    """Whether the place may have a background already."""
    cache_dir: Path | None
    """None: the user's cache directory."""
    as_json: bool
    """Print a JSON object instead of a sentence."""
    quiet: bool
    """Print errors only (and the JSON object, if asked for)."""


def build(request: BuildRequest) -> ExitCode:
    """Build or refresh the background of a place.

    Raises
    ------
    StvcError
        What the area of interest, the source, the archive or the cache object to.
    typer.BadParameter
        If not exactly one of ``--aoi`` and ``--archive`` is given.
    """
    if (request.aoi is None) == (request.archive is None):
        raise typer.BadParameter("give one of them", param_hint="--aoi/--archive")

    from stvc.background.building import build as work
    from stvc.model.weights import load_model
    from stvc.quality import step_index_of_quality

    series, klts, name = _from_archive(request) if request.archive else _from_source(request)
    cache = open_cache(request.cache_dir)
    built = work(
        series,
        cache,
        load_model(),
        step_index=step_index_of_quality(request.quality),
        klts=klts,
        refresh=request.refresh,
        name=name,
    )
    if request.as_json:
        emit_json(
            {
                "command": f"background {'refresh' if request.refresh else 'build'}",
                "cache": cache.root,
                "place": name,
                "sha256": built.content_hash,
                "dates": built.dates,
                "bytes": built.payload_bytes,
                "replaced": built.replaced,
            }
        )
    elif not request.quiet:
        before = f", supersedes {built.replaced[:_SHORT]}" if built.replaced else ""
        print(
            f"{name}: background {built.content_hash[:_SHORT]} of {built.dates} dates, "
            f"{byte_size(built.payload_bytes)}{before}"
        )
    return ExitCode.OK


def _from_archive(request: BuildRequest) -> tuple[Series, tuple[Klt, ...] | None, str]:
    import numpy as np

    import stvc.api as api
    from stvc.header import open_place

    path = request.archive
    if path is None:
        raise RuntimeError("asked for the frames of no archive")
    require_file(path)
    with api.open(path, cache_dir=request.cache_dir) as archive:
        klts = open_place(archive._reader, cache_dir=request.cache_dir).place.klts
        chosen: Any = None
        if request.start or request.end or request.days is not None:
            final = request.end or archive.times[-1].astype("datetime64[D]").item()
            chosen = slice(_first_day(request, final), np.datetime64(final, "D"))
        if request.bands is not None:
            klts = ()
        return archive.to_series(time=chosen, bands=request.bands), klts or None, path.stem


def _from_source(request: BuildRequest) -> tuple[Series, tuple[Klt, ...] | None, str]:
    from stvc.aoi import read_aoi
    from stvc.dataset import series_from_dataset
    from stvc.errors import NoDataError
    from stvc.source import get_source

    source = get_source(request.source)
    aoi = read_aoi(request.aoi or "-")
    first: Any = request.start
    if request.days is not None:
        dates = source.dates(aoi, None, request.end)
        if not len(dates):
            raise NoDataError(f"source {source.name} has no frame of {aoi.name}")
        first = _first_day(request, dates[-1].astype("datetime64[D]").item())
    frames = source.fetch(aoi, first, request.end, request.bands, ())
    return series_from_dataset(frames), None, aoi.name


def _first_day(request: BuildRequest, final: date) -> date | None:
    if request.start is not None or request.days is None:
        return request.start
    try:
        return final - timedelta(days=request.days)
    except OverflowError:
        return None
