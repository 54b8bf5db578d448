"""The header and index blobs; see the layout module for the byte format."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.archive.columns import (
    I64,
    Cursor,
    decode_column,
    deflate,
    encode_column,
    inflate,
    write_varint,
)
from stvc.archive.keys import FrameRecord, Kind, UnitInfo, UnitKey
from stvc.archive.layout import CRC_SIZE, crc
from stvc.errors import CorruptError, TooLargeError

FRAME_STATS = 4
# As Python objects, units, frames and JSON take many times their bytes in the file.
_OBJECTS = 2**18
_JSON_PARTS = 2**22
_USUAL_LIMIT = 2**28


def pack_header(header: dict[str, Any]) -> bytes:
    """Write the header blob; ValueError or TypeError if ``header`` is not JSON."""
    frame = deflate(_json(header))
    return frame + crc(frame)


def unpack_header(blob: bytes, limit: int) -> dict[str, Any]:
    """Read the header blob; CorruptError or TooLargeError if it breaks the format."""
    header = _parse(inflate(_checked(blob), limit), limit)
    if not isinstance(header, dict):
        raise CorruptError("the header is not a JSON object")
    return header


def pack_index(frames: Sequence[FrameRecord], units: Iterable[tuple[UnitKey, UnitInfo]]) -> bytes:
    """Write the index blob.

    Parameters
    ----------
    frames : sequence of FrameRecord
        All frames.
    units : iterable of (UnitKey, UnitInfo)
        All units in payload order: each one's offset is the sum of the lengths before it.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        If a frame has more than four stats, or a number is 2**60 or more.
    """
    entries = list(units)
    keys = np.array([key for key, _ in entries], dtype=np.int64).reshape(-1, 4)
    numbers = np.array([(i.length, *i.stats) for _, i in entries], dtype=np.int64).reshape(-1, 4)
    numbers = numbers[_key_order(keys)]
    checks = np.array([info.crc32c for _, info in entries if info.length], dtype="<u4")
    parts = [write_varint(len(entries)), write_varint(len(frames))]
    parts += [encode_column(column) for column in (*keys.T, *numbers.T)]
    parts.append(checks.tobytes())
    parts += [encode_column(column) for column in _frame_numbers(frames).T]
    if any(frame.provenance for frame in frames):
        parts.append(deflate(_json(_provenance_columns(frames))))
    body = b"".join(parts)
    return body + crc(body)


def unpack_index(
    blob: bytes, limit: int
) -> tuple[tuple[FrameRecord, ...], dict[UnitKey, UnitInfo]]:
    """Read the index blob.

    Parameters
    ----------
    blob : bytes
        With its checksum.
    limit : int
        Most bytes that tables may take when unpacked.

    Returns
    -------
    frames : tuple of FrameRecord
    units : dict of UnitKey to UnitInfo
        In payload order.

    Raises
    ------
    CorruptError
        If the blob fails its checksum or breaks the format.
    TooLargeError
        If it declares more than ``limit`` bytes.
    """
    cursor = Cursor(_checked(blob))
    unit_count, frame_count = cursor.varint(), cursor.varint()
    declared = 8 * (10 * unit_count + 8 * frame_count)
    if declared > limit:
        raise TooLargeError(
            f"an index of {len(blob)} bytes declares {unit_count} units and {frame_count} frames, "
            f"{declared} bytes of tables where {limit} are accepted; raise max_bytes if the file "
            "is trusted"
        )
    allowed = (_OBJECTS + len(blob)) * max(limit, _USUAL_LIMIT) // _USUAL_LIMIT
    if unit_count + frame_count > allowed:
        raise TooLargeError(
            f"an index of {len(blob)} bytes declares {unit_count} units and {frame_count} frames, "
            f"{allowed} of them are accepted for its size; raise max_bytes if the file is trusted"
        )
    keys = np.stack([decode_column(cursor, unit_count) for _ in range(4)], axis=1)
    ordered = np.stack([decode_column(cursor, unit_count) for _ in range(4)], axis=1)
    numbers = np.empty_like(ordered)
    numbers[_key_order(keys)] = ordered
    filled = numbers[:, 0] > 0
    checks = np.zeros(unit_count, np.int64)
    # ^ the checksum of nothing
    checks[filled] = np.frombuffer(cursor.take(4 * int(filled.sum())), "<u4")
    table = np.stack([decode_column(cursor, frame_count) for _ in range(2 + FRAME_STATS)], axis=1)
    rows = _provenance_rows(cursor.rest(), frame_count, limit)
    if np.any((table[:, 1] < 0) | (table[:, 1] > FRAME_STATS)):
        raise CorruptError("a frame has an impossible number of stats")
    frames = tuple(
        FrameRecord(time, row, tuple(stats[:count]))
        for (time, count, *stats), row in zip(table.tolist(), rows, strict=True)
    )
    return frames, _unit_table(keys, numbers, checks.tolist())


def _unit_table(keys: I64, numbers: I64, checks: list[int]) -> dict[UnitKey, UnitInfo]:
    if np.any(keys < 0) or np.any(keys[:, 0] > max(Kind)) or np.any(numbers < 0):
        raise CorruptError("a unit has a key or a size that cannot be")
    if len(numbers) and float(numbers[:, 0].sum(dtype=np.float64)) > 2.0**62:
        raise CorruptError("the unit lengths add up to more than any file holds")
    lengths = numbers[:, 0]
    offsets = np.cumsum(lengths) - lengths
    kinds = tuple(Kind)
    units = {
        UnitKey(kinds[kind], frame, group, tile): UnitInfo(offset, length, check, (s0, s1, s2))
        for (kind, frame, group, tile), (length, s0, s1, s2), offset, check in zip(
            keys.tolist(), numbers.tolist(), offsets.tolist(), checks, strict=True
        )
    }
    if len(units) != len(keys):
        raise CorruptError("two units have the same key")
    return units


def _key_order(keys: I64) -> npt.NDArray[np.intp]:
    kind, frame, group, tile = keys.T
    return np.lexsort((frame, tile, group, kind))


def _frame_numbers(frames: Sequence[FrameRecord]) -> I64:
    for number, frame in enumerate(frames):
        if len(frame.stats) > FRAME_STATS:
            raise ValueError(f"frame {number} has {len(frame.stats)} stats, at most 4 are kept")
    rows = [
        (frame.time, len(frame.stats), *frame.stats, *(0,) * (FRAME_STATS - len(frame.stats)))
        for frame in frames
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 2 + FRAME_STATS)


def _provenance_columns(frames: Sequence[FrameRecord]) -> list[Any]:
    # Columns, because values of one name resemble each other and compress well side by side.
    names = dict.fromkeys(name for frame in frames for name in frame.provenance)
    return [
        [
            name,
            [frame.provenance.get(name) for frame in frames],
            [k for k, frame in enumerate(frames) if name not in frame.provenance],
        ]
        for name in names
    ]


def _provenance_rows(block: bytes, count: int, limit: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    if not block:
        return rows
    columns = _parse(inflate(block, limit), limit)
    try:
        for name, values, absent in columns:
            if not isinstance(name, str) or len(values) != count:
                raise CorruptError(f"provenance {name!r} does not have one value per frame")
            gaps = set(absent)
            for k, value in enumerate(values):
                if k not in gaps:
                    rows[k][name] = value
    except (TypeError, ValueError) as error:
        raise CorruptError(f"the provenance table is malformed ({error})") from error
    return rows


def _checked(blob: bytes) -> bytes:
    body, check = blob[:-CRC_SIZE], blob[-CRC_SIZE:]
    if len(blob) < CRC_SIZE or crc(body) != check:
        raise CorruptError(f"checksum mismatch over its {len(blob)} bytes")
    return body


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _parse(text: bytes, limit: int) -> Any:
    parts = sum(text.count(mark) for mark in (b",", b"[", b"{"))
    allowed = _JSON_PARTS * max(limit, _USUAL_LIMIT) // _USUAL_LIMIT
    if parts > allowed:
        raise TooLargeError(
            f"its JSON of {len(text)} bytes has {parts} parts, {allowed} are accepted; raise "
            "max_bytes if the file is trusted"
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"its JSON cannot be read ({error})") from error
