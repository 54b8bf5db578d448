"""The guard at the archive's door: no frame gets in with a baseline's offset left in its DN."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.codec.decoder import FrameDecoder
from stvc.codec.place import Place, nodata_of, tiles_of
from stvc.codec.references import NEVER
from stvc.errors import RadiometryError
from stvc.radiometry import denies_offset, suspect_offset
from stvc.types import Series

U16 = npt.NDArray[np.uint16]
Bool = npt.NDArray[np.bool_]


def check_radiometry(series: Series, place: Place, decoder: FrameDecoder, where: object) -> None:
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
    where : object
        What messages call the archive.

    Raises
    ------
    RadiometryError
        With the first such frame.
    """
    known = [_known(place, decoder, group) for group in range(len(place.grids))]
    for frame, time in enumerate(series.times):
        nodata = tuple(nodata_of(pixels[frame : frame + 1])[0] for pixels in series.pixels)
        unclear = place.unclear(series.classes[frame], nodata)
        compared = [
            (stack[frame], pixels, seen & ~hidden)
            for (pixels, seen), stack, hidden in zip(known, series.pixels, unclear, strict=True)
        ]
        offsets = {suspect_offset(*of_group) for of_group in compared} - {0}
        # Haze lifts the visible bands alone; an offset lifts those of every native grid.
        if len(offsets) == 1 and not any(denies_offset(*c, *offsets) for c in compared):
            raise RadiometryError(_accusation(series, frame, str(time), offsets.pop(), where))
        for (pixels, seen), stack, hidden in zip(known, series.pixels, unclear, strict=True):
            clear = ~hidden
            np.copyto(pixels, stack[frame], where=clear)
            seen |= clear


def _known(place: Place, decoder: FrameDecoder, group: int) -> tuple[U16, Bool]:
    """Last clear DN (C, H, W) of a group, and where there are any (H, W)."""
    bands, height, width = place.grids[group].shape
    pixels = np.zeros((bands, height, width), np.uint16)
    seen = np.zeros((height, width), np.bool_)
    for tile in tiles_of(place.grids[group]):
        state = decoder.state(group, tile)
        h, w = tile.size
        pixels[:, tile.rows, tile.columns] = np.clip(state.recent[:, :h, :w], 0, 65535)
        if state.background is not None:
            seen[tile.rows, tile.columns] = True
        else:
            seen[tile.rows, tile.columns] = state.recent_day[:h, :w] > NEVER
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
