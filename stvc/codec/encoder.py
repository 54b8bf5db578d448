"""Encode a series frame by frame; mirror image of `stvc.codec.decoder`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc.archive import FrameRecord, Kind, UnitKey
from stvc.codec.analysis import analyze
from stvc.codec.budget import allowance_of
from stvc.codec.decoder import FrameDecoder
from stvc.codec.frame_stats import NODATA_FROM_CLASSES, FrameStats, ndvi_bands, pack_link
from stvc.codec.mask_coder import encode_mask
from stvc.codec.place import SECONDS_PER_DAY, Place, nodata_of, tiles_of
from stvc.codec.quantize import MAX_STEP_INDEX, STEP_OCTAVE
from stvc.codec.references import ReferenceState, linked_state
from stvc.codec.spectral import Klt, fit_klt
from stvc.codec.structure import Planned
from stvc.codec.tile_job import Spread, code_tile, spread_tiles
from stvc.codec.transform import pad_to_blocks
from stvc.codec.unit_encoder import finish_unit
from stvc.metrics import ndvi_mae
from stvc.types import GroupGrid, Series

if TYPE_CHECKING:
    from stvc.model.weights import EntropyModel

Bool = npt.NDArray[np.bool_]
U16 = npt.NDArray[np.uint16]
Unit = tuple[UnitKey, bytes, tuple[int, int, int]]
Progress = Callable[[int, int, str], None]

_SAMPLES = 200_000
_LEVELS_COST = 0.04
"""What restoration gains less, dB, once the entropy model has chosen the levels (measured)."""


@dataclass(frozen=True)
class EncodedFrames:
    """What goes into the archive."""

    frames: tuple[FrameRecord, ...]
    units: tuple[Unit, ...]
    bits_network: float
    """Estimated bits of all units under the network, and under the plain coder."""
    bits_plain: float


def fit_klts(series: Series, unclear: tuple[Bool, ...]) -> tuple[Klt, ...]:
    """Fit one spectral transform per group to a spread sample of clear pixels.

    Parameters
    ----------
    series : Series
    unclear : tuple of array, per group (T, H, W) bool
    """
    klts = []
    for pixels, hidden in zip(series.pixels, unclear, strict=True):
        clear = np.flatnonzero(~hidden)
        chosen = clear[:: max(1, len(clear) // _SAMPLES)]
        t, y, x = np.unravel_index(chosen, hidden.shape)
        klts.append(fit_klt(pixels[t, :, y, x]))
    return tuple(klts)


def unclear_of(series: Series, grids: tuple[GroupGrid, ...]) -> tuple[Bool, ...]:
    """Per group (T, H, W): pixels that do not show the ground."""
    from stvc.masks import hidden, hidden_on_grid

    found = hidden(series.classes, series.mask.kind)
    return tuple(
        hidden_on_grid(found, series.mask, grid) | nodata_of(pixels)
        for grid, pixels in zip(grids, series.pixels, strict=True)
    )


def find_step(
    series: Series,
    plan: list[Planned],
    place: Place,
    backgrounds: tuple[U16, ...] | None,
    psnr: float,
    progress: Progress | None = None,
) -> int:
    """Find the step index whose PSNR on clear pixels is closest to a target.

    The quantizer alone decides about distortion, so no trial needs the entropy model. Secant steps
    on the index (PSNR falls by about 0.19 dB per index) until two neighbors enclose the target.
    """
    tried: dict[int, float] = {}

    def quality(index: int) -> float:
        if index not in tried:
            if progress is not None:
                progress(len(tried), 0, "aiming at the PSNR")
            tried[index] = _trial(
                series,
                plan,
                replace(place, settings=replace(place.settings, step_index=index)),
                backgrounds,
            )
        return tried[index]

    psnr += _LEVELS_COST if place.settings.restored else 0
    slope = -6.02 / STEP_OCTAVE
    index = int(np.clip(round((psnr - 93.0) / slope), 0, MAX_STEP_INDEX))
    for _ in range(12):
        miss = psnr - quality(index)
        if len(tried) > 1:
            known = sorted(tried)
            steep = np.polyfit(known, [tried[k] for k in known], 1)[0]
            slope = float(np.clip(steep, -0.4, -0.02)) if np.isfinite(steep) else slope
        following = int(
            np.clip(
                index + np.sign(miss) * -1 * max(1, round(abs(miss / slope))), 0, MAX_STEP_INDEX
            )
        )
        if abs(miss) < abs(slope) * 0.5 or following in tried:
            break
        index = following
    return min(tried, key=lambda k: (abs(tried[k] - psnr), k))


def _trial(
    series: Series, plan: list[Planned], place: Place, backgrounds: tuple[U16, ...] | None
) -> float:
    """PSNR over the clear pixels of all groups (peak 10000), without entropy coding."""
    error, count = 0.0, 0
    unclear = unclear_of(series, place.grids)
    links = [planned.link for planned in plan]
    seconds = series.times.astype("datetime64[s]").astype(np.int64)
    for g, (grid, pixels) in enumerate(zip(place.grids, series.pixels, strict=True)):
        nodata = nodata_of(pixels)
        for tile in tiles_of(grid):
            background = None if backgrounds is None else backgrounds[g]
            fresh = place.state(g, tile, background)
            states: list[ReferenceState] = []
            h, w = tile.size
            for k, t in enumerate(planned.position for planned in plan):
                before, after = (states[i] if i >= 0 else None for i in links[k])
                state = linked_state(fresh, before, after, int(seconds[t]) // SECONDS_PER_DAY)
                states.append(state)
                context = place.context(g, tile, unclear[g][t], nodata[t], int(seconds[t]))
                cut = np.asarray(pad_to_blocks(pixels[t][:, tile.rows, tile.columns]), np.uint16)
                unit = analyze(
                    cut,
                    context.hidden,
                    state,
                    context.klt,
                    context.base_step,
                    context.day,
                    coarse=context.coarse,
                    finish=False,
                )
                unit = finish_unit(unit, context, place.settings.restored)
                state.update(unit.decoded, context.unclear, context.day, unit.plan.shift)
                clear = ~context.unclear[:h, :w]
                miss = (unit.decoded[:, :h, :w].astype(np.int64) - cut[:, :h, :w])[:, clear]
                error, count = error + float((miss * miss).sum()), count + miss.size
    mean = error / max(count, 1)
    return 99.0 if mean == 0 else float(10 * np.log10(1e8 / mean))


def encode_frames(
    series: Series,
    place: Place,
    decoder: FrameDecoder,
    model: EntropyModel,
    *,
    first: int = 0,
    progress: Progress | None = None,
    spread: Spread | None = None,
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
    """
    bounded = place.settings.max_bytes is not None
    # ^ what a tile may take depends on what those before it took
    ready = None if bounded else spread_tiles(spread, series, decoder, model, first)
    records: list[FrameRecord] = []
    units: list[Unit] = []
    bits = np.zeros(2)
    seconds = series.times.astype("datetime64[s]").astype(np.int64)
    for t in range(len(seconds)):
        frame = first + t
        decoder.start_frame(frame, int(seconds[t]))
        classes = series.classes[t]
        stats = FrameStats()
        if series.mask.kind != "none":
            payload = encode_mask(classes, decoder.previous_classes)
            units.append((UnitKey(Kind.MASK, frame, 0, 0), payload, (0, 0, 0)))
        nodata = tuple(nodata_of(p[t : t + 1])[0] for p in series.pixels)
        flags = 0
        if any(n.any() for n in nodata):
            implied = decoder.nodata_under_classes(classes)
            if implied is not None and all(
                np.array_equal(a, b) for a, b in zip(implied, nodata, strict=True)
            ):
                flags |= NODATA_FROM_CLASSES
            else:
                units += [
                    (
                        UnitKey(Kind.MASK, frame, 1 + g, 0),
                        encode_mask(n.astype(np.uint8), None),
                        (0, 0, 0),
                    )
                    for g, n in enumerate(nodata)
                    if n.any()
                ]
        unclear = place.unclear(classes, nodata)
        allowance = allowance_of(place, unclear, units, frame)
        for g, grid in enumerate(place.grids):
            whole = series.pixels[g][t]
            red_nir = ndvi_bands(grid)
            seen = np.zeros((len(red_nir or ()), *whole.shape[1:]), np.uint16)
            for tile in tiles_of(grid):
                part = (tile.rows, tile.columns)
                if ready is not None:
                    coded = ready[g, tile.index][t]
                else:
                    context = place.context(g, tile, unclear[g], nodata[g], int(seconds[t]))
                    state, cut = decoder.state(g, tile), whole[:, *part]
                    hidden = (unclear[g][part], nodata[g][part])
                    visible = ~context.hidden | context.coarse
                    share = None if allowance is None else allowance.take(visible, len(whole))
                    coded = code_tile(decoder, cut, context, state, model, hidden, g, share)
                    if allowance is not None:
                        allowance.spend(len(coded.payload))
                key = UnitKey(Kind.PIXELS, frame, g, tile.index)
                units.append((key, coded.payload, coded.stats))
                bits += coded.bits
                seen[:, *part] = coded.shown
            if red_nir is not None and stats.ndvi is None:
                truth = whole[list(red_nir)][None]
                stats = replace(
                    stats, ndvi=ndvi_mae(truth, seen[None], 0, 1, clear=~unclear[g][None])
                )
        decoder.end_frame(classes)
        clear_share = float(1 - np.mean([u.mean() for u in unclear]))
        stats = replace(stats, flags=flags, clear_share=clear_share)
        provenance: dict[str, Any] = dict(series.provenance[t]) if series.provenance else {}
        steps = () if place.generation == 1 else (pack_link(frame, decoder.link),)
        records.append(FrameRecord(int(seconds[t]), provenance, (*stats.pack(), *steps)))
        if progress is not None:
            progress(t + 1, len(seconds), "encoding")
    return EncodedFrames(tuple(records), tuple(units), float(bits[0]), float(bits[1]))
