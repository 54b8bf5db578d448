"""Fit a spectral transform to a place (encoder only).

What a transform should make small are not the variances of the whole image, which the references
predict, nor those of its texture on average, which a few roofs and roads decide; it is the bits of
every patch of ground under a coder that knows how much is going on there. So the rotation is sought
that makes ``sum(log(variance + floor))`` least over components and over patches, each with the
covariances of its own texture at several distances (after the criterion of Pham 2001, SIAM J.
Matrix Anal. Appl. 22, for orthogonal matrices and with a floor, by rotations of two bands at a
time).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from einops import rearrange

from stvc.bands import find_band
from stvc.codec.transform import BLOCK

F64 = npt.NDArray[np.float64]

PATCHES = 256
"""Blocks that are looked at, at most; spread evenly over dates and ground."""
_CANDIDATES = 1 << 13
_DISTANCES = ((1, 4.0), (2, 2.0), (4, 1.0))
# ^ pixels, and what each counts: fine texture has more coefficients
_FLOOR = 20.0**2
# ^ DN^2, what quantization leaves at 54 dB; from 12 to 80 DN the same within 2 % of the bits
_LEAST_CLEAR = BLOCK * BLOCK // 2
_TYPICAL_WEIGHT = 112.0
# ^ of 16 patches that are all clear
_TYPICAL_BANDS = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12",
)  # fmt: skip
_TYPICAL = np.array(
    [
        (3750, 2410, 2650, 3360, 3270, 1690, 1110, 880, 1090, 2110, 3390, 3550),
        (2410, 19920, 19890, 25060, 15530, 6890, 3770, 7810, 3650, 880, 13820, 14870),
        (2650, 19890, 25180, 29600, 20140, 13580, 10560, 18760, 11020, 2510, 18710, 18390),
        (3360, 25060, 29600, 44840, 27340, 11170, 5610, 10040, 5040, 930, 28060, 28990),
        (3270, 15530, 20140, 27340, 29990, 24470, 21280, 24490, 22190, 5420, 30780, 27020),
        (1690, 6890, 13580, 11170, 24470, 69800, 80930, 90770, 84020, 22310, 27210, 11940),
        (1110, 3770, 10560, 5610, 21280, 80930, 106220, 116370, 106270, 28270, 25760, 6690),
        (880, 7810, 18760, 10040, 24490, 90770, 116370, 190500, 119830, 29310, 32350, 10390),
        (1090, 3650, 11020, 5040, 22190, 84020, 106270, 119830, 119550, 29650, 29590, 8630),
        (2110, 880, 2510, 930, 5420, 22310, 28270, 29310, 29650, 37040, 8510, 2520),
        (3390, 13820, 18710, 28060, 30780, 27210, 25760, 32350, 29590, 8510, 53600, 45140),
        (3550, 14870, 18390, 28990, 27020, 11940, 6690, 10390, 8630, 2520, 45140, 45370),
    ],
    np.float64,
)
"""Texture of Sentinel-2's bands, DN^2: patches of 23 training places at 20 m, each by its size."""
_SWEEPS = 8
_STILL = 0.01


