"""``stvc background``: listing, drawing, building, refreshing and pruning the cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scenes
import xarray as xr

import stvc
from stvc.background import BackgroundCache
from stvc.background.building import build
from stvc.background.composite import decode_background, encode_background, head_of
from stvc.background.prune import prune
from stvc.cli import run
from stvc.dataset import series_from_dataset
from stvc.errors import BackgroundError, CorruptError, NoDataError
from stvc.exit_codes import ExitCode
from stvc.header import place_key
from stvc.model.weights import load_model

DAY = 86400.0


@pytest.fixture
def cache(tmp_path: Path) -> BackgroundCache:
    return BackgroundCache(tmp_path / "cache")


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return scenes.dataset(6, (24, 24), mask="SCL", crs=True)


def age(cache: BackgroundCache, content_hash: str, days: float) -> None:
    moment = time.time() - days * DAY
    os.utime(cache.root / f"{content_hash}.h5", (moment, moment))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Run a command that succeeds; its JSON."""
    capsys.readouterr()
    assert run([*arguments, "--json"]) == ExitCode.OK
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def hashes(cache: BackgroundCache) -> set[str]:
    return {entry.content_hash for entry in cache.list()}


def test_states_and_times_of_entries(cache: BackgroundCache) -> None:
    old = cache.store("A", b"old", {})
    new = cache.store("A", b"new", {}, needed=True)
    other = cache.store("A", b"other", {}, promote=False)
    first = cache.store("B", b"first", {}, promote=False)
    found = {e.content_hash: (e.newest, e.needed) for e in cache.list()}
    assert found == {
        old: (False, False),
        new: (True, True),
        other: (False, False),
        first: (True, False),
    }
    age(cache, old, 40)
    assert min(cache.list(), key=lambda e: e.used).content_hash == old
    cache.load(old)
    assert all(time.time() - e.used < 60 for e in cache.list())


def test_pruning_by_size_age_and_use(cache: BackgroundCache) -> None:
    made = [cache.store(f"place {k % 3}", bytes([k]) * 4000, {}) for k in range(5)]
    # ^ places 0 and 1 have two versions each
    for k, content_hash in enumerate(made):
        age(cache, content_hash, 100 - 10 * k)
    size = cache.list()[0].size
    report = prune(cache, older_than=85 * DAY, dry_run=True)
    assert [e.content_hash for e in report.removed] == made[:2] and len(hashes(cache)) == 5
    assert prune(cache, superseded=True).kept == 3
    assert hashes(cache) == {made[2], made[3], made[4]}
    report = prune(cache, max_size=2 * size)
    assert (report.bytes_freed, report.bytes_left, report.kept) == (size, 2 * size, 2)
    assert hashes(cache) == {made[3], made[4]}
    assert prune(cache, older_than=65 * DAY).kept == 1
    assert prune(cache).kept == 1
    assert prune(cache, max_size=0).kept == 0
    assert cache.find("place 1") is None


def test_pruning_spares_what_archives_need(cache: BackgroundCache) -> None:
    needed = cache.store("A", b"needed", {}, needed=True)
    report = prune(cache, max_size=0, older_than=-1, superseded=True)
    assert (report.kept, report.kept_needed, report.removed) == (1, 1, ())
    assert prune(cache, max_size=0, needed_too=True).kept == 0
    assert not cache.is_needed(needed)
    assert sorted(p.suffix for p in cache.root.iterdir()) in ([".place"], ["", ".place"])


def test_pruning_removes_damaged_entries(cache: BackgroundCache) -> None:
    fine = cache.store("A", b"fine", {})
    (cache.root / ("0" * 64 + ".h5")).write_bytes(b"damaged")
    os.mkfifo(cache.root / ("1" * 64 + ".h5"))
    assert len(cache.damaged()) == 2 and hashes(cache) == {fine}
    assert cache.load("1" * 64) is None
    assert prune(cache).damaged >= 1
    assert cache.damaged() == () and hashes(cache) == {fine}


