"""The tools that measure whole tiles and single dates, and what makes the latter quick."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import full_tile
import one_date

import stvc
from stvc.archive import ArchiveReader
from stvc.background import remembered
from stvc.errors import CorruptInputError
from stvc.selection import selected

BANDS = ("B02", "B03", "B04", "B08")


def cube(path: Path, *, lift: int = 0, mask: str = "scl") -> str:
    """Six dates of 22 x 18 pixels; scene classes of 10 m, one date half under clouds."""
    x = scenes.ground(4, 6, 4, (22, 18)).astype(np.uint16) + np.uint16(lift)
    classes = np.random.default_rng(2).choice([2, 4, 5, 6, 7, 11], (6, 22, 18)).astype(np.uint8)
    classes[1, :12] = 9
    classes[3] = 4
    given = {mask: classes if mask == "scl" else classes == 9}
    np.savez(path, x=x, bands=BANDS, dates=[f"2023-0{k}-11" for k in range(1, 7)], **given)
    return str(path)


def task(tmp_path: Path, name: str, **settings: Any) -> full_tile.Task:
    return full_tile.Task(name, 40, 2, {"effort": "fast", **settings}, tmp_path / "mosaic.stvc")


def test_the_mosaic_is_mirrored(tmp_path: Path) -> None:
    name = cube(tmp_path / "cube.npz")
    mosaic = full_tile.Mosaic(name, 40, range(2))
    assert [str(t)[:10] for t in mosaic.times] == ["2023-01-11", "2023-03-11"]
    ds = mosaic.dataset()
    source = np.load(tmp_path / "cube.npz")
    whole = np.stack([ds[band] for band in BANDS], 1)
    across = np.concatenate([source["x"], source["x"][..., ::-1], source["x"]], -1)
    down = np.concatenate([across, across[..., ::-1, :]], -2)[[0, 2], :, :40, :40]
    np.testing.assert_array_equal(whole, down)
    np.testing.assert_array_equal(mosaic.pixels(slice(20, 25), slice(3, 9)), down[..., 20:25, 3:9])
    assert ds["SCL"].dims == ("time", "y20", "x20")
    assert ds["SCL"].shape == (2, 20, 20)
    np.testing.assert_array_equal(ds["SCL"][:, :11, :9], source["scl"][[0, 2], ::2, ::2])
    assert float(ds["y20"][1] - ds["y20"][0]) == 2 * float(ds["y"][1] - ds["y"][0]) == -20
    assert float(ds["x20"][0]) == float(ds["x"][:2].mean())


def test_a_mask_stays_a_mask(tmp_path: Path) -> None:
    mosaic = full_tile.Mosaic(cube(tmp_path / "cube.npz", mask="mask"), 30, range(5))
    assert mosaic.dataset()["mask"].dtype == bool
    with pytest.raises(SystemExit, match="5 dates are nearly clear, 6 wanted"):
        full_tile.Mosaic(cube(tmp_path / "cube.npz"), 30, range(6))


@pytest.mark.parametrize("settings", [{"quality": 50}, {"lossless": True}])
def test_every_step(tmp_path: Path, settings: dict[str, Any]) -> None:
    here = task(tmp_path, cube(tmp_path / "cube.npz"), **settings)
    done = full_tile.encode(here)
    assert done["bytes"] == here.path.stat().st_size
    assert done["cpu"] > 0
    assert full_tile.tiles(here)["unlike"] == 0
    full_tile.whole(here)
    full_tile.append(here)
    with stvc.open(here.path) as archive:
        assert len(archive.times) == 3
    assert full_tile.tiles(here)["unlike"] == 0
    # Pixels that are not those which were encoded are told.
    other = task(tmp_path, cube(tmp_path / "other.npz", lift=3), **settings)
    assert full_tile.tiles(other)["unlike"] > 1500


@pytest.mark.slow
def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = cube(tmp_path / "cube.npz")
    full_tile.main(["--sides", "40", "--cube", name, "--no-whole", "--json"])
    row = json.loads(capsys.readouterr().out)
    assert row["as_encoded"] is True
    assert (row["side"], "whole_mb" in row, "append_mb" in row) == (40, False, False)
    assert row["encode_mb"] >= row["input_mb"] > 50


def test_years_are_repeated(tmp_path: Path) -> None:
    ds = one_date.long_dataset(cube(tmp_path / "cube.npz"), 16, 14)
    assert dict(ds.sizes) == {"time": 14, "y": 16, "x": 16}
    days = ds["time"].values.astype("datetime64[D]")
    assert (np.diff(days) > np.timedelta64(0)).all()
    assert set((days[6:12] - days[:6]).astype(int)) == {365}
    np.testing.assert_array_equal(ds["B04"][12:], ds["B04"][:2])


def test_single_dates_are_timed(tmp_path: Path) -> None:
    here = one_date.Task(
        cube(tmp_path / "cube.npz"), 16, 14, "fast", None, 20, tmp_path / "dates.stvc"
    )
    assert one_date.encode(here)["bytes"] == here.path.stat().st_size
    found = one_date.decode(here)
    assert 0 < found["median_s"] <= found["worst_s"]


def test_a_background_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, calls = tmp_path / "field.stvc", []
    stvc.encode(scenes.dataset(6, (24, 32)), path, reference="both")

    def counted(*given: Any) -> Any:
        calls.append(given)
        return decode(*given)

    decode = remembered.decode_background
    monkeypatch.setattr(remembered, "decode_background", counted)
    monkeypatch.setattr(remembered, "_held", type(remembered._held)())
    first, second = (stvc.open(path).to_xarray() for _ in range(2))
    assert len(calls) == 1
    assert first.identical(second)
    with ArchiveReader.open(path) as reader:
        from stvc.header import open_place

        pixels = open_place(reader).backgrounds[0]
    assert len(calls) == 1
    with pytest.raises(ValueError, match="read-only"):
        pixels[:] = 0  # it belongs to everybody
    monkeypatch.setattr(remembered, "MAX_BYTES", 10)
    monkeypatch.setattr(remembered, "_held", type(remembered._held)())
    stvc.open(path).to_xarray()
    stvc.open(path).to_xarray()
    assert len(calls) == 3
    assert not remembered._held


def test_dates_are_selected_together() -> None:
    days = np.datetime64("2020-01-31T10:00:00", "s") + np.arange(60) * np.timedelta64(1, "D")
    seconds = days.astype(np.int64).tolist()
    assert selected(seconds, None).all()
    assert np.flatnonzero(selected(seconds, "2020-01-31")).tolist() == [0]
    assert np.flatnonzero(selected(seconds, "2020-02")).tolist() == list(range(1, 30))
    assert selected(seconds, slice("2020-03-30", None)).sum() == 1
    assert selected(seconds, slice(None, "2020-02-01")).sum() == 2
    mixed = ["2020-02-01", slice("2020-02-03", "2020-02-04"), days[9]]
    assert np.flatnonzero(selected(seconds, mixed)).tolist() == [1, 3, 4, 9]
    assert not selected(seconds, []).any()
    assert selected([], "2020").shape == (0,)
    with pytest.raises(CorruptInputError, match="'soon' is not a date"):
        selected(seconds, ["2020", "soon"])
