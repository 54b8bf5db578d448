"""The header blob, and what it shares with the index: JSON, zstd frames, checksums."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from stvc.archive.columns import Cursor, deflate, inflate, write_varint
from stvc.archive.layout import CRC_SIZE, crc
from stvc.errors import CorruptError, TooLargeError, VersionError

DICTIONARY = 1
"""Number of the zstd dictionary of new archives."""
_DICTIONARIES = {1: "dictionary-1.zdict"}
# As Python objects JSON takes many times its bytes in the file.
_JSON_PARTS = 2**22
USUAL_LIMIT = 2**28


@cache
def words(number: int) -> bytes:
    """Return a zstd dictionary: frozen, as its number stands in archives; VersionError if unknown.

    It holds pieces of usual headers, and the tables of symbols that they are coded with.
    """
    name = _DICTIONARIES.get(number)
    if name is None:
        raise VersionError(f"it needs dictionary {number}, unknown here; install a newer stvc")
    return (Path(__file__).parent / name).read_bytes()


def pack_header(header: dict[str, Any], major: int) -> bytes:
    """Write the header blob; ValueError or TypeError if ``header`` is not JSON."""
    body = pack_json(header, major)
    return body + crc(body)


def unpack_header(blob: bytes, limit: int, major: int) -> dict[str, Any]:
    """Read the header blob; CorruptError, TooLargeError or VersionError if it cannot be read."""
    header = unpack_json(checked(blob), limit, major)
    if not isinstance(header, dict):
        raise CorruptError("the header is not a JSON object")
    return header


def pack_json(value: Any, major: int) -> bytes:
    """Write a JSON value as a zstd frame, behind the number of its dictionary if it has one."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return pack_text(text.encode(), major)


def pack_text(text: bytes, major: int) -> bytes:
    """Write text that may or may not be JSON as one."""
    if major == 1:
        return deflate(text)
    return write_varint(DICTIONARY) + deflate(text, words(DICTIONARY))


def unpack_json(block: bytes, limit: int, major: int) -> Any:
    """Read what `pack_json` wrote."""
    if major == 1:
        return _parse(inflate(block, limit), limit)
    cursor = Cursor(block)
    dictionary = words(cursor.varint())
    return _parse(inflate(cursor.rest(), limit, magicless=True, dictionary=dictionary), limit)


def checked(blob: bytes) -> bytes:
    """Take the checksum off a blob; CorruptError if it does not fit."""
    body, check = blob[:-CRC_SIZE], blob[-CRC_SIZE:]
    if len(blob) < CRC_SIZE or crc(body) != check:
        raise CorruptError(f"checksum mismatch over its {len(blob)} bytes")
    return body


def _parse(text: bytes, limit: int) -> Any:
    parts = sum(text.count(mark) for mark in (b",", b"[", b"{"))
    allowed = _JSON_PARTS * max(limit, USUAL_LIMIT) // USUAL_LIMIT
    if parts > allowed:
        raise TooLargeError(
            f"its JSON of {len(text)} bytes has {parts} parts, {allowed} are accepted; raise "
            "max_bytes if the file is trusted"
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"its JSON cannot be read ({error})") from error
