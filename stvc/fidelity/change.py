"""Change detection: whether the decoded series shows the same lasting changes.

Method. NDVI is taken relative to the field: less the median of the field's clear pixels on that
date, so that season, haze and snow fall out. Of series of two years and more, each pixel's own
yearly and half-yearly wave (least squares over its clear observations) is taken off as well: a
meadow is not changed because it greens later than the forest. At each date of a pixel, the median
of the three clear observations from that date on is compared with the median of the three before.
The largest drop over time is the pixel's change; from 0.15 on the pixel counts as changed (felling,
fire, a harvest before the neighbors'). Both series use the same dates and the same mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.fidelity.profiles import Profiles

F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

DROP = 0.15
"""NDVI by which a pixel must fall to count as changed."""
_OBSERVATIONS = 3
_TWO_YEARS = 730.0
_RIDGE = 0.5
# ^ Observations' worth of doubt in a wave: few clear dates must not be explained away by it.


@dataclass(frozen=True)
class Change:
    """Agreement of the two maps of changed pixels."""

    pixels: int
    changed_original: float
    """Share of pixels."""
    changed_decoded: float
    agreement: float
    """Share of pixels that both call changed, or both unchanged."""
    f1: float
    """Of the changed pixels, original as truth; 1 if neither has any."""
    same_date: float | None
    """Of the pixels changed in both: share whose drop is on the same date."""
    drop_mae: float
    """Mean absolute difference of the largest drop, NDVI."""


def change(found: Profiles) -> Change | str:
    """Compare the lasting drops of original and decoded copy; a sentence says why not."""
    if not found.is_ndvi:
        return "no red and near infrared bands on one grid, so no NDVI"
    enough = found.clear.sum(axis=0) >= 2 * _OBSERVATIONS
    if not enough.any():
        return f"no pixel has {2 * _OBSERVATIONS} clear dates"
    clear = found.clear[:, enough]
    sides = [relative(side[:, enough], clear) for side in (found.original, found.decoded)]
    if found.days[-1] - found.days[0] >= _TWO_YEARS:
        sides = [deseasoned(found.days, side, clear) for side in sides]
    (before, when_before), (after, when_after) = (largest_drop(side, clear) for side in sides)
    truth, told = before >= DROP, after >= DROP
    both = truth & told
    union = int(truth.sum()) + int(told.sum())
    return Change(
        int(enough.sum()),
        float(truth.mean()),
        float(told.mean()),
        float((truth == told).mean()),
        2 * int(both.sum()) / union if union else 1.0,
        float((when_before == when_after)[both].mean()) if both.any() else None,
        float(np.abs(before - after).mean()),
    )


def relative(observed: F64, clear: Bool) -> F64:
    """Take off each date's median over the clear pixels: (T, P)."""
    out = observed.copy()
    for values, seen in zip(out, clear, strict=True):
        if seen.any():
            values -= np.median(values[seen])
    return out


def deseasoned(days: F64, observed: F64, clear: Bool) -> F64:
    """Take off each series' yearly and half-yearly wave, leaving its level: (T, P).

    Parameters
    ----------
    days : ndarray, (T,) float64
    observed : ndarray, (T, P) float64
    clear : ndarray, (T, P) bool
        The observations that the waves are fitted to.
    """
    angle = 2 * np.pi * days / 365.25
    waves = np.stack([f(k * angle) for k in (1, 2) for f in (np.cos, np.sin)], axis=1)
    design = np.concatenate([np.ones((len(days), 1)), waves], axis=1)
    weight = clear.astype(np.float64)
    products = np.einsum("ti,tj->tij", design, design).reshape(len(days), -1)
    normal = (weight.T @ products).reshape(-1, 5, 5) + np.diag([1e-9, *[_RIDGE] * 4])
    right = (weight * observed).T @ design
    fitted = np.linalg.solve(normal, right[..., None])[..., 0]
    return np.asarray(observed - waves @ fitted[:, 1:].T)


def largest_drop(observed: F64, clear: Bool) -> tuple[F64, npt.NDArray[np.intp]]:
    """Find the largest lasting fall of each series.

    Parameters
    ----------
    observed : ndarray, (T, P) float64
    clear : ndarray, (T, P) bool

    Returns
    -------
    (ndarray (P,), ndarray (P,))
        Size of the fall (at least 0), and the row of the date from which on it lasts.
    """
    past = _running_median(observed, clear)
    future = _running_median(observed[::-1], clear[::-1])[::-1]
    fall = past[:-1] - future[1:]
    fall = np.where(clear[1:], fall, np.nan)
    # ^ a date that is hidden starts nothing
    size = np.nan_to_num(fall, nan=-np.inf)
    row = size.argmax(axis=0)
    return np.maximum(size.max(axis=0), 0.0), row + 1


def _running_median(observed: F64, clear: Bool) -> F64:
    """(T, P) median of the last three clear values up to each date; NaN before there are three."""
    out = np.full(observed.shape, np.nan)
    last = np.full((_OBSERVATIONS, observed.shape[1]), np.nan)
    for t in range(len(observed)):
        seen = clear[t]
        last[:, seen] = np.concatenate([last[1:, seen], observed[t : t + 1, seen]])
        out[t] = np.sort(last, axis=0)[_OBSERVATIONS // 2]
        out[t, np.isnan(last).any(axis=0)] = np.nan
    return out
