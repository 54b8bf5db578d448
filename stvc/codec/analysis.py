"""Encoder side of one coding unit: from pixels and references to symbols.

Nothing here needs the entropy model: distortion is settled by the quantizer alone, so a rate or a
quality can be aimed at without running the network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stvc.codec.fill import fill_hidden
from stvc.codec.prediction import ReferenceCoefficients, reference_coefficients
from stvc.codec.prediction_choice import choose_plan
from stvc.codec.quantize import (
    CENTROID_UNITS,
    MAX_SYMBOL,
    SKIPPED,
    importance_class,
    quantize,
    step_size,
    token_steps,
)
from stvc.codec.references import ReferenceState
from stvc.codec.restoration import RESTORED, Scene, choose_strengths, corrections, restore
from stvc.codec.spectral import Klt
from stvc.codec.synthesis import predict_unit, residual_of, shown_pixels, unrestored_pixels
from stvc.codec.transform import (
    COEFFICIENTS,
    I32,
    KERNEL,
    PARTS,
    blocks_of,
    inverse,
    planes_of,
)
from stvc.codec.turn_choice import choose_turns
from stvc.codec.turns import TURNED, factors, turn_residual, turn_residual_back
from stvc.codec.unit_plan import MAX_SHRINK, UnitPlan, resting_plan
from stvc.native import kernels

DEAD_ZONE = 0.36
"""Rounding offset; 0.5 would round to nearest. Measured: about 8 % fewer bits at equal PSNR."""

_NO_RESIDUAL = np.zeros((0, 0, 0, 0))
_NOTHING = np.zeros((0, 0, 0), np.uint16)


@dataclass(frozen=True)
class UnitAnalysis:
    """One unit, ready for entropy coding."""

    plan: UnitPlan
    refs: ReferenceCoefficients
    predicted: I32
    """(C, h, w, 64), units of 2**-4 DN."""
    steps: npt.NDArray[np.int64]
    """(h, w)."""
    importance: npt.NDArray[np.uint8]
    """(h, w)."""
    residual: npt.NDArray[np.float64]
    """(C, h, w, 64) what was quantized, turned as the plan says, units of 2**-4 DN."""
    symbols: I32
    """(C, h, w, 64)."""
    decoded: npt.NDArray[np.uint16]
    """(C, H, W) what the decoder will see."""


class Transformed(NamedTuple):
    """The pixels of a unit."""

    components: I32
    """(C, H, W) units of 2**-4 DN."""
    coefficients: I32
    """(C, h, w, 64) of the components."""


def transformed_pixels(pixels: npt.NDArray[np.uint16], klt: Klt) -> Transformed:
    """Transform pixels (C, H, W)."""
    components = np.empty(pixels.shape, np.int32)
    return Transformed(components, klt.coefficients(pixels, components))


def _as_predicted(
    state: ReferenceState,
    klt: Klt,
    step_index: int,
    day: int,
    importance: npt.NDArray[np.uint8],
    steps: npt.NDArray[np.int64],
) -> UnitAnalysis:
    plan = resting_plan(state, step_index)
    refs = reference_coefficients(state, klt, plan.shift, day)
    predicted = predict_unit(refs, plan)
    nothing = np.zeros_like(predicted)
    expected = inverse(predicted)
    decoded = shown_pixels(expected, predicted, klt, np.zeros(expected.shape[1:], bool))
    still = np.zeros(predicted.shape)
    return UnitAnalysis(plan, refs, predicted, steps, importance, still, nothing, decoded)


def _centroids(
    residual: npt.NDArray[np.float64], symbols: I32, steps: npt.NDArray[np.int64]
) -> tuple[int, int]:
    """Mean distance from the bin center toward zero, in 1/32 step, for |s| = 1 and |s| > 1."""
    present = np.flatnonzero(symbols)
    # ^ few of all
    magnitude = np.abs(symbols.reshape(-1)[present])
    tokens = present // COEFFICIENTS
    divided = np.abs(residual.reshape(-1)[present]) / steps.reshape(-1)[tokens % steps.size]
    inward = (magnitude - divided) * CENTROID_UNITS
    found = []
    for chosen in (magnitude == 1, magnitude > 1):
        mean = inward[chosen].mean() if chosen.any() else 0.0
        found.append(_point(mean))
    return found[0], found[1]


def analyze(
    pixels: npt.NDArray[np.uint16],
    hidden: npt.NDArray[np.bool_],
    state: ReferenceState,
    klt: Klt,
    step_index: int,
    day: int,
    *,
    coarse: bool = False,
    dead_zone: float = DEAD_ZONE,
    register: bool = True,
    finish: bool = True,
    chosen: UnitPlan | None = None,
    transformed: Transformed | None = None,
) -> UnitAnalysis:
    """Turn one unit into symbols.

    Parameters
    ----------
    pixels : array, (C, H, W) uint16, H and W multiples of 8
    hidden : array, (H, W) bool
        Don't-care pixels.
    state : ReferenceState
        Not changed.
    klt : Klt
    step_index : int
        See `quantize.step_size`.
    day : int
        Acquisition, days since 1970.
    coarse : bool
        Code wholly hidden tokens with a coarse step instead of skipping them.
    dead_zone : float
        See `quantize.quantize`.
    register : bool
        Try a sub-pixel shift of the references.
    finish : bool
        Also do what `finished` does, which is in vain if the levels will change.
    chosen : UnitPlan, optional
        Whose shift, profiles, offsets and turns to take, instead of trying what is best.
    transformed : Transformed, optional
        What `transformed_pixels` makes of the pixels, if that is known.
    """
    importance = importance_class(hidden, coarse)
    steps = token_steps(step_index, importance)
    if (importance == SKIPPED).all():
        return _as_predicted(state, klt, step_index, day, importance, steps)
    components, target = transformed or transformed_pixels(pixels, klt)
    if chosen is not None:
        shift, profiles, offsets = chosen.shift, chosen.profiles, chosen.offsets_at(step_index)
        refs = reference_coefficients(state, klt, shift, day)
    else:
        clear = ~hidden if register else None
        found = choose_plan(components, target, state, klt, step_index, day, importance, clear)
        shift, profiles, offsets, refs = found
    plan = UnitPlan(step_index, shift, profiles, offsets, (0, 0), np.zeros_like(offsets))
    if chosen is not None:
        plan = replace(plan, leniency=chosen.leniency)
    predicted = predict_unit(refs, plan)
    how = _Levels(components, target, predicted, hidden, steps, importance, dead_zone, not coarse)
    levels = plain_levels if kernels is None else native_levels
    turns = None if chosen is None else chosen.turns
    residual, symbols, shrink = levels(how, turns)
    if refs.generation >= TURNED and chosen is None:
        turns = choose_turns(residual, steps, importance)
        if turns is not None:
            now = turn_residual(residual, turns)
            residual, symbols, shrink = requantized(now, steps, dead_zone)
    plan = replace(plan, turns=turns, shrink=shrink)
    unit = UnitAnalysis(plan, refs, predicted, steps, importance, residual, symbols, _NOTHING)
    return finished(unit, klt, hidden, coarse=coarse) if finish else unit


@dataclass(frozen=True)
class _Levels:
    """What levels are made of."""

    components: I32
    """(C, H, W) of the pixels."""
    target: I32
    """(C, h, w, 64) their coefficients."""
    predicted: I32
    hidden: npt.NDArray[np.bool_]
    steps: npt.NDArray[np.int64]
    importance: npt.NDArray[np.uint8]
    dead_zone: float
    fill: bool
    """Whether hidden pixels of tokens that are coded do not matter."""


Found = tuple[npt.NDArray[np.float64], I32, tuple[int, int]]
"""What is quantized, its levels, and their reconstruction points."""


def plain_levels(how: _Levels, turns: npt.NDArray[np.int64] | None) -> Found:
    """Quantize a unit under turns; partly hidden tokens are filled first."""
    residual = (how.target - how.predicted).astype(np.float64)
    coded = how.importance != SKIPPED
    flags = blocks_of(how.hidden[None])[0]
    partly = coded & flags.any(-1)
    if partly.any() and how.fill:
        spatial = blocks_of(how.components)[:, partly].astype(np.float64)
        spatial -= blocks_of(inverse(how.predicted[:, partly][:, None]))[:, 0].astype(np.int32)
        filled = fill_hidden(spatial, flags[partly], how.steps[partly].astype(np.float64))
        residual[:, partly] = forward_blocks(filled)
    residual[:, ~coded] = 0
    if turns is not None:
        residual = turn_residual(residual, turns)
    symbols = quantize(residual, how.steps[None, :, :, None], how.dead_zone)
    return residual, symbols, _centroids(residual, symbols, how.steps)


def native_levels(how: _Levels, turns: npt.NDArray[np.int64] | None) -> Found:
    """Do what `plain_levels` does on a native kernel."""
    assert kernels is not None
    c, h, w, _ = how.target.shape
    residual, symbols = np.empty(how.target.shape), np.empty(how.target.shape, np.int32)
    inward = np.empty(4)
    kernels.quantize_unit(
        PARTS,
        (c, h, w),
        how.components,
        how.target,
        how.predicted,
        np.ascontiguousarray(how.hidden),
        how.importance == SKIPPED,
        how.steps,
        how.fill,
        how.dead_zone,
        MAX_SYMBOL,
        *factors(turns),
        residual,
        symbols,
        inward,
    )
    return residual, symbols, _points(inward)


def requantized(
    residual: npt.NDArray[np.float64], steps: npt.NDArray[np.int64], dead_zone: float
) -> Found:
    """Quantize a residual (C, h, w, 64) that is there already."""
    if kernels is None:
        symbols = quantize(residual, steps[None, :, :, None], dead_zone)
        return residual, symbols, _centroids(residual, symbols, steps)
    symbols, inward = np.empty(residual.shape, np.int32), np.empty(4)
    how = (len(residual), dead_zone, MAX_SYMBOL)
    kernels.requantize(how, residual, np.ascontiguousarray(steps, np.int64), symbols, inward)
    return residual, symbols, _points(inward)


def _points(inward: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Reconstruction points from what kernels count."""
    ones, of_ones, more, of_more = inward.tolist()
    return _point(of_ones / max(ones, 1)), _point(of_more / max(more, 1))


