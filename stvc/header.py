"""What an archive's header says, and the place that it opens to."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc import threads
from stvc._header_rules import (
    BACKGROUND_VERSIONS,
    EXTERNAL_BACKGROUND,
    FORMAT_VERSION,
    MAX_PIXELS,
    format_entry,
    read_attrs,
    read_format,
    read_grids,
    read_hashes,
    read_klts,
    read_model_id,
    read_settings,
)
from stvc.archive import ArchiveReader, Kind, UnitKey
from stvc.background.composite import Background
from stvc.background.remembered import decoded_background
from stvc.codec.backgrounds import Backgrounds, Versions
from stvc.codec.place import Place, axis_to_header
from stvc.crs import long_crs, short_crs
from stvc.errors import BackgroundError, CorruptError, TooLargeError, VersionError
from stvc.model.weights import load_model
from stvc.types import GroupGrid, Series

if TYPE_CHECKING:
    from stvc.model.weights import EntropyModel

__all__ = [
    "FORMAT_VERSION",
    "MAX_PIXELS",
    "OpenPlace",
    "background_blob",
    "external_background",
    "header_of",
    "is_external",
    "open_place",
    "place_key",
    "read_format",
    "read_hashes",
    "samples_of",
]

U16 = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class OpenPlace:
    """An archive's place, ready to decode."""

    place: Place
    backgrounds: Backgrounds | None
    model: EntropyModel
    crs: str
    attrs: dict[str, Any]
    band_attrs: dict[str, dict[str, Any]]


