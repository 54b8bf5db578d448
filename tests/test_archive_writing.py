"""Writing an archive: refused or failing, it leaves the old file; it streams, and tidies up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from archive_samples import HEADER, sample_frames, sample_units, write_sample

from stvc.archive import ArchiveReader, Kind, UnitKey, write_archive
from stvc.archive.locking import lock_path, temporary_path


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([(UnitKey(Kind.MASK, 0, 0, 0), b"a", (0, 0, 0))] * 2, "written once"),
        ([(UnitKey(Kind.MASK, 1, 0, 0), b"a", (0, 0, 0))], "names frame 1"),
        ([(UnitKey(Kind.PIXELS, 0, -1, 0), b"a", (0, 0, 0))], "nothing negative"),
        ([(UnitKey(Kind.PIXELS, 0, 0, 0), b"a", (0, -1, 0))], "nothing negative"),
        ([(UnitKey(Kind.PIXELS, 0, 0, 0), b"a", (0, 0))], "three stats"),
    ],
)
def test_impossible_units_are_refused(tmp_path: Path, units: list, message: str) -> None:
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 1)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        write_archive(path, {}, sample_frames(0, 1), units)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_failing_unit_source_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 2)
    before = path.read_bytes()

    def broken():
        yield UnitKey(Kind.MASK, 2, 0, 0), b"abc", (0, 0, 0)
        raise RuntimeError("the network fell over")

    with ArchiveReader.open(path) as base, pytest.raises(RuntimeError):
        write_archive(path, HEADER, sample_frames(2, 3), broken(), base=base)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 2)
    before = path.read_bytes()
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    import builtins

    real = builtins.open
    monkeypatch.setattr(
        "stvc.archive.writer.open",
        lambda name, mode: real(full, "wb") if "tmp" in str(name.name) else real(name, mode),
        raising=False,
    )
    with ArchiveReader.open(path) as base, pytest.raises(OSError, match="No space left"):
        write_archive(path, HEADER, sample_frames(2, 3), sample_units(2, 3), base=base)
    assert path.read_bytes() == before


def test_payload_is_streamed(tmp_path: Path) -> None:
    """Base and new payloads of 64 MB each pass through a process that may grow by 40 MB only."""
    script = f"""
import resource, sys
from pathlib import Path
from stvc.archive import *
path = Path({str(tmp_path / "big.stvc")!r})
def units(frame):
    for tile in range(64):
        yield UnitKey(Kind.PIXELS, frame, 0, tile), bytes([tile]) * 2**20, (0, 0, 0)
write_archive(path, {{}}, [FrameRecord(0)], [])
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for frame in (0, 1):
    with ArchiveReader.open(path) as base:
        write_archive(path, {{}}, [FrameRecord(frame + 1)], units(frame), base=base)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) < 40
    assert (tmp_path / "big.stvc").stat().st_size > 128 * 2**20


def test_permissions_and_links_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "real" / "fields.stvc"
    path.parent.mkdir()
    link = tmp_path / "link.stvc"
    link.symlink_to(path)
    write_sample(link, 0, 2)
    assert link.is_symlink() and path.is_file()
    path.chmod(0o640)
    write_sample(link, 2, 3)
    assert link.is_symlink() and path.stat().st_mode & 0o777 == 0o640


def test_leftovers_of_this_archive_only_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.stvc"
    mine = temporary_path(path)
    others = [
        temporary_path(tmp_path / "b.stvc"),
        temporary_path(tmp_path / "a.stvc.stvc"),
        tmp_path / ".a.stvc.notes.stvc-tmp",
        tmp_path / "a.stvc.0123456789abcdef.stvc-tmp",
    ]
    for file in (mine, *others):
        file.write_bytes(b"left behind")
    write_sample(path, 0, 1)
    assert not mine.exists()
    assert all(other.exists() for other in others)


def test_missing_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ArchiveReader.open(tmp_path / "none.stvc")
    with pytest.raises(FileNotFoundError, match="create it first"):
        write_archive(tmp_path / "none" / "x.stvc", {}, [], [])
    assert lock_path(tmp_path / "x.stvc").name == "x.stvc.lock"


def test_header_must_be_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_archive(tmp_path / "x.stvc", {"a": float("nan")}, [], [])
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.stvc.lock"]
