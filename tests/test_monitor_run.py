"""``stvc monitor run``: what it appends, what it tells, and what one bad field does to others."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monitor_farm import DAYS, IDS, Farm, kinds, make_farm

import stvc
from stvc import cli
from stvc.exit_codes import ExitCode
from stvc.masks import MaskRule
from stvc.monitor.runner import Totals, exit_code_of
from stvc.monitor.state import FOLDER
from stvc.monitor.stopping import Stop


@pytest.fixture
def farm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Farm:
    return make_farm(tmp_path, monkeypatch, capsys)


def documented(event: str) -> list[str]:
    """Keys of an event, from the table in the package's docstring."""
    rows = re.split(r"\n(?=\S)", (stvc.monitor.__doc__ or "").split("=\n")[2])
    (row,) = [row for row in rows if row.startswith(event + " ")]
    keys = re.sub(r"\(.*?\)|, and|where the source names them", ",", row[len(event) :], flags=re.S)
    return [key.strip() for key in keys.split(",") if key.strip()]


def test_running_twice_changes_nothing(farm: Farm) -> None:
    first = farm.run()
    assert farm.code == ExitCode.OK
    assert farm.held("west") == [(day, f"p-{day}") for day in DAYS]
    before, asked = farm.bytes(), len(farm.service.asked)
    second = farm.run()
    assert (farm.code, farm.bytes()) == (ExitCode.OK, before)
    assert [e["status"] for e in kinds(first, event="field_done")] == ["written"] * 3
    assert [e["status"] for e in kinds(second, event="field_done")] == ["unchanged"] * 3
    assert farm.service.asked[asked:] == [f"list {name}" for name in IDS]
    assert farm.run("--exit-code-if-empty", "99")[-1]["exit_code"] == farm.code == 99


def test_events_are_as_documented(farm: Farm) -> None:
    events = farm.run()
    assert {e["schema"] for e in events} == {1}
    assert len({e["run"] for e in events}) == 1
    assert [e["event"] for e in events[:7]] == [
        *("run_started", "field_started"),
        *["frame_appended"] * 3,
        *("field_done", "field_started"),
    ]
    for event in events:
        assert set(event) == {"schema", "event", "at", "run", *documented(event["event"])}
    assert events[0]["fields"] == 3
    frame = events[2]
    assert (frame["field"], frame["time"]) == ("east", "2024-05-01T10:00:00")
    assert (frame["product_id"], frame["baseline"]) == ("p-2024-05-01", "05.00")
    assert frame["bytes"] > 0 and frame["clear_share"] == 1 and frame["late"] is False
    done = events[-1]
    assert (done["event"], done["done"], done["written"], done["failed"]) == ("run_done", 3, 3, 0)
    assert (done["frames_added"], done["exit_code"], done["stopped"]) == (9, 0, None)
    assert (done["requests"], done["pu"]) == (12, 6.0)
    assert done["bytes_added"] == sum(map(len, farm.bytes().values()))


def test_only_new_dates_are_fetched_and_nothing_after_today(farm: Farm) -> None:
    farm.run(today="2024-05-06")
    assert [day for day, _ in farm.held("east")] == list(DAYS[:2])
    asked = len(farm.service.asked)
    farm.run("--only", "east", today="2024-05-11")
    assert [day for day, _ in farm.held("east")] == list(DAYS)
    assert farm.service.asked[asked:] == ["list east", "fetch east 2024-05-11 p-2024-05-11"]


def test_a_late_product_is_appended_and_shown_in_its_place(farm: Farm) -> None:
    farm.run()
    farm.service.publish("north", "2024-05-04")
    events = farm.run()
    (frame,) = kinds(events, event="frame_appended")
    assert (frame["field"], frame["late"]) == ("north", True)
    days = [day for day, _ in farm.held("north")]
    assert days == sorted([*DAYS, "2024-05-04"])
    assert not kinds(farm.run(), event="frame_appended")


def test_late_products_are_looked_for_before_the_last_date_held(farm: Farm) -> None:
    """Not before today: after an outage of months nothing between is left out."""
    farm.run()
    farm.service.publish("north", "2024-04-20")
    farm.service.publish("north", "2024-06-01")
    farm.run("--look-back", "10d", today="2024-09-01")
    assert [day for day, _ in farm.held("north")] == [*DAYS, "2024-06-01"]
    farm.run("--look-back", "all", today="2024-09-01")
    assert [day for day, _ in farm.held("north")] == ["2024-04-20", *DAYS, "2024-06-01"]


