"""Bits that traces of earlier processing save in the values of a band: encoders only."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stvc.codec.half_precision import SPAN, masses
from stvc.codec.predictive_traces import TABLE
from stvc.codec.trace_coefficients import (
    CLASSES,
    PRIOR,
    SUBBANDS,
    SUPPORT,
    class_of,
    coefficients,
    constants_of,
)
from stvc.codec.trace_rules import KNEES, ValueRule

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_BLOCK = 64
"""Pixels a side of what is counted together: half a code block of JPEG 2000."""
_LEARNING = 16.0
"""Bits that it takes to learn how often values come that half precision does not make."""
_MOST_FOREIGN, _STRAY = 0.5, 16
"""Values that half precision does not make: where they are half as frequent as chance makes them,
and more than a few saturated or repaired pixels, that rule is not what made the band."""
_LEAST_SHARE = 1e-9
"""Stands for what did not come, under logarithms."""


def rule_gain(band: I64, shown: Bool, rule: ValueRule) -> float:
    """Bits that a rule saves in the shown values of an (H, W) band, less what it costs to learn."""
    y, x = np.nonzero(shown)
    value = band[y, x]
    if rule.half is None:
        return _counting_gain(value, (y & 1) * 2 + (x & 1), rule.shift)
    return _half_gain(value + rule.shift, rule.half)


def _counting_gain(value: I64, parity: I64, shift: int) -> float:
    """Bits that counting the two lowest bits of (n,) values saves."""
    known = np.searchsorted(np.array(KNEES), (value & ~3) + shift, side="right")
    context = parity * (len(KNEES) + 1) + known
    counts = np.bincount(context * 4 + (value & 3), minlength=64).reshape(-1, 2, 2)
    pairs = np.concatenate([counts.sum(2), counts[:, 0], counts[:, 1]])
    return float((pairs.sum(1) - _entropy(pairs, np.array([0.5, 0.5])) - _cost(pairs)).sum())


class _Neighborhood(NamedTuple):
    """Of each value: its mass beside the mean around it, and which share there has none."""

    weight: F64
    foreign: F64


@lru_cache(maxsize=2)
def _neighborhood(half: int) -> _Neighborhood:
    mass = np.diff(masses()[half]).astype(np.float64)
    around = np.ones(TABLE)
    cells = np.rint(np.convolve(np.ones(SPAN), around, "same"))  # fewer at the ends
    mean = np.convolve(mass, around, "same") / cells
    foreign = np.rint(np.convolve((mass == 0).astype(np.float64), around, "same")) / cells
    return _Neighborhood(mass / np.maximum(mean, 1.0), foreign)


def _half_gain(value: I64, half: int) -> float:
    """Bits that it saves to know how (n,) values were made; their shift was added back."""
    weight, foreign = (part[np.clip(value, 0, SPAN - 1)] for part in _neighborhood(half))
    could, came = foreign > 0, weight == 0
    if np.count_nonzero(came) > _MOST_FOREIGN * foreign.sum() + _STRAY:
        return -np.inf
    share = (np.count_nonzero(came) + 0.5) / (np.count_nonzero(could) + 1.0)
    made = np.maximum(1 - share, _LEAST_SHARE)  # a few values may all be stray
    usual = np.log2(np.maximum(weight, _LEAST_SHARE)) + could * np.log2(made)
    rare = np.log2(share / np.maximum(foreign, _LEAST_SHARE))
    return float(np.where(came, rare, usual).sum()) - _LEARNING


def phase_gains(band: I64, usable: Bool) -> F64:
    """Bits that coefficients of a transform of each phase would save."""
    h, w = band.shape
    gains = np.zeros(4)
    if h < SUPPORT or w < SUPPORT:
        return gains
    padded = np.pad(band, ((SUPPORT - 1, 0), (SUPPORT - 1, 0)), mode="edge")
    for phase in range(4):
        y, x = phase >> 1, phase & 1
        rows, columns = np.arange(y, h, 2)[:, None], np.arange(x, w, 2)[None, :]
        here = np.s_[y : y + 2 * len(rows) : 2, x : x + 2 * columns.size : 2]
        windows = np.lib.stride_tricks.sliding_window_view(padded, (SUPPORT, SUPPORT))
        around = windows[here].transpose(2, 3, 0, 1)
        made = coefficients(constants_of(around), band[here])
        block = rows // _BLOCK * (w // _BLOCK + 1) + columns // _BLOCK
        some = usable[:, *here] & (made != 0)
        kind = (block * SUBBANDS + np.arange(SUBBANDS)[:, None, None]) * CLASSES + class_of(made)
        counts = np.bincount(kind[some], minlength=CLASSES).astype(np.float64)
        counts = np.pad(counts, (0, -len(counts) % CLASSES)).reshape(-1, CLASSES)
        prior = np.array(PRIOR) / sum(PRIOR)
        expected = -(counts * np.log2(prior)).sum(1)
        saved = expected - _entropy(counts, prior) - _cost(counts)
        gains[phase] = np.maximum(saved, 0).sum()
    return gains


def _entropy(counts: npt.NDArray[Any], prior: F64) -> F64:
    """(n,) bits of (n, k) symbols under their own frequencies."""
    total = counts.sum(1, keepdims=True)
    share = (counts + prior) / (total + 1)
    return np.asarray(-(counts * np.log2(share)).sum(1), np.float64)


def _cost(counts: npt.NDArray[Any]) -> F64:
    """(n,) bits that it takes to learn frequencies."""
    degrees = counts.shape[1] - 1
    return np.asarray((0.5 * np.log2(counts.sum(1) + 1.0) + 1) * degrees, np.float64)