def test_pruning_beside_jobs_takes_nothing_that_is_needed(cache: BackgroundCache) -> None:
    """Writers mark what they will need while another process empties the cache all the time."""
    cache.root.mkdir(parents=True)
    script = f"""
import sys
from pathlib import Path
from stvc.background import BackgroundCache
from stvc.background.prune import prune
cache = BackgroundCache(Path({str(cache.root)!r}))
if sys.argv[1] == "prune":
    for _ in range(60):
        prune(cache, max_size=0)
else:
    for k in range(12):
        blob = (sys.argv[1] + str(k)).encode() * 500
        content_hash = cache.store(sys.argv[1], blob, {{"k": k}}, needed=True)
        assert cache.load(content_hash) == (blob, {{"k": k}}), k
"""
    jobs = [subprocess.Popen([sys.executable, "-c", script, job]) for job in ("prune", "a", "b")]
    assert [job.wait() for job in jobs] == [0, 0, 0]
    assert len(cache.list()) == 24 and prune(cache, max_size=0).kept == 24


@pytest.mark.parametrize("attack", ["elsewhere", "huge", "deep", "list", "group"])
def test_entries_of_strangers(cache: BackgroundCache, attack: str, tmp_path: Path) -> None:
    """Files that somebody sent, whose digest is right, but which are no entries."""
    import hashlib
    import io

    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["payload"] = np.zeros(8, np.uint8)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        if attack == "elsewhere":
            file["payload"] = h5py.ExternalLink(str(secret), "payload")
        elif attack == "huge":
            file.create_dataset("payload", (1 << 40,), np.uint8, chunks=(1 << 20,))
        elif attack == "group":
            file.create_group("payload")
        else:
            file["payload"] = np.zeros(8, np.uint8)
        file.attrs["place_key"], file.attrs["created"] = "A", 1.0
        file.attrs["meta"] = {"deep": "[" * 10_000, "list": "[]"}.get(attack, "{}")
    image = buffer.getvalue()
    name = hashlib.sha256(bytes(8)).hexdigest()
    cache.root.mkdir(parents=True)
    (cache.root / f"{name}.h5").write_bytes(image + hashlib.sha256(image).digest())
    assert cache.load(name) is None and cache.list() == []


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"7", b"[" * 10_000, b'{"place_key":"A"}', b'{"place_key":"A","content_hash":7}'],
)
def test_pointers_of_strangers(cache: BackgroundCache, text: bytes) -> None:
    cache.store("A", b"payload", {})
    next(cache.root.glob("*.place")).write_bytes(text)
    assert cache.find("A") is None and not cache.list()[0].newest


def test_building_and_refreshing(cache: BackgroundCache, ds: xr.Dataset) -> None:
    series, model = series_from_dataset(ds), load_model()
    first = build(series, cache, model, step_index=200, name="field")
    assert (first.dates, first.replaced) == (6, None)
    with pytest.raises(BackgroundError, match="refresh it instead"):
        build(series, cache, model, step_index=200)
    later = series_from_dataset(ds.isel(time=slice(3, 6)))
    second = build(later, cache, model, step_index=90, refresh=True)
    assert second.replaced == first.content_hash != second.content_hash
    key = place_key(series.crs_wkt, series.grids)
    assert cache.find(key) == second.content_hash
    old, new = (cache.load(b.content_hash) for b in (first, second))
    assert old is not None and new is not None
    assert new[1]["name"] == "field" and new[1]["dates"] == 3
    before, after = head_of(old[0]), head_of(new[0])
    assert after.step_index == before.step_index == 200
    assert [k.to_header() for k in after.klts] == [k.to_header() for k in before.klts]
    assert build(later, cache, model, step_index=9, refresh=True).replaced is None


def test_new_archives_use_the_refreshed_version_and_old_ones_keep_theirs(
    cache: BackgroundCache, ds: xr.Dataset, tmp_path: Path
) -> None:
    options = {"reference": "both", "external_background": True, "cache_dir": cache.root}
    stvc.encode(ds, tmp_path / "old.stvc", **options)
    with stvc.open(tmp_path / "old.stvc", cache_dir=cache.root) as archive:
        before = archive.to_xarray()
    later = series_from_dataset(ds.isel(time=slice(4, 6)))
    built = build(later, cache, load_model(), step_index=150, refresh=True)
    assert prune(cache, superseded=True).kept == 2  # the old archive needs the old version
    stvc.encode(ds, tmp_path / "new.stvc", **options)
    with stvc.open(tmp_path / "new.stvc", cache_dir=cache.root) as archive:
        assert archive.info()["background"]["sha256"] == built.content_hash
    with stvc.open(tmp_path / "old.stvc", cache_dir=cache.root) as archive:
        xr.testing.assert_identical(archive.to_xarray(), before)


