"""Reading an archive: a few range reads, every byte checked before it is believed."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import google_crc32c

from stvc.archive.blobs import unpack_header
from stvc.archive.index import unpack_index
from stvc.archive.keys import FrameRecord, Kind, UnitInfo, UnitKey, date_text
from stvc.archive.layout import LARGEST_HEAD, Locator, build_head, parse_head
from stvc.errors import CorruptError, CorruptInputError, TooLargeError, VersionError

MAX_BYTES = 2**28
# One request fetches head, header and index of a series of some hundred units.
_FIRST_READ = 16 * 1024
# Over a network a request costs more than the bytes of a small gap.
_GAP = 64 * 1024
_CHUNK = 1 << 20
# The years 1 to 9999.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799


class ArchiveReader:
    """An open archive; made by `ArchiveReader.open`, closed by `close` or a ``with`` block."""

    header: dict[str, Any]
    """The codec's header."""
    frames: tuple[FrameRecord, ...]
    """All acquisition dates."""
    units: dict[UnitKey, UnitInfo]
    """All coding units, in payload order."""

    def __init__(self, stream: BinaryIO, name: str, owned: bool, max_bytes: int) -> None:
        self.name = name
        self._stream = stream
        self._owned = owned
        self._guard = threading.Lock()
        self._segments: list[tuple[int, bytes]] = []
        self.size = stream.seek(0, os.SEEK_END)
        start = self._fetch(0, min(_FIRST_READ, self.size))
        self._segments.append((0, start))
        self.locator: Locator = parse_head(start[:LARGEST_HEAD], name)
        self._head = start[: self.locator.header_offset]
        header = self._region("header", self.locator.header_offset, self.locator.header_length)
        index = self._region("index", self.locator.index_offset, self.locator.index_length)
        self.header = self._unpack("header", unpack_header, header, max_bytes)
        self.frames, self.units = self._unpack("index", unpack_index, index, max_bytes)
        self._check_index()

    @classmethod
    def open(
        cls, source: str | os.PathLike[str] | BinaryIO, *, max_bytes: int = MAX_BYTES
    ) -> ArchiveReader:
        """Open an archive and read its header and index.

        Parameters
        ----------
        source : path-like or binary file object
            A file object must be seekable (fsspec's are) and stays open on `close`.
        max_bytes : int
            Most bytes that header and index may each take when unpacked.

        Returns
        -------
        ArchiveReader

        Raises
        ------
        CorruptError
            If superblock, header or index are damaged, or this is no archive.
        VersionError
            If the archive has a format version that this stvc does not know.
        TooLargeError
            If header or index declare more than ``max_bytes``.
        CorruptInputError
            If the path leads to a directory, a pipe or a device.
        FileNotFoundError
            If there is no such file.
        """
        if not isinstance(source, (str, os.PathLike)):
            name = getattr(source, "path", None) or getattr(source, "name", None)
            return cls(source, str(name or "archive"), False, max_bytes)
        if not stat.S_ISREG(os.stat(source).st_mode):  # noqa: PTH116 - one call, links followed
            # To open a pipe is to wait for whoever writes to it, for ever.
            raise CorruptInputError(
                f"{os.fspath(source)} is not a file; give the path of an archive"
            )
        stream = open(source, "rb", buffering=0)  # noqa: SIM115 - closed by close()
        try:
            return cls(stream, os.fspath(source), True, max_bytes)
        except BaseException:
            stream.close()
            raise

    @property
    def overhead_bytes(self) -> int:
        """File bytes that are not payload."""
        return self.locator.payload_offset

    @property
    def payload_bytes(self) -> int:
        """Bytes of all payloads together."""
        return self.locator.payload_length

    @property
    def missing_bytes(self) -> int:
        """Bytes that a truncated file lacks; 0 for a whole one."""
        return max(0, self.locator.end - self.size)

    @property
    def wrapper_intact(self) -> bool:
        """Whether the HDF5 metadata is as written; stvc itself reads well without it."""
        return self._head == build_head(self.locator)

    def describe(self, key: UnitKey) -> str:
        """Name a unit for people: kind, frame index and date, group, tile, file."""
        if key.kind is Kind.BACKGROUND:
            where = f"background version {key.frame}"
        elif key.frame < len(self.frames):
            date = date_text(self.frames[key.frame].time)
            where = f"{key.kind.name.lower()} of frame {key.frame} ({date})"
        else:
            where = f"{key.kind.name.lower()} of frame {key.frame}"
        return f"{where}, group {key.group}, tile {key.tile} of {self.name}"

    def read(self, key: UnitKey) -> bytes:
        """Read one unit's payload and check it.

        Parameters
        ----------
        key : UnitKey
            One of `units`.

        Returns
        -------
        bytes

        Raises
        ------
        KeyError
            If the archive has no such unit.
        CorruptError
            If the payload is cut or fails its checksum.
        """
        info = self.units[key]
        start = self.locator.payload_offset + info.offset
        if info.length and start + info.length > self.size:
            raise CorruptError(
                f"{self.describe(key)}: the file is truncated ({self.size} of {self.locator.end} "
                'bytes); copy it again, or read the other units with on_error="skip"'
            )
        payload = self._read_at(start, info.length)
        found = google_crc32c.value(payload)
        if found != info.crc32c:
            raise CorruptError(
                f"{self.describe(key)}: checksum mismatch (want {info.crc32c:08x}, got "
                f'{found:08x}); copy it again, or read the other units with on_error="skip"'
            )
        return payload

    def prefetch(self, keys: Iterable[UnitKey]) -> None:
        """Fetch several units in as few range reads as possible, for `read` to take from.

        Replaces what an earlier call fetched. Worth it over a network; harmless on a local disk.

        Parameters
        ----------
        keys : iterable of UnitKey
            Keys that the archive lacks are passed over.
        """
        base = self.locator.payload_offset
        infos = [self.units[key] for key in keys if key in self.units]
        spans: list[list[int]] = []
        for info in sorted(infos, key=lambda info: info.offset):
            start, end = base + info.offset, min(base + info.offset + info.length, self.size)
            if end <= start or self._held(start, end - start) is not None:
                continue
            if spans and start - spans[-1][1] <= _GAP:
                spans[-1][1] = max(end, spans[-1][1])
            else:
                spans.append([start, end])
        del self._segments[1:]
        self._segments += [(start, self._fetch(start, end - start)) for start, end in spans]

    def payload_chunks(self) -> Iterator[bytes]:
        """Yield all payload bytes in order, unchecked, in pieces of constant memory.

        Raises
        ------
        CorruptError
            If the file is truncated.
        """
        if self.missing_bytes:
            raise CorruptError(
                f"{self.name} is truncated ({self.size} of {self.locator.end} bytes): cannot "
                "append to it; restore a whole copy first"
            )
        start = self.locator.payload_offset
        for position in range(start, self.locator.end, _CHUNK):
            yield self._fetch(position, min(_CHUNK, self.locator.end - position))

    def is_file(self, path: Path) -> bool:
        """Whether ``path`` still is the very file that this reader has open."""
        if not self._owned:
            return True
        try:
            return os.path.samestat(os.fstat(self._stream.fileno()), path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Close the file if `open` opened it."""
        self._segments.clear()
        if self._owned:
            self._stream.close()

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _region(self, part: str, offset: int, length: int) -> bytes:
        if offset + length > self.size:
            raise CorruptError(
                f"{self.name} is truncated inside its {part} ({self.size} of {self.locator.end} "
                "bytes); copy or encode it again"
            )
        return self._read_at(offset, length)

    def _unpack(self, part: str, unpack: Any, blob: bytes, limit: int) -> Any:
        try:
            return unpack(blob, limit, self.locator.major)
        except (CorruptError, TooLargeError, VersionError) as error:
            advice = "; copy or encode it again" if isinstance(error, CorruptError) else ""
            raise type(error)(f"{part} of {self.name}: {error}{advice}") from error

    def _check_index(self) -> None:
        total = sum(info.length for info in self.units.values())
        if total != self.locator.payload_length:
            raise CorruptError(
                f"index of {self.name}: its units have {total} bytes, the payload region has "
                f"{self.locator.payload_length}; copy or encode it again"
            )
        for number, frame in enumerate(self.frames):
            if not _FIRST_SECOND <= frame.time <= _LAST_SECOND:
                raise CorruptError(
                    f"index of {self.name}: frame {number} lies {frame.time} s from 1970, outside "
                    "the calendar; copy or encode it again"
                )
        for key in self.units:
            if key.kind is not Kind.BACKGROUND and key.frame >= len(self.frames):
                raise CorruptError(
                    f"index of {self.name}: a unit names frame {key.frame} of {len(self.frames)}; "
                    "copy or encode it again"
                )

    def _held(self, offset: int, length: int) -> bytes | None:
        for start, block in self._segments:
            if start <= offset and offset + length <= start + len(block):
                return block[offset - start : offset - start + length]
        return None

    def _read_at(self, offset: int, length: int) -> bytes:
        held = self._held(offset, length)
        return self._fetch(offset, length) if held is None else held

    def _fetch(self, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        with self._guard:
            self._stream.seek(offset)
            while length > 0:
                part = self._stream.read(length)
                if not part:
                    raise CorruptError(
                        f"{self.name} ended at byte {offset} while it was read; was it overwritten?"
                    )
                parts.append(part)
                offset += len(part)
                length -= len(part)
        return b"".join(parts)
