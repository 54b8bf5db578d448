"""A Sentinel Hub on the loopback interface: OAuth, Catalog and Process, with faults on demand.

with SentinelHubServer(scenes=[...], faults=Faults(rate=0.1, seed=3), today=day) as server:
    source = SentinelHubSource(...)     # with server.environment() set
    server.today += timedelta(days=1)   # more scenes are listed
    server.requests                     # everything that was asked
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from servers.sentinelhub_answers import answer_process, feature_of, in_box
from servers.sentinelhub_scenes import Scene

KINDS = ("busy", "error", "unavailable", "drop", "truncate", "expired", "garbage")
"""Faults that pass: asking again helps."""

LASTING = ("quota", "forbidden", "bad", "redirect", "missing", "endless", "echo", "silent")
"""Faults that do not."""


@dataclass
class Faults:
    """What goes wrong: first what is scripted, then at random.

    Parameters
    ----------
    script
        Per kind of request (``token``, ``catalog``, ``process``): faults to come, None = none.
    rate
        Share of further catalog and process requests that fail, with one of `kinds`.
    seed
        Of the choice.
    retry_after
        Header of ``busy`` replies, in milliseconds as the real service has it; None = no header.
    """

    script: dict[str, list[str | None]] = field(default_factory=dict)
    rate: float = 0.0
    seed: int = 0
    kinds: Sequence[str] = KINDS
    retry_after: str | None = "5"

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()

    def next(self, kind: str) -> str | None:
        """Decide about one request."""
        with self._lock:
            waiting = self.script.get(kind)
            if waiting:
                return waiting.pop(0)
            if kind == "token" or self._random.random() >= self.rate:
                return None
            return self._random.choice(list(self.kinds))


@dataclass(frozen=True)
class Asked:
    """One request that reached the server."""

    kind: str
    """``token``, ``catalog``, ``process`` or ``other``."""
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    fault: str | None
    """What was made to go wrong with it."""
    status: int
    """Of the reply."""

    @property
    def key(self) -> str:
        """Tells what was asked for: equal keys, equal question."""
        return json.dumps([self.kind, self.body], sort_keys=True)


class SentinelHubServer:
    """Answers on a free port of 127.0.0.1 until its ``with`` block ends.

    Parameters
    ----------
    scenes : iterable of Scene
        What there is; `scenes` may be changed while the server runs.
    faults : Faults or None
        None = nothing goes wrong.
    today : date or None
        Scenes published later are not listed; None = all are.
    page : int
        Most products on a page of the catalog.
    token_s : float
        Seconds for which a token is said to be good.
    """

    client_id = "loopback-client"
    client_secret = "loopback-secret-0123456789"

    def __init__(
        self,
        scenes: Iterable[Scene] = (),
        *,
        faults: Faults | None = None,
        today: date | None = None,
        page: int = 100,
        token_s: float = 3600,
    ) -> None:
        self.scenes = list(scenes)
        self.faults = faults or Faults()
        self.today = today
        self.page = page
        self.token_s = token_s
        self.requests: list[Asked] = []
        self.tokens: set[str] = set()
        self._lock = threading.Lock()
        self._issued = 0
        self.closing = threading.Event()

    def __enter__(self) -> SentinelHubServer:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """Variables that send `SentinelHubSource` here."""
        return {
            "SH_BASE_URL": self.url,
            "SH_TOKEN_URL": f"{self.url}/token",
            "SH_CLIENT_ID": self.client_id,
            "SH_CLIENT_SECRET": self.client_secret,
        }

    def count(self, kind: str) -> int:
        """How many requests of a kind have come."""
        return sum(asked.kind == kind for asked in self.requests)

    def listed(self) -> list[Scene]:
        """Scenes that the catalog has today."""
        return [scene for scene in self.scenes if scene.listed(self.today)]

    def issue(self) -> str:
        """Make a new token."""
        with self._lock:
            self._issued += 1
            token = f"tok{self._issued:04d}.bG9vcGJhY2s.{id(self):x}"
            self.tokens.add(token)
            return token

    def expire(self) -> None:
        """Make all tokens invalid."""
        with self._lock:
            self.tokens.clear()


class _Reply(Exception):
    """A reply that ends the handling of a request."""

    def __init__(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        self.headers = {"Content-Type": kind, **(headers or {})}


class _Handler(BaseHTTPRequestHandler):
    hub: SentinelHubServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("other", {})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kinds = {
            "/token": "token",
            "/api/v1/catalog/1.0.0/search": "catalog",
            "/api/v1/process": "process",
        }
        kind = kinds.get(self.path, "other")
        try:
            body = parse_qs(raw.decode()) if kind == "token" else json.loads(raw or b"{}")
        except ValueError:
            body = {}
        self._answer(kind, body)

    def _answer(self, kind: str, body: dict[str, Any]) -> None:
        fault = self.hub.faults.next(kind)
        try:
            self._fail(fault, body)
            if kind == "token":
                self._token(body)
            if kind not in ("catalog", "process"):
                raise _Reply(404, {"error": {"status": 404, "message": "no such resource"}})
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if bearer not in self.hub.tokens:
                raise _Reply(401, {"error": {"status": 401, "message": "The token has expired"}})
            if kind == "catalog":
                self._catalog(body)
            status, content, headers = answer_process(body, self.hub.listed())
            raise _Reply(status, content, headers)
        except _Reply as reply:
            self.hub.requests.append(
                Asked(kind, body, dict(self.headers.items()), fault, reply.status)
            )
            # Whoever asked may have been killed, or had enough.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._send(reply, fault)

    def _send(self, reply: _Reply, fault: str | None) -> None:
        body = reply.body
        if fault == "truncate":
            body = body.rstrip(b"\0")  # a tar's padding is no loss
            body = body[: len(body) * 2 // 3]
        elif fault == "garbage":
            body = b"<html>we are down for maintenance</html>"
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if fault != "endless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "drop":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            # No polite end: the kernel answers with a reset.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            return
        if fault == "endless":
            while True:
                self.wfile.write(b"\0" * 65536)
        self.wfile.write(body)

    def _fail(self, fault: str | None, body: Mapping[str, Any]) -> None:
        hub, message = self.hub, {"error": {"status": 0, "message": f"loopback: {fault}"}}
        if fault == "busy":
            wait = {} if hub.faults.retry_after is None else {"Retry-After": hub.faults.retry_after}
            raise _Reply(429, message, wait)
        if fault == "silent":
            hub.closing.wait(60)
        elif fault == "expired":
            hub.expire()
        elif fault == "quota":
            code = "ACCESS_INSUFFICIENT_PROCESSING_UNITS"
            text = "Insufficient processing units or requests available in your account."
            raise _Reply(403, {"error": {"status": 403, "message": text, "code": code}})
        elif fault == "redirect":
            raise _Reply(307, message, {"Location": "http://203.0.113.9/elsewhere"})
        elif fault == "endless":
            raise _Reply(200, {})
        elif fault == "echo":
            told = f"you sent {dict(self.headers.items())} and {json.dumps(body)}"
            raise _Reply(400, {"error": {"message": told}})
        statuses = {"error": 500, "unavailable": 503, "forbidden": 403, "bad": 400, "missing": 404}
        if fault in statuses:
            raise _Reply(statuses[fault], message)

    def _token(self, body: Mapping[str, Any]) -> None:
        hub = self.hub
        given = body.get("client_id", [""])[0], body.get("client_secret", [""])[0]
        if given != (hub.client_id, hub.client_secret):
            told = {"error": "invalid_client", "error_description": f"no such client {given[0]}"}
            raise _Reply(401, told)
        reply = {"access_token": hub.issue(), "expires_in": hub.token_s, "token_type": "Bearer"}
        raise _Reply(200, {**reply, "expires_at": time.time() + hub.token_s})

    def _catalog(self, body: Mapping[str, Any]) -> None:
        if body.get("collections") != ["sentinel-2-l2a"]:
            raise _Reply(400, {"error": {"message": f"no collection {body.get('collections')}"}})
        first, last = (
            datetime.fromisoformat(text).astimezone(UTC) for text in body["datetime"].split("/")
        )
        found = [
            scene
            for scene in self.hub.scenes
            if first <= scene.sensed <= last
            and scene.listed(self.hub.today)
            and in_box(scene, body["bbox"])
        ]
        # The real catalog has no promise of order but mostly gives the newest first.
        found.sort(key=lambda scene: (scene.sensed, scene.product_id), reverse=True)
        size, skip = min(int(body.get("limit", 10)), self.hub.page), int(body.get("next", 0))
        page = found[skip : skip + size]
        context: dict[str, int] = {"limit": size, "returned": len(page)}
        if skip + size < len(found):
            context["next"] = skip + size
        raise _Reply(
            200,
            {
                "type": "FeatureCollection",
                "features": [feature_of(scene) for scene in page],
                "links": [],
                "context": context,
            },
        )