def test_nothing_clear_makes_no_background(cache: BackgroundCache, ds: xr.Dataset) -> None:
    hidden = ds.assign(SCL=ds["SCL"].copy(data=ds["SCL"].values * 0 + 9))
    with pytest.raises(NoDataError, match="no pixel"):
        build(series_from_dataset(hidden), cache, load_model(), step_index=100)


def test_one_place_has_one_key_however_its_crs_is_spelled(ds: xr.Dataset) -> None:
    from pyproj import CRS

    grids = series_from_dataset(ds).grids
    spellings = {CRS.from_epsg(32631).to_wkt(v) for v in ("WKT2_2019", "WKT2_2015", "WKT1_GDAL")}
    assert len(spellings) == 3
    assert len({place_key(wkt, grids) for wkt in spellings}) == 1
    moved = tuple(replace(g, x=g.x + 10) for g in grids)
    assert place_key(spellings.pop(), moved) != place_key("", grids)


def test_heads_are_checked_before_they_are_used(ds: xr.Dataset) -> None:
    series, model = series_from_dataset(ds), load_model()
    payload = encode_background(
        series.grids,
        tuple(_klt(len(g.bands)) for g in series.grids),
        tuple(p[0] for p in series.pixels),
        tuple(np.zeros(p.shape[2:], bool) for p in series.pixels),
        120,
        18_000,
        model,
    )
    assert decode_background(payload, series.grids, model).pixels[0].shape == (4, 24, 24)
    for broken in (b"", payload[:3], payload[:40], payload[:-1], payload + b"\0"):
        with pytest.raises(CorruptError, match="background"):
            decode_background(broken, series.grids, model)


def _klt(bands: int) -> Any:
    from stvc.codec.spectral import fit_klt

    return fit_klt(np.random.default_rng(3).integers(1, 5000, (400, bands)))


def test_commands(tmp_path: Path, ds: xr.Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    cache = ["--cache-dir", str(tmp_path / "cache")]
    archive = str(tmp_path / "field.stvc")
    stvc.encode(ds, archive)
    assert told(capsys, "background", "list", *cache)["entries"] == []
    built = told(capsys, "background", "build", "--archive", archive, *cache)
    assert (built["place"], built["dates"], built["replaced"]) == ("field", 6, None)
    assert run(["background", "build", "--archive", archive, *cache]) == ExitCode.NO_INPUT
    again = told(capsys, "background", "refresh", "--archive", archive, "--last", "12d", *cache)
    assert (again["dates"], again["replaced"]) == (3, built["sha256"])
    entries = told(capsys, "background", "list", *cache)["entries"]
    assert {e["sha256"]: (e["newest"], e["dates"]) for e in entries} == {
        again["sha256"]: (True, 3),
        built["sha256"]: (False, 6),
    }
    assert all(e["first"].startswith("2021-03") and e["bytes"] > 500 for e in entries)
    picture = tmp_path / "place.png"
    facts = told(capsys, "background", "show", again["sha256"][:9], "-o", str(picture), *cache)
    assert facts["shapes"] == [[4, 24, 24]] and facts["step_dn"] == pytest.approx(83, abs=1)
    from PIL import Image

    with Image.open(picture) as image:
        assert image.size == (504, 504) and len(image.convert("RGB").getcolors(1 << 20) or []) > 50
    assert run(["background", "list", *cache]) == ExitCode.OK
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 3 and "superseded" in table[1] + table[2]
    gone = told(capsys, "background", "prune", "--unused", *cache)
    assert gone["removed"] == [built["sha256"]] and gone["kept"] == 1
    assert run(["background", "prune", "--max-size", "2GB", *cache]) == ExitCode.OK
    assert "1 left" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "beef"],
        ["show", "x.png", "-o", "-"],
        ["prune", "--max-size", "much"],
        ["prune", "--max-size", "-1GB"],
        ["prune", "--older-than", "soon"],
        ["refresh"],
        ["build", "--aoi", "a.geojson", "--archive", "b.stvc"],
        ["refresh", "--archive", "b.stvc", "--last", "0x7d"],
    ],
)
def test_wrong_usage(arguments: list[str], tmp_path: Path) -> None:
    cache = ["--cache-dir", str(tmp_path / "none")]
    assert run(["background", *arguments, *cache]) == ExitCode.USAGE
    assert not (tmp_path / "none").exists()


def test_read_only_cache_still_serves(
    cache: BackgroundCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    content_hash = cache.store("A", b"payload", {})

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(os, "utime", refused)
    assert cache.load(content_hash) == (b"payload", {})
    assert cache.find("A") == content_hash
