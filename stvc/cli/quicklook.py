"""``stvc quicklook``: which dates to draw, and what to say about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stvc.cli.options import require_file
from stvc.console import byte_size, emit_json, note
from stvc.exit_codes import ExitCode

if TYPE_CHECKING:
    import numpy as np

    from stvc.archive_view import Archive


@dataclass(frozen=True)
class QuicklookRequest:
    """Everything that ``stvc quicklook`` was asked for."""

    archive: Path
    out: Path
    days: list[date]
    """Single days; excludes ``start``, ``end`` and ``every``."""
    start: date | None
    end: date | None
    every: bool
    """All dates."""
    view: str
    clouds: str
    min_clear: float
    size: int | None
    fps: float
    cache_dir: Path | None
    as_json: bool
    quiet: bool


def quicklook(request: QuicklookRequest) -> ExitCode:
    """Draw what was asked for.

    Returns
    -------
    ExitCode
        ``OK``.

    Raises
    ------
    StvcError
        If the archive is damaged.
    typer.BadParameter
        If nothing matches, or the archive's bands do not allow the view.
    """
    from stvc.pictures.quicklook import ANIMATED, STILL

    suffix = request.out.suffix.lower()
    if suffix not in ANIMATED + STILL:
        raise typer.BadParameter(
            f"cannot tell the format from {request.out.name!r}; "
            f"end it in {', '.join(STILL + ANIMATED)}",
            param_hint="--output",
        )
    if request.days and (request.start or request.end or request.every):
        raise typer.BadParameter("excludes --start, --end and --all", param_hint="--date")
    if not request.out.parent.is_dir():
        raise typer.BadParameter(
            f"there is no directory {request.out.parent}", param_hint="--output"
        )
    require_file(request.archive)

    import stvc.api as api
    from stvc.pictures.frame import Clouds
    from stvc.pictures.quicklook import Look
    from stvc.pictures.quicklook import quicklook as draw
    from stvc.pictures.views import View

    with api.open(request.archive, cache_dir=request.cache_dir) as archive:
        info = archive.info()
        _check_view(request.view, info)
        times = _times(request, archive, info, animated=suffix in ANIMATED)
        look = Look(View(request.view), Clouds(request.clouds), request.size, request.fps)
        drawn = draw(archive, request.out, times=times, look=look)
    if drawn.note:
        note(drawn.note)
    size = request.out.stat().st_size
    if request.as_json:
        emit_json(
            {
                "command": "quicklook",
                "path": request.out,
                "view": request.view,
                "dates": list(drawn.times),
                "bytes": size,
                "note": drawn.note or None,
            }
        )
    elif not request.quiet:
        shown = drawn.times[0][:10]
        many = shown if len(drawn.times) == 1 else f"{len(drawn.times)} dates from {shown} on"
        print(f"{request.out}: {request.view} of {many}, {byte_size(size)}")
    return ExitCode.OK


def _check_view(view: str, info: dict[str, Any]) -> None:
    from stvc.errors import CorruptInputError
    from stvc.pictures.views import View, recipe

    bands = [band for group in info["groups"] for band in group["bands"]]
    try:
        recipe(View(view), bands, mask_kind=info["mask"]["kind"])
    except CorruptInputError as problem:
        raise typer.BadParameter(str(problem), param_hint="--view") from None


def _times(
    request: QuicklookRequest, archive: Archive, info: dict[str, Any], *, animated: bool
) -> list[np.datetime64] | None:
    """Choose dates; None leaves the choice of one to the picture."""
    chosen_by_day = request.days or request.start or request.end
    if not (chosen_by_day or request.every or animated or request.min_clear):
        return None
    import numpy as np

    shares = [1.0 if d["clear_share"] is None else d["clear_share"] for d in info["dates"]]
    chosen = []
    for time, share in zip(archive.times, shares, strict=True):
        day = time.astype("datetime64[D]").astype(date)
        inside = (
            day in request.days
            if request.days
            else (request.start is None or day >= request.start)
            and (request.end is None or day <= request.end)
        )
        if inside and share >= request.min_clear:
            chosen.append(np.datetime64(time, "s"))
    if not chosen:
        raise typer.BadParameter(
            f"no date matches; {request.archive} holds {len(shares)} dates "
            f"from {info['first_date']} to {info['last_date']} (see stvc info -v)",
            param_hint="--date" if request.days else "--start/--end/--min-clear",
        )
    return chosen
