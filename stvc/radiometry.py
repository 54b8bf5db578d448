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

Bool = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]


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
        True = the ground is seen.

    Returns
    -------
    int
        -1000 or 1000 if the median shift of clear pixels lies within 200 DN of it in every band,
        which no season does; else 0. Also 0 with fewer than 64 clear pixels.
    """
    seen = clear & (frame != NODATA).all(axis=0) & (background != NODATA).all(axis=0)
    if np.count_nonzero(seen) < 64:
        return 0
    change = frame[:, seen].astype(np.int32) - background[:, seen].astype(np.int32)
    shift = np.median(change, axis=1)
    for offset in (OFFSET_SINCE_BASELINE_4, -OFFSET_SINCE_BASELINE_4):
        if np.all(np.abs(shift - offset) <= 200):
            return offset
    return 0
