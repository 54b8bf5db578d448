"""A loopback web server that answers ranges and remembers every request; S3 clients take it too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class RangeServer:
    """Files by path, and what was asked of them."""

    files: dict[str, bytes]
    url: str = ""
    ranges: bool = True
    """False: send whole files whatever is asked."""
    status: int | None = None
    """Answer everything with this."""
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    """(method, range header, bytes sent)."""

    @property
    def gets(self) -> list[int]:
        """Bytes of every GET's answer."""
        return [size for method, _, size in self.asked if method == "GET"]


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[RangeServer]:
    """Serve files on the loopback interface."""
    shared = RangeServer(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(send=False)

        def do_GET(self) -> None:
            self._answer(send=True)

        def _answer(self, *, send: bool) -> None:
            wanted = self.headers.get("Range", "")
            body = shared.files.get(self.path.split("?")[0])
            if shared.status is not None or body is None:
                self.send_response(shared.status or 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            part, status = body, 200
            if wanted and shared.ranges:
                first, last = wanted.removeprefix("bytes=").split("-")
                part, status = body[int(first) : int(last) + 1], 206
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
            if shared.ranges:
                self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(part)))
            self.send_header("ETag", '"fixed"')
            self.send_header("Last-Modified", "Sun, 01 Nov 2026 00:00:00 GMT")
            self.end_headers()
            shared.asked.append((self.command, wanted, len(part)))
            if send:
                self.wfile.write(part)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    shared.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield shared
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


@pytest.fixture
def range_server() -> Iterator[RangeServer]:
    with serving({}) as server:
        yield server
