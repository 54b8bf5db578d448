"""Open archives of this process: file handles, decoders and decoded frames, found by location.

Lazy arrays are copied and pickled freely, so they hold no more than a `Source`; whatever process
they wake up in finds, or makes, its session here.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stvc.archive import ArchiveReader, Kind
from stvc.errors import CorruptInputError
from stvc.header import OpenPlace, open_place
from stvc.remote import RangeStream, is_url, open_reader
from stvc.xarray_backend.tile_decoder import TileDecoder

_MAX_OPEN = 64
# ^ files; more are opened again when touched

_cache_bytes = 256 << 20


def set_cache_size(size: int) -> None:
    """Set how much decoded imagery each archive may keep in memory, per process.

    Parameters
    ----------
    size : int
        Bytes, for archives opened from now on; 256 MiB if never called. As much again may go to
        masks and to the references that sequential reading goes on from.
    """
    global _cache_bytes
    _cache_bytes = int(size)


@dataclass(frozen=True)
class Source:
    """Where an archive is, and which one it was when it was opened."""

    location: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """For fsspec; only with a URL."""
    frames: int = 0
    """Frames in the file at that time."""
    token: str = ""
    """Of header and units at that time; appending does not change what they were."""

    @property
    def key(self) -> str:
        """Tells sessions apart."""
        if not self.options:
            return self.location
        return f"{self.location} {json.dumps(self.options, sort_keys=True, default=repr)}"

    def __dask_tokenize__(self) -> tuple[str, int, str]:
        return self.key, self.frames, self.token


class Session:
    """One open archive.

    Parameters
    ----------
    location : str
        Path or URL.
    options : mapping
        For fsspec.
    """

    def __init__(self, location: str, options: Mapping[str, Any]) -> None:
        self.location = location
        self.signature = _signature(location)
        self.stream: RangeStream | None = None
        if is_url(location):
            self.reader, self.stream = open_reader(location, options)
        else:
            self.reader = ArchiveReader.open(location)
        self._light: OpenPlace | None = None
        self._decoder: TileDecoder | None = None
        self._guard = threading.Lock()
        self._verified: set[tuple[int, str]] = set()

    @property
    def opened(self) -> OpenPlace:
        """The place without its background: enough to describe, not to decode."""
        with self._guard:
            if self._light is None:
                self._light = open_place(self.reader, with_background=False)
            return self._light

    @property
    def decoder(self) -> TileDecoder:
        """Made when first used: reads the background, if there is one."""
        with self._guard:
            if self._decoder is None:
                self._decoder = TileDecoder(
                    self.reader,
                    open_place(self.reader),
                    _cache_bytes,
                    ahead=self.stream is not None,
                )
            return self._decoder

    def token(self, frames: int) -> str:
        """Fingerprint of the header, and of the first frames' units."""
        kept = {k: v for k, v in self.reader.header.items() if k != "learned_gain"}
        digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
        marks = [
            (k.kind, k.frame, k.group, k.tile, u.length, u.crc32c)
            for k, u in sorted(self.reader.units.items())
            if k.kind is Kind.BACKGROUND or k.frame < frames
        ]
        digest.update(np.array(marks, np.int64).tobytes())
        digest.update(np.array([f.time for f in self.reader.frames[:frames]], np.int64).tobytes())
        return digest.hexdigest()[:32]

    def is_still(self, source: Source) -> bool:
        """Whether the archive is the one that a source was made of, or has grown since."""
        mark = source.frames, source.token
        if mark not in self._verified:
            if self.token(source.frames) != source.token:
                return False
            self._verified.add(mark)
        return True

    def close(self) -> None:
        """Close the file."""
        self.reader.close()
        if self.stream is not None:
            self.stream.close()

    def __del__(self) -> None:
        if hasattr(self, "reader"):
            self.close()


_sessions: OrderedDict[str, Session] = OrderedDict()
_guard = threading.RLock()


def open_session(location: str | os.PathLike[str], options: Mapping[str, Any]) -> Source:
    """Open an archive, or look again whether it has changed.

    Parameters
    ----------
    location : str or path-like
        A path, or a URL for fsspec.
    options : mapping
        Storage options for fsspec.

    Returns
    -------
    Source
        What lazy arrays keep of it.

    Raises
    ------
    StvcError
        If it cannot be read.
    FileNotFoundError
        If there is no such file.
    """
    where = locate(location)
    if options and not is_url(where):
        raise CorruptInputError(
            f"storage_options are for URLs, and {where} is a path; leave them out"
        )
    fresh = Session(where, options)
    frames = len(fresh.reader.frames)
    source = Source(where, dict(options), frames, fresh.token(frames))
    with _guard:
        held = _sessions.get(source.key)
        unchanged = (
            held is not None
            and held.signature == fresh.signature
            and len(held.reader.frames) == frames
            and held.token(frames) == source.token
        )
        if not unchanged:
            _keep(source.key, fresh)
    return source


def session_of(source: Source) -> Session:
    """Find the session of a source in this process, or open it.

    Raises
    ------
    CorruptInputError
        If the archive is no longer the one that the source was made of.
    """
    with _guard:
        held = _sessions.get(source.key)
        if held is not None and held.signature == _signature(source.location):
            _sessions.move_to_end(source.key)
        else:
            held = Session(source.location, source.options)
            _keep(source.key, held)
        if not held.is_still(source):
            raise CorruptInputError(
                f"{source.location} was encoded anew after this dataset was opened; open it again"
            )
        return held


def forget(source: Source) -> None:
    """Close a source's session; lazy arrays that are read later open it again."""
    with _guard:
        held = _sessions.pop(source.key, None)
    if held is not None:
        held.close()


def locate(location: str | os.PathLike[str]) -> str:
    """Give a URL as it is, and a path in full: another process may have another folder."""
    if is_url(location):
        return str(location)
    return str(Path(location).expanduser().absolute())


def _keep(key: str, session: Session) -> None:
    _sessions[key] = session
    _sessions.move_to_end(key)
    while len(_sessions) > _MAX_OPEN:
        _sessions.popitem(last=False)


def _signature(location: str) -> tuple[int, ...]:
    """Tell a file from its successor; an append puts a new file in the place of the old one."""
    if is_url(location):
        return ()
    found = Path(location).stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _after_fork() -> None:
    # A child shares the parent's file offsets and inherits its locks as they were: start anew.
    global _guard
    _guard = threading.RLock()
    _sessions.clear()


def _close_all() -> None:
    with _guard:
        sessions = list(_sessions.values())
        _sessions.clear()
    for session in sessions:
        session.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_close_all)
