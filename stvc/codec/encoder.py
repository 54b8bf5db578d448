"""Encode a series frame by frame; mirror image of `stvc.codec.decoder`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.archive import FrameRecord
from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.frame_encoder import CodedFrame, FrameEncoder, Unit
from stvc.codec.place import Place, nodata_of
from stvc.codec.sampling import spread_sample
from stvc.codec.spectral import Klt, fit_klt
from stvc.codec.spectral_fit import patches_of
from stvc.codec.tile_job import Spread
from stvc.codec.unit_plan import Plans
from stvc.codec.waves import spans
from stvc.types import GroupGrid, Series

if TYPE_CHECKING:
    from stvc.codec.analysis import UnitAnalysis
    from stvc.model.weights import EntropyModel

Bool = npt.NDArray[np.bool_]
U16 = npt.NDArray[np.uint16]
Progress = Callable[[int, int, str], None]

_SAMPLES = 200_000


@dataclass(frozen=True)
class EncodedFrames:
    """What goes into the archive."""

    frames: tuple[FrameRecord, ...]
    units: tuple[Unit, ...]
    bits_network: float
    """Estimated bits of all units under the network, and under the plain coder."""
    bits_plain: float


def fit_klts(series: Series, unclear: tuple[Bool, ...]) -> tuple[Klt, ...]:
    """Fit one spectral transform per group to clear pixels spread over dates and ground.

    Parameters
    ----------
    series : Series
    unclear : tuple of array, per group (T, H, W) bool
    """
    klts = []
    for grid, pixels, hidden in zip(series.grids, series.pixels, unclear, strict=True):
        chosen = spread_sample(hidden, _SAMPLES)
        bands, size = pixels.shape[1], hidden[0].size
        first = chosen + chosen // max(size, 1) * ((bands - 1) * size)
        # ^ of each pixel's first band; one band after the other is read faster than all at once
        flat = np.ascontiguousarray(pixels).reshape(-1)
        samples = np.stack([flat.take(first + k * size) for k in range(bands)], 1)
        klts.append(fit_klt(samples, patches_of(pixels, hidden, grid.bands)))
    return tuple(klts)


def unclear_of(series: Series, grids: tuple[GroupGrid, ...]) -> tuple[Bool, ...]:
    """Per group (T, H, W): pixels that do not show the ground."""
    from stvc.masks import hidden, hidden_on_grid

    found = hidden(series.classes, series.mask.kind)
    return tuple(
        hidden_on_grid(found, series.mask, grid) | nodata_of(pixels)
        for grid, pixels in zip(grids, series.pixels, strict=True)
    )


def encode_frames(
    series: Series,
    place: Place,
    decoder: FrameDecoder,
    model: EntropyModel,
    *,
    first: int = 0,
    progress: Progress | None = None,
    spread: Spread | None = None,
    plans: Plans | None = None,
    analyzed: dict[tuple[int, int, int], UnitAnalysis] | None = None,
) -> EncodedFrames:
    """Encode the frames of a series behind ``first`` earlier frames.

    Parameters
    ----------
    series : Series
        New frames only, in coding order.
    place : Place
    decoder : FrameDecoder
        It has walked the older frames that new ones link to, and is advanced with what the
        decoder of the new frames will see.
    model : EntropyModel
    first : int
        Index of the first new frame in the archive.
    progress : callable, optional
    spread : Spread, optional
        Where the tiles of large places are coded: then the decoder's references do not advance.
    plans : dict, optional
        What `find_step` chose for the units, to be taken as it is. Where the entropy model has
        chosen other levels since, references differ a little from those of the trial, which
        changes sizes by a tenth of a percent, either way (measured).
    analyzed : dict, optional
        Units that `find_step` has analyzed as they would be again. They are taken out of it.
    """
    coder = FrameEncoder(series, decoder, model, first, spread, plans, analyzed)
    coded: dict[int, CodedFrame] = {}
    count = len(series.times)
    for span in spans(range(first, first + count), decoder.links, place.grids):
        for wave in span.waves:
            for done in coder.encode(wave):
                coded[done.frame] = done
                if progress is not None:
                    progress(len(coded), count, "encoding")
        decoder.forget(span.frames[-1])
    ordered = [coded[frame] for frame in sorted(coded)]
    network, plain = (sum(frame.bits[k] for frame in ordered) for k in (0, 1))
    return EncodedFrames(
        tuple(frame.record for frame in ordered),
        tuple(unit for frame in ordered for unit in frame.units),
        network,
        plain,
    )
