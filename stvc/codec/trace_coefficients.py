"""Coefficients of JPEG 2000 that a pixel completes, and what was lost from them.

Where a scene is rich, the finest coefficients of its reversible 5/3 wavelet transform
(ISO/IEC 15444-1, Annex F) lost their lowest bits and came back in the middle of what was left, so
that each is 0 or, say, odd. The last pixel that went into one tells it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

SUBBANDS, CLASSES = 3, 4
"""HH, LH, HL; coefficients that are odd, 2 modulo 4, 4 modulo 8, other multiples of 8."""
SUPPORT = 5
"""Rows and columns that end at the pixel."""
CONSTANTS = 8
PRIOR = (8, 4, 2, 2)
"""Of the classes, in 16ths, where nothing was lost."""

_CLASS_OF = np.array([3, 0, 1, 0, 2, 0, 1, 0], np.int64)
"""By the three lowest bits."""


def completed(shown: Bool) -> npt.NDArray[np.bool_]:
    """(3, H, W): whether the coefficients of each subband that end at a pixel are all coded."""
    h, w = shown.shape
    found = np.zeros((SUBBANDS, h, w), bool)
    for k, (rows, columns) in enumerate(((3, 3), (3, 5), (5, 3))):
        if h < rows or w < columns:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(shown, (rows, columns))
        found[k, rows - 1 :, columns - 1 :] = windows.all((2, 3))
    return found


def constants_of(a: I64) -> I64:
    """(8, m) what the coefficients of the last of (5, 5, m) pixels need of the others."""
    high = a[3, :4] - ((a[2, :4] + a[4, :4]) >> 1)
    before = a[1, 2:] - ((a[0, 2:] + a[2, 2:]) >> 1)
    low = a[2, 2:4] + ((before[:2] + high[2:] + 2) >> 2)
    corner = high[1] - ((high[0] + high[2]) >> 1)
    return np.stack([a[3, 4], a[2, 4], high[3], high[2], corner, low[1], low[0], before[2]])


def coefficients(constants: I64, value: I64) -> I64:
    """(3, ...) HH, LH and HL that (...) values of the last pixel make."""
    above, further, beside, left, corner, low, low_left, before = constants
    high = above - ((further + value) >> 1)
    hh = beside - ((left + high) >> 1)
    lh = left + ((corner + hh + 2) >> 2)
    hl = low - ((low_left + further + ((before + high + 2) >> 2)) >> 1)
    return np.stack([hh, lh, hl])


def class_of(coefficient: I64) -> I64:
    """Of coefficients other than 0."""
    return np.asarray(_CLASS_OF[coefficient & 7])
