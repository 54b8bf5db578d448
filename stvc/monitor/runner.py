"""One run over all fields of a job."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from stvc import config
from stvc.exit_codes import ExitCode
from stvc.monitor.dispatch import Dispatch
from stvc.monitor.events import EventLog
from stvc.monitor.executors import Executor, InProcess, Processes
from stvc.monitor.fields import Field, Job
from stvc.monitor.results import DONE, Failure, FieldResult, FieldTask
from stvc.monitor.state import FOLDER, remove_leftovers
from stvc.monitor.stopping import Stop, watched

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOptions:
    """How a job is run."""

    today: date
    """Nothing later is asked for; injectable, to replay the past."""
    only: tuple[str, ...] = ()
    """Ids of the fields to run; () = all."""
    workers: int = 1
    """Processes on this machine; 1 = this process alone."""
    scheduler: str | None = None
    """Address of a dask scheduler; None = this machine."""
    max_requests: int | None = None
    """Budget of the whole run."""
    max_pu: float | None = None
    """Budget of the whole run, processing units."""
    lock_timeout: float = 10.0
    """Seconds to wait for a field that another job works on."""
    dry_run: bool = False
    """List what would be fetched."""
    retry_refused: bool = False
    """Ask for frames again that earlier runs refused, or gave up."""
    exit_code_if_empty: int = ExitCode.OK
    """Returned in place of `ExitCode.OK` if there was nothing new."""
    prometheus: Path | None = None
    """Text file for node_exporter to write."""


@dataclass
class Totals:
    """Sums over a run."""

    fields: int
    counts: Counter[str] = field(default_factory=Counter)
    """Fields by status."""
    frames_added: int = 0
    frames_superseded: int = 0
    frames_planned: int = 0
    frames_missing: int = 0
    frames_refused: int = 0
    bytes_added: int = 0
    requests: int | None = None
    pu: float | None = None
    exit_codes: Counter[int] = field(default_factory=Counter)
    """Failed fields by the exit code that each would have alone."""

    def add(self, result: FieldResult) -> None:
        """Count one field's result."""
        self.counts[result.status] += 1
        self.frames_added += result.frames_added
        self.frames_superseded += len(result.superseded)
        self.frames_planned += result.frames_planned
        self.frames_missing += result.frames_missing
        self.frames_refused += result.frames_refused
        self.bytes_added += result.bytes_after - result.bytes_before
        if result.requests is not None:
            self.requests = (self.requests or 0) + result.requests
        if result.pu is not None:
            self.pu = round((self.pu or 0.0) + result.pu, 4)
        if result.failure is not None:
            self.exit_codes[result.failure.exit_code] += 1

    @property
    def done(self) -> int:
        """Fields that are up to date."""
        return sum(self.counts[status] for status in DONE)

    def to_json(self) -> dict[str, Any]:
        """Keys of the event ``run_done``."""
        counts = {name: self.counts[name] for name in ("failed", "deferred", *DONE)}
        return {
            "fields": self.fields,
            "done": self.done,
            **counts,
            "frames_added": self.frames_added,
            "frames_superseded": self.frames_superseded,
            "frames_planned": self.frames_planned,
            "frames_missing": self.frames_missing,
            "frames_refused": self.frames_refused,
            "bytes_added": self.bytes_added,
            "requests": self.requests,
            "pu": self.pu,
        }


def exit_code_of(totals: Totals, stop: Stop, if_empty: int) -> int:
    """Decide what a run returns to the shell.

    Parameters
    ----------
    totals : Totals
    stop : Stop
    if_empty : int
        For runs that found nothing new anywhere.

    Returns
    -------
    int
        The signal's code if the run was stopped; 0 (or `if_empty`) if every field is up to date; 3
        if some are; if none is, the fields' own code where they agree (75 if all were locked, or
        met a busy source), else 1.
    """
    if stop:
        return stop.exit_code
    if totals.done == totals.fields:
        new = totals.frames_added + totals.frames_planned
        return ExitCode.OK if new else if_empty
    if totals.done:
        return ExitCode.PARTIAL
    codes = set(totals.exit_codes)
    if totals.counts["deferred"]:
        codes.add(ExitCode.TEMPORARY)
    return codes.pop() if len(codes) == 1 else ExitCode.FAILURE


