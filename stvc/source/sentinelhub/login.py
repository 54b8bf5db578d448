"""Logging in: client credentials against a token, shared by all sources of a process.

The package sentinelhub can log in too, but without a time-out, and the library below it writes the
secret into its debug log; a session made of a token alone writes a configuration file.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import requests

from stvc.errors import AuthError, SourceError, UnavailableError
from stvc.service_config import ServiceConfig
from stvc.source.sentinelhub.usage import Limits, Usage

_EARLY_S = 60.0
# ^ A token is renewed so long before its end: a request must not outlive its token on the way.
_MOST_BYTES = 1_000_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Token:
    """Proof of a login."""

    value: str = field(repr=False)
    """What is sent along with requests."""
    expires: float
    """Seconds of the monotonic clock."""


_tokens: dict[str, Token] = {}
_lock = threading.Lock()


def get_token(service: ServiceConfig, limits: Limits, usage: Usage) -> Token:
    """Return a token that holds for a while, logging in only if there is none.

    Raises
    ------
    AuthError
        If there are no credentials, or the service refuses them.
    UnavailableError
        If the service does not answer.
    """
    key = _key(service)
    with _lock:  # held during the login: other threads shall wait for it, not log in as well
        token = _tokens.get(key)
        if token is None or token.expires <= time.monotonic():
            token = _tokens[key] = _log_in(service, limits)
            usage.add(logins=1)
        return token


def forget_token(service: ServiceConfig, token: Token) -> None:
    """Drop a token that the service no longer takes, unless another thread has renewed it."""
    with _lock:
        if _tokens.get(_key(service)) is token:
            del _tokens[_key(service)]


def _key(service: ServiceConfig) -> str:
    parts = (service.token_url, service.base_url, service.client_id, service.client_secret)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _log_in(service: ServiceConfig, limits: Limits) -> Token:
    if not service.client_id:
        raise AuthError(
            f"no Sentinel Hub credentials for {service.base_url}; set SH_CLIENT_ID and "
            "SH_CLIENT_SECRET, or store a profile: stvc config init --cdse --client-id ID"
        )
    trouble = ""
    for failures in range(1, limits.attempts + 1):
        try:
            status, reply = _ask(service, limits)
        except requests.RequestException as error:
            trouble = f"{type(error).__name__} at {service.token_url}"
        else:
            if status == 200:
                return _read_token(service, reply)
            said = service.redact(str(reply.get("error_description") or reply.get("error") or ""))
            if status < 500 and status != 429:
                raise AuthError(
                    f"{service.token_url} refused the credentials of profile {service.profile} "
                    f"(HTTP {status}{': ' if said else ''}{said}); see them with stvc config show"
                )
            trouble = f"HTTP {status} from {service.token_url}"
        _log.info("login failed (%s), attempt %d of %d", trouble, failures, limits.attempts)
        if failures < limits.attempts:
            time.sleep(limits.wait(failures))
    raise UnavailableError(f"cannot log in: {trouble}, {limits.attempts} times; try again later")


def _ask(service: ServiceConfig, limits: Limits) -> tuple[int, dict[str, Any]]:
    """Send the credentials; returns the status and what the service says, {} if that is no JSON."""
    with requests.post(
        service.token_url,
        data={
            "grant_type": "client_credentials",
            "client_id": service.client_id,
            "client_secret": service.client_secret,
        },
        headers={"Accept": "application/json"},
        auth=_no_netrc,
        timeout=limits.timeout_s,
        allow_redirects=False,  # a redirect would carry the secret to wherever it points
        stream=True,
    ) as response:
        body = b""
        for chunk in response.iter_content(1 << 14):
            body += chunk
            if len(body) > _MOST_BYTES:
                raise requests.exceptions.ContentDecodingError("the reply is far too long")
        response._content = body  # what requests itself does when it reads a body
        try:
            reply = response.json()
        except (ValueError, RecursionError):
            reply = None
        return response.status_code, reply if isinstance(reply, dict) else {}


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authenticate in no other way: without this, requests adds what ~/.netrc says of the host."""
    return request


def _read_token(service: ServiceConfig, reply: dict[str, Any]) -> Token:
    value, lasts = reply.get("access_token"), reply.get("expires_in", 300)
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]{1,20000}", value):
        raise SourceError(f"{service.token_url} answered a login without a usable token")
    if not isinstance(lasts, (int, float)) or isinstance(lasts, bool) or not 0 < lasts < 1e9:
        lasts = 300
    return Token(value, time.monotonic() + max(float(lasts) - _EARLY_S, float(lasts) / 2))
