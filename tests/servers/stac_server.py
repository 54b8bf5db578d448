"""A STAC API and a file server with ranges on the loopback interface, with faults on demand.

with StacServer(folder, items) as server:
    StacSource(server.api, "sentinel-2-l2a")
    server.faults["B04.tif"] = [503, 503]    # the next two requests for such a path
    server.requests                           # (method, path) of everything that was asked
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

COLLECTION = "sentinel-2-l2a"
PAGE = 2
"""Items per answer, so that searches must page."""
CONFORMANCE = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/collections",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
]


class StacServer:
    """Serves ``/v1`` as an API, and everything else as files of a folder."""

    def __init__(self, folder: Path, items: Sequence[dict[str, Any]] = (), **options: Any) -> None:
        self.folder = folder
        self.items = list(items)
        self.faults: dict[str, list[Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.collections: list[str] = options.get("collections", [COLLECTION])
        self.methods: tuple[str, ...] = options.get("methods", ("POST", "GET"))
        self._lock = threading.Lock()
        server = self

        class Handler(_Handler):
            owner = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.api = f"{self.url}/v1"

    def __enter__(self) -> StacServer:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()

    def fault_for(self, path: str) -> Any:
        """Take the next fault that is planned for a path; None = answer well."""
        with self._lock:
            for part, planned in self.faults.items():
                if part in path and planned:
                    return planned.pop(0)
        return None

    def landing(self) -> dict[str, Any]:
        links = [
            {"rel": "self", "href": self.api, "type": "application/json"},
            {"rel": "root", "href": self.api, "type": "application/json"},
            {"rel": "data", "href": f"{self.api}/collections", "type": "application/json"},
        ]
        links += [
            {
                "rel": "search",
                "href": f"{self.api}/search",
                "type": "application/geo+json",
                "method": method,
            }
            for method in self.methods
        ]
        return {
            "type": "Catalog",
            "id": "loopback",
            "description": "test",
            "stac_version": "1.0.0",
            "conformsTo": CONFORMANCE,
            "links": links,
        }

    def collection(self, name: str) -> dict[str, Any]:
        return {
            "type": "Collection",
            "id": name,
            "description": "test",
            "license": "proprietary",
            "stac_version": "1.0.0",
            "extent": {
                "spatial": {"bbox": [[-180, -90, 180, 90]]},
                "temporal": {"interval": [["2015-06-27T00:00:00Z", None]]},
            },
            "links": [{"rel": "root", "href": self.api}],
        }

    def search(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = [item for item in self.items if _matches(item, asked)]
        start = int(asked.get("token", 0))
        links = []
        if start + PAGE < len(found):
            token = str(start + PAGE)
            body = {**asked, "token": token}
            query = "&".join(f"{k}={_plain(v)}" for k, v in body.items())
            links = [
                {"rel": "next", "href": f"{self.api}/search", "method": "POST", "body": body}
                if "POST" in self.methods
                else {"rel": "next", "href": f"{self.api}/search?{query}", "method": "GET"}
            ]
        return {
            "type": "FeatureCollection",
            "features": found[start : start + PAGE],
            "links": links,
        }


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _matches(item: dict[str, Any], asked: dict[str, Any]) -> bool:
    names = asked.get("collections")
    names = names.split(",") if isinstance(names, str) else names
    if names and item["collection"] not in names:
        return False
    bbox = asked.get("bbox")
    bbox = [float(v) for v in bbox.split(",")] if isinstance(bbox, str) else bbox
    west, south, east, north = item["bbox"]
    if bbox and not (west <= bbox[2] and bbox[0] <= east and south <= bbox[3] and bbox[1] <= north):
        return False
    first, _, last = (asked.get("datetime") or "../..").partition("/")
    moment = item["properties"]["datetime"]
    return (first in ("", "..") or first <= moment) and (last in ("", "..") or moment <= last)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: StacServer

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        owner, path = self.owner, urlsplit(self.path).path
        owner.requests.append((self.command, path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = owner.fault_for(path)
        if isinstance(fault, int):
            self._send(fault, b"fault", "text/plain")
        elif path.startswith("/v1"):
            self._api(path.removeprefix("/v1").strip("/"), body)
        else:
            self._file(path, cut=fault == "cut")

    def _api(self, path: str, body: bytes) -> None:
        owner = self.owner
        if path == "":
            self._json(owner.landing())
        elif path == "search":
            query = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
            self._json(owner.search(json.loads(body) if body else query))
        elif path == "collections":
            held = [owner.collection(name) for name in owner.collections]
            self._json({"collections": held, "links": []})
        elif path.startswith("collections/") and path.count("/") == 1:
            self._json(owner.collection(path.partition("/")[2]))
        else:
            self._send(404, b"{}", "application/json")

    def _json(self, answer: dict[str, Any]) -> None:
        self._send(200, json.dumps(answer).encode(), "application/json")

    def _file(self, path: str, *, cut: bool) -> None:
        file = self.owner.folder / path.lstrip("/")
        if ".." in path or not file.is_file():
            self._send(404, b"", "text/plain")
            return
        whole = file.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked is None:
            self._send(200, whole, "application/octet-stream", cut=cut)
            return
        first, last = int(asked[1]), min(int(asked[2] or len(whole)), len(whole) - 1)
        if first >= len(whole):
            self._send(416, b"", "text/plain")
            return
        extra = {"Content-Range": f"bytes {first}-{last}/{len(whole)}"}
        self._send(206, whole[first : last + 1], "application/octet-stream", cut=cut, **extra)

    def _send(self, status: int, body: bytes, kind: str, *, cut: bool = False, **more: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        for key, value in more.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True
