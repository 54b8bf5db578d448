"""Phenology: date and height of the NDVI peak, start and end of the season, per pixel.

Method. The clear NDVI observations of a pixel are averaged in bins of 5 days and smoothed by
Whittaker's smoother (second differences, smoothness 20), the same for original and decoded copy.
A season is the year around the field's usual peak (circular mean over years of the day on which
the field's mean curve is highest), so that it works in both hemispheres. A pixel's season counts
if it holds at least 6 clear observations, lies wholly within the series, its peak is inside, and
the curve rises by at least 0.1 on both sides. Start and end are the last and the first crossing of
the midpoint between peak and the lowest value before or after it (White et al. 1997), interpolated
linearly; the peak's date is the vertex of the parabola through the three highest steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.fidelity.profiles import Profiles, binned, whittaker

F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

STEP = 5.0
"""Days between the steps of a smoothed curve."""
SMOOTHNESS = 20.0
MIN_OBSERVATIONS = 6
"""Clear observations that a season needs."""
MIN_AMPLITUDE = 0.1
"""NDVI by which a season must rise and fall."""
_YEAR = 365.25


@dataclass(frozen=True)
class Shift:
    """How far a date (days) or a height (NDVI) moves between original and decoded copy."""

    median: float
    """Of the absolute difference."""
    p90: float
    """90th percentile of the absolute difference."""
    bias: float
    """Mean of decoded minus original."""


@dataclass(frozen=True)
class Phenology:
    """Over all seasons of all pixels that have one in both series."""

    seasons: int
    """Pixel seasons compared."""
    years: int
    lost: float
    """Share of the original's seasons that the decoded series does not show."""
    peak_date: Shift
    peak_height: Shift
    start: Shift
    end: Shift


@dataclass(frozen=True)
class Season:
    """One season of P pixels; NaN where a pixel has none."""

    peak_date: F64
    """(P,) days since 1970."""
    peak_height: F64
    """(P,) NDVI."""
    start: F64
    """(P,)"""
    end: F64
    """(P,)"""


def phenology(found: Profiles) -> Phenology | str:
    """Compare the seasons of original and decoded copy; a sentence says why if there are none."""
    if not found.is_ndvi:
        return "no red and near infrared bands on one grid, so no NDVI"
    span = float(found.days[-1] - found.days[0]) if len(found.days) else 0.0
    if span < _YEAR * 0.8:
        return f"the series covers {span:.0f} days, and a season needs a year"
    axis, before, count = binned(found.days, found.original, found.clear, STEP)
    _, after, _ = binned(found.days, found.decoded, found.clear, STEP)
    dense = (count > 0).sum(axis=0) >= MIN_OBSERVATIONS
    if not dense.any():
        return f"no pixel has {MIN_OBSERVATIONS} clear dates"
    curves = [whittaker(side[:, dense], count[:, dense], SMOOTHNESS) for side in (before, after)]
    pairs = []
    for window in season_windows(axis, curves[0].mean(axis=1)):
        enough = count[window][:, dense].sum(axis=0) >= MIN_OBSERVATIONS
        if enough.any():
            parts = [curve[window][:, enough] for curve in curves]
            pairs.append(tuple(season_of(axis[window], part) for part in parts))
    if not pairs:
        return "no whole season within the series has enough clear dates"
    both = [np.isfinite(a.start) & np.isfinite(b.start) for a, b in pairs]
    had = sum(int(np.isfinite(a.start).sum()) for a, _ in pairs)
    shared = sum(int(b.sum()) for b in both)
    if not shared:
        return f"no pixel's NDVI rises and falls by {MIN_AMPLITUDE} within a season"

    def moved(name: str) -> Shift:
        parts = [
            (getattr(b, name) - getattr(a, name))[k] for (a, b), k in zip(pairs, both, strict=True)
        ]
        return shift(np.concatenate(parts))

    return Phenology(
        shared,
        len(pairs),
        1 - shared / had,
        moved("peak_date"),
        moved("peak_height"),
        moved("start"),
        moved("end"),
    )


