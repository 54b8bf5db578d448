"""Move an archive's background in and out of it: whole to hand over, without it for a thin line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stvc import config
from stvc._header_rules import EXTERNAL_BACKGROUND, format_entry, read_format, read_grids
from stvc.archive import ArchiveReader, Kind, UnitKey, lock, write_archive
from stvc.background.building import ground_of
from stvc.background.cache import BackgroundCache
from stvc.errors import BackgroundError, CorruptError, CorruptInputError
from stvc.header import external_background, long_crs, open_place, place_key

_KEY = UnitKey(Kind.BACKGROUND, 0, 0, 0)


@dataclass(frozen=True)
class BundleReport:
    """What `bundle` did."""

    path: Path
    content_hash: str | None
    """Of the background; None if the archive uses none."""
    changed: bool
    """False if the archive was in the wanted form already (it is copied then)."""
    bytes_before: int
    bytes_after: int


def bundle(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    strip: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> BundleReport:
    """Write an archive with its background inside, or (``strip``) with its hash only.

    The result is, byte for byte, the archive that would have been encoded in that form.

    Parameters
    ----------
    path : path-like
        The archive.
    out : path-like
        The archive to write, whole or not at all; may be ``path`` itself.
    strip : bool
        Take the background out, into the cache, where it is marked as needed.
    cache_dir : path-like, optional
        The background cache; by default the user's.
    overwrite : bool
        Whether another file than ``path`` may be replaced.

    Raises
    ------
    CorruptInputError
        If ``path`` is no file, or ``out`` exists and may not be replaced.
    CorruptError
        If the archive is damaged.
    BackgroundError
        If the background is not in the cache, or the cache cannot keep it.
    """
    source, target = Path(path), Path(out)
    if not source.is_file():
        raise CorruptInputError(f"{source} is not a file; give the path of an archive")
    same = target.exists() and source.samefile(target)
    if target.exists() and not same and not overwrite:
        raise CorruptInputError(f"{target} exists; choose another name, or overwrite it")
    with lock(target), ArchiveReader.open(source) as reader:
        open_place(reader, with_background=False)
        # ^ refuses headers that nothing could decode
        content_hash = reader.header.get("background")
        version, features = read_format(reader.header, reader.name)
        external = EXTERNAL_BACKGROUND in features
        changed = content_hash is not None and external is not strip
        if same and not changed:
            return BundleReport(target, content_hash, False, reader.size, reader.size)
        blob = None
        if content_hash is not None and not strip:
            blob = _blob(reader, content_hash, external, cache_dir)
        elif content_hash is not None and changed:
            _keep(reader, content_hash, cache_dir)
        header = dict(reader.header)
        if changed:
            header["format"] = format_entry(
                version, frozenset({EXTERNAL_BACKGROUND} if strip else ())
            )
        write_archive(target, header, reader.frames, _units(reader, blob))
        before = reader.size
    return BundleReport(target, content_hash, changed, before, target.stat().st_size)


def _units(
    reader: ArchiveReader, blob: bytes | None
) -> Iterator[tuple[UnitKey, bytes, tuple[int, int, int]]]:
    if blob is not None:
        yield _KEY, blob, (0, 0, 0)
    for key, info in reader.units.items():
        if key != _KEY:
            yield key, reader.read(key), info.stats


def _blob(
    reader: ArchiveReader,
    content_hash: str,
    external: bool,
    cache_dir: str | os.PathLike[str] | None,
) -> bytes:
    if external:
        return external_background(reader, content_hash, cache_dir)
    if _KEY not in reader.units:
        raise CorruptError(f"{reader.describe(_KEY)}: missing; copy the archive again")
    blob = reader.read(_KEY)
    if hashlib.sha256(blob).hexdigest() != content_hash:
        raise CorruptError(
            f"{reader.describe(_KEY)}: it is not the background that the header names"
        )
    return blob


def _keep(
    reader: ArchiveReader, content_hash: str, cache_dir: str | os.PathLike[str] | None
) -> None:
    """Put an archive's own background into the cache before it is taken out of the archive."""
    blob = _blob(reader, content_hash, False, cache_dir)
    cache = BackgroundCache(config.cache_dir() if cache_dir is None else Path(cache_dir))
    crs = long_crs(str(reader.header["crs"]))
    grids, _ = read_grids(reader.header)
    facts: dict[str, Any] = {"model": reader.header["model"], **ground_of(crs, grids)}
    cache.store(place_key(crs, grids), blob, facts, needed=True, promote=False)
    if cache.load(content_hash) is None:
        raise BackgroundError(
            f"the cache {cache.root} did not keep background {content_hash}; {reader.name} is left "
            "as it is"
        )
