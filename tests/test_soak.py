"""A short season of monitoring with faults and kills; ``tools/soak.py`` plays whole years."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.sentinelhub_scenes import Synthetic

TOOLS = Path(__file__).resolve().parents[1] / "tools"
sys.path.insert(0, str(TOOLS))

import soak  # noqa: E402
from soaking.audit import Audit  # noqa: E402
from soaking.questions import Questions  # noqa: E402
from soaking.season import Run, Season, _wait_for_handlers  # noqa: E402
from soaking.world import World  # noqa: E402


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> Season:
    """Four fields, twenty days, two SIGKILLs; every tenth request fails."""
    world = World(4, soak.FIRST, 20, 0)
    folder = tmp_path_factory.mktemp("soak")
    made = Season(world, folder, every=1, kills=2, rate=0.1, seed=0, in_process=True)
    made.play()
    return made


def test_other_servers_of_the_process_are_not_waited_for() -> None:
    done = threading.Event()
    handler = threading.Thread(target=done.wait, name="Thread-1 (process_request_thread)")
    handler.start()
    try:
        _wait_for_handlers([*threading.enumerate()])
        later = threading.Thread(target=done.wait, args=(0.2,), name="process_request_thread")
        later.start()
        _wait_for_handlers([t for t in threading.enumerate() if t is not later])
        assert not later.is_alive()
    finally:
        done.set()
        handler.join()


@pytest.fixture
def report(season: Season) -> dict[str, Any]:
    return soak.audit(season)


def test_a_short_season_adds_up(season: Season, report: dict[str, Any]) -> None:
    assert report["findings"] == []
    assert report["killed"] == 2
    archives, events = report["archives"], report["events"]
    assert archives["verified"] == report["state"]["fields"] == 4
    assert archives["dates_held"] == archives["dates_expected"] > 10
    # Without these, the season would prove little.
    assert {p.kind for p in season.world.passes} == {
        *("plain", "late", "reprocessed", "halves", "half")
    }
    assert archives["superseded_versions"] >= 1 and archives["late_frames"] >= 1
    assert events["frames_told"] + events["frames_silenced_by_kills"] == events["frames_held"]
    assert sum(report["requests"]["faults"].values()) >= 8
    assert report["requests"]["repeated_without_reason"] == 0
    assert report["pixels"]["images_compared"] >= 15


def first(season: Season, event: str) -> tuple[Run, int]:
    """The run and place in its log of the first event of a kind."""
    return next(
        (run, place)
        for run in season.runs
        for place, found in enumerate(run.events)
        if found["event"] == event
    )


@pytest.fixture
def log(season: Season) -> Iterator[Season]:
    """A season whose log and requests may be changed."""
    before = [(list(run.events), list(run.requests)) for run in season.runs]
    yield season
    for run, (events, requests) in zip(season.runs, before, strict=True):
        run.events, run.requests = events, requests


def test_an_event_that_is_missing_is_found(log: Season) -> None:
    run, place = first(log, "frame_appended")
    del run.events[place]
    audit = Audit(log)
    audit.events()
    assert any("not those of the sum" in finding for finding in audit.findings)


def test_an_event_of_a_frame_that_is_not_held_is_found(log: Season) -> None:
    run, place = first(log, "frame_appended")
    run.events[place] = {**run.events[place], "product_id": "another"}
    audit = Audit(log)
    audit.events()
    assert any("told but not held" in finding for finding in audit.findings)


@pytest.mark.parametrize("kind", ["process", "catalog"])
def test_a_request_that_is_sent_twice_is_found(log: Season, kind: str) -> None:
    run, asked = next(
        (run, asked)
        for run in log.runs
        for asked in run.requests
        if (asked.kind, asked.fault, asked.status) == (kind, None, 200)
    )
    run.requests.insert(run.requests.index(asked), asked)
    questions = Questions(log)
    assert questions.check()["repeated_without_reason"] == 1
    audit = Audit(log)
    audit.events()
    assert any("reached the server" in finding for finding in audit.findings)


def test_a_date_too_many_and_a_date_too_few_are_found(season: Season) -> None:
    world, place = season.world, season.world.places[0]
    overpass = world.passes_of(place)[0]
    world.passes_of(place).remove(overpass)
    try:
        audit = Audit(season)
        audit.archives()
    finally:
        world.passes_of(place).insert(0, overpass)
    assert any("should not be there" in finding for finding in audit.findings)
    audit = Audit(season)
    audit.held[place.id] = audit.held[place.id][1:]
    audit.archives()
    assert any("missing or of another version" in finding for finding in audit.findings)


def test_wrong_pixels_are_found(season: Season) -> None:
    world = season.world
    place = next(place for place in world.places if "lossless" in place.target)
    time, version = next(iter(world.expected(place, season.runs[-1].day).items()))
    known = {name: world.scenes[name] for name in version}
    for name, scene in known.items():
        world.scenes[name] = dataclasses.replace(scene, imagery=Synthetic(99, offset=0))
    try:
        audit = Audit(season)
        audit.pixels()
    finally:
        world.scenes.update(known)
    assert audit.findings
    assert all(f.startswith(f"{place.id} {time}") for f in audit.findings)


def test_damage_and_leftovers_are_found(season: Season) -> None:
    place = season.world.places[0]
    path = season.archive(place.id)
    whole = path.read_bytes()
    middle = len(whole) - 20  # among the payloads, which come last
    leftover = path.with_name("half.tmp")
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    leftover.touch()
    try:
        report = soak.audit(season)
    finally:
        path.write_bytes(whole)
        leftover.unlink()
    assert any("does not verify" in finding for finding in report["findings"])
    assert any("half.tmp" in finding for finding in report["findings"])


def test_the_tool_reports_and_keeps(tmp_path: Path) -> None:
    arguments = ["--fields", "1", "--days", "1", "--kills", "0", "--in-process", "--json"]
    done = subprocess.run(
        [sys.executable, str(TOOLS / "soak.py"), *arguments, "--keep", str(tmp_path / "kept")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["schema"], found["runs"], found["findings"]) == (1, 3, [])
    assert (tmp_path / "kept" / "archives" / "field-000.stvc").exists()
