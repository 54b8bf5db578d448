"""Code one tile of one band group: a date here, or all new dates wherever there is room.

Tiles know nothing of each other. What a tile's dates become depends on its own pixels, on the
states that older dates left behind in it, and on nothing else, so that they may be coded by any
process, on any machine: the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from stvc.codec.analysis import UnitAnalysis
from stvc.codec.backgrounds import at_frame
from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.frame_stats import error_stats, ndvi_bands
from stvc.codec.packed_state import PackedState, unpack
from stvc.codec.place import SECONDS_PER_DAY, Place, Tile, nodata_of
from stvc.codec.references import ReferenceState, linked_state
from stvc.codec.structure import Link
from stvc.codec.transform import pad_to_blocks
from stvc.codec.unit import RAW, UnitContext
from stvc.codec.unit_encoder import encode_unit
from stvc.codec.unit_plan import UnitPlan
from stvc.types import Series

if TYPE_CHECKING:
    from stvc.model.weights import EntropyModel

Bool = npt.NDArray[np.bool_]
U16 = npt.NDArray[np.uint16]


class CodedTile(NamedTuple):
    """One date of a tile."""

    payload: bytes
    stats: tuple[int, int, int]
    """As `stvc.codec.frame_stats.error_stats` has them."""
    shown: U16
    """(2, h, w) decoded red and near infrared, for the NDVI; (0, h, w) if the group lacks them."""
    bits: tuple[float, float]
    """Estimated, under the network and under the plain coder."""
    raw: bool
    """Whether its pixels are coded as they are."""


def code_tile(
    rules: FrameDecoder,
    pixels: U16,
    context: UnitContext,
    state: ReferenceState,
    model: EntropyModel,
    flags: tuple[Bool, Bool],
    group: int,
    max_bytes: int | None = None,
    chosen: UnitPlan | None = None,
    analyzed: UnitAnalysis | None = None,
) -> CodedTile:
    """Code one date of a tile, and let its references advance.

    Parameters
    ----------
    rules : FrameDecoder
        Tells what users will see; of the place.
    pixels : array, (C, h, w) uint16
        Without padding.
    context : UnitContext
    state : ReferenceState
        Of the date; becomes what it leaves behind.
    model : EntropyModel
    flags : (array, array), (h, w) bool
        Unclear and nodata pixels.
    group : int
    max_bytes : int, optional
        Longest payload.
    chosen : UnitPlan, optional
        What it is predicted from, if that is settled.
    analyzed : UnitAnalysis, optional
        The date as it would be analyzed.
    """
    unclear, nodata = flags
    grid = rules.place.grids[group]
    padded = np.asarray(pad_to_blocks(pixels), np.uint16)
    settings = rules.place.settings
    unit = encode_unit(
        padded,
        context,
        state,
        model,
        max_error=settings.max_error,
        restored=settings.restored,
        max_bytes=max_bytes,
        chosen=chosen,
        analyzed=analyzed,
    )
    shown = rules.finish(context, unit.decoded, nodata)
    state.update(unit.decoded, context.unclear, context.day, unit.shift)
    state.memory = unit.memory
    return CodedTile(
        unit.payload,
        error_stats(pixels, shown, ~unclear, alone=len(rules.place.tiles(group)) == 1),
        shown[list(ndvi_bands(grid) or ())],
        (unit.bits_network, unit.bits_plain),
        unit.coder == RAW,
    )


@dataclass(frozen=True)
class TileJob:
    """All new dates of one tile; may travel."""

    place: Place
    model_id: str
    group: int
    tile: Tile
    seconds: tuple[int, ...]
    """Of each date, since 1970."""
    pixels: U16
    """(T, C, h, w) in coding order, without padding."""
    unclear: Bool
    """(T, h, w)."""
    nodata: Bool
    """(T, h, w)."""
    links: tuple[Link, ...]
    """Of each date."""
    first: int
    """Index of the first one in the archive."""
    fresh: ReferenceState
    """Of a tile that nothing is known of but its background."""
    known: dict[int, ReferenceState | PackedState]
    """What older frames left behind, by index."""
    plans: tuple[UnitPlan | None, ...]
    """Of each date, what it is predicted from, if that is settled."""


class Spread(Protocol):
    """What `map` does, somewhere else: ``pool.map`` of any executor will do."""

    def __call__(
        self, work: Callable[[TileJob], list[CodedTile]], jobs: Sequence[TileJob], /
    ) -> Iterable[list[CodedTile]]:
        """Do all jobs; results are in the order of the jobs."""
        ...


def work(job: TileJob) -> list[CodedTile]:
    """Code all dates of a tile, in order.

    Parameters
    ----------
    job : TileJob

    Returns
    -------
    list of CodedTile
    """
    from stvc.model.weights import load_model

    model, rules = load_model(job.model_id), FrameDecoder(job.place, None)
    height, width = job.tile.size
    local = Tile(job.tile.index, slice(0, height), slice(0, width))
    states = {k: unpack(kept, job.fresh) for k, kept in job.known.items()}
    coded = []
    for t, (seconds, link) in enumerate(zip(job.seconds, job.links, strict=True)):
        before, after = (states[k] if k >= 0 else None for k in link)
        state = linked_state(job.fresh, before, after, seconds // SECONDS_PER_DAY)
        state.background = job.fresh.background
        flags = job.unclear[t], job.nodata[t]
        context = job.place.context(job.group, local, *flags, seconds)
        chosen = job.plans[t]
        coded.append(
            code_tile(rules, job.pixels[t], context, state, model, flags, job.group, chosen=chosen)
        )
        states[job.first + t] = state
    return coded


def spread_tiles(
    spread: Spread | None,
    series: Series,
    decoder: FrameDecoder,
    model: EntropyModel,
    first: int,
    plans: Mapping[tuple[int, int, int], UnitPlan],
) -> dict[tuple[int, int], list[CodedTile]] | None:
    """Let all tiles of a series be coded by others.

    Parameters
    ----------
    spread : Spread or None
    series : Series
        New frames, in coding order.
    decoder : FrameDecoder
        Holds what older frames left behind.
    model : EntropyModel
    first : int
        Index of the first new frame.
    plans : mapping
        Settled predictions by place in coding order, group and tile.

    Returns
    -------
    dict or None
        Dates by group and index of the tile; None if nobody is there to do it, or if no band group
        has more than one tile.
    """
    place = decoder.place
    if spread is None or all(len(place.tiles(g)) == 1 for g in range(len(place.grids))):
        return None
    seconds = tuple(series.times.astype("datetime64[s]").astype(np.int64).tolist())
    links = tuple(decoder.links[first : first + len(seconds)])
    nodata = [nodata_of(pixels) for pixels in series.pixels]
    unclear = [
        place.unclear(classes, tuple(flags[t] for flags in nodata))
        for t, classes in enumerate(series.classes)
    ]
    older = sorted({k for link in links for k in link if 0 <= k < first})
    jobs = []
    for g in range(len(place.grids)):
        for tile in place.tiles(g):
            part = (tile.rows, tile.columns)
            fresh = place.state(g, tile, at_frame(decoder._backgrounds, first, g))
            known = {k: decoder._states[k].get((g, tile.index)) or fresh for k in older}
            jobs.append(
                TileJob(
                    place,
                    model.model_id,
                    g,
                    tile,
                    seconds,
                    np.ascontiguousarray(series.pixels[g][:, :, *part]),
                    np.stack([flags[g][part] for flags in unclear]),
                    np.ascontiguousarray(nodata[g][:, *part]),
                    links,
                    first,
                    fresh,
                    known,
                    tuple(plans.get((t, g, tile.index)) for t in range(len(seconds))),
                )
            )
    coded = list(spread(work, jobs))
    return {(job.group, job.tile.index): dates for job, dates in zip(jobs, coded, strict=True)}
