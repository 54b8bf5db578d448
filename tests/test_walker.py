"""Decoding tells how far it is, and refuses what cannot fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import scenes

import stvc
from stvc import walker
from stvc.errors import TooLargeError


def test_progress_counts_the_frames_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "a.stvc"
    ds = scenes.field_of(20)
    stvc.encode(ds, path)
    told: list[tuple[int, int, str]] = []
    with stvc.open(path) as archive:
        plain = archive.to_xarray()
        watched = archive.to_xarray(progress=lambda *step: told.append(step))
        assert watched.identical(plain)
        assert told == [(k, 20, "decoding") for k in range(21)]
        told.clear()
        archive.to_xarray(time=ds.time.values[18:19], progress=lambda *step: told.append(step))
    # Whatever the date hangs on is counted, and nothing else.
    way = told[0][1]
    assert 1 <= way < 20
    assert told == [(k, way, "decoding") for k in range(way + 1)]


def test_what_cannot_fit_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert 1 << 24 < walker.memory_size() < 1 << 50
    walker.check_fits(walker.memory_size(), "all of it")
    with pytest.raises(TooLargeError, match=r"decoding takes 1e\+03 GB, this machine"):
        walker.check_fits(10**12, "decoding")
    group = tmp_path / "memory.max"
    group.write_text("1000000\n")
    monkeypatch.setattr(walker, "_CGROUP_LIMITS", (str(tmp_path / "none"), str(group)))
    assert walker.memory_size() == 1_000_000
    group.write_text("max\n")
    assert walker.memory_size() > 1 << 24
