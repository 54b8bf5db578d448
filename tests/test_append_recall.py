"""Appending date by date: what the process knows already, and what nobody needs, is not decoded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr

import stvc
from stvc import _recall, _walk, archiving
from stvc.archive import ArchiveReader
from stvc.codec.frame_stats import links_of
from stvc.errors import RadiometryError
from stvc.header import open_place

DATES = 6
OVERCAST = 3


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    _recall._entries.clear()
    yield
    _recall._entries.clear()


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    made = scenes.dataset(DATES, (16, 16), groups={"": ("B04", "B08"), "20": ("B11",)}, mask="SCL")
    made["SCL"][OVERCAST] = 9
    return made


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Frames that are decoded on the way to new ones, and in how many groups."""
    found: list[tuple[int, int]] = []
    original = _walk.decode_frames

    def watched(reader: Any, place: Any, *rest: Any, **more: Any) -> Any:
        for frame in original(reader, place, *rest, **more):
            found.append((frame.index, sum(image.size > 0 for image in frame.pixels)))
            yield frame

    monkeypatch.setattr(_walk, "decode_frames", watched)
    return found


def one_by_one(ds: xr.Dataset, path: Path, *, forget: bool, **target: Any) -> bytes:
    stvc.encode(ds.isel(time=[0]), path, **target)
    stvc.append(ds.isel(time=[1]), path)
    for row in (2, 3, 5, 4):  # the last one is late
        if forget:
            _recall._entries.clear()
        stvc.append(ds.isel(time=[row]), path)
    return path.read_bytes()


@pytest.mark.parametrize("target", [{"quality": 30}, {"max_error": 9}, {"lossless": True}])
def test_the_bytes_do_not_depend_on_what_is_known(
    tmp_path: Path, ds: xr.Dataset, decoded: list[Any], target: dict[str, Any]
) -> None:
    known = one_by_one(ds, tmp_path / "known.stvc", forget=False, **target)
    assert {frame for frame, _ in decoded} == {0}, "only what another call encoded"
    decoded.clear()
    assert one_by_one(ds, tmp_path / "new.stvc", forget=True, **target) == known
    assert {frame for frame, _ in decoded} >= {0, 1, 2}


@pytest.mark.parametrize("clouds", ["drop", "coarse", "keep"])
def test_an_overcast_date_decodes_masks_alone_and_gives_the_same_bytes(
    tmp_path: Path,
    ds: xr.Dataset,
    decoded: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
    clouds: str,
) -> None:
    stvc.encode(ds.isel(time=slice(0, OVERCAST)), tmp_path / "a.stvc", clouds=clouds)
    (tmp_path / "b.stvc").write_bytes((tmp_path / "a.stvc").read_bytes())
    _recall._entries.clear()
    stvc.append(ds.isel(time=[OVERCAST]), tmp_path / "a.stvc")
    assert {groups for _, groups in decoded} == {0 if clouds == "drop" else 2}
    if clouds == "drop":
        assert not _recall._entries, "it knows too little to be of use"
    _recall._entries.clear()
    monkeypatch.setattr(archiving, "_codes_no_pixel", lambda settings, unclear: False)
    stvc.append(ds.isel(time=[OVERCAST]), tmp_path / "b.stvc")
    assert (tmp_path / "a.stvc").read_bytes() == (tmp_path / "b.stvc").read_bytes()


def test_the_guard_sees_what_is_recalled(tmp_path: Path, ds: xr.Dataset) -> None:
    lifted = ds.isel(time=[2]).copy()
    for band in scenes.bands_of(ds):
        lifted[band] = lifted[band] + np.uint16(1000)
    for forget in (False, True):
        path = tmp_path / f"{forget}.stvc"
        stvc.encode(ds.isel(time=[0]), path)
        stvc.append(ds.isel(time=[1]), path)
        if forget:
            _recall._entries.clear()
        with pytest.raises(RadiometryError, match=r"\+1000 DN"):
            stvc.append(lifted, path)


def test_another_archive_is_not_mistaken(tmp_path: Path, ds: xr.Dataset) -> None:
    keys = set()
    for number, target in enumerate(({"quality": 30}, {"quality": 31}, {"max_error": 9})):
        path = tmp_path / f"{number}.stvc"
        stvc.encode(ds.isel(time=slice(0, 3)), path, **target)
        with ArchiveReader.open(path) as reader:
            links = links_of(reader.frames, open_place(reader).place)
            keys |= {_recall.key_of(reader, frame, links) for frame in range(3)}
    assert len(keys) == 9


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ds: xr.Dataset) -> None:
    stvc.encode(ds.isel(time=[0]), tmp_path / "a.stvc")
    stvc.append(ds.isel(time=[1]), tmp_path / "a.stvc")
    ((walked, size),) = _recall._entries.values()
    monkeypatch.setattr(_recall, "MAX_BYTES", 4 * size)
    for number in range(9):
        _recall.keep(str(number), walked)
    assert list(_recall._entries) == ["5", "6", "7", "8"]
    assert _recall.recall("5") is walked and _recall.recall("4") is None
    _recall.keep("new", walked)
    assert "5" in _recall._entries and "6" not in _recall._entries
    monkeypatch.setattr(_recall, "MAX_BYTES", size - 1)
    _recall.keep("too large", walked)
    assert "too large" not in _recall._entries
