"""Damaged, cut and foreign archives: a typed error that names the part, or the same content."""

from __future__ import annotations

import io
import json
import random
import resource
from pathlib import Path

import numpy as np
import pytest
from archive_samples import HEADER, contents, sample_frames, sample_units, write_sample

from stvc.archive import ArchiveReader, Kind, UnitKey, write_archive
from stvc.archive.blobs import pack_header, pack_text
from stvc.archive.columns import deflate, inflate, write_varint
from stvc.archive.index import pack_index
from stvc.archive.layout import (
    FORMAT_MAJOR,
    LARGEST_HEAD,
    LOCATOR_OFFSET,
    LOCATOR_SIZE,
    MAJORS,
    Locator,
    build_head,
    crc,
)
from stvc.errors import BitstreamError, CorruptError, TooLargeError, VersionError

FRAMES = 6


@pytest.fixture(scope="module", params=MAJORS)
def block(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> bytes:
    path = tmp_path_factory.mktemp("damage") / "fields.stvc"
    write_sample(path, 0, FRAMES, request.param)
    return path.read_bytes()


@pytest.fixture(scope="module")
def expected() -> dict[UnitKey, bytes]:
    return {key: payload for key, payload, _ in sample_units(0, FRAMES)}


@pytest.fixture(scope="module")
def locator(block: bytes) -> Locator:
    return ArchiveReader.open(io.BytesIO(block)).locator


@pytest.fixture(autouse=True)
def bounded_memory() -> None:
    """Fail if damage drives an allocation: nothing here may need 200 MB more than before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def outcome(damaged: bytes, expected: dict[UnitKey, bytes]) -> tuple[str, list[UnitKey]]:
    """Open and read all: the opening error's message or "", and the units reported as damaged.

    Everything that is not reported must be exactly as written.
    """
    stream = io.BytesIO(damaged)
    stream.name = "fields.stvc"
    try:
        reader = ArchiveReader.open(stream)
    except CorruptError as error:
        return str(error), []
    assert reader.header == HEADER
    assert reader.frames == tuple(sample_frames(0, FRAMES))
    assert list(reader.units) == list(expected)
    lost = []
    for key, payload in expected.items():
        try:
            assert reader.read(key) == payload
        except CorruptError as error:
            message = str(error)
            assert "fields.stvc" in message and f"group {key.group}, tile {key.tile}" in message
            kind = "background version" if key.kind is Kind.BACKGROUND else key.kind.name.lower()
            assert message.startswith(kind) and str(key.frame) in message
            lost.append(key)
    return "", lost


def flip(block: bytes, bit: int) -> bytes:
    damaged = bytearray(block)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_flipped_bits_of_the_head_are_harmless(block, expected, locator) -> None:
    """Locator and HDF5 dataset headers stand in for each other."""
    for position in range(locator.header_offset):
        damaged = flip(block, 8 * position + position % 8)
        assert outcome(damaged, expected) == ("", [])
        assert ArchiveReader.open(io.BytesIO(damaged)).locator == locator
        assert not ArchiveReader.open(io.BytesIO(damaged)).wrapper_intact


def test_every_flipped_bit_of_the_header_is_named(block, expected, locator) -> None:
    for bit in range(8 * locator.header_offset, 8 * locator.index_offset):
        message, _ = outcome(flip(block, bit), expected)
        assert message.startswith("header of fields.stvc: checksum mismatch")


def test_every_flipped_bit_of_the_index_is_named(block, expected, locator) -> None:
    for bit in range(8 * locator.index_offset, 8 * locator.payload_offset):
        message, _ = outcome(flip(block, bit), expected)
        assert message.startswith("index of fields.stvc: checksum mismatch")


def test_a_flipped_payload_bit_loses_one_unit_only(block, expected, locator) -> None:
    owner = [key for key, payload in expected.items() for _ in payload]
    for position in range(locator.payload_offset, len(block)):
        message, lost = outcome(flip(block, 8 * position + position % 8), expected)
        assert (message, lost) == ("", [owner[position - locator.payload_offset]])


def test_truncation_anywhere(block, expected, locator) -> None:
    """Cut in front of the payload: a named error. Behind: all units that are left are readable."""
    ends = {}
    position = locator.payload_offset
    for key, payload in expected.items():
        position += len(payload)
        ends[key] = position
    for size in range(len(block)):
        message, lost = outcome(block[:size], expected)
        if size == 0:
            assert "is empty" in message
        elif size < LOCATOR_OFFSET + LOCATOR_SIZE:
            assert "is truncated inside its superblock" in message
        elif size < locator.index_offset:
            assert "is truncated inside its header" in message
        elif size < locator.payload_offset:
            assert "is truncated inside its index" in message
        else:
            assert message == ""
            assert lost == [key for key, end in ends.items() if end > size and expected[key]]


def test_truncated_archive_tells_what_it_lacks_and_takes_no_append(tmp_path: Path, block) -> None:
    path = tmp_path / "fields.stvc"
    path.write_bytes(block[:-10])
    with ArchiveReader.open(path) as base:
        assert base.missing_bytes == 10
        with pytest.raises(CorruptError, match="truncated .* cannot append"):
            write_archive(path, HEADER, [], [], base=base)
    assert path.read_bytes() == block[:-10]
    assert not list(tmp_path.glob(".*"))


def test_append_to_a_damaged_archive_keeps_the_damage_visible(
    tmp_path: Path, block, expected, locator
) -> None:
    path = tmp_path / "fields.stvc"
    path.write_bytes(flip(block, 8 * locator.payload_offset))
    first = next(iter(expected))
    with ArchiveReader.open(path) as base:
        frames, units = sample_frames(FRAMES, FRAMES + 1), sample_units(FRAMES, FRAMES + 1)
        write_archive(path, HEADER, frames, units, base=base)
    with ArchiveReader.open(path) as reader:
        with pytest.raises(CorruptError, match="checksum mismatch"):
            reader.read(first)
        assert all(reader.read(key) == expected[key] for key in list(expected)[1:])


def test_bytes_behind_the_end_are_ignored(block, expected) -> None:
    assert outcome(block + b"\0" * 1000, expected) == ("", [])


def test_random_damage_never_surprises(block, expected) -> None:
    """Blocks overwritten, zeroed, removed or doubled anywhere: reported or harmless."""
    rng = random.Random(7)
    for _ in range(500):
        damaged = bytearray(block)
        for _ in range(rng.randint(1, 3)):
            start = rng.randrange(len(damaged))
            length = rng.choice((1, 4, 16, 100, 512))
            match rng.randrange(4):
                case 0:
                    damaged[start : start + length] = rng.randbytes(length)
                case 1:
                    damaged[start : start + length] = bytes(length)
                case 2:
                    del damaged[start : start + length]
                case _:
                    damaged[start:start] = damaged[start : start + length]
        outcome(bytes(damaged), expected)


def test_head_and_locator_both_damaged_is_named(block, expected, locator) -> None:
    damaged = bytearray(block)
    damaged[LOCATOR_OFFSET + 20] ^= 1
    damaged[locator.header_offset - 20] ^= 1
    message, _ = outcome(bytes(damaged), expected)
    assert message.startswith("superblock of fields.stvc: the locator record and its spare")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\0" * 5000, "not an stvc archive"),
        (b"II*\0" + b"x" * 3000, "not an stvc archive"),
        (b"{}", "not an stvc archive"),
        (b"\x89HDF\r\n\x1a\n" + b"\2" * 2000, "an HDF5 file, but not an stvc archive"),
    ],
)
def test_foreign_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "foreign.tif"
    path.write_bytes(content)
    with pytest.raises(CorruptError, match=message) as caught:
        ArchiveReader.open(path)
    assert "foreign.tif" in str(caught.value)


def test_foreign_hdf5_file_is_named(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "other.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["header"] = np.arange(5000)
    with pytest.raises(CorruptError, match="an HDF5 file, but not an stvc archive"):
        ArchiveReader.open(path)


def relabeled(block: bytes, locator: Locator, **changes: int) -> bytes:
    fields = {**locator.__dict__, **changes}
    record = Locator(**fields).pack()
    assert len(record) == LOCATOR_SIZE
    return block[:LOCATOR_OFFSET] + record + block[LOCATOR_OFFSET + LOCATOR_SIZE :]


def test_other_major_version_is_refused_and_higher_minor_is_read(block, locator) -> None:
    with pytest.raises(VersionError, match="format version 3.0.*install a newer stvc"):
        ArchiveReader.open(io.BytesIO(relabeled(block, locator, major=3)))
    with pytest.raises(BitstreamError):
        ArchiveReader.open(io.BytesIO(relabeled(block, locator, major=3 - locator.major)))
    reader = ArchiveReader.open(io.BytesIO(relabeled(block, locator, minor=9)))
    assert reader.locator.minor == 9 and reader.header == HEADER


def assemble(header: bytes, index: bytes, major: int = 1) -> io.BytesIO:
    """Build a file of forged blobs whose checksums are right: an attacker's archive."""
    locator = Locator(len(header), len(index), 0, major)
    return io.BytesIO(build_head(locator) + header + index)


def signed(body: bytes) -> bytes:
    return body + crc(body)


EMPTY_HEADER = {major: pack_header({}, major) for major in MAJORS}
EMPTY_INDEX = {major: pack_index([], [], major) for major in MAJORS}


@pytest.mark.parametrize(
    ("field", "size"),
    [
        ("header_length", 2**32 - 1),
        ("index_length", 2**32 - 1),
        ("payload_length", 2**61),
        ("payload_length", 2**64 - 1),
    ],
)
def test_declared_region_sizes_are_not_believed(block, locator, field: str, size: int) -> None:
    with pytest.raises(BitstreamError):
        ArchiveReader.open(io.BytesIO(relabeled(block, locator, **{field: size})[:LARGEST_HEAD]))


@pytest.mark.parametrize("major", MAJORS)
def test_header_bomb_is_refused(major: int) -> None:
    bomb = pack_text(b'{"a":"' + b" " * 2**26 + b'"}', major)
    assert len(bomb) < 10_000
    with pytest.raises(TooLargeError, match="header of"):
        ArchiveReader.open(assemble(signed(bomb), EMPTY_INDEX[major], major), max_bytes=2**20)


def test_declared_content_size_does_not_allocate() -> None:
    # Frame header that declares 2**40 bytes of content: magic, descriptor, window, size.
    frame = b"\x28\xb5\x2f\xfd\xc0\x50" + (2**40).to_bytes(8, "little") + b"\x01\0\0"
    assert inflate(frame, 2**20) == b""
    with pytest.raises(CorruptError, match="header of"):
        ArchiveReader.open(assemble(signed(frame), EMPTY_INDEX[1]))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff" * 12,
        write_varint(2**40) + b"\0",
        b"\0" + write_varint(2**40),
        b"\0" + write_varint(10**6) + b"\0\0" * 6,
        b"\1\0" + b"\0\0\0\0" + b"\7" * 30,
        b"\1\0" + b"\0\0\0\0" + b"\1\0\x40" * 10,
        b"\1\0" + b"\0\0\0\0" + b"\2\0\1\5hello" * 10,
        b"\1\0" + b"\0\0\0\0" + b"\0\6" + b"\0\0" * 7,
        b"\1\1" + b"\0\0\0\0" + b"\0\0" * 4 + b"\0\1" + b"\0\0" * 3 + b"\0\0" * 6,
        b"\1\1" + b"\0\0\0\0" + b"\0\0\0\2" + b"\0\0" * 6 + b"\0\0" * 6,
        b"\2\1" + b"\0" * 8 + b"\0\0" * 8 + b"\0\0" * 6,
        b"\0\1" + b"\0\0\0\x20" + b"\0\0" * 4,
        b"\0\1" + b"\0\0" * 6 + b"not a zstd frame",
        b"\0\1" + b"\0\0" * 6 + deflate(b'[["a",[1,2],[]]]'),
        b"\0\1" + b"\0\0" * 6 + deflate(b'{"a":1}'),
        b"\0\1" + b"\0\0" * 6 + deflate(b"[" * 10_000),
    ],
)
def test_forged_index_is_refused(body: bytes) -> None:
    with pytest.raises(BitstreamError, match="index of"):
        ArchiveReader.open(assemble(EMPTY_HEADER[1], signed(body)), max_bytes=2**24)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"\0\0",
        b"\1\1\2",
        b"\1\1" + write_varint(2**40),
        b"\1\1\5" + b"\xff" * 4,
        b"\2\2\x41" + b"\xff\0" * 32,
        b"\2\0\x41" + bytes(range(64)),
        write_varint(2**12) + b"\1\1",
        b"\1" + write_varint(2**12) + b"\1",
        b"\0\0\1" + b"\2",
        b"\0\0\1" + b"\1not a zstd frame",
        b"\1\1\0" + b"\0\0\0\0" + b"\0\0\0\2" + b"\0\0" * 6 + b"\0\0" * 6,
        b"\0\1\1" + pack_text(b'[["a",[1,2],[]]]', 2),
    ],
)
def test_forged_index_of_container_2_is_refused(body: bytes) -> None:
    with pytest.raises(BitstreamError, match="index of"):
        ArchiveReader.open(assemble(EMPTY_HEADER[2], signed(body), 2), max_bytes=2**24)


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("text", [b"[]", b"nope", b"\xff\xfe", b"{" * 100_000])
def test_forged_header_is_refused(text: bytes, major: int) -> None:
    with pytest.raises(CorruptError, match="header of"):
        ArchiveReader.open(assemble(signed(pack_text(text, major)), EMPTY_INDEX[major], major))


