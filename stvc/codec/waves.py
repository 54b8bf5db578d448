"""Which frames can be worked on at the same time: those that do not link to each other.

Many small tensors cost more than one large one, and two cores want two things to do. A walk over
frames is cut into spans that fit into memory, each span into waves: a wave's frames link to earlier
waves only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stvc.codec.structure import Link
from stvc.types import GroupGrid

_SPAN_SAMPLES = 1 << 21
# ^ a sample on its way through the codec takes some 60 bytes
_SPAN_FRAMES = 48


@dataclass(frozen=True)
class Span:
    """Consecutive frames of a walk."""

    frames: tuple[int, ...]
    """Ascending."""
    waves: tuple[tuple[int, ...], ...]
    """The same frames by wave, ascending in each."""


def spans(walk: Sequence[int], links: Sequence[Link], grids: Sequence[GroupGrid]) -> list[Span]:
    """Cut a walk into spans.

    Parameters
    ----------
    walk : sequence of int
        Ascending frames, each behind those that it links to; links to others are done already.
    links : sequence of Link
        By frame.
    grids : sequence of GroupGrid
        What a frame consists of: large ones stay alone.
    """
    samples = sum(len(g.bands) * len(g.y) * len(g.x) for g in grids)
    size = max(1, min(_SPAN_FRAMES, _SPAN_SAMPLES // max(samples, 1)))
    return [_span(walk[k : k + size], links) for k in range(0, len(walk), size)]


def _span(frames: Sequence[int], links: Sequence[Link]) -> Span:
    level: dict[int, int] = {}
    for frame in frames:
        level[frame] = 1 + max((level.get(k, -1) for k in links[frame]), default=-1)
    waves: list[list[int]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for frame in frames:
        waves[level[frame]].append(frame)
    return Span(tuple(frames), tuple(tuple(wave) for wave in waves))
