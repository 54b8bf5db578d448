"""Move an archive's backgrounds in and out: whole to hand over, hashes only for a thin line."""

from __future__ import annotations

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
from stvc.crs import long_crs
from stvc.errors import BackgroundError, CorruptInputError
from stvc.header import background_blob, open_place, place_key, read_hashes


@dataclass(frozen=True)
class BundleReport:
    """What `bundle` did."""

    path: Path
    content_hash: str | None
    """Of the (first) background; None if the archive uses none."""
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
    """Write an archive with its backgrounds inside, or (``strip``) with their hashes only.

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
        hashes = [known for _, known in read_hashes(reader.header)]
        content_hash = hashes[0] if hashes else None
        version, features = read_format(reader.header, reader.name)
        external = EXTERNAL_BACKGROUND in features
        changed = bool(hashes) and external is not strip
        if same and not changed:
            return BundleReport(target, content_hash, False, reader.size, reader.size)
        blobs: list[bytes] = []
        if not strip or changed:
            blobs = [
                background_blob(reader, number, known, external=external, cache_dir=cache_dir)
                for number, known in enumerate(hashes)
            ]
        header = dict(reader.header)
        if changed:
            if strip:
                _keep(reader, dict(zip(hashes, blobs, strict=True)), cache_dir)
            features ^= {EXTERNAL_BACKGROUND}
            header["format"] = format_entry(version, features)
        units, major = _units(reader, [] if strip else blobs), reader.locator.major
        write_archive(target, header, reader.frames, units, major=major)
        before = reader.size
    return BundleReport(target, content_hash, changed, before, target.stat().st_size)


def _units(
    reader: ArchiveReader, blobs: list[bytes]
) -> Iterator[tuple[UnitKey, bytes, tuple[int, int, int]]]:
    """All units, backgrounds first: as in an archive that got each before its frames."""
    firsts = [first for first, _ in read_hashes(reader.header)]
    waiting = [
        (first, (UnitKey(Kind.BACKGROUND, number, 0, 0), blob, (0, 0, 0)))
        for number, (first, blob) in enumerate(zip(firsts, blobs, strict=False))
    ]
    for key, info in reader.units.items():
        if key.kind is Kind.BACKGROUND:
            continue
        while waiting and waiting[0][0] <= key.frame:
            yield waiting.pop(0)[1]
        yield key, reader.read(key), info.stats
    yield from (unit for _, unit in waiting)


def _keep(
    reader: ArchiveReader, blobs: dict[str, bytes], cache_dir: str | os.PathLike[str] | None
) -> None:
    """Put an archive's own backgrounds into the cache before they are taken out of it."""
    cache = BackgroundCache(config.cache_dir() if cache_dir is None else Path(cache_dir))
    crs = long_crs(str(reader.header["crs"]))
    grids, _ = read_grids(reader.header)
    facts: dict[str, Any] = {"model": reader.header["model"], **ground_of(crs, grids)}
    for content_hash, blob in blobs.items():
        cache.store(place_key(crs, grids), blob, facts, needed=True, promote=False)
        if cache.load(content_hash) is None:
            raise BackgroundError(
                f"the cache {cache.root} did not keep background {content_hash}; {reader.name} is "
                "left as it is"
            )
