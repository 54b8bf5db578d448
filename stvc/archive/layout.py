r"""Byte layout of an archive, precise enough to write another reader.

An archive is one HDF5 file with three one-dimensional uint8 datasets and one root attribute. Four
regions follow each other without gaps; all integers are little-endian and unsigned unless noted::

    0                HEAD_SIZE         + header_length     + index_length      + payload_length
    |  head          |  header         |  index            |  payload          |  end of file
    HDF5 metadata    dataset "header"  dataset "index"     dataset "payload"

**Head** (always ``HEAD_SIZE`` = 441 bytes): superblock at 0 (48 bytes), root group at 48, and the
object headers of ``header``, ``index`` and ``payload``, 72 bytes each, built by `build_head`. It is
a pure function of the locator, so it is verified by building it again. The root group's attribute
``stvc`` is the **locator**, 32 bytes at ``LOCATOR_OFFSET`` = 126::

    8s  magic 89 73 74 76 63 0D 0A 1A  ("\x89stvc\r\n\x1a")
    H   major version (another one: not readable)      H  minor version (a higher one: readable)
    I   header_length      I  index_length      Q  payload_length
    I   CRC-32C of the 28 bytes before

A reader whose locator fails its checksum may take the three lengths from the HDF5 dataset headers
(the last 8 bytes before each one's own checksum) instead; the blobs carry their own checksums.

**Header**: a zstd frame holding a UTF-8 JSON object, then CRC-32C of the frame (4 bytes). Its
meaning is the codec's.

**Index**: a body, then CRC-32C of the body (4 bytes). The body is::

    varint  N, number of units          varint  T, number of frames
    4 columns of N, payload order: kind (0 pixels, 1 mask, 2 background), frame, group, tile
    4 columns of N, key order:     length, stats[0], stats[1], stats[2]
    n x I   CRC-32C of each payload that is not empty, in payload order
    6 columns of T:                time (seconds since 1970 UTC), number of stats, stats[0..3]
    provenance: nothing if every frame's is empty, else a zstd frame up to the end of the body

Key order is the stable sort of the units by (kind, group, tile, frame). Payloads lie one behind
the other in payload order, so a unit's offset is the sum of the lengths before it, and the lengths
add up to payload_length. Provenance is a UTF-8 JSON array of columns ``[name, values, absent]``:
``values`` has one entry per frame, ``absent`` lists the frames that lack the name.

A *varint* is base-128, least significant group first, the high bit set on all bytes but the last;
a *zigzag* varint holds 2v for v >= 0 and -2v - 1 otherwise. A **column** of n signed integers is
nothing for n = 0, else a mode byte, a zigzag varint ``base`` and a body; with d the stored numbers:

    ======  ====================================================================================
    mode    body
    ======  ====================================================================================
    0       none: every d is 0
    1       width (1 byte), then n values of ``width`` bits, least significant bit first,
            zero bits up to the next byte
    2       width w in bytes (1 byte), varint m, then m bytes: a zstd frame without its 4 byte
            magic number, of w planes of n bytes (all lowest bytes, all second bytes, ...)
    + 16    d are not values less base but differences: see below
    ======  ====================================================================================

Values are ``base + d`` for modes 0 to 2. With 16 added, ``e = base + d`` are differences: the first
value is e[0] and value i is value i-1 plus e[i].

An append writes a new file beside the archive (``.<name>.<16 hex digits>.stvc-tmp``), copies the
old payload bytes in front of the new ones, syncs, and renames it over the old one. Temporary files
are only ever written under the lock ``<name>.lock``, so those that exist while one holds it are
leftovers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import google_crc32c

from stvc.archive import hdf5
from stvc.errors import CorruptError, VersionError

MAGIC = b"\x89stvc\r\n\x1a"
FORMAT_MAJOR = 1
FORMAT_MINOR = 0
CRC_SIZE = 4

_LOCATOR = struct.Struct("<8sHHIIQ")
LOCATOR_SIZE = _LOCATOR.size + CRC_SIZE
_LARGEST = 2**62
_MEMBERS = ("header", "index", "payload")
_DATASET_SIZE = len(hdf5.dataset(0, 0))
_ROOT_SIZE = len(hdf5.root_group(dict.fromkeys(_MEMBERS, 0), "stvc", bytes(LOCATOR_SIZE)))
_DATASETS_OFFSET = hdf5.SUPERBLOCK_SIZE + _ROOT_SIZE
HEAD_SIZE = _DATASETS_OFFSET + len(_MEMBERS) * _DATASET_SIZE


@dataclass(frozen=True)
class Locator:
    """Where the regions of an archive lie."""

    header_length: int
    """Bytes, checksum included."""
    index_length: int
    """Bytes, checksum included."""
    payload_length: int
    """Bytes of all payloads."""
    major: int = FORMAT_MAJOR
    """Format version; readers refuse another one."""
    minor: int = FORMAT_MINOR
    """Format revision; readers accept any."""

    @property
    def header_offset(self) -> int:
        """First byte of the header blob."""
        return HEAD_SIZE

    @property
    def index_offset(self) -> int:
        """First byte of the index blob."""
        return HEAD_SIZE + self.header_length

    @property
    def payload_offset(self) -> int:
        """First byte of the first payload."""
        return self.index_offset + self.index_length

    @property
    def end(self) -> int:
        """Size of the whole file."""
        return self.payload_offset + self.payload_length

    def pack(self) -> bytes:
        """Write the 32-byte locator record."""
        body = _LOCATOR.pack(
            MAGIC,
            self.major,
            self.minor,
            self.header_length,
            self.index_length,
            self.payload_length,
        )
        return body + crc(body)


def crc(block: bytes) -> bytes:
    """CRC-32C of ``block`` as 4 little-endian bytes."""
    return struct.pack("<I", google_crc32c.value(block))


def build_head(locator: Locator) -> bytes:
    """Build the HDF5 metadata of an archive.

    Parameters
    ----------
    locator : Locator
        Lengths of the three regions behind it.

    Returns
    -------
    bytes
        ``HEAD_SIZE`` bytes.
    """
    links = {member: _DATASETS_OFFSET + k * _DATASET_SIZE for k, member in enumerate(_MEMBERS)}
    return b"".join(
        (
            hdf5.superblock(locator.end),
            hdf5.root_group(links, "stvc", locator.pack()),
            hdf5.dataset(locator.header_offset, locator.header_length),
            hdf5.dataset(locator.index_offset, locator.index_length),
            hdf5.dataset(locator.payload_offset, locator.payload_length),
        )
    )


LOCATOR_OFFSET = build_head(Locator(0, 0, 0)).index(MAGIC)


def parse_head(head: bytes, name: str) -> Locator:
    """Find the regions of an archive.

    Parameters
    ----------
    head : bytes
        First ``HEAD_SIZE`` bytes of the file, or all of a shorter file.
    name : str
        File name for messages.

    Returns
    -------
    Locator
        From the locator record, or from the HDF5 dataset headers if that record is damaged.

    Raises
    ------
    CorruptError
        If this is no archive, or both records are damaged.
    VersionError
        If the archive has another major version.
    """
    if not head:
        raise CorruptError(f"{name} is empty (0 bytes): not an stvc archive; encode it again")
    record = head[LOCATOR_OFFSET : LOCATOR_OFFSET + LOCATOR_SIZE]
    if len(record) == LOCATOR_SIZE and record[-CRC_SIZE:] == crc(record[:-CRC_SIZE]):
        magic, major, minor, header, index, payload = _LOCATOR.unpack(record[:-CRC_SIZE])
        if magic == MAGIC:
            if major != FORMAT_MAJOR:
                raise VersionError(
                    f"{name} has format version {major}.{minor}, this stvc reads version "
                    f"{FORMAT_MAJOR}; install an stvc release that matches the archive"
                )
            if payload < _LARGEST:
                return Locator(header, index, payload, major, minor)
    spare = _spare_locator(head)
    if spare is not None:
        return spare
    if not _resembles_archive(head):
        kind = (
            "an HDF5 file, but not an stvc archive"
            if head.startswith(hdf5.SIGNATURE)
            else (f"not an stvc archive (it starts with {head[:8].hex(' ')})")
        )
        raise CorruptError(f"{name} is {kind}; give the path of an archive written by stvc")
    if len(head) < HEAD_SIZE:
        raise CorruptError(
            f"{name} is truncated inside its superblock ({len(head)} of {HEAD_SIZE} bytes); "
            "copy or encode it again"
        )
    raise CorruptError(
        f"superblock of {name}: the locator record and its spare are damaged; "
        "copy or encode it again"
    )


def _resembles_archive(head: bytes) -> bool:
    """Tell a damaged or cut archive from a foreign file: any 2 of 3 landmarks that are present."""
    blank = build_head(Locator(0, 0, 0))
    magic_end = LOCATOR_OFFSET + len(MAGIC)
    landmarks = (
        (0, len(hdf5.SIGNATURE)),
        (LOCATOR_OFFSET, magic_end),
        (hdf5.SUPERBLOCK_SIZE, LOCATOR_OFFSET),
    )
    reached = [(start, end) for start, end in landmarks if start < len(head)]
    matches = sum(head[start:end] == blank[start : min(end, len(head))] for start, end in reached)
    return matches >= min(2, len(reached))


def _spare_locator(head: bytes) -> Locator | None:
    """Take the lengths from the HDF5 dataset headers; None if one of them fails its checksum.

    The version is lost with the locator: it is taken to be this one, and the checksums and bounds
    of the blobs still stand between a wrong guess and its use.
    """
    if len(head) < HEAD_SIZE:
        return None
    lengths: list[int] = []
    for k in range(len(_MEMBERS)):
        start = _DATASETS_OFFSET + k * _DATASET_SIZE
        block = head[start : start + _DATASET_SIZE]
        length = struct.unpack("<Q", block[-8 - CRC_SIZE : -CRC_SIZE])[0]
        address = HEAD_SIZE + sum(lengths)
        if length >= _LARGEST or block != hdf5.dataset(address, length):
            return None
        lengths.append(length)
    return Locator(*lengths)
