"""``stvc decode``, ``info`` and ``verify``: what they print, to people and as JSON."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_place import encode, fake, place
from fake_codec import DAYS, FakeApi, FakeArchive

from stvc import cli
from stvc.exit_codes import ExitCode

__all__ = ["fake", "place"]


def test_decode_needs_frames_in_the_period(
    fake: FakeApi, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encode("-q")
    assert cli.run(["decode", "field.stvc", "-o", "d", "--date", "2020-01-02"]) == ExitCode.USAGE
    err = capsys.readouterr().err
    assert "no frame at 2020-01-02" in err
    assert "5 dates from 2020-01-01T00:00:00 to 2020-02-10T00:00:00" in err
    assert cli.run(["decode", "field.stvc", "-o", "d", "--bands", "B02,B99"]) == ExitCode.USAGE
    assert "no B99; it has B02, B04, B08, B11" in capsys.readouterr().err
    assert not (place / "d").exists()


def test_one_tif_needs_one_date_of_one_grid(
    fake: FakeApi, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encode("-q")
    assert cli.run(["decode", "field.stvc", "-o", "x.tif", "--date", "2020-01-11"]) == 2
    assert "1 dates on 2 grids give 2 GeoTIFFs" in capsys.readouterr().err
    assert cli.run(["decode", "field.stvc", "-o", "x.tif", "--bands", "B11"]) == ExitCode.USAGE
    assert not (place / "x.tif").exists()
    one = ["decode", "field.stvc", "-o", "x.tif", "--date", "2020-01-21", "--bands", "B02,B04"]
    assert cli.run(one) == ExitCode.OK
    assert (place / "x.tif").exists()


def _damage(path: Path) -> None:
    held = json.loads(path.read_text())
    path.write_text(json.dumps({**held, "damaged": True}))


def test_damage_stops_or_is_skipped(
    fake: FakeApi, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encode("-q")
    _damage(place / "field.stvc")
    assert cli.run(["decode", "field.stvc", "-o", "x.nc"]) == ExitCode.CORRUPT
    assert "frame 1 of 2020-01-11" in capsys.readouterr().err
    assert not (place / "x.nc").exists()
    skip = ["decode", "field.stvc", "-o", "x.nc", "--on-error", "skip", "--json"]
    assert cli.run(skip) == ExitCode.PARTIAL
    out, err = capsys.readouterr()
    assert json.loads(out)["damaged"] == ["frame 1 of 2020-01-11, group 0, tile 0"]
    assert "warning: 1 damaged units" in err


def test_info_for_people(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    encode("-q", "--psnr", "45")
    assert cli.run(["info", "field.stvc"]) == ExitCode.OK
    out = capsys.readouterr().out
    rows = dict(line.split(None, 1) for line in out.splitlines())
    assert rows["dates"] == "5, 2020-01-01 to 2020-02-10"
    assert rows["PSNR"] == "46.50 dB on clear pixels (peak 10000)"
    assert rows["ratio"].startswith("100.0:1")
    assert rows["CRS"] == "EPSG:32633 WGS 84 / UTM zone 33N"
    assert "0.0021 mean absolute" in out
    assert "model gain  12.5% of the bits that the plain coder would take\n" in out
    assert "grid 20 m   4 x 4 px, 1 band: B11\n" in out
    assert "\x1b" not in out
    assert cli.run(["info", "field.stvc", "-v"]) == ExitCode.OK
    longer = capsys.readouterr().out
    assert longer.startswith(out)
    assert [line.split()[0] for line in longer.splitlines()[-5:]] == list(DAYS)


def test_info_on_a_terminal_is_a_table(
    fake: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode("-q")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    cli.run(["info", "field.stvc", "-v"])
    colored = capsys.readouterr().out
    assert "\x1b[1m" in colored
    assert "2020-01-21T09:30:15" in colored
    monkeypatch.setenv("NO_COLOR", "1")
    cli.run(["info", "field.stvc"])
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", capsys.readouterr().out)


def test_info_json_is_strict(
    fake: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    encode("-q", "--lossless")
    plain = FakeArchive.info
    odd = {
        "psnr_clear": float("inf"),
        "rmse_clear": 0.0,
        "ratio": np.float64(3.5),
        "bounds": np.arange(4),
        "path": Path("field.stvc"),
        "ndvi_mae_clear": float("nan"),
        "crs": "",
    }
    monkeypatch.setattr(FakeArchive, "info", lambda self: {**plain(self), **odd})
    assert cli.run(["info", "field.stvc", "--json"]) == ExitCode.OK
    facts = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert facts["schema"] == 1
    assert facts["psnr_clear"] is None
    assert (facts["ratio"], facts["bounds"], facts["path"]) == (3.5, [0, 1, 2, 3], "field.stvc")
    cli.run(["info", "field.stvc"])
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert (rows["PSNR"], rows["CRS"]) == ("exact", "none")
    assert rows["settings"] == "--lossless --clouds drop --reference auto"


def test_verify(fake: FakeApi, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encode("-q")
    assert cli.run(["verify", "field.stvc"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("field.stvc: ok, 4 dates and 8 units checked")
    assert cli.run(["verify", "field.stvc", "-q"]) == ExitCode.OK
    assert capsys.readouterr() == ("", "")
    _damage(place / "field.stvc")
    assert cli.run(["verify", "field.stvc", "--json"]) == ExitCode.CORRUPT
    out, err = capsys.readouterr()
    assert json.loads(out)["ok"] is False
    assert err == "stvc: error: frame 1 of 2020-01-11: group 0, tile 0: checksum\n"
    (place / "field.stvc").write_text("noise")
    assert cli.run(["verify", "field.stvc", "--json"]) == ExitCode.CORRUPT
    out, err = capsys.readouterr()
    assert json.loads(out)["errors"] == ["field.stvc: not an stvc archive"]
    assert err.count("\n") == 1
