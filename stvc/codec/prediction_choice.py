"""What a unit is predicted from: registration, and a profile per component (encoder only)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stvc.codec.prediction import ReferenceCoefficients, reference_coefficients
from stvc.codec.profiles import WEIGHT_BITS, profiles_of
from stvc.codec.quantize import SKIPPED, step_size
from stvc.codec.references import NEVER, ReferenceState
from stvc.codec.registration import estimate_shift
from stvc.codec.spectral import Klt
from stvc.codec.transform import FRACTION_BITS, I32
from stvc.codec.unit_plan import MAX_OFFSET

F32 = npt.NDArray[np.float32]

_SHIFT_GAIN = 0.98
# ^ a shift must save 2 % of the proxy cost: interpolation also blurs the state it leaves behind
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
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]:
    """Pick profile and DC offset per component by the proxy cost ``sum log2(1 + |r| / step)``."""
    c = len(target)

    def probe(x: I32) -> F32:
        return np.asarray(x.reshape(c, -1, 64)[:, probes], np.float32).swapaxes(1, 2)

    mean = np.asarray(refs.mean[:, 0, 0], np.float32)[..., None]
    wanted = probe(target) - mean
    planes = (refs.recent, refs.background, refs.second, refs.average)
    references = np.stack([probe(plane) - mean for plane in planes], 2)
    # ^ (C, 64, 4, probes): one small matrix product per frequency combines them for all rows
    profiles = np.zeros(c, np.int64)
    offsets = np.zeros(c, np.int64)
    total = 0.0
    weights = profiles_of(refs.generation).astype(np.float32) / (1 << WEIGHT_BITS)
    rows = np.ascontiguousarray(weights[: 1 if refs.unpredicted else None].transpose(2, 0, 1))
    for k in range(c):
        residual = rows @ references[k]
        np.subtract(wanted[k][:, None], residual, out=residual)
        lift = np.rint(np.median(residual[0], axis=1) / step)
        lift = np.clip(np.where(np.abs(lift) < 2, 0, lift), -MAX_OFFSET, MAX_OFFSET)
        residual[0] -= (lift * step)[:, None]
        cost = _proxy_bits(residual, step)
        best = int(np.rint(cost).argmin())
        # ^ whole bits: rows that only differ by rounding must not depend on a CPU's log2
        profiles[k], offsets[k] = best, int(lift[best])
        total += float(cost[best])
    return profiles, offsets, total


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
) -> tuple[tuple[int, int], npt.NDArray[np.int64], npt.NDArray[np.int64], ReferenceCoefficients]:
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
    step, probes, still = int(step_size(step_index)), probed_tokens(importance), (0, 0)
    refs = reference_coefficients(state, klt, still, day)
    profiles, offsets, cost = choose_prediction(target, refs, probes, step)
    if clear is not None and not state.empty:
        seen = bool((state.recent_day > NEVER).any())
        base = state.recent if seen or state.background is None else state.background
        brightest = klt.matrix[0].astype(np.float64) / (1 << 14)
        view = np.clip(np.abs(np.tensordot(brightest, base, 1)), 0, 65535).astype(np.uint16)
        found = estimate_shift(np.abs(components[0]) / (1 << FRACTION_BITS), view, clear)
        if found != still:
            moved = reference_coefficients(state, klt, found, day)
            other = choose_prediction(target, moved, probes, step)
            if other[2] < _SHIFT_GAIN * cost:
                return found, other[0], other[1], moved
    return still, profiles, offsets, refs
