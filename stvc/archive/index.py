"""The index blob; see `docs/format/file.md` for the byte format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.archive.blobs import USUAL_LIMIT, checked, pack_json, unpack_json
from stvc.archive.columns import I64, Cursor, decode_column, encode_column, write_varint
from stvc.archive.keys import FrameRecord, Kind, UnitInfo, UnitKey
from stvc.archive.layout import crc
from stvc.archive.tables import decode_tables, encode_tables
from stvc.errors import CorruptError, TooLargeError

FRAME_STATS = 4
# As Python objects, units and frames take many times their bytes in the file.
_OBJECTS = 2**18


def pack_index(
    frames: Sequence[FrameRecord], units: Iterable[tuple[UnitKey, UnitInfo]], major: int
) -> bytes:
    """Write the index blob.

    Parameters
    ----------
    frames : sequence of FrameRecord
        All frames.
    units : iterable of (UnitKey, UnitInfo)
        All units in payload order: each one's offset is the sum of the lengths before it.
    major : int
        Version of the container.

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
    checks = np.array([info.crc32c for _, info in entries if info.length], dtype="<u4").tobytes()
    table = _frame_numbers(frames)
    unit_columns = [*keys.T, *numbers[_key_order(keys)].T]
    columns = [
        *map(encode_column, unit_columns),
        checks,
        *map(encode_column, table.T),
    ]
    if major > 1:
        columns = [write_varint(0), *columns]
        short = encode_tables(keys, numbers, table)
        if short is not None:
            columns = min(columns, [write_varint(len(short) + 1), short, checks], key=_total)
    body = write_varint(len(entries)) + write_varint(len(frames)) + b"".join(columns)
    if any(frame.provenance for frame in frames):
        body += pack_json(_provenance_columns(frames), major)
    return body + crc(body)


def unpack_index(
    blob: bytes, limit: int, major: int
) -> tuple[tuple[FrameRecord, ...], dict[UnitKey, UnitInfo]]:
    """Read the index blob.

    Parameters
    ----------
    blob : bytes
        With its checksum.
    limit : int
        Most bytes that tables may take when unpacked.
    major : int
        Version of the container.

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
    cursor = Cursor(checked(blob))
    unit_count, frame_count = cursor.varint(), cursor.varint()
    declared = 8 * (10 * unit_count + 8 * frame_count)
    if declared > limit:
        raise TooLargeError(
            f"an index of {len(blob)} bytes declares {unit_count} units and {frame_count} frames, "
            f"{declared} bytes of tables where {limit} are accepted; raise max_bytes if the file "
            "is trusted"
        )
    allowed = (_OBJECTS + len(blob)) * max(limit, USUAL_LIMIT) // USUAL_LIMIT
    if unit_count + frame_count > allowed:
        raise TooLargeError(
            f"an index of {len(blob)} bytes declares {unit_count} units and {frame_count} frames, "
            f"{allowed} of them are accepted for its size; raise max_bytes if the file is trusted"
        )
    short = cursor.varint() if major > 1 else 0
    if short:
        block = cursor.take(short - 1)
        keys, numbers, table = decode_tables(block, unit_count, frame_count)
    else:
        keys = np.stack([decode_column(cursor, unit_count) for _ in range(4)], axis=1)
        ordered = np.stack([decode_column(cursor, unit_count) for _ in range(4)], axis=1)
        numbers = np.empty_like(ordered)
        numbers[_key_order(keys)] = ordered
    filled = numbers[:, 0] > 0
    checks = np.zeros(unit_count, np.int64)
    # ^ the checksum of nothing
    checks[filled] = np.frombuffer(cursor.take(4 * int(filled.sum())), "<u4")
    if not short:
        columns = [decode_column(cursor, frame_count) for _ in range(2 + FRAME_STATS)]
        table = np.stack(columns, axis=1)
    rows = _provenance_rows(cursor.rest(), frame_count, limit, major)
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


def _total(parts: list[bytes]) -> int:
    return sum(map(len, parts))


def _provenance_rows(block: bytes, count: int, limit: int, major: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    if not block:
        return rows
    columns = unpack_json(block, limit, major)
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
