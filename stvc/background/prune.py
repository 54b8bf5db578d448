"""Make the background cache smaller without taking anything from anyone."""

from __future__ import annotations

import time
from dataclasses import dataclass

from stvc.background._entry import CacheEntry
from stvc.background.cache import BackgroundCache


@dataclass(frozen=True)
class PruneReport:
    """What `prune` removed."""

    removed: tuple[CacheEntry, ...]
    damaged: int
    """Damaged files removed besides."""
    kept: int
    """Entries left."""
    kept_needed: int
    """Entries that would have gone, but archives with an external background need them."""
    bytes_freed: int
    bytes_left: int


def prune(
    cache: BackgroundCache,
    *,
    max_size: int | None = None,
    older_than: float | None = None,
    superseded: bool = False,
    needed_too: bool = False,
    dry_run: bool = False,
) -> PruneReport:
    """Remove damaged entries, and those that one of the conditions meets.

    A job that uses an entry meanwhile has read it already; one that is about to keep only its hash
    marks it first, under the same lock that each removal takes.

    Parameters
    ----------
    cache : BackgroundCache
    max_size : int, optional
        Bytes of all entries: those used longest ago go until the rest fits.
    older_than : float, optional
        Seconds: entries last used longer ago go.
    superseded : bool
        Entries go that are no place's newest: no encode would use them again.
    needed_too : bool
        Do not spare entries that archives with an external background need.
    dry_run : bool
        Only tell.

    Raises
    ------
    BackgroundError
        If the directory is not writable.
    LockedError
        If another process holds the cache's lock for long.
    """
    entries = sorted(cache.list(), key=lambda entry: entry.used)
    damaged = cache.damaged()
    total = sum(entry.size for entry in entries)
    now = time.time()
    removed: list[CacheEntry] = []
    spared = 0
    for entry in entries:
        too_old = older_than is not None and now - entry.used > older_than
        too_much = max_size is not None and total > max_size
        if not (too_old or too_much or (superseded and not entry.newest)):
            continue
        if entry.needed and not needed_too:
            spared += 1
            continue
        if not dry_run and not _remove(cache, entry, needed_too):
            spared += 1
            continue
        removed.append(entry)
        total -= entry.size
    freed = sum(entry.size for entry in removed)
    for path in damaged:
        freed += path.stat().st_size if path.exists() else 0
        if not dry_run:
            path.unlink(missing_ok=True)
    return PruneReport(
        tuple(removed), len(damaged), len(entries) - len(removed), spared, freed, total
    )


def _remove(cache: BackgroundCache, entry: CacheEntry, needed_too: bool) -> bool:
    """Remove an entry unless an archive has come to need it since it was listed."""
    with cache.exclusive():
        if cache.is_needed(entry.content_hash) and not needed_too:
            return False
        cache.remove(entry.content_hash)
    return True
