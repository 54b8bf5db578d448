"""What is known along the slanted front of a unit, and what follows for the pixels of a step.

`Front` runs on numpy; `stvc.codec.predictive_front_native` does the same in C.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_features import CAUSAL, CROSS, Features
from stvc.codec.predictive_layout import BANDS_BACK, Layout
from stvc.codec.predictive_learning import (
    BASE_CONTEXTS,
    PREDICTORS,
    SCALE_BITS,
    WEIGHT_BITS,
    Learner,
    Memory,
)
from stvc.codec.predictive_local import FEATURES, LocalCorrection
from stvc.codec.predictive_tables import EIGHTH, OCTAVE, falling_powers, log16

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

PEAK = 65535
ERROR_LIMIT = float(1 << 14)
START_ERROR = 160.0
TRAIN_POWERS = falling_powers((11, 128), 4095, 256)
ROBUST_POWERS = falling_powers((10, 128), 4095, 256)
BLEND_POWERS = falling_powers((3, OCTAVE), 1 << 24, 129)

_START_SCALE = 7 * OCTAVE
_AROUND = CAUSAL[:10]
"""Own errors that tell the scale; the first six also blend the predictions."""
_BLEND_SHARES = (2.0, 2.0, 1.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Foreseen:
    """What a front expects of the n pixels of a step."""

    prediction: I64
    """(n,) in 1/8 DN, within 0 to 65535 DN."""
    scale: I64
    """(n,) 16 log2 of the expected (half a level + |error|) in 1/8 DN."""
    each: F64
    """(PREDICTORS, n) predictions before they are blended, 1/8 DN."""
    correction: F64
    """(n,) what the local correction added, 1/8 DN."""


@dataclass(frozen=True)
class _Asked:
    """A step between its prediction and its lesson."""

    step: int
    cells: I64
    rows: F64
    mean: F64
    slopes: F64
    blend: I64
    close: F64
    context: F64
    foreseen: Foreseen


class Cells:
    """Numbers that every cell of a unit has.

    Parameters
    ----------
    layout : Layout
    references : list of array, each (size,) float64
        `Layout.planes` of earlier frames.
    first : array, (C,) float64
        DN to assume above the first row of each band.
    """

    def __init__(self, layout: Layout, references: list[F64], first: F64) -> None:
        self.layout = layout
        self.values = np.concatenate([np.zeros(layout.size), *references])
        """DN of the unit's cells, then of the references'."""
        self.own = self.values[: layout.size]
        self.own[BANDS_BACK * layout.plane :] = first.repeat(layout.plane)
        self.errors = np.zeros(layout.size)
        """Absolute ones, 1/8 DN, at most `ERROR_LIMIT`."""
        self.errors[BANDS_BACK * layout.plane :] = START_ERROR
        self.signed = np.zeros(layout.size)
        """Errors of the predictions before their correction."""
        self.missed = np.zeros(layout.size)
        """Errors of the predictions, where the pixel network asks for them."""
        self.scales = np.full(layout.size, float(_START_SCALE))
        """`Foreseen.scale`, likewise."""


class Front:
    """Predicts the pixels of a unit step by step, and learns from what they are.

    Parameters
    ----------
    cells : Cells
    references : int
        How many there are.
    max_error : int
    memory : Memory, optional
        What the date before taught.
    generation : int
        Of the codec: from 3 on, predictions are corrected locally, and pixels that were far off
        teach less.
    networked : bool
        Keep what the pixel network asks for.
    """

    def __init__(
        self,
        cells: Cells,
        references: int,
        max_error: int,
        memory: Memory | None,
        generation: int,
        *,
        networked: bool,
    ) -> None:
        layout = cells.layout
        c, h, w = layout.shape
        self._cells, self._layout, self._networked = cells, layout, networked
        self._references, self._max_error = references, max_error
        self._squares = np.full((PREDICTORS, layout.size), START_ERROR * START_ERROR)
        self._features = Features(layout, references, generation)
        self._around = np.array([layout.offset(*o) for o in _AROUND], np.int64)[:, None]
        self._across = np.array(
            [layout.offset(*o, back) for back in (1, 2) for o in CROSS]
            + [layout.offset(0, 0, BANDS_BACK)],
            np.int64,
        )[:, None]
        self._beside = np.array(
            [layout.offset(0, -1), layout.offset(-1, 0), layout.offset(0, 0, 1)], np.int64
        )[:, None]
        self._blur = float(EIGHTH * (2 * max_error + 1))
        # ^ width of a level in 1/8 DN: what errors are told apart by
        self._contexts = BASE_CONTEXTS + references
        sizes = (self._features.count, *self._features.sizes)
        self._learner = Learner(c, sizes, self._contexts, h * w, memory)
        self._local = None
        if generation > 2:
            known = None if memory is None else memory.local
            self._local = LocalCorrection(layout, 2 * max_error + 1, known)
        self._asked: _Asked | None = None

    def foresee(self, step: int, flagged: Bool) -> Foreseen:
        """Predict the pixels of a step, of which a mask flags some (n,)."""
        layout, blur = self._layout, self._blur
        cells = layout.cells[layout.starts[step] : layout.starts[step + 1]]
        bounds = layout.band_starts[step]
        rows, mean, slopes = self._features.gather(self._cells.values, cells, bounds)
        each = np.empty((PREDICTORS, len(cells)))
        for b in range(layout.shape[0]):
            part = slice(bounds[b], bounds[b + 1])
            if part.start < part.stop:
                np.matmul(self._learner.weights[b], rows[:, part], out=each[:, part])
        each = np.floor(each * 2.0 ** (3 - WEIGHT_BITS)) + mean * EIGHTH
        each = np.clip(each, 0, PEAK * EIGHTH)
        prediction = blend = self._blended(each, cells)
        if self._local is not None:
            told_apart = np.empty((FEATURES, len(cells)))
            np.subtract(each[1:], each[0], out=told_apart[: PREDICTORS - 1])
            told_apart[PREDICTORS - 1 : -1] = self._cells.signed.take(cells + self._beside)
            relief = self._features.groups[BANDS_BACK][0] if self._references else 0
            told_apart[-1] = rows[relief] * EIGHTH if self._references else 0
            found = blend + self._local.correct(told_apart, cells)
            prediction = np.clip(found, 0, PEAK * EIGHTH).astype(np.int64)

        errors = self._cells.errors
        close, beside = errors.take(cells + self._around), errors.take(cells + self._across)
        context = np.empty((self._contexts, len(cells)))
        context[:3] = log16(blur + close[[0, 1, 3]])
        context[3] = log16(4 * blur + close[:4].sum(0))
        context[4] = log16(6 * blur + close[4:].sum(0))
        context[5] = log16(blur + each.max(0) - each.min(0))
        context[6:8] = log16(blur + beside[[0, 5]])
        context[8] = log16(4 * blur + beside[1:5].sum(0))
        context[9] = log16(4 * blur + beside[6:10].sum(0))
        context[10] = log16(blur + beside[10])
        context[11] = flagged * float(OCTAVE)
        context[12] = OCTAVE
        context[13:] = log16(1 + slopes)
        expected = np.empty(len(cells))
        for b in range(layout.shape[0]):
            part = slice(bounds[b], bounds[b + 1])
            if part.start < part.stop:
                np.matmul(self._learner.scale_weights[b], context[:, part], out=expected[part])
        scale = np.floor(expected * 2.0**-SCALE_BITS).astype(np.int64)
        foreseen = Foreseen(prediction, scale, each, np.asarray(prediction - blend, np.float64))
        self._asked = _Asked(step, cells, rows, mean, slopes, blend, close, context, foreseen)
        return foreseen

    def _blended(self, each: F64, cells: I64) -> I64:
        """(n,) mean of the predictions; those that did well on the neighbors count more."""
        near = cells + self._around[: len(_BLEND_SHARES)]
        shares = np.array(_BLEND_SHARES)[None, :, None]
        doubtful = (self._squares[:, near] * shares).sum(1) + self._blur * self._blur * 4
        ranks = log16(doubtful)
        shares_of = BLEND_POWERS[np.minimum(ranks - ranks.min(0), len(BLEND_POWERS) - 1)]
        total = (shares_of * each).sum(0).astype(np.int64)
        return np.asarray(total // shares_of.sum(0).astype(np.int64), np.int64)

    def fill(self) -> F64:
        """(n,) values of don't-care pixels: the first reference's relief on the local level."""
        assert self._asked is not None
        rows, mean = self._asked.rows, self._asked.mean
        if not self._references:
            return mean.copy()
        start, _ = self._features.groups[BANDS_BACK]
        relief = rows[start] - np.floor(rows[start + 2] * 0.5)
        # ^ center and north against west: the center against the mean of north and west
        filled: F64 = np.clip(mean + relief, 0, PEAK)
        return filled

    def learn(self, told: F64, shown: Bool) -> None:
        """Take the (n,) values of the step's pixels, DN, and which of them were coded."""
        asked, known, layout = self._asked, self._cells, self._layout
        assert asked is not None
        cells, foreseen, close = asked.cells, asked.foreseen, asked.close
        bounds = layout.band_starts[asked.step]
        near = cells + self._around[:2]
        known.own[cells] = told
        miss = np.minimum(np.abs(told * EIGHTH - foreseen.prediction), ERROR_LIMIT)
        square = np.minimum(np.abs(told * EIGHTH - foreseen.each), ERROR_LIMIT)
        square *= square
        if not shown.all():
            # an invented pixel teaches nothing: it passes on what its neighbors did
            miss = np.where(shown, miss, np.floor((close[0] + close[1]) * 0.5))
            kept = self._squares[:, near]
            square = np.where(shown, square, np.floor((kept[:, 0] + kept[:, 1]) * 0.5))
        known.errors[cells] = miss
        self._squares[:, cells] = square
        if self._local is not None:
            missed_by = told * EIGHTH - asked.blend
            self._local.learn(missed_by, foreseen.scale, shown, bounds)
            known.signed[cells] = np.clip(missed_by, -ERROR_LIMIT, ERROR_LIMIT) * shown
        if self._networked:
            too_low = told * EIGHTH - foreseen.prediction
            known.missed[cells] = np.clip(too_low, -ERROR_LIMIT, ERROR_LIMIT) * shown
            known.scales[cells] = foreseen.scale
        self._repeat_edges(asked.step)
        beside = known.errors.take(cells + self._across[0])
        rough = np.floor(asked.slopes[0] * 5.625) + beside + (4 * EIGHTH + 4 * self._max_error)
        powers = TRAIN_POWERS
        if self._local is not None:
            rough += np.floor(miss * 0.5)
            powers = ROBUST_POWERS
        trust = powers[np.minimum(log16(rough) - 5 * OCTAVE, len(powers) - 1)]
        logs = log16(self._blur * 0.5 + miss).astype(np.float64)
        weights = trust * shown, shown.astype(np.float64)
        self._learner.add(
            (asked.rows, told - asked.mean, weights[0], asked.context, logs, weights[1]), bounds
        )

    def _repeat_edges(self, step: int) -> None:
        """Copy what margins repeat of a step's pixels."""
        layout, known = self._layout, self._cells
        edge = slice(layout.margin_starts[step], layout.margin_starts[step + 1])
        if edge.start == edge.stop:
            return
        to, source = layout.margin_to[edge], layout.margin_from[edge]
        known.own[to], known.errors[to] = known.own[source], known.errors[source]
        self._squares[:, to] = self._squares[:, source]
        known.signed[to] = known.signed[source]
        if self._networked:
            known.missed[to], known.scales[to] = known.missed[source], known.scales[source]

    def memory(self) -> Memory:
        """For the next date."""
        taught = self._learner.memory()
        return taught if self._local is None else replace(taught, local=self._local.memory())
