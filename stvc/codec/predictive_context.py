"""What the pixel network sees of a pixel that is to be coded: generation 5 of the predictive coder.

Differences to the prediction or to the middle of a neighborhood, in logarithmic units of the error
that is expected there: bright and dark, calm and rough places look alike to the network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_layout import BANDS_BACK, MARGIN, Layout
from stvc.codec.predictive_tables import EIGHTH, LARGEST_SCALE, SIZES, log16
from stvc.native import kernels

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
I8 = npt.NDArray[np.int8]
Bool = npt.NDArray[np.bool_]

SEEN_REFERENCES = 2

_OWN = tuple(
    (dy, dx) for dy in range(-3, 1) for dx in range(-3, 4) if (dy < 0 or dx < 0) and dx + 2 * dy < 0
)
_OWN_MISSED = tuple((dy, dx) for dy, dx in _OWN if dy >= -2 and abs(dx) <= 2)
_RING = tuple((dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if (dy, dx) != (0, 0))
_NEAR = tuple((dy, dx) for dy in range(-1, 2) for dx in range(-1, 2))
_BESIDE = tuple(o for o in _NEAR if o != (0, 0))
_BANDS_TOLD_APART = 6
_MIDDLE_SCALE = 90
_ONE = 32
"""What a flag is worth."""
_MOST = 127

_DIFFERENCES = (
    len(_OWN) + BANDS_BACK * len(_RING) + SEEN_REFERENCES * (len(_RING) + 1 + 2)
    + len(_OWN_MISSED) + BANDS_BACK * len(_NEAR) + 4 + 1 + 1 + len(_BESIDE)
)  # fmt: skip
FEATURES = _DIFFERENCES + _BANDS_TOLD_APART + 10
"""Inputs of the network: 216."""


class ContextGatherer:
    """Gathers the inputs of a unit's pixels.

    Parameters
    ----------
    layout : Layout
    references : int
        How many there are; more than two are not looked at.
    pitch : int
        DN per level.
    """

    def __init__(self, layout: Layout, references: int, pitch: int) -> None:
        self._layout = layout
        self._references = min(references, SEEN_REFERENCES)
        values = [layout.offset(*o) for o in _OWN]
        for back in range(1, BANDS_BACK + 1):
            values += [layout.offset(*o, back) for o in (*_RING, (0, 0))]
        for r in range(1, self._references + 1):
            start = r * layout.size
            values += [start + layout.offset(*o) for o in (*_RING, (0, 0))]
            values += [start + layout.offset(0, 0, back) for back in (1, 2)]
        changed = [layout.size + layout.offset(*o, 1) for o in _BESIDE if self._references]
        self._changed = np.array(changed, np.int64)[:, None]
        self._unchanged = np.array([layout.offset(*o, 1) for o in _BESIDE], np.int64)[:, None]
        missed = [layout.offset(*o) for o in _OWN_MISSED]
        for back in range(1, BANDS_BACK + 1):
            missed += [layout.offset(*o, back) for o in _NEAR]
        scales = [layout.offset(0, -1), layout.offset(-1, 0), layout.offset(0, 0, 1)]
        self._values, self._missed, self._scales = (
            np.array(offsets, np.int64)[:, None] for offsets in (values, missed, scales)
        )
        self._level = int(log16(np.array([float(EIGHTH * pitch)]))[0])

    def gather(
        self,
        values: F64,
        missed: F64,
        scales: F64,
        cells: I64,
        unclear: Bool,
        each: F64,
        correction: F64,
        prediction: I64,
        scale: I64,
    ) -> I8:
        """Inputs of the network, (n, FEATURES) int8.

        Parameters
        ----------
        values : array, (size of unit and references,)
            DN of all cells.
        missed : array, (size,)
            By how much pixels were above their predictions, 1/8 DN.
        scales : array, (size,)
            What was expected of it, see `stvc.codec.predictive_walk.Step`.
        cells : array, (n,)
            Pixels asked for.
        unclear : array, (n,) bool
        each : array, (4, n)
            Predictions before they are blended, 1/8 DN.
        correction : array, (n,)
            What the local correction added, 1/8 DN.
        prediction, scale : array, (n,)
            As in `stvc.codec.predictive_walk.Step`.
        """
        if kernels is not None:
            return self._gather_native(
                (values, missed, scales, cells, unclear, each, correction, prediction, scale)
            )
        n, ring = len(cells), len(_RING)
        found = values.take(self._values + cells)
        found *= EIGHTH
        rows = np.zeros((_DIFFERENCES, n))
        at, start = len(_OWN), len(_OWN)
        np.subtract(found[:at], prediction, out=rows[:at])
        centers = []
        for _ in range(BANDS_BACK):
            center = found[start + ring]
            centers.append(center)
            np.subtract(found[start : start + ring], center, out=rows[at : at + ring])
            at, start = at + ring, start + ring + 1
        middles = []
        for _ in range(self._references):
            center = found[start + ring]
            middles.append(center)
            np.subtract(found[start : start + ring], center, out=rows[at : at + ring])
            rows[at + ring] = center - prediction
            for k in (0, 1):
                rows[at + ring + 1 + k] = found[start + ring + 1 + k] - centers[k]
            at, start = at + ring + 3, start + ring + 3
        at += (SEEN_REFERENCES - self._references) * (ring + 3)
        rows[at : at + len(self._missed)] = missed.take(self._missed + cells)
        at += len(self._missed)
        np.subtract(each, prediction, out=rows[at : at + 4])
        rows[at + 4] = correction
        if len(middles) > 1:
            rows[at + 5] = middles[0] - middles[1]
        if middles:
            # how the scene has changed since the reference, as the band before shows it
            change = values.take(self._changed + cells) - values.take(self._unchanged + cells)
            np.multiply(change, EIGHTH, out=rows[at + 6 :])
        size = SIZES[np.clip(scale, 0, LARGEST_SCALE)]
        rank = log16(size)
        magnitude = np.abs(rows)
        magnitude += size
        inputs = np.empty((FEATURES, n), np.int8)
        companded = np.minimum(log16(magnitude) - rank, _MOST)
        inputs[:_DIFFERENCES] = np.where(rows < 0, -companded, companded)

        layout = self._layout
        band, within = np.divmod(cells, layout.plane)
        flags = inputs[_DIFFERENCES:]
        flags[:] = 0
        band = np.minimum(band - BANDS_BACK, _BANDS_TOLD_APART - 1)
        flags[band, np.arange(n)] = _ONE
        rest = flags[_BANDS_TOLD_APART:]
        rest[0] = _ONE * (self._references > 0)
        rest[1] = _ONE * (self._references > 1)
        rest[2] = _ONE * unclear
        rest[3] = np.clip(scale - _MIDDLE_SCALE, -_MOST, _MOST)
        rest[4] = np.clip(scale - self._level, -_MOST, _MOST)
        rest[5:8] = np.clip(scales.take(self._scales + cells) - scale, -_MOST, _MOST)
        row, column = np.divmod(within, layout.row)
        rest[8] = _ONE * (row == MARGIN)
        rest[9] = _ONE * (column == MARGIN)
        return np.ascontiguousarray(inputs.T)

    def _gather_native(self, arrays: tuple[npt.NDArray[Any], ...]) -> I8:
        """Do what `gather` does on a native kernel."""
        assert kernels is not None
        layout = self._layout
        values, missed, scales, cells, unclear, each, correction, prediction, scale = arrays
        inputs = np.empty((len(cells), FEATURES), np.int8)
        kernels.gather_context(
            (self._references, self._level, layout.row, layout.plane, MARGIN),
            np.ascontiguousarray(values, np.float64),
            np.ascontiguousarray(missed, np.float64),
            np.ascontiguousarray(scales, np.float64),
            np.ascontiguousarray(cells, np.int64),
            np.ascontiguousarray(unclear, np.bool_),
            np.ascontiguousarray(each, np.float64),
            np.ascontiguousarray(correction, np.float64),
            np.ascontiguousarray(prediction, np.int64),
            np.ascontiguousarray(scale, np.int64),
            *self._offsets(),
            SIZES,
            inputs,
        )
        return inputs

    def _offsets(self) -> tuple[I64, ...]:
        parts = (self._values, self._missed, self._scales, self._changed, self._unchanged)
        return tuple(np.ascontiguousarray(part) for part in parts)
