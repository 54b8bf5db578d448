"""The package sentinelhub's download client, with budgets, bounds on everything, and our errors.

What the package leaves open, and what happens here: 429 is waited for as often as the service
likes (here: `Limits.attempts`); ``Retry-After`` may be a date, a century or in seconds (it counts
milliseconds, is capped, and never shorter than our own growing wait); an expired token fails for
good (here: one new login); a reply may have any size (here: what was asked for).
"""

from __future__ import annotations

import logging
import re
import threading
import time
from typing import Any

import requests
from sentinelhub.config import SHConfig
from sentinelhub.download.models import DownloadRequest
from sentinelhub.download.sentinelhub_client import SentinelHubDownloadClient
from sentinelhub.exceptions import BaseSentinelHubException, DownloadFailedException

from stvc.errors import AuthError, QuotaError, SourceError, UnavailableError
from stvc.service_config import ServiceConfig
from stvc.source.sentinelhub.login import Token, forget_token, get_token
from stvc.source.sentinelhub.usage import Limits, Usage

MOST_JSON_BYTES = 64_000_000
"""Largest reply to a catalog search, a page of 100 products has about 0.3 MB."""

_QUOTA = re.compile(r"quota|insufficient|processing.units|exceed|limit", re.IGNORECASE)
_log = logging.getLogger(__name__)


