"""The report: one page that holds everything, images and script included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stvc.export.rules import replacing
from stvc.fidelity.measure import Fidelity, measure
from stvc.fidelity.tables import headline, tables
from stvc.report import contents
from stvc.report.gather import gather
from stvc.report.html import fill
from stvc.report.layers import layers, veils
from stvc.report.maps import Gathered, coarser
from stvc.report.outline import outline
from stvc.report.spent import TracedArchive
from stvc.types import Series

Progress = Callable[[int, int, str], None]

BUDGET = 6_000_000
"""Bytes that the maps of a page should take, by an estimate made before anything is decoded."""
LIMIT = 7_500_000
"""Bytes that they may take at most; maps that turn out larger are halved in size."""


@dataclass(frozen=True)
class Written:
    """What `write_report` did."""

    path: Path
    dates: int
    notes: tuple[str, ...]
    """What could not be shown or compared."""


def write_report(
    path: Path,
    out: Path,
    *,
    original: Series | None = None,
    budget: int = BUDGET,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Written:
    """Write a report of an archive.

    Parameters
    ----------
    path : Path
        The archive; it is decoded once, date by date.
    out : Path
        The page; replaced whole or not at all.
    original : Series, optional
        What was encoded: adds the original and the error to the maps and the curve, and quality
        per band and verdicts to the tables. Memory then holds all decoded frames.
    budget : int
        Bytes that the maps should take; larger fields are averaged to fit.
    cache_dir : Path, optional
        Where an external background is looked up; by default the user's cache.
    progress : callable, optional
        Called with (done, total, what).

    Raises
    ------
    CorruptInputError
        If the archive holds no date, or the original does not fit.
    """
    frames: list[tuple[int, Series]] | None = None if original is None else []
    archive = TracedArchive(path, cache_dir=cache_dir)
    with archive:
        info = archive.info()
        found = gather(archive, original, budget=budget, frames=frames, progress=progress)
        timeline = archive.timeline()
    fidelity = None
    if original is not None and frames:
        fidelity = measure(original, join(frames))
    page = render(info, found, timeline, fidelity)
    with replacing(out) as scratch:
        scratch.write_text(page, encoding="utf-8")
    notes = () if fidelity is None else fidelity.notes
    return Written(out, len(found.times), notes)


def join(frames: list[tuple[int, Series]]) -> Series:
    """Put single dates together, in the order of their positions."""
    ordered = [series for _, series in sorted(frames, key=lambda frame: frame[0])]
    return replace(
        ordered[0],
        times=np.concatenate([s.times for s in ordered]),
        pixels=tuple(np.concatenate(p) for p in zip(*(s.pixels for s in ordered), strict=True)),
        classes=np.concatenate([s.classes for s in ordered]),
        provenance=(),
    )


def render(
    info: dict[str, Any], found: Gathered, timeline: Series, fidelity: Fidelity | None
) -> str:
    """Fill the template.

    Parameters
    ----------
    info : dict
        What ``Archive.info()`` returns.
    found : Gathered
    timeline : Series
        What ``Archive.timeline()`` returns.
    fidelity : Fidelity, optional

    Returns
    -------
    str
        HTML.
    """
    name = str(timeline.attrs.get("aoi_name") or timeline.attrs.get("title") or "")
    stem = Path(str(info["path"])).name
    maps = layers(found)
    while sum(layer.size for layer in maps) > LIMIT and min(found.hidden.shape[1:]) >= 16:
        found = coarser(found)
        maps = layers(found)
    payload = {
        "dates": contents.dates(info, found),
        "curve": contents.curve(found),
        "layers": [layer.to_json() for layer in maps],
        "veils": veils(found) if found.hidden.any() else None,
        "outline": outline(timeline.attrs, timeline.crs_wkt, found.grid),
        "shape": list(found.hidden.shape[1:]),
        "pixel": found.factor,
        "extent": [found.grid.shape[2] / found.factor, found.grid.shape[1] / found.factor],
        "start": contents.start(found),
    }
    return fill(
        "report.html",
        script="report.js",
        data=payload,
        title=name or stem,
        file=stem,
        info=info,
        facts=contents.facts(info),
        clouds_dropped=info["settings"].get("clouds") == "drop" and bool(found.hidden.any()),
        bands=contents.bands(info),
        verdicts=() if fidelity is None else fidelity.verdicts,
        tables=[] if fidelity is None else tables(fidelity)[1:],  # the first are the verdicts
        notes=() if fidelity is None else fidelity.notes,
        settings=contents.settings(info),
        attrs=contents.attrs(timeline.attrs),
        dates=contents.date_rows(info, timeline),
        columns=contents.columns(timeline),
    )


def compare_page(found: Fidelity, title: str) -> str:
    """Lay a comparison out as a self-contained page.

    Parameters
    ----------
    found : Fidelity
    title : str

    Returns
    -------
    str
        HTML.
    """
    return fill(
        "compare.html",
        script=None,
        data=None,
        title=title,
        headline=headline(found),
        verdicts=found.verdicts,
        tables=tables(found)[1:],
        notes=found.notes,
    )
