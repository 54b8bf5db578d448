"""The days of a season: runs of the job, some of them killed, against a service with faults."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from servers.sentinelhub_server import KINDS, Asked, Faults, SentinelHubServer

from soaking.world import World

PROGRAM = "from stvc.cli import main; main()"
TOKEN_FAULTS = ("busy", "error", "unavailable", "drop")
QUOTA_DAYS = 0.08
"""Share of days on which the account runs dry; it is filled up overnight."""
ENDS = ("field_done", "field_failed", "field_deferred")


class Weather(Faults):
    """Faults at a rate, of logins too; and days on which the quota is used up half-way.

    Parameters
    ----------
    rate : float
        Share of requests that fail; 0 = nothing ever goes wrong.
    seed : int
    """

    def __init__(self, rate: float, seed: int) -> None:
        super().__init__(rate=rate, seed=seed)
        self._quota = random.Random(seed)  # of its own: days do not depend on what was asked
        self._left: float = float("inf")
        self._calm = False

    def begin_day(self, fewest: int) -> None:
        """Fill the quota up, or nearly so.

        Parameters
        ----------
        fewest : int
            As many requests as a day takes at least.
        """
        self._left = float("inf")
        if self.rate and self._quota.random() < QUOTA_DAYS:
            self._left = self._quota.randrange(fewest)

    def clear_up(self) -> None:
        """Let nothing go wrong any more."""
        self._calm = True

    def next(self, kind: str) -> str | None:
        """Decide about one request."""
        with self._lock:
            if self._calm:
                return None
            if kind != "token":
                self._left -= 1
                if self._left < 0:
                    return "quota"
            if self._random.random() >= self.rate:
                return None
            return self._random.choice(TOKEN_FAULTS if kind == "token" else KINDS)


@dataclass
class Run:
    """One run of the job, as its log and the server saw it."""

    day: date
    purpose: str
    """``day``, ``retry`` (after a kill), ``last`` (nothing goes wrong) or ``idle`` (once more)."""
    events: list[dict[str, Any]] = field(default_factory=list)
    requests: list[Asked] = field(default_factory=list)
    torn: int = 0
    """Lines of the log that were cut off."""
    killed: bool = False
    code: int = 0
    said: str = ""
    """What it said on stderr."""

    @property
    def begun(self) -> set[str]:
        """Fields that it was working on when it was killed."""
        if not self.killed:
            return set()
        started = {e["field"] for e in self.events if e["event"] == "field_started"}
        return started - {e["field"] for e in self.events if e["event"] in ENDS}

    @property
    def done(self) -> set[str]:
        """Fields that it left up to date."""
        return {e["field"] for e in self.events if e["event"] == "field_done"}


class Season:
    """A job and its service, day by day.

    Parameters
    ----------
    world : World
    folder : Path
        For the job; empty.
    every : int
        Days between runs.
    kills : int
        SIGKILLs in all.
    rate : float
        Of faults.
    seed : int
    in_process : bool
        Whether runs that are not to be killed take place in this very process.
    workers : int
        Processes of a run, where it has any of its own.
    """

    def __init__(
        self,
        world: World,
        folder: Path,
        *,
        every: int,
        kills: int,
        rate: float,
        seed: int,
        in_process: bool = False,
        workers: int = 1,
    ) -> None:
        self.world = world
        self.folder = folder
        self.runs: list[Run] = []
        self.missed = 0
        """Kills that came too late: the run was over."""
        # What came while a frame failed to arrive several times must still be looked for.
        self.toml = world.write_job(folder, look_back=15 + 3 * every, attempts=2)
        self._others = tuple(threading.enumerate())
        self._random = random.Random(seed + 1)
        self._weather = Weather(rate, seed + 2)
        self._kills = kills
        self._in_process = in_process
        self._workers = workers
        days = world.days[::every]
        self._days = days if days[-1] == world.days[-1] else [*days, world.days[-1]]

    def play(self, note: Any = lambda text: None) -> None:
        """Play all days, then a last run without faults, and an idle one.

        Parameters
        ----------
        note : callable
            Told of each day.
        """
        with SentinelHubServer(self.world.scenes.values(), faults=self._weather) as server:
            self._server = server
            with _environment(server, self.folder):
                for number, day in enumerate(self._days):
                    server.today = day
                    self._weather.begin_day(len(self.world.places))
                    self._play_day(day, len(self._days) - number)
                    note(self._progress(number, day))
                self._weather.clear_up()
                self._run(self._days[-1], "last")
                self._run(self._days[-1], "idle")

    def status(self) -> dict[str, Any]:
        """What ``stvc monitor status --json`` says, run as a process."""
        command = [sys.executable, "-c", PROGRAM, "monitor", "status", str(self.toml), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return {"fields": [], "error": f"exit code {done.returncode}: {done.stderr[-500:]}"}
        return dict(json.loads(done.stdout))

    def archive(self, name: str) -> Path:
        """Path of a field's archive."""
        return self.folder / "archives" / f"{name}.stvc"

    def _play_day(self, day: date, days_left: int) -> None:
        """Run the job; kills are spread over the days that are left."""
        purpose = "day"
        while self._kills and self._random.random() < self._kills / days_left:
            run = self._run(day, purpose, kill=True)
            if not run.killed:
                return
            self._kills -= 1
            if self._random.random() < 0.5 and days_left > 1:
                return  # nobody starts it again before tomorrow
            purpose = "retry"
        self._run(day, purpose)

    def _run(self, day: date, purpose: str, *, kill: bool = False) -> Run:
        run = Run(day, purpose)
        before = len(self._server.requests)
        if self._in_process and not kill:
            self._run_here(run)
        else:
            self._run_process(run, kill=kill)
        _wait_for_handlers(self._others)
        run.requests = self._server.requests[before:]
        self.runs.append(run)
        return run

    def _run_here(self, run: Run) -> None:
        from stvc.monitor.events import EventLog
        from stvc.monitor.fields import read_job
        from stvc.monitor.runner import RunOptions
        from stvc.monitor.runner import run as work

        stream = io.StringIO()
        run.code = work(read_job(self.toml), RunOptions(today=run.day), EventLog(stream))
        run.events = [json.loads(line) for line in stream.getvalue().splitlines()]

    def _run_process(self, run: Run, *, kill: bool) -> None:
        command = [sys.executable, "-c", PROGRAM, "monitor", "run", str(self.toml)]
        fatal = self._random.randint(1, len(self.world.places)) if kill else 0
        delay = self._random.choice((0.0, self._random.uniform(0, 0.1), self._random.uniform(0, 1)))
        with open(self.folder / "stderr", "w+") as said:
            process = subprocess.Popen(
                [*command, "--today", str(run.day), "--workers", str(self._workers)],
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
            with process:
                assert process.stdout is not None
                started = 0
                for line in process.stdout:
                    try:
                        event = json.loads(line)
                    except ValueError:
                        run.torn += 1
                        continue
                    run.events.append(event)
                    started += event["event"] == "field_started"
                    if fatal and started == fatal:
                        fatal = 0
                        threading.Timer(delay, process.kill).start()
            run.code = process.returncode
            run.killed = run.code < 0
            said.seek(0)
            run.said = said.read()
        self.missed += kill and not run.killed

    def _progress(self, number: int, day: date) -> str:
        last = self.runs[-1]
        faults = sum(asked.fault is not None for asked in last.requests)
        return (
            f"{day} ({number + 1} of {len(self._days)}): exit code {last.code}, "
            f"{len(last.requests)} requests, {faults} faults"
        )


@contextmanager
def _environment(server: SentinelHubServer, folder: Path) -> Iterator[None]:
    """Send the source to the server, and away from the user's own settings."""
    before = dict(os.environ)
    os.environ.pop("SH_PROFILE", None)
    os.environ |= {**server.environment(), "XDG_CONFIG_HOME": str(folder / "config")}
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def _wait_for_handlers(others: Collection[threading.Thread]) -> None:
    """Wait until the server has written down what a killed client asked for.

    ``others`` were there before the season: whoever else serves in this process.
    """
    end = time.monotonic() + 60
    while any("process_request" in t.name for t in {*threading.enumerate()} - {*others}):
        if time.monotonic() > end:
            raise TimeoutError("the loopback server still answers after a minute")
        time.sleep(0.005)
