"""Dates and bands of an archive: what was asked for, and the series it decodes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stvc.archive import ArchiveReader
from stvc.codec.wave_decoder import DecodedFrame
from stvc.errors import CorruptInputError
from stvc.header import OpenPlace
from stvc.selection import selected
from stvc.types import U16, GroupGrid, MaskGrid, Series
from stvc.versions import SUPERSEDED_COLUMN, superseded


@dataclass(frozen=True)
class Choice:
    """Dates and bands to decode."""

    frames: list[int]
    """File indices, in the order of time."""
    groups: list[int]
    """Band groups."""
    bands: list[list[int]]
    """Per group: channels."""


def choose(
    reader: ArchiveReader,
    grids: Sequence[GroupGrid],
    order: Sequence[int],
    time: Any,
    bands: Sequence[str] | None,
    path: Path | str,
) -> Choice:
    """Check a selection of dates and bands.

    Parameters
    ----------
    reader : ArchiveReader
    grids : sequence of GroupGrid
        Of all band groups.
    order : sequence of int
        File indices of the frames to choose from, in the order of time.
    time, bands
        As `Archive.to_xarray` takes them.
    path : Path or str
        For messages.

    Raises
    ------
    CorruptInputError
        If there is no such band, or no such date.
    """
    frames = reader.frames
    known = [b for g in grids for b in g.bands]
    if bands is not None:
        unknown = [b for b in bands if b not in known]
        if unknown or not bands:
            raise CorruptInputError(
                f"no band {', '.join(unknown) or '(none)'} in {path}; it holds {', '.join(known)}"
            )
    wanted = set(known if bands is None else bands)
    groups = [g for g, grid in enumerate(grids) if wanted & set(grid.bands)]
    found = selected([frames[k].time for k in order], time)
    chosen = [k for k, wanted in zip(order, found, strict=True) if wanted]
    if not chosen:
        held = np.array([frames[k].time for k in order], "datetime64[s]")
        span = ", ".join(str(t)[:10] for t in held[[0, -1]]) if len(held) else "nothing"
        raise CorruptInputError(f"no date of {path} matches {time!r}; it holds {span}")
    kept = [[i for i, b in enumerate(grids[g].bands) if b in wanted] for g in groups]
    return Choice(chosen, groups, kept)


def series_of(
    reader: ArchiveReader,
    opened: OpenPlace,
    chosen: Choice,
    decoded: Mapping[int, DecodedFrame] | None,
    *,
    mark_superseded: bool,
) -> Series:
    """Put decoded frames and what is on record of them together.

    Parameters
    ----------
    reader : ArchiveReader
    opened : OpenPlace
        What the header says.
    chosen : Choice
    decoded : mapping of int to DecodedFrame, or None
        By file index; None: a series without pixels and mask.
    mark_superseded : bool
        Add a column that tells versions of one acquisition apart.
    """
    grids = opened.place.grids
    known = {b for g in grids for b in g.bands}
    decoded = decoded or {}
    parts = list(zip(chosen.groups, chosen.bands, strict=True))
    wanted = {grids[g].bands[i] for g, keep in parts for i in keep}
    records = [reader.frames[k] for k in chosen.frames]
    provenance = [dict(record.provenance) for record in records]
    if mark_superseded:
        gone = superseded(reader.frames)
        for k, values in zip(chosen.frames, provenance, strict=True):
            values[SUPERSEDED_COLUMN] = k in gone
    return Series(
        times=np.array([r.time for r in records], "datetime64[s]"),
        grids=tuple(
            replace(grids[g], bands=tuple(grids[g].bands[i] for i in keep)) for g, keep in parts
        ),
        pixels=tuple(
            _stacked([decoded[k].pixels[g] for k in chosen.frames], keep) for g, keep in parts
        ),
        mask=opened.place.mask if decoded else MaskGrid("none", "", np.zeros(0), np.zeros(0)),
        classes=np.stack([decoded[k].classes for k in chosen.frames])
        if decoded
        else np.zeros((len(records), 0, 0), np.uint8),
        crs_wkt=opened.crs,
        attrs=opened.attrs,
        provenance=tuple(provenance) if any(provenance) else (),
        band_attrs={b: a for b, a in opened.band_attrs.items() if b in wanted or b not in known},
    )


def _stacked(images: list[U16], keep: list[int]) -> U16:
    """(T, K, H, W) of some bands; all bands of one date are not copied, which a tile would feel."""
    if keep != list(range(len(images[0]))):
        return np.stack([image[keep] for image in images])
    return images[0][None] if len(images) == 1 else np.stack(images)
