"""Quality settings: contradictions and impossible values are named; settings survive the header."""

from __future__ import annotations

from pathlib import Path

import pytest
import scenes

import stvc
from stvc.codec.place import Settings
from stvc.errors import CorruptError, CorruptInputError, QualityError
from stvc.types import CloudMode


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"psnr": 50, "quality": 40}, "quality and psnr contradict"),
        ({"lossless": True, "max_error": 0}, "max_error and lossless contradict"),
        ({"quality": 101}, "quality=101"),
        ({"quality": float("nan")}, "quality=nan"),
        ({"psnr": 0}, "psnr=0"),
        ({"max_error": 2.5}, "max_error=2.5"),
        ({"max_error": -1}, "max_error=-1"),
        ({"clouds": "maybe"}, "clouds='maybe'"),
        ({"reference": "yes"}, "reference='yes'"),
    ],
)
def test_impossible_settings_are_named(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(QualityError, match=words):
        stvc.encode(scenes.dataset(), tmp_path / "a.stvc", **options)
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.stvc"
    path.write_bytes(b"mine")
    with pytest.raises(CorruptInputError, match="exists"):
        stvc.encode(scenes.dataset(), path, overwrite=False)
    assert path.read_bytes() == b"mine"


def test_settings_survive_the_header() -> None:
    settings = Settings(
        200,
        CloudMode.COARSE,
        recent=False,
        restored=False,
        max_bytes=900,
        psnr=47.5,
        reference="both",
    )
    bounded = Settings(200, max_error=4, key_interval=8, quality=12.5, reference="recent")
    for some in (settings, bounded, Settings(0, max_error=0, lossless=True)):
        assert Settings.from_header(some.to_header()) == some


@pytest.mark.parametrize(
    "change",
    [{"key_interval": 0}, {"step_index": -1}, {"step_index": 10**6}, {"clouds": "fog"},
     {"clouds": None}, {"key_interval": "x"}],
)  # fmt: skip
def test_unusable_settings_in_a_header_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(CorruptError, match="settings are unusable"):
        Settings.from_header({**Settings(200).to_header(), **change})


@pytest.mark.parametrize("missing", ["step_index", "clouds"])
def test_missing_settings_in_a_header_are_refused(missing: str) -> None:
    header = Settings(200).to_header()
    del header[missing]
    with pytest.raises(CorruptError, match="settings are unusable"):
        Settings.from_header(header)
