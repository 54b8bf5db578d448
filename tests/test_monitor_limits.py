"""Budgets, locks, signals and full disks: what a run does when it cannot do everything."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from monitor_farm import DAYS, IDS, Farm, events_of, kinds, make_farm

from stvc.archive import lock
from stvc.exit_codes import ExitCode
from stvc.monitor import runner
from stvc.monitor.budget import Budget
from stvc.monitor.fields import read_job
from stvc.monitor.results import FieldResult
from stvc.monitor.state import FOLDER


@pytest.fixture
def farm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Farm:
    return make_farm(tmp_path, monkeypatch, capsys)


# ---------------------------------------------------------------- budgets


@pytest.mark.parametrize(("flag", "value"), [("--max-requests", "5"), ("--max-pu", "2.9")])
def test_a_budget_holds_over_the_whole_run(farm: Farm, flag: str, value: str) -> None:
    """Each field takes a listing and three fetches, of 0.5 units each."""
    events = farm.run(flag, value)
    assert len(farm.service.asked) == 5
    assert farm.code == ExitCode.PARTIAL
    assert [e["field"] for e in kinds(events, event="field_done")] == ["east"]
    deferred = kinds(events, event="field_deferred")
    assert [(e["field"], e["reason"]) for e in deferred] == [
        ("north", "budget"),
        ("west", "budget"),
    ]
    assert (events[-1]["deferred"], events[-1]["requests"]) == (2, 5)
    farm.run()
    assert farm.code == ExitCode.OK
    assert [day for day, _ in farm.held("west")] == list(DAYS)


def test_no_budget_at_all_is_temporary(farm: Farm) -> None:
    assert len(kinds(farm.run("--max-requests", "0"), event="field_deferred")) == 3
    assert farm.code == ExitCode.TEMPORARY
    assert not farm.service.asked


def test_shares_of_a_budget_never_exceed_it(farm: Farm) -> None:
    job = read_job(farm.toml)
    tasks = [
        runner._task(job, field, runner.RunOptions(today=date(2024, 5, 12))) for field in job.fields
    ]
    budget = Budget(10, 3.0)
    lent = [budget.lend(task, slots) for task, slots in zip(tasks[:2], (3, 2), strict=True)]
    assert [(task.max_requests, task.max_pu) for task in lent] == [(3, 1.0), (3, 1.0)]
    assert not budget.exhausted
    assert budget.settle(FieldResult("east", "", requests=1, pu=0.5)), "2 more requests, 0.5 units"
    last = budget.lend(tasks[2], 1)
    assert (last.max_requests, last.max_pu) == (6, 1.5)
    assert budget.exhausted, "all is lent"
    assert not budget.settle(FieldResult("west", "", "deferred", requests=6, pu=1.5))
    assert budget.settle(FieldResult("north", "", "deferred", requests=0, pu=0.0)) is False
    again = budget.lend(tasks[1], 1)
    assert (again.max_requests, again.max_pu) == (3, 1.0)


def test_a_source_that_refuses_everybody_is_not_asked_a_thousand_times(
    farm: Farm, tmp_path: Path
) -> None:
    from monitor_source import write_job

    ids = [f"field-{k}" for k in range(8)]
    write_job(tmp_path, ids)
    for name in ids:
        farm.service.publish(name, DAYS[0])
        farm.service.fail(name, "AuthError")
    events = farm.run()
    assert farm.code == ExitCode.DENIED
    assert len(farm.service.asked) == 3
    assert len(kinds(events, event="field_failed", exit_code=77)) == 8
    assert "not tried" in kinds(events, event="field_failed")[3]["message"]


# ---------------------------------------------------------------- locks


@contextmanager
def locked_elsewhere(path: Path) -> Iterator[None]:
    """Hold an archive's lock in another thread."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock(path):
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(60)
        yield
    finally:
        done.set()
        thread.join()


def test_a_locked_field_is_left_to_the_other_job(farm: Farm) -> None:
    (farm.folder / "archives").mkdir()
    with locked_elsewhere(farm.archive("north")):
        events = farm.run("--lock-timeout", "0")
        assert farm.code == ExitCode.PARTIAL
        (failed,) = kinds(events, event="field_failed")
        assert (failed["field"], failed["error"]) == ("north", "LockedError")
        assert failed["temporary"]
        farm.run("--lock-timeout", "0", "--only", "north")
        assert farm.code == ExitCode.TEMPORARY
    assert not (farm.folder / "archives" / FOLDER / "north.json").exists()
    farm.run()
    assert farm.code == ExitCode.OK


