"""The quantization step that meets a PSNR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stvc import threads
from stvc.codec.analysis import Transformed, UnitAnalysis, analyze, settled, transformed_pixels
from stvc.codec.encoder import unclear_of
from stvc.codec.frame_stats import clear_errors
from stvc.codec.place import SECONDS_PER_DAY, Place, Tile, nodata_of
from stvc.codec.quantize import MAX_STEP_INDEX, STEP_OCTAVE
from stvc.codec.references import ReferenceState, linked_state
from stvc.codec.structure import Planned
from stvc.codec.transform import pad_to_blocks
from stvc.codec.unit_encoder import finish_unit
from stvc.codec.unit_plan import Plans, UnitPlan
from stvc.codec.waves import Span, spans
from stvc.types import Series

U16 = npt.NDArray[np.uint16]
Progress = Callable[[int, int, str], None]
Key = tuple[int, int, int]
"""A unit: place in coding order, group, tile."""

_LEVELS_COST = 0.08
"""What restoration gains less, dB, once the entropy model has chosen the levels.

The mean over five places at 42 to 54 dB; single ones are up to 0.06 dB off."""
_HALF_STEP = 0.12
# ^ dB, and a little more: what the choice of levels makes up for
_ALIKE = STEP_OCTAVE * 3 // 4
"""Steps so near to each other that what a unit is best predicted from is the same."""
_NEAR = STEP_OCTAVE // 2
"""Steps so near to each other that some units tell how the error of all changes."""
_MOST_TRIALS = 12
_SHARE = 4
# ^ one unit of so many tells how the error of all changes from one step to another
_FEW_TILES, _FEW_FRAMES, _ENOUGH_FRAMES = 8, 16, 12
# ^ fewer tiles or frames are all tried; six frames were 0.07 dB wrong, twelve 0.01
_MOST_KEPT = 1 << 22
"""Samples of a series of which trials keep what the next one needs again: some 30 bytes each."""
_CURVE = np.array(
    [
        (0, 89.5), (120, 66.9), (150, 61.4), (180, 56.1), (210, 51.3), (240, 47.1), (270, 43.1),
        (MAX_STEP_INDEX, 20.0),
    ]
)  # fmt: skip
"""Step index and PSNR: means over four places that the models were trained on."""


@dataclass(frozen=True)
class _Trial:
    """What a step leads to."""

    errors: Mapping[Key, tuple[float, int]]
    """Sum of squared errors on clear pixels, DN^2, and number of samples, by unit."""
    plans: Plans

    def mean(self, units: Mapping[Key, Any]) -> float:
        """Mean squared error of some units, DN^2."""
        chosen = [error for key, error in self.errors.items() if key in units]
        return sum(e for e, _ in chosen) / max(sum(n for _, n in chosen), 1)


class Aim(NamedTuple):
    """What `find_step` found."""

    step_index: int
    plans: Plans
    """What units are best predicted from near it: the encoder need not choose again. If it chooses
    levels, their errors make up for what the index is off."""
    units: dict[Key, UnitAnalysis]
    """Units as an encoder that chooses no levels would analyze them again; maybe not all."""


def find_step(
    series: Series,
    plan: list[Planned],
    place: Place,
    backgrounds: tuple[U16, ...] | None,
    psnr: float,
    progress: Progress | None = None,
) -> Aim:
    """Find the step index whose PSNR on clear pixels is closest to a target.

    The quantizer alone decides about distortion, so no trial needs the entropy model. The first
    one goes where the target lies for typical ground; the others where it lies on the same curve,
    moved to what was measured last. How the error changes from one step to a near one, a part of
    the units tells.

    Parameters
    ----------
    series : Series
    plan : list of Planned
    place : Place
    backgrounds : tuple of array, optional
        Per group (C, H, W).
    psnr : float
        Over the clear pixels of all groups, dB, peak 10000 DN.
    progress : callable, optional
        Called with (done, 0, what).

    Returns
    -------
    Aim
    """
    trials = _Trials(series, plan, place, backgrounds)
    full: dict[int, _Trial] = {}
    tried: dict[int, float] = {}

    def quality(index: int) -> float:
        if index not in tried:
            if progress is not None:
                progress(len(tried), 0, "aiming at the PSNR")
            near = min(full, key=lambda k: abs(k - index), default=-MAX_STEP_INDEX)
            if abs(near - index) > _NEAR:
                plans = full[near].plans if abs(near - index) <= _ALIKE else {}
                full[index] = trials.run(index, plans, some=False)
                tried[index] = _psnr(full[index].mean(full[index].errors))
            else:
                base = full[near]
                part = trials.run(index, base.plans, some=True)
                change = part.mean(part.errors) / max(base.mean(part.errors), 1e-9)
                tried[index] = _psnr(base.mean(base.errors) * change)
        return tried[index]

    psnr += _LEVELS_COST if place.settings.restored else 0
    index = _typical_index(psnr)
    for _ in range(_MOST_TRIALS):
        miss = psnr - quality(index)
        following = _typical_index(_typical_psnr(index) + miss)
        if following == index:
            break
        if following in tried:
            # Between two neighbors, or astray on a curve unlike the typical one.
            following = index - 1 if miss > 0 else index + 1
            if following in tried or not 0 <= following <= MAX_STEP_INDEX:
                break
        index = following
    best = min(tried, key=lambda k: (abs(tried[k] - psnr), k))
    plans = full[min(full, key=lambda k: abs(k - best))].plans
    over = float(np.clip(tried[best] - psnr, -_HALF_STEP, _HALF_STEP))
    lenient = {key: replace(plan, leniency=10 ** (over / 10)) for key, plan in plans.items()}
    return Aim(best, lenient, trials.kept(best))


def _psnr(mean: float) -> float:
    return 99.0 if mean == 0 else float(10 * np.log10(1e8 / mean))


def _typical_psnr(index: int) -> float:
    return float(np.interp(index, *_CURVE.T))


def _typical_index(psnr: float) -> int:
    return round(float(np.interp(psnr, *_CURVE[::-1, ::-1].T)))


class _Trials:
    """Quantizes a series with one step or another, without entropy coding."""

    def __init__(
        self,
        series: Series,
        plan: Sequence[Planned],
        place: Place,
        backgrounds: tuple[U16, ...] | None,
    ) -> None:
        self._series, self._plan, self._place = series, plan, place
        self._backgrounds = backgrounds
        self._unclear = unclear_of(series, place.grids)
        self._nodata = [nodata_of(pixels) for pixels in series.pixels]
        self._seconds = series.times.astype("datetime64[s]").astype(np.int64).tolist()
        self._links = [planned.link for planned in plan]
        samples = sum(pixels.size for pixels in series.pixels)
        levels = place.settings.restored
        # ^ where units are restored, levels are chosen as well: the trial's are not the last ones
        self._few = samples <= _MOST_KEPT
        self._keeps = not levels and self._few
        self._transformed: dict[Key, Transformed] = {}
        self._kept: dict[Key, UnitAnalysis] = {}
        self._kept_of = -1

    def kept(self, index: int) -> dict[Key, UnitAnalysis]:
        """Units of the latest trial, if it was of this step, in predictions that were known."""
        return self._kept if self._kept_of == index else {}

    def run(self, index: int, known: Plans, *, some: bool) -> _Trial:
        """Try a step; what is ``known`` is not chosen again, and ``some`` units may do."""
        place = self._place
        place = replace(place, settings=replace(place.settings, step_index=index))
        self._kept, self._kept_of = {}, index
        tiles = [(g, tile) for g in range(len(place.grids)) for tile in place.tiles(g)]
        frames = len(self._plan)
        if some and len(tiles) >= _FEW_TILES:
            tiles = [one for one in tiles if one[1].index % _SHARE == 0]
        elif some and frames >= _FEW_FRAMES:
            frames = max(-(-frames // _SHARE), _ENOUGH_FRAMES)
            # ^ the first in coding order: they link to none but each other
        walk = spans(range(frames), self._links, place.grids)
        found: dict[Key, tuple[float, int, UnitPlan]] = {}
        with threads.spread_over(max(len(tiles), frames)) as spread:
            if len(tiles) > 1:
                for part in spread(partial(self._tile, place, walk, known, map), tiles):
                    found |= part
            else:
                found = self._tile(place, walk, known, spread, tiles[0])
        errors = {key: (error, count) for key, (error, count, _) in found.items()}
        return _Trial(errors, {key: unit[2] for key, unit in found.items()})

    def _tile(
        self,
        place: Place,
        walk: Sequence[Span],
        known: Plans,
        spread: Callable[..., Any],
        where: tuple[int, Tile],
    ) -> dict[Key, tuple[float, int, UnitPlan]]:
        """Errors and plans of all dates of a tile."""
        group, tile = where
        background = None if self._backgrounds is None else self._backgrounds[group]
        fresh = place.state(group, tile, background)
        states: dict[int, ReferenceState] = {}

        def unit(frame: int) -> tuple[float, int, UnitPlan]:
            chosen = known.get((frame, group, tile.index))
            return self._unit(place, group, tile, frame, fresh, states, chosen)

        found: dict[Key, tuple[float, int, UnitPlan]] = {}
        waves = [wave for span in walk for wave in span.waves]
        waiting = Counter(k for wave in waves for frame in wave for k in self._links[frame])
        for wave in waves:
            for frame, one in zip(wave, spread(unit, wave), strict=True):
                found[frame, group, tile.index] = one
            # What nobody will link to makes room: memory that is new costs time.
            waiting.subtract(k for frame in wave for k in self._links[frame])
            for frame in [frame for frame in states if waiting[frame] <= 0]:
                del states[frame]
        return found

    def _unit(
        self,
        place: Place,
        group: int,
        tile: Tile,
        frame: int,
        fresh: ReferenceState,
        states: dict[int, ReferenceState],
        chosen: UnitPlan | None,
    ) -> tuple[float, int, UnitPlan]:
        """Quantize one date of a tile, and leave its references behind in ``states``."""
        t = self._plan[frame].position
        seconds = self._seconds[t]
        before, after = (states[k] if k >= 0 else None for k in self._links[frame])
        state = linked_state(fresh, before, after, seconds // SECONDS_PER_DAY)
        unclear, nodata = self._unclear[group][t], self._nodata[group][t]
        context = place.context(group, tile, unclear, nodata, seconds)
        pixels = self._series.pixels[group][t][:, tile.rows, tile.columns]
        cut = np.asarray(pad_to_blocks(pixels), np.uint16)
        key = (frame, group, tile.index)
        transformed = self._transformed.get(key)
        if transformed is None and not context.hidden.all():
            transformed = transformed_pixels(cut, context.klt)
            if self._few:
                self._transformed[key] = transformed
        unit = analyze(
            cut,
            context.hidden,
            state,
            context.klt,
            context.base_step,
            context.day,
            coarse=context.coarse,
            finish=False,
            chosen=chosen,
            transformed=transformed,
        )
        if self._keeps and chosen is not None:
            self._kept[key] = settled(unit)
        moved = unit.plan.shift != (0, 0)
        # ^ references are moved back with what is hidden in them
        unit = finish_unit(unit, context, place.settings.restored, show=moved)
        state.update(unit.decoded, context.unclear, context.day, unit.plan.shift)
        states[frame] = state
        clear, error, _ = clear_errors(unit.decoded, pixels, context.unclear)
        return float(error), clear * len(pixels), unit.plan
