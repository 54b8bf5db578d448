"""Correction of a prediction by what lies around it: generation 3 of the predictive coder.

The weights of `stvc.codec.predictive_learning` are learned along the whole front, in time only.
Here each pixel solves its own small regression of the blend's error on a few numbers that it knows
(how the predictions differ, signed errors next to it and in earlier bands, the reference), over
the pixels left of it and above, nearer ones counting more; a mean over the band stands in where
few have come. As in the learner, single element-wise float64 operations and sums of integers only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_layout import BANDS_BACK, MARGIN, Layout
from stvc.codec.predictive_tables import LARGEST_SCALE, OCTAVE, SIZES, falling_powers, log16
from stvc.native import kernels

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

FEATURES = 7
_LIMIT = 4095.0
_ALONG, _DOWN = 0.9, 0.75
"""What older pixels of a row, and the rows above, are multiplied by at each step."""
_PRIOR_PIXELS = 8.0
"""Pixels that the band's mean stands for."""
_PRIOR_SHARE = 0.01
_RIDGE = 1.05
_SMALLEST = 1e-9
_VANISHED = 1e-30
_WEIGHT_BITS = 12
_WEIGHT_LIMIT = float(1 << 18)
_FLOOR = 8
TRUST = falling_powers((2, OCTAVE), 1 << 20, 15 * OCTAVE)


@dataclass
class _Asked:
    """The step between its correction and its lesson."""

    rows: I64
    """(n,) row of the picture, counted over all bands."""
    features: F64
    above: F64


class LocalCorrection:
    """Corrects the predictions of a unit, step by step.

    Parameters
    ----------
    layout : Layout
    pitch : int
        DN per level; large errors are counted in coarser units.
    known : array, (C, FEATURES, FEATURES + 1), optional
        Mean products of the date before.
    """

    def __init__(self, layout: Layout, pitch: int, known: F64 | None) -> None:
        c, h, _ = layout.shape
        self._layout = layout
        self._unit = float(1 << (pitch.bit_length() - 1))
        shape = (FEATURES, FEATURES + 1, c * h + 1)
        self._row = np.zeros(shape)
        self._all = np.zeros(shape)
        # ^ of a row and those above; the last entry stays empty: what is above the first row
        self._mean = np.zeros((c, FEATURES, FEATURES + 1)) if known is None else known.copy()
        self._asked = _Asked(np.zeros(0, np.int64), np.zeros((FEATURES, 0)), np.zeros(0))

    def correct(self, features: F64, cells: I64) -> F64:
        """Foresee the errors of a step's predictions.

        Parameters
        ----------
        features : array, (FEATURES, n)
            Integers in 1/8 DN.
        cells : array, (n,)

        Returns
        -------
        array, (n,) float64
            Integers in 1/8 DN.
        """
        height = self._layout.shape[1]
        band, within = np.divmod(cells, self._layout.plane)
        band -= BANDS_BACK
        row = within // self._layout.row - MARGIN
        rows = band * height + row
        above = self._all.take(np.where(row > 0, rows - 1, -1), 2)
        above *= _DOWN
        features = np.clip(np.floor(features / self._unit), -_LIMIT, _LIMIT)
        system = self._row.take(rows, 2)
        system += above
        system += (self._mean * _PRIOR_PIXELS).transpose(1, 2, 0).take(band, 2)
        self._asked = _Asked(rows, features, above)
        weights = np.nan_to_num(_solve(system)) * float(1 << _WEIGHT_BITS)
        weights = np.clip(np.rint(weights), -_WEIGHT_LIMIT, _WEIGHT_LIMIT)
        total = (weights * features).sum(0)
        found: F64 = np.floor(total * 2.0**-_WEIGHT_BITS + 0.5) * self._unit
        return found

    def learn(self, errors: F64, scale: I64, shown: npt.NDArray[np.bool_], bounds: I64) -> None:
        """Take what the step's uncorrected predictions were wrong by.

        Parameters
        ----------
        errors : array, (n,)
            Integers in 1/8 DN.
        scale : array, (n,)
            Expected size, `stvc.codec.predictive_walk.Step`.
        shown : array, (n,) bool
            Whether a pixel was coded.
        bounds : array, (C + 1,)
            Where each band begins.
        """
        asked = self._asked
        wanted = np.clip(np.floor(errors / self._unit), -_LIMIT, _LIMIT)
        size = SIZES[np.clip(scale, 0, LARGEST_SCALE)] + np.abs(errors)
        rank = log16(np.floor(size / self._unit) + _FLOOR) - 3 * OCTAVE
        trust = TRUST[np.minimum(rank, len(TRUST) - 1)] * shown
        weighted = asked.features * trust
        both = np.concatenate([asked.features, wanted[None]])
        for b in range(len(self._mean)):
            part = slice(bounds[b], bounds[b + 1])
            count = int(np.count_nonzero(shown[part]))
            if count:
                fresh = weighted[:, part] @ both[:, part].T  # exact: integers below 2**53
                self._mean[b] += (fresh / count - self._mean[b]) * _PRIOR_SHARE
        grown = self._row.take(asked.rows, 2)
        grown *= _ALONG
        grown += weighted[:, None] * both[None]
        self._row[:, :, asked.rows] = grown
        grown += asked.above
        self._all[:, :, asked.rows] = grown

    def memory(self) -> F64:
        """What the next date may start from."""
        return without_vanished(self._mean)


def without_vanished(mean: F64) -> F64:
    """Numbers that fade away would end as denormal ones, which not all machines keep."""
    return np.where(np.abs(mean) < _VANISHED, 0.0, mean)


def _solve(system: F64) -> F64:
    """Solve (K, K + 1, n) regularized normal equations, right sides last; may overwrite them."""
    k = len(system)
    if kernels is not None:
        found: F64 = np.empty((k, system.shape[2]))
        kernels.solve_local(np.ascontiguousarray(system), found)
        return found
    for i in range(k):
        system[i, i] = np.maximum(system[i, i], _SMALLEST) * _RIDGE
    for i in range(k):
        scaled = system[i, i + 1 :] / np.maximum(system[i, i], _SMALLEST)
        system[i + 1 :, i + 1 :] -= system[i, i + 1 : k, None] * scaled
        system[i, i + 1 :] = scaled
    solution: F64 = system[:, k].copy()
    for i in range(k - 1, 0, -1):
        solution[:i] -= system[:i, i] * solution[i]
    return solution
