"""Frames that are refused, or fail run after run: asked for no more, told of, and taken back."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monitor_farm import DAYS, Farm, kinds, make_farm

import stvc.monitor
from stvc import cli
from stvc.exit_codes import ExitCode
from stvc.monitor.refusals import GIVE_UP_AFTER, Refusals
from stvc.monitor.state import FOLDER, read_state, state_path

EIGHT = [str(np.datetime64("2024-04-01") + k) for k in range(8)]


@pytest.fixture
def farm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Farm:
    made = make_farm(tmp_path, monkeypatch, capsys)
    for day in EIGHT:
        made.service.publish("east", day)
    return made


@pytest.fixture
def refused(farm: Farm) -> Farm:
    """A job whose field ``east`` had a date refused by the radiometry guard."""
    farm.run("--only", "east", today="2024-04-05")
    farm.service.fail("east", "offset", EIGHT[6])
    events = farm.run("--only", "east", today="2024-04-08")
    (failed,) = kinds(events, event="field_failed")
    assert (failed["error"], failed["exit_code"]) == ("RadiometryError", ExitCode.RADIOMETRY)
    (told,) = kinds(events, event="frame_refused")
    assert (told["time"], told["product_id"]) == (f"{EIGHT[6]}T10:00:00", f"p-{EIGHT[6]}")
    (row,) = re.findall(r"^frame_refused +(.*?)\n(?=\S)", stvc.monitor.__doc__ or "", re.S | re.M)
    named = row.partition(":")[0].replace(" (that it failed in)", "").split(", ")
    assert set(named) == set(told) - {"schema", "event", "at", "run"} | {"at"}
    return farm


def fetched(farm: Farm, *more: str, today: str = "2024-04-08") -> tuple[list[str], dict[str, Any]]:
    """Days that one more run asks for, and the event that ended the field."""
    before = len(farm.service.asked)
    events = farm.run("--only", "east", *more, today=today)
    asked = [line.split()[2] for line in farm.service.asked[before:] if line.startswith("fetch")]
    (ended,) = [e for e in events if e["event"] in ("field_done", "field_failed")]
    return asked, ended


def test_a_refused_date_is_not_asked_for_again(
    refused: Farm, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, done = fetched(refused)
    assert (asked, done["event"], done["frames_refused"]) == ([], "field_done", 1)
    assert refused.code == ExitCode.OK
    assert [day for day, _ in refused.held("east")] == [*EIGHT[:6], EIGHT[7]]
    assert cli.run(["monitor", "status", str(refused.toml), "--json"]) == ExitCode.OK
    (row, *_) = json.loads(capsys.readouterr().out)["fields"]
    (entry,) = row["refused"]
    assert (entry["time"], entry["error"]) == (f"{EIGHT[6]}T10:00:00", "RadiometryError")
    assert "1000 DN" in entry["message"] or "-accept-offset" in entry["message"]
    assert row["last_error"] is None
    cli.run(["monitor", "status", str(refused.toml)])
    head, east, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[4] == "refused" and east.split()[3] == "1"


def test_a_refused_date_is_asked_for_if_told_so(refused: Farm) -> None:
    asked, failed = fetched(refused, "--retry-refused")
    assert (asked, failed["error"]) == ([EIGHT[6]], "RadiometryError")
    assert read_state(refused.archive("east")).refused[0]["runs"] == 2
    refused.service.heal("east")
    asked, done = fetched(refused, "--retry-refused")
    assert (asked, done["frames_added"]) == ([EIGHT[6]], 1)
    assert read_state(refused.archive("east")).refused == []
    assert fetched(refused)[0] == []


def test_a_reprocessed_product_is_asked_for(refused: Farm) -> None:
    refused.service.heal("east")
    refused.service.publish("east", EIGHT[6], "again", "05.10")
    asked, done = fetched(refused)
    assert (asked, done["frames_added"], done["frames_refused"]) == ([EIGHT[6]], 1, 0)


def test_a_field_that_takes_offsets_asks_anew(refused: Farm) -> None:
    text = refused.toml.read_text()
    refused.toml.write_text(text.replace("[defaults]\n", "[defaults]\naccept_offset = true\n"))
    asked, done = fetched(refused)
    assert (asked, done["frames_added"]) == ([EIGHT[6]], 1)


@pytest.mark.parametrize("loss", ["gone", "damaged", "of another archive"])
def test_without_its_state_a_job_asks_once_more_and_remembers_again(
    refused: Farm, loss: str
) -> None:
    state = state_path(refused.archive("east"))
    if loss == "gone":
        shutil.rmtree(state.parent)
    elif loss == "damaged":
        state.write_text(state.read_text()[:-20])
    else:
        stored = json.loads(state.read_text())
        stored["refused"][0]["grid"] = "0" * 16
        state.write_text(json.dumps(stored))
    asked, failed = fetched(refused)
    assert (asked, failed["error"]) == ([EIGHT[6]], "RadiometryError")
    assert fetched(refused)[0] == []


def test_a_date_that_fails_for_good_is_given_up_after_some_runs(farm: Farm) -> None:
    farm.service.fail("east", "break", EIGHT[6])
    for number in range(1, GIVE_UP_AFTER + 1):
        asked, failed = fetched(farm)
        assert EIGHT[6] in asked, number
        assert (failed["error"], failed["frames_missing"]) == ("IncompleteError", 1)
    asked, done = fetched(farm)
    assert (asked, done["event"], done["frames_refused"]) == ([], "field_done", 1)
    assert [day for day, _ in farm.held("east")] == [*EIGHT[:6], EIGHT[7]]


def test_a_service_that_is_down_is_never_given_up(farm: Farm) -> None:
    farm.service.fail("east", "lose", EIGHT[6])
    for _ in range(GIVE_UP_AFTER + 1):
        asked, ended = fetched(farm)
        assert EIGHT[6] in asked, ended
    assert read_state(farm.archive("east")).refused == []


def test_a_date_that_recovers_starts_from_nothing(farm: Farm) -> None:
    farm.service.fail("east", "break", EIGHT[6])
    for _ in range(GIVE_UP_AFTER - 1):
        fetched(farm)
    assert read_state(farm.archive("east")).refused[0]["runs"] == GIVE_UP_AFTER - 1
    farm.service.heal("east")
    assert fetched(farm)[1]["frames_added"] == 1
    assert read_state(farm.archive("east")).refused == []


def test_strange_entries_are_no_entries(farm: Farm) -> None:
    farm.run()
    for refused in ([1, None, {}, {"time": 3}, {"runs": True}], "text", {"a": 1}, [[[]]]):
        state = farm.folder / "archives" / FOLDER / "east.json"
        state.write_text(json.dumps({"schema": 1, "refused": refused}))
        farm.run()
        assert farm.code == ExitCode.OK
        assert farm.held("east")[-1][0] == DAYS[2]
    assert not Refusals([{"time": "2024", "runs": 9}])
