"""Appending dates, choosing dates and bands, and what damage does to the rest of an archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scenes
import xarray as xr

import stvc
from stvc.archive import ArchiveReader, Kind, UnitKey
from stvc.codec.frame_stats import links_of
from stvc.codec.structure import Link, closure
from stvc.errors import CorruptError, CorruptInputError
from stvc.header import open_place

GROUPS = {"": ("B02", "B08"), "20": ("B11",)}


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    """Nine dates, clouds and nodata on some."""
    made = scenes.dataset(9, (40, 48), groups=GROUPS, mask="mask", cloudy=(1, 4, 5), crs=True)
    for band, stop in (("B02", 11), ("B08", 11), ("B11", 6)):
        made[band].values[[2, 6], :stop] = 0
    made["product_id"] = ("time", [f"S2A_{k:03d}" for k in range(9)])
    return made


@pytest.fixture(scope="module")
def whole(ds: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All dates in one go, without a background: then it equals what appending makes."""
    path = tmp_path_factory.mktemp("append") / "whole.stvc"
    stvc.encode(ds, path, reference="recent")
    return path


def decode(path: Path, **selection: object) -> xr.Dataset:
    with stvc.open(path) as archive:
        return archive.to_xarray(**selection)


def payloads(path: Path) -> dict[UnitKey, bytes]:
    with ArchiveReader.open(path) as reader:
        return {key: reader.read(key) for key in reader.units}


def damage(path: Path, key: UnitKey, into: Path) -> Path:
    """Flip one bit in the middle of a unit's payload."""
    block = bytearray(path.read_bytes())
    with ArchiveReader.open(path) as reader:
        info = reader.units[key]
        assert info.length
        block[reader.locator.payload_offset + info.offset + info.length // 2] ^= 4
    into.write_bytes(block)
    return into


def test_appending_adds_and_leaves_the_old_as_it_was(ds: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "a.stvc"
    stvc.encode(ds.isel(time=slice(0, 4)), path, quality=45)
    before, old_payloads = decode(path), payloads(path)
    report = stvc.append(ds.isel(time=slice(2, 7)), path)
    assert (report.frames_added, report.frames_total) == (3, 7)
    assert report.bytes_after == path.stat().st_size > report.bytes_before
    after = payloads(path)
    assert {key: after[key] for key in old_payloads} == old_payloads
    xr.testing.assert_identical(decode(path).isel(time=slice(0, 4)), before)
    assert list(decode(path)["product_id"].values) == list(ds["product_id"].values[:7])
    with stvc.open(path) as archive:
        assert archive.verify().ok


def test_nothing_new_leaves_the_file_untouched(whole: Path, ds: xr.Dataset) -> None:
    before = whole.read_bytes(), whole.stat().st_mtime_ns, whole.stat().st_ino
    report = stvc.append(ds.isel(time=[3, 7]), whole)
    assert (report.frames_added, report.frames_total) == (0, 9)
    assert (whole.read_bytes(), whole.stat().st_mtime_ns, whole.stat().st_ino) == before


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"max_error": 30}])
def test_appending_date_by_date_follows_the_archives_settings(
    ds: xr.Dataset, tmp_path: Path, options: dict[str, object]
) -> None:
    path = tmp_path / "a.stvc"
    stvc.encode(ds.isel(time=[0]), path, **options)
    with stvc.open(path) as archive:
        settings = archive.info()["settings"]
    for k in range(1, 4):
        stvc.append(ds.isel(time=slice(0, k + 1)), path)
    with stvc.open(path) as archive:
        assert archive.info()["settings"] == settings
        decoded = archive.to_xarray()
    bound = {"lossless": 0, "max_error": 30}.get(next(iter(options), ""), 400)
    for band in ("B02", "B08", "B11"):
        miss = np.abs(decoded[band].values.astype(int) - ds[band].values[:4])
        required = np.ones_like(miss, bool) if bound == 0 else ~scenes.hidden_on(ds, band)[:4]
        assert miss[required].max() <= bound


def test_dates_may_come_in_any_order(ds: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "a.stvc"
    stvc.encode(ds.isel(time=[4, 6]), path, quality=50)
    for chosen in ([8], [1, 5], [0, 2, 3, 7]):
        stvc.append(ds.isel(time=chosen), path)
    decoded = decode(path)
    np.testing.assert_array_equal(decoded.time.values, ds.time.values)
    np.testing.assert_array_equal(decoded["mask"].values, ds["mask"].values)
    clear = ~scenes.hidden_on(ds, "B02")
    miss = decoded["B02"].values.astype(float) - ds["B02"].values
    assert np.sqrt((miss[clear] ** 2).mean()) < 40
    assert list(decoded["product_id"].values) == list(ds["product_id"].values)
    one = decode(path, time=str(ds.time.values[5])[:10])
    np.testing.assert_array_equal(one["B02"].values, decoded["B02"].values[5:6])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.drop_vars("B08"), "bands"),
        (lambda d: d.drop_vars("mask"), "mask kind"),
        (lambda d: d.isel(y=slice(0, 38), y20=slice(0, 19)), "another grid"),
        (lambda d: d.assign_coords(x=d.x + 10, x20=d.x20 + 10), "another grid"),
    ],
)
def test_another_place_cannot_be_appended(
    ds: xr.Dataset, whole: Path, change: object, words: str
) -> None:
    before = whole.read_bytes()
    other = change(ds.assign_coords(time=ds.time + np.timedelta64(400, "D")))
    with pytest.raises(CorruptInputError, match=words):
        stvc.append(other, whole)
    assert whole.read_bytes() == before


