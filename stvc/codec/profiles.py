"""Prediction profiles: how strongly each frequency follows each of the references.

Each unit names one row per spectral component. Rows are frozen: they are part of the bit stream.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from stvc.codec.transform import COEFFICIENTS, RADIUS

WEIGHT_BITS = 6
"""Weights are integers in 1/64."""

I64 = npt.NDArray[np.int64]

_SOFT = (
    ("4000", 0),
    ("2110", 0),
    ("1120", 6.0),
    ("1300", 3.0),
    ("2020", 0),
    ("0400", 1.5),
    ("0040", 6.0),
    ("3100", 0),
    ("1012", 0),
    ("3010", 0),
    ("0103", 6.0),
    ("0040", 1.5),
    ("3010", 6.0),
    ("0400", 6.0),
    ("1201", 0),
    ("0013", 3.0),
    ("2002", 0),
    ("0211", 6.0),
    ("2200", 3.0),
    ("3100", 6.0),
    ("0220", 1.5),
    ("0400", 3.0),
    ("4000", 1.5),
    ("2011", 6.0),
    ("4000", 6.0),
    ("2101", 6.0),
    ("0040", 3.0),
)
"""Weights of recent, background, second and running mean in quarters; cut-off radius of a
low-pass, 0 for none."""

_SPLIT = (
    ("4000", "3001", 4, 4),
    ("2200", "3100", 1, 3),
    ("0220", "0301", 2, 4),
    ("4000", "4000", 1, 1),
    ("0040", "0031", 1, 4),
    ("0121", "3001", 1, 2),
    ("0310", "0022", 1, 0),
    ("0400", "1300", 1, 4),
    ("1120", "2020", 4, 3),
    ("0112", "0112", 4, 3),
    ("1102", "0022", 1, 0),
    ("2110", "2011", 1, 3),
    ("0031", "0130", 2, 4),
    ("1030", "2020", 4, 4),
    ("2200", "3100", 1, 2),
    ("1120", "3001", 1, 3),
    ("0220", "0301", 4, 4),
    ("1003", "0004", 1, 4),
    ("3010", "0400", 1, 4),
    ("0310", "0202", 1, 1),
    ("1111", "0301", 4, 4),
    ("1300", "0220", 1, 3),
    ("3100", "1300", 2, 4),
    ("0310", "1102", 2, 4),
    ("1021", "0022", 4, 3),
    ("0400", "1201", 1, 1),
    ("0022", "2200", 1, 0),
    ("2200", "2101", 1, 4),
    ("1021", "3001", 2, 0),
    ("2011", "3010", 1, 4),
    ("0013", "1120", 1, 4),
    ("1003", "3010", 4, 3),
    ("1102", "0022", 4, 3),
    ("0400", "1300", 4, 4),
    ("0130", "2020", 1, 4),
    ("3100", "3001", 2, 4),
)
"""Weights below and from a radius on; gain of the latter in quarters."""
# ^ both chosen greedily out of 1641 shapes: the 63 that leave the fewest proxy bits on 700 units
#   of training places, half of them between two dates (see the training notes)


@lru_cache(maxsize=2)
def profiles_of(generation: int) -> I64:
    """Rows that a generation of the codec knows.

    Parameters
    ----------
    generation : int
        1 or 2.

    Returns
    -------
    array, (rows, 4, 64) int64
        Weights of (recent, background, second, running mean) per zigzag frequency, in 1/64. Row 0
        is intra, row 1 the recent state as it is.
    """
    rows = _first_rows() if generation == 1 else _second_rows()
    table = np.asarray(np.rint(rows * (1 << WEIGHT_BITS)), np.int64)
    table.setflags(write=False)
    return table


def _first_rows() -> npt.NDArray[np.float64]:
    """Low-pass shapes of four mixtures, then 'levels from recent, detail from background'."""
    zero, one = np.zeros(COEFFICIENTS), np.ones(COEFFICIENTS)
    rows = [(zero, zero)]
    for cut in (np.inf, 6.0, 3.0, 1.5, 0.75):
        shape = one if np.isinf(cut) else 1 / (1 + (RADIUS / cut) ** 2)
        for mix in (1.0, 0.75, 0.5, 0.0):
            rows.append((shape * mix, shape * (1 - mix)))
    for split in (1.0, 2.0, 4.0):
        for detail in (1.0, 0.5):
            low = split > RADIUS
            rows.append((np.where(low, 1.0, 0.0), np.where(low, 0.0, detail)))
    dc = np.where(RADIUS == 0, 1.0, 0.0)
    rows += [
        (dc, zero),
        (dc / 2, dc / 2),
        (one * 0.875, zero),
        (one * 0.75, zero),
        (one * 0.5, zero),
    ]
    return np.array([(*row, zero, zero) for row in rows])


def _quarters(digits: str) -> npt.NDArray[np.float64]:
    return np.array([int(d) / 4 for d in digits])[:, None]


def _second_rows() -> npt.NDArray[np.float64]:
    squared = np.rint(RADIUS**2)
    # ^ exact, so that no libm decides about a weight
    rows = [np.zeros((4, COEFFICIENTS))]
    for mix, cut in _SOFT:
        rows.append(_quarters(mix) / (1 + squared / cut**2 if cut else np.ones(COEFFICIENTS)))
    for low, high, split, gain in _SPLIT:
        rows.append(np.where(squared < split**2, _quarters(low), _quarters(high) * gain / 4))
    return np.array(rows)
