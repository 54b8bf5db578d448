"""A refreshed background takes over from the next frame on; what is there stays as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr

import stvc
from stvc import _header_rules
from stvc._header_rules import FORMAT_VERSION
from stvc.archive import ArchiveReader, Kind, write_archive
from stvc.background import BackgroundCache
from stvc.background.building import build
from stvc.background.bundle import bundle
from stvc.background.prune import prune
from stvc.cli import run
from stvc.dataset import series_from_dataset
from stvc.errors import BackgroundError, CorruptError, VersionError
from stvc.model.weights import load_model

FIRST = 5
TOTAL = 9


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return scenes.dataset(TOTAL, (16, 16), mask="SCL", crs=True, seed=3)


@pytest.fixture(scope="module")
def made(ds: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: ``before.stvc``, ``after.stvc`` with a refreshed background, the same thin."""
    home = tmp_path_factory.mktemp("versions")
    for name, external in (("whole", False), ("thin", True)):
        cache, path = home / f"cache-{name}", home / f"{name}.stvc"
        stvc.encode(
            ds.isel(time=slice(0, FIRST)),
            path,
            reference="both",
            max_error=40,
            external_background=external,
            cache_dir=cache,
        )
        shutil.copy(path, home / f"{name}-before.stvc")
        recent = series_from_dataset(ds.isel(time=slice(3, 7)))
        build(recent, BackgroundCache(cache), load_model(), step_index=200, refresh=True)
        for start in (FIRST, FIRST + 2):
            stvc.append(ds.isel(time=slice(start, start + 2)), path, cache_dir=cache)
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "home"))


def newest(home: Path, name: str) -> str:
    (entry,) = [e for e in BackgroundCache(home / f"cache-{name}").list() if e.newest]
    return entry.content_hash


def pixels(path: Path, cache: Path | None = None, **chosen: Any) -> xr.Dataset:
    with stvc.open(path, cache_dir=cache) as archive:
        return archive.to_xarray(**chosen)


@pytest.mark.parametrize("name", ["whole", "thin"])
def test_new_frames_use_it_and_old_ones_stay_bit_for_bit(
    home: Path, ds: xr.Dataset, name: str
) -> None:
    path, before = home / f"{name}.stvc", home / f"{name}-before.stvc"
    cache = home / f"cache-{name}"
    with ArchiveReader.open(path) as new, ArchiveReader.open(before) as old:
        assert old.header["format"] == (
            [FORMAT_VERSION, "external-background"] if name == "thin" else FORMAT_VERSION
        )
        assert new.header["background"] == old.header["background"]
        # Once: the second append finds nothing newer.
        assert new.header["later_backgrounds"] == [[FIRST, newest(home, name)]]
        assert new.header["format"][1:][0] == "background-versions"
        for key in old.units:
            assert new.read(key) == old.read(key)
        held = [key.frame for key in new.units if key.kind is Kind.BACKGROUND]
        assert held == ([0, 1] if name == "whole" else [])
    both = pixels(path, cache)
    xr.testing.assert_identical(both.isel(time=slice(0, FIRST)), pixels(before, cache))
    clear = ~scenes.hidden_on(ds, "B04")
    error = np.abs(both["B04"].values.astype(int) - ds["B04"].values)
    assert error[clear].max() <= 40
    with stvc.open(path, cache_dir=cache) as archive:
        assert archive.verify().ok
        versions = archive.info()["background"]["versions"]
    assert [v["first_frame"] for v in versions] == [0, FIRST]
    assert versions[1]["sha256"] == newest(home, name)


def test_the_new_background_matters(home: Path) -> None:
    """Decoded against the old one, new frames come out wrong: it is used indeed."""
    path = home / "whole.stvc"
    with ArchiveReader.open(path) as reader:
        header = {k: v for k, v in reader.header.items() if k != "later_backgrounds"}
        units = [
            (key, reader.read(key), unit.stats)
            for key, unit in reader.units.items()
            if key.kind is not Kind.BACKGROUND or key.frame == 0
        ]
        header["format"] = FORMAT_VERSION
        write_archive(home / "wrong.stvc", header, reader.frames, units)
    right = pixels(path)["B04"].values
    with stvc.open(home / "wrong.stvc", on_error="skip") as archive:
        wrong = archive.to_xarray()["B04"].values
    assert np.array_equal(right[:FIRST], wrong[:FIRST])
    assert not np.array_equal(right[FIRST:], wrong[FIRST:])