def test_a_reprocessed_product_supersedes_and_both_stay_on_record(farm: Farm) -> None:
    farm.run()
    farm.service.publish("west", DAYS[1], "again", "05.10")
    events = farm.run()
    (old,) = kinds(events, event="frame_superseded")
    assert (old["field"], old["product_id"], old["baseline"]) == ("west", f"p-{DAYS[1]}", "05.00")
    assert old["by"] == {"time": old["time"], "product_id": "again", "baseline": "05.10"}
    assert [product for _, product in farm.held("west")] == [
        f"p-{DAYS[0]}",
        "again",
        f"p-{DAYS[2]}",
    ]
    assert [product for _, product in farm.held("west", "all")] == [
        *(f"p-{day}" for day in DAYS[:2]),
        "again",
        f"p-{DAYS[2]}",
    ]
    assert kinds(events, event="run_done")[0]["frames_superseded"] == 1
    before = farm.bytes()
    assert not kinds(farm.run(), event="frame_appended")
    farm.service.publish("west", DAYS[1])  # the catalog goes back to the old one
    assert not kinds(farm.run(), event="frame_appended")
    assert farm.bytes() == before


def test_without_its_state_a_job_does_the_same(farm: Farm) -> None:
    twin = farm.folder / "twin"
    farm.run(today="2024-05-06")
    shutil.copytree(farm.folder / "archives", twin)
    shutil.rmtree(farm.folder / "archives" / FOLDER)
    without = farm.run()
    result = farm.bytes()
    shutil.rmtree(farm.folder / "archives")
    shutil.move(twin, farm.folder / "archives")
    with_state = farm.run()
    assert farm.bytes() == result
    unlike = ("at", "run", "seconds")
    strip = [
        [{k: v for k, v in e.items() if k not in unlike} for e in run]
        for run in (without, with_state)
    ]
    assert strip[0] == strip[1]


@pytest.mark.parametrize("state", [b"", b"[]", b"{", b'{"failures": "many"}', b"\xff" * 99])
def test_a_damaged_state_is_no_obstacle(farm: Farm, state: bytes) -> None:
    farm.run(today="2024-05-06")
    for path in (farm.folder / "archives" / FOLDER).iterdir():
        path.write_bytes(state)
    assert len(kinds(farm.run(), event="frame_appended")) == 3
    assert farm.code == ExitCode.OK
    assert cli.run(["monitor", "status", str(farm.toml)]) == 0


@pytest.mark.parametrize(
    ("fault", "error", "exit_code"),
    [
        ("SourceError", "SourceError", 69),
        ("UnavailableError", "UnavailableError", 75),
        ("QuotaError", "QuotaError", 77),
        ("AuthError", "AuthError", 77),
    ],
)
def test_one_bad_field_stops_no_other(farm: Farm, fault: str, error: str, exit_code: int) -> None:
    farm.service.fail("north", fault)
    events = farm.run()
    assert farm.code == events[-1]["exit_code"] == ExitCode.PARTIAL
    (failed,) = kinds(events, event="field_failed")
    assert (failed["field"], failed["error"], failed["exit_code"]) == ("north", error, exit_code)
    assert failed["temporary"] is (exit_code == 75)
    assert (events[-1]["done"], events[-1]["failed"]) == (2, 1)
    assert not farm.archive("north").exists()
    assert "monitor status" in farm.err
    farm.run("--only", "north")
    assert farm.code == exit_code, "alone it returns its own code"
    farm.service.heal("north")
    farm.run()
    assert farm.code == ExitCode.OK
    assert [day for day, _ in farm.held("north")] == list(DAYS)


def test_an_unusable_outline_stops_no_other(farm: Farm) -> None:
    top = json.loads((farm.folder / "fields.geojson").read_text())
    top["features"][0]["geometry"] = {"type": "Point", "coordinates": [1, 2]}
    top["features"][1]["properties"]["name"] = "../../north"
    (farm.folder / "fields.geojson").write_text(json.dumps(top))
    events = farm.run()
    assert farm.code == ExitCode.PARTIAL
    failed = {e["field"]: e for e in kinds(events, event="field_failed")}
    assert "holds a Point" in failed["east"]["message"]
    assert "cannot name a file" in failed["../../north"]["message"]
    assert {e["exit_code"] for e in failed.values()} == {ExitCode.BAD_VALUE}
    assert [e["field"] for e in kinds(events, event="field_done")] == ["west"]
    assert sorted(p.name for p in farm.folder.iterdir()) == [
        *("archives", "fields.geojson", "fields.toml", "service")
    ]


