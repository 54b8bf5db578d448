"""A run's budget of requests and processing units, shared out so that it is never overdrawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from stvc.monitor.results import FieldResult, FieldTask


@dataclass
class _Purse:
    """One kind of unit; a limit of None is no limit."""

    limit: float | None
    spent: float = 0.0
    lent: float = 0.0

    @property
    def free(self) -> float:
        return float("inf") if self.limit is None else self.limit - self.spent - self.lent


class Budget:
    """Lends a share of what is left to each field that starts.

    A field gets what is free divided by the fields that may still start beside it: all of it where
    fields run one by one. One that gets by on less gives the rest back; one that does not is put
    off, and tried again in the same run once more is free.

    Parameters
    ----------
    max_requests : int or None
        For the whole run; None = no limit.
    max_pu : float or None
        Processing units.
    """

    def __init__(self, max_requests: int | None, max_pu: float | None) -> None:
        self._purses = (_Purse(max_requests), _Purse(max_pu))
        self._loans: dict[str, tuple[float, float]] = {}

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing to lend at present."""
        requests, pu = self._purses
        return requests.free < 1 or pu.free <= 0

    def lend(self, task: FieldTask, slots: int) -> FieldTask:
        """Give a field its share.

        Parameters
        ----------
        task : FieldTask
        slots : int
            Fields that may start now, this one included.

        Returns
        -------
        FieldTask
            With its own limits.
        """
        requests, pu = self._purses
        share = (requests.free / slots, pu.free / slots)
        if requests.limit is not None:
            share = (max(1.0, math.floor(share[0])), share[1])
        self._loans[task.id] = share
        requests.lent += share[0] if requests.limit is not None else 0
        pu.lent += share[1] if pu.limit is not None else 0
        return replace(
            task,
            max_requests=None if requests.limit is None else int(share[0]),
            max_pu=None if pu.limit is None else share[1],
        )

    def settle(self, result: FieldResult) -> bool:
        """Take back what a field did not spend.

        Parameters
        ----------
        result : FieldResult

        Returns
        -------
        bool
            Whether a field that ran out could have more now than it had.
        """
        loan = self._loans.pop(result.id)
        for purse, share, spent in zip(
            self._purses, loan, (result.requests, result.pu), strict=True
        ):
            purse.lent -= share if purse.limit is not None else 0
            purse.spent += spent or 0
        free = tuple(purse.free for purse in self._purses)
        no_less = all(now >= had for now, had in zip(free, loan, strict=True))
        return no_less and free != loan and not self.exhausted