def test_unknown_dictionary_asks_for_a_newer_stvc() -> None:
    header = signed(b"\2" + pack_text(b"{}", FORMAT_MAJOR)[1:])
    with pytest.raises(VersionError, match="header of .* dictionary 2, .*install a newer stvc"):
        ArchiveReader.open(assemble(header, EMPTY_INDEX[2], 2))


@pytest.mark.parametrize("major", MAJORS)
def test_forged_archive_may_be_valid(major: int) -> None:
    """The forging above fails for its content, not for the way it is put together."""
    header = signed(pack_text(json.dumps({"a": 1}).encode(), major))
    reader = ArchiveReader.open(assemble(header, EMPTY_INDEX[major], major))
    assert reader.header == {"a": 1} and contents(reader) == {}


def test_file_that_shrinks_while_open_is_named(tmp_path: Path, block) -> None:
    path = tmp_path / "fields.stvc"
    units = [(UnitKey(Kind.PIXELS, 0, 0, k), bytes(50_000), (0, 0, 0)) for k in range(2)]
    write_archive(path, {}, sample_frames(0, 1), units)
    with ArchiveReader.open(path) as reader:
        with open(path, "r+b") as stream:
            stream.truncate(30_000)
        with pytest.raises(CorruptError, match="ended at byte"):
            reader.read(units[1][0])
