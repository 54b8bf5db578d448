"""What a unit is predicted from: registration, and a profile per component (encoder only)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from stvc.codec.prediction import ReferenceCoefficients, reference_coefficients
from stvc.codec.prediction_native import native_costs
from stvc.codec.profiles import WEIGHT_BITS, profiles_of
from stvc.codec.quantize import SKIPPED, step_size
from stvc.codec.references import NEVER, ReferenceState
from stvc.codec.registration import MAX_SHIFT, estimate_shift, warp_blocks
from stvc.codec.spectral import Klt
from stvc.codec.transform import BLOCK, COEFFICIENTS, FRACTION_BITS, I32, forward
from stvc.codec.unit_plan import MAX_OFFSET
from stvc.native import kernels

F32 = npt.NDArray[np.float32]
Shift = tuple[int, int]
Prediction = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]
"""Profile and DC offset per component, and their proxy cost."""

_SHIFT_GAIN = 0.995
# ^ a shift must save half a percent of the proxy cost: it costs bits, and interpolation blurs the
#   state it leaves behind
_STILL = (0, 0)
_STRIDES = (2, 2, 1, 1)
# ^ of the walk down from an estimated shift, 1/8 pixel
_LIFT = 1 << 14
# ^ DN: components have negative values, bands have none
_ERROR = 1e-6
# ^ of costs in float32, three times what was seen
_PROBES = 64
"""Tokens on which prediction choices are tried."""


def probed_tokens(importance: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Tokens on which choices are tried, spread evenly; clear ones if there are enough."""
    flat = importance.reshape(-1)
    best = np.flatnonzero(flat == 0)
    if len(best) < 8:
        best = np.flatnonzero(flat != SKIPPED)
    return best[:: max(1, len(best) // _PROBES)][:_PROBES]


def choose_prediction(
    target: I32, refs: ReferenceCoefficients, probes: npt.NDArray[np.intp], step: int
) -> Prediction:
    """Pick profile and DC offset per component by the proxy cost ``sum log2(1 + |r| / step)``."""
    rows = _rows(refs.generation)
    if refs.unpredicted:
        rows = rows[:1]
    if kernels is None:
        cost, lift = plain_costs(target, refs, probes, rows, step)
    else:
        cost, lift = native_costs(target, refs, probes, rows, step)
        doubtful = np.flatnonzero(_doubtful(cost))
        if len(doubtful):
            cost[doubtful] = plain_costs(target, refs, probes, rows, step, doubtful)[0]
    best = np.rint(cost).argmin(1)
    # ^ whole bits: rows that only differ by rounding must not depend on a CPU's log2
    each = np.arange(len(target)), best
    return best, lift[each].astype(np.int64), float(cost[each].sum())


def _doubtful(cost: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Components (C, rows) to (C,) whose best row might be another by costs in float32."""
    low, high = np.rint(cost * (1 - _ERROR)), np.rint(cost * (1 + _ERROR))
    return np.asarray(((low != high) & (low <= high.min(1, keepdims=True))).any(1))


@lru_cache(maxsize=4)
def _rows(generation: int) -> F32:
    """(rows, 64, 4) weights of the references."""
    weights = profiles_of(generation).astype(np.float32) / (1 << WEIGHT_BITS)
    return np.ascontiguousarray(weights.transpose(0, 2, 1))


def plain_costs(
    target: I32,
    refs: ReferenceCoefficients,
    probes: npt.NDArray[np.intp],
    rows: F32,
    step: int,
    components: npt.NDArray[np.intp] | None = None,
) -> tuple[npt.NDArray[np.float64], F32]:
    """Compute the proxy cost of each component under each row, and its DC offset in steps.

    Parameters
    ----------
    target : array, (C, h, w, 64) int32
    refs : ReferenceCoefficients
    probes : array, (n,) int
        Tokens.
    rows : array, (rows, 64, 4) float32
    step : int
    components : array, (c,) int, optional
        Which; without it, all.

    Returns
    -------
    cost, lift : array, (c, rows)
    """
    which = np.arange(len(target)) if components is None else components
    c = len(which)

    def probe(x: I32) -> F32:
        chosen = x.reshape(len(target), -1, 64)[which[:, None], probes]
        return np.asarray(chosen, np.float32).swapaxes(1, 2)

    mean = np.asarray(refs.mean[which, 0, 0], np.float32)[..., None]
    wanted = probe(target) - mean
    references = np.stack([probe(plane) - mean for plane in refs.planes], 2)
    # ^ (C, 64, 4, probes): one small matrix product per frequency combines them for all rows
    cost, lift = np.empty((c, len(rows))), np.empty((c, len(rows)), np.float32)
    by_frequency = np.ascontiguousarray(rows.swapaxes(0, 1))
    for k in range(c):
        residual = by_frequency @ references[k]
        np.subtract(wanted[k][:, None], residual, out=residual)
        lifted = np.rint(np.median(residual[0], axis=1) / step)
        lift[k] = np.clip(np.where(np.abs(lifted) < 2, 0, lifted), -MAX_OFFSET, MAX_OFFSET)
        residual[0] -= (lift[k] * step)[:, None]
        cost[k] = _proxy_bits(residual, step)
    return cost, lift


def _proxy_bits(residual: F32, step: int) -> F32:
    """Cost of each row, (64, rows, probes) to (rows,); overwrites its argument."""
    ratio = np.abs(residual, out=residual)
    ratio *= np.float32(1 / step)
    ratio += 1
    fours = ratio.reshape(16, 4, *ratio.shape[1:])
    product = fours[:, 0] * fours[:, 1]
    product *= fours[:, 2]
    product *= fours[:, 3]
    # ^ the logarithm of a product of four, far below what overflows, is taken once
    return np.asarray(np.log2(product, out=product).sum((0, 2)))


def choose_plan(
    components: I32,
    target: I32,
    state: ReferenceState,
    klt: Klt,
    step_index: int,
    day: int,
    importance: npt.NDArray[np.uint8],
    clear: npt.NDArray[np.bool_] | None,
) -> tuple[Shift, npt.NDArray[np.int64], npt.NDArray[np.int64], ReferenceCoefficients]:
    """Choose what a unit is predicted from.

    Parameters
    ----------
    components : array, (C, H, W) int32
        Spectral components of the pixels, units of 2**-4 DN.
    target : array, (C, h, w, 64) int32
        Their coefficients.
    state : ReferenceState
    klt : Klt
    step_index : int
    day : int
        Acquisition, days since 1970.
    importance : array, (h, w) uint8
    clear : array, (H, W) bool, or None
        Pixels to register by; None tries no shift.

    Returns
    -------
    shift, profiles, offsets, refs
        As in `UnitPlan`; the references have been shifted.
    """
    step, probes = int(step_size(step_index)), probed_tokens(importance)
    there = target.reshape(len(target), 1, -1, COEFFICIENTS)[:, :, probes]
    refs = reference_coefficients(state, klt, _STILL, day, probes)
    best = choose_prediction(there, refs, np.arange(len(probes)), step)
    chosen, shift = best, _STILL
    if clear is not None and not state.empty:
        seen = bool((state.recent_day > NEVER).any())
        base = state.recent if seen or state.background is None else state.background
        brightest = klt.matrix[0].astype(np.float64) / (1 << 14)
        view = np.clip(np.abs(np.tensordot(brightest, base, 1)), 0, 65535).astype(np.uint16)
        found = estimate_shift(np.abs(components[0]) / (1 << FRACTION_BITS), view, clear)
        trials = _Shifts(state, klt, day, probes, there, step)
        moved, other = trials.search(found, best)
        if moved != _STILL and other[2] < _SHIFT_GAIN * best[2]:
            chosen, shift = other, moved
    return shift, chosen[0], chosen[1], reference_coefficients(state, klt, shift, day)


@dataclass(frozen=True)
class _Shifts:
    """Proxy costs of a unit whose references are shifted."""

    state: ReferenceState
    klt: Klt
    day: int
    probes: npt.NDArray[np.intp]
    target: I32
    """(C, 1, n, 64) of the probes."""
    step: int

    def search(self, estimate: Shift, still: Prediction) -> tuple[Shift, Prediction]:
        """Walk down from the better of an estimate and no shift at all.

        On the way the first component, and the profile that is best for it where the walk begins,
        stand for all.
        """
        start, best = _STILL, still
        if estimate != _STILL:
            there = self._choose(estimate)
            if there[2] < still[2]:
                start, best = estimate, there
        first = _FirstComponent.of(self, best[0][0])
        shift, cost, tried = start, first.cost(start), {start}
        for stride in _STRIDES:
            for axis in (0, 1):
                for way in (stride, -stride):
                    other = (shift[0] + way, shift[1]) if axis == 0 else (shift[0], shift[1] + way)
                    if other in tried or max(map(abs, other)) > MAX_SHIFT:
                        continue
                    tried.add(other)
                    price = first.cost(other)
                    if price < cost:
                        shift, cost = other, price
                        break
        return shift, best if shift == start else self._choose(shift)

    def _choose(self, shift: Shift) -> Prediction:
        refs = reference_coefficients(self.state, self.klt, shift, self.day, self.probes)
        return choose_prediction(self.target, refs, np.arange(len(self.probes)), self.step)


@dataclass(frozen=True)
class _FirstComponent:
    """Of a unit's references and probes, the first component alone."""

    planes: I32
    """(n, H, W) of references that are not alike, DN, `_LIFT` higher."""
    order: list[int | None]
    """Which of them is the recent state, the background (None: there is none), the second one, the
    average."""
    mean: I32
    """(1, 1, probes, 64)."""
    target: I32
    """(1, 1, probes, 64)."""
    probes: npt.NDArray[np.intp]
    rows: F32
    """(1, 64, 4)."""
    step: int

    @classmethod
    def of(cls, shifts: _Shifts, profile: int) -> _FirstComponent:
        """Take it out, to be predicted by one profile."""
        state, klt = shifts.state, shifts.klt
        recent, background = state.recent, state.background
        deeper = bool((state.second_day > NEVER).any())
        second = state.second if deeper else recent
        average = recent if state.generation == 1 else state.average
        references = (recent, background, second, average)
        distinct = list({id(one): one for one in references if one is not None}.values())
        lifted = [(klt.forward(planes)[0] >> FRACTION_BITS) + _LIFT for planes in distinct]
        count = len(shifts.probes)
        mean = (klt.forward(klt.mean[:, None, None])[0] >> FRACTION_BITS) + _LIFT
        flat = forward(np.broadcast_to(mean << FRACTION_BITS, (1, BLOCK, BLOCK)))
        target = shifts.target[:1].copy()
        target[..., 0] += _LIFT * BLOCK << FRACTION_BITS
        planes = np.clip(np.stack(lifted), 0, 65535)
        return cls(
            np.asarray(planes, np.int32),
            [_index(distinct, planes) for planes in references],
            np.broadcast_to(flat, (1, 1, count, COEFFICIENTS)),
            target,
            shifts.probes,
            _rows(state.generation)[profile][None],
            shifts.step,
        )

    def cost(self, shift: Shift) -> float:
        """Proxy cost under a shift."""
        count = len(self.probes)
        found = forward(warp_blocks(self.planes, shift, self.probes) << FRACTION_BITS)
        recent, background, second, average = (
            self.mean if k is None else found[k][None] for k in self.order
        )
        age = np.zeros((1, count), np.int32)
        refs = ReferenceCoefficients(
            self.mean, recent, second, background, average, age, age, has_background=True
        )
        given = self.target, refs, np.arange(count), self.rows, self.step
        price = None if kernels is None else native_costs(*given)[0]
        if price is None or _doubtful(price).any():
            price = plain_costs(*given)[0]
        return float(np.rint(price[0, 0]))


def _index(planes: list[I32], wanted: I32 | None) -> int | None:
    return next((k for k, one in enumerate(planes) if one is wanted), None)
