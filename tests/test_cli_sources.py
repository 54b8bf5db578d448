"""``stvc encode`` with sources and masks: flags, refusals in one line, appends by the same rule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scenes import TEN, dataset
from servers.places import area
from servers.stac_products import Product, item_of, write_rasters
from servers.stac_server import StacServer

import stvc
from stvc.cli.app import run
from stvc.exit_codes import ExitCode


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    """Four dates of two bands as two NetCDF files, with SCL."""
    ds = dataset(4, (16, 16), groups={"": TEN[:2]}, mask="SCL", crs=True)
    ds.isel(time=[0, 1]).to_netcdf(tmp_path / "first.nc")
    ds.to_netcdf(tmp_path / "cube.nc")
    return tmp_path


def encode(folder: Path, *more: str, path: str = "cube.nc", out: str = "a.stvc") -> int:
    fixed = ["encode", "--source", "files", "--path", str(folder / path), "-o", str(folder / out)]
    return run([*fixed, *more])


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_files_are_encoded_whole(cube: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert encode(cube, "--json", "--lossless") == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["frames_total"] == 4
    back = stvc.open(cube / "a.stvc").to_xarray()
    original = dataset(4, (16, 16), groups={"": TEN[:2]}, mask="SCL", crs=True)
    for name in (*TEN[:2], "SCL"):
        np.testing.assert_array_equal(back[name].values, original[name].values)
    assert encode(cube) == ExitCode.OK
    assert "nothing new" in last_line(capsys)


def test_the_archive_is_named_after_its_files(
    cube: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(cube)
    assert run(["encode", "--source", "files", "--path", "cube.nc", "-q"]) == ExitCode.OK
    assert (cube / "cube.stvc").is_file()
    assert run(["encode", "--source", "files", "--path", "*.nc"]) == ExitCode.USAGE
    assert "no --aoi to name the archive after" in last_line(capsys)


def test_an_area_is_asked_for_where_it_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["encode", "--source", "sample", "-o", str(tmp_path / "a.stvc")]) == ExitCode.USAGE
    assert "--aoi is needed: source sample has no extent of its own" in last_line(capsys).replace(
        "'", ""
    ).replace("Invalid value for ", "").replace(": is", " is")
    assert run(["encode", "-o", str(tmp_path / "a.stvc"), "--source", "files"]) == 69
    assert "source files needs the option path" in last_line(capsys)
    out = ["-o", str(tmp_path / "a.stvc"), "--stac-url", "http://127.0.0.1:9"]
    assert run(["encode", "--aoi", "x.geojson", *out]) == ExitCode.UNAVAILABLE
    assert "source sample has no option stac_url" in last_line(capsys)


def test_appends_keep_the_mask_rule(cube: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = ("--mask-classes", "0,3,8-11", "--mask-dilate", "20")
    assert encode(cube, *rule, path="first.nc") == ExitCode.OK
    kind = "SCL;hide=0,3,8-11;grow=2"
    assert stvc.open(cube / "a.stvc").info()["mask"]["kind"] == kind
    assert encode(cube, "--mask-classes", "9") == ExitCode.USAGE
    assert f"--mask-classes 9 contradicts the archive, whose mask is {kind}" in last_line(capsys)
    assert encode(cube, "--mask", "clp") == ExitCode.USAGE
    assert encode(cube, "--mask-dilate", "70") == ExitCode.CORRUPT
    assert "grow=7" in last_line(capsys)
    assert encode(cube) == ExitCode.OK
    assert stvc.open(cube / "a.stvc").info()["frames"] == 4
    assert encode(cube, *rule) == ExitCode.OK
    assert "nothing new" in last_line(capsys)


def test_masks_that_make_no_sense_are_refused(
    cube: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, code, message in (
        (("--mask", "clp"), 64, "have no CLP (they have SCL)"),
        (("--mask", "file"), 64, "--mask-file RASTER"),
        (("--mask-weights", "w"), 64, "--mask-weights is used with"),
        (("--mask-classes", "cloud"), 64, "'cloud' is no mask value"),
        (("--mask", "magic"), 2, "magic"),
    ):
        assert encode(cube, *more) == code
        assert message in last_line(capsys)
        assert not (cube / "a.stvc").exists()


def test_from_stac_to_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    days = [Product(f"2021-06-{day:02d}", bands=("B04", "B08", "SCL")) for day in (1, 6)]
    days.append(Product("2022-06-06", baseline="05.09", offset=1000, bands=("B04", "B08", "SCL")))
    for product in days:
        write_rasters(product, tmp_path)
    aoi = tmp_path / "field.geojson"
    aoi.write_text(area().geojson)
    with StacServer(tmp_path) as server:
        server.items = [item_of(product, server.url) for product in days]
        fixed = ["encode", "--aoi", str(aoi), "--source", "stac", "--stac-url", server.api]
        fixed += ["-o", str(tmp_path / "a.stvc"), "--json"]
        assert run([*fixed, "--end", "2021-06-30", "--dry-run"]) == ExitCode.OK
        assert len(json.loads(capsys.readouterr().out)["dates"]) == 2
        server.faults["20210606"] = [503] * 99
        assert run([*fixed, "--end", "2021-06-30"]) == ExitCode.UNAVAILABLE
        assert "frame 2021-06-06T10:50:31" in last_line(capsys)
        skip = ("--on-frame-error", "skip")
        assert run([*fixed, "--end", "2021-06-30", *skip]) == ExitCode.OK
        assert json.loads(capsys.readouterr().out)["frames_total"] == 1
        server.faults.clear()
        assert run(fixed) == ExitCode.OK
        assert json.loads(capsys.readouterr().out)["frames_added"] == 2
    ds = stvc.open(tmp_path / "a.stvc").to_xarray()
    assert ds["offset_dn"].values.tolist() == [0, 0, -1000]
    assert stvc.open(tmp_path / "a.stvc").verify().ok
