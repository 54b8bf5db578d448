"""Encode frames that do not need each other; mirror image of `stvc.codec.wave_decoder`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stvc import threads
from stvc._ndvi import NdviError
from stvc.archive import FrameRecord, Kind, UnitKey
from stvc.codec.analysis import UnitAnalysis
from stvc.codec.budget import Allowance, allowance_of
from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.frame_stats import NODATA_FROM_CLASSES, FrameStats, ndvi_bands, pack_link
from stvc.codec.mask_coder import encode_mask
from stvc.codec.place import Tile, nodata_of
from stvc.codec.tile_job import CodedTile, Spread, code_tile, spread_tiles
from stvc.codec.unit_plan import Plans
from stvc.types import U8, Series

if TYPE_CHECKING:
    from stvc.model.weights import EntropyModel

Bool = npt.NDArray[np.bool_]
Unit = tuple[UnitKey, bytes, tuple[int, int, int]]


class CodedFrame(NamedTuple):
    """What one frame adds to an archive."""

    frame: int
    record: FrameRecord
    units: tuple[Unit, ...]
    bits: tuple[float, float]
    """Estimated bits of its pixels under the network, and under the plain coder."""


@dataclass(frozen=True)
class _Frame:
    """One frame, ready for its pixels to be coded."""

    position: int
    """In the series."""
    index: int
    """In the archive."""
    seconds: int
    nodata: tuple[Bool, ...]
    """Per group (H, W)."""
    unclear: tuple[Bool, ...]
    """Per group (H, W)."""
    allowance: Allowance | None


class FrameEncoder:
    """Encodes waves of frames (see `stvc.codec.waves`).

    Parameters
    ----------
    series : Series
        New frames only, in coding order.
    decoder : FrameDecoder
        Advances with what the decoder of the new frames will see.
    model : EntropyModel
    first : int
        Index of the first new frame in the archive.
    spread : Spread, optional
        Where the tiles of large places are coded.
    plans : dict, optional
        What units are predicted from, if that is settled.
    analyzed : dict, optional
        Units that are analyzed already, if no levels are chosen; they are taken out of it.
    """

    def __init__(
        self,
        series: Series,
        decoder: FrameDecoder,
        model: EntropyModel,
        first: int,
        spread: Spread | None,
        plans: Plans | None,
        analyzed: dict[tuple[int, int, int], UnitAnalysis] | None = None,
    ) -> None:
        self._series, self._decoder, self._model, self._first = series, decoder, model, first
        self._place = decoder.place
        self._seconds = series.times.astype("datetime64[s]").astype(np.int64).tolist()
        bounded = self._place.settings.max_bytes is not None
        # ^ what a tile may take depends on what those before it took
        self._plans: Plans = {} if bounded or plans is None else plans
        self._analyzed = {} if analyzed is None or model.effort != "fast" else analyzed
        self._alone = bounded
        self._ready = (
            None if bounded else spread_tiles(spread, series, decoder, model, first, self._plans)
        )

    def encode(self, wave: Sequence[int]) -> list[CodedFrame]:
        """Encode frames that do not link to each other, given by their index in the archive."""
        for frame in wave:
            self._decoder.start_frame(frame, self._seconds[frame - self._first])
        tiles = (
            1
            if self._alone
            else sum(len(self._place.tiles(g)) for g in range(len(self._place.grids)))
        )
        with threads.spread_over(max(len(wave), tiles)) as spread:
            if len(wave) > 1:
                coded = list(spread(partial(self._encode, spread=map), wave))
            else:
                coded = [self._encode(frame, map if self._alone else spread) for frame in wave]
        for frame in wave:
            self._decoder.end_frame(frame, self._series.classes[frame - self._first])
        return coded

    def _encode(self, frame: int, spread: Any) -> CodedFrame:
        position, series, place = frame - self._first, self._series, self._place
        classes = series.classes[position]
        units: list[Unit] = []
        if series.mask.kind != "none":
            payload = encode_mask(classes, self._decoder.previous_classes(frame), place.generation)
            units.append((UnitKey(Kind.MASK, frame, 0, 0), payload, (0, 0, 0)))
        nodata = tuple(nodata_of(p[position : position + 1])[0] for p in series.pixels)
        implied = self._is_implied(nodata, classes)
        if not implied:
            for g, flags in enumerate(nodata):
                if flags.any():
                    payload = encode_mask(flags.astype(np.uint8), None, place.generation)
                    units.append((UnitKey(Kind.MASK, frame, 1 + g, 0), payload, (0, 0, 0)))
        unclear = place.unclear(classes, nodata)
        allowance = allowance_of(place, unclear, units, frame)
        this = _Frame(position, frame, self._seconds[position], nodata, unclear, allowance)
        stats = FrameStats(
            NODATA_FROM_CLASSES if implied else 0,
            float(1 - np.mean([flags.mean() for flags in unclear])),
        )
        bits = np.zeros(2)
        for g, grid in enumerate(place.grids):
            whole, red_nir = series.pixels[g][position], ndvi_bands(grid)
            tiles, error = place.tiles(g), NdviError()
            for tile, coded in zip(tiles, spread(partial(self._tile, this, g), tiles), strict=True):
                key = UnitKey(Kind.PIXELS, frame, g, tile.index)
                units.append((key, coded.payload, coded.stats))
                bits += coded.bits
                if red_nir is not None and stats.ndvi is None:
                    part = (tile.rows, tile.columns)
                    truth = np.stack([whole[band, *part] for band in red_nir])
                    error.add(truth, coded.shown, 0, 1, ~unclear[g][part])
            if red_nir is not None and stats.ndvi is None:
                stats = replace(stats, ndvi=error.mean)
        provenance: dict[str, Any] = dict(series.provenance[position]) if series.provenance else {}
        steps = () if place.generation == 1 else (pack_link(frame, self._decoder.links[frame]),)
        record = FrameRecord(this.seconds, provenance, (*stats.pack(), *steps))
        return CodedFrame(frame, record, tuple(units), (float(bits[0]), float(bits[1])))

    def _is_implied(self, nodata: tuple[Bool, ...], classes: U8) -> bool:
        """Whether the mask classes alone tell the nodata pixels, of which there are some."""
        if not any(flags.any() for flags in nodata):
            return False
        implied = self._decoder.nodata_under_classes(classes)
        return implied is not None and all(
            np.array_equal(a, b) for a, b in zip(implied, nodata, strict=True)
        )

    def _tile(self, this: _Frame, group: int, tile: Tile) -> CodedTile:
        if self._ready is not None:
            return self._ready[group, tile.index][this.position]
        part = (tile.rows, tile.columns)
        pixels = self._series.pixels[group][this.position][:, *part]
        unclear, nodata = this.unclear[group], this.nodata[group]
        context = self._place.context(group, tile, unclear, nodata, this.seconds)
        share = None
        if this.allowance is not None:
            share = this.allowance.take(~context.hidden | context.coarse, len(pixels))
        key = (this.position, group, tile.index)
        coded = code_tile(
            self._decoder,
            pixels,
            context,
            self._decoder.state(this.index, group, tile),
            self._model,
            (unclear[part], nodata[part]),
            group,
            share,
            self._plans.get(key),
            self._analyzed.pop(key, None),
        )
        if coded.raw:
            # References are not what they were in the trial.
            self._analyzed.clear()
        self._decoder.settle(this.index, group, tile)
        if this.allowance is not None:
            this.allowance.spend(len(coded.payload))
        return coded
