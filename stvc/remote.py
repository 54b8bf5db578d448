"""Archives behind a URL: ranges of bytes through fsspec, counted, and never more than asked for.

``https://``, ``s3://``, ``memory://``, ``simplecache::https://`` and whatever else fsspec knows.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from stvc.errors import SourceError, StvcError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from stvc.archive import ArchiveReader, UnitKey

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")
_PACKAGE = {"s3": "s3fs", "http": "aiohttp", "https": "aiohttp", "gs": "gcsfs", "az": "adlfs"}


def is_url(location: object) -> bool:
    """Tell whether a location is a URL for fsspec rather than a path.

    Parameters
    ----------
    location : object
        What a user gave. ``file:///...`` is a URL too.
    """
    return isinstance(location, str) and _URL.match(location) is not None


@dataclass
class Traffic:
    """What was read over the wire."""

    requests: int = 0
    """Range requests, the look-up of the size apart."""
    bytes: int = 0
    """Bytes of their answers."""


class RangeStream(io.RawIOBase):
    """A remote file, read-only, each ``read`` one range request without read-ahead.

    Parameters
    ----------
    filesystem : fsspec filesystem
    path : str
        On that filesystem.
    url : str
        As the user gave it, for messages.
    """

    def __init__(self, filesystem: AbstractFileSystem, path: str, url: str) -> None:
        super().__init__()
        self.name = url
        self.traffic = Traffic()
        self._filesystem = filesystem
        self._path = path
        self._position = 0
        self._whole: bytes | None = None
        self._guard = threading.Lock()
        with _named(url):
            size = filesystem.info(path).get("size")
        if size is None:  # a server that tells no length cannot tell ranges either
            self._whole = self._request(None, None)
            size = len(self._whole)
        self._size = int(size)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position; nothing is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Give the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, in one request."""
        start = self._position
        stop = min(start + len(buffer), self._size)
        if stop <= start:
            return 0
        part = self._range(start, stop)
        buffer[: len(part)] = part
        self._position = start + len(part)
        return len(part)

    def _range(self, start: int, stop: int) -> bytes:
        if self._whole is None:
            part = self._request(start, stop)
            if len(part) == stop - start:
                return part
            if len(part) != self._size:
                raise SourceError(
                    f"{self.name}: asked for bytes {start} to {stop}, got {len(part)} bytes; "
                    "did the file change? open it again"
                )
            self._whole = part  # a server that ignores ranges sends the whole file: keep it
        return self._whole[start:stop]

    def _request(self, start: int | None, stop: int | None) -> bytes:
        with _named(self.name):
            part: bytes = self._filesystem.cat_file(self._path, start=start, end=stop)
        with self._guard:
            self.traffic.requests += 1
            self.traffic.bytes += len(part)
        return part


def open_stream(url: str, storage_options: Mapping[str, Any] | None = None) -> RangeStream:
    """Open a remote file for reading ranges.

    Parameters
    ----------
    url : str
        Any URL that fsspec understands, chained ones (``simplecache::s3://...``) included.
    storage_options : mapping, optional
        Passed to fsspec: credentials, ``endpoint_url``, headers, ...

    Returns
    -------
    RangeStream

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    SourceError
        If the server cannot be reached or refuses.
    StvcError
        If the package for this kind of URL is not installed.
    """
    from fsspec.core import url_to_fs

    try:
        with _named(url):
            filesystem, path = url_to_fs(url, **dict(storage_options or {}))
    except ImportError as error:
        scheme = url.rsplit("::", 1)[-1].split("://")[0]
        package = _PACKAGE.get(scheme)
        extra = "pip install 'stvc[remote]'" if package in ("s3fs", "aiohttp") else None
        cure = extra or f"pip install {package or 'the package that it names'}"
        raise StvcError(
            f"{url}: reading {scheme}:// needs an optional package ({error}); install it: {cure}"
        ) from error
    return RangeStream(filesystem, path, url)


def open_reader(
    url: str, storage_options: Mapping[str, Any] | None = None
) -> tuple[ArchiveReader, RangeStream]:
    """Open a remote archive: its reader, and the stream that counts what it reads."""
    from stvc.archive import ArchiveReader

    stream = open_stream(url, storage_options)
    return ArchiveReader.open(cast("BinaryIO", stream)), stream


def fetcher(reader: ArchiveReader, groups: list[int]) -> Callable[[list[int]], None]:
    """Give a function that fetches the units of some frames together, before they are decoded.

    Parameters
    ----------
    reader : ArchiveReader
    groups : list of int
        Band groups that will be decoded.
    """
    from stvc.archive import Kind

    by_frame: dict[int, list[UnitKey]] = {}
    for key in reader.units:
        if key.kind is Kind.MASK or (key.kind is Kind.PIXELS and key.group in groups):
            by_frame.setdefault(key.frame, []).append(key)

    def fetch(frames: list[int]) -> None:
        reader.prefetch([key for frame in frames for key in by_frame.get(frame, [])])

    return fetch


@contextlib.contextmanager
def _named(url: str) -> Iterator[None]:
    """Turn what a file system raises into one error that names the URL."""
    try:
        yield
    except (ImportError, StvcError):
        raise
    except FileNotFoundError as error:
        status = getattr(error.__cause__, "status", 404)
        if status not in (404, 410):  # fsspec calls whatever a server answers "not found"
            raise SourceError(
                f"{url} cannot be read (the server answered {status}); try again later, or give "
                "credentials in storage_options"
            ) from error
        raise FileNotFoundError(2, "no such remote file", url) from error
    except PermissionError as error:
        raise SourceError(
            f"{url}: access denied ({error}); give credentials in storage_options"
        ) from error
    except Exception as error:  # each file system has its own family of errors
        text = str(error) or type(error).__name__
        raise SourceError(
            f"{url} cannot be read ({text.splitlines()[0][:200]}); check the URL, "
            "the network and storage_options, and try again"
        ) from error
