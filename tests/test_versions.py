"""Late and reprocessed products: which version of an acquisition an archive takes and shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr

import stvc
from stvc import cli
from stvc.archive import ArchiveReader, FrameRecord, write_archive
from stvc.errors import CorruptError, QualityError
from stvc.versions import SUPERSEDES_KEY, plan_append, superseded, version_of

OLD = "S2A_MSIL2A_20210304T104021_N0214_R008_T31UFT_20210304T120000"
NEW = "S2A_MSIL2A_20210304T104021_N0500_R008_T31UFT_20230304T120000"
HALF = "S2A_MSIL2A_20210304T104021_N0500_R008_T31UFT_20230304T130000"
NEXT_TILE = "S2A_MSIL2A_20210304T104021_N0500_R008_T31UGT_20230304T120000"
OTHER_DAY = "S2A_MSIL2A_20210309T104021_N0500_R008_T31UFT_20230304T120000"


def record(time: int, **provenance: Any) -> FrameRecord:
    return FrameRecord(time, provenance)


def planned(records: list[FrameRecord], time: int, **provenance: Any) -> tuple[int, ...] | None:
    return plan_append(records, [version_of(time, provenance)])[0]


@pytest.mark.parametrize(
    ("held", "new", "expected"),
    [
        ({}, {}, None),  # nobody knows more than the second
        ({"product_id": OLD}, {"product_id": OLD}, None),
        ({"product_id": OLD}, {"product_id": NEW}, (0,)),
        ({"product_id": NEW}, {"product_id": OLD}, None),  # older baseline
        ({"product_id": "a"}, {"product_id": "b"}, (0,)),
        ({"product_id": "a"}, {}, None),
        ({}, {"product_id": "a"}, None),
        ({"product_id": "a", "baseline": "05.09"}, {"product_id": "a", "baseline": "05.10"}, (0,)),
        ({"product_id": "a", "baseline": "05.10"}, {"product_id": "b", "baseline": "05.09"}, None),
        ({"product_id": "a", "baseline": 5.09}, {"product_id": "a", "baseline": "N0509"}, None),
        ({"baseline": "04.00"}, {"baseline": "05.00"}, (0,)),
        # a tile that was published later completes the frame; one that is gone does not undo it
        ({"product_id": NEW}, {"product_id": f"{NEW},{NEXT_TILE}"}, (0,)),
        ({"product_id": f"{NEW},{NEXT_TILE}"}, {"product_id": NEW}, None),
        ({"product_id": f"{NEXT_TILE};{NEW}"}, {"product_id": [NEW, NEXT_TILE]}, None),
        ({"product_id": 7}, {"product_id": True}, None),
    ],
)
def test_at_the_same_second(held: Any, new: Any, expected: Any) -> None:
    assert planned([record(100, **held)], 100, **new) == expected


@pytest.mark.parametrize(
    ("held", "new", "expected"),
    [
        (OLD, NEW, (0,)),
        (NEW, OLD, None),
        (NEW, HALF, ()),  # the other half of the recording stands beside it
        (NEW, f"{NEW},{HALF}", (0,)),
        (NEW, NEXT_TILE, ()),
        (OLD, OTHER_DAY, ()),
        ("a", "b", ()),
    ],
)
def test_at_another_second_it_takes_the_same_acquisition(
    held: str, new: str, expected: Any
) -> None:
    assert planned([record(100, product_id=held)], 107, product_id=new) == expected


def test_what_was_superseded_does_not_come_back() -> None:
    records = [record(100, product_id="a"), record(100, product_id="b", **{SUPERSEDES_KEY: [0]})]
    assert superseded(records) == {0: 1}
    assert planned(records, 100, product_id="a") is None
    assert planned(records, 100, product_id="b") is None
    assert planned(records, 100, product_id="c") == (1,)


def test_candidates_count_each_other() -> None:
    versions = [
        version_of(t, {"product_id": p}) for t, p in [(9, "a"), (9, "b"), (9, "a"), (5, "c")]
    ]
    assert plan_append([record(1), record(9, product_id="z")], versions) == [(1,), (2,), None, ()]


@pytest.mark.parametrize("links", [[1], [2], [-1], [True], "0", 0, [0.0], [[0]]])
def test_impossible_links_are_damage(links: Any) -> None:
    with pytest.raises(CorruptError, match="frame 1 supersedes"):
        superseded([record(1), record(2, **{SUPERSEDES_KEY: links})])


@pytest.fixture
def reprocessed(tmp_path: Path) -> tuple[Path, xr.Dataset, xr.Dataset]:
    """An archive of dates 1, 2, 4; then 0 and 3 arrive late, and a new version of 2."""
    ds = scenes.dataset(6, (24, 24), mask="SCL", crs=True, cloudy=(1,))
    ds["product_id"] = ("time", [f"p{k}" for k in range(6)])
    ds["baseline"] = ("time", ["04.00"] * 6)
    path = tmp_path / "a.stvc"
    stvc.encode(ds.isel(time=[1, 2, 4]), path, quality=60)
    stvc.append(ds.isel(time=[0, 3]), path)
    newer = ds.isel(time=[2]).copy(deep=True)
    newer["B04"] += 200
    newer["product_id"] = ("time", ["p2-again"])
    newer["baseline"] = ("time", ["05.00"])
    report = stvc.append(newer, path)
    assert (report.frames_added, report.frames_superseded, report.frames_total) == (1, 1, 5)
    return path, ds, newer


def test_views_show_the_newest_version_in_order_of_time(reprocessed: Any) -> None:
    path, ds, newer = reprocessed
    with stvc.open(path) as archive:
        seen = archive.to_xarray()
        assert archive.verify().ok
        np.testing.assert_array_equal(archive.times, ds.time.values[:5].astype("M8[s]"))
        one = archive.to_xarray(time=str(ds.time.values[2])[:10])
        np.testing.assert_array_equal(one["B04"].values, seen["B04"].values[2:3])
    assert list(seen["product_id"].values) == ["p0", "p1", "p2-again", "p3", "p4"]
    assert list(seen["baseline"].values) == ["04.00"] * 2 + ["05.00"] + ["04.00"] * 2
    assert not [name for name in seen.variables if str(name).startswith("_")]
    for row, original in [(0, ds.isel(time=0)), (2, newer.isel(time=0)), (3, ds.isel(time=3))]:
        miss = seen["B04"].values[row].astype(int) - original["B04"].values
        assert np.abs(miss).mean() < 30


def test_all_versions_can_be_asked_for(reprocessed: Any) -> None:
    path, ds, _ = reprocessed
    with stvc.open(path) as archive:
        every = archive.to_xarray(versions="all")
        with pytest.raises(QualityError, match="versions='newest'"):
            archive.to_xarray(versions="newest")
    assert list(every["product_id"].values) == ["p0", "p1", "p2", "p2-again", "p3", "p4"]
    assert list(every["superseded"].values) == [False, False, True, False, False, False]
    old = every["B04"].values[2].astype(int)
    assert np.abs(old - ds["B04"].values[2]).mean() < 30


def test_appending_again_changes_nothing(reprocessed: Any) -> None:
    path, ds, newer = reprocessed
    before = path.read_bytes()
    assert stvc.append(newer, path).frames_added == 0
    assert stvc.append(ds.isel(time=slice(0, 5)), path).frames_added == 0
    assert path.read_bytes() == before


def test_info_counts_the_shown_and_names_the_superseded(
    reprocessed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path, ds, _ = reprocessed
    with stvc.open(path) as archive:
        info = archive.info()
    assert info["frames"] == len(info["dates"]) == 5
    assert [d["time"][:10] for d in info["dates"]] == [str(t)[:10] for t in ds.time.values[:5]]
    (old,) = info["superseded"]
    assert (old["product_id"], old["baseline"]) == ("p2", "04.00")
    assert old["superseded_by"]["product_id"] == "p2-again"
    assert info["raw_bytes"] == 6 * 4 * 24 * 24 * 2
    assert cli.run(["info", str(path), "-v"]) == 0
    out = capsys.readouterr().out
    assert "superseded: 2021-03-14T10:40:21 p2 04.00" in out
    assert "by 2021-03-14T10:40:21 p2-again 05.00" in out


def test_a_dataset_cannot_claim_links(tmp_path: Path) -> None:
    ds = scenes.field_of(3)
    ds[SUPERSEDES_KEY] = ("time", np.array([0, 0, 1]))
    stvc.encode(ds, tmp_path / "a.stvc")
    with stvc.open(tmp_path / "a.stvc") as archive:
        assert len(archive.times) == 3


def test_damaged_links_are_named_when_an_archive_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.stvc"
    stvc.encode(scenes.field_of(2), path)
    with ArchiveReader.open(path) as reader:
        frames = [FrameRecord(f.time, {SUPERSEDES_KEY: [5]}, f.stats) for f in reader.frames]
        units = [(key, reader.read(key), info.stats) for key, info in reader.units.items()]
        header = reader.header
    write_archive(path, header, frames, units)
    with stvc.open(path) as archive:
        for read in (archive.to_xarray, archive.info, lambda: archive.times):
            with pytest.raises(CorruptError, match="supersedes"):
                read()
