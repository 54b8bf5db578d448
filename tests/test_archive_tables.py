"""Tables of small archives: numbers come back, cost little, and damage ends in one error."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
from archive_samples import contents, sample_frames, sample_units, write_sample
from hypothesis import example, given
from hypothesis import strategies as st

import stvc
from stvc._header_rules import container_of
from stvc.archive import ArchiveReader, FrameRecord, Kind, UnitKey, write_archive
from stvc.archive.index import pack_index, unpack_index
from stvc.archive.keys import UnitInfo
from stvc.archive.numbers import NumberDecoder, NumberEncoder
from stvc.archive.tables import MOST_ROWS, decode_tables, encode_tables
from stvc.errors import CorruptError

numbers = st.one_of(st.integers(0, 40), st.integers(-(2**60) + 1, 2**60 - 1), st.just(255))
told = st.tuples(st.integers(0, 3), st.lists(st.integers(0, 9), max_size=2), numbers)


@given(st.lists(told, max_size=60))
@example([(0, [], 2**60 - 1)] * 30 + [(0, [], 0)] * 30)
@example([(1, [7], -1)] * 500 + [(1, [7], 2**60 - 1)])
def test_numbers_round_trip(rows: list[tuple[int, list[int], int]]) -> None:
    encoder = NumberEncoder()
    for column, contexts, value in rows:
        encoder.number(column, tuple(contexts), value, signed=True)
    decoder = NumberDecoder(encoder.finish())
    found = [decoder.number(c, tuple(k), signed=True) for c, k, _ in rows]
    assert found == [value for *_, value in rows]


@given(st.lists(st.integers(0, 1), min_size=1, max_size=400), st.integers(1, 2000))
def test_carries_run_through_bytes_of_255(bits: list[int], odds: int) -> None:
    """Splits of any odds: the encoder's sums overflow into bytes that it has written."""
    encoder = NumberEncoder()
    for bit in bits:
        encoder._split(odds, 1, bool(bit))
    decoder = NumberDecoder(encoder.finish())
    assert [decoder._split(odds, 1, False) for _ in bits] == [bool(bit) for bit in bits]


def test_what_repeats_costs_next_to_nothing() -> None:
    encoder = NumberEncoder()
    for _ in range(1000):
        encoder.number(0, (), 5)
    assert len(encoder.finish()) <= 12


def index_bytes(path: Path, major: int) -> int:
    """Bytes of an archive's index in a container, less the payloads' checksums."""
    with ArchiveReader.open(path) as reader:
        checks = sum(4 for info in reader.units.values() if info.length)
        return len(pack_index(reader.frames, reader.units.items(), major)) - checks


def field(path: Path, dates: int) -> None:
    """Write an archive with the numbers that fields have."""
    rng = np.random.default_rng(3)
    frames, units = [], []
    for k in range(dates):
        clear = int(rng.choice([0, 1000, 1000, rng.integers(1000)]))
        links = min(k, 1 + k % 3) + (min(k, 2 + k % 2) << 24)
        seconds = 1_500_000_000 + 864_000 * k - 2_160_000 * (k % 2)
        frames.append(FrameRecord(seconds, {}, (0, clear, 0, links)))
        units.append((UnitKey(Kind.MASK, k, 0, 0), bytes(0 if clear == 1000 else 30), (0, 0, 0)))
        length = clear and int(rng.gamma(4, clear / 5))
        stats = (int(rng.normal(400, 40)), int(rng.normal(350, 20)), 0) if length else (0, 0, 0)
        units.append((UnitKey(Kind.PIXELS, k, 0, 0), rng.bytes(length), stats))
    write_archive(path, {}, frames, units)


def test_fields_take_fewer_bytes(tmp_path: Path) -> None:
    path = tmp_path / "field.stvc"
    for dates in (1, 36, 250):
        field(path, dates)
        assert index_bytes(path, 2) < 0.9 * index_bytes(path, 1)


def test_tables_grow_into_columns_and_back(tmp_path: Path) -> None:
    """Past the limit an append rewrites the index with columns; nothing else changes."""
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 150)
    write_sample(path, 150, 550)
    with ArchiveReader.open(path) as reader:
        assert len(reader.units) + len(reader.frames) > MOST_ROWS
        assert reader.frames == tuple(sample_frames(0, 550))
        assert contents(reader) == {key: payload for key, payload, _ in sample_units(0, 550)}


