"""Whole-archive operations: from a series to a file, and from a file to a place."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stvc import threads
from stvc._guard import check_radiometry
from stvc._header_rules import container_of
from stvc._walk import Guard, keep_newest, walk_there
from stvc.archive import ArchiveReader, Kind, UnitKey, lock, write_archive
from stvc.background.building import find_or_build, wants_background
from stvc.background.composite import decode_background
from stvc.background.renewal import renewal
from stvc.codec.aim import find_step
from stvc.codec.encoder import encode_frames, fit_klts, unclear_of
from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.frame_stats import links_of
from stvc.codec.place import Place, Settings
from stvc.codec.structure import Link, Planned, chain, plan_frames
from stvc.codec.tile_job import Spread
from stvc.dataset import select_times
from stvc.errors import CorruptInputError
from stvc.header import OpenPlace, header_of, open_place
from stvc.learned_gain import far_from_model, gain_after, learned_gain
from stvc.model.weights import EntropyModel, model_for
from stvc.types import CloudMode, Series
from stvc.versions import SUPERSEDES_KEY, plan_append, version_of

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
U16 = npt.NDArray[np.uint16]


def encode_series(
    series: Series,
    path: Path,
    settings: Settings,
    *,
    effort: str = "default",
    cache_dir: str | os.PathLike[str] | None = None,
    external: bool = False,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> None:
    """Encode a series to a new archive (see `stvc.encode`)."""
    with threads.fitting(series.grids):
        model = model_for(effort)
        _encode_series(series, path, settings, model, cache_dir, external, progress, spread)


def _encode_series(
    series: Series,
    path: Path,
    settings: Settings,
    model: EntropyModel,
    cache_dir: str | os.PathLike[str] | None,
    external: bool,
    progress: Progress | None,
    spread: Spread | None,
) -> None:
    unclear = unclear_of(series, series.grids)
    klts = fit_klts(series, unclear)
    place = Place(series.grids, series.mask, klts, settings, model.generation)
    blob = None
    if wants_background(series, settings, external=external):
        blob = find_or_build(
            series, place, unclear, model, cache_dir, external=external, progress=progress
        )
    backgrounds = None
    if blob is not None:
        background = decode_background(blob, series.grids, model)
        place = replace(place, klts=background.klts)
        backgrounds = background.pixels
    plan = plan_series((), (), series, unclear, place)
    aim = None
    del unclear  # each frame's is made anew: that of a whole tile is memory that coding needs
    if settings.psnr is not None:
        aim = find_step(series, plan, place, backgrounds, settings.psnr, progress)
        place = replace(place, settings=replace(settings, step_index=aim.step_index))
    links = [planned.link for planned in plan]
    decoder = FrameDecoder(place, backgrounds, links, range(len(links)))
    ordered = in_order(series, plan)
    encoded = encode_frames(
        ordered,
        place,
        decoder,
        model,
        progress=progress,
        spread=spread,
        plans=aim and aim.plans,
        analyzed=aim and aim.units,
    )
    units = list(encoded.units)
    header = header_of(series, place, model.model_id, blob, external=external)
    if blob is not None and not external:
        units.insert(0, (UnitKey(Kind.BACKGROUND, 0, 0, 0), blob, (0, 0, 0)))
    gain = learned_gain(encoded.bits_network, encoded.bits_plain)
    if gain is not None:
        header["learned_gain"] = gain
    major = container_of(place.generation)
    write_archive(path, header, encoded.frames, units, major=major)
    _warn_if_far(gain, path)


class Appended(NamedTuple):
    """What `append_series` did."""

    added: int
    """Frames written."""
    superseded: int
    """Frames of the archive that they replace in views."""


def append_series(
    series: Series,
    path: Path,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    accept_offset: bool = False,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> Appended:
    """Append new dates, and new versions of old ones (see `stvc.append`)."""
    with lock(path), ArchiveReader.open(path) as reader, threads.fitting(series.grids):
        plan = _plan(series, reader)
        new = np.array([replaced is not None for replaced in plan], bool)
        opened = open_place(reader, with_background=False)
        _check_fit(series, opened, path)
        if not new.any():
            return Appended(0, 0)
        opened = open_place(reader, cache_dir=cache_dir)
        place, first = opened.place, len(reader.frames)
        known = links_of(reader.frames, place)
        times = [frame.time for frame in reader.frames]
        fresh = select_times(_with_links(series, plan), new)
        unclear = unclear_of(fresh, place.grids)
        order = plan_series(times, known, fresh, unclear, place)
        older = {k for planned in order for k in planned.link if 0 <= k < first}
        guard = None
        blind = _codes_no_pixel(place.settings, unclear)
        if first and not accept_offset and not blind:
            latest = max(range(first), key=lambda k: (times[k], k))
            guard = Guard(latest, partial(check_radiometry, fresh, place, where=path))
        links = [*known, *(planned.link for planned in order)]
        renewed = None if blind or not first else renewal(reader, opened, cache_dir)
        if renewed is not None:
            opened = replace(opened, backgrounds=renewed.backgrounds)
        walk = walk_there(reader, opened, links, older, guard, blind=blind)
        encoded = encode_frames(
            in_order(fresh, order),
            place,
            walk.decoder,
            opened.model,
            first=first,
            progress=progress,
            spread=spread,
        )
        header = {**reader.header, **(renewed.header if renewed else {})}
        units = (*(renewed.units if renewed else ()), *encoded.units)
        gain = learned_gain(encoded.bits_network, encoded.bits_plain)
        if gain is not None:
            before = header.get("learned_gain")
            header["learned_gain"] = gain_after(before, first, gain, int(new.sum()))
        write_archive(path, header, encoded.frames, units, base=reader)
        if not walk.blind:
            keep_newest(path, links, walk.decoder)
        _warn_if_far(gain, path)
        return Appended(int(new.sum()), sum(len(replaced or ()) for replaced in plan))


def _codes_no_pixel(settings: Settings, unclear: tuple[npt.NDArray[np.bool_], ...]) -> bool:
    """Whether nothing of new frames is coded but masks: then no older pixel is needed either."""
    dropped = settings.clouds is CloudMode.DROP and not settings.lossless
    return dropped and all(bool(hidden.all()) for hidden in unclear)


def plan_series(
    known_times: Sequence[int],
    known_links: Sequence[Link],
    series: Series,
    unclear: tuple[npt.NDArray[np.bool_], ...],
    place: Place,
) -> list[Planned]:
    """Order the frames of a series and link them to each other and to an archive's.

    Parameters
    ----------
    known_times, known_links : sequence
        Of the archive's frames, in its order.
    series : Series
    unclear : tuple of array, per group (T, H, W) bool
    place : Place
    """
    seconds = series.times.astype("datetime64[s]").astype(np.int64).tolist()
    if place.generation == 1:
        first = len(known_links)
        links = chain(first + len(seconds), place.settings.key_interval)
        return [Planned(k, link) for k, link in enumerate(links[first:])]
    clear = 1 - np.mean([u.mean((1, 2)) for u in unclear], axis=0)
    return plan_frames(known_times, known_links, seconds, clear.tolist())


def in_order(series: Series, plan: Sequence[Planned]) -> Series:
    """Series with its frames in coding order."""
    order = [planned.position for planned in plan]
    if order == sorted(order):
        return series
    return replace(
        series,
        times=series.times[order],
        pixels=tuple(p[order] for p in series.pixels),
        classes=series.classes[order],
        provenance=tuple(series.provenance[k] for k in order) if series.provenance else (),
    )


def _plan(series: Series, reader: ArchiveReader) -> list[tuple[int, ...] | None]:
    """Per frame of a series: what it supersedes in the archive; None if it is of no use there."""
    seconds = series.times.astype("datetime64[s]").astype(np.int64)
    provenance = series.provenance or ({},) * len(seconds)
    versions = [version_of(int(s), p) for s, p in zip(seconds, provenance, strict=True)]
    return plan_append(reader.frames, versions)


def _with_links(series: Series, plan: list[tuple[int, ...] | None]) -> Series:
    """Enter in each frame's provenance which frames it supersedes."""
    if not any(plan):
        return series
    return replace(
        series,
        provenance=tuple(
            {**frame, SUPERSEDES_KEY: list(replaced)} if replaced else frame
            for frame, replaced in zip(series.provenance, plan, strict=True)
        ),
    )


