"""Wrong usage and failures: one line on stderr, the documented exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_place import encode, fake, place
from fake_codec import FakeApi

from stvc import cli, errors
from stvc.exit_codes import ExitCode

__all__ = ["fake", "place"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["frobnicate"], "No such command"),
        (["encode"], "--aoi"),
        (["encode", "--aoi", "f", "--nope"], "--nope"),
        (["encode", "--aoi", "f", "--start", "2020-13-01"], "2020-13-01"),
        (["encode", "--aoi", "f", "--start", "2020-02-02", "--end", "2020-02-01"], "--start"),
        (["encode", "--aoi", "f", "--psnr", "loud"], "--psnr"),
        (["encode", "--aoi", "f", "--quality", "101"], "--quality"),
        (["encode", "--aoi", "f", "--max-error", "-1"], "--max-error"),
        (["encode", "--aoi", "f", "--max-error", "0.0025"], "in reflectance, write 0.0025r"),
        (["encode", "--aoi", "f", "--max-error", "0.00005r"], "less than one DN"),
        (["encode", "--aoi", "f", "--max-error", "25 km"], "--max-error"),
        (["encode", "--aoi", "f", "--clouds", "paint"], "'keep', 'coarse', 'drop'"),
        (["encode", "--aoi", "f", "--quality", "5", "--psnr", "40"], "--quality and --psnr"),
        (["encode", "--aoi", "f", "--lossless", "--max-error", "2"], "--max-error and --lossless"),
        (["encode", "--aoi", "f", "--bands", "B02,,B03"], "empty name"),
        (["encode", "--aoi", "f", "--bands", "B02,B03,B02"], "B02 twice"),
        (["encode", "--aoi", "-"], "--output"),
        (["encode", "--aoi", "f", "-o", "-"], "standard output"),
        (["encode", "--aoi", "f", "-o", "nowhere/f.stvc"], "nowhere"),
        (["encode", "--aoi", "f", "-o", "."], "directory"),
        (["decode", "a.stvc"], "--output"),
        (["decode", "a.stvc", "-o", "-"], "standard output"),
        (["decode", "a.stvc", "-o", "a.png"], "a.png"),
        (["decode", "a.stvc", "-o", "a.nc", "--format", "geotiff"], "contradicts"),
        (["decode", "a.stvc", "-o", "a.nc", "--format", "zarr"], "zarr"),
        (["decode", "a.stvc", "-o", "d", "--date", "2020-01-01", "--end", "2020-02-02"], "--date"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], told: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("stvc: error: ")
    assert err.count("\n") == 1
    assert told in err
    assert sorted(path.name for path in place.iterdir()) == ["field.geojson"]


@pytest.mark.parametrize("command", ["info", "verify"])
def test_a_missing_archive_is_told(
    command: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([command, "gone.stvc"]) == ExitCode.NO_INPUT
    assert capsys.readouterr().err == "stvc: error: gone.stvc: no such archive\n"
    assert cli.run([command, "."]) == ExitCode.NO_INPUT
    assert "directory" in capsys.readouterr().err


def _all_errors(root: type[errors.StvcError]) -> list[type[errors.StvcError]]:
    found = [root, *(deeper for child in root.__subclasses__() for deeper in _all_errors(child))]
    return [error for error in found if error.__module__ == errors.__name__]


@pytest.mark.parametrize("error", _all_errors(errors.StvcError))
def test_every_error_has_a_documented_exit_code(
    error: type[errors.StvcError],
    fake: FakeApi,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error("what happened:\n  with a line\tbreak")

    monkeypatch.setattr(fake, "encode", fail)
    assert encode() == ExitCode(error.exit_code) != ExitCode.OK
    assert capsys.readouterr().err == "stvc: error: what happened: with a line break\n"


@pytest.mark.parametrize(
    ("problem", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (PermissionError(13, "Permission denied", "x.stvc"), 74, "x.stvc: Permission denied"),
        (OSError(28, "No space left on device"), 74, "No space left on device"),
        (MemoryError(), 74, "memory"),
        (ZeroDivisionError("a bug"), 1, "unexpected ZeroDivisionError: a bug"),
    ],
)
def test_other_failures_are_one_line_without_traceback(
    problem: BaseException,
    code: int,
    told: str,
    fake: FakeApi,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise problem

    monkeypatch.setattr(fake, "encode", fail)
    assert encode() == code
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
    if isinstance(problem, Exception):
        monkeypatch.setenv("STVC_DEBUG", "1")
        assert encode() == code
        assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error(fake: FakeApi) -> None:
    encode("-q")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import stvc, fake_codec; "
        "api = fake_codec.FakeApi(); sys.modules['stvc.api'] = api; stvc.api = api; "
        "from stvc.cli import main; sys.argv[1:] = ['info', 'field.stvc', '-v']; main()"
    )
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent)],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert ran.returncode == ExitCode.FAILURE
    assert ran.stderr == ""