def place_key(crs_wkt: str, grids: tuple[GroupGrid, ...]) -> str:
    """Name of a place for the background cache: sha256 over CRS, grids and bands."""
    parts = [
        short_crs(crs_wkt),
        # ^ one CRS has many spellings in WKT
        [[list(g.bands), g.suffix, axis_to_header(g.y), axis_to_header(g.x)] for g in grids],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def header_of(
    series: Series, place: Place, model_id: str, blob: bytes | None, *, external: bool = False
) -> dict[str, Any]:
    """JSON header of a new archive; ``external``: the background stays outside."""
    outside = frozenset({EXTERNAL_BACKGROUND} if external and blob is not None else ())
    header: dict[str, Any] = {
        "format": format_entry(place.generation, outside),
        "model": model_id,
        "crs": short_crs(series.crs_wkt),
        "grids": [
            {
                "suffix": g.suffix,
                "bands": list(g.bands),
                "y": axis_to_header(g.y),
                "x": axis_to_header(g.x),
            }
            for g in place.grids
        ],
        "mask": {
            "kind": place.mask.kind,
            "suffix": place.mask.suffix,
            "y": axis_to_header(place.mask.y),
            "x": axis_to_header(place.mask.x),
        },
        "settings": place.settings.to_header(),
        "attrs": series.attrs,
        "band_attrs": series.band_attrs,
    }
    if blob is None:
        header["klts"] = [k.to_header() for k in place.klts]
    else:
        header["background"] = hashlib.sha256(blob).hexdigest()
    return header


def open_place(
    reader: ArchiveReader,
    *,
    with_background: bool = True,
    cache_dir: str | os.PathLike[str] | None = None,
) -> OpenPlace:
    """Read an archive's header, model and background.

    Parameters
    ----------
    reader : ArchiveReader
    with_background : bool
        False leaves the background (and with it the spectral transforms) out.
    cache_dir : path-like, optional
        Where an external background is looked up; by default the user's cache.

    Raises
    ------
    CorruptError, TooLargeError, VersionError, ModelError
    BackgroundError
        If the background is external and the cache lacks it.
    """
    header = reader.header
    version, features = read_format(header, reader.name)
    try:
        grids, mask = read_grids(header)
        model_id, hashes = read_model_id(header), read_hashes(header)
        if (len(hashes) > 1) != (BACKGROUND_VERSIONS in features):
            raise ValueError(f"{len(hashes)} backgrounds, features {sorted(features)}")
        klts = () if hashes else read_klts(header, grids)
        settings = read_settings(header)
        crs, attrs, band_attrs = read_attrs(header)
    except (CorruptError, TooLargeError, VersionError) as error:
        raise type(error)(f"{reader.name}: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise CorruptError(
            f"{reader.name}: its header is unusable ({_one_line(error)}); copy or encode it again"
        ) from None
    model = load_model(model_id)
    if not model.serves(version):
        raise CorruptError(
            f"{reader.name}: entropy model {model_id} does not serve bit stream version {version}; "
            "copy or encode it again"
        )
    backgrounds: Backgrounds | None = None
    if hashes and with_background:
        external = EXTERNAL_BACKGROUND in features
        found = [
            _background(reader, number, name, grids, model, external=external, cache_dir=cache_dir)
            for number, (_, name) in enumerate(hashes)
        ]
        klts, backgrounds = found[0].klts, found[0].pixels
        if len(found) > 1:
            backgrounds = Versions(tuple(k for k, _ in hashes), tuple(f.pixels for f in found))
    return OpenPlace(
        Place(grids, mask, klts, settings, version),
        backgrounds,
        model,
        long_crs(crs),
        attrs,
        band_attrs,
    )


def is_external(reader: ArchiveReader) -> bool:
    """Whether an archive names a background that it does not hold."""
    return EXTERNAL_BACKGROUND in read_format(reader.header, reader.name)[1]


def background_blob(
    reader: ArchiveReader,
    version: int,
    content_hash: str,
    *,
    external: bool,
    cache_dir: str | os.PathLike[str] | None = None,
) -> bytes:
    """Read a background's coded form out of an archive, or of the cache if it is external.

    Raises
    ------
    CorruptError
        If the archive lacks it, or holds another.
    BackgroundError
        If the cache lacks it.
    """
    key = UnitKey(Kind.BACKGROUND, version, 0, 0)
    if external:
        return external_background(reader, content_hash, cache_dir)
    if key not in reader.units:
        raise CorruptError(f"{reader.describe(key)}: missing; copy the archive again")
    blob = reader.read(key)
    if hashlib.sha256(blob).hexdigest() != content_hash:
        raise CorruptError(
            f"{reader.describe(key)}: it is not the background that the header names"
        )
    return blob


def _background(
    reader: ArchiveReader,
    version: int,
    content_hash: str,
    grids: tuple[GroupGrid, ...],
    model: EntropyModel,
    *,
    external: bool,
    cache_dir: str | os.PathLike[str] | None,
) -> Background:
    blob = background_blob(reader, version, content_hash, external=external, cache_dir=cache_dir)
    try:
        with threads.fitting(grids):
            return decoded_background(blob, grids, model)
    except CorruptError as error:
        raise CorruptError(f"{reader.name}: {error}") from None


def external_background(
    reader: ArchiveReader, content_hash: str, cache_dir: str | os.PathLike[str] | None = None
) -> bytes:
    """Look an external background up in the cache.

    Raises
    ------
    BackgroundError
        If it is not there; says which, and how to get it.
    """
    from stvc import config
    from stvc.background.cache import BackgroundCache

    cache = BackgroundCache(config.cache_dir() if cache_dir is None else Path(cache_dir))
    found = cache.load(content_hash)
    if found is None:
        raise BackgroundError(
            f"{reader.name} was encoded with an external background, {content_hash}, which is not "
            f"in the cache {cache.root}; copy {content_hash}.h5 into it from the cache of whoever "
            "encoded the archive, name another cache (--cache-dir, STVC_CACHE_DIR), or ask for the "
            "whole archive: stvc bundle"
        )
    return found[0]


def _one_line(error: Exception) -> str:
    """An error's kind and words, without the control characters of a stranger's text."""
    text = f"{type(error).__name__}: {error}"
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def samples_of(grids: tuple[GroupGrid, ...]) -> int:
    """Samples of one frame over all groups."""
    return sum(int(np.prod(g.shape)) for g in grids)