class Client(SentinelHubDownloadClient):
    """Sends requests for one source.

    Parameters
    ----------
    service : ServiceConfig
        Whom to ask.
    limits : Limits
        Waits and attempts.
    usage : Usage
        Counts, and refuses what exceeds the budgets.
    """

    def __init__(self, service: ServiceConfig, limits: Limits, usage: Usage) -> None:
        # Credentials stay out of this config: it is copied about, and `login` alone needs them.
        super().__init__(
            config=SHConfig(
                use_defaults=True,
                sh_base_url=service.base_url,
                sh_token_url=service.token_url,
                max_download_attempts=limits.attempts,
                download_sleep_time=limits.retry_wait_s,
                download_timeout_seconds=limits.timeout_s,
                max_retries=limits.attempts,
            )
        )
        self.lock = threading.Lock()
        self._service = service
        self._limits = limits
        self._usage = usage
        self._asked = threading.local()

    def fetch(self, request: DownloadRequest, *, again: bool = False) -> bytes:
        """Send a request until it is answered; see `send_for_json` for errors.

        Parameters
        ----------
        request : DownloadRequest
            With ``max_bytes`` and ``pu``, the expected cost, in ``extra_params``.
        again : bool
            Whether the same was asked before, and the reply was of no use.

        Returns
        -------
        bytes
            The reply's body.
        """
        return bytes(self._translated(request, again).content)

    def mark_repetition(self) -> None:
        """Count the next catalog page that this thread asks for as asked for again."""
        self._asked.repeats = True

    def _execute_download(self, request: DownloadRequest) -> Any:
        """Send a request of the package's own making (catalog pages) with our errors."""
        again, self._asked.repeats = getattr(self._asked, "repeats", False), False
        return self._translated(request, again)

    def _translated(self, request: DownloadRequest, again: bool) -> Any:
        """Send a request and turn the package's errors into ours.

        Raises
        ------
        AuthError, QuotaError
            If the service or a budget refuses.
        UnavailableError
            If every attempt failed for a reason that may pass.
        SourceError
            If the service objects to the request, or answers what cannot be.
        """
        self._asked.before = again
        try:
            return super()._execute_download(request)
        except DownloadFailedException as error:
            raise self._failed(error.request_exception) from None
        except requests.RequestException as error:
            raise self._failed(error) from None
        except BaseSentinelHubException as error:
            raise SourceError(self._service.redact(f"{request.url}: {error}")) from None

    def _failed(self, error: requests.RequestException | None) -> SourceError:
        response = getattr(error, "response", None)
        what = f"HTTP {response.status_code}" if response is not None else type(error).__name__
        return UnavailableError(
            f"{self._service.base_url} failed {self._limits.attempts} times ({what}); "
            "try again later"
        )

    def _do_download(self, request: DownloadRequest) -> requests.Response:
        """Send once, waiting out 429 and renewing an expired token; 5xx is left to the package."""
        busy, renewed = 0, False
        pu = float(request.extra_params.get("pu", 0.0))
        while True:
            token = get_token(self._service, self._limits, self._usage)
            self._usage.begin(pu, again=bool(self._asked.before))
            self._asked.before = True
            response = None
            try:
                response = self._send(request, token)
            finally:
                self._usage.end(
                    pu,
                    None if response is None else response.headers.get("X-ProcessingUnits-Spent"),
                    succeeded=response is not None and response.ok,
                )
            status = response.status_code
            if status == 401 and not renewed:
                _log.info("the token is no longer valid: logging in again")
                forget_token(self._service, token)
                renewed = True
            elif status == 429:
                busy += 1
                wait = self._busy_wait(response, busy)
                _log.info("the service is busy: waiting for %.1f s", wait)
                time.sleep(wait)
            elif 300 <= status < 500:
                raise self._refusal(response, token)
            else:
                return response

    def _send(self, request: DownloadRequest, token: Token) -> requests.Response:
        most = int(request.extra_params.get("max_bytes", MOST_JSON_BYTES))
        # Silence is bounded by the time-out, dripping by this.
        deadline = time.monotonic() + 5 * self._limits.timeout_s

        def authorized(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
            prepared.headers["Authorization"] = f"Bearer {token.value}"
            return prepared

        with requests.request(
            request.request_type.value,
            url=str(request.url),
            json=request.post_values,
            headers={"User-Agent": "stvc", **request.headers},
            auth=authorized,  # as a header, it would be overwritten by what ~/.netrc says
            timeout=self._limits.timeout_s,
            allow_redirects=False,
            stream=True,
        ) as response:
            body = bytearray()
            for chunk in response.iter_content(1 << 16):
                body += chunk
                if len(body) > most:
                    raise SourceError(
                        f"{request.url} answered with more than {most} bytes, "
                        "more than what was asked for has"
                    )
                if time.monotonic() > deadline:
                    raise requests.Timeout("the reply drips in too slowly")
            response._content = bytes(body)  # what requests itself does when it reads a body
        self._usage.add(received=len(body))
        return response

    def _busy_wait(self, response: requests.Response, times: int) -> float:
        """Seconds to wait after a 429, or the error that ends the waiting."""
        if times >= self._limits.attempts:
            raise UnavailableError(
                f"{self._service.base_url} was too busy {times} times (HTTP 429); try again later, "
                "or ask for less at once"
            )
        own = self._limits.wait(times)
        told = response.headers.get("Retry-After", "").strip()
        if not re.fullmatch(r"[0-9]{1,15}", told):
            return own
        asked = int(told) / 1000
        if asked > self._limits.max_wait_s:
            raise UnavailableError(
                f"{self._service.base_url} is busy for {asked:.0f} s (HTTP 429); try again then"
            )
        return max(asked, own / 5)  # a proxy may mean seconds: then waits must still grow

    def _refusal(self, response: requests.Response, token: Token) -> SourceError:
        """Make the error for a status that asking again does not help."""
        status = response.status_code
        said = self._service.redact(_message(response), token.value)
        where = f"{self._service.base_url} (HTTP {status}{': ' if said else ''}{said})"
        if status == 403 and _QUOTA.search(said):
            return QuotaError(f"the quota is used up at {where}; wait for the next period")
        if status == 402:
            return QuotaError(f"the account has no units left at {where}")
        if status in (401, 403):
            return AuthError(
                f"access refused by {where}; see stvc config show, profile {self._service.profile}"
            )
        if status < 400:
            return SourceError(
                f"redirected by {where}, which is not followed; check the base address: "
                "stvc config show"
            )
        if status == 404:
            return SourceError(f"not found at {where}; check the base address: stvc config show")
        return SourceError(f"request refused by {where}")


def _message(response: requests.Response) -> str:
    """What a service says of an error."""
    try:
        reply = response.json()
    except (ValueError, RecursionError):
        return response.content[:500].decode("utf-8", "replace")
    inner = reply.get("error", reply) if isinstance(reply, dict) else reply
    if isinstance(inner, dict):
        words = [inner.get(key) for key in ("code", "reason", "message", "description")]
        return " ".join(str(word) for word in words if word) or str(inner)[:500]
    return str(inner)[:500]
