"""``stvc encode --dry-run``: what a fetch would bring and cost."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.console import byte_size, day, emit_json, note
from stvc.exit_codes import ExitCode

if TYPE_CHECKING:
    from stvc.aoi import Aoi
    from stvc.cli.encode import EncodeRequest
    from stvc.source.planning import FetchPlan
    from stvc.source.protocol import Source


def show_plan(
    source: Source,
    aoi: Aoi,
    request: EncodeRequest,
    bands: list[str] | None,
    exclude: Collection[np.datetime64],
) -> ExitCode:
    """Print the dates that would be fetched, then a line of totals.

    Returns
    -------
    ExitCode
        ``OK``, also if there is nothing new.

    Raises
    ------
    StvcError
        What the source objects to.
    """
    from stvc.errors import NoDataError
    from stvc.source.planning import plan_fetch

    try:
        plan = plan_fetch(source, aoi, request.start, request.end, bands, exclude)
    except NoDataError:
        if not exclude:
            raise
        note("nothing new")
        return ExitCode.OK
    times = [str(time) for time in plan.times]
    if request.as_json:
        emit_json({"command": "encode", "status": "planned", **_facts(source, request, plan)})
        return ExitCode.OK
    for time in times:
        print(day(time))
    if not request.quiet:
        note(_sentence(source, plan))
    return ExitCode.OK


def _facts(source: Source, request: EncodeRequest, plan: FetchPlan) -> dict[str, Any]:
    return {
        "path": request.out,
        "source": source.name,
        "dates": [str(time) for time in plan.times],
        "frames": len(plan.times),
        "height": plan.height,
        "width": plan.width,
        "gsd": plan.gsd,
        "raw_megabytes": None if plan.raw_bytes is None else plan.raw_bytes / 1e6,
        "requests": plan.requests,
        "processing_units": plan.processing_units,
        "estimated_from_outline": plan.estimated,
    }


def _sentence(source: Source, plan: FetchPlan) -> str:
    count = len(plan.times)
    if count == 0:
        return f"nothing new at source {source.name}"
    parts = [f"{count} date{'' if count == 1 else 's'} of source {source.name}"]
    about = "about " if plan.estimated else ""
    if plan.width is not None and plan.height is not None:
        parts.append(f"{about}{plan.width} by {plan.height} pixels of {plan.gsd:g} m")
    if plan.raw_bytes is not None:
        parts.append(f"{about}{byte_size(plan.raw_bytes)} of pixels")
    if plan.requests is not None:
        parts.append(f"{plan.requests} requests")
    if plan.processing_units is not None:
        parts.append(f"about {plan.processing_units:.3g} processing units")
    return ", ".join(parts)
