"""What watches over a decoding: how far it is, and whether its result will fit into memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from stvc.codec.backgrounds import Backgrounds
from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.place import Place
from stvc.codec.structure import Link, walk_to
from stvc.errors import TooLargeError
from stvc.types import U8

Progress = Callable[[int, int, str], None]

_CGROUP_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


class WatchedDecoder(FrameDecoder):
    """A `FrameDecoder` that tells how far it is, frames that only lead to others included.

    Parameters
    ----------
    place : Place
    backgrounds : tuple of array, or Versions, optional
        Per group (C, H, W) decoded historical background.
    links : sequence of Link
        Of all frames of the archive.
    frames : sequence of int
        Frame indices that will be asked for.
    progress : callable
        Called with (done, total, what).
    """

    def __init__(
        self,
        place: Place,
        backgrounds: Backgrounds | None,
        links: Sequence[Link],
        frames: Sequence[int],
        progress: Progress,
    ) -> None:
        walk = walk_to(frames, links)
        super().__init__(place, backgrounds, links, walk)
        self._progress = progress
        self._done = 0
        self._total = len(walk)
        progress(0, self._total, "decoding")

    def end_frame(self, frame: int, classes: U8) -> None:
        """Keep the classes for the next mask, and count the frame."""
        super().end_frame(frame, classes)
        self._done += 1
        self._progress(self._done, self._total, "decoding")


def check_fits(wanted: int, what: str) -> None:
    """Refuse what cannot fit into this machine's memory, before it is allocated.

    Parameters
    ----------
    wanted : int
        Bytes.
    what : str
        What they are for.

    Raises
    ------
    TooLargeError
        If the machine, or the control group that this process runs in, has less memory in all.
    """
    there = memory_size()
    if wanted > there:
        raise TooLargeError(
            f"{what} takes {wanted / 1e9:.3g} GB, this machine has {there / 1e9:.3g} GB of memory; "
            "choose fewer dates or bands"
        )


def memory_size() -> int:
    """Bytes of memory that this process may at most use."""
    sizes = [1 << 62]
    if hasattr(os, "sysconf"):
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in _CGROUP_LIMITS:
        try:
            sizes.append(int(Path(limit).read_text()))
        except (OSError, ValueError):  # no such controller, or the word "max"
            continue
    return min(size for size in sizes if size > 0)
