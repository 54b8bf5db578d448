"""The archive's bytes: where each part lies, what it costs, and that HDF5 sees the same."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import google_crc32c
import h5py
import numpy as np
from archive_samples import write_sample

from stvc.archive import ArchiveReader, FrameRecord, Kind, UnitKey, hdf5, write_archive
from stvc.archive.blobs import words
from stvc.archive.columns import Cursor, decode_column
from stvc.archive.layout import (
    HEAD_SIZES,
    LOCATOR_OFFSET,
    MAGIC,
    Locator,
    build_head,
    parse_head,
)


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


def test_hdf5_library_sees_the_whole_archive(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 3)
    block = path.read_bytes()
    with ArchiveReader.open(path) as reader, h5py.File(path, "r") as file:
        start = reader.locator.header_offset
        assert list(file) == ["archive"] and file["archive"].dtype == np.uint8
        assert file["archive"].id.get_offset() == start
        assert file["archive"][()].tobytes() == block[start:]
        assert file.attrs["stvc"].tobytes() == reader.locator.pack()


def test_hdf5_library_sees_the_regions_of_container_1(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 3, 1)
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
    assert HEAD_SIZES == {1: 441, 2: 268} and LOCATOR_OFFSET == 126
    for major, size in HEAD_SIZES.items():
        head = build_head(Locator(700, 800, 900, major))
        assert len(head) == size and head[LOCATOR_OFFSET:].startswith(MAGIC)
        assert parse_head(head, "x") == Locator(700, 800, 900, major)
        assert struct.unpack_from("<Q", head, 28)[0] == size + 700 + 800 + 900


def test_the_dictionary_is_frozen() -> None:
    found = hashlib.sha256(words(1)).hexdigest()
    assert found == "4099f43112adc8afe2a75124780628f7e94126e4b3e0d918317102cbd09f877a"
    assert words(1)[:8] == struct.pack("<II", 0xEC30A437, 1)


def test_lookup3_matches_the_published_value() -> None:
    # The self-test at the end of Jenkins' lookup3.c (2006).
    assert hdf5.lookup3(b"Four score and seven years ago") == 0x17770551


def test_index_of_container_1_can_be_read_from_its_description_alone(tmp_path: Path) -> None:
    """A second reader, written from the layout module's text: crc, order and offsets."""
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, 3, 1)
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
