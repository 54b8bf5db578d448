"""SIGKILL at any instant of an append: the archive opens whole, and the next run completes it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from archive_samples import contents, sample_frames, sample_units, write_sample
from scenes import field_of

import stvc
from stvc.archive import ArchiveReader, UnitKey

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

KILLS = 50
FIRST, STEP = 4, 3
_GROWN = 13
_FIELD_DATES = 40

# Imports once, then forks a fresh writer for each line that it reads: a kill costs milliseconds.
_NURSERY = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
path, step = Path({path!r}), {step}

def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # whole, or not at all

{writer}
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        tell("pid", os.getpid())
        write(line.strip())
        os._exit(0)
    tell("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""

_CONTAINER_WRITER = """
from archive_samples import write_sample
from stvc.archive import ArchiveReader, lock

def write(argument):
    while True:
        with lock(path):
            with ArchiveReader.open(path) as reader:
                count = len(reader.frames)
            write_sample(path, count, count + step)
        tell("appended")
"""

_APPEND_WRITER = """
import torch
torch.set_num_threads(1)
import stvc
from scenes import field_of
from stvc.model.weights import load_model
load_model()
every = field_of(40)

def write(argument):
    while True:
        with stvc.open(path) as archive:
            count = len(archive.times)
        stvc.append(every.isel(time=slice(0, count + step)), path)
        tell("appended")
"""

_COUNTED_WRITER = """
from archive_samples import write_sample

def write(argument):
    left = int(argument)
    def count(event, args):
        nonlocal left
        if event in ("open", "os.rename", "os.chmod", "os.remove", "os.listdir", "os.scandir"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), 9)
    sys.addaudithook(count)
    write_sample(path, 4, 7)
"""


@dataclass(frozen=True)
class Scenario:
    """One way of appending to archives, to be killed."""

    name: str
    writer: str
    """Defines ``write(argument)``: appends ``step`` dates to ``path`` and prints ``appended``, for
    ever."""
    create: Callable[[Path], None]
    """Writes an archive of FIRST dates."""
    check: Callable[[Path], int]
    """Asserts that an archive is whole and its dates are as written; returns their number."""
    complete: Callable[[Path, int], None]
    """Appends up to that many dates in this process, over whatever a killed run left behind."""
    delay: float
    """Seconds within which the kill comes: about as long as two appends take."""
    most: int
    """Dates at which the archive starts anew."""
    must_hit: bool
    """Go on until a kill has left a half-written file behind: that the test tests something."""


def _check_container(path: Path) -> int:
    with ArchiveReader.open(path) as reader:
        count = len(reader.frames)
        assert reader.wrapper_intact and reader.missing_bytes == 0
        assert reader.size == path.stat().st_size == reader.overhead_bytes + reader.payload_bytes
        assert reader.frames == tuple(sample_frames(0, count))
        assert contents(reader) == {key: payload for key, payload, _ in sample_units(0, count)}
    return count


def _complete_container(path: Path, count: int) -> None:
    with ArchiveReader.open(path) as reader:
        first = len(reader.frames)
    write_sample(path, first, count)


def _create_archive(path: Path) -> None:
    stvc.encode(field_of(_FIELD_DATES).isel(time=slice(0, FIRST)), path, quality=30)


@cache
def _expected() -> dict[UnitKey, bytes]:
    """Payloads of an archive that grew undisturbed."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "fields.stvc"
        _create_archive(path)
        for count in range(FIRST + STEP, _FIELD_DATES, STEP):
            _complete_archive(path, count)
        with ArchiveReader.open(path) as reader:
            return contents(reader)


def _check_archive(path: Path) -> int:
    with ArchiveReader.open(path) as reader:
        count = len(reader.frames)
        assert reader.wrapper_intact and reader.missing_bytes == 0
        found = contents(reader)
    assert found == {k: v for k, v in _expected().items() if k.frame < count}
    report = stvc.open(path).verify()
    assert report.ok, report.errors
    assert report.frames_checked == count
    return count


def _complete_archive(path: Path, count: int) -> None:
    stvc.append(field_of(_FIELD_DATES).isel(time=slice(0, count)), path)


SCENARIOS = [
    Scenario(
        "container",
        _CONTAINER_WRITER,
        lambda path: write_sample(path, 0, FIRST),
        _check_container,
        _complete_container,
        0.02,
        40,
        True,
    ),
    Scenario(
        "append",
        _APPEND_WRITER,
        _create_archive,
        _check_archive,
        _complete_archive,
        0.4,
        _GROWN,
        False,
    ),
]


@contextmanager
def _nursery(writer: str, path: Path) -> Iterator[Callable[[str, float | None], tuple[int, int]]]:
    """Give a function that runs a writer and kills it after a delay: (exit code, appends done)."""
    script = _NURSERY.format(
        tests=str(Path(__file__).parent), path=str(path), step=STEP, writer=writer
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        commands, answers = process.stdin, process.stdout

        def run(argument: str, delay: float | None) -> tuple[int, int]:
            commands.write(argument + "\n")
            commands.flush()
            word, pid = answers.readline().split()
            assert word == "pid"
            if delay is not None:
                time.sleep(delay)
                os.kill(int(pid), signal.SIGKILL)
            appended = 0
            while (answer := answers.readline().split())[0] == "appended":
                appended += 1
            assert answer[0] == "ended"
            return int(answer[1]), appended

        yield run
        commands.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_kill_at_random_instants(tmp_path: Path, scenario: Scenario) -> None:
    rng = random.Random(2026)
    path = tmp_path / "fields.stvc"
    scenario.create(path)
    start = path.read_bytes()
    count, leftovers, kills = scenario.check(path), 0, 0
    with _nursery(scenario.writer, path) as run:
        while kills < KILLS or (scenario.must_hit and leftovers == 0 and kills < 10 * KILLS):
            code, appended = run("", rng.uniform(0, scenario.delay))
            assert code == -signal.SIGKILL
            kills += 1
            found = scenario.check(path)
            # What the writer reported is there, and at most one append that it could not report.
            assert found in (count + STEP * appended, count + STEP * (appended + 1))
            leftovers += len(list(tmp_path.glob(".*.stvc-tmp")))
            count = found + STEP
            scenario.complete(path, count)
            assert scenario.check(path) == count
            assert not list(tmp_path.glob(".*")), "a write removes what a killed one left behind"
            if count > scenario.most:
                path.write_bytes(start)
                count = scenario.check(path)
    assert leftovers > 0 or not scenario.must_hit, "no kill hit a write"


def test_kill_before_every_step_on_the_file_system(tmp_path: Path) -> None:
    """Only the rename may show, and it shows all of the append."""
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 4)
    before = path.read_bytes()
    write_sample(tmp_path / "after.stvc", 0, 7)
    after = (tmp_path / "after.stvc").read_bytes()
    kills = 0
    with _nursery(_COUNTED_WRITER, path) as run:
        while run(str(kills + 1), None)[0] == -signal.SIGKILL:
            kills += 1
            assert path.read_bytes() in (before, after)
            path.write_bytes(before)
    assert kills >= 5
    assert path.read_bytes() == after
    assert not list(tmp_path.glob(".*"))
