"""The archive container: round trips, layout, size, append, locking, range reads."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import google_crc32c
import h5py
import numpy as np
import pytest
from archive_samples import HEADER, contents, sample_frames, sample_units, write_sample
from hypothesis import given, settings
from hypothesis import strategies as st

from stvc.archive import ArchiveReader, FrameRecord, Kind, UnitKey, hdf5, lock, write_archive
from stvc.archive.columns import Cursor, decode_column, encode_column, write_varint
from stvc.archive.index import pack_index, unpack_index
from stvc.archive.keys import UnitInfo, date_text
from stvc.archive.layout import HEAD_SIZE, LOCATOR_OFFSET, MAGIC, Locator, build_head, parse_head
from stvc.archive.locking import lock_path, temporary_path
from stvc.errors import LockedError


class CountingStream(io.BytesIO):
    """A file object that counts its range reads, as a remote one would be billed."""

    requests = 0
    fetched = 0

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        self.requests += 1
        self.fetched += len(block)
        return block


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
        assert file["payload"].shape == (0,)


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


def test_overhead_of_a_small_series_is_under_two_percent(tmp_path: Path) -> None:
    path = tmp_path / "small.stvc"
    rng = np.random.default_rng(1)
    units = []
    for frame in range(118):
        units.append((UnitKey(Kind.MASK, frame, 0, 0), rng.bytes(int(rng.integers(90))), (0, 0, 0)))
        for group in range(2):
            stats = tuple(int(v) for v in rng.integers((10, 0, 20), (30, 4, 200)))
            payload = rng.bytes(int(rng.gamma(4, 255)))
            units.append((UnitKey(Kind.PIXELS, frame, group, 0), payload, stats))
    frames = [
        FrameRecord(
            1_500_000_000 + 432_000 * k + int(rng.integers(60)), {}, (int(rng.integers(999)),)
        )
        for k in range(118)
    ]
    header = {
        "klt": rng.integers(-(2**14), 2**14, 36).tolist(),
        "x": list(range(600000, 600640, 10)),
    }
    write_archive(path, header, frames, units)
    with ArchiveReader.open(path) as reader:
        assert 200_000 < reader.size < 300_000
        assert reader.overhead_bytes < 0.02 * reader.size
        assert reader.overhead_bytes < 2000 + 9 * len(reader.units)


def test_hdf5_library_sees_the_same_regions(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 3)
    block = path.read_bytes()
    with ArchiveReader.open(path) as reader, h5py.File(path, "r") as file:
        locator = reader.locator
        assert sorted(file) == ["header", "index", "payload"]
        for name, start, length in (
            ("header", locator.header_offset, locator.header_length),
            ("index", locator.index_offset, locator.index_length),
            ("payload", locator.payload_offset, locator.payload_length),
        ):
            assert file[name].dtype == np.uint8
            assert file[name].id.get_offset() == start
            assert file[name][()].tobytes() == block[start : start + length]
        assert file.attrs["stvc"].tobytes() == locator.pack()


def test_head_is_where_the_documentation_says() -> None:
    head = build_head(Locator(700, 800, 900))
    assert (HEAD_SIZE, LOCATOR_OFFSET) == (441, 126)
    assert len(head) == HEAD_SIZE and head[LOCATOR_OFFSET:].startswith(MAGIC)
    assert parse_head(head, "x") == Locator(700, 800, 900)
    assert struct.unpack_from("<Q", head, 28)[0] == 441 + 700 + 800 + 900


def test_lookup3_matches_the_published_value() -> None:
    # The self-test at the end of Jenkins' lookup3.c (2006).
    assert hdf5.lookup3(b"Four score and seven years ago") == 0x17770551


def test_writing_is_deterministic(tmp_path: Path) -> None:
    for name in ("a.stvc", "b.stvc"):
        write_sample(tmp_path / name, 0, 4)
    assert (tmp_path / "a.stvc").read_bytes() == (tmp_path / "b.stvc").read_bytes()


def test_index_can_be_read_from_its_description_alone(tmp_path: Path) -> None:
    """A second reader, written from the layout module's text: crc, order and offsets."""
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 3)
    block = path.read_bytes()
    with ArchiveReader.open(path) as reader:
        start = reader.locator.index_offset
        body = block[start : reader.locator.payload_offset - 4]
        assert (
            google_crc32c.value(body)
            == struct.unpack(
                "<I", block[reader.locator.payload_offset - 4 : reader.locator.payload_offset]
            )[0]
        )
        assert body[:2] == bytes((len(reader.units), 3))
        position = reader.locator.payload_offset
        cursor = Cursor(body[2:])
        columns = [decode_column(cursor, len(reader.units)) for _ in range(8)]
        filled = int((columns[4] > 0).sum())
        checks = iter(struct.unpack(f"<{filled}I", cursor.take(4 * filled)))
        for key, info in reader.units.items():
            payload = block[position : position + info.length]
            assert google_crc32c.value(payload) == (next(checks) if payload else 0)
            assert payload == reader.read(key)
            position += info.length


