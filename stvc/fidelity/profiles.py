"""Time profiles of pixels: what phenology, change detection and classification start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.fidelity.indices import INDICES, locate, values
from stvc.fidelity.pairing import Pair, PairedGroup

F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

MAX_PIXELS = 20_000
"""Pixels that are followed through time; of larger fields, an even grid of them."""


@dataclass(frozen=True)
class Profiles:
    """One value per date and pixel, of the original and of the decoded copy."""

    name: str
    """``NDVI``, or the band that stands in for it."""
    days: F64
    """(T,) since 1970."""
    original: F64
    """(T, P)."""
    decoded: F64
    """(T, P)."""
    clear: Bool
    """(T, P)."""
    rows: npt.NDArray[np.intp]
    """(P,) row of each pixel on the group's grid."""
    columns: npt.NDArray[np.intp]
    """(P,)."""
    group: PairedGroup
    """Where the pixels are from."""
    bands: tuple[str, ...]
    """(nir, red), or () without NDVI."""

    @property
    def is_ndvi(self) -> bool:
        """Whether the values are NDVI."""
        return self.name == "NDVI"


def profiles(pair: Pair) -> Profiles:
    """Follow pixels through time: NDVI, or reflectance of the first band without red and nir."""
    located = locate(pair, INDICES[0])
    group, bands = (pair.finest, ()) if located is None else located
    rows, columns = sample_pixels(group)
    sides = []
    usable = np.ones((len(pair.times), len(rows)), bool)
    for stack in (group.original, group.decoded):
        if bands:
            per_frame = [values(INDICES[0], group, bands, frame) for frame in stack]
            sides.append(np.stack([value[rows, columns] for value, _ in per_frame]))
            usable &= np.stack([where[rows, columns] for _, where in per_frame])
        else:
            sides.append(stack[:, 0][:, rows, columns] / 10_000.0)
    return Profiles(
        "NDVI" if bands else group.bands[0],
        pair.times.astype("datetime64[s]").astype(np.int64) / 86400.0,
        sides[0],
        sides[1],
        group.clear[:, rows, columns] & usable,
        rows,
        columns,
        group,
        bands,
    )


def sample_pixels(
    group: PairedGroup, limit: int = MAX_PIXELS
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of all pixels, or of an even grid of at most `limit` of them."""
    _, height, width = group.grid.shape
    stride = max(1, int(np.ceil(np.sqrt(height * width / limit))))
    rows, columns = np.mgrid[stride // 2 : height : stride, stride // 2 : width : stride]
    if not rows.size:
        rows, columns = np.zeros((1, 1), np.intp), np.zeros((1, 1), np.intp)
    return rows.reshape(-1).astype(np.intp), columns.reshape(-1).astype(np.intp)


def whittaker(observed: F64, weights: F64, smoothness: float) -> F64:
    """Smooth evenly spaced series with gaps.

    Minimizes the weighted squared distance to the observations plus `smoothness` times the sum of
    squared second differences; gaps (weight 0) are bridged.

    Parameters
    ----------
    observed : ndarray, (N, P) float64
        N >= 4 steps of P series; anything where the weight is 0.
    weights : ndarray, (N, P) float64
        At least two steps of each series must be positive.
    smoothness : float
        Positive.

    Returns
    -------
    ndarray, (N, P) float64

    References
    ----------
    Eilers 2003, Analytical Chemistry 75(14): second-order differences, pentadiagonal elimination,
    here over all series at once.
    """
    n, _ = observed.shape
    if n < 4:
        raise ValueError(f"smoothing needs 4 steps or more, got {n}")
    lam = float(smoothness)
    diagonal = np.full(n, 6.0)
    diagonal[[0, -1]], diagonal[[1, -2]] = 1.0, 5.0
    beside = np.full(n, -4.0)
    beside[[0, n - 2]], beside[n - 1] = -2.0, 0.0
    beyond = np.ones(n)
    beyond[[n - 2, n - 1]] = 0.0
    d, c, e, z = (np.zeros_like(observed) for _ in range(4))
    for i in range(n):
        d[i] = weights[i] + lam * diagonal[i]
        z[i] = weights[i] * np.where(weights[i] > 0, observed[i], 0.0)
        upper = np.full(observed.shape[1], lam * beside[i])
        if i >= 1:
            d[i] -= c[i - 1] ** 2 * d[i - 1]
            z[i] -= c[i - 1] * z[i - 1]
            upper -= d[i - 1] * c[i - 1] * e[i - 1]
        if i >= 2:
            d[i] -= e[i - 2] ** 2 * d[i - 2]
            z[i] -= e[i - 2] * z[i - 2]
        c[i] = upper / d[i]
        e[i] = lam * beyond[i] / d[i]
    for i in range(n - 1, -1, -1):
        z[i] /= d[i]
        if i + 1 < n:
            z[i] -= c[i] * z[i + 1]
        if i + 2 < n:
            z[i] -= e[i] * z[i + 2]
    return z


def binned(days: F64, observed: F64, clear: Bool, step: float) -> tuple[F64, F64, F64]:
    """Average clear observations on an even time axis.

    Parameters
    ----------
    days : ndarray, (T,) float64
        Ascending.
    observed : ndarray, (T, P) float64
    clear : ndarray, (T, P) bool
    step : float
        Days.

    Returns
    -------
    (centers (N,), means (N, P), counts (N, P))
        Means are 0 where the count is 0.
    """
    bins = np.floor((days - days[0]) / step).astype(np.intp)
    n = int(bins[-1]) + 1
    total, count = np.zeros((n, observed.shape[1])), np.zeros((n, observed.shape[1]))
    np.add.at(total, bins, np.where(clear, observed, 0.0))
    np.add.at(count, bins, clear.astype(np.float64))
    return days[0] + step * (np.arange(n) + 0.5), total / np.maximum(count, 1), count