def _point(mean: float) -> int:
    """Reconstruction point from levels' mean distance from their bins' centers."""
    return min(max(round(float(mean)), -MAX_SHRINK), MAX_SHRINK)


def settled(unit: UnitAnalysis) -> UnitAnalysis:
    """What is needed of a unit whose levels are the last ones and that is not restored."""
    return replace(unit, residual=_NO_RESIDUAL)


def with_levels(unit: UnitAnalysis, symbols: I32) -> UnitAnalysis:
    """Give a unit other levels (C, h, w, 64); its reconstruction points follow."""
    plan = replace(unit.plan, shrink=_centroids(unit.residual, symbols, unit.steps))
    return replace(unit, plan=plan, symbols=symbols)


def finished(
    unit: UnitAnalysis,
    klt: Klt,
    hidden: npt.NDArray[np.bool_],
    *,
    coarse: bool = False,
    restored: bool = True,
    show: bool = True,
) -> UnitAnalysis:
    """Decode a unit, and choose how strongly it is restored.

    Parameters
    ----------
    unit : UnitAnalysis
    klt : Klt
    hidden : array, (H, W) bool
    coarse : bool
        As for `analyze`.
    restored : bool
        Whether it may be restored at all.
    show : bool
        False: what concealed pixels show is of no interest, and may be anything.
    """
    plan = unit.plan
    concealed = np.zeros_like(hidden) if coarse else hidden
    if not restored or unit.refs.generation < RESTORED or hidden.all():
        decoded = unrestored_pixels(
            unit.predicted, unit.symbols, unit.steps, plan, klt, concealed, show=show
        )
        return replace(unit, decoded=decoded)
    levels = residual_of(unit.symbols, unit.steps, plan)
    wanted = unit.residual
    if plan.turns is not None:
        wanted = turn_residual_back(wanted, plan.turns)
    components = inverse(unit.predicted + levels)
    scene = Scene(plan.step_index, klt.spread, unit.importance, unit.refs.unpredicted)
    found = corrections(components, inverse(unit.predicted), unit.symbols, scene)
    missing = np.asarray(planes_of(_inverse_blocks(wanted - levels)), np.float64)
    step = int(step_size(plan.step_index))
    strengths = choose_strengths(missing[:, ~hidden], found[:, ~hidden], step)
    components = restore(components, found, strengths, step)
    plan = replace(plan, strengths=strengths)
    decoded = shown_pixels(components, unit.predicted, klt, concealed)
    return replace(unit, plan=plan, decoded=decoded)


def _inverse_blocks(coefficients: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Transform (C, h, w, 64) coefficients to raster blocks in floating point (encoder only)."""
    return np.asarray(coefficients @ (KERNEL * 2.0**-18))


def forward_blocks(blocks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Transform (C, N, 64) raster blocks in floating point (encoder only: don't-care filling)."""
    return np.asarray(blocks @ (KERNEL.T * 2.0**-18))
