"""The monitor on Sentinel Hub: the real client against a loopback server, day by day."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servers.places import TILE, area
from servers.sentinelhub_scenes import Scene, scene
from servers.sentinelhub_server import Faults, SentinelHubServer

import stvc
from stvc.archive import ArchiveReader
from stvc.exit_codes import ExitCode
from stvc.monitor.events import EventLog
from stvc.monitor.fields import read_job
from stvc.monitor.runner import RunOptions, run
from stvc.monitor.status import statuses

DAYS = ("2023-05-01", "2023-05-06", "2023-05-11", "2023-05-16")
SCENES = [scene(day, TILE) for day in DAYS]
CUT = 5_620_200.0
"""Northing in the middle of the field."""


class Job:
    """Fields on one spot, and the service that they are monitored by."""

    def __init__(self, folder: Path, server: SentinelHubServer) -> None:
        self.server = server
        self.path = folder / "fields.toml"
        self.code = -1

    def write(self, ids: tuple[str, ...] = ("field",), more: str = "") -> None:
        geometry = json.loads(area().geojson)
        ring = geometry.get("geometry", geometry)["coordinates"]
        fields = "".join(
            f'[[fields]]\nid = "{name}"\n'
            f'geometry = {{type = "Polygon", coordinates = {json.dumps(ring)}}}\n'
            for name in ids
        )
        self.path.write_text(
            f'[defaults]\nsource = "sentinelhub"\nbands = ["B04"]\nstart = 2023-05-01\n{more}'
            f"[sources.sentinelhub]\nretry_wait_s = 0.01\nattempts = 2\nthreads = 1\n{fields}"
        )

    def run(self, today: str, **options: Any) -> list[dict[str, Any]]:
        self.server.today = date.fromisoformat(today)
        stream = io.StringIO()
        chosen = RunOptions(today=self.server.today, **options)
        self.code = run(read_job(self.path), chosen, EventLog(stream))
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    def held(self, versions: str = "latest", name: str = "field") -> list[tuple[str, str]]:
        """Day and products of each frame; the archive must verify."""
        path = self.path.parent / "archives" / f"{name}.stvc"
        with stvc.open(path) as archive:
            assert archive.verify().ok
            order = archive.frame_order(versions)
        with ArchiveReader.open(path) as reader:
            frames = [reader.frames[k] for k in order]
        return [(str(np.datetime64(f.time, "s"))[:10], f.provenance["product_id"]) for f in frames]

    def fail(self, *faults: str | None, kind: str = "process") -> None:
        self.server.faults.script[kind] = list(faults)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    with SentinelHubServer(SCENES, faults=Faults()) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("SH_PROFILE", raising=False)
        made = Job(tmp_path, server)
        made.write()
        yield made


def only(events: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [e for e in events if e["event"] == event]


def product(*scenes: Scene) -> str:
    return ",".join(sorted(s.product_id for s in scenes))


def test_a_new_date_is_appended_and_nothing_is_asked_for_twice(job: Job) -> None:
    job.run("2023-05-02")
    assert job.held() == [(DAYS[0], product(SCENES[0]))]
    before = job.server.count("process")
    (done,) = only(job.run("2023-05-02"), "field_done")
    assert (done["status"], done["requests"], done["pu"]) == ("unchanged", 1, 0)
    assert job.server.count("process") == before
    (told,) = only(job.run("2023-05-07"), "frame_appended")
    assert (told["time"], told["product_id"]) == (f"{DAYS[1]}T10:40:21", product(SCENES[1]))
    assert (told["baseline"], told["late"]) == ("05.09", False)
    assert [day for day, _ in job.held()] == list(DAYS[:2])
    assert job.server.count("process") == before + 2, "one request a native grid: B04, and SCL"


def test_a_late_date_is_put_in_its_place(job: Job) -> None:
    job.server.scenes[1] = scene(DAYS[1], TILE, published="2023-05-13")
    job.run("2023-05-12")
    assert [day for day, _ in job.held()] == [DAYS[0], DAYS[2]]
    (told,) = only(job.run("2023-05-13"), "frame_appended")
    assert (told["time"][:10], told["late"]) == (DAYS[1], True)
    assert [day for day, _ in job.held()] == list(DAYS[:3])


@pytest.mark.parametrize("withdrawn", [True, False])
def test_a_reprocessed_product_supersedes_and_both_stay_on_record(
    job: Job, withdrawn: bool
) -> None:
    job.run("2023-05-07")
    again = scene(DAYS[1], TILE, baseline="0510", made="20230509T080000", published="2023-05-09")
    if withdrawn:
        del job.server.scenes[1]
    job.server.scenes.append(again)
    events = job.run("2023-05-09")
    (gone,) = only(events, "frame_superseded")
    assert (gone["product_id"], gone["by"]["product_id"]) == (product(SCENES[1]), product(again))
    assert job.held()[1] == (DAYS[1], product(again))
    assert [name for _, name in job.held("all")] == [
        *(product(s) for s in (SCENES[0], SCENES[1], again))
    ]
    assert only(job.run("2023-05-09"), "field_done")[0]["status"] == "unchanged"


def test_the_other_half_of_an_overpass_completes_a_date(job: Job) -> None:
    left, bottom, right, top = TILE
    south = scene(DAYS[0], (left, bottom, right, CUT))
    north = scene(
        DAYS[0],
        (left, CUT, right, top),
        delay_s=404.25,
        made="20230503T080000",
        published="2023-05-03",
    )
    job.server.scenes[0] = south
    job.server.scenes.append(north)
    job.run("2023-05-02")
    assert job.held() == [(DAYS[0], product(south))]
    events = job.run("2023-05-03")
    assert len(only(events, "frame_superseded")) == 1
    assert job.held() == [(DAYS[0], product(south, north))]
    with stvc.open(job.path.parent / "archives" / "field.stvc") as archive:
        assert (archive.to_xarray()["SCL"].values > 0).all(), "imaged wholly"


def test_one_date_that_fails_does_not_lose_its_batch(job: Job) -> None:
    job.fail(None, None, "error", "error")
    events = job.run("2023-05-12")
    (missing,) = only(events, "frame_missing")
    assert (missing["time"][:10], missing["product_id"]) == (DAYS[1], product(SCENES[1]))
    assert missing["error"] == "UnavailableError" and "failed 2 times" in missing["message"]
    (failed,) = only(events, "field_failed")
    assert (failed["error"], failed["temporary"]) == ("IncompleteError", True)
    assert (failed["frames_added"], failed["frames_missing"]) == (2, 1)
    assert job.code == ExitCode.TEMPORARY
    (row,) = statuses(read_job(job.path))
    assert (row.frames, row.failures) == (2, 1) and "1 of 3 dates" in str(row.last_error)
    (told,) = only(job.run("2023-05-13"), "frame_appended")
    assert (told["time"][:10], told["late"]) == (DAYS[1], True)
    assert [day for day, _ in job.held()] == list(DAYS[:3])
    (row,) = statuses(read_job(job.path))
    assert (row.frames, row.failures, row.last_error) == (3, 0, None)


def test_a_date_that_never_comes_does_not_keep_later_ones_away(job: Job) -> None:
    """One date a batch: the first one fails for ever, the others are behind it."""
    job.write(more="batch = 1\n")
    job.fail("truncate", "truncate")
    (failed,) = only(job.run("2023-05-17"), "field_failed")
    assert (failed["frames_added"], failed["frames_missing"]) == (3, 1)
    assert "1 of 4 dates could not be fetched; 2023-05-01" in failed["message"]
    assert [day for day, _ in job.held()] == list(DAYS[1:])


def test_a_service_that_is_down_is_not_asked_for_every_date(job: Job) -> None:
    job.write(more="batch = 1\n")
    job.fail(*["error"] * 99)
    (failed,) = only(job.run("2023-05-17"), "field_failed")
    assert (failed["frames_added"], failed["frames_missing"]) == (0, 3)
    assert job.server.count("process") == 6, "two attempts for each of three dates"


def test_a_used_up_quota_stops_the_run_and_the_next_day_goes_on(job: Job) -> None:
    names = ("a", "b", "c", "d", "e")
    job.write(names)
    job.fail(None, None, None, *["quota"] * 99)
    events = job.run("2023-05-07")
    failed = only(events, "field_failed")
    assert [e["field"] for e in failed] == list(names)
    assert [e["error"] for e in failed[1:]] == ["QuotaError"] * 3 + ["AuthError"]
    assert "not tried" in failed[-1]["message"] and failed[-1]["requests"] is None
    assert [e["frames_added"] for e in failed] == [1, 0, 0, 0, 0]
    assert {e["exit_code"] for e in failed[1:]} == {ExitCode.DENIED}
    job.fail()
    events = job.run("2023-05-08")
    assert job.code == ExitCode.OK
    for name in names:
        assert [day for day, _ in job.held(name=name)] == list(DAYS[:2])
    sent = [a for a in job.server.requests if a.kind == "process" and a.fault is None]
    assert len(sent) == len(names) * 2 * 2 + 1, "one date had come in half, and is asked for anew"


def test_a_budget_of_requests_is_kept_and_the_rest_comes_later(job: Job) -> None:
    (deferred,) = only(job.run("2023-05-12", max_requests=5), "field_deferred")
    assert (deferred["requests"], deferred["frames_added"]) == (5, 2)
    assert job.server.count("catalog") + job.server.count("process") == 5
    (told,) = only(job.run("2023-05-12", max_requests=5), "frame_appended")
    assert told["time"][:10] == DAYS[2]
