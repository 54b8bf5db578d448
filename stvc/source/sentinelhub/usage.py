"""What a source has asked of the service so far, and what it may ask."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace

from stvc.errors import BudgetError, ConfigError


@dataclass(frozen=True)
class Limits:
    """How long a source waits, how often it tries, and how much it may ask for."""

    timeout_s: float = 60.0
    """Longest silence of the service during one request."""
    attempts: int = 4
    """How often one thing is asked for before it counts as failed."""
    retry_wait_s: float = 5.0
    """Wait after the first failure; three times as long after each further one."""
    max_wait_s: float = 120.0
    """Longest wait that the service may ask for with ``Retry-After``."""
    max_requests: int | None = None
    """Requests to Catalog and Process that may be sent in all; None = no limit."""
    max_pu: float | None = None
    """Processing units that may be spent in all; None = no limit."""

    def check(self) -> None:
        """Refuse limits that cannot be kept.

        Raises
        ------
        ConfigError
            With the limit's name.
        """
        for name, least in (("timeout_s", 1e-3), ("attempts", 1), ("retry_wait_s", 0)):
            value = getattr(self, name)
            if not (value >= least and math.isfinite(value)):
                raise ConfigError(f"{name}={value} of source sentinelhub is below {least:g}")
        for name in ("max_requests", "max_pu", "max_wait_s"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigError(f"{name}={value} of source sentinelhub is negative")

    def wait(self, failures: int) -> float:
        """Seconds to wait after so many failures."""
        return float(min(self.retry_wait_s * 3 ** max(failures - 1, 0), self.max_wait_s))


class Usage:
    """Counters of one source, safe to use from several threads.

    Parameters
    ----------
    limits : Limits
        Its budgets are checked before each request.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self.requests = 0
        self.pu_spent = 0.0
        self.retries = 0
        self.logins = 0
        self.bytes_received = 0
        self._pu_reserved = 0.0

    @property
    def limits(self) -> Limits:
        """The limits that hold now."""
        return self._limits

    def limit(self, requests: int | None, pu: float | None) -> None:
        """Replace the budgets, which count from the beginning."""
        limits = replace(self._limits, max_requests=requests, max_pu=pu)
        limits.check()
        with self._lock:
            self._limits = limits

    def begin(self, pu: float, *, again: bool) -> None:
        """Count a request that is about to be sent.

        Parameters
        ----------
        pu : float
            Processing units that it is expected to cost.
        again : bool
            Whether the same was asked before.

        Raises
        ------
        BudgetError
            If it would exceed a budget; it is not counted then, and must not be sent.
        """
        with self._lock:
            most, spendable = self._limits.max_requests, self._limits.max_pu
            if most is not None and self.requests >= most:
                raise BudgetError(
                    f"the budget of {most} requests is used up; raise --max-requests, or go on "
                    "later"
                )
            spent = self.pu_spent + self._pu_reserved
            if spendable is not None and pu > 0 and spent + pu > spendable + 1e-9:
                raise BudgetError(
                    f"a request of about {pu:.3g} processing units would exceed the budget of "
                    f"{spendable:g} ({spent:.3g} are spent); raise --max-pu, or go on later"
                )
            self._pu_reserved += pu
            self.requests += 1
            self.retries += again

    def end(self, pu: float, told: str | None, *, succeeded: bool) -> None:
        """Count what a request has cost.

        Parameters
        ----------
        pu : float
            As given to `begin`.
        told : str or None
            Header ``X-ProcessingUnits-Spent``; without a usable one the estimate counts.
        succeeded : bool
            Only requests that succeed cost anything.
        """
        with self._lock:
            self._pu_reserved = max(self._pu_reserved - pu, 0.0)
            if succeeded:
                self.pu_spent += _amount(told, pu)

    def add(self, *, received: int = 0, logins: int = 0) -> None:
        """Count bytes received and logins."""
        with self._lock:
            self.bytes_received += received
            self.logins += logins

    def report(self) -> dict[str, float | int]:
        """Return all counters: requests, retries among them, logins, bytes, processing units."""
        with self._lock:
            return {
                "requests": self.requests,
                "retries": self.retries,
                "logins": self.logins,
                "bytes_received": self.bytes_received,
                "pu_spent": round(self.pu_spent, 6),
            }


def _amount(told: str | None, estimate: float) -> float:
    try:
        value = float(told or "")
    except ValueError:
        return estimate
    return value if math.isfinite(value) and value >= 0 else estimate
