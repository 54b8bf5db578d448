"""One writer at a time: between processes, between threads, and for a base gone stale."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from archive_samples import HEADER, sample_frames, sample_units, write_sample

from stvc.archive import ArchiveReader, lock, write_archive
from stvc.errors import LockedError


def test_second_process_is_locked_out(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    script = f"""
import sys
from stvc.archive import lock
with lock({str(path)!r}):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        start = time.monotonic()
        with pytest.raises(LockedError, match="fields.stvc"), lock(path, 0.2):
            pass
        with pytest.raises(LockedError):
            write_archive(path, {}, [], [], timeout=0)
        assert time.monotonic() - start < 5
        holder.kill()
    write_archive(path, {}, [], [], timeout=1)


def test_lock_holds_between_threads_and_nests_within_one(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    outcome: list[str] = []

    def attempt() -> None:
        try:
            with lock(path, 0.1):
                outcome.append("taken")
        except LockedError:
            outcome.append("locked")

    with lock(path):
        with lock(path, 0):
            write_sample(path, 0, 1)
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert outcome == ["locked"]
    attempt()
    assert outcome == ["locked", "taken"]


def test_stale_base_is_refused(tmp_path: Path) -> None:
    """Without the caller holding the lock, a lost update is refused, not performed."""
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 2)
    with ArchiveReader.open(path) as base:
        write_sample(path, 2, 3)
        after = path.read_bytes()
        with pytest.raises(LockedError, match="replaced by another process"):
            write_archive(path, HEADER, sample_frames(2, 3), sample_units(2, 3), base=base)
    assert path.read_bytes() == after
