"""The warning that a scene is far from what the entropy model knows."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr

import stvc
from stvc import cli
from stvc.aoi import read_aoi
from stvc.archive import ArchiveReader
from stvc.exit_codes import ExitCode
from stvc.learned_gain import FAR, far_from_model, gain_after, known_gain, learned_gain
from stvc.source.sample import SampleSource


def _noise(dates: int) -> xr.Dataset:
    ds = scenes.dataset(dates, (48, 48), crs=True)
    rng = np.random.default_rng(0)
    for band in scenes.TEN:
        ds[band].values = rng.integers(1, 10_000, ds[band].shape, np.uint16)
    return ds


class _NoiseSource:
    """A source of three dates, as a user's plug-in would be."""

    name = "noise"

    def fetch(self, aoi: Any, start: Any, end: Any, bands: Any, exclude: Any) -> xr.Dataset:
        ds = _noise(3)
        return ds.isel(time=~np.isin(ds.time.values.astype("datetime64[s]"), exclude))


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """What stvc logs as warnings; `caplog` misses it once a command has set the log up."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler, log = Keep(logging.WARNING), logging.getLogger("stvc")
    log.addHandler(handler)
    yield lines
    log.removeHandler(handler)


def test_of_little_evidence_nothing_is_concluded() -> None:
    assert learned_gain(90, 100) is None
    assert learned_gain(0, 0) is None
    assert learned_gain(90_000, 100_000) == 0.1
    assert learned_gain(300_000, 100_000) == -2


@pytest.mark.parametrize(
    ("before", "gain", "after"),
    [
        (0.3, 0.1, 0.25),
        (0.3, None, 0.3),
        (None, 0.1, 0.1),
        (None, None, None),
        ("0.3", 0.1, 0.1),
        (math.nan, 0.1, 0.1),
        (True, 0.1, 0.1),
    ],
)
def test_appended_frames_count_by_their_number(
    before: object, gain: float | None, after: float | None
) -> None:
    assert gain_after(before, 30, gain, 10) == after


def test_what_no_gain_can_be_is_unknown() -> None:
    wrong = [None, "x", [], {}, False, math.inf, -math.inf, math.nan, 1.5]
    assert [known_gain(entry) for entry in wrong] == [None] * len(wrong)
    assert known_gain(-3) == -3
    assert known_gain(1) == 1


def test_the_line_says_how_much_is_saved() -> None:
    assert far_from_model(None) is None
    assert far_from_model(FAR) is None
    assert "saves only 0.4% of the bits" in str(far_from_model(0.004))
    assert "saves nothing" in str(far_from_model(-0.2))


def test_noise_is_far_from_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "noise.stvc"
    monkeypatch.setattr("stvc.source.get_source", lambda name: _NoiseSource())
    area = tmp_path / "area.geojson"
    ring = [[5, 50], [5.01, 50], [5.01, 50.01], [5, 50]]
    area.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    command = ["encode", "--aoi", str(area), "-o", str(path)]
    assert cli.run(command) == ExitCode.OK
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(f"stvc: warning: {path}: the entropy model saves nothing")
    assert cli.run([*command, "--overwrite", "-q"]) == ExitCode.OK
    assert capsys.readouterr().err == ""
    assert cli.run(["info", str(path), "--json"]) == ExitCode.OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["learned_gain"] < FAR
    assert len(facts["warnings"]) == 1
    assert cli.run(["info", str(path)]) == ExitCode.OK
    told = capsys.readouterr().out
    assert "warning     the entropy model saves nothing against the plain coder" in told
    assert f"model gain  {facts['learned_gain']:.1%} of the bits" in told


@pytest.mark.skipif(not importlib.util.find_spec("nrt"), reason="the sample is not installed")
def test_ground_like_the_models_is_not(tmp_path: Path, warned: list[str]) -> None:
    area = read_aoi(Path(__file__).resolve().parents[1] / "examples" / "field.geojson")
    whole = SampleSource().fetch(area, date(2020, 6, 1), date(2020, 8, 31), None, ())
    path = tmp_path / "field.stvc"
    stvc.encode(whole.isel(time=slice(-1)), path)
    with stvc.open(path) as archive:
        before = archive.info()
    assert before["learned_gain"] > 3 * FAR
    assert before["warnings"] == []
    assert not warned
    # one strange date is told of when it comes, and does not brand the archive
    strange = whole.isel(time=[-1])
    strange["SCL"].values[:] = 4
    rng = np.random.default_rng(1)
    for band in scenes.bands_of(strange):
        strange[band].values = rng.integers(1, 3_000, strange[band].shape, np.uint16)
    stvc.append(strange, path, accept_offset=True)
    assert len(warned) == 1
    with stvc.open(path) as archive:
        after = archive.info()
    assert FAR < after["learned_gain"] < before["learned_gain"]
    assert after["warnings"] == []


def test_bounded_archives_ask_neither_coder(tmp_path: Path, warned: list[str]) -> None:
    path = tmp_path / "bounded.stvc"
    stvc.encode(_noise(2), path, max_error=5)
    assert not warned
    with ArchiveReader.open(path) as reader:
        assert "learned_gain" not in reader.header
    with stvc.open(path) as archive:
        info = archive.info()
    assert (info["learned_gain"], info["warnings"]) == (None, [])
