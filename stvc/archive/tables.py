"""Frames and units of a small archive, number by number: what each one is told to resemble.

What a stat means is the codec's business. Here some are taken to say something about others, as
they usually do: links about times, the clear share about lengths. Any numbers come back as they
were; unusual ones take more bytes. See `docs/format/file.md`.
"""

from __future__ import annotations

import numpy as np

from stvc.archive.columns import I64
from stvc.archive.keys import Kind
from stvc.archive.numbers import Numbers, reading, writing
from stvc.errors import CorruptError

MOST_ROWS = 768
"""Units and frames together: numbers take time one by one."""

_BOUND = 2**60
_DAY = 86400
_WEEK = 5
"""Days after which the two satellites of Sentinel-2 come by at the same time of day."""
_ALL_CLEAR = 1000
_LINK_BITS = 24
_COUNT, _STATS, _BEFORE, _AFTER, _DATE, _SECOND, _SAME, _KEY, _UNIT = 0, 1, 4, 5, 6, 7, 8, 9, 13

Row = list[int]


def encode_tables(keys: I64, numbers: I64, frames: I64) -> bytes | None:
    """Write the tables of an index.

    Parameters
    ----------
    keys, numbers : array, (N, 4) int64
        Of the units: kind, frame, group, tile; length and stats.
    frames : array, (T, 6) int64
        Time, number of stats, stats.

    Returns
    -------
    bytes or None
        None if they have too many rows, or numbers that this is not made for.
    """
    if len(keys) + len(frames) > MOST_ROWS:
        return None
    tables = (keys, numbers, frames[:, 1:])
    if any(table.size and (table.min() < 0 or table.max() >= _BOUND) for table in tables):
        return None
    coder = writing()
    rows = keys.tolist(), numbers.tolist(), frames.tolist()
    _walk_frames(coder, rows[2])
    _walk_units(coder, rows[0], rows[1], rows[2])
    return coder.finish()


def decode_tables(block: bytes, units: int, frames: int) -> tuple[I64, I64, I64]:
    """Invert `encode_tables`.

    Parameters
    ----------
    block : bytes
    units, frames : int
        N and T.

    Returns
    -------
    keys, numbers : array, (N, 4) int64
    frames : array, (T, 6) int64

    Raises
    ------
    CorruptError
        If there are too many rows, or numbers that cannot be.
    """
    if units + frames > MOST_ROWS:
        raise CorruptError(f"{units} units and {frames} frames in tables for {MOST_ROWS}")
    rows = [[[0] * width for _ in range(n)] for n, width in ((units, 4), (units, 4), (frames, 6))]
    with reading(block) as coder:
        _walk_frames(coder, rows[2])
        _walk_units(coder, *rows)
    found = [np.array(table, np.int64) for table in rows]
    return found[0].reshape(-1, 4), found[1].reshape(-1, 4), found[2].reshape(-1, 6)


def _walk_frames(coder: Numbers, frames: list[Row]) -> None:
    """Code each frame's stats, and then its time from those of the frames that it links to."""
    dates: Row = []
    seconds: dict[int, int] = {}
    last = [0] * 6
    second = before = after = 0
    for k, row in enumerate(frames):
        row[1] = last[1] + coder.number(_COUNT, (), row[1] - last[1], signed=True)
        _bounded(row[1])
        row[2] = coder.number(_STATS, (), row[2])
        lost, contexts = _ALL_CLEAR - row[3], (_size(_ALL_CLEAR - last[3]),)
        lost = coder.number(_STATS + 1, contexts, lost, signed=True)
        row[3] = _ALL_CLEAR - lost
        row[4] = coder.number(_STATS + 2, (_size(last[4]), _size(lost)), row[4])
        before = coder.number(_BEFORE, (_size(before),), row[5] & 2**_LINK_BITS - 1)
        after = coder.number(_AFTER, (_size(after), _size(before)), row[5] >> _LINK_BITS)
        row[5] = _bounded(before + (after << _LINK_BITS))
        linked = [dates[k - back] for back in (before, after) if 0 < back <= k]
        near = sum(linked) // len(linked) if linked else dates[-1] if dates else 0
        gap = linked[-1] - linked[0] if linked else 0
        date = row[0] // _DAY
        where = _size(gap), _size(before)
        date = near + coder.number(_DATE, where, date - near, signed=True)
        known = date % _WEEK in seconds
        usual = seconds.get(date % _WEEK, second)
        second = row[0] % _DAY
        second = usual + coder.number(_SECOND, (int(known),), second - usual, signed=True)
        row[0] = _bounded(date * _DAY + second)
        dates.append(date)
        seconds[date % _WEEK] = second
        last = row


def _walk_units(coder: Numbers, keys: list[Row], numbers: list[Row], frames: list[Row]) -> None:
    """Code the keys in payload order, and then the numbers in the order of keys."""
    followers: dict[tuple[int, ...], Row] = {}
    last = [0] * 4
    for key in keys:
        place = (last[0], last[2], last[3])
        step = [key[0], key[1] - last[1], key[2], key[3]]
        usual = followers.get(place)
        if usual is None or coder.number(_SAME, (), int(step != usual)):
            step = [coder.number(_KEY + c, (), step[c], signed=True) for c in range(4)]
        else:
            step = usual
        key[:] = step[0], last[1] + step[1], step[2], step[3]
        if min(key) < 0 or max(key) >= _BOUND or key[0] > max(Kind):
            raise CorruptError(f"a unit has the key {tuple(key)}")
        followers[place] = step
        last = key
    last = [0] * 4
    order = sorted(range(len(keys)), key=lambda n: (keys[n][0], *keys[n][2:], keys[n][1]))
    for n in order:
        kind, frame = keys[n][:2]
        row = numbers[n]
        dated = kind != Kind.BACKGROUND and frame < len(frames)
        lost = _size(_ALL_CLEAR - frames[frame][3]) if dated else 0
        column = _UNIT + 4 * kind
        row[0] = coder.number(column, (_size(last[0]), lost), row[0])
        row[1] = coder.number(column + 1, (_size(last[1]), _size(row[0])), row[1])
        row[2] = coder.number(column + 2, (_size(last[2]), _size(row[1])), row[2])
        row[3] = coder.number(column + 3, (_size(last[3]), lost), row[3])
        last = row


def _size(value: int) -> int:
    return abs(value).bit_length()


def _bounded(value: int) -> int:
    if abs(value) >= 2 * _BOUND:
        raise CorruptError(f"a frame has the number {value}")
    return value
