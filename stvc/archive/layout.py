r"""Byte layout of an archive: the head and where the regions behind it lie.

An archive is one HDF5 file; all integers are little-endian and unsigned unless noted. Four regions
follow each other without gaps::

    0                head_size         + header_length     + index_length      + payload_length
    |  head          |  header         |  index            |  payload          |  end of file
    HDF5 metadata

The **head** is built by `build_head`. It is a pure function of the locator, so it is verified by
building it again. The root group's attribute ``stvc`` is the **locator**, 32 bytes at
``LOCATOR_OFFSET`` = 126::

    8s  magic 89 73 74 76 63 0D 0A 1A  ("\x89stvc\r\n\x1a")
    H   major version (unknown: not readable)          H  minor version (a higher one: readable)
    I   header_length      I  index_length      Q  payload_length
    I   CRC-32C of the 28 bytes before

Major version 1 has 441 bytes of head, with a dataset for each of the three regions behind it;
version 2 has 265, with one dataset for all of them. A reader whose locator fails its checksum may
take the lengths from the dataset headers instead; header and index carry their own checksums.

Header and index are told in `docs/format/file.md`, which is the specification.

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
FORMAT_MAJOR = 2
"""Container of new archives."""
FORMAT_MINOR = 0
MAJORS = (1, FORMAT_MAJOR)
"""Containers that are read and appended to."""
CRC_SIZE = 4

_LOCATOR = struct.Struct("<8sHHIIQ")
LOCATOR_SIZE = _LOCATOR.size + CRC_SIZE
_LENGTHS = struct.Struct("<II")
_TAIL = 24
"""End of a dataset header: length, message header, two lengths; checksum."""
_LARGEST = 2**62
_MEMBERS = {1: ("header", "index", "payload"), 2: ("archive",)}


def _root(major: int, locator: bytes) -> bytes:
    size = _DATASET_SIZE[major]
    start = hdf5.SUPERBLOCK_SIZE + _ROOT_SIZE[major]
    links = {member: start + k * size for k, member in enumerate(_MEMBERS[major])}
    return hdf5.root_group(links, "stvc", locator)


_DATASET_SIZE = {1: len(hdf5.dataset(0, 0)), 2: len(hdf5.dataset(0, 0, bytes(_LENGTHS.size)))}
_ROOT_SIZE = {
    major: len(hdf5.root_group(dict.fromkeys(members, 0), "stvc", bytes(LOCATOR_SIZE)))
    for major, members in _MEMBERS.items()
}
_DATASETS_OFFSET = {major: hdf5.SUPERBLOCK_SIZE + _ROOT_SIZE[major] for major in MAJORS}
HEAD_SIZES = {
    major: _DATASETS_OFFSET[major] + len(_MEMBERS[major]) * _DATASET_SIZE[major] for major in MAJORS
}
LARGEST_HEAD = max(HEAD_SIZES.values())


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
    """Format version; readers refuse one that they do not know."""
    minor: int = FORMAT_MINOR
    """Format revision; readers accept any."""

    @property
    def header_offset(self) -> int:
        """First byte of the header blob, which is the size of the head."""
        return HEAD_SIZES[self.major]

    @property
    def index_offset(self) -> int:
        """First byte of the index blob."""
        return self.header_offset + self.header_length

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
        As many as `HEAD_SIZES` says.
    """
    root = _root(locator.major, locator.pack())
    return hdf5.superblock(locator.end) + root + _datasets(locator)


def _datasets(locator: Locator) -> bytes:
    if locator.major == 1:
        return b"".join(
            (
                hdf5.dataset(locator.header_offset, locator.header_length),
                hdf5.dataset(locator.index_offset, locator.index_length),
                hdf5.dataset(locator.payload_offset, locator.payload_length),
            )
        )
    start = locator.header_offset
    # HDF5 needs no more than one dataset, and the locator's spare no more than two lengths.
    note = _LENGTHS.pack(locator.header_length, locator.index_length)
    return hdf5.dataset(start, locator.end - start, note)


LOCATOR_OFFSET = build_head(Locator(0, 0, 0)).index(MAGIC)


def parse_head(head: bytes, name: str) -> Locator:
    """Find the regions of an archive.

    Parameters
    ----------
    head : bytes
        First ``LARGEST_HEAD`` bytes of the file, or all of a shorter file.
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
        If the archive has a major version that this stvc does not know.
    """
    if not head:
        raise CorruptError(f"{name} is empty (0 bytes): not an stvc archive; encode it again")
    record = head[LOCATOR_OFFSET : LOCATOR_OFFSET + LOCATOR_SIZE]
    if len(record) == LOCATOR_SIZE and record[-CRC_SIZE:] == crc(record[:-CRC_SIZE]):
        magic, major, minor, header, index, payload = _LOCATOR.unpack(record[:-CRC_SIZE])
        if magic == MAGIC:
            if major not in MAJORS:
                raise VersionError(
                    f"{name} has format version {major}.{minor}, this stvc reads versions "
                    f"{' and '.join(map(str, MAJORS))}; install a newer stvc"
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
    if len(head) < min(HEAD_SIZES.values()):
        raise CorruptError(
            f"{name} is truncated inside its superblock ({len(head)} bytes); "
            "copy or encode it again"
        )
    raise CorruptError(
        f"superblock of {name}: the locator record and its spare are damaged; "
        "copy or encode it again"
    )


def _resembles_archive(head: bytes) -> bool:
    """Tell a damaged or cut archive from a foreign file: any 2 of 3 landmarks that are present."""
    return any(_resembles(head, build_head(Locator(0, 0, 0, major))) for major in MAJORS)


def _resembles(head: bytes, blank: bytes) -> bool:
    landmarks = (
        (0, len(hdf5.SIGNATURE)),
        (LOCATOR_OFFSET, LOCATOR_OFFSET + len(MAGIC)),
        (hdf5.SUPERBLOCK_SIZE, LOCATOR_OFFSET),
    )
    reached = [(start, end) for start, end in landmarks if start < len(head)]
    matches = sum(head[start:end] == blank[start : min(end, len(head))] for start, end in reached)
    return matches >= min(2, len(reached))


def _spare_locator(head: bytes) -> Locator | None:
    """Take the lengths from the HDF5 dataset headers; None if one of them fails its checksum.

    The minor version is lost with the locator. The major one shows in the number of datasets.
    """
    for major in MAJORS:
        start, end = _DATASETS_OFFSET[major], HEAD_SIZES[major]
        size = _DATASET_SIZE[major]
        tails = [head[at + size - _TAIL : at + size - CRC_SIZE] for at in range(start, end, size)]
        if len(head) < end:
            continue
        if major == 1:
            header, index, payload = (struct.unpack("<Q", tail[-8:])[0] for tail in tails)
        else:
            whole, _, header, index = struct.unpack("<QIII", tails[0])
            payload = whole - header - index
        locator = Locator(header, index, payload, major)
        lengths = [locator.header_length, locator.index_length, locator.payload_length]
        believable = min(lengths) >= 0 and max(lengths) < _LARGEST
        if believable and _datasets(locator) == head[start:end]:
            return locator
    return None
