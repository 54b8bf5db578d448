"""Where a place's background comes from: the cache if it knows the place, else its own frames."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc import config
from stvc.background.cache import BackgroundCache
from stvc.background.composite import (
    MIN_FRAMES,
    composite,
    encode_background,
    head_of,
)
from stvc.codec.encoder import fit_klts, unclear_of
from stvc.codec.place import Place, Settings
from stvc.codec.spectral import Klt
from stvc.errors import BackgroundError, CorruptError, NoDataError, QualityError
from stvc.header import place_key
from stvc.types import GroupGrid, Series

if TYPE_CHECKING:
    from collections.abc import Callable

    from stvc.model.weights import EntropyModel

    Progress = Callable[[int, int, str], None]

log = logging.getLogger(__name__)

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Built:
    """A background that `build` put into the cache."""

    content_hash: str
    dates: int
    """Frames of the series that it was made from."""
    payload_bytes: int
    replaced: str | None
    """Content hash of the version of the place that it supersedes."""


def wants_background(series: Series, settings: Settings, *, external: bool) -> bool:
    """Tell whether a new archive gets a background.

    Raises
    ------
    QualityError
        If the settings exclude the external background that was asked for.
    """
    without = settings.reference in ("none", "recent") or settings.lossless
    if external and without:
        named = "lossless" if settings.lossless else f"reference={settings.reference!r}"
        raise QualityError(f"{named} uses no background, so none can be external; drop one of them")
    if without:
        return False
    if settings.reference in ("background", "both") or external:
        return True
    return len(series.times) >= MIN_FRAMES


def find_or_build(
    series: Series,
    place: Place,
    unclear: tuple[Bool, ...],
    model: EntropyModel,
    cache_dir: str | os.PathLike[str] | None,
    *,
    external: bool,
    progress: Progress | None,
) -> bytes | None:
    """Return the coded background of a new archive; None if no pixel was ever clear.

    Parameters
    ----------
    series : Series
    place : Place
    unclear : tuple of array, per group (T, H, W) bool
    model : EntropyModel
    cache_dir : path-like, optional
        None: no cache, unless ``external``, which falls back to the user's.
    external : bool
        Whether the archive will hold only its hash: it must then be in the cache.
    progress : callable, optional

    Raises
    ------
    BackgroundError
        If ``external`` and the cache cannot keep it.
    """
    cache = None
    if cache_dir is not None or external:
        cache = BackgroundCache(Path(cache_dir) if cache_dir is not None else config.cache_dir())
    key = place_key(series.crs_wkt, series.grids)
    known = None if cache is None else cache.find(key)
    entry = None if cache is None or known is None else cache.load(known)
    if cache is not None and entry is not None and entry[1].get("model") == model.model_id:
        if external:
            cache.store(key, *entry, needed=True)
        return entry[0]
    if progress is not None:
        progress(0, 0, "building the historical background")
    settings = place.settings
    step = settings.step_index if settings.psnr is None else _guess_step(settings.psnr)
    blob = _compose(series, place.klts, unclear, step, model)
    if blob is not None and cache is not None:
        try:
            cache.store(key, blob, facts_of(series, model.model_id), needed=external)
        except BackgroundError as error:
            if external:
                raise
            log.warning("%s; going on without the cache", error)
    return blob


def build(
    series: Series,
    cache: BackgroundCache,
    model: EntropyModel,
    *,
    step_index: int,
    klts: tuple[Klt, ...] | None = None,
    refresh: bool = False,
    name: str | None = None,
) -> Built:
    """Make a background of a series the newest one of its place.

    Parameters
    ----------
    series : Series
    cache : BackgroundCache
    model : EntropyModel
    step_index : int
        Quantization step of the composite, unless an earlier version tells it.
    klts : tuple of Klt, optional
        Spectral transforms to keep; those of the version before, or fitted, if not given.
    refresh : bool
        Whether the place may have a background already.
    name : str, optional
        Of the place, for listings.

    Raises
    ------
    BackgroundError
        If the place has one already and this is no refresh, or the cache cannot keep it.
    NoDataError
        If no pixel of the series is clear.
    """
    key = place_key(series.crs_wkt, series.grids)
    before = cache.find(key)
    if before is not None and not refresh:
        raise BackgroundError(
            f"the cache {cache.root} has a background of this place already ({before[:12]}); "
            "refresh it instead"
        )
    unclear = unclear_of(series, series.grids)
    entry = None if before is None else cache.load(before)
    if entry is not None and entry[1].get("model") == model.model_id:
        try:
            head = head_of(entry[0])
            # Versions that share their transforms can stand in for each other.
            klts, step_index = klts or head.klts, head.step_index
        except CorruptError:
            log.warning("background %s is unreadable; building a new one", before)
    klts = klts or fit_klts(series, unclear)
    blob = _compose(series, klts, unclear, step_index, model)
    if blob is None:
        raise NoDataError(
            f"no pixel of the {len(series.times)} dates is clear; choose a longer period"
        )
    facts = facts_of(series, model.model_id, name or (entry[1].get("name") if entry else None))
    content_hash = cache.store(key, blob, facts)
    replaced = None if before == content_hash else before
    return Built(content_hash, len(series.times), len(blob), replaced)


def facts_of(series: Series, model_id: str, name: str | None = None) -> dict[str, Any]:
    """What the cache remembers beside a background (JSON values)."""
    facts = {
        "model": model_id,
        "dates": len(series.times),
        "first": str(series.times[0]),
        "last": str(series.times[-1]),
        **ground_of(series.crs_wkt, series.grids),
    }
    return facts if name is None else {**facts, "name": name}


def ground_of(crs_wkt: str, grids: tuple[GroupGrid, ...]) -> dict[str, Any]:
    """Describe a place: CRS, bands, grid sizes, and its center in degrees if it has a CRS."""
    facts: dict[str, Any] = {
        "crs": crs_wkt[:200],
        "bands": [list(g.bands) for g in grids],
        "shapes": [list(g.shape) for g in grids],
    }
    grid = grids[0]
    if crs_wkt:
        from pyproj import Transformer
        from pyproj.exceptions import ProjError

        try:
            turn = Transformer.from_crs(crs_wkt, "EPSG:4326", always_xy=True)
            where = turn.transform(float(grid.x.mean()), float(grid.y.mean()))
        except ProjError:
            return facts
        if np.isfinite(where).all():
            facts["center"] = [round(float(degrees), 5) for degrees in where]
    return facts


def _compose(
    series: Series,
    klts: tuple[Klt, ...],
    unclear: tuple[Bool, ...],
    step_index: int,
    model: EntropyModel,
) -> bytes | None:
    made = [composite(p, u) for p, u in zip(series.pixels, unclear, strict=True)]
    if all(never.all() for _, never in made):
        return None
    day = int(series.times[0].astype("datetime64[D]").astype(np.int64))
    return encode_background(
        series.grids,
        klts,
        tuple(m[0] for m in made),
        tuple(m[1] for m in made),
        step_index,
        day,
        model,
    )


def _guess_step(psnr: float) -> int:
    from stvc.codec.quantize import MAX_STEP_INDEX, STEP_OCTAVE

    return int(np.clip(round((93.0 - psnr) * STEP_OCTAVE / 6.02), 0, MAX_STEP_INDEX))