@pytest.mark.parametrize(
    ("time", "rows"),
    [
        ("2021-03-14", [2]),
        ("2021-03", [0, 1, 2, 3, 4, 5]),
        ("2021", list(range(9))),
        (np.datetime64("2021-03-14T10:40:21"), [2]),
        (slice("2021-03-20", "2021-04-03"), [4, 5, 6]),
        (slice(None, "2021-03-09"), [0, 1]),
        (slice("2021-04-08", None), [7, 8]),
        (["2021-04-08", "2021-03-04"], [0, 7]),
    ],
)
def test_dates_can_be_chosen(whole: Path, time: object, rows: list[int]) -> None:
    xr.testing.assert_identical(decode(whole, time=time), decode(whole).isel(time=rows))


def test_bands_can_be_chosen(whole: Path) -> None:
    full = decode(whole)
    for bands in (["B08"], ["B11"], ["B11", "B02"]):
        part = decode(whole, bands=bands)
        assert scenes.bands_of(part) == [b for b in GROUPS[""] + GROUPS["20"] if b in bands]
        for band in bands:
            np.testing.assert_array_equal(part[band].values, full[band].values)
        np.testing.assert_array_equal(part["mask"].values, full["mask"].values)


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ({"bands": ["B99"]}, "no band B99"),
        ({"bands": []}, "no band"),
        ({"time": "1999"}, "no date of .* matches '1999'"),
        ({"time": "soon"}, "'soon' is not a date"),
    ],
)
def test_what_is_not_there_is_named(whole: Path, selection: dict[str, object], words: str) -> None:
    with pytest.raises(CorruptInputError, match=words):
        decode(whole, **selection)


def links_and_dates(path: Path) -> tuple[tuple[Link, ...], list[str]]:
    """Links of the frames of an archive in its own order, and their days."""
    with ArchiveReader.open(path) as reader:
        links = links_of(reader.frames, open_place(reader).place)
        return links, [str(np.datetime64(f.time, "s"))[:10] for f in reader.frames]


def test_random_access_in_a_series_coded_coarse_to_fine(ds: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "a.stvc"
    stvc.encode(ds, path, quality=42)
    links, _ = links_and_dates(path)
    assert any(link.after >= 0 for link in links)
    full = decode(path)
    for rows in ([7], [3], [8, 2], [5, 6]):
        days = [str(t)[:10] for t in ds.time.values[rows]]
        xr.testing.assert_identical(decode(path, time=days), full.isel(time=sorted(rows)))
    stvc.append(ds.assign_coords(time=ds.time + np.timedelta64(400, "D")).isel(time=[0]), path)
    xr.testing.assert_identical(decode(path).isel(time=slice(0, 9)), full)


@pytest.mark.parametrize(
    ("kind", "date", "group", "lost"),
    [
        (Kind.PIXELS, 3, 0, ("B02", "B08")),
        (Kind.PIXELS, 3, 1, ("B11",)),
        (Kind.MASK, 4, 0, ("B02", "B08", "B11")),
        (Kind.MASK, 6, 1, ("B02", "B08")),
    ],
)
def test_damage_is_named_and_contained(
    whole: Path, tmp_path: Path, kind: Kind, date: int, group: int, lost: tuple[str, ...]
) -> None:
    full = decode(whole)
    links, dates = links_and_dates(whole)
    key = UnitKey(kind, dates.index(str(full.time.values[date])[:10]), group, 0)
    path = damage(whole, key, tmp_path / "broken.stvc")
    name = f"frame {key.frame} ({dates[key.frame]}"
    with pytest.raises(CorruptError) as caught:
        decode(path)
    assert name in str(caught.value)
    assert f"group {key.group}, tile {key.tile} of {path}" in str(caught.value)
    with stvc.open(path, on_error="skip") as archive:
        decoded = archive.to_xarray()
        assert archive.damaged
        assert name in archive.damaged[0]
        assert len(archive.damaged) == len(set(archive.damaged))
        report = archive.verify()
    assert not report.ok
    assert any(name in error for error in report.errors)
    hit = {dates[k] for k in range(9) if key.frame in closure(k, links)}
    assert hit
    assert len(hit) < 9
    for band in ("B02", "B08", "B11"):
        for k, day in enumerate(full.time.values.astype("datetime64[D]").astype(str)):
            if band in lost and day in hit:
                assert (decoded[band].values[k] == 0).all()
            else:
                np.testing.assert_array_equal(decoded[band].values[k], full[band].values[k])


def test_a_damaged_background_is_named(ds: xr.Dataset, tmp_path: Path) -> None:
    stvc.encode(ds, tmp_path / "a.stvc", reference="background")
    path = damage(tmp_path / "a.stvc", UnitKey(Kind.BACKGROUND, 0, 0, 0), tmp_path / "broken.stvc")
    with pytest.raises(CorruptError, match="background version 0"):
        decode(path)
    with stvc.open(path) as archive:
        assert archive.info()["frames"] == 9
        assert any("background version 0" in error for error in archive.verify().errors)


def test_a_background_is_reused_from_the_cache(ds: xr.Dataset, tmp_path: Path) -> None:
    for name, dates in (("a", slice(0, 8)), ("b", slice(1, 9)), ("c", slice(1, 9))):
        cache = None if name == "c" else tmp_path / "cache"
        path = tmp_path / f"{name}.stvc"
        stvc.encode(ds.isel(time=dates), path, reference="both", cache_dir=cache)
    key = UnitKey(Kind.BACKGROUND, 0, 0, 0)
    a, b, c = (payloads(tmp_path / f"{name}.stvc")[key] for name in "abc")
    assert a == b != c
    with stvc.open(tmp_path / "b.stvc") as archive:
        assert archive.verify().ok
