"""Encoder side of one coding unit: from pixels and references to symbols.

Nothing here needs the entropy model: distortion is settled by the quantizer alone, so a rate or a
quality can be aimed at without running the network. `synthesize` is the decoder's own arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stvc.codec.fill import fill_hidden
from stvc.codec.prediction import ReferenceCoefficients, predict, reference_coefficients
from stvc.codec.profiles import WEIGHT_BITS, profiles_of
from stvc.codec.quantize import (
    CENTROID_UNITS,
    SKIPPED,
    dequantize,
    importance_class,
    quantize,
    step_size,
    token_steps,
)
from stvc.codec.references import NEVER, ReferenceState
from stvc.codec.registration import estimate_shift
from stvc.codec.spectral import Klt
from stvc.codec.transform import BLOCK, FRACTION_BITS, I32, KERNEL, blocks_of, forward, inverse

DEAD_ZONE = 0.36
"""Rounding offset; 0.5 would round to nearest. Measured: about 8 % fewer bits at equal PSNR."""
MAX_OFFSET = 127
MAX_SHRINK = 7
_PROBES = 64
"""Tokens on which prediction choices are tried."""
_SHIFT_GAIN = 0.98
# ^ a shift must save 2 % of the proxy cost: interpolation also blurs the state it leaves behind


_NOTHING = np.zeros((0, 0, 0), np.uint16)


@dataclass(frozen=True)
class UnitPlan:
    """The choices that a unit's header carries."""

    step_index: int
    """Base quantization step."""
    shift: tuple[int, int]
    """Registration of the references, 1/8 pixel."""
    profiles: npt.NDArray[np.int64]
    """(C,) rows of `profiles.profiles_of`."""
    offsets: npt.NDArray[np.int64]
    """(C,) DC offsets in base steps."""
    shrink: tuple[int, int]
    """Reconstruction points, see `quantize.dequantize`."""


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
    """(C, h, w, 64) what was quantized, units of 2**-4 DN."""
    symbols: I32
    """(C, h, w, 64)."""
    decoded: npt.NDArray[np.uint16]
    """(C, H, W) what the decoder will see."""


def predict_unit(refs: ReferenceCoefficients, plan: UnitPlan) -> I32:
    """Predict from a plan (shared by encoder and decoder)."""
    return predict(refs, plan.profiles, plan.offsets * step_size(plan.step_index))


def synthesize(
    predicted: I32,
    symbols: I32,
    steps: npt.NDArray[np.int64],
    shrink: tuple[int, int],
    klt: Klt,
    concealed: npt.NDArray[np.bool_],
) -> npt.NDArray[np.uint16]:
    """Decode a unit's pixels (shared by encoder and decoder, exact).

    Parameters
    ----------
    predicted, symbols : array, (C, h, w, 64) int32
    steps : array, (h, w)
    shrink : (int, int)
        See `quantize.dequantize`.
    klt : Klt
    concealed : array, (H, W) bool
        Don't-care pixels, which show the prediction: the place without its clouds. What their
        blocks hold there is whatever was cheapest to code.

    Returns
    -------
    array, (C, H, W) uint16
    """
    coefficients = predicted + dequantize(symbols, steps[None, :, :, None], shrink)
    pixels = klt.inverse(inverse(coefficients))
    if concealed.any():
        pixels = np.where(concealed, klt.inverse(inverse(predicted)), pixels)
    return np.clip(pixels, 0, 65535).astype(np.uint16)


def resting_plan(state: ReferenceState, step_index: int) -> UnitPlan:
    """Plan of a unit of which nothing is visible: the recent state as it is (shared)."""
    c = len(state.mean)
    profiles = np.full(c, 0 if state.empty else 1, np.int64)
    return UnitPlan(step_index, (0, 0), profiles, np.zeros(c, np.int64), (0, 0))


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
    shown = np.zeros((importance.shape[0] * BLOCK, importance.shape[1] * BLOCK), bool)
    decoded = synthesize(predicted, nothing, steps, plan.shrink, klt, shown)
    still = np.zeros(predicted.shape)
    return UnitAnalysis(plan, refs, predicted, steps, importance, still, nothing, decoded)