def test_frames_that_fail_leave_no_hole_for_long(farm: Farm) -> None:
    farm.service.fail("east", "lose", DAYS[1])
    events = farm.run()
    (failed,) = kinds(events, event="field_failed")
    assert (failed["error"], failed["exit_code"]) == ("IncompleteError", 75)
    assert (failed["frames_added"], failed["frames_missing"]) == (2, 1)
    assert [day for day, _ in farm.held("east")] == [DAYS[0], DAYS[2]]
    farm.service.heal("east")
    farm.run()
    assert farm.code == ExitCode.OK
    assert [day for day, _ in farm.held("east")] == list(DAYS)
    with stvc.open(farm.archive("east")) as archive:
        assert "incomplete" not in archive.to_xarray().attrs


def test_a_frame_with_suspect_radiometry_is_refused_alone(farm: Farm) -> None:
    days = [str(np.datetime64("2024-04-01") + k) for k in range(8)]
    for day in days:
        farm.service.publish("east", day)
    farm.run(today="2024-04-05")
    farm.service.fail("east", "offset", days[6])
    events = farm.run(today="2024-04-08")
    (failed,) = kinds(events, event="field_failed", field="east")
    assert (failed["error"], failed["exit_code"]) == ("RadiometryError", ExitCode.RADIOMETRY)
    assert [day for day, _ in farm.held("east")] == [*days[:6], days[7]]


def test_a_dry_run_lists_and_writes_nothing(farm: Farm) -> None:
    events = farm.run("--dry-run")
    assert not (farm.folder / "archives").exists()
    planned = kinds(events, event="frame_planned", field="west")
    assert [(e["time"], e["product_id"]) for e in planned] == [
        (f"{day}T10:00:00", f"p-{day}") for day in DAYS
    ]
    done = kinds(events, event="field_done", field="west")[0]
    assert (done["status"], done["frames_planned"], done["frames_added"]) == ("planned", 3, 0)
    assert done["estimate"] == {"requests": 3, "pu": 1.5}
    assert events[-1]["frames_planned"] == 9
    assert all(line.startswith("list") for line in farm.service.asked)


@pytest.mark.parametrize(
    ("done", "failed", "deferred", "new", "stopped", "expected"),
    [
        (3, {}, 0, 5, None, 0),
        (3, {}, 0, 0, None, 99),
        (2, {69: 1}, 0, 5, None, 3),
        (2, {}, 1, 5, None, 3),
        (0, {75: 3}, 0, 0, None, 75),
        (0, {75: 2}, 1, 0, None, 75),
        (0, {77: 3}, 0, 0, None, 77),
        (0, {77: 1, 75: 2}, 0, 0, None, 1),
        (0, {77: 2}, 1, 0, None, 1),
        (3, {}, 0, 5, signal.SIGTERM, 143),
        (1, {69: 1}, 1, 5, signal.SIGINT, 130),
    ],
)
def test_exit_codes(
    done: int, failed: dict[int, int], deferred: int, new: int, stopped: Any, expected: int
) -> None:
    totals = Totals(done + sum(failed.values()) + deferred, frames_added=new)
    totals.counts.update(unchanged=done, failed=sum(failed.values()), deferred=deferred)
    totals.exit_codes.update(failed)
    stop = Stop()
    stop.signal = stopped
    assert exit_code_of(totals, stop, 99) == expected


def test_a_field_has_the_mask_that_it_asks_for(tmp_path: Path) -> None:
    """The sample's scene classes, but other ones hide the ground, and their surroundings too."""
    corners = "[[[22.149, 45.203], [22.150, 45.203], [22.150, 45.204], [22.149, 45.203]]]"
    (tmp_path / "fields.toml").write_text(
        '[defaults]\nbands = ["B04"]\nstart = 2020-12-20\n'
        f'[[fields]]\nid = "a"\ngeometry = {{type = "Polygon", coordinates = {corners}}}\n'
        'mask = {classes = "3,8-10", dilate = 20}\n'
    )
    for today in ("2020-12-25", "2021-03-01"):
        assert cli.run(["monitor", "run", str(tmp_path / "fields.toml"), "--today", today]) == 0
        with stvc.open(tmp_path / "archives" / "a.stvc") as archive:
            kind = archive.info()["mask"]["kind"]
    rule = MaskRule.parse(kind)
    assert (rule.variable, rule.values, rule.grow) == ("SCL", frozenset({3, 8, 9, 10}), 1.0)
