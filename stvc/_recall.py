"""What recent appends of this process knew of their places: the next ones need not decode it again.

A date that is appended is predicted from the one before, and that takes up to sixteen others to
decode. Programs that append date by date, and workers that live on from run to run, find what they
need here. An entry is found by what it was decoded from, so that it never matters what else
happened to an archive in the meantime.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence

from stvc.archive import ArchiveReader, Kind
from stvc.codec.mask_coder import Earlier
from stvc.codec.packed_state import PackedState
from stvc.codec.references import ReferenceState
from stvc.codec.structure import Link, closure

Walked = tuple[dict[tuple[int, int], ReferenceState | PackedState], Earlier]
"""What a frame leaves behind, not to be changed: references by group and tile; mask classes, and
those that they were predicted from."""

MAX_BYTES = 16 * 2**20
"""Of all entries together: a process must not grow with the places that it has seen."""

_entries: OrderedDict[str, tuple[Walked, int]] = OrderedDict()
_lock = threading.Lock()


def key_of(reader: ArchiveReader, frame: int, links: Sequence[Link]) -> str:
    """Name all that a frame is decoded from.

    Parameters
    ----------
    reader : ArchiveReader
    frame : int
    links : sequence of Link
        Of all frames.

    Returns
    -------
    str
        Equal for equal header, frames and payloads.
    """
    needed = closure(frame, links)
    header = {k: v for k, v in reader.header.items() if k != "learned_gain"}
    units = sorted(
        (*key, unit.length, unit.crc32c)
        for key, unit in reader.units.items()
        if key.kind is Kind.BACKGROUND or key.frame in needed
    )
    frames = [(k, reader.frames[k].time, reader.frames[k].stats) for k in sorted(needed)]
    text = json.dumps([header, frames, units], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def recall(key: str) -> Walked | None:
    """Give what is known under a key; None if it is not, or no longer."""
    with _lock:
        if key not in _entries:
            return None
        _entries.move_to_end(key)
        return _entries[key][0]


def keep(key: str, walked: Walked) -> None:
    """Remember something, and forget the oldest in its favor; too large ones are not kept."""
    size = _size(walked)
    if size > MAX_BYTES:
        return
    with _lock:
        _entries.pop(key, None)
        total = size + sum(held for _, held in _entries.values())
        while total > MAX_BYTES:
            total -= _entries.popitem(last=False)[1][1]
        _entries[key] = (walked, size)


def _size(walked: Walked) -> int:
    states, classes = walked
    total = sum(raster.nbytes for raster in classes if raster is not None)
    for state in states.values():
        total += state.nbytes
        if isinstance(state, ReferenceState) and state.background is not None:
            total += state.background.nbytes
        total += sum(taught.gram.nbytes + taught.scale_gram.nbytes for taught in state.memory)
    return total
