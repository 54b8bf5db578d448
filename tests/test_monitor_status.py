"""``stvc monitor status`` and the metrics file."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from monitor_farm import DAYS, IDS, Farm, make_farm

from stvc import cli
from stvc.exit_codes import ExitCode
from stvc.monitor import prometheus

_SAMPLE = re.compile(
    r'(?P<name>[a-z_]+)(\{(?P<labels>(\w+="([^"\\\n]|\\.)*",?)+)\})? (?P<value>\S+)'
)


@pytest.fixture
def farm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Farm:
    return make_farm(tmp_path, monkeypatch, capsys)


def status(farm: Farm, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.run(["monitor", "status", str(farm.toml), *more])
    out, err = capsys.readouterr()
    return code, out, err


def test_status_before_the_first_run(farm: Farm, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = status(farm, capsys)
    assert code == ExitCode.OK
    assert [line.split() for line in out.splitlines()[1:]] == [
        [name, "-", "0", "-", "-", "-", "-"] for name in IDS
    ]
    assert "3 fields, 0 B, 0 with an error" in err


def test_status_tells_dates_sizes_and_the_last_error(
    farm: Farm, capsys: pytest.CaptureFixture[str]
) -> None:
    farm.run()
    farm.service.publish("west", DAYS[2], "again", "05.10")
    farm.service.fail("north", "UnavailableError")
    farm.service.publish("north", "2024-05-12")
    farm.run()
    farm.run()
    code, out, _ = status(farm, capsys, "--json")
    assert code == ExitCode.OK
    found = json.loads(out)
    assert (found["schema"], found["command"]) == (1, "monitor status")
    east, north, west = found["fields"]
    assert (east["field"], east["frames"], east["superseded"]) == ("east", 3, 0)
    assert (east["first_date"], east["last_date"]) == (
        "2024-05-01T10:00:00",
        "2024-05-11T10:00:00",
    )
    size = farm.archive("east").stat().st_size
    assert (east["clear_share"], east["bytes"]) == (1.0, size)
    assert east["ratio"] == round(3 * 2 * 16 * 16 * 2 / size, 2)
    assert (east["failures"], east["last_error"], east["last_success"]) == (
        0,
        None,
        east["last_run"],
    )
    assert (north["failures"], north["frames"]) == (2, 3)
    assert "fault at 2024-05-12" in north["last_error"]
    assert north["last_success"] <= north["last_run"]
    assert (west["frames"], west["superseded"]) == (3, 1)
    code, out, _ = status(farm, capsys)
    assert "2024-05-11T10:00:00" in out and "fault at 2024-05-12" in out
    farm.service.heal("north")
    farm.run()
    assert json.loads(status(farm, capsys, "--json")[1])["fields"][1]["last_error"] is None


def test_a_damaged_archive_is_named_and_stops_no_other(
    farm: Farm, capsys: pytest.CaptureFixture[str]
) -> None:
    farm.run()
    farm.archive("north").write_bytes(b"not an archive")
    farm.service.publish("west", "2024-05-12")
    farm.run()
    assert farm.code == ExitCode.PARTIAL
    assert farm.archive("north").read_bytes() == b"not an archive"
    code, out, _ = status(farm, capsys, "--json")
    assert code == ExitCode.CORRUPT
    rows = json.loads(out)["fields"]
    assert [row["readable"] for row in rows] == [True, False, True]
    assert "north.stvc" in rows[1]["last_error"]
    assert rows[2]["frames"] == 4


def test_metrics_are_well_formed_and_true(farm: Farm, tmp_path: Path) -> None:
    path = tmp_path / "stvc.prom"
    path.write_text("of an earlier run")
    farm.service.fail("north", "UnavailableError")
    farm.run("--prometheus", str(path))
    samples = {}
    typed = set()
    for line in path.read_text().splitlines():
        if line.startswith("# TYPE "):
            assert line.split()[3] == "gauge"
            typed.add(line.split()[2])
        elif not line.startswith("# HELP "):
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert match["name"] in typed
            samples[match["name"], match["labels"]] = float(match["value"])
    assert samples["stvc_monitor_exit_code", None] == ExitCode.PARTIAL
    assert samples["stvc_monitor_frames_added", None] == 6
    assert samples["stvc_monitor_fields", 'status="written"'] == 2
    assert samples["stvc_monitor_fields", 'status="failed"'] == 1
    assert samples["stvc_field_up_to_date", 'field="north"'] == 0
    assert samples["stvc_field_up_to_date", 'field="west"'] == 1
    size = farm.archive("west").stat().st_size
    assert samples["stvc_field_archive_bytes", 'field="west"'] == size
    assert samples["stvc_field_last_frame_timestamp_seconds", 'field="west"'] == 1715421600
    now = time.time()
    assert now - 600 < samples["stvc_monitor_last_run_timestamp_seconds", None] <= now
    assert ("stvc_field_last_success_timestamp_seconds", 'field="north"') not in samples
    assert path.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in tmp_path.iterdir() if "prom" in p.name] == ["stvc.prom"]


def test_labels_are_escaped() -> None:
    assert prometheus._labels(field='a"b\\c\nd') == r'{field="a\"b\\c\nd"}'


def test_metrics_that_cannot_be_written_are_an_error_of_the_run(farm: Farm, tmp_path: Path) -> None:
    farm.run("--prometheus", str(tmp_path / "nowhere" / "x.prom"))
    assert farm.code == ExitCode.USAGE
    (tmp_path / "taken.prom").mkdir()
    events = farm.run("--prometheus", str(tmp_path / "taken.prom"))
    assert farm.code == events[-1]["exit_code"] == ExitCode.IO_ERROR
    assert "cannot write" in farm.err
    assert events[-1]["written"] == 3, "fields come first"
