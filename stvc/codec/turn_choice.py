"""Choosing the turns of a unit's components, by what its coefficients would roughly cost: encoders.

An entropy model sees some of what components have in common by itself, so only a share of what
turning saves by this measure counts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stvc.codec.quantize import SKIPPED
from stvc.codec.transform import COEFFICIENTS
from stvc.codec.turns import BANDS, COMPONENTS, MOST, UNITS, pairs_of
from stvc.native import kernels

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

TOKENS = 64
"""Tokens that turns are tried on, at most."""
_BUSY = 0.5
"""Steps; smaller coefficients are 0 and stay so."""
_FEW = 8
_WORTH = 9.0
"""Bits of an angle."""
_EACH_SHARE, _ALL_SHARE = 0.25, 0.5
"""What counts of what is saved by an angle for each band, and by one for all."""
_KNEE, _SLOPE = 0.3, 3.0
_FADE = 0.1
_STRIDES = (2, 1)
_CHANCE = 10.0
"""Squared correlation times coefficients: with less, no angle saves enough."""


def choose_turns(
    residual: F64, steps: npt.NDArray[np.int64], importance: npt.NDArray[np.uint8]
) -> I64 | None:
    """Choose turns, or None if none is worth its bits.

    Parameters
    ----------
    residual : array, (C, h, w, 64) float64
    steps : array, (h, w)
        Of each token, in the same units.
    importance : array, (h, w) uint8
    """
    pairs = pairs_of(len(residual))
    coded = np.flatnonzero(importance != SKIPPED)
    if not pairs or not len(coded):
        return None
    count = min(len(coded), TOKENS)
    tried = coded[np.arange(count) * len(coded) // count]
    part = residual[:COMPONENTS].reshape(-1, steps.size, COEFFICIENTS).take(tried, 1)
    part /= steps.reshape(-1)[tried, None]
    weight = len(coded) / count
    if kernels is not None:
        turns = np.zeros((len(pairs), len(BANDS)), np.int64)
        kernels.choose_turns((len(part), count, weight), part, turns)
    else:
        turns = _chosen(part, weight)
    return turns if turns.any() else None


def _chosen(part: F64, weight: float) -> I64:
    """Choose for (C, n, 64) coefficients in steps, each of which stands for ``weight`` ones."""
    turns = np.zeros((len(pairs_of(len(part))), len(BANDS)), np.int64)
    for p, (j, k) in enumerate(pairs_of(len(part))):
        bands = []
        for low, high in BANDS:
            x, y = part[j, :, low:high].reshape(-1), part[k, :, low:high].reshape(-1)
            busy = np.maximum(np.abs(x), np.abs(y)) > _BUSY
            bands.append((x[busy], y[busy]))
        each = [_best(*band, weight) for band in bands]
        worth = [_EACH_SHARE * weight * saved - _WORTH for _, saved in each]
        angles = [angle if w > 0 else 0 for (angle, _), w in zip(each, worth, strict=True)]
        gain = sum(max(w, 0) for w in worth) - 2
        x, y = (np.concatenate(both) for both in zip(*bands, strict=True))
        angle, saved = _best(x, y, weight)
        for_all = _ALL_SHARE * weight * saved - _WORTH
        if for_all > gain:
            gain, angles = for_all, [angle] * len(BANDS)
        if gain <= 0 or not any(angles):
            continue
        turns[p] = angles
        for (low, high), angle in zip(BANDS, angles, strict=True):
            if angle:
                x, y = part[j, :, low:high].copy(), part[k, :, low:high].copy()
                part[j, :, low:high], part[k, :, low:high] = _at(x, y, angle)
    return turns


def _best(x: F64, y: F64, weight: float) -> tuple[int, float]:
    """Angle under which coefficients cost least, and what it saves."""
    if len(x) < _FEW:
        return 0, 0.0
    trust = 1 / (1 + _FADE * (x * x + y * y))
    across, xx, yy = (x * y * trust).sum(), (x * x * trust).sum(), (y * y * trust).sum()
    if across * across * len(x) * weight < _CHANCE * xx * yy:
        return 0, 0.0
    exact = 0.5 * np.arctan2(2 * across, xx - yy) * UNITS / np.pi
    angle = int(np.clip(np.rint(exact), -MOST, MOST))
    costs: dict[int, float] = {}

    def cost(angle: int) -> float:
        if angle not in costs:
            costs[angle] = sum(_cost(part) for part in _at(x, y, angle))
        return costs[angle]

    for stride in _STRIDES:
        while True:
            near = (angle, max(angle - stride, -MOST), min(angle + stride, MOST))
            found = min(near, key=cost)
            if found == angle:
                break
            angle = found
    saved = cost(0) - cost(angle)
    return (angle, saved) if saved > 0 else (0, 0.0)


def _at(x: F64, y: F64, angle: int) -> tuple[F64, F64]:
    c, s = np.cos(np.pi / UNITS * angle), np.sin(np.pi / UNITS * angle)
    return c * x + s * y, c * y - s * x


def _cost(x: F64) -> float:
    return float(np.log2(1 + np.maximum(np.abs(x) - _KNEE, 0) * _SLOPE).sum())
