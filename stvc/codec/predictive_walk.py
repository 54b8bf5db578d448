"""The walk of the predictive coder over one unit, shared by encoder and decoder.

At each step of the slanted front (`stvc.codec.predictive_layout`), every pixel gets four linear
predictions from its earlier neighbors, earlier bands and references (weights learned slowly and
quickly, with and without the references), blended by how well each did on the neighbors; and a
scale, from a linear model of log |error| on the errors around. The coder then tells the pixels, and
the sums that the weights come from grow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_context import ContextGatherer
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

_CAUSAL = tuple(
    zip(
        (0, -1, -1, -1, 0, -2, -1, -2, -2, 0, -2, -3, -2, -1, -3, -3),
        (-1, 0, -1, 1, -2, 0, -2, -1, 1, -3, -2, 0, 2, -3, -1, 1),
        strict=True,
    )
)
"""(rows, columns) to earlier pixels, the nearest first."""
_CROSS = ((0, 0), (0, -1), (-1, 0), (0, 1), (1, 0))
_SQUARE = (*_CROSS, (-1, -1), (-1, 1), (1, -1), (1, 1))
_RIM = tuple((dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if 2 in (abs(dy), abs(dx)))
_AROUND = _CAUSAL[:10]
"""Own errors that tell the scale; the first six also blend the predictions."""
_BLEND_SHARES = (2.0, 2.0, 1.0, 1.0, 1.0, 1.0)
_ERROR_LIMIT = float(1 << 14)
_START_ERROR = 160.0
_START_SCALE = 7 * OCTAVE
_TRAIN_POWERS = falling_powers((11, 128), 4095, 256)
_ROBUST_POWERS = falling_powers((10, 128), 4095, 256)
_BLEND_POWERS = falling_powers((3, OCTAVE), 1 << 24, 129)


@dataclass(frozen=True)
class Step:
    """Pixels that the coder is asked for."""

    cells: I64
    """(n,) cells of visible pixels."""
    band: I64
    """(n,) position of their band in the coding order."""
    prediction: I64
    """(n,) in 1/8 DN, within 0 to 65535 DN."""
    scale: I64
    """(n,) 16 log2 of the expected (half a level + |error|) in 1/8 DN."""
    seen: npt.NDArray[np.int8] | None = None
    """(n, FEATURES) what the pixel network sees, where it is asked."""
    copies: I64 | None = None
    """(3, n) DN of the pixels left and above and in the first reference, likewise."""
    told: F64 | None = None
    """(size,) DN of all cells of the unit, of which those of earlier steps are known."""

    @property
    def whole(self) -> I64:
        """(n,) predictions rounded to whole DN: what level 0 stands for."""
        return (self.prediction + EIGHTH // 2) // EIGHTH

    def of(self, chosen: Bool) -> Step:
        """Some of the pixels."""
        if chosen.all():
            return self
        return Step(
            self.cells[chosen],
            self.band[chosen],
            self.prediction[chosen],
            self.scale[chosen],
            None if self.seen is None else self.seen[chosen],
            None if self.copies is None else self.copies[:, chosen],
            self.told,
        )


Code = Callable[[Step], I64]
"""Gives the (n,) values of a step's pixels, DN."""


class _Features:
    """Gathers what pixels are predicted from.

    Rows of the result: own neighbors against their mean; per earlier band its neighborhood against
    its left pixel, and that pixel against the mean; then the same per reference, and there the
    earlier bands' centers.
    """

    def __init__(self, layout: Layout, references: int, generation: int) -> None:
        near = (*_SQUARE, *_RIM) if generation > 4 else _SQUARE
        offsets = [layout.offset(*o) for o in _CAUSAL]
        self.groups: list[tuple[int, int]] = []
        self.levels: list[int] = []
        for back in range(1, BANDS_BACK + 1):
            around = near if back < BANDS_BACK else _CROSS
            self.groups.append((len(offsets), len(around)))
            offsets += [layout.offset(*o, back) for o in around]
        self.sizes = (len(_CAUSAL) + len(near), len(offsets))
        for r in range(1, references + 1):
            around = _SQUARE if r < 3 else _CROSS
            self.groups.append((len(offsets), len(around)))
            offsets += [r * layout.size + layout.offset(*o) for o in around]
        self.pairs = len(offsets)
        centers = [
            r * layout.size + layout.offset(0, 0, back)
            for r in range(1, min(references, 2) + 1)
            for back in range(1, BANDS_BACK + 1)
        ]
        self.count = self.pairs + len(centers)
        self.offsets = np.array([*offsets, *centers, *(k - 1 for k in centers)], np.int64)[:, None]

    def gather(self, values: F64, cells: I64, band_starts: I64) -> tuple[F64, F64, F64]:
        """Return ((K, n) features, (n,) own mean, (G, n) local slopes of self and references)."""
        around = values.take(self.offsets + cells)
        mean = np.floor((around[0] + around[1]) * 0.5)
        features = around[: self.count]
        west, north, corner, east = around[:4]
        slopes = [np.abs(north - corner) + np.abs(west - corner) + np.abs(north - east)]
        for k, (start, length) in enumerate(self.groups):
            group = features[start : start + length]
            left = group[1].copy()
            if k >= BANDS_BACK:
                slopes.append(np.abs(2 * group[0] - group[1] - group[2]))
            group -= left
            group[1] = left - mean
            if k < BANDS_BACK:
                group[1, : band_starts[min(k + 1, len(band_starts) - 1)]] = 0
        features[: len(_CAUSAL)] -= mean
        features[self.pairs :] -= around[self.count :]
        return features, mean, np.stack(slopes)


