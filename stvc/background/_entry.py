"""The files of the background cache: entries and pointers, checked before they are believed."""

from __future__ import annotations

import hashlib
import io
import json
import math
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

_DIGEST_SIZE = 32
_LARGEST_ENTRY = 1 << 30
_LARGEST_POINTER = 1 << 16


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
    used: float = 0.0
    """When it was last stored or loaded, seconds since 1970 UTC."""
    needed: bool = False
    """Whether archives with an external background need it."""
    newest: bool = False
    """Whether it is the newest of a place, which the next encode of that place takes."""


def pack(place_key: str, payload: bytes, meta: dict[str, Any]) -> bytes:
    """Write an entry's file."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v108", "v110")) as file:
        file.create_dataset("payload", data=np.frombuffer(payload, np.uint8))
        file.attrs["place_key"] = place_key
        file.attrs["meta"] = json.dumps(meta, allow_nan=False)
        file.attrs["created"] = time.time()
    image = buffer.getvalue()
    return image + hashlib.sha256(image).digest()


def read_entry(path: Path) -> tuple[bytes, CacheEntry] | None:
    """Read the entry of a file; None if it is damaged or not what its name says."""
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > _LARGEST_ENTRY:
        return None
    unpacked = _unpack(path.read_bytes())
    return unpacked if unpacked is not None and unpacked[1].content_hash == path.stem else None


def _meta(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("the facts beside the payload are no JSON object")
    return value


def _payload(file: h5py.File, limit: int) -> bytes:
    """Read the payload, wherever a stranger's file says that it lies; ValueError if not here."""
    if not isinstance(file.get("payload", getlink=True), h5py.HardLink):
        raise ValueError("the payload lies in another file")
    stored = file["payload"]
    if not isinstance(stored, h5py.Dataset) or stored.dtype != np.uint8:
        raise ValueError("the payload is no bytes")
    if stored.external is not None or stored.is_virtual:
        raise ValueError("the payload lies in another file")
    if stored.ndim != 1 or stored.size > limit:
        raise ValueError("the payload is larger than its file")
    return bytes(stored[()].tobytes()) if stored.size else b""


def read_pointer(path: Path) -> tuple[str, str] | None:
    """Place key and content hash of a ``.place`` file; None if it is missing or damaged."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_POINTER:
            return None
        pointer = json.loads(path.read_bytes())
        place_key, content_hash = pointer["place_key"], pointer["content_hash"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    known = isinstance(place_key, str) and isinstance(content_hash, str)
    return (place_key, content_hash) if known else None


def _unpack(block: bytes) -> tuple[bytes, CacheEntry] | None:
    """Read an entry's file; None if it is damaged."""
    image, digest = block[:-_DIGEST_SIZE], block[-_DIGEST_SIZE:]
    if hashlib.sha256(image).digest() != digest:
        return None
    try:
        with h5py.File(io.BytesIO(image), "r") as file:
            payload = _payload(file, len(block))
            entry = CacheEntry(
                hashlib.sha256(payload).hexdigest(),
                str(file.attrs["place_key"]),
                _meta(json.loads(file.attrs["meta"])),
                float(file.attrs["created"]),
                len(block),
            )
    except (OSError, KeyError, ValueError, TypeError, RecursionError):
        return None
    return (payload, entry) if math.isfinite(entry.created) else None
