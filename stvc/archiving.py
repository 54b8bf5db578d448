"""Whole-archive operations: from a series to a file, and from a file to a place."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc import threads
from stvc.archive import ArchiveReader, Kind, UnitKey, lock, write_archive
from stvc.background.cache import BackgroundCache
from stvc.background.composite import (
    MIN_FRAMES,
    composite,
    decode_background,
    encode_background,
)
from stvc.codec.decoder import FrameDecoder, chain_start, decode_frames
from stvc.codec.encoder import EncodedFrames, encode_frames, find_step, fit_klts, unclear_of
from stvc.codec.place import Place, Settings
from stvc.dataset import select_times
from stvc.errors import BackgroundError, CorruptInputError
from stvc.header import OpenPlace, header_of, open_place, place_key
from stvc.model.weights import load_model
from stvc.types import Series

if TYPE_CHECKING:
    from stvc.model.weights import EntropyModel

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
U16 = npt.NDArray[np.uint16]


def encode_series(
    series: Series,
    path: Path,
    settings: Settings,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Encode a series to a new archive (see `stvc.encode`)."""
    with threads.fitting(series.grids):
        _encode_series(series, path, settings, cache_dir, progress)


def _encode_series(
    series: Series,
    path: Path,
    settings: Settings,
    cache_dir: str | os.PathLike[str] | None,
    progress: Progress | None,
) -> None:
    model = load_model()
    unclear = unclear_of(series, series.grids)
    klts = fit_klts(series, unclear)
    place = Place(series.grids, series.mask, klts, settings)
    blob = None
    if _wants_background(series, settings):
        blob = _background(series, place, unclear, model, cache_dir, progress)
    backgrounds = None
    if blob is not None:
        background = decode_background(blob, series.grids, model)
        place = replace(place, klts=background.klts)
        backgrounds = background.pixels
    if settings.psnr is not None:
        index = find_step(series, place, backgrounds, settings.psnr, progress)
        place = replace(place, settings=replace(settings, step_index=index))
    decoder = FrameDecoder(place, backgrounds)
    encoded = encode_frames(series, place, decoder, model, progress=progress)
    units = list(encoded.units)
    header = header_of(series, place, model.model_id, blob)
    if blob is not None:
        units.insert(0, (UnitKey(Kind.BACKGROUND, 0, 0, 0), blob, (0, 0, 0)))
    header["learned_gain"] = _learned_gain(encoded, None)
    write_archive(path, header, encoded.frames, units)


def append_series(series: Series, path: Path, *, progress: Progress | None = None) -> int:
    """Append new dates (see `stvc.append`); returns how many."""
    with lock(path), ArchiveReader.open(path) as reader, threads.fitting(series.grids):
        there = {frame.time for frame in reader.frames}
        seconds = series.times.astype("datetime64[s]").astype(np.int64)
        new = np.array([int(s) not in there for s in seconds], bool)
        opened = open_place(reader, with_background=False)
        _check_fit(series, opened, path)
        if not new.any():
            return 0
        opened = open_place(reader)
        decoder = FrameDecoder(opened.place, opened.backgrounds)
        last = len(reader.frames) - 1
        if last >= 0 and chain_start(last + 1, opened.place) <= last:
            groups = list(range(len(opened.place.grids)))
            for _ in decode_frames(
                reader,
                opened.place,
                opened.backgrounds,
                opened.model,
                [last],
                groups,
                decoder=decoder,
            ):
                pass
        fresh = select_times(series, new)
        encoded = encode_frames(
            fresh, opened.place, decoder, opened.model, first=last + 1, progress=progress
        )
        header = {
            **reader.header,
            "learned_gain": _learned_gain(encoded, reader.header.get("learned_gain")),
        }
        write_archive(path, header, encoded.frames, encoded.units, base=reader)
        return int(new.sum())


def _learned_gain(encoded: EncodedFrames, before: float | None) -> float:
    """Share of bits that the network saves against the plain coder, for warnings."""
    gain = round(1 - encoded.bits_network / encoded.bits_plain, 3) if encoded.bits_plain else before
    return gain if gain is not None else 0.0


def _wants_background(series: Series, settings: Settings) -> bool:
    if settings.reference in ("none", "recent") or settings.lossless:
        return False
    if settings.reference in ("background", "both"):
        return True
    return len(series.times) >= MIN_FRAMES


def _background(
    series: Series,
    place: Place,
    unclear: tuple[npt.NDArray[np.bool_], ...],
    model: EntropyModel,
    cache_dir: str | os.PathLike[str] | None,
    progress: Progress | None,
) -> bytes | None:
    """Coded background: from the cache if it knows the place, else built from the series."""
    cache = None if cache_dir is None else BackgroundCache(Path(cache_dir))
    key = place_key(series)
    if cache is not None:
        known = cache.find(key)
        entry = cache.load(known) if known is not None else None
        if entry is not None and entry[1].get("model") == model.model_id:
            return entry[0]
    if progress is not None:
        progress(0, 0, "building the historical background")
    made = [composite(p, u) for p, u in zip(series.pixels, unclear, strict=True)]
    if all(never.all() for _, never in made):
        return None
    day = int(series.times[0].astype("datetime64[D]").astype(np.int64))
    settings = place.settings
    step = settings.step_index if settings.psnr is None else _guess_step(settings.psnr)
    blob = encode_background(
        place.grids,
        place.klts,
        tuple(m[0] for m in made),
        tuple(m[1] for m in made),
        step,
        day,
        model,
    )
    if cache is not None:
        meta = {
            "model": model.model_id,
            "dates": len(series.times),
            "first": str(series.times[0]),
            "last": str(series.times[-1]),
            "crs": series.crs_wkt[:200],
            "bands": [list(g.bands) for g in place.grids],
        }
        try:
            cache.store(key, blob, meta)
        except BackgroundError as error:
            log.warning("%s; going on without the cache", error)
    return blob


def _guess_step(psnr: float) -> int:
    from stvc.codec.quantize import MAX_STEP_INDEX, STEP_OCTAVE

    return int(np.clip(round((93.0 - psnr) * STEP_OCTAVE / 6.02), 0, MAX_STEP_INDEX))


def _check_fit(series: Series, opened: OpenPlace, path: Path) -> None:
    """Raise CorruptInputError unless a series has the archive's bands, grids and mask."""
    place = opened.place
    mine, theirs = [g.bands for g in place.grids], [g.bands for g in series.grids]
    if mine != theirs:
        raise CorruptInputError(
            f"{path} holds the bands {_names(mine)}, the dataset has {_names(theirs)}"
        )
    if series.mask.kind != place.mask.kind:
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