def walk(
    layout: Layout,
    references: list[F64],
    hidden: Bool | None,
    unclear: Bool,
    first: F64,
    max_error: int,
    memory: Memory | None,
    code: Code,
    generation: int = 2,
    *,
    networked: bool = False,
) -> tuple[F64, Memory]:
    """Visit all pixels of a unit.

    Parameters
    ----------
    layout : Layout
    references : list of array, each (size,) float64
        `Layout.planes` of earlier frames.
    hidden : array, (C H W,) bool, optional
        Pixels in coding order that are filled in, not coded.
    unclear : array, (C H W,) bool
        Pixels in coding order that a mask flags; they may be noisier.
    first : array, (C,) float64
        DN to assume above the first row of each band.
    max_error : int
    memory : Memory, optional
        What the date before taught.
    code : callable
        Codes the pixels of one step.
    generation : int
        Of the codec: from 3 on, predictions are corrected locally, and pixels that were far off
        teach less.
    networked : bool
        Gather what the pixel network sees.

    Returns
    -------
    array, (size,) float64
        Values of all cells.
    Memory
        For the next date.
    """
    c = layout.shape[0]
    values = np.concatenate([np.zeros(layout.size), *references])
    own = values[: layout.size]
    own[BANDS_BACK * layout.plane :] = first.repeat(layout.plane)
    errors = np.zeros(layout.size)
    errors[BANDS_BACK * layout.plane :] = _START_ERROR
    squares = np.full((PREDICTORS, layout.size), _START_ERROR * _START_ERROR)
    features = _Features(layout, len(references), generation)
    around = np.array([layout.offset(*o) for o in _AROUND], np.int64)[:, None]
    across = np.array(
        [layout.offset(*o, back) for back in (1, 2) for o in _CROSS]
        + [layout.offset(0, 0, BANDS_BACK)],
        np.int64,
    )[:, None]
    beside_signed = np.array(
        [layout.offset(0, -1), layout.offset(-1, 0), layout.offset(0, 0, 1)], np.int64
    )[:, None]
    shares = np.array(_BLEND_SHARES)[None, :, None]
    blur = float(EIGHTH * (2 * max_error + 1))
    # ^ width of a level in 1/8 DN: what errors are told apart by
    doubt = blur * blur * 4
    contexts = BASE_CONTEXTS + len(references)
    sizes = (features.count, *features.sizes)
    learner = Learner(c, sizes, contexts, layout.shape[1] * layout.shape[2], memory)
    local = None
    if generation > 2:
        known = None if memory is None else memory.local
        local = LocalCorrection(layout, 2 * max_error + 1, known)
    signed = np.zeros(layout.size)
    gatherer = None
    if networked:
        gatherer = ContextGatherer(layout, len(references), 2 * max_error + 1)
    missed, scales = np.zeros(layout.size), np.full(layout.size, float(_START_SCALE))
    copied = np.array([layout.offset(0, -1), layout.offset(-1, 0), layout.size], np.int64)[:, None]
    if not references:
        copied[2] = copied[1]
    relief = features.groups[BANDS_BACK][0] if references else -1
    for step in range(len(layout.starts) - 1):
        span = slice(layout.starts[step], layout.starts[step + 1])
        cells, bounds = layout.cells[span], layout.band_starts[step]
        if not len(cells):
            continue
        rows, mean, slopes = features.gather(values, cells, bounds)
        each = np.empty((PREDICTORS, len(cells)))
        for b in range(c):
            part = slice(bounds[b], bounds[b + 1])
            if part.start < part.stop:
                np.matmul(learner.weights[b], rows[:, part], out=each[:, part])
        each = np.floor(each * 2.0 ** (3 - WEIGHT_BITS)) + mean * EIGHTH
        each = np.clip(each, 0, PEAK * EIGHTH)
        near = cells + around
        doubtful = (squares[:, near[: len(_BLEND_SHARES)]] * shares).sum(1) + doubt
        ranks = log16(doubtful)
        shares_of = _BLEND_POWERS[np.minimum(ranks - ranks.min(0), len(_BLEND_POWERS) - 1)]
        total = (shares_of * each).sum(0).astype(np.int64)
        prediction = blend = total // shares_of.sum(0).astype(np.int64)
        if local is not None:
            told_apart = np.empty((FEATURES, len(cells)))
            np.subtract(each[1:], each[0], out=told_apart[: PREDICTORS - 1])
            told_apart[PREDICTORS - 1 : -1] = signed.take(cells + beside_signed)
            told_apart[-1] = rows[relief] * EIGHTH if references else 0
            found = blend + local.correct(told_apart, cells)
            prediction = np.clip(found, 0, PEAK * EIGHTH).astype(np.int64)

        close, beside = errors.take(near), errors.take(cells + across)
        context = np.empty((contexts, len(cells)))
        context[:3] = log16(blur + close[[0, 1, 3]])
        context[3] = log16(4 * blur + close[:4].sum(0))
        context[4] = log16(6 * blur + close[4:].sum(0))
        context[5] = log16(blur + each.max(0) - each.min(0))
        context[6:8] = log16(blur + beside[[0, 5]])
        context[8] = log16(4 * blur + beside[1:5].sum(0))
        context[9] = log16(4 * blur + beside[6:10].sum(0))
        context[10] = log16(blur + beside[10])
        flagged = unclear[span]
        context[11] = flagged * float(OCTAVE)
        context[12] = OCTAVE
        context[13:] = log16(1 + slopes)
        expected = np.empty(len(cells))
        for b in range(c):
            part = slice(bounds[b], bounds[b + 1])
            if part.start < part.stop:
                np.matmul(learner.scale_weights[b], context[:, part], out=expected[part])
        scale = np.floor(expected * 2.0**-SCALE_BITS).astype(np.int64)

        band = cells // layout.plane - BANDS_BACK
        shown = np.ones(len(cells), bool) if hidden is None else ~hidden[span]
        asked = Step(cells, band, prediction, scale, told=own)
        if gatherer is not None:
            seen = gatherer.gather(
                values, missed, scales, cells, flagged, each, prediction - blend, prediction, scale
            )
            asked = replace(asked, seen=seen, copies=values.take(copied + cells).astype(np.int64))
        told = np.empty(len(cells))
        if shown.all():
            told[:] = code(asked)
        else:
            told[:] = _fill(features, rows, mean, len(references))
            if shown.any():
                told[shown] = code(asked.of(shown))
        own[cells] = told
        miss = np.minimum(np.abs(told * EIGHTH - prediction), _ERROR_LIMIT)
        square = np.minimum(np.abs(told * EIGHTH - each), _ERROR_LIMIT)
        square *= square
        if not shown.all():
            # an invented pixel teaches nothing: it passes on what its neighbors did
            miss = np.where(shown, miss, np.floor((close[0] + close[1]) * 0.5))
            kept = squares[:, near[:2]]
            square = np.where(shown, square, np.floor((kept[:, 0] + kept[:, 1]) * 0.5))
        errors[cells] = miss
        squares[:, cells] = square
        if local is not None:
            missed_by = told * EIGHTH - blend
            local.learn(missed_by, scale, shown, bounds)
            signed[cells] = np.clip(missed_by, -_ERROR_LIMIT, _ERROR_LIMIT) * shown
        if gatherer is not None:
            too_low = told * EIGHTH - prediction
            missed[cells] = np.clip(too_low, -_ERROR_LIMIT, _ERROR_LIMIT) * shown
            scales[cells] = scale
        edge = slice(layout.margin_starts[step], layout.margin_starts[step + 1])
        if edge.start < edge.stop:
            to, source = layout.margin_to[edge], layout.margin_from[edge]
            own[to], errors[to] = own[source], errors[source]
            squares[:, to] = squares[:, source]
            signed[to] = signed[source]
            if gatherer is not None:
                missed[to], scales[to] = missed[source], scales[source]
        rough = np.floor(slopes[0] * 5.625) + beside[0] + (4 * EIGHTH + 4 * max_error)
        powers = _TRAIN_POWERS
        if local is not None:
            rough += np.floor(miss * 0.5)
            powers = _ROBUST_POWERS
        trust = powers[np.minimum(log16(rough) - 5 * OCTAVE, len(powers) - 1)]
        logs = log16(blur * 0.5 + miss).astype(np.float64)
        learner.add(
            (rows, told - mean, trust * shown, context, logs, shown.astype(np.float64)), bounds
        )
    taught = learner.memory()
    if local is not None:
        taught = replace(taught, local=local.memory())
    return np.asarray(own, np.float64), taught


def _fill(features: _Features, rows: F64, mean: F64, references: int) -> F64:
    """Values of don't-care pixels: the first reference's relief on the neighbors' level."""
    if not references:
        return mean
    start, _ = features.groups[BANDS_BACK]
    relief = rows[start] - np.floor(rows[start + 2] * 0.5)
    # ^ center and north against west: the center against the mean of north and west
    filled: F64 = np.clip(mean + relief, 0, PEAK)
    return filled
