"""External backgrounds: archives that hold a hash, what they need to decode, and bundling."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import scenes
import xarray as xr

import stvc
from stvc.archive import ArchiveReader, Kind, UnitKey
from stvc.background import BackgroundCache
from stvc.background.bundle import bundle
from stvc.cli import run
from stvc.errors import BackgroundError, CorruptError, CorruptInputError, QualityError, VersionError
from stvc.exit_codes import ExitCode
from stvc.header import FORMAT_VERSION, open_place

KEY = UnitKey(Kind.BACKGROUND, 0, 0, 0)


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return scenes.dataset(6, (24, 24), mask="SCL", crs=True)


@pytest.fixture(scope="module")
def made(ds: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``thin.stvc``, the ``cache`` it needs, and ``whole.stvc``, encoded so."""
    home = tmp_path_factory.mktemp("bundles")
    first = ds.isel(time=slice(0, 4))
    stvc.encode(
        first,
        home / "thin.stvc",
        reference="both",
        external_background=True,
        cache_dir=home / "cache",
    )
    stvc.encode(first, home / "whole.stvc", reference="both")
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "home"))


def hash_of(path: Path) -> str:
    with ArchiveReader.open(path) as reader:
        return str(reader.header["background"])


def test_external_archive_is_smaller_by_the_background_and_decodes_alike(home: Path) -> None:
    thin, whole = home / "thin.stvc", home / "whole.stvc"
    payload, _ = BackgroundCache(home / "cache").load(hash_of(thin)) or (b"", {})
    assert hashlib.sha256(payload).hexdigest() == hash_of(whole)
    saved = whole.stat().st_size - thin.stat().st_size
    assert len(payload) - 40 <= saved <= len(payload) + 40
    with ArchiveReader.open(thin) as reader:
        assert KEY not in reader.units
    with stvc.open(thin, cache_dir=home / "cache") as a, stvc.open(whole) as b:
        xr.testing.assert_identical(a.to_xarray(), b.to_xarray())
        assert a.verify().ok and a.verify().sha256 == b.verify().sha256
        assert a.info()["background"] == {"sha256": hash_of(thin), "bytes": 0, "external": True}
        assert a.info()["features"] == ["external-background"]
        assert b.info()["background"]["external"] is False and b.info()["features"] == []


def test_bundling_gives_the_very_bytes_and_stripping_gives_them_back(home: Path) -> None:
    thin, whole = (home / "thin.stvc").read_bytes(), (home / "whole.stvc").read_bytes()
    report = bundle(home / "thin.stvc", home / "out.stvc", cache_dir=home / "cache")
    assert report.changed and (home / "out.stvc").read_bytes() == whole
    report = bundle(home / "out.stvc", home / "out.stvc", strip=True, cache_dir=home / "other")
    assert report.changed and (home / "out.stvc").read_bytes() == thin
    assert (report.bytes_before, report.bytes_after) == (len(whole), len(thin))
    entry = BackgroundCache(home / "other").list()[0]
    assert (entry.content_hash, entry.needed) == (hash_of(home / "out.stvc"), True)


def test_bundling_what_is_whole_copies_it(home: Path) -> None:
    whole = (home / "whole.stvc").read_bytes()
    report = bundle(home / "whole.stvc", home / "copy.stvc", cache_dir=home / "nowhere")
    assert not report.changed and (home / "copy.stvc").read_bytes() == whole
    inode = (home / "whole.stvc").stat().st_ino
    assert not bundle(home / "whole.stvc", home / "whole.stvc").changed
    assert (home / "whole.stvc").stat().st_ino == inode


def test_bundling_an_archive_without_a_background(ds: xr.Dataset, tmp_path: Path) -> None:
    stvc.encode(ds, tmp_path / "a.stvc", reference="recent")
    for strip in (False, True):
        report = bundle(tmp_path / "a.stvc", tmp_path / f"{strip}.stvc", strip=strip)
        assert (report.content_hash, report.changed) == (None, False)
        assert (tmp_path / f"{strip}.stvc").read_bytes() == (tmp_path / "a.stvc").read_bytes()


def test_bundling_spares_other_files(home: Path) -> None:
    with pytest.raises(CorruptInputError, match="exists"):
        bundle(home / "thin.stvc", home / "whole.stvc", cache_dir=home / "cache")
    with pytest.raises(CorruptInputError, match="not a file"):
        bundle(home, home / "out.stvc")
    bundle(home / "thin.stvc", home / "whole.stvc", cache_dir=home / "cache", overwrite=True)


def test_without_its_background_an_archive_says_what_it_lacks(home: Path) -> None:
    for use in ("to_xarray", "verify"):
        with (
            stvc.open(home / "thin.stvc", cache_dir=home / "empty") as archive,
            pytest.raises(BackgroundError, match=f"{hash_of(home / 'thin.stvc')}.*stvc bundle"),
        ):
            getattr(archive, use)()
    with pytest.raises(BackgroundError, match="not in the cache"):
        bundle(home / "thin.stvc", home / "out.stvc", cache_dir=home / "empty")
    assert not (home / "out.stvc").exists()
    with stvc.open(home / "thin.stvc", cache_dir=home / "empty") as archive:
        assert archive.info()["frames"] == 4


