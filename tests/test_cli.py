"""The command line: what it prints where, what it returns, and that it never shows a traceback."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_codec import DAYS, FakeApi, FakeArchive, FakeSource

import stvc
from stvc import cli, console, errors
from stvc.exit_codes import ExitCode

SQUARE = {
    "type": "Polygon",
    "coordinates": [[[14, 45], [14.01, 45], [14.01, 45.01], [14, 45.01], [14, 45]]],
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in an empty directory with an area of interest."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "field.geojson").write_text(json.dumps(SQUARE))
    return tmp_path


@pytest.fixture
def fake(place: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """Put the stand-in for the codec and a source of five dates in place."""
    api = FakeApi()
    monkeypatch.setitem(sys.modules, "stvc.api", api)
    monkeypatch.setattr(stvc, "api", api, raising=False)
    monkeypatch.setattr("stvc.source.get_source", lambda name: FakeSource())
    return api


def encode(*more: str) -> int:
    return cli.run(["encode", "--aoi", "field.geojson", *more])


# ---------------------------------------------------------------- start-up, help, version


def _seconds_of_children() -> float:
    """Processor time, which neighbors on a busy machine do not stretch as they do wall time."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from stvc.cli import run; code = run(['--help']); "
        "heavy = {'torch', 'xarray', 'h5py', 'kornia', 'rasterio', 'sentinelhub', 'pandas', "
        "'scipy', 'matplotlib', 'numpy'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    best = 9.0
    for _ in range(3):
        began = _seconds_of_children()
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        best = min(best, _seconds_of_children() - began)
        assert ran.returncode == 0, ran.stderr
    for command in ("encode", "decode", "info", "verify"):
        assert command in ran.stdout
    assert best < 0.5