def shift(difference: F64) -> Shift:
    """Summarize differences, decoded minus original."""
    size = np.abs(difference)
    return Shift(float(np.median(size)), float(np.percentile(size, 90)), float(difference.mean()))


def season_windows(axis: F64, curve: F64) -> list[slice]:
    """Cut a time axis into years around the usual peak of a curve.

    Parameters
    ----------
    axis : ndarray, (N,) float64
        Days since 1970, evenly spaced.
    curve : ndarray, (N,) float64
        The field's mean NDVI.

    Returns
    -------
    list of slice
        One per year of which at least 90 % lies within the axis.
    """
    angle = 2 * np.pi * (axis % _YEAR) / _YEAR
    lifted = np.maximum(curve - np.percentile(curve, 75), 0.0)
    center = np.angle(np.sum(lifted * np.exp(1j * angle))) % (2 * np.pi) / (2 * np.pi) * _YEAR
    windows = []
    first = int(np.floor((axis[0] - center) / _YEAR)) - 1
    for year in range(first, first + int((axis[-1] - axis[0]) / _YEAR) + 4):
        low, high = center + (year - 0.5) * _YEAR, center + (year + 0.5) * _YEAR
        start, stop = (int(np.searchsorted(axis, edge)) for edge in (low, high))
        if stop - start >= 0.9 * _YEAR / (axis[1] - axis[0]):
            windows.append(slice(start, stop))
    return windows


def season_of(axis: F64, curves: F64) -> Season:
    """Find peak, start and end of one season.

    Parameters
    ----------
    axis : ndarray, (N,) float64
        Days.
    curves : ndarray, (N, P) float64
        Smoothed NDVI.
    """
    n, pixels = curves.shape
    every = np.arange(pixels)
    top = curves.argmax(axis=0)
    inside = (top > 0) & (top < n - 1)
    at = np.clip(top, 1, n - 2)
    left, here, right = curves[at - 1, every], curves[at, every], curves[at + 1, every]
    bend = left - 2 * here + right
    offset = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, 1.0), 0.0)
    offset = np.clip(offset, -0.5, 0.5)
    step = axis[1] - axis[0]
    height = here - 0.25 * (left - right) * offset
    before, after = np.arange(n)[:, None] <= at, np.arange(n)[:, None] >= at
    floor_before = np.where(before, curves, np.inf).min(axis=0)
    floor_after = np.where(after, curves, np.inf).min(axis=0)
    real = inside & (height - np.maximum(floor_before, floor_after) >= MIN_AMPLITUDE)
    start = _crossing(axis, curves, (floor_before + height) / 2, at, rising=True)
    end = _crossing(axis, curves, (floor_after + height) / 2, at, rising=False)
    real &= np.isfinite(start) & np.isfinite(end)

    def known(value: F64) -> F64:
        return np.where(real, value, np.nan)

    return Season(known(axis[at] + offset * step), known(height), known(start), known(end))


def _crossing(
    axis: F64, curves: F64, level: F64, top: npt.NDArray[np.intp], *, rising: bool
) -> F64:
    """Last rise through a level before the top, or first fall through it after the top."""
    low, high = curves[:-1], curves[1:]
    steps = np.arange(len(low))[:, None]
    if rising:
        crossed = (low < level) & (high >= level) & (steps < top)
        k = len(low) - 1 - crossed[::-1].argmax(axis=0)
    else:
        crossed = (low >= level) & (high < level) & (steps >= top)
        k = crossed.argmax(axis=0)
    every = np.arange(curves.shape[1])
    a, b = curves[k, every], curves[k + 1, every]
    share = (level - a) / np.where(a == b, 1.0, b - a)
    return np.where(crossed.any(axis=0), axis[k] + share * (axis[1] - axis[0]), np.nan)
