"""``max_bytes``: no date takes more, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scenes
import xarray as xr
from typer.testing import CliRunner

import stvc
from stvc.archive import ArchiveReader
from stvc.cli import app
from stvc.codec import network_coding, unit_encoder
from stvc.codec.budget import Allowance, coarser_step
from stvc.codec.quantize import MAX_STEP_INDEX
from stvc.errors import QualityError


def series(dates: int = 5, seed: int = 7) -> xr.Dataset:
    groups = {"": ("B02", "B08"), "20": ("B11",)}
    return scenes.dataset(dates, (48, 56), groups=groups, mask="mask", cloudy=(2,), seed=seed)


def sizes(path: Path) -> dict[int, int]:
    """Bytes of the payloads of each date."""
    found: dict[int, int] = {}
    with ArchiveReader.open(path) as reader:
        for key in reader.units:
            if key.kind.name != "BACKGROUND":
                found[key.frame] = found.get(key.frame, 0) + len(reader.read(key))
    return found


@pytest.mark.parametrize("effort", ["default", "fast"])
@pytest.mark.parametrize("share", [0.8, 0.3, 0.1])
def test_no_date_takes_more(tmp_path: Path, share: float, effort: str) -> None:
    stvc.encode(series(), tmp_path / "free.stvc", quality=70, effort=effort)
    free = sizes(tmp_path / "free.stvc")
    most = int(share * max(free.values()))
    stvc.encode(series(), tmp_path / "tight.stvc", quality=70, effort=effort, max_bytes=most)
    tight = sizes(tmp_path / "tight.stvc")
    assert max(tight.values()) <= most
    assert max(tight.values()) > 0.5 * most, "what is allowed is used"
    with stvc.open(tmp_path / "tight.stvc") as archive:
        assert archive.verify().ok
        assert archive.info()["settings"]["max_bytes"] == most


def test_a_limit_that_nothing_reaches_changes_nothing_but_the_header(tmp_path: Path) -> None:
    stvc.encode(series(), tmp_path / "free.stvc", quality=40)
    stvc.encode(series(), tmp_path / "loose.stvc", quality=40, max_bytes=100_000)
    with (
        ArchiveReader.open(tmp_path / "free.stvc") as free,
        ArchiveReader.open(tmp_path / "loose.stvc") as loose,
    ):
        assert [free.read(key) for key in free.units] == [loose.read(key) for key in loose.units]


def test_appended_dates_obey(tmp_path: Path) -> None:
    ds, path = series(6), tmp_path / "field.stvc"
    stvc.encode(ds.isel(time=slice(0, 3)), path, quality=70, max_bytes=900)
    stvc.append(ds.isel(time=slice(3, None)), path)
    assert len(sizes(path)) == 6
    assert max(sizes(path).values()) <= 900


def test_the_network_runs_twice_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    real = network_coding.network_batches

    def counted(*arguments, **named):  # type: ignore[no-untyped-def]
        runs[-1] += 1
        return real(*arguments, **named)

    whole = unit_encoder.encode_unit

    def started(*arguments, **named):  # type: ignore[no-untyped-def]
        runs.append(0)
        return whole(*arguments, **named)

    monkeypatch.setenv("STVC_THREADS", "1")  # so that units come one after the other
    monkeypatch.setattr(network_coding, "network_batches", counted)
    monkeypatch.setattr("stvc.codec.tile_job.encode_unit", started)
    stvc.encode(series(), tmp_path / "a.stvc", quality=70, max_bytes=700)
    assert max(runs) == 2


def test_too_little_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    ds = series()
    ds["mask"].values[1] = np.random.default_rng(0).random(ds["mask"].shape[1:]) < 0.5
    with pytest.raises(QualityError, match="allow more bytes per date"):
        stvc.encode(ds, tmp_path / "a.stvc", max_bytes=64)
    assert not (tmp_path / "a.stvc").exists()


@pytest.mark.parametrize("more", [{"lossless": True}, {"max_error": 5}])
def test_two_promises_at_once_are_refused(tmp_path: Path, more: dict[str, int]) -> None:
    with pytest.raises(QualityError, match="cannot be promised"):
        stvc.encode(series(), tmp_path / "a.stvc", max_bytes=2000, **more)


@pytest.mark.parametrize("wrong", [0, 63, 100.5])
def test_absurd_limits_are_refused(tmp_path: Path, wrong: float) -> None:
    with pytest.raises(QualityError, match="max_bytes="):
        stvc.encode(series(), tmp_path / "a.stvc", max_bytes=wrong)  # type: ignore[arg-type]


def test_shares_add_up_and_leftovers_go_on() -> None:
    allowance = Allowance(1000, 400)
    half = np.ones((10, 10), bool)
    assert allowance.take(half, 2) == 500
    allowance.spend(100)
    assert allowance.take(half, 2) == 900


def test_the_step_is_the_finest_that_fits() -> None:
    assert coarser_step(lambda index: 1000.0 - index, 100, 850.0, 1.0) == 150
    assert coarser_step(lambda index: 1e9, 100, 850.0, 1.0) == MAX_STEP_INDEX
    assert coarser_step(lambda index: 1000.0 - index, 100, 850.0, 0.9) < 150


def test_command_line_takes_sizes(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["encode", "--max-bytes", "many", "-o", str(tmp_path / "a.stvc")])
    assert run.exit_code == 2
    assert "size" in run.output
