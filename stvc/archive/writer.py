"""Writing an archive: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c

from stvc.archive.blobs import pack_header
from stvc.archive.index import pack_index
from stvc.archive.keys import FrameRecord, Kind, UnitInfo, UnitKey
from stvc.archive.layout import FORMAT_MAJOR, Locator, build_head
from stvc.archive.locking import DEFAULT_TIMEOUT, lock, remove_leftovers, temporary_path
from stvc.archive.reader import ArchiveReader
from stvc.errors import CorruptInputError, LockedError, TooLargeError

_IN_MEMORY = 16 * 2**20
_CHUNK = 1 << 20
_REGION_LIMIT = 2**32


def write_archive(
    path: str | os.PathLike[str],
    header: dict[str, Any],
    frames: Sequence[FrameRecord],
    units: Iterable[tuple[UnitKey, bytes, tuple[int, int, int]]],
    *,
    base: ArchiveReader | None = None,
    major: int = FORMAT_MAJOR,
    timeout: float = DEFAULT_TIMEOUT,
) -> None:
    """Write an archive, or an archive with more frames in place of an old one.

    The file is written beside ``path``, synced, and renamed: at any instant ``path`` is the old
    file or the new one, whole. Takes the archive's lock (again, if the caller holds it).

    Parameters
    ----------
    path : path-like
        Where the archive shall be. An existing file is replaced and keeps its permissions; a
        symbolic link is followed.
    header : dict
        JSON values.
    frames : sequence of FrameRecord
        The new frames.
    units : iterable of (UnitKey, bytes, (int, int, int))
        The new units in payload order, each with its stats; consumed one by one in constant memory.
        Frame indexes count the base's frames first.
    base : ArchiveReader, optional
        The archive to extend: its frames and units come first, its payload bytes are copied
        unchanged.
    major : int
        Version of the container, if there is no base: that one keeps its own.
    timeout : float
        Seconds to wait for another writer.

    Raises
    ------
    LockedError
        If another process is writing, or has replaced ``path`` since ``base`` was opened.
    CorruptError
        If ``base`` is truncated.
    TooLargeError
        If header or index exceed 4 GiB.
    ValueError
        If a unit's key is taken, names a frame that is not there, or a number is out of range.
    OSError
        If the disk is full or not writable; ``path`` is then as before.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        raise CorruptInputError(
            f"{target} is a directory or a device, not a file; name the archive to write"
        )
    major = base.locator.major if base else major
    with lock(target, timeout):
        remove_leftovers(target)
        if base is not None and target.exists() and not base.is_file(target):
            raise LockedError(
                f"{target} was replaced by another process after it was opened; open it again"
            )
        all_frames = (*(base.frames if base else ()), *frames)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(target.parent)) as spool:
            entries = dict(base.units) if base else {}
            _spool_units(spool, units, entries, len(all_frames), base.payload_bytes if base else 0)
            new_length = spool.tell()
            spool.seek(0)
            header_blob = pack_header(header, major)
            index_blob = pack_index(all_frames, entries.items(), major)
            if max(len(header_blob), len(index_blob)) >= _REGION_LIMIT:
                raise TooLargeError(
                    f"{target}: header ({len(header_blob)} bytes) or index ({len(index_blob)} "
                    "bytes) exceed 4 GiB; split the place or the series"
                )
            locator = Locator(
                len(header_blob),
                len(index_blob),
                (base.payload_bytes if base else 0) + new_length,
                major,
            )
            temporary = temporary_path(target)
            try:
                with open(temporary, "xb") as stream:
                    stream.write(build_head(locator) + header_blob + index_blob)
                    for chunk in base.payload_chunks() if base else ():
                        stream.write(chunk)
                    while chunk := spool.read(_CHUNK):
                        stream.write(chunk)
                    _keep_permissions(target, stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(temporary, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        _sync_directory(target.parent)


def _spool_units(
    spool: Any,
    units: Iterable[tuple[UnitKey, bytes, tuple[int, int, int]]],
    entries: dict[UnitKey, UnitInfo],
    frame_count: int,
    offset: int,
) -> None:
    """Lay new payloads one behind the other in ``spool`` and enter them in ``entries``."""
    for given, payload, stats in units:
        key = UnitKey(Kind(given.kind), *given[1:])
        if key in entries:
            raise ValueError(f"{key} is in the archive already; a unit is written once")
        if key.kind is not Kind.BACKGROUND and not 0 <= key.frame < frame_count:
            raise ValueError(f"{key} names frame {key.frame}, the archive has {frame_count}")
        if min(*key, *stats) < 0 or len(stats) != 3:
            raise ValueError(f"{key} with stats {stats}: want three stats, and nothing negative")
        numbers = (int(stats[0]), int(stats[1]), int(stats[2]))
        check = google_crc32c.value(bytes(payload))
        entries[key] = UnitInfo(offset, len(payload), check, numbers)
        spool.write(payload)
        offset += len(payload)


def _keep_permissions(target: Path, stream: BinaryIO) -> None:
    if target.exists() and hasattr(os, "fchmod"):
        os.fchmod(stream.fileno(), target.stat().st_mode & 0o7777)


def _sync_directory(directory: Path) -> None:
    """Make the rename survive a power cut; a no-op where directories cannot be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
