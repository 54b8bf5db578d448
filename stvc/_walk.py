"""To where new frames begin: a decoder that holds what they are predicted from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from stvc._recall import Walked, keep, key_of, recall
from stvc.archive import ArchiveReader
from stvc.codec.decoder import decode_frames
from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.structure import Link, walk_to
from stvc.header import OpenPlace


class Guard(NamedTuple):
    """A look at what is known of a place, taken in passing: to decode it once more is dear."""

    frame: int
    """After which frame of the archive."""
    look: Callable[[FrameDecoder, int], None]
    """Gets the decoder and the frame."""


class Walk(NamedTuple):
    """A decoder that holds what new frames need."""

    decoder: FrameDecoder
    blind: bool
    """Whether it has walked the masks alone."""


def walk_there(
    reader: ArchiveReader,
    opened: OpenPlace,
    links: Sequence[Link],
    frames: Collection[int],
    guard: Guard | None,
    *,
    blind: bool,
) -> Walk:
    """Walk to some frames; those of ``links`` that the archive lacks will follow.

    ``blind`` spares the pixels, unless they are known anyway.
    """
    place = opened.place
    wanted = sorted({*frames, *(() if guard is None else (guard.frame,))})
    walk = [*walk_to(wanted, links), *range(len(reader.frames), len(links))]
    held = () if guard is None else (guard.frame,)
    decoder = FrameDecoder(place, opened.backgrounds, links, walk, held)

    def look(frame: int) -> None:
        if guard is not None and frame == guard.frame:
            guard.look(decoder, frame)

    known = [recall(key_of(reader, frame, links)) for frame in wanted]
    if all(known):
        for frame, walked in zip(wanted, known, strict=True):
            if walked is not None:
                _resume(decoder, frame, reader.frames[frame].time, walked)
                look(frame)
        return Walk(decoder, False)
    groups = [] if blind else list(range(len(place.grids)))
    for decoded in decode_frames(
        reader, place, opened.backgrounds, opened.model, wanted, groups, decoder=decoder
    ):
        look(decoded.index)
    return Walk(decoder, blind)


def keep_newest(path: Path, links: Sequence[Link], decoder: FrameDecoder) -> None:
    """Keep what the newest frame left behind: the next one will most likely link to it."""
    with ArchiveReader.open(path) as reader:
        newest = max(range(len(reader.frames)), key=lambda k: (reader.frames[k].time, k))
        states = decoder._states.get(newest, {})
        tiles = sum(len(decoder.place.tiles(g)) for g in range(len(decoder.place.grids)))
        # Of tiles that were coded elsewhere, nothing is known here.
        if len(states) == tiles and newest in decoder._classes:
            keep(key_of(reader, newest, links), (states, decoder._classes[newest]))


def _resume(decoder: FrameDecoder, frame: int, time: int, walked: Walked) -> None:
    """Let a decoder turn to a frame as if it had just walked it."""
    decoder.start_frame(frame, time)
    decoder._states[frame], decoder._classes[frame] = walked