def test_a_damaged_cache_entry_is_as_good_as_none(home: Path) -> None:
    path = home / "cache" / f"{hash_of(home / 'thin.stvc')}.h5"
    block = bytearray(path.read_bytes())
    block[len(block) // 2] ^= 1
    path.write_bytes(block)
    with (
        stvc.open(home / "thin.stvc", cache_dir=home / "cache") as archive,
        pytest.raises(BackgroundError),
    ):
        archive.to_xarray()


def test_appending_keeps_the_form(home: Path, ds: xr.Dataset) -> None:
    thin, whole = home / "thin.stvc", home / "whole.stvc"
    with pytest.raises(BackgroundError):
        stvc.append(ds, thin, cache_dir=home / "empty")
    assert stvc.append(ds, thin, cache_dir=home / "cache").frames_added == 2
    assert stvc.append(ds, whole).frames_added == 2
    bundle(thin, home / "out.stvc", cache_dir=home / "cache")
    assert (home / "out.stvc").read_bytes() == whole.read_bytes()


def test_short_series_get_a_background_when_it_costs_nothing(
    ds: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STVC_CACHE_DIR", str(tmp_path / "mine"))
    stvc.encode(ds.isel(time=slice(0, 2)), tmp_path / "a.stvc", external_background=True)
    with stvc.open(tmp_path / "a.stvc") as archive:
        assert archive.info()["background"]["external"]
        assert archive.to_xarray().sizes["time"] == 2
    assert len(BackgroundCache(tmp_path / "mine").list()) == 1


@pytest.mark.parametrize("options", [{"lossless": True}, {"reference": "none"}])
def test_settings_that_use_no_background_contradict(
    ds: xr.Dataset, tmp_path: Path, options: dict[str, object]
) -> None:
    with pytest.raises(QualityError, match="no background"):
        stvc.encode(ds, tmp_path / "a.stvc", external_background=True, **options)


def test_nothing_clear_needs_no_background(ds: xr.Dataset, tmp_path: Path) -> None:
    hidden = ds.assign(SCL=ds["SCL"].copy(data=ds["SCL"].values * 0 + 9))
    stvc.encode(hidden, tmp_path / "a.stvc", external_background=True, cache_dir=tmp_path / "c")
    with stvc.open(tmp_path / "a.stvc", cache_dir=tmp_path / "nowhere") as archive:
        assert archive.info()["background"] is None
        archive.to_xarray()


def test_a_cache_that_cannot_keep_it_stops_the_encode(ds: xr.Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(BackgroundError, match="cannot"):
        stvc.encode(
            ds, tmp_path / "a.stvc", external_background=True, cache_dir=tmp_path / "file" / "c"
        )
    assert not (tmp_path / "a.stvc").exists()


@pytest.mark.parametrize(
    "entry",
    [
        [FORMAT_VERSION, "unheard-of"],
        [FORMAT_VERSION, "external-background", 7],
        [FORMAT_VERSION + 1],
        FORMAT_VERSION + 1,
        [],
        float(FORMAT_VERSION),
        True,
        None,
    ],
)
def test_readers_refuse_what_they_do_not_know(home: Path, entry: object) -> None:
    with ArchiveReader.open(home / "whole.stvc") as reader:
        reader.header["format"] = entry
        with pytest.raises(VersionError, match="install a newer stvc"):
            open_place(reader)


def test_readers_before_features_see_another_version(home: Path) -> None:
    """They compare the entry with a number: a list is refused, and shows what it asks for."""
    with ArchiveReader.open(home / "thin.stvc") as reader:
        assert reader.header["format"] == [FORMAT_VERSION, "external-background"]
    with ArchiveReader.open(home / "whole.stvc") as reader:
        assert reader.header["format"] == FORMAT_VERSION


def test_an_archive_may_not_name_what_it_does_not_hold(home: Path) -> None:
    """Only the feature sends a reader to the cache."""
    with ArchiveReader.open(home / "thin.stvc") as reader:
        reader.header["format"] = FORMAT_VERSION
        with pytest.raises(CorruptError, match="background version 0.*missing"):
            open_place(reader, cache_dir=home / "cache")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "A" * 64, "0" * 63, 7, None, ["x"]])
def test_a_hash_is_no_path(home: Path, name: object) -> None:
    with ArchiveReader.open(home / "thin.stvc") as reader:
        reader.header["background"] = name
        with pytest.raises(CorruptError, match="header is unusable"):
            open_place(reader, cache_dir=home / "cache")


def test_command(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    thin, out, cache = (str(home / name) for name in ("thin.stvc", "out.stvc", "cache"))
    assert run(["verify", thin, "--cache-dir", str(home / "empty")]) == ExitCode.NO_INPUT
    assert "stvc bundle" in capsys.readouterr().err
    assert run(["decode", thin, "-o", out + ".nc"]) == ExitCode.NO_INPUT
    assert run(["bundle", thin, "-o", out, "--cache-dir", cache]) == ExitCode.OK
    assert "decodes anywhere" in capsys.readouterr().out
    assert run(["verify", out]) == ExitCode.OK
    assert run(["bundle", thin, "-o", out, "--cache-dir", cache]) == ExitCode.CORRUPT
    capsys.readouterr()
    code = run(["bundle", out, "-o", out, "--strip", "--cache-dir", cache, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code == ExitCode.OK and told["external"] and told["changed"]
    assert told["background"] == hash_of(home / "thin.stvc")
    assert run(["info", out]) == ExitCode.OK
    assert "external, sha256" in capsys.readouterr().out
    assert run(["bundle", str(home / "none"), "-o", out]) == ExitCode.NO_INPUT
