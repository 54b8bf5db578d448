"""Decode frames that do not need each other, as many units at once as are alike.

What takes long, the network, works on all of them in one batch; what is left is spread over threads
unit by unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from stvc import threads
from stvc.archive import Kind, UnitKey
from stvc.codec.entropy import Request, decode_networks
from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.frame_stats import NODATA_FROM_CLASSES, FrameStats
from stvc.codec.mask_coder import decode_mask
from stvc.codec.place import Tile
from stvc.codec.structure import Link
from stvc.codec.transform import I32
from stvc.codec.unit import (
    OpenUnit,
    Pixels,
    UnitContext,
    close_unit,
    decode_unit,
    open_unit,
    request_of,
)
from stvc.codec.unit_reading import Job, Spread, Units
from stvc.errors import CorruptError
from stvc.types import U8

if TYPE_CHECKING:
    from stvc.model.weights import EntropyModel

Bool = npt.NDArray[np.bool_]
U16 = npt.NDArray[np.uint16]
T = TypeVar("T")

_OPEN_SAMPLES = 1 << 20
# ^ of units between header and pixels: of a whole satellite tile, all would be gigabytes
_BATCH_TOKENS = 1 << 12
# ^ tokens of one component that go through the network at once: more gain nothing but cache misses


@dataclass(frozen=True)
class DecodedFrame:
    """One frame as users see it."""

    index: int
    classes: U8
    """(Hm, Wm) mask classes."""
    pixels: tuple[U16, ...]
    """Per group (C, H, W) DN; groups that were not asked for are empty."""
    unclear: tuple[Bool, ...]
    """Per group (H, W)."""


@dataclass(frozen=True)
class _Cut:
    """One tile of one frame."""

    key: UnitKey
    tile: Tile
    context_of: Callable[[], UnitContext]
    """Cuts the context when it is needed: those of all tiles would be a whole image more."""
    nodata: Bool
    """(h, w)."""
    image: U16
    """(C, h, w) where its pixels go."""


@dataclass(frozen=True)
class _Pending:
    """A unit between its header and its pixels."""

    cut: _Cut
    unit: OpenUnit
    request: Request | None
    """What the network is asked; None if the plain coder coded it."""


class WaveDecoder:
    """Decodes waves of frames (see `stvc.codec.waves`).

    Parameters
    ----------
    units : Units
    walker : FrameDecoder
    model : EntropyModel
    groups : sequence of int
        Band groups to decode.
    together : bool
        False decodes unit by unit, in order.
    """

    def __init__(
        self,
        units: Units,
        walker: FrameDecoder,
        model: EntropyModel,
        groups: Sequence[int],
        *,
        together: bool,
    ) -> None:
        self._units, self._walker, self._model = units, walker, model
        self._groups, self._together = groups, together

    def tasks(self, wave: Sequence[int]) -> int:
        """How many units a wave has that threads may share."""
        tiles = sum(len(self._walker.place.tiles(g)) for g in self._groups)
        return len(wave) * tiles if self._together else 1

    def decode(self, wave: Sequence[int], spread: Spread) -> list[DecodedFrame]:
        """Decode frames that do not link to each other, and advance their references."""
        place, frames = self._walker.place, self._units.reader.frames
        for frame in wave:
            self._walker.start_frame(frame, frames[frame].time)
        decoded: list[DecodedFrame] = []
        cuts: list[_Cut] = []
        for frame, classes in zip(wave, self._masks(wave, spread), strict=True):
            nodata = self._nodata(frame, classes)
            unclear = place.unclear(classes, nodata)
            images = []
            for g, grid in enumerate(place.grids):
                c, h, w = grid.shape
                image = np.zeros((c, h, w) if g in self._groups else (c, 0, 0), np.uint16)
                images.append(image)
                for tile in place.tiles(g) if g in self._groups else ():
                    flags = (unclear[g], nodata[g])
                    context_of = partial(place.context, g, tile, *flags, frames[frame].time)
                    part = (tile.rows, tile.columns)
                    key = UnitKey(Kind.PIXELS, frame, g, tile.index)
                    cuts.append(_Cut(key, tile, context_of, nodata[g][part], image[:, *part]))
            decoded.append(DecodedFrame(frame, classes, tuple(images), unclear))
        if self._together:
            for some in _portions(cuts):
                self._decode_together(some, spread)
        else:
            self._decode_singly(cuts)
        for one in decoded:
            self._walker.end_frame(one.index, one.classes)
        return decoded

    def _masks(self, wave: Sequence[int], spread: Spread) -> Iterator[U8]:
        """Classes (Hm, Wm) of each frame; zeros where they are damaged."""
        mask = self._walker.place.mask
        shape = (len(mask.y), len(mask.x))
        if mask.kind == "none":
            yield from (np.zeros(shape, np.uint8) for _ in wave)
            return
        jobs = [
            Job(
                _mask_key(frame),
                self._walker.links[frame],
                partial(decode_mask, shape=shape, previous=self._walker.previous_classes(frame)),
            )
            for frame in wave
        ]
        for classes in self._units.attempts(jobs, spread):
            yield np.zeros(shape, np.uint8) if classes is None else classes

    def _nodata(self, frame: int, classes: U8) -> tuple[Bool, ...]:
        """Nodata pixels per group."""
        units = self._units
        if FrameStats.unpack(units.reader.frames[frame].stats).flags & NODATA_FROM_CLASSES:
            implied = self._walker.nodata_under_classes(classes)
            if implied is not None:
                return implied
        out = []
        for g, grid in enumerate(self._walker.place.grids):
            _, h, w = grid.shape
            key = UnitKey(Kind.MASK, frame, 1 + g, 0)
            found = None
            if key in units.reader.units:
                found = units.attempt(
                    Job(key, Link(), partial(decode_mask, shape=(h, w), previous=None))
                )
            out.append(np.zeros((h, w), bool) if found is None else found != 0)
        return tuple(out)

    def _decode_singly(self, cuts: Sequence[_Cut]) -> None:
        for cut in cuts:

            def decode(payload: bytes, cut: _Cut = cut) -> None:
                context = cut.context_of()
                state = self._walker.state(cut.key.frame, cut.key.group, cut.tile)
                self._show(cut, context, decode_unit(payload, context, state, self._model))

            self._units.attempt(self._job(cut, decode))

    def _decode_together(self, cuts: Sequence[_Cut], spread: Spread) -> None:
        jobs = [self._job(cut, partial(self._open, cut)) for cut in cuts]
        pending = [
            _Pending(cut, *opened)
            for cut, opened in zip(cuts, self._units.attempts(jobs, spread), strict=True)
            if opened is not None
        ]
        asking = [one for one in pending if one.request is not None]
        batches = list(_batches(asking))
        answers: dict[UnitKey, I32 | CorruptError] = {
            one.cut.key: one.unit.symbols for one in pending if one.unit.symbols is not None
        }
        for batch, found in zip(batches, spread(self._ask, batches), strict=True):
            answers |= {one.cut.key: symbols for one, symbols in zip(batch, found, strict=True)}
        outcomes = spread(self._close, pending, [answers[one.cut.key] for one in pending])
        for one, outcome in zip(pending, outcomes, strict=True):
            self._units.settle(one.cut.key, outcome)

    def _job(self, cut: _Cut, decode: Callable[[bytes], T]) -> Job[T]:
        _, frame, group, _ = cut.key
        needs = (_mask_key(frame), UnitKey(Kind.MASK, frame, 1 + group, 0))
        return Job(cut.key, self._walker.links[frame], decode, needs)

    def _open(self, cut: _Cut, payload: bytes) -> tuple[OpenUnit, Request | None] | None:
        """Decode a unit as far as it goes by itself; None if that is all of it."""
        context = cut.context_of()
        state = self._walker.state(cut.key.frame, cut.key.group, cut.tile)
        unit = open_unit(payload, context, state, self._model)
        if not isinstance(unit, OpenUnit):
            self._show(cut, context, unit)
            return None
        return unit, request_of(unit, self._model) if unit.symbols is None else None

    def _ask(self, batch: Sequence[_Pending]) -> list[I32 | CorruptError]:
        return decode_networks(self._model, [one.request for one in batch if one.request])

    def _close(self, one: _Pending, symbols: I32 | CorruptError) -> CorruptError | None:
        if isinstance(symbols, CorruptError):
            return symbols
        try:
            self._show(one.cut, one.unit.context, close_unit(one.unit, symbols, self._model))
        except CorruptError as error:
            return error
        return None

    def _show(self, cut: _Cut, context: UnitContext, pixels: Pixels) -> None:
        """Write decoded pixels into their image, and advance the references."""
        decoded, shift = pixels
        _, frame, group, _ = cut.key
        self._walker.state(frame, group, cut.tile).update(
            decoded, context.unclear, context.day, shift
        )
        self._walker.settle(frame, group, cut.tile)
        cut.image[...] = self._walker.finish(context, decoded, cut.nodata)


def _mask_key(frame: int) -> UnitKey:
    return UnitKey(Kind.MASK, frame, 0, 0)


def _portions(cuts: Sequence[_Cut]) -> Iterator[Sequence[_Cut]]:
    """Cut a list into parts that are small enough to be open at the same time."""
    start = samples = 0
    for k, cut in enumerate(cuts):
        samples += cut.image.size
        if samples > _OPEN_SAMPLES and k > start:
            yield cuts[start:k]
            start, samples = k, cut.image.size
    if cuts:
        yield cuts[start:]


def _batches(asking: Sequence[_Pending]) -> Iterator[list[_Pending]]:
    """Units of one shape, as many at once as are worth it; something for every thread."""
    alike: dict[tuple[int, ...], list[_Pending]] = {}
    for one in asking:
        alike.setdefault(one.unit.predicted.shape, []).append(one)
    for (_, h, w, _), units in alike.items():
        size = min(max(1, _BATCH_TOKENS // (h * w)), -(-len(units) // threads.workers()))
        yield from (units[k : k + size] for k in range(0, len(units), size))
