"""Integer features of the entropy model, computed alike by encoder, decoder and training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.codec.prediction import ReferenceCoefficients
from stvc.codec.profiles import profiles_of
from stvc.codec.quantize import SKIPPED, STEP_OCTAVE
from stvc.codec.transform import I32
from stvc.model.architecture import LOCATION_BITS, SIDE_FEATURES

U_LIMIT = 8191
"""Values in units of 1/8 step are clipped here: products with gates stay exact in float32."""

_RECIPROCAL_BITS = 20

I16 = npt.NDArray[np.int16]
I8 = npt.NDArray[np.int8]


def _compand_table() -> I8:
    """Sign-symmetric, linear up to 2 steps, then 12 per octave.

    Thresholds of ``16 + rint(12 log2(u / 16))`` are found by comparing integers
    (``u**24 >= 16**24 * 2**(2 k - 1)``), so that no libm decides about a table entry.
    """
    table = np.zeros(U_LIMIT + 1, np.int64)
    table[:17] = np.arange(17)
    k = 0
    for u in range(17, U_LIMIT + 1):
        while u**24 >= 16**24 * 2 ** (2 * k + 1):
            k += 1
        table[u] = min(16 + k, 127)
    return np.asarray(np.concatenate([-table[:0:-1], table]), np.int8)


COMPAND = _compand_table()


def compand(u: npt.NDArray[np.generic]) -> I8:
    """Squeeze values in units of 1/8 step into int8."""
    return np.asarray(COMPAND[np.clip(u, -U_LIMIT, U_LIMIT).astype(np.int64) + U_LIMIT])


def in_steps(value: npt.NDArray[np.generic], steps: npt.NDArray[np.int64]) -> I16:
    """Express coefficients (units of 2**-4 DN) in units of 1/8 step, clipped to int16."""
    reciprocal = (1 << (_RECIPROCAL_BITS + LOCATION_BITS)) // steps
    u: npt.NDArray[np.float64] = np.multiply(value, reciprocal.astype(np.float64))
    # ^ exact: 28 bits times 23
    u += 1 << _RECIPROCAL_BITS >> 1
    u *= 2.0**-_RECIPROCAL_BITS
    return np.asarray(np.clip(np.floor(u, out=u), -U_LIMIT, U_LIMIT, out=u), np.int16)


def log2_units(value: npt.NDArray[np.int64] | int, per_octave: int = 8) -> npt.NDArray[np.int64]:
    """Floor of ``per_octave * log2(value)`` for integers >= 1, without floating point."""
    v = np.maximum(np.asarray(value, np.int64), 1)
    whole = np.zeros_like(v)
    for bits in (32, 16, 8, 4, 2, 1):
        big = (v >> (whole + bits)) > 0
        whole = whole + np.where(big, bits, 0)
    fraction = ((v << 8) >> whole) - 256
    # ^ log2(1 + f) is replaced by f: a feature needs monotony, not accuracy
    return np.asarray(whole * per_octave + fraction * per_octave // 256)


@dataclass(frozen=True)
class FrameSide:
    """What a unit's header and its frame tell about all of its tokens."""

    day: int
    """Days since 1970."""
    gsd: int
    """Ground sampling distance in CRS units, rounded, at least 1."""
    shift: tuple[int, int]
    """Registration shift, 1/8 pixel."""
    step_index: int
    """Base quantization step."""


@dataclass(frozen=True)
class UnitFeatures:
    """Inputs of the entropy model for all components of one unit (raster token order)."""

    context: I8
    """(C, N, 320) companded prediction, recent, background, second reference, running mean."""
    side: I8
    """(C, N, 32) scalars."""
    candidates: I16
    """(C, N, 64, 5) corrections in 1/8 step: recent, background, mean, second reference, running
    mean, minus prediction."""


def unit_features(
    refs: ReferenceCoefficients,
    predicted: I32,
    steps: npt.NDArray[np.int64],
    importance: npt.NDArray[np.uint8],
    profiles: npt.NDArray[np.int64],
    spread: npt.NDArray[np.uint8],
    frame: FrameSide,
) -> UnitFeatures:
    """Gather the entropy model's inputs.

    Parameters
    ----------
    refs : ReferenceCoefficients
    predicted : array, (C, h, w, 64) int32, units of 2**-4 DN
    steps : array, (h, w), units of 2**-4 DN
    importance : array, (h, w) uint8
    profiles : array, (C,) int
    spread : array, (C,) uint8
    frame : FrameSide
    """
    c, h, w, _ = predicted.shape
    n = h * w
    per_token = steps[None, :, :, None]

    def u(value: npt.NDArray[np.generic]) -> I16:
        return in_steps(value, per_token).reshape(c, n, 64)

    recent = u(refs.recent - predicted)
    background = u(refs.background - predicted)
    second = u(refs.second - predicted)
    mean = u(refs.mean - predicted)
    average = u(refs.average - predicted)
    # ^ a model of generation 1 takes the first four planes and the first three candidates
    planes: list[I16] = [-mean, recent, background, second, average]
    context = np.concatenate([compand(plane) for plane in planes], -1)
    side = np.zeros((c, n, SIDE_FEATURES), np.int64)
    side[..., 0] = frame.step_index * 8 // STEP_OCTAVE - 40
    side[..., 1] = (spread.astype(np.int64) - frame.step_index * 8 // STEP_OCTAVE)[:, None]
    for k in range(c):
        side[k, :, 2 + min(k, 4)] = 64
    side[..., 7] = log2_units(c, 16)
    for position, age in ((8, refs.recent_age), (10, refs.second_age)):
        days = age.reshape(-1).astype(np.int64)
        side[..., position] = log2_units(days + 1)
        side[..., position + 1] = np.where(days < 0, 64, 0)
        side[..., position] *= days >= 0
    side[..., 12] = 0 if refs.has_background else 64
    coded = importance.reshape(-1) != SKIPPED
    side[..., 13] = np.where(coded, 64, 0)
    side[..., 14] = np.where(coded, importance.reshape(-1), 0).astype(np.int64) * 16
    side[..., 15] = log2_units(max(frame.gsd, 1)) - 24
    quarter = (frame.day % 365) * 4 // 365
    side[..., 16 + quarter] = 64
    table = profiles_of(refs.generation)
    low, high = table[profiles][:, :, 0], table[profiles][:, :, 40]
    side[..., 20] = low[:, 0, None]
    side[..., 21] = low[:, 1, None]
    side[..., 22] = high[:, 0, None]
    side[..., 23] = high[:, 1, None]
    side[..., 24] = 8 * abs(frame.shift[0])
    side[..., 25] = 8 * abs(frame.shift[1])
    if refs.generation > 1:
        side[..., 26] = low[:, 2, None]
        side[..., 27] = high[:, 2, None]
        side[..., 28] = low[:, 3, None]
        side[..., 29] = high[:, 3, None]
        side[..., 30] = 64 if refs.two_sided else 0
    candidates = np.stack([recent, background, mean, second, average], -1)
    return UnitFeatures(context, np.clip(side, -127, 127).astype(np.int8), candidates)
