"""The background cache: content addressed, damage never gets through, several writers."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from stvc.background import BackgroundCache, default_cache_dir
from stvc.errors import BackgroundError

PAYLOAD = bytes(range(256)) * 20


def entry_path(cache: BackgroundCache, content_hash: str) -> Path:
    return cache.root / f"{content_hash}.h5"


@pytest.fixture
def cache(tmp_path: Path) -> BackgroundCache:
    return BackgroundCache(tmp_path / "deep" / "cache")


@pytest.mark.parametrize("payload", [b"", b"x", PAYLOAD])
def test_store_and_load(cache: BackgroundCache, payload: bytes) -> None:
    meta = {"version": 3, "dates": ["2018-05-07"], "name": "Žďár", "large": "x" * 100_000}
    content_hash = cache.store("place A", payload, meta)
    assert content_hash == hashlib.sha256(payload).hexdigest()
    assert cache.load(content_hash) == (payload, meta)
    assert [path.suffix for path in sorted(cache.root.iterdir())].count(".h5") == 1


def test_entry_is_plain_hdf5(cache: BackgroundCache) -> None:
    content_hash = cache.store("place A", PAYLOAD, {"a": 1})
    with h5py.File(entry_path(cache, content_hash), "r", locking=False) as file:
        assert file["payload"][()].tobytes() == PAYLOAD
        assert file.attrs["place_key"] == "place A"


def test_find_returns_the_newest_of_its_place(cache: BackgroundCache) -> None:
    first = cache.store("place A", b"old", {})
    other = cache.store("place B", b"other", {})
    second = cache.store("place A", b"new", {})
    assert cache.find("place A") == second != first
    assert cache.find("place B") == other
    assert cache.find("place C") is None
    assert cache.store("place A", b"old", {}) == first
    assert cache.find("place A") == first


def test_places_may_share_a_payload(cache: BackgroundCache) -> None:
    assert cache.store("place A", PAYLOAD, {}) == cache.store("place B", PAYLOAD, {})
    assert cache.find("place A") == cache.find("place B")
    assert len(cache.list()) == 1


def test_list(cache: BackgroundCache) -> None:
    assert cache.list() == []
    hashes = [cache.store("place A", bytes([k]), {"k": k}) for k in range(3)]
    entries = cache.list()
    assert [entry.content_hash for entry in entries] == hashes
    assert [entry.meta for entry in entries] == [{"k": k} for k in range(3)]
    for entry in entries:
        assert entry.place_key == "place A"
        assert abs(entry.created - time.time()) < 60
        assert entry.size == entry_path(cache, entry.content_hash).stat().st_size


def test_missing_and_malformed_hashes(cache: BackgroundCache) -> None:
    assert cache.load("0" * 64) is None
    secret = cache.root.parent / "secret.h5"
    secret.parent.mkdir(parents=True)
    secret.write_bytes(b"mine")
    for name in ("", "../secret", "0" * 63, "A" * 64, "0" * 64 + "\n"):
        assert cache.load(name) is None
    assert secret.read_bytes() == b"mine"


def test_any_damaged_byte_is_found_and_the_entry_removed(
    cache: BackgroundCache, caplog: pytest.LogCaptureFixture
) -> None:
    content_hash = cache.store("place A", b"payload" * 9, {})
    path = entry_path(cache, content_hash)
    block = path.read_bytes()
    for position in range(0, len(block), 7):
        damaged = bytearray(block)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        assert cache.list() == []
        with caplog.at_level(logging.WARNING):
            assert cache.load(content_hash) is None
        assert "is damaged" in caplog.text and not path.exists()
        caplog.clear()
    assert cache.find("place A") is None


def test_cut_entries_and_pointers(cache: BackgroundCache) -> None:
    content_hash = cache.store("place A", PAYLOAD, {})
    path = entry_path(cache, content_hash)
    block = path.read_bytes()
    for size in (0, 1, 31, 32, 33, 500, len(block) - 1):
        path.write_bytes(block[:size])
        assert cache.load(content_hash) is None
    assert cache.store("place A", PAYLOAD, {}) == content_hash
    (pointer,) = cache.root.glob("*.place")
    for content in (b"", b"{}", b"[1]", b"\xff", b'{"place_key":"place B","content_hash":"0"}'):
        pointer.write_bytes(content)
        assert cache.find("place A") is None


def test_entry_under_a_wrong_name_is_refused(cache: BackgroundCache) -> None:
    content_hash = cache.store("place A", PAYLOAD, {})
    wrong = "0" * 64
    entry_path(cache, content_hash).rename(entry_path(cache, wrong))
    assert cache.list() == []
    assert cache.load(wrong) is None


def test_storing_repairs_a_damaged_entry(cache: BackgroundCache) -> None:
    content_hash = cache.store("place A", PAYLOAD, {"a": 1})
    entry_path(cache, content_hash).write_bytes(b"damaged")
    cache.store("place A", PAYLOAD, {"a": 1})
    assert cache.load(content_hash) == (PAYLOAD, {"a": 1})


def test_entries_are_immutable(cache: BackgroundCache) -> None:
    content_hash = cache.store("place A", PAYLOAD, {"a": 1})
    before = entry_path(cache, content_hash).read_bytes()
    cache.store("place A", PAYLOAD, {"a": 2})
    assert entry_path(cache, content_hash).read_bytes() == before


def test_unusable_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    cache = BackgroundCache(tmp_path / "file" / "cache")
    with pytest.raises(BackgroundError, match="cannot store background .* go on without"):
        cache.store("place A", PAYLOAD, {})
    assert cache.find("place A") is None and cache.list() == []


def test_full_disk_leaves_no_leftovers(
    cache: BackgroundCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BackgroundError, match="No space left"):
        cache.store("place A", PAYLOAD, {})
    assert list(cache.root.iterdir()) == []


def test_old_leftovers_are_removed_and_fresh_ones_kept(cache: BackgroundCache) -> None:
    cache.root.mkdir(parents=True)
    old, fresh = cache.root / ".a.h5.0.tmp", cache.root / ".b.h5.1.tmp"
    for path in (old, fresh):
        path.write_bytes(b"left behind")
    os.utime(old, (time.time() - 7200,) * 2)
    cache.store("place A", PAYLOAD, {})
    assert not old.exists() and fresh.exists()


def test_concurrent_writers(cache: BackgroundCache) -> None:
    script = f"""
import sys
from pathlib import Path
from stvc.background import BackgroundCache
cache = BackgroundCache(Path({str(cache.root)!r}))
for k in range(10):
    content_hash = cache.store("place A", bytes([k]) * 5000, {{"k": k}})
    assert cache.load(content_hash) == (bytes([k]) * 5000, {{"k": k}})
    assert cache.find("place A") is not None
"""
    writers = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(cache.list()) == 10
    assert not list(cache.root.glob(".*"))


def test_default_directory() -> None:
    assert default_cache_dir().name == "backgrounds"
    assert "stvc" in str(default_cache_dir())
    assert BackgroundCache().root == default_cache_dir()
