"""The command line from end to end, with the real codec and the embedded series."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_place import encode, place

from stvc import cli
from stvc.exit_codes import ExitCode

__all__ = ["place"]


def _real_area(path: Path, pixels: int) -> None:
    """Write a square of the sample's ground, `pixels` of 10 m wide."""
    import shapely

    from stvc.source import get_source

    ground = get_source("sample").ground()
    assert ground is not None
    side = pixels * 10 / 111_000
    x, y = ground.centroid.x, ground.centroid.y
    box = shapely.box(x - 0.7 * side, y - 0.5 * side, x + 0.7 * side, y + 0.5 * side)
    path.write_text(shapely.to_geojson(box))


def test_the_sample_from_end_to_end(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import xarray as xr

    from stvc.aoi import read_aoi
    from stvc.source import get_source

    _real_area(place / "field.geojson", 32)
    flags = ("--bands", "B04,B08,B11", "--start", "2018-05-01")
    assert encode(*flags, "--end", "2018-05-15", "--quality", "30", "--json") == ExitCode.OK
    written = json.loads(capsys.readouterr().out)
    first = (place / "field.stvc").read_bytes()
    assert encode(*flags, "--end", "2018-05-15") == ExitCode.OK
    assert "nothing new" in capsys.readouterr().err
    assert (place / "field.stvc").read_bytes() == first
    assert encode(*flags, "--end", "2018-05-31", "--json") == ExitCode.OK
    appended = json.loads(capsys.readouterr().out)
    assert appended["status"] == "appended"
    assert appended["frames_total"] == written["frames_total"] + appended["frames_added"]
    assert encode(*flags, "--psnr", "50") == ExitCode.USAGE
    assert "--psnr 50 contradicts" in capsys.readouterr().err

    assert cli.run(["verify", "field.stvc", "-q"]) == ExitCode.OK
    assert cli.run(["info", "field.stvc"]) == ExitCode.OK
    assert "NDVI error" in capsys.readouterr().out
    assert cli.run(["decode", "field.stvc", "-o", "field.nc", "-q"]) == ExitCode.OK
    original = get_source("sample").fetch(
        read_aoi(place / "field.geojson"),
        start=np.datetime64("2018-05-01").item(),
        end=np.datetime64("2018-05-31").item(),
        bands=("B04", "B08", "B11"),
        exclude=(),
    )
    with xr.open_dataset("field.nc") as decoded:
        assert decoded.B04.dtype == np.uint16
        np.testing.assert_array_equal(decoded.time.values, original.time.values)
        np.testing.assert_array_equal(decoded.SCL.values, original.SCL.values)
        np.testing.assert_array_equal(decoded.x20.values, original.x20.values)


def test_a_truncated_archive_is_told_in_one_line(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _real_area(place / "field.geojson", 32)
    flags = ("--bands", "B08", "--start", "2018-05-01", "--end", "2018-05-31", "-q")
    assert encode(*flags) == ExitCode.OK
    whole = (place / "field.stvc").read_bytes()
    for share in (0.0, 0.3, 0.9):
        (place / "field.stvc").write_bytes(whole[: int(len(whole) * share)])
        for command in (["verify"], ["decode", "-o", "x.nc"]):
            assert cli.run([command[0], "field.stvc", *command[1:]]) == ExitCode.CORRUPT
            assert capsys.readouterr().err.startswith("stvc: error: ")
        assert not (place / "x.nc").exists()
        # The index may have survived: then what it says may be told.
        assert cli.run(["info", "field.stvc"]) in (ExitCode.OK, ExitCode.CORRUPT)
        capsys.readouterr()
