"""``stvc export`` on the command line: what it accepts, says and refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import scenes

import stvc
from stvc import cli
from stvc.exit_codes import ExitCode

pytest.importorskip("rasterio")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("a") / "field.stvc"
    stvc.encode(scenes.dataset(3, (16, 16), groups={"": ("B04",), "20": ("B11",)}, crs=True), path)
    return path


def export(archive: Path, *more: str) -> int:
    return cli.run(["export", str(archive), *more])


def test_a_day_of_a_band_into_one_file(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "june.tif"
    flags = ("-o", str(out), "--date", "2021-03-09", "--bands", "B11", "--json")
    assert export(archive, *flags) == ExitCode.OK
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "schema": 1,
        "command": "export",
        "path": str(out),
        "format": "cog",
        "frames": 1,
        "files": [str(out)],
        "bytes": out.stat().st_size,
        "damaged": [],
    }
    assert list(out.parent.iterdir()) == [out]


def test_a_period_into_a_directory(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(archive, "-o", str(tmp_path / "c"), "--end", "2021-03-09") == ExitCode.OK
    assert "2 dates as cog, 4 files" in capsys.readouterr().out
    assert len(list((tmp_path / "c").iterdir())) == 4


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["-o", "x.jpg"], "cannot tell the format from 'x.jpg'"),
        (["-o", "x.nc", "--format", "cog"], "cog contradicts the output's name 'x.nc'"),
        (["-o", "x.tif"], "3 dates of 2 grids give 6 rasters"),
        (["-o", "x.tif", "--date", "2021-03-04", "--split-bands"], "1 dates of 2 bands give 2"),
        (["-o", "x.nc", "--bands", "B99"], "the archive has no B99; it has B04, B11"),
        (["-o", "x.nc", "--start", "2022-01-01"], "no frame at 2022-01-01 to the end"),
        (["-o", "x.nc", "--date", "2021-03-04", "--end", "2021-03-09"], "excludes --start"),
        (["-o", "x", "--dn"], "rasters always hold DN"),
        (["-o", "x.zarr", "--split-bands"], "zarr has one variable per band anyway"),
        (["-o", "."], "is a file; name a directory"),
        (["-o", "-"], "cannot write to standard output"),
    ],
)
def test_what_cannot_be(
    more: list[str],
    said: str,
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if more == ["-o", "."]:
        Path("plain").write_text("")
        more = ["-o", "plain"]
    assert export(archive, *more) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""
    assert not Path("x").exists()


def test_no_archive_and_no_package(
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert export(tmp_path / "no.stvc", "-o", "x.nc") == ExitCode.NO_INPUT
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert export(archive, "-o", str(tmp_path / "x.zarr")) == ExitCode.FAILURE
    assert "pip install 'stvc[zarr]'" in capsys.readouterr().err


def test_damage_is_told_or_skipped(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.stvc"
    content = bytearray(archive.read_bytes())
    with stvc.open(archive) as opened:
        reader = opened._reader
        units = [u for key, u in reader.units.items() if key.frame == 1 and u.length > 20]
        content[reader.locator.payload_offset + units[0].offset + 10] ^= 255
    broken.write_bytes(content)
    assert export(broken, "-o", str(tmp_path / "a.nc")) == ExitCode.CORRUPT
    assert not (tmp_path / "a.nc").exists()
    flags = ("--on-error", "skip", "--json")
    assert export(broken, "-o", str(tmp_path / "b.nc"), *flags) == ExitCode.PARTIAL
    printed = capsys.readouterr()
    assert json.loads(printed.out)["damaged"]
    assert "exported as nodata" in printed.err
