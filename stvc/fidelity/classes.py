"""A classifier trained on the original and applied to the decoded copy.

Method. The 366 days with most clear observations are cut into 12 periods; a pixel's features are
the means of its clear observations per period and band of the grid that has NDVI (gaps are bridged
linearly in time). Labels are given, or else found: k-means (5 classes) on the standardized NDVI
profiles of the original. A random forest (100 trees, seed 0) learns the labels from the original
features of every other square of a checkerboard of the field, and is applied to the other squares:
once to the original features, once to the decoded ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from stvc.errors import CorruptInputError
from stvc.fidelity.profiles import Profiles, sample_pixels

F64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

CLASSES = 5
PERIODS = 12
MAX_PIXELS = 6_000
_WINDOW = 366.0
_MIN_PIXELS = 64
_TREES = 100


@dataclass(frozen=True)
class Classification:
    """Predictions on the test squares."""

    labels: str
    """``given``, or how they were found."""
    classes: int
    trained: int
    """Pixels that the classifier learned from."""
    tested: int
    """Pixels that it was applied to."""
    agreement: float
    """Share of test pixels with the same prediction from original and decoded features."""
    kappa: float
    """Cohen's kappa of the two predictions."""
    accuracy_original: float
    """Against the labels."""
    accuracy_decoded: float


def classification(found: Profiles, labels: Labels | None = None) -> Classification | str:
    """Compare predictions from original and decoded features; a sentence says why not.

    Parameters
    ----------
    found : Profiles
    labels : ndarray, (H, W) integers, optional
        On the grid of `Profiles.group`; 0 or less = no label.

    Raises
    ------
    CorruptInputError
        If the labels have another shape.
    """
    if not find_spec("sklearn"):
        return "scikit-learn is not installed: pip install 'stvc[compare]'"
    group = found.group
    shape = group.grid.shape[1:]
    if labels is not None and labels.shape != shape:
        raise CorruptInputError(
            f"the labels are {labels.shape} pixels, the grid of {', '.join(group.bands)} is "
            f"{shape}; give one label per pixel"
        )
    rows, columns = sample_pixels(group, MAX_PIXELS)
    days = found.days
    window = densest_window(days, group.clear[:, rows, columns].sum(axis=1))
    clear = group.clear[window][:, rows, columns]
    sides = []
    for stack in (group.original, group.decoded):
        bands = [
            period_means(days[window], stack[window, c][:, rows, columns] / 1e4, clear)
            for c in range(len(group.bands))
        ]
        sides.append(np.concatenate(bands, axis=0).T)
    usable = np.isfinite(sides[0]).all(axis=1)
    if labels is not None:
        target: Labels = labels[rows, columns].astype(np.int64)
        usable &= target > 0
    if int(usable.sum()) < _MIN_PIXELS:
        return f"{int(usable.sum())} pixels have features and labels; {_MIN_PIXELS} are needed"
    before, after = sides[0][usable], sides[1][usable]
    if labels is None:
        target, what = _found_labels(before, group.bands, found.bands), "k-means of profiles"
    else:
        target, what = target[usable], "given"
    train = checkerboard(rows[usable], columns[usable], shape)
    if len(np.unique(target[train])) < 2 or not (~train).any():
        return "the training squares show fewer than two classes"
    told = _predict(before, after, target, train)
    truth = target[~train]
    return Classification(
        what,
        len(np.unique(target)),
        int(train.sum()),
        int((~train).sum()),
        float((told[0] == told[1]).mean()),
        kappa(told[0], told[1]),
        float((told[0] == truth).mean()),
        float((told[1] == truth).mean()),
    )


def _predict(
    before: F64, after: F64, target: Labels, train: npt.NDArray[np.bool_]
) -> tuple[Labels, Labels]:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(n_estimators=_TREES, random_state=0, n_jobs=1)
    forest.fit(before[train], target[train])
    return forest.predict(before[~train]), forest.predict(after[~train])


def _found_labels(features: F64, bands: tuple[str, ...], ndvi: tuple[str, ...]) -> Labels:
    """Cluster the pixels by their profile: (P,) labels from 1 on."""
    from sklearn.cluster import KMeans

    by_band = features.reshape(len(features), len(bands), -1)
    if ndvi:
        nir, red = (by_band[:, bands.index(band)] for band in ndvi)
        profile = (nir - red) / np.maximum(nir + red, 1e-6)
    else:
        profile = by_band[:, 0]
    profile = (profile - profile.mean(axis=0)) / np.maximum(profile.std(axis=0), 1e-9)
    count = min(CLASSES, len(np.unique(profile.round(6), axis=0)))
    found: Labels = KMeans(count, n_init=4, random_state=0).fit_predict(profile).astype(np.int64)
    return found + 1


def densest_window(days: F64, clear: npt.NDArray[np.integer]) -> slice:
    """Rows of the 366 days with most clear observations (the earliest of equals)."""
    best, score = slice(0, 1), -1
    for first, day in enumerate(days):
        stop = int(np.searchsorted(days, day + _WINDOW))
        total = int(clear[first:stop].sum())
        if total > score:
            best, score = slice(first, stop), total
    return best


def period_means(days: F64, observed: F64, clear: npt.NDArray[np.bool_]) -> F64:
    """Average clear observations over equal periods, bridging gaps linearly.

    Parameters
    ----------
    days : ndarray, (T,) float64
    observed : ndarray, (T, P) float64
    clear : ndarray, (T, P) bool

    Returns
    -------
    ndarray, (periods, P) float64
        At most `PERIODS` rows; NaN for a pixel without clear observation.
    """
    span = max(float(days[-1] - days[0]), 1e-9)
    count = min(PERIODS, len(days))
    bins = np.minimum((count * (days - days[0]) / span).astype(np.intp), count - 1)
    total, n = np.zeros((count, observed.shape[1])), np.zeros((count, observed.shape[1]))
    np.add.at(total, bins, np.where(clear, observed, 0.0))
    np.add.at(n, bins, clear.astype(np.float64))
    means = np.where(n > 0, total / np.maximum(n, 1), np.nan)
    steps = np.arange(count)[:, None]
    known = n > 0
    last = np.maximum.accumulate(np.where(known, steps, -1), axis=0)
    following = np.minimum.accumulate(np.where(known, steps, count)[::-1], axis=0)[::-1]
    last, following = (
        np.where(last < 0, following, last),
        np.where(following >= count, last, following),
    )
    every = np.arange(observed.shape[1])
    empty = ~known.any(axis=0)
    last, following = np.clip(last, 0, count - 1), np.clip(following, 0, count - 1)
    share = (steps - last) / np.maximum(following - last, 1)
    bridged = means[last, every] + share * (means[following, every] - means[last, every])
    return np.where(empty, np.nan, bridged)


def checkerboard(
    rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], shape: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Tell which pixels train: those on the dark squares, a sixth of the field's side each."""
    side = max(2, max(shape) // 6)
    return np.asarray((rows // side + columns // side) % 2 == 0)


def kappa(one: Labels, other: Labels) -> float:
    """Cohen's kappa of two labelings; 1 if both are one and the same class throughout."""
    names = np.union1d(one, other)
    share_one = np.array([(one == k).mean() for k in names])
    share_other = np.array([(other == k).mean() for k in names])
    agreed, chance = float((one == other).mean()), float(share_one @ share_other)
    return (agreed - chance) / (1 - chance) if chance < 1 else 1.0