def textures(pixels: npt.NDArray[np.uint16], hidden: npt.NDArray[np.bool_]) -> tuple[F64, F64]:
    """Covariances of the texture of some patches of clear ground.

    Parameters
    ----------
    pixels : array, (T, C, H, W) uint16
    hidden : array, (T, H, W) bool

    Returns
    -------
    array, (N, C, C) float64; array, (N,) float64
        Covariances in DN^2 of pixels that lie some distance apart, and the weight of each. N is 0
        if hardly anything is clear, or the image is smaller than a block.
    """
    t, c, height, width = pixels.shape
    rows, columns = height // BLOCK, width // BLOCK
    count = t * rows * columns
    chosen = np.unique(np.linspace(0, count - 1, min(count, _CANDIDATES)).astype(np.intp))
    date, place = np.divmod(chosen, max(rows * columns, 1))
    inside = np.arange(BLOCK)
    y = (place // max(columns, 1) * BLOCK)[:, None, None] + inside[:, None]
    x = (place % max(columns, 1) * BLOCK)[:, None, None] + inside
    clear = ~hidden[date[:, None, None], y, x]
    enough = np.flatnonzero(clear.sum((1, 2)) >= _LEAST_CLEAR)
    few = np.linspace(0, len(enough) - 1, min(len(enough), PATCHES)).astype(np.intp)
    kept = enough[few]
    if not len(kept):
        return np.zeros((0, c, c)), np.zeros(0)
    clear = clear[kept]
    blocks = pixels[date[kept, None, None], :, y[kept], x[kept]].astype(np.float64)
    found, weights = [], []
    for distance, weight in _DISTANCES:
        sums, pairs = np.zeros((len(kept), c, c)), np.zeros(len(kept))
        for axis in (1, 2):
            ahead, behind = (np.moveaxis(blocks, axis, 1)[:, part] for part in _apart(distance))
            seen = [np.moveaxis(clear, axis, 1)[:, part] for part in _apart(distance)]
            both = seen[0] & seen[1]
            step = rearrange((ahead - behind) * both[..., None], "n y x c -> n (y x) c")
            sums += rearrange(step, "n p c -> n c p") @ step / 2
            pairs += both.sum((1, 2))
        some = pairs > 0
        found.append(sums[some] / pairs[some, None, None])
        weights.append(weight * pairs[some] / (2 * BLOCK * (BLOCK - distance)))
    return np.concatenate(found), np.concatenate(weights)


def typical_texture(bands: Sequence[str]) -> F64 | None:
    """(C, C) covariances of the texture of Sentinel-2's bands, DN^2; None if one is no such band.

    What little is clear on a first date says less about those that follow than this does.
    """
    found = [find_band(name) for name in bands]
    names = [band.name for band in found if band is not None]
    if len(names) < len(bands) or not set(names) <= set(_TYPICAL_BANDS):
        return None
    rows = [_TYPICAL_BANDS.index(name) for name in names]
    return np.asarray(_TYPICAL[np.ix_(rows, rows)])


def patches_of(
    pixels: npt.NDArray[np.uint16], hidden: npt.NDArray[np.bool_], bands: Sequence[str]
) -> tuple[F64, F64]:
    """`textures` of an image, and the typical one of its bands beside them."""
    covariances, weights = textures(pixels, hidden)
    typical = typical_texture(bands)
    if typical is None:
        return covariances, weights
    return np.concatenate([covariances, typical[None]]), np.append(weights, _TYPICAL_WEIGHT)


def _apart(distance: int) -> tuple[slice, slice]:
    return slice(distance, None), slice(None, -distance)


def rotation(covariances: F64, weights: F64) -> F64:
    """Find the orthogonal transform that codes patches with the fewest bits.

    Parameters
    ----------
    covariances : array, (N, C, C) float64, DN^2
    weights : array, (N,) float64
        At least one is positive.

    Returns
    -------
    array, (C, C) float64
        Rows are components, the most expensive one first.
    """
    bands = covariances.shape[1]
    mean = np.einsum("n,nij->ij", weights, covariances) / weights.sum()
    basis = np.linalg.eigh(mean)[1][:, ::-1].T
    turned = basis @ covariances @ basis.T
    for _ in range(_SWEEPS):
        farthest = 0.0
        for i in range(bands):
            for j in range(i + 1, bands):
                angle = _best_angle(turned[:, i, i], turned[:, j, j], turned[:, i, j], weights)
                if abs(angle) < _STILL / 10:
                    continue
                farthest = max(farthest, abs(angle))
                pair = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
                basis[[i, j]] = pair @ basis[[i, j]]
                turned[:, [i, j]] = pair @ turned[:, [i, j]]
                turned[:, :, [i, j]] = turned[:, :, [i, j]] @ pair.T
        if farthest < _STILL:
            break
    variances = np.maximum(np.diagonal(turned, axis1=1, axis2=2), 0)
    price = weights @ np.log(variances + _FLOOR)
    return np.asarray(basis[np.argsort(-price, kind="stable")])


def _best_angle(a: F64, b: F64, both: F64, weights: F64) -> float:
    """Angle that makes the logarithms of two variances least, given the covariance of both."""
    middle, reach = 0.0, np.pi / 4
    for points in (17, 9, 9):
        angles = middle + np.linspace(-reach, reach, points)
        cosine, sine = np.cos(2 * angles)[:, None], np.sin(2 * angles)[:, None]
        level, apart = (a + b) / 2 + _FLOOR, cosine * (a - b) / 2 + sine * both
        price = np.log(np.maximum(level * level - apart * apart, 1.0)) @ weights
        middle, reach = float(angles[price.argmin()]), 2 * reach / (points - 1)
    return middle
