"""Which field starts when: as slots, budget and sources allow."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from stvc.errors import UnavailableError
from stvc.exit_codes import ExitCode
from stvc.monitor.budget import Budget
from stvc.monitor.events import EventLog
from stvc.monitor.executors import Executor
from stvc.monitor.results import Failure, FieldResult, FieldTask
from stvc.monitor.stopping import Stop

if TYPE_CHECKING:
    from stvc.monitor.runner import RunOptions

DENIALS = 3
"""Fields in a row that a source must refuse before the others are not even asked for."""


class Dispatch:
    """Keeps an executor busy until every field has ended, or the run is stopped.

    Parameters
    ----------
    executor : Executor
    queue : deque of FieldTask
        Emptied in order.
    stop : Stop
    options : RunOptions
    log : EventLog
        Told which fields start.
    """

    def __init__(
        self,
        executor: Executor,
        queue: deque[FieldTask],
        stop: Stop,
        options: RunOptions,
        log: EventLog,
    ) -> None:
        self._executor = executor
        self._queue = queue
        self._stop = stop
        self._budget = Budget(options.max_requests, options.max_pu)
        self._log = log
        self._running: dict[str, FieldTask] = {}
        self._earlier: dict[str, FieldResult] = {}
        self._denials: dict[str, int] = {}

    def results(self) -> Iterator[FieldResult]:
        """Yield the result of every field, each once."""
        while True:
            yield from self._start_some()
            if not self._running:
                break
            try:
                result = self._executor.next()
            except UnavailableError as error:
                yield from self._abandon(error)
                return
            task = self._running.pop(result.id)
            self._watch_source(task, result)
            could_have_more = self._budget.settle(result)
            if result.id in self._earlier:
                result.absorb(self._earlier.pop(result.id))
            if result.status == "deferred" and could_have_more and not self._stop:
                self._earlier[result.id] = result
                self._queue.append(task)
            else:
                yield result
        reason = "stopped" if self._stop else "budget"
        while self._queue:
            task = self._queue.popleft()
            if task.id in self._earlier:
                yield self._earlier.pop(task.id)
            else:
                yield _result(task, "deferred", reason=reason)

    def _start_some(self) -> Iterator[FieldResult]:
        """Start fields as long as there is room; yield those whose source refuses everything."""
        while (
            self._queue
            and not self._stop
            and not self._budget.exhausted
            and len(self._running) < self._executor.slots
        ):
            task = self._queue.popleft()
            if self._denials.get(_source_of(task), 0) >= DENIALS:
                message = (
                    f"not tried: source {task.settings.source} refused {DENIALS} fields in a row; "
                    "check its credentials and quota"
                )
                failure = Failure("AuthError", message, ExitCode.DENIED)
                yield _result(task, "failed", failure=failure)
                continue
            self._running[task.id] = task
            beside = min(self._executor.slots - len(self._running), len(self._queue))
            self._log.emit("field_started", field=task.id)
            self._executor.submit(self._budget.lend(task, 1 + max(0, beside)))

    def _watch_source(self, task: FieldTask, result: FieldResult) -> None:
        source = _source_of(task)
        if result.failure is not None and result.failure.exit_code == ExitCode.DENIED:
            self._denials[source] = self._denials.get(source, 0) + 1
        else:
            self._denials.pop(source, None)

    def _abandon(self, error: UnavailableError) -> Iterator[FieldResult]:
        """The executor is gone, and with it what ran there; the archives are whole."""
        failure = Failure(type(error).__name__, str(error), error.exit_code)
        for task in (*self._running.values(), *self._queue):
            yield _result(task, "failed", failure=failure)


def _source_of(task: FieldTask) -> str:
    return json.dumps([task.settings.source, dict(task.settings.options)], default=str)


def _result(
    task: FieldTask, status: str, *, reason: str | None = None, failure: Failure | None = None
) -> FieldResult:
    """Make the result of a field that was not begun."""
    made = FieldResult(task.id, str(task.archive), status)
    return replace(made, reason=reason, failure=failure)
