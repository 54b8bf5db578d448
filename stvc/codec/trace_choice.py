"""Looking for traces of earlier processing in the values of a unit: encoders only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_traces import (
    CLASSES,
    KNEES,
    PRIOR,
    SHIFTS,
    SUBBANDS,
    SUPPORT,
    BandTraces,
    class_of,
    coefficients,
    completed,
    constants_of,
)
from stvc.codec.rangecoder import Writer
from stvc.codec.truncation import write_truncation
from stvc.codec.truncation_search import untruncated

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_BLOCK = 64
"""Pixels a side of what is counted together: half a code block of JPEG 2000."""
_LEAST_GAIN = 48.0
"""Bits; less may be chance, or what learning costs."""


def find_traces(values: I64, hidden: Bool | None) -> list[BandTraces]:
    """Look for traces in each of (C, H, W) bands, where they are not hidden, (H, W)."""
    shown = np.ones(values.shape[1:], bool) if hidden is None else ~hidden
    usable = completed(shown)
    return [_found(band, shown, usable) for band in values]


def before_cuts(values: I64, told: list[BandTraces]) -> tuple[I64, list[BandTraces]]:
    """Put (C, H, W) bands that were cut back to values in steps, where that saves bits.

    Parameters
    ----------
    values : array, (C, H, W)
        None of them hidden.
    told : list of BandTraces
        What `find_traces` found.

    Returns
    -------
    array, (C, H, W)
        Values to tell, of which decoders make the bands again.
    list of BandTraces
        What is to be told of them.
    """
    values, told = values.copy(), list(told)
    shown = np.ones(values.shape[1:], bool)
    for k, (band, traces) in enumerate(zip(values, told, strict=True)):
        found = None if traces.phase is None else untruncated(band, traces.phase)
        if found is None:
            continue
        gain = _steps_gain(found.values, shown, SHIFTS[found.steps - 1])
        told_in = Writer()
        write_truncation(told_in, found.truncation)
        gain -= 8 * len(told_in.getvalue())
        gain -= float(_phase_gains(band, completed(shown))[traces.phase])
        if traces.steps:
            gain -= _steps_gain(band, shown, SHIFTS[traces.steps - 1])
        if gain > _LEAST_GAIN:
            values[k] = found.values
            told[k] = BandTraces(found.steps, None, found.truncation)
    return values, told


def _found(band: I64, shown: Bool, usable: Bool) -> BandTraces:
    steps = int(np.argmax([_LEAST_GAIN] + [_steps_gain(band, shown, shift) for shift in SHIFTS]))
    gains = _phase_gains(band, usable)
    best, second = np.argsort(-gains)[:2].tolist()
    # ^ calm bands show odd coefficients at every phase, for other reasons
    traced = gains[best] - gains[second] > _LEAST_GAIN
    return BandTraces(steps, best if traced else None)


def _steps_gain(band: I64, shown: Bool, shift: int) -> float:
    """Bits that counting the two lowest bits saves, less what it costs to learn."""
    y, x = np.nonzero(shown)
    value = band[y, x]
    known = np.searchsorted(np.array(KNEES), (value & ~3) + shift, side="right")
    context = ((y & 1) * 2 + (x & 1)) * (len(KNEES) + 1) + known
    counts = np.bincount(context * 4 + (value & 3), minlength=64).reshape(-1, 2, 2)
    pairs = np.concatenate([counts.sum(2), counts[:, 0], counts[:, 1]])
    return float((pairs.sum(1) - _entropy(pairs, np.array([0.5, 0.5])) - _cost(pairs)).sum())


def _phase_gains(band: I64, usable: Bool) -> F64:
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