def _warn_if_far(gain: float | None, path: Path) -> None:
    """Log one line if the model hardly saved anything on what was just written."""
    line = far_from_model(gain)
    if line is not None:
        log.warning("%s: %s", path, line)


def _check_fit(series: Series, opened: OpenPlace, path: Path) -> None:
    """Raise CorruptInputError unless a series has the archive's bands, grids and mask."""
    place = opened.place
    mine, theirs = [g.bands for g in place.grids], [g.bands for g in series.grids]
    if mine != theirs:
        raise CorruptInputError(
            f"{path} holds the bands {_names(mine)}, the dataset has {_names(theirs)}"
        )
    # A dataset that asks for no rule of its own takes the archive's.
    if series.mask.kind not in (place.mask.kind, place.mask.variable):
        raise CorruptInputError(
            f"{path} has mask kind {place.mask.kind!r}, the dataset {series.mask.kind!r}"
        )
    axes = [(a.y, b.y) for a, b in zip(place.grids, series.grids, strict=True)]
    axes += [(a.x, b.x) for a, b in zip(place.grids, series.grids, strict=True)]
    axes += [(place.mask.y, series.mask.y), (place.mask.x, series.mask.x)]
    if not all(a.shape == b.shape and np.allclose(a, b, rtol=0, atol=1e-3) for a, b in axes):
        raise CorruptInputError(
            f"{path} covers another grid than the dataset; encode it to a new archive"
        )


def _names(groups: list[tuple[str, ...]]) -> str:
    return " + ".join(",".join(g) for g in groups)
