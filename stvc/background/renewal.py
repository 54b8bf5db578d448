"""A background that was refreshed takes over in archives, from the next frames on."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stvc import config
from stvc._header_rules import (
    BACKGROUND_VERSIONS,
    EXTERNAL_BACKGROUND,
    LATER_BACKGROUNDS,
    format_entry,
)
from stvc.archive import ArchiveReader, Kind, UnitKey
from stvc.background.cache import BackgroundCache
from stvc.background.composite import decode_background
from stvc.codec.backgrounds import Backgrounds, Versions
from stvc.errors import CorruptError
from stvc.header import OpenPlace, place_key, read_format, read_hashes

log = logging.getLogger(__name__)

Unit = tuple[UnitKey, bytes, tuple[int, int, int]]


class Renewal(NamedTuple):
    """A newer background for the frames that are about to be appended."""

    backgrounds: Backgrounds
    """Of old and new frames."""
    header: dict[str, Any]
    """Entries that change."""
    units: tuple[Unit, ...]
    """The background itself, unless it stays outside."""


def renewal(
    reader: ArchiveReader, opened: OpenPlace, cache_dir: str | os.PathLike[str] | None
) -> Renewal | None:
    """Look whether the cache has a newer background of an archive's place.

    Old frames keep theirs. Only versions with the archive's own spectral transforms and entropy
    model count, which refreshed ones have.

    Parameters
    ----------
    reader : ArchiveReader
    opened : OpenPlace
        The same archive's.
    cache_dir : path-like, optional
        None: archives that hold their background stay with it; those that do not ask the user's.

    Returns
    -------
    Renewal or None
        None if there is none.

    Raises
    ------
    BackgroundError
        If the archive's backgrounds stay outside, and the cache cannot mark this one as needed.
    """
    version, features = read_format(reader.header, reader.name)
    external = EXTERNAL_BACKGROUND in features
    hashes = read_hashes(reader.header)
    if opened.backgrounds is None or not (external or cache_dir is not None):
        return None
    cache = BackgroundCache(config.cache_dir() if cache_dir is None else Path(cache_dir))
    key = place_key(opened.crs, opened.place.grids)
    newest = cache.find(key)
    entry = None if newest is None else cache.load(newest)
    if newest is None or entry is None or newest in {known for _, known in hashes}:
        return None
    pixels = _fitting(*entry, opened, newest)
    if pixels is None:
        return None
    if external:
        cache.store(key, *entry, needed=True)
    first = len(reader.frames)
    log.info("%s: background %s takes over from frame %d on", reader.name, newest[:12], first)
    before = opened.backgrounds
    versions = before if isinstance(before, Versions) else Versions((0,), (before,))
    later = [*reader.header.get(LATER_BACKGROUNDS, []), [first, newest]]
    return Renewal(
        versions.followed_by(first, pixels),
        {
            "format": format_entry(version, features | {BACKGROUND_VERSIONS}),
            LATER_BACKGROUNDS: later,
        },
        () if external else ((UnitKey(Kind.BACKGROUND, len(hashes), 0, 0), entry[0], (0, 0, 0)),),
    )


def _fitting(
    blob: bytes, meta: dict[str, Any], opened: OpenPlace, content_hash: str
) -> tuple[npt.NDArray[np.uint16], ...] | None:
    """Decode a background if an archive can go on with it."""
    if meta.get("model") != opened.model.model_id:
        return None
    try:
        found = decode_background(blob, opened.place.grids, opened.model)
    except CorruptError as error:
        log.warning("background %s is of no use: %s", content_hash[:12], error)
        return None
    same = [k.to_header() for k in found.klts] == [k.to_header() for k in opened.place.klts]
    return found.pixels if same else None
