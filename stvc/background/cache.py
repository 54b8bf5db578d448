"""A content-addressed store of backgrounds on the local disk, shared by all processes of a user.

Each entry is an immutable file ``<sha256 of the payload>.h5``: an HDF5 file with a uint8 dataset
``payload`` and the root attributes ``place_key``, ``meta`` (JSON) and ``created`` (seconds since
1970), followed by 32 bytes, the SHA-256 of all bytes before. That digest is checked before the HDF5
library sees a byte, so damage cannot crash it. ``<sha256 of the place key>.place`` names a place's
newest entry, and an empty ``<hash>.needed`` marks one that archives cannot be decoded without.
Files appear by renaming and are never changed: readers need no lock. A use sets the file's time, so
that pruning knows what lies idle; only marking and pruning exclude each other, by a file ``lock``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs

from stvc.background._entry import CacheEntry, pack, read_entry, read_pointer
from stvc.errors import BackgroundError, LockedError

_LOGGER = logging.getLogger(__name__)
_HASH = re.compile(r"[0-9a-f]{64}")
_LEFTOVER_AGE = 3600.0
_LOCK_TIMEOUT = 30.0


def default_cache_dir() -> Path:
    """Directory of the user's background cache; it need not exist yet."""
    return Path(platformdirs.user_cache_dir("stvc")) / "backgrounds"


class BackgroundCache:
    """Backgrounds by content hash, and the newest one of each place.

    Parameters
    ----------
    root : Path, optional
        Directory of the store, made on the first `store`; by default `default_cache_dir`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_cache_dir() if root is None else Path(root)

    def store(
        self,
        place_key: str,
        payload: bytes,
        meta: dict[str, Any],
        *,
        needed: bool = False,
        promote: bool = True,
    ) -> str:
        """Keep a background and make it the newest one of its place.

        Parameters
        ----------
        place_key : str
            Names the place and everything else that a background must fit, such as its grid.
        payload : bytes
            The coded background.
        meta : dict
            JSON values.
        needed : bool
            Mark it as one that an archive cannot be decoded without, so that pruning spares it.
        promote : bool
            False makes it the newest one only of a place that has none.

        Returns
        -------
        str
            Content hash: SHA-256 of ``payload``, hexadecimal.

        Raises
        ------
        BackgroundError
            If the directory is not writable or the disk is full.
        LockedError
            If ``needed``, and another process has been pruning for long.
        """
        content_hash = hashlib.sha256(payload).hexdigest()
        image = pack(place_key, payload, meta)
        pointer = json.dumps({"place_key": place_key, "content_hash": content_hash})
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            with self.exclusive() if needed else nullcontext():
                if needed:
                    self._write(self._needed_path(content_hash), b"")
                if self.load(content_hash) is None:
                    self._write(self._entry_path(content_hash), image)
            if promote or self.find(place_key) is None:
                self._write(self._place_path(place_key), pointer.encode())
        except OSError as error:
            raise BackgroundError(
                f"cannot store background {content_hash[:12]} in {self.root} ({error}); free or "
                "unlock that directory, choose another cache directory, or go on without a cache"
            ) from error
        return content_hash

    def load(self, content_hash: str) -> tuple[bytes, dict[str, Any]] | None:
        """Return a background and its meta.

        Parameters
        ----------
        content_hash : str
            From `store`.

        Returns
        -------
        (bytes, dict) or None
            None if there is no such entry, or if it was damaged: it is then removed, with a warning
            in the log.
        """
        if not _HASH.fullmatch(content_hash):
            return None
        path = self._entry_path(content_hash)
        try:
            unpacked = read_entry(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            _LOGGER.warning("background %s cannot be read: %s", path, error)
            return None
        if unpacked is None:
            _LOGGER.warning("background %s is damaged and is removed from the cache", path)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # a cache that others share may be read-only
            os.utime(path)
        return unpacked[0], unpacked[1].meta

    def find(self, place_key: str) -> str | None:
        """Return the content hash of a place's newest background, or None."""
        pointer = read_pointer(self._place_path(place_key))
        if pointer is None or pointer[0] != place_key or self.load(pointer[1]) is None:
            return None
        return pointer[1]

    def list(self) -> list[CacheEntry]:
        """Return all readable entries, oldest first; damaged ones are passed over."""
        newest = {p[1] for p in map(read_pointer, self.root.glob("*.place")) if p is not None}
        entries = []
        for path in self.root.glob("*.h5"):
            with suppress(OSError):
                unpacked = read_entry(path)
                if unpacked is not None:
                    entries.append(
                        replace(
                            unpacked[1],
                            used=path.stat().st_mtime,
                            needed=self.is_needed(path.stem),
                            newest=path.stem in newest,
                        )
                    )
        return sorted(entries, key=lambda entry: (entry.created, entry.content_hash))

    def damaged(self) -> tuple[Path, ...]:
        """Return the files of entries that are damaged, which nothing will ever decode from."""
        found = []
        for path in self.root.glob("*.h5"):
            with suppress(OSError):
                if read_entry(path) is None:
                    found.append(path)
        return tuple(sorted(found))

    def remove(self, content_hash: str) -> bool:
        """Remove an entry and its mark, inside `exclusive`; tells whether it was there.

        Raises
        ------
        BackgroundError
            If the directory is not writable.
        """
        path = self._entry_path(content_hash)
        try:
            there = path.exists()
            path.unlink(missing_ok=True)
            self._needed_path(content_hash).unlink(missing_ok=True)
        except OSError as error:
            raise BackgroundError(
                f"cannot remove background {path} ({error}); unlock that directory"
            ) from error
        return there

    def is_needed(self, content_hash: str) -> bool:
        """Whether an entry is marked as one that archives need."""
        return self._needed_path(content_hash).exists()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from marking or pruning.

        Raises
        ------
        BackgroundError
            If the directory cannot be written to.
        LockedError
            If another process holds the lock for too long.
        """
        import filelock

        holder = filelock.FileLock(self.root / "lock", is_singleton=True, thread_local=True)
        try:
            holder.acquire(timeout=_LOCK_TIMEOUT, poll_interval=0.02)
        except filelock.Timeout as error:
            raise LockedError(
                f"the background cache {self.root} is being pruned by another process; "
                "try again later"
            ) from error
        except OSError as error:
            raise BackgroundError(
                f"cannot lock the background cache {self.root} ({error}); free or unlock that "
                "directory, or choose another with --cache-dir"
            ) from error
        try:
            yield
        finally:
            holder.release()

    def _entry_path(self, content_hash: str) -> Path:
        return self.root / f"{content_hash}.h5"

    def _needed_path(self, content_hash: str) -> Path:
        return self.root / f"{content_hash}.needed"

    def _place_path(self, place_key: str) -> Path:
        return self.root / f"{hashlib.sha256(place_key.encode()).hexdigest()}.place"

    def _write(self, path: Path, block: bytes) -> None:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        try:
            with open(temporary, "xb") as stream:
                stream.write(block)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise

    def _remove_leftovers(self) -> None:
        # Nobody holds a lock here, so only age tells a killed writer's file from a busy one's.
        for path in self.root.glob(".*.tmp"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _LEFTOVER_AGE:
                    path.unlink()