def run(job: Job, options: RunOptions, log: EventLog | None = None) -> int:
    """Bring all fields of a job up to date.

    Parameters
    ----------
    job : Job
    options : RunOptions
    log : EventLog, optional
        Events go to stdout if not given.

    Returns
    -------
    int
        Exit code; see `exit_code_of`.

    Raises
    ------
    UnavailableError, ConfigError
        If a cluster is asked for and there is none.
    """
    from stvc.monitor import prometheus

    log = log or EventLog()
    chosen = _chosen(job, options)
    began = time.perf_counter()
    totals = Totals(len(chosen))
    ended: list[FieldResult] = []
    log.emit(
        "run_started",
        config=job.path,
        archives=job.archives,
        fields=len(chosen),
        today=options.today,
        executor="dask" if options.scheduler else "local",
        workers=options.workers,
        dry_run=options.dry_run,
    )
    remove_leftovers(job.archives / FOLDER)

    with watched() as stop:
        for result in _results(job, chosen, options, stop, log):
            totals.add(result)
            log.emit_result(result)
            result.forget_frames()
            ended.append(result)
    code = exit_code_of(totals, stop, options.exit_code_if_empty)
    seconds = round(time.perf_counter() - began, 3)
    if options.prometheus is not None and not options.dry_run:
        try:
            prometheus.write(options.prometheus, totals, ended, code, seconds)
        except OSError as error:
            _log.error("cannot write %s: %s", options.prometheus, error.strerror or error)
            code = code or int(ExitCode.IO_ERROR)
    stopped = stop.signal.name if stop.signal else None
    if log.broken is not None and not isinstance(log.broken, BrokenPipeError):
        _log.error("cannot write events: %s", log.broken.strerror or log.broken)
        code = code or int(ExitCode.IO_ERROR)
    log.emit("run_done", **totals.to_json(), seconds=seconds, stopped=stopped, exit_code=code)
    return code


def _chosen(job: Job, options: RunOptions) -> list[Field]:
    """Fields to run; ConfigError if one is asked for that is not there."""
    if not options.only:
        return list(job.fields)
    from stvc.errors import ConfigError

    known = {field.id for field in job.fields}
    unknown = [name for name in options.only if name not in known]
    if unknown:
        raise ConfigError(f"{job.path}: there is no field {', '.join(unknown)}; check --only")
    return [field for field in job.fields if field.id in options.only]


def _results(
    job: Job, chosen: list[Field], options: RunOptions, stop: Stop, log: EventLog
) -> Iterator[FieldResult]:
    """Yield every field's result as it comes: of unusable fields first, of those not begun last."""
    queue: deque[FieldTask] = deque()
    for field_ in chosen:
        if field_.problem is None:
            queue.append(_task(job, field_, options))
        else:
            failure = Failure("AoiError", field_.problem, ExitCode.BAD_VALUE)
            yield FieldResult(field_.id, str(job.archive(field_)), "failed", failure=failure)
    if not queue:
        return
    executor = _executor(options)
    try:
        yield from Dispatch(executor, queue, stop, options, log).results()
    finally:
        executor.close()


def _task(job: Job, field_: Field, options: RunOptions) -> FieldTask:
    return FieldTask(
        id=field_.id,
        geometry=field_.geometry,
        settings=field_.settings,
        archive=job.archive(field_),
        cache_dir=job.cache_dir or config.cache_dir(),
        today=options.today,
        lock_timeout=options.lock_timeout,
        dry_run=options.dry_run,
        retry_refused=options.retry_refused,
    )


def _executor(options: RunOptions) -> Executor:
    if options.scheduler is not None:
        from stvc.monitor.cluster import Cluster

        return Cluster(options.scheduler)
    return InProcess() if options.workers == 1 else Processes(options.workers)
