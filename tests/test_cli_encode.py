"""``stvc encode``: what it asks of the codec, what it appends, which settings stand."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path

import pytest
from cli_place import SQUARE, encode, fake, place
from fake_codec import FakeApi, FakeSource

from stvc import cli
from stvc.exit_codes import ExitCode

__all__ = ["fake", "place"]


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
