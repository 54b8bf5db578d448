"""What decoding some dates takes, by the links on record: the oracle for lazy reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import stvc
from stvc.codec.frame_stats import links_of
from stvc.codec.structure import walk_to


def frames_for(path: Path, positions: Sequence[int]) -> int:
    """Count the frames to decode for dates at some positions on the time axis."""
    with stvc.open(path) as archive:
        order = archive.frame_order()
        place = archive._open_place(with_background=False).place
        links = links_of(archive._reader.frames, place)
        return len(walk_to([order[k] for k in positions], links))
