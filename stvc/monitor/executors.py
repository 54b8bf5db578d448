"""Where fields are worked on: in this process, in processes of this machine, or on a cluster.

Whichever it is, a field's work is one call of `run_field` that returns a few hundred bytes; pixels
never travel. Results do not depend on the choice, byte for byte.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple, Protocol

from stvc.exit_codes import ExitCode
from stvc.monitor.field_run import run_field
from stvc.monitor.results import Failure, FieldResult, FieldTask

Work = Callable[[FieldTask], FieldResult]

ATTEMPTS = 2
"""Times that a field may take its process down before it is given up for this run."""


class Executor(Protocol):
    """Runs fields; used by one thread."""

    @property
    def slots(self) -> int:
        """How many fields are worked on at once; more need not be submitted."""
        ...

    def submit(self, task: FieldTask) -> None:
        """Start, or queue, a field's work."""
        ...

    def next(self) -> FieldResult:
        """Wait for any of the submitted fields to end; the order is not that of submission."""
        ...

    def close(self) -> None:
        """Let go of processes and connections; work that has begun is not cut off."""
        ...


class InProcess:
    """One field after the other, in this very process."""

    slots = 1

    def __init__(self) -> None:
        self._queue: deque[FieldTask] = deque()

    def submit(self, task: FieldTask) -> None:
        """See `Executor`."""
        self._queue.append(task)

    def next(self) -> FieldResult:
        """See `Executor`."""
        return run_field(self._queue.popleft())

    def close(self) -> None:
        """See `Executor`."""


class Processes:
    """Processes of this machine, started afresh (spawn) and each with its share of the cores.

    A field whose process is killed from outside, by the system when memory runs out for example,
    is tried once more in a new one. Its neighbors do not notice: each slot is a pool of its own,
    because a pool throws all its processes away with the first that dies.

    Parameters
    ----------
    workers : int
        Processes, 1 or more.
    work : callable
        What is done for a field; importable by name.
    """

    def __init__(self, workers: int, work: Work = run_field) -> None:
        self.slots = workers
        self._work = work
        self._idle: list[ProcessPoolExecutor] = []
        self._running: dict[Future[FieldResult], _Attempt] = {}

    def submit(self, task: FieldTask) -> None:
        """See `Executor`."""
        self._launch(task, 1)

    def next(self) -> FieldResult:
        """See `Executor`."""
        while True:
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            future = done.pop()
            attempt = self._running.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                attempt.pool.shutdown(wait=True)
                if attempt.number >= ATTEMPTS:
                    return lost(attempt.task, "the process that worked on it was killed")
                self._launch(attempt.task, attempt.number + 1)
                continue
            self._idle.append(attempt.pool)
            return result

    def close(self) -> None:
        """See `Executor`."""
        for pool in (*self._idle, *(attempt.pool for attempt in self._running.values())):
            pool.shutdown(wait=True, cancel_futures=True)

    def _launch(self, task: FieldTask, number: int) -> None:
        while self._idle:
            pool = self._idle.pop()
            try:
                future = pool.submit(self._work, task)
            except BrokenProcessPool:  # killed while it had nothing to do
                pool.shutdown(wait=True)
                continue
            break
        else:
            pool = self._start()
            future = pool.submit(self._work, task)
        self._running[future] = _Attempt(task, pool, number)

    def _start(self) -> ProcessPoolExecutor:
        import multiprocessing

        threads = max(1, (os.cpu_count() or 1) // self.slots)
        spawn = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, spawn, prepare_worker, (threads,))


class _Attempt(NamedTuple):
    """A field that a process works on."""

    task: FieldTask
    pool: ProcessPoolExecutor
    number: int
    """1, or more if a process died of it before."""


def lost(task: FieldTask, what: str) -> FieldResult:
    """Make the result of a field whose process did not live to tell.

    Parameters
    ----------
    task : FieldTask
    what : str
        What happened, for the message.

    Returns
    -------
    FieldResult
    """
    message = (
        f"{what} every time (out of memory?); set a smaller batch for it, or use fewer workers"
    )
    failure = Failure("WorkerLost", message, ExitCode.FAILURE)
    return FieldResult(task.id, str(task.archive), "failed", failure=failure)


def prepare_worker(threads: int) -> None:
    """Set a worker process up: its threads, its signals, and its end.

    Parameters
    ----------
    threads : int
        Of torch; so that all workers together do not ask for more than there are cores.
    """
    import signal

    # Ctrl-C and systemd's stop go to all processes at once; it is the parent that decides, and it
    # lets fields that have begun end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_with_parent()
    # Torch reads it once something imports it; a dry run never does.
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def _end_with_parent() -> None:
    """End at once when the parent is killed: archives are whole at any instant, locks are freed."""
    import multiprocessing
    import threading
    from multiprocessing.connection import wait as wait_for

    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(ExitCode.FAILURE)

    threading.Thread(target=watch, daemon=True, name="stvc-watch-parent").start()
