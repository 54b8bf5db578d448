"""The archive container: round trips, appends, and what readers of an older version keep."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
from archive_samples import HEADER, contents, sample_frames, sample_units, write_sample

from stvc.archive import ArchiveReader, write_archive


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 11)
    with ArchiveReader.open(path) as reader:
        assert reader.header == HEADER
        assert reader.frames == tuple(sample_frames(0, 11))
        assert contents(reader) == {key: payload for key, payload, _ in sample_units(0, 11)}
        assert [info.stats for info in reader.units.values()] == [
            stats for *_, stats in sample_units(0, 11)
        ]
        assert list(reader.units) == [key for key, *_ in sample_units(0, 11)]
        assert reader.overhead_bytes + reader.payload_bytes == path.stat().st_size == reader.size
        assert reader.wrapper_intact and reader.missing_bytes == 0


@pytest.mark.parametrize("frames", [0, 1])
def test_archive_without_payload(tmp_path: Path, frames: int) -> None:
    path = tmp_path / "empty.stvc"
    write_archive(path, {}, sample_frames(0, frames), [])
    with ArchiveReader.open(path) as reader:
        assert reader.header == {} and reader.units == {} and len(reader.frames) == frames
    with h5py.File(path) as file:
        assert file["archive"].shape == (path.stat().st_size - 268,)


def test_append_equals_writing_at_once(tmp_path: Path) -> None:
    whole, grown = tmp_path / "whole.stvc", tmp_path / "grown.stvc"
    write_sample(whole, 0, 9)
    for first, last in ((0, 2), (2, 3), (3, 9)):
        write_sample(grown, first, last)
    assert grown.read_bytes() == whole.read_bytes()


def test_append_keeps_old_payload_bytes(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 5)
    with ArchiveReader.open(path) as reader:
        before = path.read_bytes()[reader.locator.payload_offset :]
        old = dict(reader.units)
    write_sample(path, 5, 8)
    with ArchiveReader.open(path) as reader:
        after = path.read_bytes()[reader.locator.payload_offset :]
        assert after[: len(before)] == before
        assert {key: reader.units[key] for key in old} == old
        assert reader.frames == tuple(sample_frames(0, 8))


def test_open_reader_survives_an_append(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 5)
    with ArchiveReader.open(path) as reader:
        write_sample(path, 5, 8)
        assert contents(reader) == {key: payload for key, payload, _ in sample_units(0, 5)}


def test_writing_is_deterministic(tmp_path: Path) -> None:
    for name in ("a.stvc", "b.stvc"):
        write_sample(tmp_path / name, 0, 4)
    assert (tmp_path / "a.stvc").read_bytes() == (tmp_path / "b.stvc").read_bytes()
