"""Digital numbers and reflectance: the scale, the baseline's offset, and nodata."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from stvc.bands import find_band
from stvc.errors import CorruptInputError
from stvc.types import U16

SCALE = 10_000
"""DN per unit of reflectance, offset aside."""

NODATA = 0
"""The DN that means "nothing was imaged here" (it is not black)."""

OFFSET_SINCE_BASELINE_4 = -1000
"""DN to add before scaling, for products of processing baseline 04.00 and later."""

MIN_STABLE = 64
"""Fewest pixels from which an offset is judged."""

Bool = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]


def offset_of_baseline(baseline: str) -> int:
    """Tell the DN offset of a product from its processing baseline.

    Parameters
    ----------
    baseline : str
        ``04.00``, ``N0509`` or ``05.09``. Never judge by date instead: reprocessed products
        (Collection 1) carry baseline 05 back to 2015.

    Returns
    -------
    int
        0 before baseline 04.00, -1000 from it on.

    Raises
    ------
    CorruptInputError
        If `baseline` is no baseline.
    """
    match = re.fullmatch(r"N?(\d{2})\.?(\d{2})", baseline.strip())
    if match is None:
        raise CorruptInputError(f"baseline {baseline!r} is not of the form 05.09 or N0509")
    return OFFSET_SINCE_BASELINE_4 if int(match[1]) >= 4 else 0


def reflectance_scale(band: str) -> float:
    """Tell what one DN of a band is worth, for files whose bands say nothing themselves.

    Parameters
    ----------
    band : str
        Band name.

    Returns
    -------
    float
        1e-4 (reflectance) for Sentinel-2's bands, 1 for any other: their unit is not known.
    """
    return 1.0 if find_band(band) is None else 1 / SCALE


def to_reflectance(dn: U16, offset: int = 0) -> F32:
    """Turn DN into reflectance.

    Parameters
    ----------
    dn : ndarray, uint16
        Digital numbers, 0 = nodata.
    offset : int
        DN to add first, from `offset_of_baseline`; 0 if the values are harmonized.

    Returns
    -------
    ndarray, float32
        Reflectance, unit 1; NaN = nodata.
    """
    reflectance = (dn.astype(np.float32) + np.float32(offset)) / np.float32(SCALE)
    return np.where(dn == NODATA, np.float32(np.nan), reflectance)


def to_dn(reflectance: npt.NDArray[np.floating], offset: int = 0) -> U16:
    """Turn reflectance into DN.

    Parameters
    ----------
    reflectance : ndarray, float
        Unit 1; NaN = nodata.
    offset : int
        As in `to_reflectance`.

    Returns
    -------
    ndarray, uint16
        Digital numbers: imaged pixels from 1 to 65535 (clipped), 0 = nodata.
    """
    dn = np.rint(np.asarray(reflectance, dtype=np.float64) * SCALE - offset)
    imaged = ~np.isnan(dn)
    return np.where(imaged, np.clip(np.where(imaged, dn, 1), 1, 65535), NODATA).astype(np.uint16)


def harmonize(dn: U16, offset: int) -> U16:
    """Bring DN of a new baseline to the scale of the old ones, which have no offset.

    Parameters
    ----------
    dn : ndarray, uint16
        Digital numbers, 0 = nodata.
    offset : int
        From `offset_of_baseline`.

    Returns
    -------
    ndarray, uint16
        Imaged pixels stay imaged: what the offset would turn negative or 0 becomes 1, because 0
        would declare it nodata.
    """
    shifted = np.clip(dn.astype(np.int32) + offset, 1, 65535)
    return np.where(dn == NODATA, NODATA, shifted).astype(np.uint16)


def suspect_offset(frame: U16, background: U16, clear: Bool) -> int:
    """Tell whether a frame looks shifted by a baseline's offset against the place's background.

    Parameters
    ----------
    frame, background : ndarray, (C, H, W) uint16
        Digital numbers of the same bands and ground.
    clear : ndarray, (H, W) bool
        True = the ground is seen, in both.

    Returns
    -------
    int
        1000 if an offset seems not to have been removed, -1000 if it seems to have been removed
        twice, else 0. Also 0 if it cannot be told: fewer than two bands, or too few clear pixels.

    Notes
    -----
    An offset lifts all bands of all pixels alike, which seasons, harvests, snow and haze do not.
    Dark ground (vegetation, water and shadow in the visible bands) tells it best, because seasons
    change it least. Real shifts hidden behind a real change of the same size go unnoticed: of
    single dates with a missing offset about 4 in 10 are found (2 in 3 if it was removed twice), of
    honest ones 1 in 600 is accused.
    """
    seen = clear & (frame != NODATA).all(axis=0) & (background != NODATA).all(axis=0)
    if len(frame) < 2 or np.count_nonzero(seen) < MIN_STABLE:
        return 0
    now, before = frame[:, seen].astype(np.int32), background[:, seen].astype(np.int32)
    if _lifted(now, before):
        return -OFFSET_SINCE_BASELINE_4
    if _lifted(before, now) or _crushed(now, before):
        return OFFSET_SINCE_BASELINE_4
    return 0


def denies_offset(frame: U16, background: U16, clear: Bool, offset: int) -> bool:
    """Tell whether bands speak against an offset that others of the same frame suggest.

    Parameters
    ----------
    frame, background, clear
        As for `suspect_offset`.
    offset : int
        What the others suggest, in DN.

    Returns
    -------
    bool
        True if the typical change of these bands is nearer to none than to `offset`.
    """
    seen = clear & (frame != NODATA).all(axis=0) & (background != NODATA).all(axis=0)
    if np.count_nonzero(seen) < MIN_STABLE:
        return False
    before = background[:, seen].astype(np.int32)
    change = float(np.median(frame[:, seen].astype(np.int32) - before))
    # What an offset too many would turn negative has become 1: dark ground cannot fall by 1000.
    expected = float(np.median(np.maximum(before + offset, 1) - before))
    return abs(change) < abs(change - expected)


def _lifted(high: I32, low: I32) -> bool:
    """Tell whether (C, N) pixels lie one offset above others, in all bands or on dark ground."""
    beyond = high - low + OFFSET_SINCE_BASELINE_4
    quarter, middle, most = np.percentile(beyond, (25, 50, 75), axis=1)
    if np.all(np.abs(middle) <= 300) and np.all(most - quarter <= 700):
        return True
    medians = []
    for of_band, dark in zip(beyond, low < 1500, strict=True):
        if np.count_nonzero(dark) < MIN_STABLE:
            continue
        on_dark = of_band[dark]
        median = np.median(on_dark)
        if abs(median) > 250 or np.mean(np.abs(on_dark) <= 400) < 0.7:
            return False
        medians.append(median)
    # Haze lifts blue more than red; an offset knows no color.
    return len(medians) >= 2 and max(medians) - min(medians) <= 150


def _crushed(now: I32, before: I32) -> bool:
    """Tell whether ground that was dark but not black has turned black in two bands or more."""
    dark = (before >= 200) & (before < -OFFSET_SINCE_BASELINE_4)
    black = dark & (now <= 50)
    counts = np.count_nonzero(dark, axis=1)
    bands = (counts >= MIN_STABLE) & (np.count_nonzero(black, axis=1) * 10 >= counts * 8)
    return int(np.count_nonzero(bands)) >= 2


def offset_is_gone(pixels: U16) -> bool:
    """Tell whether DN that should still hold the offset of a new baseline prove that they do not.

    Catalogs are known to deny an offset that they have removed. With it, DN below 1000 are
    reflectances below 0: noise over dark water, never a fifth of a scene.

    Parameters
    ----------
    pixels : ndarray, uint16
        One band; 0 = nodata.

    Returns
    -------
    bool
        True if at least a fifth of 64 or more imaged pixels lie below 800 DN.
    """
    imaged = pixels[pixels != NODATA]
    dark = int(np.count_nonzero(imaged < 800))
    return bool(imaged.size >= MIN_STABLE and dark * 5 >= imaged.size)