integers = st.integers(-(2**59), 2**59)


@settings(deadline=None)
@given(st.lists(st.one_of(integers, st.integers(0, 300), st.just(7)), max_size=200))
def test_columns_round_trip(values: list[int]) -> None:
    block = encode_column(values)
    cursor = Cursor(block + b"tail")
    assert decode_column(cursor, len(values)).tolist() == values
    assert cursor.rest() == b"tail"


def test_regular_columns_cost_next_to_nothing() -> None:
    assert len(encode_column([5] * 1000)) == 2
    assert len(encode_column(range(0, 432_000 * 1000, 432_000))) <= 40
    assert encode_column([]) == b""


def test_column_value_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="2\\*\\*60"):
        encode_column([2**60])


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_varints_round_trip(value: int) -> None:
    assert Cursor(write_varint(value)).varint() == value


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
records = st.builds(
    FrameRecord,
    st.integers(-(10**10), 10**11),
    st.dictionaries(st.text(max_size=5), json_values, max_size=3),
    st.lists(st.integers(-9, 10**6), max_size=4).map(tuple),
)
keys = st.builds(
    UnitKey,
    st.sampled_from(Kind),
    st.integers(0, 5),
    st.integers(0, 3),
    st.integers(0, 10**5),
)


@settings(deadline=None)
@given(
    st.lists(records, max_size=6),
    st.dictionaries(
        keys,
        st.tuples(
            st.integers(0, 2**40),
            st.integers(0, 2**32 - 1),
            st.tuples(*[st.integers(0, 2**31)] * 3),
        ),
        max_size=12,
    ),
)
def test_any_index_round_trips(
    frames: list[FrameRecord], table: dict[UnitKey, tuple[int, int, tuple[int, int, int]]]
) -> None:
    units, offset = {}, 0
    for key, (length, check, stats) in table.items():
        units[key] = UnitInfo(offset, length, check if length else 0, stats)
        # the checksum of an empty payload is 0 and is not stored
        offset += length
    found_frames, found_units = unpack_index(pack_index(frames, units.items()), 10**6)
    assert found_frames == tuple(frames)
    assert found_units == units and list(found_units) == list(units)


def test_remote_date_needs_two_requests(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    units = list(sample_units(0, 60, groups=2, tiles=4, mean_length=900))
    write_archive(path, HEADER, sample_frames(0, 60), units)
    stream = CountingStream(path.read_bytes())
    with ArchiveReader.open(stream) as reader:
        assert stream.requests == 1
        wanted = [
            key for key in reader.units if key.frame == 33 and key.kind is not Kind.BACKGROUND
        ]
        assert len(wanted) == 9
        reader.prefetch(wanted)
        assert stream.requests == 2
        expected = {key: payload for key, payload, _ in units}
        assert {key: reader.read(key) for key in wanted} == {key: expected[key] for key in wanted}
        assert stream.requests == 2
        assert stream.fetched < 16 * 1024 + 2 * sum(reader.units[key].length for key in wanted)
        assert reader.read(UnitKey(Kind.PIXELS, 2, 0, 0)) == expected[UnitKey(Kind.PIXELS, 2, 0, 0)]
    assert not stream.closed


def test_prefetch_skips_far_gaps(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    payloads = {UnitKey(Kind.PIXELS, 0, 0, k): bytes([k]) * 200_000 for k in range(5)}
    write_archive(
        path, {}, sample_frames(0, 1), [(key, p, (0, 0, 0)) for key, p in payloads.items()]
    )
    stream = CountingStream(path.read_bytes())
    with ArchiveReader.open(stream) as reader:
        ends = [UnitKey(Kind.PIXELS, 0, 0, 0), UnitKey(Kind.PIXELS, 0, 0, 4)]
        reader.prefetch([*ends, UnitKey(Kind.MASK, 0, 0, 0)])
        assert stream.fetched < 16 * 1024 + 2 * 200_000 + 1
        assert [reader.read(key) for key in ends] == [payloads[key] for key in ends]


def test_reading_from_several_threads(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    units = list(sample_units(0, 40, mean_length=3000))
    write_archive(path, {}, sample_frames(0, 40), units)
    wrong: list[UnitKey] = []
    with ArchiveReader.open(path) as reader:

        def read_all() -> None:
            wrong.extend(key for key, payload, _ in units if reader.read(key) != payload)

        threads = [threading.Thread(target=read_all) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


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


def test_dates_in_messages() -> None:
    assert date_text(1_525_690_231) == "2018-05-07T10:50:31Z"
    assert date_text(-1) == "1969-12-31T23:59:59Z"
    assert date_text(10**18) == f"{10**18} s"
