"""What processing left in the values of Sentinel-2 products: lossless units from generation 6 on.

Two traces are known. Level-2A values of 10 m bands are even from 1024 DN on and multiples of 4 from
4096 on. And products come as JPEG 2000 at a limited rate: where a scene is rich, the finest
coefficients of its reversible 5/3 wavelet transform (ISO/IEC 15444-1, Annex F) lost their lowest
bits and came back in the middle of what was left, so that each is 0 or, say, odd.

A third way leans on both: where an encoder finds the values in steps that a band was cut from, it
tells those and what to cut (`stvc.codec.truncation`).

The first is learned by counting the two lowest bits of values. For the second, the pixel that
completes a coefficient is coded under its mixture times how likely the coefficients are that its
values would make, learned by counting, too. Neither is taken for granted: where values show no
trace, the counts say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_layout import MARGIN, Layout
from stvc.codec.predictive_walk import Step
from stvc.codec.rangecoder import Reader, Writer
from stvc.codec.truncation import LEAST_SIDE, Truncation, read_truncation, write_truncation
from stvc.native import kernels

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

KNEES = (1024, 4096, 16384)
"""DN from which on values are multiples of 2, 4, 8."""
SHIFTS = (0, 1000)
"""DN that were subtracted since: of products from processing baseline 04.00 on, the offset."""
TRUNCATED = 7
"""The first generation that tells what was cut from bands."""
NODES = 3
"""Decisions about the two lowest bits: the upper one, the lower one after 0 and after 1."""
SUBBANDS, CLASSES = 3, 4
"""HH, LH, HL; coefficients that are odd, 2 modulo 4, 4 modulo 8, other multiples of 8."""
COLUMNS = 32
"""Pixels that share counts of coefficients: parts of a code block of JPEG 2000."""
TABLE = 64
"""Values that a pixel is told apart in under its coefficients."""
SUPPORT = 5
"""Rows and columns that end at the pixel."""
CONSTANTS = 8
PRIOR = (8, 4, 2, 2)
"""Of the classes, in 16ths, where nothing was lost."""

_CLASS_OF = np.array([3, 0, 1, 0, 2, 0, 1, 0], np.int64)
"""By the three lowest bits."""
_PHASES = 4
_ONE = 256
"""What one observation counts."""
_DOUBT = 150
_SCALE = 1024
_MOST_WEIGHT = 4095
_VALUES_LIMIT = _ONE << 12
_SEEN = 16
_MOST_LIKELY = 2047
_COEFFICIENTS_LIMIT = _SEEN * 40


@dataclass(frozen=True)
class BandTraces:
    """What an encoder found in a band."""

    steps: int = 0
    """0: the lowest bits are not counted; 1 and 2: they are, with that one of `SHIFTS`."""
    phase: int | None = None
    """``2 y + x`` of the first even row and column of its transform; None: not looked for."""
    truncation: Truncation | None = None
    """What is cut from the values that are told, from generation 7 on."""

    @property
    def any(self) -> bool:
        """Whether there is something to lean on."""
        return self.steps > 0 or self.phase is not None


def write_traces(writer: Writer, bands: Sequence[BandTraces], *, truncations: bool) -> None:
    """Tell what was found in bands; ``truncations``: those as well, where `may_be_cut`."""
    for band in bands:
        writer.uniform(band.steps, len(SHIFTS) + 1)
        writer.uniform(0 if band.phase is None else band.phase + 1, _PHASES + 1)
        if truncations:
            write_truncation(writer, band.truncation)


def read_traces(
    reader: Reader, count: int, shape: tuple[int, int], *, truncations: bool
) -> list[BandTraces]:
    """Read what `write_traces` wrote of (H, W) bands."""
    found = []
    for _ in range(count):
        steps, phase = reader.uniform(len(SHIFTS) + 1), reader.uniform(_PHASES + 1)
        cut = read_truncation(reader, shape) if truncations else None
        found.append(BandTraces(steps, phase - 1 if phase else None, cut))
    return found


def may_be_cut(generation: int, shape: tuple[int, ...], hidden: Bool | None) -> bool:
    """Whether truncations are told of (H, W) bands: not where values are missing."""
    whole = hidden is None or not hidden.any()
    return generation >= TRUNCATED and whole and min(shape) >= LEAST_SIDE


class Traces:
    """Counts of one part of a unit, and where its coefficients are completed.

    Parameters
    ----------
    layout : Layout
    bands : sequence of BandTraces
    hidden : array, (H, W) bool, optional
        Pixels that are not coded; no coefficient is made of them.
    """

    def __init__(self, layout: Layout, bands: Sequence[BandTraces], hidden: Bool | None) -> None:
        c, h, w = layout.shape
        self._layout = layout
        self._shift = np.array([(-1, *SHIFTS)[b.steps] for b in bands], np.int64)
        self._phase = np.array([-1 if b.phase is None else b.phase for b in bands], np.int64)
        self._groups = (w - 1) // COLUMNS + 1
        self.values = np.zeros((c * 4 * (len(KNEES) + 1), NODES, 4), np.int64)
        """Per context and node: how often 0 and 1 came, and were expected."""
        self.coefficients = np.zeros((c * self._groups, SUBBANDS, CLASSES), np.int64)
        shown = np.ones((h, w), bool) if hidden is None else ~hidden
        self._complete = completed(shown)
        reach = range(1 - SUPPORT, 1)
        self._around = np.array([[layout.offset(y, x) for x in reach] for y in reach], np.int64)

    def at(self, step: Step, values: F64 | I64) -> Leaning:
        """How the values of a step's pixels lean, given (size,) values of earlier cells."""
        if kernels is not None:
            return self._at_native(step, values)
        within = step.cells % self._layout.plane
        y, x = within // self._layout.row - MARGIN, within % self._layout.row - MARGIN
        first = ((step.band * 2 + (y & 1)) * 2 + (x & 1)) * (len(KNEES) + 1)
        phase = self._phase[step.band]
        usable = self._complete[:, y, x]
        last = (phase >= 0) & ((y & 1) == phase >> 1) & ((x & 1) == (phase & 1)) & usable[0]
        closing = np.flatnonzero(last)
        around = values.take(step.cells[closing] + self._around[:, :, None]).astype(np.int64)
        return Leaning(
            step.whole,
            first,
            self._shift[step.band],
            closing,
            constants_of(around),
            usable[:, closing],
            (step.band * self._groups + x // COLUMNS)[closing],
            self,
        )

    def _at_native(self, step: Step, values: F64 | I64) -> Leaning:
        """Do what `at` does on a native kernel."""
        assert kernels is not None
        n = len(step.cells)
        first, shift, closing, group = (np.empty(n, np.int64) for _ in range(4))
        constants, usable = np.empty(CONSTANTS * n, np.int64), np.empty(SUBBANDS * n, bool)
        m = kernels.find_closing(
            (*self._layout.shape[1:], MARGIN),
            np.ascontiguousarray(step.cells, np.int64),
            np.ascontiguousarray(step.band, np.int64),
            np.ascontiguousarray(values, np.float64),
            self._complete,
            self._phase,
            self._shift,
            first,
            shift,
            closing,
            constants,
            usable,
            group,
        )
        return Leaning(
            step.whole,
            first,
            shift,
            closing[:m],
            constants[: CONSTANTS * m].reshape(CONSTANTS, m),
            usable[: SUBBANDS * m].reshape(SUBBANDS, m),
            group[:m],
            self,
        )


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


@dataclass(frozen=True)
class Leaning:
    """What counts say of the n pixels of a step."""

    whole: I64
    """(n,) values of level 0, DN."""
    first: I64
    """(n,) first context of the lowest bits."""
    shift: I64
    """(n,) DN, or -1: the lowest bits are not counted."""
    closing: I64
    """(m,) pixels that complete coefficients."""
    constants: I64
    """(8, m)."""
    usable: Bool
    """(3, m) which coefficients."""
    group: I64
    """(m,) of their counts."""
    traces: Traces
    notes: list[tuple[I64, I64, I64, Bool]] = field(default_factory=list)
    """(context, node, edge, answer) of decisions about the lowest bits."""

    def arrays(self) -> tuple[npt.NDArray[np.int64 | np.bool_], ...]:
        """What kernels ask for; they count in the last two."""
        given = (self.whole, self.first, self.shift, self.closing, self.constants)
        return (
            *(np.ascontiguousarray(a, np.int64) for a in given),
            np.ascontiguousarray(self.usable),
            np.ascontiguousarray(self.group, np.int64),
            self.traces.values,
            self.traces.coefficients,
        )

    def likely(self) -> I64:
        """(3, 5, m) weights of classes, and of 0, in 1/256."""
        counts = self.traces.coefficients[self.group]
        prior = np.array(PRIOR, np.int64)
        total = counts.sum(2, keepdims=True) + _SEEN
        weight = _ONE * (counts + prior) * _SEEN // (total * prior)
        weight = np.clip(weight, 1, _MOST_LIKELY)
        weight = np.concatenate([weight, weight.max(2, keepdims=True)], 2)
        weight[~self.usable.T] = _ONE
        return np.asarray(weight.transpose(1, 2, 0), np.int64)

    def table(self, which: I64, low: I64) -> I64:
        """(64, k) weights of values from level ``low`` on, of the chosen closing pixels."""
        value = (self.whole[self.closing[which]] + low) + np.arange(TABLE)[:, None]
        made = coefficients(self.constants[:, None, which], value)
        kind = np.where(made == 0, CLASSES, class_of(made))
        likely = self.likely()[:, :, which]
        weight = np.take_along_axis(likely, kind, 1)
        product: I64 = weight[0]
        for other in weight[1:]:
            product = product * other >> 8
        return np.maximum(product, 1)

    def lean(
        self, edges: I64, pixels: I64, low: I64, high: I64
    ) -> tuple[I64, tuple[I64, I64, I64, I64]]:
        """Lean decisions about the lowest bits on counts: edges, and what to note of them."""
        size = high - low
        lowest = np.flatnonzero((size <= 4) & (self.shift[pixels] >= 0))
        here = pixels[lowest]
        value = self.whole[here] + low[lowest]
        context = self.first[here] + np.searchsorted(
            np.array(KNEES), (value & ~3) + self.shift[here], side="right"
        )
        node = np.where(size[lowest] == 4, 0, 1 + (value >> 1 & 1))
        zero, one = self.node_weights(context, node)
        given = edges[lowest]
        share = given * zero
        leaning = edges.copy()
        leaning[lowest] = (share << 24) // (share + ((1 << 24) - given) * one)
        return leaning, (lowest, context, node, given)

    def note(self, noted: tuple[I64, I64, I64, I64], up: Bool) -> None:
        """Keep what was answered, to learn of it."""
        lowest, context, node, given = noted
        self.notes.append((context, node, given, up[lowest]))

    def node_weights(self, context: I64, node: I64) -> I64:
        """(2, k) of 0 and 1."""
        counts = self.traces.values[context, node]
        weight = (counts[:, :2] + _DOUBT) * _SCALE // (counts[:, 2:] + _DOUBT)
        return np.asarray(np.clip(weight, 1, _MOST_WEIGHT).T, np.int64)

    def learn(self, levels: I64) -> None:
        """Count what came, the (n,) levels."""
        values, made = self.traces.values, self.traces.coefficients
        for context, node, edge, up in self.notes:
            expected = edge >> 16
            came = np.stack([~up * _ONE, up * _ONE, expected, _ONE - expected], 1)
            np.add.at(values, (context, node), came)
        halved = values[:, :, 2:].sum(2) > _VALUES_LIMIT
        values[halved] >>= 1
        if len(self.closing):
            found = coefficients(self.constants, (self.whole + levels)[self.closing])
            kind = class_of(found)
            counted = self.usable & (found != 0)
            for k in range(SUBBANDS):
                some = counted[k]
                np.add.at(made, (self.group[some], k, kind[k][some]), _SEEN)
            full = made.sum(2) > _COEFFICIENTS_LIMIT
            made[full] >>= 1