def _probes(importance: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    flat = importance.reshape(-1)
    best = np.flatnonzero(flat == 0)
    if len(best) < 8:
        best = np.flatnonzero(flat != SKIPPED)
    return best[:: max(1, len(best) // _PROBES)][:_PROBES]


def _choose_prediction(
    target: I32, refs: ReferenceCoefficients, probes: npt.NDArray[np.intp], step: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]:
    """Pick profile and DC offset per component by the proxy cost ``sum log2(1 + |r| / step)``."""
    c = len(target)

    def probe(x: I32) -> npt.NDArray[np.float32]:
        return np.asarray(x.reshape(c, -1, 64)[:, probes], np.float32)

    mean = probe(refs.mean)
    wanted = probe(target) - mean
    references = [
        probe(plane) - mean for plane in (refs.recent, refs.background, refs.second, refs.average)
    ]
    profiles = np.zeros(c, np.int64)
    offsets = np.zeros(c, np.int64)
    total = 0.0
    weights = profiles_of(refs.generation).astype(np.float32) / (1 << WEIGHT_BITS)
    blank = not bool((refs.recent_age >= 0).any()) and not refs.has_background
    rows = weights[:1] if blank else weights
    for k in range(c):
        residual = np.repeat(wanted[k][None], len(rows), 0)
        for reference, weight in zip(references, rows.swapaxes(0, 1), strict=True):
            used = weight.any(1)
            residual[used] -= weight[used, None] * reference[k]
        lift = np.rint(np.median(residual[..., 0], axis=1) / step)
        lift = np.clip(np.where(np.abs(lift) < 2, 0, lift), -MAX_OFFSET, MAX_OFFSET)
        residual[..., 0] -= (lift * step)[:, None]
        cost = np.log2(1 + np.abs(residual) * np.float32(1 / step)).sum((1, 2))
        best = int(np.rint(cost).argmin())
        # ^ whole bits: rows that only differ by rounding must not depend on a CPU's log2
        profiles[k], offsets[k] = best, int(lift[best])
        total += float(cost[best])
    return profiles, offsets, total


def _centroids(
    residual: npt.NDArray[np.float64], symbols: I32, steps: npt.NDArray[np.int64]
) -> tuple[int, int]:
    """Mean distance from the bin center toward zero, in 1/32 step, for |s| = 1 and |s| > 1."""
    magnitude = np.abs(symbols)
    inward = (magnitude - np.abs(residual) / steps) * CENTROID_UNITS
    found = []
    for chosen in (magnitude == 1, magnitude > 1):
        mean = inward[chosen].mean() if chosen.any() else 0.0
        found.append(int(np.clip(np.rint(mean), -MAX_SHRINK, MAX_SHRINK)))
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
    """
    importance = importance_class(hidden, coarse)
    steps = token_steps(step_index, importance)
    if (importance == SKIPPED).all():
        return _as_predicted(state, klt, step_index, day, importance, steps)
    step = int(step_size(step_index))
    components = klt.forward(pixels)
    target = forward(components)
    probes = _probes(importance)
    shift = (0, 0)
    refs = reference_coefficients(state, klt, shift, day)
    profiles, offsets, cost = _choose_prediction(target, refs, probes, step)
    if register and not state.empty:
        seen = bool((state.recent_day > NEVER).any())
        base = state.recent if seen or state.background is None else state.background
        brightest = klt.matrix[0].astype(np.float64) / (1 << 14)
        view = np.clip(np.abs(np.tensordot(brightest, base, 1)), 0, 65535).astype(np.uint16)
        found = estimate_shift(np.abs(components[0]) / (1 << FRACTION_BITS), view, ~hidden)
        if found != (0, 0):
            moved = reference_coefficients(state, klt, found, day)
            other = _choose_prediction(target, moved, probes, step)
            if other[2] < _SHIFT_GAIN * cost:
                shift, refs, (profiles, offsets, cost) = found, moved, other
    plan = UnitPlan(step_index, shift, profiles, offsets, (0, 0))
    predicted = predict_unit(refs, plan)
    residual = (target - predicted).astype(np.float64)
    coded = importance != SKIPPED
    partly = coded & blocks_of(hidden[None])[0].any(-1)
    if partly.any() and not coarse:
        spatial = blocks_of(components - inverse(predicted))[:, partly].astype(np.float64)
        filled = fill_hidden(
            spatial, blocks_of(hidden[None])[0][partly], steps[partly].astype(np.float64)
        )
        residual[:, partly] = forward_blocks(filled)
    residual[:, ~coded] = 0
    symbols = quantize(residual, steps[None, :, :, None], dead_zone)
    unit = UnitAnalysis(plan, refs, predicted, steps, importance, residual, symbols, _NOTHING)
    return with_levels(unit, symbols, klt, hidden, coarse=coarse)


def with_levels(
    unit: UnitAnalysis,
    symbols: I32,
    klt: Klt,
    hidden: npt.NDArray[np.bool_],
    *,
    coarse: bool = False,
) -> UnitAnalysis:
    """Give a unit other levels: its reconstruction points and pixels follow.

    Parameters
    ----------
    unit : UnitAnalysis
    symbols : array, (C, h, w, 64) int32
    klt : Klt
    hidden : array, (H, W) bool
    coarse : bool
        As for `analyze`.
    """
    steps = np.broadcast_to(unit.steps[None, :, :, None], symbols.shape)
    plan = replace(unit.plan, shrink=_centroids(unit.residual, symbols, steps))
    concealed = np.zeros_like(hidden) if coarse else hidden
    decoded = synthesize(unit.predicted, symbols, unit.steps, plan.shrink, klt, concealed)
    return replace(unit, plan=plan, symbols=symbols, decoded=decoded)


def forward_blocks(blocks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Transform (C, N, 64) raster blocks in floating point (encoder only: don't-care filling)."""
    return np.asarray(blocks @ (KERNEL.T * 2.0**-18))
