"""The guard at the archive's door: no frame gets in with a baseline's offset left in its DN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.place import Place, nodata_of
from stvc.codec.references import NEVER
from stvc.errors import RadiometryError
from stvc.radiometry import denies_offset, suspect_offset
from stvc.types import GroupGrid, Series

U16 = npt.NDArray[np.uint16]
Bool = npt.NDArray[np.bool_]

_ENOUGH = 1 << 20
# ^ pixels; the medians of a whole satellite tile would take gigabytes


def check_radiometry(
    series: Series, place: Place, decoder: FrameDecoder, latest: int, *, where: object
) -> None:
    """Refuse frames that lie one offset beside the last clear state of their place.

    Parameters
    ----------
    series : Series
        Frames that are about to be appended.
    place : Place
        Of the archive.
    decoder : FrameDecoder
        Holds what the archive knows of the place: the latest clear value of each pixel, or its
        background. Where it knows nothing, nothing is refused.
    latest : int
        The archive's latest frame, which the decoder has just walked.
    where : object
        What messages call the archive.

    Raises
    ------
    RadiometryError
        With the first such frame.
    """
    steps = [_step(grid) for grid in place.grids]
    known = [_known(place, decoder, latest, group, step) for group, step in enumerate(steps)]
    for frame, time in enumerate(series.times):
        nodata = tuple(nodata_of(pixels[frame : frame + 1])[0] for pixels in series.pixels)
        clear = [
            ~hidden[::step, ::step]
            for hidden, step in zip(
                place.unclear(series.classes[frame], nodata), steps, strict=True
            )
        ]
        new = [
            stack[frame][:, ::step, ::step]
            for stack, step in zip(series.pixels, steps, strict=True)
        ]
        compared = [
            (now, pixels, seen & shown)
            for (pixels, seen), now, shown in zip(known, new, clear, strict=True)
        ]
        offsets = {suspect_offset(*of_group) for of_group in compared} - {0}
        # Haze lifts the visible bands alone; an offset lifts those of every native grid.
        if len(offsets) == 1 and not any(denies_offset(*c, *offsets) for c in compared):
            raise RadiometryError(_accusation(series, frame, str(time), offsets.pop(), where))
        for (pixels, seen), now, shown in zip(known, new, clear, strict=True):
            np.copyto(pixels, now, where=shown)
            seen |= shown


def _step(grid: GroupGrid) -> int:
    """Every which pixel of a row and column is looked at: a million of them tell enough."""
    return math.isqrt(max(len(grid.y) * len(grid.x) - 1, 0) // _ENOUGH) + 1


def _known(
    place: Place, decoder: FrameDecoder, latest: int, group: int, step: int
) -> tuple[U16, Bool]:
    """Last clear DN (C, H, W) of every ``step``-th pixel, and where there are any (H, W)."""
    bands, height, width = place.grids[group].shape
    pixels = np.zeros((bands, -(-height // step), -(-width // step)), np.uint16)
    seen = np.zeros(pixels.shape[1:], np.bool_)
    for tile in place.tiles(group):
        state = decoder.state(latest, group, tile)
        h, w = tile.size
        rows, columns = (
            slice(-part.start % step, size, step)
            for part, size in ((tile.rows, h), (tile.columns, w))
        )
        into = tuple(
            slice(-(-part.start // step), -(-part.stop // step))
            for part in (tile.rows, tile.columns)
        )
        pixels[:, *into] = np.clip(state.recent[:, rows, columns], 0, 65535)
        if state.background is not None:
            seen[into] = True
        else:
            seen[into] = state.recent_day[rows, columns] > NEVER
    return pixels, seen


def _accusation(series: Series, frame: int, time: str, offset: int, where: object) -> str:
    told: dict[str, Any] = series.provenance[frame] if series.provenance else {}
    baseline = told.get("baseline") or told.get("processing_baseline")
    said = f" (baseline {baseline}, offset_dn {told.get('offset_dn', 'unknown')})"
    cause = (
        "the offset of processing baseline 04.00 and later has not been removed"
        if offset > 0
        else "an offset of -1000 has been removed twice, or from a product that never had it"
    )
    return (
        f"frame {time}{said if baseline else ''}: its clear ground lies about {offset:+d} DN "
        f"beside what {where} holds, in every band: most likely {cause}; correct it, so that "
        "reflectance is DN / 10000, or append with --accept-offset (accept_offset=True) if it is "
        "real"
    )
