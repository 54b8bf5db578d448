"""Decode frames of an archive; mirror image of `stvc.codec.encoder`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from stvc import threads
from stvc.codec.backgrounds import Backgrounds
from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.frame_stats import links_of
from stvc.codec.place import Place
from stvc.codec.structure import GROUP, walk_to
from stvc.codec.unit_reading import Damage, Units
from stvc.codec.wave_decoder import DecodedFrame, WaveDecoder
from stvc.codec.waves import Span, spans

if TYPE_CHECKING:
    from stvc.archive import ArchiveReader
    from stvc.model.weights import EntropyModel


def decode_frames(
    reader: ArchiveReader,
    place: Place,
    backgrounds: Backgrounds | None,
    model: EntropyModel,
    frames: list[int],
    groups: list[int],
    *,
    on_damage: Damage | None = None,
    decoder: FrameDecoder | None = None,
    ahead: Callable[[list[int]], None] | None = None,
    together: bool = True,
) -> Iterator[DecodedFrame]:
    """Decode frames in ascending order, each after those that it is predicted from.

    Parameters
    ----------
    reader : ArchiveReader
    place : Place
    backgrounds : tuple of array, or Versions, optional
    model : EntropyModel
    frames : list of int
        Ascending frame indices.
    groups : list of int
        Band groups to decode.
    on_damage : callable, optional
        Gets the description of every damaged unit, which then decodes to nodata; without it
        damage raises.
    decoder : FrameDecoder, optional
        Walks the frames: for an encoder to go on from, or to watch. It must know the links.
    ahead : callable, optional
        Gets the frames that will be decoded next, a group at a time: to fetch their units.
    together : bool
        False decodes unit by unit, in order.

    Raises
    ------
    CorruptError
        If a unit is damaged and ``on_damage`` is not given.
    """
    links = links_of(reader.frames, place)
    walk = walk_to(frames, links)
    walker = decoder or FrameDecoder(place, backgrounds, links, walk)
    work = WaveDecoder(Units(reader, on_damage), walker, model, groups, together=together)
    wanted = set(frames)
    done = fetched = 0
    for span in (
        spans(walk, links, place.grids) if together else [Span((k,), ((k,),)) for k in walk]
    ):
        while ahead is not None and fetched < done + len(span.frames):
            ahead(walk[fetched : fetched + GROUP])
            fetched += GROUP
        decoded: dict[int, DecodedFrame] = {}
        for wave in span.waves:
            with threads.spread_over(work.tasks(wave)) as spread:
                for frame in work.decode(wave, spread):
                    if frame.index in wanted:
                        decoded[frame.index] = frame
        for index in sorted(decoded):
            yield decoded.pop(index)
        done += len(span.frames)
        walker.forget(span.frames[-1])