@pytest.mark.parametrize("command", ["encode", "decode", "info", "verify"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_examples(
    command: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([command, flag]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "Examples:" in shown
    assert shown.count(f"stvc {command} ") >= 4  # the usage line and three examples


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == ExitCode.OK
    assert "encode" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == ExitCode.OK
    assert re.fullmatch(r"stvc \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_console_script_is_installed() -> None:
    script = Path(sys.executable).with_name("stvc")
    ran = subprocess.run([script, "info"], capture_output=True, text=True)
    assert ran.returncode == ExitCode.USAGE
    assert ran.stdout == ""
    assert ran.stderr == "stvc: error: Missing argument 'ARCHIVE'. (see stvc --help)\n"


# ---------------------------------------------------------------- usage errors


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


# ---------------------------------------------------------------- errors and exit codes


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


# ---------------------------------------------------------------- encode


def test_encode_writes_beside_the_caller_and_says_one_line(
    fake: FakeApi, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode() == ExitCode.OK
    out, err = capsys.readouterr()
    assert re.fullmatch(r"field\.stvc: 5 dates in \d+ B, 46\.50 dB on clear pixels, 1\.2 s\n", out)
    assert err == ""  # no progress: nobody watches
    assert (place / "field.stvc").exists()
    assert fake.calls == [
        (
            "encode",
            {
                "external_background": False,
                "cache_dir": Path(os.environ["STVC_CACHE_DIR"]),
                "overwrite": False,
                "quality": None,
                "psnr": None,
                "max_error": None,
                "lossless": False,
                "max_bytes": None,
                "clouds": "drop",
                "reference": "auto",
                "effort": "default",
            },
        )
    ]


def test_encode_passes_what_was_asked(fake: FakeApi, place: Path) -> None:
    assert (
        encode(
            "-o",
            "out.stvc",
            "--bands",
            "B02, B11",
            "--start",
            "2020-01-11",
            "--end",
            "2020-01-21",
            "--psnr",
            "45",
            "--clouds",
            "coarse",
            "--reference",
            "recent",
            "--cache-dir",
            "cache",
        )
        == ExitCode.OK
    )
    _, asked = fake.calls[0]
    assert (asked["psnr"], asked["clouds"], asked["reference"]) == (45.0, "coarse", "recent")
    assert asked["cache_dir"] == Path("cache")
    held = json.loads((place / "out.stvc").read_text())
    assert held["bands"] == ["B02", "B11"]
    assert held["times"] == ["2020-01-11T00:00:00", "2020-01-21T09:30:15"]  # the end day is whole


def test_encode_reads_the_area_from_stdin(
    fake: FakeApi, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = io.TextIOWrapper(io.BytesIO(json.dumps(SQUARE).encode()))
    monkeypatch.setattr(sys, "stdin", text)
    assert cli.run(["encode", "--aoi", "-", "-o", "x.stvc", "-q"]) == ExitCode.OK
    assert (place / "x.stvc").exists()


def test_running_again_appends_only_what_is_new(
    fake: FakeApi, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode("--end", "2020-01-15", "--psnr", "45") == ExitCode.OK
    capsys.readouterr()
    assert encode() == ExitCode.OK
    out, err = capsys.readouterr()
    assert out.startswith("field.stvc: appended 3 dates in ")
    assert "5 dates in" in out
    name, asked = fake.calls[1]
    assert name == "append"
    assert list(asked["times"].astype("datetime64[s]").astype(str)) == [
        "2020-01-21T09:30:15",
        "2020-01-31T00:00:00",
        "2020-02-10T00:00:00",
    ]

    before = (place / "field.stvc").read_bytes(), (place / "field.stvc").stat().st_mtime_ns
    assert encode() == ExitCode.OK
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "stvc: nothing new: field.stvc already holds all 5 dates\n"
    after = (place / "field.stvc").read_bytes(), (place / "field.stvc").stat().st_mtime_ns
    assert after == before


@pytest.mark.parametrize("empty", ["raise", "size 0"])
def test_nothing_new_however_the_source_says_it(
    empty: str,
    fake: FakeApi,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    encode("-q")
    monkeypatch.setattr("stvc.source.get_source", lambda name: FakeSource(empty=empty))
    assert encode("--json") == ExitCode.OK
    result = json.loads(capsys.readouterr().out)
    assert (result["status"], result["frames_added"], result["frames_total"]) == ("unchanged", 0, 5)
    assert result["bytes_before"] == result["bytes_after"] > 0
    assert encode("-q") == ExitCode.OK
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("empty", ["raise", "size 0"])
def test_a_new_archive_needs_a_frame(
    empty: str,
    fake: FakeApi,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("stvc.source.get_source", lambda name: FakeSource(empty=empty))
    assert encode("--start", "2030-01-01") == ExitCode.UNAVAILABLE
    assert capsys.readouterr().err.startswith("stvc: error: source fake has no")
    assert not (place / "field.stvc").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--psnr", "50"), "--psnr 50"),
        (("--quality", "40"), "--quality 40"),
        (("--lossless",), "--lossless"),
        (("--clouds", "keep"), "--clouds keep"),
        (("--reference", "none"), "--reference none"),
        (("--bands", "B02"), "--bands B02"),
        (("--psnr", "50", "--clouds", "keep"), "--psnr 50, --clouds keep"),
    ],
)
def test_settings_of_an_archive_stand(
    flags: tuple[str, ...],
    told: str,
    fake: FakeApi,
    place: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    encode("--psnr", "45", "--end", "2020-01-15", "-q")
    before = (place / "field.stvc").read_bytes()
    assert encode(*flags) == ExitCode.USAGE
    err = capsys.readouterr().err
    assert f"{told} contradicts" in err
    assert "--psnr 45 --clouds drop --reference auto --bands B02,B04,B08,B11" in err
    assert "--overwrite" in err
    assert (place / "field.stvc").read_bytes() == before
    assert encode(*flags, "--overwrite", "-q") == ExitCode.OK
    assert [(name, asked["overwrite"]) for name, asked in fake.calls] == [
        ("encode", False),
        ("encode", True),
    ]


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("25", 25),
        ("25DN", 25),
        ("25.0 dn", 25),
        ("0", 0),
        ("0r", 0),
        ("0.0025r", 25),
        (".0029 refl", 29),  # 28.999... in binary
        ("0.00259Reflectance", 25),  # never looser than asked
        ("1r", 10000),
    ],
)
def test_an_error_bound_may_be_in_reflectance(text: str, bound: int, fake: FakeApi) -> None:
    assert encode("--max-error", text, "-q") == ExitCode.OK
    assert fake.calls[-1][1]["max_error"] == bound
    assert encode("--max-error", str(bound), "-q") == ExitCode.OK  # the same to an archive


def test_equal_settings_may_be_repeated(fake: FakeApi) -> None:
    flags = ("--max-error", "25", "--clouds", "keep", "--reference", "both", "--bands", "B08,B02")
    assert encode(*flags, "--end", "2020-01-15", "-q") == ExitCode.OK
    again = [flag.replace("B08,B02", "B2,B8") for flag in flags]
    assert encode(*again, "-q") == ExitCode.OK
    assert [name for name, _ in fake.calls] == ["encode", "append"]


def test_the_default_quality_may_be_said_later(
    fake: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode("--end", "2020-01-15", "-q") == ExitCode.OK
    assert encode("--quality", "40", "-q") == ExitCode.OK
    assert encode("--quality", "41", "-q") == ExitCode.USAGE
    assert "(--quality 40 --clouds drop --reference auto --bands" in capsys.readouterr().err


def test_the_cache_is_the_users_unless_told(fake: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    from stvc.background.cache import default_cache_dir

    monkeypatch.delenv("STVC_CACHE_DIR")
    encode("-q")
    assert fake.calls[0][1]["cache_dir"] == default_cache_dir()


def test_encode_refuses_to_append_to_what_is_no_archive(
    fake: FakeApi, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "field.stvc").write_text("my diary")
    assert encode() == ExitCode.CORRUPT
    assert "not an stvc archive" in capsys.readouterr().err
    assert (place / "field.stvc").read_text() == "my diary"


def test_encode_as_json(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    encode("--json", "--end", "2020-01-15")
    written = json.loads(capsys.readouterr().out)
    assert list(written)[:3] == ["schema", "command", "status"]
    assert (written["schema"], written["status"], written["frames_added"]) == (1, "written", 2)
    encode("--json")
    appended = json.loads(capsys.readouterr().out)
    assert (appended["status"], appended["frames_added"]) == ("appended", 3)
    assert appended["bytes_before"] == written["bytes_after"]
    assert appended["path"] == "field.stvc"


def test_a_bad_area_is_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "field.geojson").write_text("{}")
    assert encode() == ExitCode.BAD_VALUE
    err = capsys.readouterr().err
    assert err.startswith("stvc: error: field.geojson")
    assert err.count("\n") == 1


def test_an_unknown_source_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert encode("--source", "oracle") == ExitCode.UNAVAILABLE
    assert "'oracle' is unknown; choose from: sample" in capsys.readouterr().err


# ---------------------------------------------------------------- decode, info, verify


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


# ---------------------------------------------------------------- console


def test_progress_only_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress_bar(quiet=False) as progress:
        assert progress is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress_bar(quiet=True) as progress:
        assert progress is None
    with console.progress_bar(quiet=False) as progress:
        assert progress is not None
        progress(3, 7, "date 2020-01-31")
    out, err = capsys.readouterr()
    assert out == ""
    assert "date 2020-01-31" in err
    assert "3/7" in err


def test_warnings_of_the_library_are_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    log = logging.getLogger("stvc.source.sample")
    for quiet in (False, True):
        console.log_to_stderr(0, quiet=quiet)
        log.warning("covers %d %%", 40)
    assert capsys.readouterr().err == "stvc: warning: covers 40 %\n"


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (412_345, "412 kB"),
        (999_600, "1 MB"),
        (13_440_000, "13.4 MB"),
        (2.5e9, "2.5 GB"),
        (7.5e12, "7500 GB"),
    ],
)
def test_byte_sizes(count: float, told: str) -> None:
    assert console.byte_size(count) == told


# ---------------------------------------------------------------- the real thing


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
