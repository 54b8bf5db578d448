"""A content-addressed store of backgrounds on the local disk, shared by all processes of a user.

Each entry is an immutable file ``<sha256 of the payload>.h5``: an HDF5 file with a uint8 dataset
``payload`` and the root attributes ``place_key``, ``meta`` (JSON) and ``created`` (seconds since
1970), followed by 32 bytes, the SHA-256 of all bytes before. That digest is checked before the HDF5
library sees a byte, so damage cannot crash it. ``<sha256 of the place key>.place`` names a place's
newest entry. Files appear by renaming and are never changed: readers need no lock.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import platformdirs

from stvc.errors import BackgroundError

_LOGGER = logging.getLogger(__name__)
_HASH = re.compile(r"[0-9a-f]{64}")
_DIGEST_SIZE = 32
_LEFTOVER_AGE = 3600.0


def default_cache_dir() -> Path:
    """Directory of the user's background cache; it need not exist yet."""
    return Path(platformdirs.user_cache_dir("stvc")) / "backgrounds"


@dataclass(frozen=True)
class CacheEntry:
    """One stored background, apart from its payload."""

    content_hash: str
    """SHA-256 of the payload, hexadecimal."""
    place_key: str
    """The place that it was stored for."""
    meta: dict[str, Any]
    """JSON values given to `BackgroundCache.store`."""
    created: float
    """Seconds since 1970 UTC."""
    size: int
    """Bytes of the file."""


class BackgroundCache:
    """Backgrounds by content hash, and the newest one of each place.

    Parameters
    ----------
    root : Path, optional
        Directory of the store, made on the first `store`; by default `default_cache_dir`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_cache_dir() if root is None else Path(root)

    def store(self, place_key: str, payload: bytes, meta: dict[str, Any]) -> str:
        """Keep a background and make it the newest one of its place.

        Parameters
        ----------
        place_key : str
            Names the place and everything else that a background must fit, such as its grid.
        payload : bytes
            The coded background.
        meta : dict
            JSON values.

        Returns
        -------
        str
            Content hash: SHA-256 of ``payload``, hexadecimal.

        Raises
        ------
        BackgroundError
            If the directory is not writable or the disk is full.
        """
        content_hash = hashlib.sha256(payload).hexdigest()
        image = _pack(place_key, payload, meta)
        pointer = json.dumps({"place_key": place_key, "content_hash": content_hash})
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            if self.load(content_hash) is None:
                self._write(self._entry_path(content_hash), image)
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
            block = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _LOGGER.warning("background %s cannot be read: %s", path, error)
            return None
        unpacked = _unpack(block)
        if unpacked is None or hashlib.sha256(unpacked[0]).hexdigest() != content_hash:
            _LOGGER.warning("background %s is damaged and is removed from the cache", path)
            with suppress(OSError):
                path.unlink()
            return None
        return unpacked[0], unpacked[1].meta

    def find(self, place_key: str) -> str | None:
        """Return the content hash of a place's newest background, or None."""
        try:
            pointer = json.loads(self._place_path(place_key).read_bytes())
            content_hash = pointer["content_hash"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if pointer["place_key"] != place_key or self.load(content_hash) is None:
            return None
        return str(content_hash)

    def list(self) -> list[CacheEntry]:
        """Return all readable entries, oldest first; damaged ones are passed over."""
        entries = []
        for path in self.root.glob("*.h5"):
            with suppress(OSError):
                unpacked = _unpack(path.read_bytes())
                if unpacked is not None and unpacked[1].content_hash == path.stem:
                    entries.append(unpacked[1])
        return sorted(entries, key=lambda entry: (entry.created, entry.content_hash))

    def _entry_path(self, content_hash: str) -> Path:
        return self.root / f"{content_hash}.h5"

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


def _pack(place_key: str, payload: bytes, meta: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v108", "v110")) as file:
        file.create_dataset("payload", data=np.frombuffer(payload, np.uint8))
        file.attrs["place_key"] = place_key
        file.attrs["meta"] = json.dumps(meta, allow_nan=False)
        file.attrs["created"] = time.time()
    image = buffer.getvalue()
    return image + hashlib.sha256(image).digest()


def _unpack(block: bytes) -> tuple[bytes, CacheEntry] | None:
    """Read an entry's file; None if it is damaged."""
    image, digest = block[:-_DIGEST_SIZE], block[-_DIGEST_SIZE:]
    if hashlib.sha256(image).digest() != digest:
        return None
    try:
        with h5py.File(io.BytesIO(image), "r") as file:
            payload: bytes = file["payload"][()].tobytes()
            entry = CacheEntry(
                hashlib.sha256(payload).hexdigest(),
                str(file.attrs["place_key"]),
                json.loads(file.attrs["meta"]),
                float(file.attrs["created"]),
                len(block),
            )
    except (OSError, KeyError, ValueError, TypeError):
        return None
    return payload, entry
