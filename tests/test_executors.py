"""Local processes and a real dask cluster: the same archives, whoever wrote them, whoever died."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from monitor_farm import DAYS, IDS, Farm, kinds, make_farm
from monitor_source import only_fetch, run_scripted

from stvc import cli
from stvc.errors import UnavailableError
from stvc.exit_codes import ExitCode
from stvc.monitor import runner
from stvc.monitor.executors import InProcess, Processes
from stvc.monitor.fields import read_job


@pytest.fixture
def farm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Farm:
    return make_farm(tmp_path, monkeypatch, capsys)


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs use two processes, which know the scripted source."""
    monkeypatch.setattr(runner, "_executor", lambda options: Processes(2, run_scripted))


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Any]:
    """A cluster of two single-threaded worker processes on this machine."""
    distributed = pytest.importorskip("distributed")
    os.environ["OMP_NUM_THREADS"] = "1"
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs="CRITICAL",
        death_timeout="120s",
    ) as cluster:
        yield cluster


@pytest.fixture
def on_cluster(monkeypatch: pytest.MonkeyPatch, scheduler: Any) -> Any:
    """Let runs use the cluster, whose workers know the scripted source."""
    from stvc.monitor.cluster import Cluster

    address = scheduler.scheduler_address
    monkeypatch.setattr(runner, "_executor", lambda options: Cluster(address, run_scripted))
    return scheduler


def _half_and_expected(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Leave archives of the first days; returns what one process makes of the rest."""
    with monkeypatch.context() as patch:
        patch.setattr(runner, "_executor", lambda options: InProcess())
        farm.run(today=DAYS[1])
        farm.archive("west").unlink()
        shutil.copytree(farm.folder / "archives", farm.folder / "half")
        farm.run()
    expected = farm.bytes()
    shutil.rmtree(farm.folder / "archives")
    (farm.folder / "half").rename(farm.folder / "archives")
    return expected


@pytest.mark.usefixtures("two_processes")
def test_processes_write_the_same_bytes(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(multiprocessing.active_children())
    expected = _half_and_expected(farm, monkeypatch)
    farm.run()
    assert farm.bytes() == expected
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.usefixtures("on_cluster")
def test_a_cluster_writes_the_same_bytes(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _half_and_expected(farm, monkeypatch)
    farm.run()
    assert farm.bytes() == expected


def _check_nothing_twice(farm: Farm, events: list[dict[str, Any]]) -> None:
    """Every frame is in its archive, and was told of, once."""
    for name in IDS:
        assert [day for day, _ in farm.held(name, "all")] == list(DAYS)
    told = [(e["field"], e["time"]) for e in kinds(events, event="frame_appended")]
    assert len(told) == len(set(told)) == len(IDS) * len(DAYS)


def test_a_field_whose_process_is_killed_is_tried_again(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_executor", lambda options: Processes(1, run_scripted))
    farm.service.fail("north", "SIGKILL")
    events = farm.run()
    assert farm.code == ExitCode.OK
    _check_nothing_twice(farm, events)


def test_a_field_that_kills_every_process_is_given_up_alone(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_executor", lambda options: Processes(2, only_fetch))
    farm.service.fail("north", "always die")
    events = farm.run()
    assert farm.code == ExitCode.PARTIAL
    (failed,) = kinds(events, event="field_failed")
    assert (failed["field"], failed["error"]) == ("north", "WorkerLost")
    assert "out of memory" in failed["message"]
    assert {e["field"] for e in kinds(events, event="field_done")} == {"east", "west"}


@pytest.mark.usefixtures("on_cluster")
def test_a_cluster_survives_the_death_of_a_worker(farm: Farm) -> None:
    farm.service.fail("north", "SIGKILL")
    events = farm.run()
    assert farm.code == ExitCode.OK
    _check_nothing_twice(farm, events)


def test_a_worker_killed_after_its_first_append_is_taken_over_from_there(
    farm: Farm, on_cluster: Any
) -> None:
    """One frame a batch; the kill comes while the second one is fetched."""
    farm.toml.write_text(farm.toml.read_text().replace("[defaults]", "[defaults]\nbatch = 1"))
    farm.service.fail("north", "SIGKILL", DAYS[1])
    farm.run()
    assert farm.code == ExitCode.OK
    fetched = [line for line in farm.service.asked if line.startswith("fetch north")]
    assert fetched == [f"fetch north {day} p-{day}" for day in DAYS], "none was fetched again"
    assert [day for day, _ in farm.held("north", "all")] == list(DAYS)


@pytest.mark.usefixtures("two_processes")
def test_stopping_lets_other_processes_end_their_fields(farm: Farm) -> None:
    """The signal reaches the parent while its children are at work."""
    farm.service.fail("north", "SIGTERM", "parent")
    events = farm.run()
    assert farm.code == ExitCode.TERMINATED
    done = {e["field"] for e in kinds(events, event="field_done")}
    assert {"east", "north"} <= done
    for name in done:
        assert [day for day, _ in farm.held(name)] == list(DAYS)
    assert events[-1]["stopped"] == "SIGTERM"


def test_workers_end_when_their_parent_is_killed(farm: Farm) -> None:
    farm.service.fail("east", "wait")
    prelude = (
        "from stvc.monitor import runner\n"
        "from stvc.monitor.executors import Processes\n"
        "runner._executor = lambda options: Processes(1, monitor_source.run_scripted)"
    )
    with farm.command(prelude=prelude) as process:
        assert process.stdout is not None
        while "waiting east" not in farm.service.asked:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        # The worker holds the pipe too: it ends only once the worker is gone.
        process.stdout.read()
    farm.service.heal("east")
    farm.run("--lock-timeout", "0")
    assert farm.code == ExitCode.OK, "no lock is left behind"


def test_a_scheduler_that_is_not_there(
    farm: Farm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("stvc.monitor.cluster._PATIENCE", 0.3)
    events = farm.run("--executor", "dask", "--scheduler", "tcp://127.0.0.1:9")
    assert farm.code == UnavailableError.exit_code
    assert "no dask scheduler answers at tcp://127.0.0.1:9" in farm.err
    assert [e["event"] for e in events] == ["run_started"]
    assert cli.run(["monitor", "run", str(farm.toml), "--executor", "dask"]) == ExitCode.USAGE


def test_the_command_line_chooses_the_executor() -> None:
    chosen = runner._executor(runner.RunOptions(today=date(2024, 1, 1)))
    assert isinstance(chosen, InProcess)
    several = runner._executor(runner.RunOptions(today=date(2024, 1, 1), workers=3))
    try:
        assert isinstance(several, Processes)
        assert several.slots == 3
    finally:
        several.close()


def test_an_idle_process_that_dies_is_replaced(farm: Farm) -> None:
    job = read_job(farm.toml)
    tasks = [runner._task(job, f, runner.RunOptions(today=date(2024, 5, 12))) for f in job.fields]
    before = set(multiprocessing.active_children())
    pool = Processes(1, only_fetch)
    try:
        pool.submit(tasks[0])
        ended = pool.next()
        assert ended.status == "written", ended.failure
        (child,) = set(multiprocessing.active_children()) - before
        child.kill()
        child.join()
        pool.submit(tasks[1])
        ended = pool.next()
        assert ended.status == "written", ended.failure
    finally:
        pool.close()
    assert set(multiprocessing.active_children()) <= before