def test_numbers_that_tables_are_not_made_for() -> None:
    frames = [FrameRecord(-(10**10), {}, (-1, 2**59, 5))]
    units = {UnitKey(Kind.BACKGROUND, 2**40, 3, 2**50): UnitInfo(0, 9, 77, (2**59, 0, 1))}
    for major in (1, 2):
        assert unpack_index(pack_index(frames, units.items(), major), 2**20, major) == (
            tuple(frames),
            units,
        )
    keys, table = np.zeros((1, 4), np.int64), np.zeros((1, 6), np.int64)
    table[0, 2] = -1
    assert encode_tables(keys, keys, table) is None
    many = np.zeros((MOST_ROWS, 4), np.int64)
    assert encode_tables(many, many, table) is None
    with pytest.raises(CorruptError, match="768 units and 1 frames"):
        decode_tables(b"", MOST_ROWS, 1)


@given(st.binary(max_size=300), st.integers(0, 60), st.integers(0, 60))
@example(b"\xff" * 4, 1, 1)
@example(b"\xff" * 3 + b"\xfe" * 300, 60, 60)
@example(b"\xff\xff" + b"\x01" * 800, 60, 60)
def test_any_bytes_are_tables_or_refused(block: bytes, units: int, frames: int) -> None:
    try:
        keys, _, table = decode_tables(block, units, frames)
    except CorruptError:
        return
    assert keys.shape == (units, 4) and table.shape == (frames, 6)


@pytest.mark.parametrize("fill", [b"\0", b"\x55", b"\xfe"])
def test_the_largest_tables_take_a_moment_only(fill: bytes) -> None:
    start = time.process_time()
    for units, frames in ((0, MOST_ROWS), (MOST_ROWS, 0)):
        try:
            decode_tables(fill * 100_000, units, frames)
        except CorruptError:
            continue
    assert time.process_time() - start < 15


def test_append_keeps_the_container_of_old_archives(tmp_path: Path) -> None:
    old, once = tmp_path / "old.stvc", tmp_path / "once.stvc"
    write_sample(old, 0, 4, 1)
    write_sample(old, 4, 9)
    write_sample(once, 0, 9, 1)
    assert old.read_bytes() == once.read_bytes()
    with ArchiveReader.open(io.BytesIO(old.read_bytes())) as reader:
        assert reader.locator.major == 1
    write_sample(once, 0, 9)
    with ArchiveReader.open(once) as reader:
        assert reader.locator.major == 2 and reader.size < old.stat().st_size - 200


def test_sums_that_leave_64_bits_are_refused() -> None:
    encoder = NumberEncoder()
    for _ in range(12):
        encoder.number(0, (), 2**60 - 1, signed=True)
        for column, contexts in ((1, 0), (2, 1), (3, 2), (4, 1), (5, 2), (6, 2), (7, 1)):
            encoder.number(column, (0,) * contexts)
    with pytest.raises(CorruptError, match="a frame has the number"):
        decode_tables(encoder.finish(), 0, 12)


OLD = sorted((Path(__file__).parent / "golden").glob("v[123]/*.stvc"))


@pytest.mark.parametrize("path", OLD, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_archives_of_older_generations_are_written_to_the_byte(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.stvc"
    with ArchiveReader.open(path) as reader:
        units = [(key, reader.read(key), info.stats) for key, info in reader.units.items()]
        write_archive(again, reader.header, reader.frames, units, major=container_of(3))
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["v1/two_groups", "v3/two_groups"])
def test_appends_to_older_generations_keep_their_container(name: str, tmp_path: Path) -> None:
    path = tmp_path / "old.stvc"
    path.write_bytes((Path(__file__).parent / "golden" / f"{name}.stvc").read_bytes())
    with stvc.open(path) as archive:
        decoded = archive.to_xarray()
    later = decoded.isel(time=[-1]).drop_vars("product_id")
    stvc.append(later.assign_coords(time=later.time + np.timedelta64(5, "D")), path)
    with ArchiveReader.open(path) as reader:
        assert reader.locator.major == 1 and len(reader.frames) == decoded.sizes["time"] + 1