def test_lazy_views_see_the_same(home: Path) -> None:
    with xr.open_dataset(home / "whole.stvc", engine="stvc") as lazy:
        for frame in (TOTAL - 1, FIRST - 1, FIRST):
            found = np.rint(lazy["B04"].isel(time=frame).values * 10_000)
            assert np.array_equal(found, pixels(home / "whole.stvc")["B04"].values[frame])


def test_without_a_cache_an_archive_stays_with_its_own(home: Path, ds: xr.Dataset) -> None:
    path = home / "whole-before.stvc"
    stvc.append(ds.isel(time=slice(FIRST, TOTAL)), path)
    with ArchiveReader.open(path) as reader:
        assert (
            "later_backgrounds" not in reader.header and reader.header["format"] == FORMAT_VERSION
        )


def test_another_lineage_does_not_take_over(home: Path, ds: xr.Dataset, tmp_path: Path) -> None:
    """A background with other spectral transforms cannot stand in."""
    stranger = ds.isel(time=slice(5, 9)).copy()
    stranger["B04"] = stranger["B04"] // 2 + 900
    stvc.encode(stranger, tmp_path / "other.stvc", reference="both", cache_dir=tmp_path / "c")
    path = home / "whole-before.stvc"
    stvc.append(ds.isel(time=slice(FIRST, TOTAL)), path, cache_dir=tmp_path / "c")
    with ArchiveReader.open(path) as reader:
        assert "later_backgrounds" not in reader.header


def test_bundling_moves_all_versions(home: Path) -> None:
    thin, whole = home / "thin.stvc", home / "whole.stvc"
    report = bundle(thin, home / "out.stvc", cache_dir=home / "cache-thin")
    assert report.changed
    assert (home / "out.stvc").read_bytes() == whole.read_bytes()
    bundle(home / "out.stvc", home / "out.stvc", strip=True, cache_dir=home / "fresh")
    assert (home / "out.stvc").read_bytes() == thin.read_bytes()
    xr.testing.assert_identical(pixels(home / "out.stvc", home / "fresh"), pixels(whole))
    assert prune(BackgroundCache(home / "fresh"), superseded=True).kept == 2


def test_a_version_that_is_missing_is_named(home: Path) -> None:
    cache = home / "cache-thin"
    gone = newest(home, "thin")
    (cache / f"{gone}.h5").unlink()
    with pytest.raises(BackgroundError, match=gone):
        pixels(home / "thin.stvc", cache)


def test_readers_that_do_not_know_versions_refuse(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_header_rules, "FEATURES", frozenset({"external-background"}))
    with pytest.raises(VersionError, match="needs 'background-versions'.*newer stvc"):
        pixels(home / "whole.stvc")


@pytest.mark.parametrize(
    "later",
    [
        *([], [[0, "0" * 64]], [[5, "0" * 64], [5, "1" * 64]], [[5, "x"]]),
        *([[5]], "text", [[True, "0" * 64]]),
    ],
)
def test_strange_lists_are_refused(home: Path, later: Any) -> None:
    with ArchiveReader.open(home / "whole.stvc") as reader:
        header = {**reader.header, "later_backgrounds": later}
        units = [(k, reader.read(k), i.stats) for k, i in reader.units.items()]
        write_archive(home / "odd.stvc", header, reader.frames, units)
    with pytest.raises(CorruptError, match="header is unusable"):
        pixels(home / "odd.stvc")


def test_info_names_them(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(home / "whole.stvc")]) == 0
    text = capsys.readouterr().out
    assert f"from frame {FIRST} on {newest(home, 'whole')[:12]}" in text
    assert run(["info", str(home / "whole.stvc"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["background"]["versions"]) == 2