def test_two_jobs_at_once_append_every_frame_once(farm: Farm) -> None:
    jobs = [farm.command("--lock-timeout", "120") for _ in range(2)]
    told = [events_of(job)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [ExitCode.OK, ExitCode.OK]
    added = [e["frames_added"] for events in told for e in kinds(events, event="run_done")]
    assert sum(added) == 9
    fetched = [line for line in farm.service.asked if line.startswith("fetch")]
    assert len(fetched) == len(set(fetched)) == 9
    for name in IDS:
        assert [day for day, _ in farm.held(name)] == list(DAYS)


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize(
    ("sent", "code"), [("SIGTERM", ExitCode.TERMINATED), ("SIGINT", ExitCode.INTERRUPTED)]
)
def test_a_stopped_run_ends_the_field_that_has_begun(farm: Farm, sent: str, code: int) -> None:
    farm.service.fail("north", sent)
    before = signal.getsignal(signal.SIGTERM)
    events = farm.run()
    assert farm.code == code
    assert [e["field"] for e in kinds(events, event="field_done")] == ["east", "north"]
    (left,) = kinds(events, event="field_deferred")
    assert (left["field"], left["reason"]) == ("west", "stopped")
    assert (events[-1]["stopped"], events[-1]["exit_code"]) == (sent, code)
    assert [day for day, _ in farm.held("north")] == list(DAYS)
    assert not farm.archive("west").exists()
    assert signal.getsignal(signal.SIGTERM) is before
    farm.run()
    assert farm.code == ExitCode.OK


def test_whoever_asks_twice_to_stop_is_obeyed_at_once(farm: Farm) -> None:
    farm.service.fail("east", "wait")
    process = farm.command()
    deadline = time.monotonic() + 240
    while "waiting east" not in farm.service.asked and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None, "the field that has begun may end"
    process.send_signal(signal.SIGTERM)
    events, err = events_of(process)
    assert process.returncode == ExitCode.TERMINATED
    assert "SIGTERM" in err
    assert not kinds(events, event="field_done")
    farm.service.heal("east")
    farm.run()
    assert farm.code == ExitCode.OK


def test_a_log_that_nobody_reads_stops_nothing(farm: Farm) -> None:
    with farm.command() as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=300) == ExitCode.OK
    assert [day for day, _ in farm.held("west")] == list(DAYS)


# ---------------------------------------------------------------- disks


def _fill(farm: Farm) -> None:
    """Give one field an archive that outgrows a small disk."""
    farm.toml.write_text(farm.toml.read_text() + "[settings.north]\nlossless = true\n")
    for k in range(40):
        farm.service.publish("north", str(date.fromordinal(738_000 + k)))


def _check_full(farm: Farm, events: list[dict[str, object]], code: int) -> None:
    assert code == ExitCode.PARTIAL
    (failed,) = kinds(events, event="field_failed")
    assert (failed["field"], failed["exit_code"]) == ("north", ExitCode.IO_ERROR)
    assert "no space left" in str(failed["message"])
    assert not farm.archive("north").exists()
    assert [day for day, _ in farm.held("west")] == list(DAYS)
    assert not list((farm.folder / "archives").glob(".*tmp"))


def test_a_file_size_limit_names_the_field_and_loses_nothing(farm: Farm) -> None:
    _fill(farm)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        events = farm.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    _check_full(farm, events, farm.code)
    farm.run()
    assert farm.code == ExitCode.OK
    assert len(farm.held("north")) == 43


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 kB."""
    folder = tmp_path / "archives"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    mount = ["mount", "-t", "tmpfs", "-o", "size=20k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not possible here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_names_the_field_and_loses_nothing(small_disk: Path, farm: Farm) -> None:
    _fill(farm)
    _check_full(farm, farm.run(), farm.code)


def test_archives_that_cannot_be_written_at_all(farm: Farm) -> None:
    (farm.folder / "archives").write_text("in the way")
    events = farm.run()
    assert farm.code == ExitCode.IO_ERROR
    assert len(kinds(events, event="field_failed", exit_code=74)) == 3
    assert not [line for line in farm.service.asked if line.startswith("fetch")]


def test_a_cache_that_cannot_be_written_is_only_a_warning(farm: Farm) -> None:
    (farm.folder / "cache").write_text("in the way")
    text = farm.toml.read_text().replace('"recent"', '"background"')
    farm.toml.write_text('cache_dir = "cache/backgrounds"\n' + text)
    for k in range(1, 13):
        farm.service.publish("east", f"2024-04-{k:02d}")
    events = farm.run("--only", "east")
    assert farm.code == ExitCode.OK
    (done,) = kinds(events, event="field_done")
    assert len(done["warnings"]) == 1 and "cache" in done["warnings"][0]
    assert len(farm.held("east")) == 15


def test_a_state_that_cannot_be_written_is_only_a_warning(farm: Farm) -> None:
    (farm.folder / "archives").mkdir()
    (farm.folder / "archives" / FOLDER).write_text("in the way")
    events = farm.run()
    assert farm.code == ExitCode.OK
    assert "cannot remember" in kinds(events, event="field_done")[0]["warnings"][0]
