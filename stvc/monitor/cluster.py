"""Fields, and the tiles of large ones, worked on by a dask.distributed cluster that is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, TypeVar

import stvc
from stvc.errors import ConfigError, UnavailableError
from stvc.monitor.executors import Work, lost
from stvc.monitor.field_run import run_field
from stvc.monitor.results import FieldResult, FieldTask

INSTALL = "pip install 'stvc[dask]'"
_PATIENCE = "30s"

Job = TypeVar("Job")
Coded = TypeVar("Coded")


class Cluster:
    """Workers of a dask scheduler; archives lie on a file system that all of them share.

    A field whose worker dies is given to another one by the scheduler. What the dead one had
    appended is in the archive, and is not coded again. The tiles of a large place are coded by all
    workers, see `on_workers`.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://10.0.0.5:8786``, or the path of its scheduler file.
    work : callable
        What is done for a field; importable by name on every worker.

    Raises
    ------
    ConfigError
        If distributed is not installed, or workers have another stvc.
    UnavailableError
        If there is no scheduler at the address, or it has no workers.
    """

    def __init__(self, address: str, work: Work = run_field) -> None:
        try:
            distributed: Any = import_module("distributed")  # it has no types
        except ImportError:
            raise ConfigError(f"--executor dask needs dask.distributed: {INSTALL}") from None
        where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
        try:
            self._client: Any = distributed.Client(**where, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise UnavailableError(
                f"no dask scheduler answers at {address} ({type(error).__name__}: {error}); start "
                "it, or check --scheduler"
            ) from None
        try:
            self._client.wait_for_workers(1, timeout=_PATIENCE)
            self._check_versions()
        except TimeoutError:
            self.close()
            raise UnavailableError(
                f"the dask scheduler at {address} has no workers; start some: "
                f"dask worker {address} --nthreads 1"
            ) from None
        except BaseException:
            self.close()
            raise
        self._killed, self._cancelled = distributed.KilledWorker, distributed.CancelledError
        self._waiting: Any = distributed.as_completed(loop=self._client.loop)
        self._work = work
        self._tasks: dict[str, FieldTask] = {}
        self._number = 0

    @property
    def slots(self) -> int:
        """Threads of all workers, which may come and go."""
        return max(1, sum(int(threads) for threads in self._client.nthreads().values()))

    def submit(self, task: FieldTask) -> None:
        """See `stvc.monitor.executors.Executor`."""
        self._number += 1
        key = f"stvc-{task.id}-{self._client.id}-{self._number}"
        self._tasks[key] = task
        there = replace(task, spread_tiles=True)
        self._waiting.add(self._client.submit(self._work, there, key=key, pure=False))

    def next(self) -> FieldResult:
        """See `stvc.monitor.executors.Executor`."""
        future = next(self._waiting)
        task = self._tasks.pop(future.key)
        try:
            result: FieldResult = future.result()
        except self._killed:
            return lost(task, "the dask worker that it was given to died")
        except (self._cancelled, OSError) as error:
            raise UnavailableError(
                f"the dask scheduler is gone ({type(error).__name__}: {error}); run again: what "
                "was appended stays appended"
            ) from None
        finally:
            future.release()
        return result

    def close(self) -> None:
        """See `stvc.monitor.executors.Executor`."""
        self._client.close()

    def _check_versions(self) -> None:
        found: dict[str, str] = self._client.run(_version)
        other = {version for version in found.values() if version != stvc.__version__}
        if other:
            raise ConfigError(
                f"dask workers have stvc {', '.join(sorted(other))}, here it is {stvc.__version__};"
                " install the same everywhere: archives must not depend on who wrote them"
            )


def on_workers(work: Callable[[Job], Coded], jobs: Sequence[Job]) -> list[Coded]:
    """Do what `map` does, on all workers of the cluster that the caller is a task of.

    Jobs wait with the scheduler, so that those of a worker that dies go to another one.

    Parameters
    ----------
    work : callable
        Importable by name on every worker.
    jobs : sequence

    Returns
    -------
    list
        In the order of the jobs.
    """
    dask: Any = import_module("dask")
    distributed: Any = import_module("distributed")
    # The tiles of some dates are large for a graph; they are no mistake.
    quiet = {"distributed.admin.large-graph-warning-threshold": "1 TB"}
    with dask.config.set(quiet), distributed.worker_client() as client:
        futures = [client.submit(work, job, pure=False) for job in jobs]
        return list(client.gather(futures))


def _version() -> str:
    return stvc.__version__
