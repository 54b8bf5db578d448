"""How values of lossless units lean on traces of earlier processing, from generation 6 on.

From generation 8 on, a value is coded under its mixture times what half precision makes of
reflectances; how often values come that it does not make is learned by counting. Without that
knowledge, as in generations 6 and 7, the two lowest bits of values are counted. The pixel that
completes a coefficient is coded under its mixture times how likely the coefficients are that its
values would make, learned by counting, too. Nothing is taken for granted: where values show no
trace (`stvc.codec.trace_rules`), the counts say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stvc.codec.half_precision import SPAN, masses
from stvc.codec.predictive_layout import MARGIN, Layout
from stvc.codec.predictive_walk import Step
from stvc.codec.trace_coefficients import (
    CLASSES,
    CONSTANTS,
    PRIOR,
    SUBBANDS,
    SUPPORT,
    class_of,
    coefficients,
    completed,
    constants_of,
)
from stvc.codec.trace_rules import KNEES, RULES, BandTraces
from stvc.native import kernels

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

NODES = 3
"""Decisions about the two lowest bits: the upper one, the lower one after 0 and after 1."""
COLUMNS = 32
"""Pixels that share counts of coefficients: parts of a code block of JPEG 2000."""
TABLE = 64
"""Values that a pixel is told apart in under its coefficients."""

_ONE = 256
"""What one observation counts."""
_DOUBT = 150
_SCALE = 1024
_MOST_WEIGHT = 4095
_VALUES_LIMIT = _ONE << 12
_SEEN = 16
_MOST_LIKELY = 2047
_COEFFICIENTS_LIMIT = _SEEN * 40
_SHIFT_OF = np.array([rule.shift for rule in RULES], np.int64)
_HALF_OF = np.array([-1 if rule.half is None else rule.half for rule in RULES], np.int64)
_SHARE_BITS = 12
"""Of the masses of the two halves of an interval."""
_FOREIGN = (32 * _ONE, 0, 16 * _ONE, 16 * _ONE)
"""Counts to begin with, of values that half precision makes and of those that it does not: as if 32
decisions had been between equals, and all had fallen on the former."""


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
        self._rule = np.array([b.steps - 1 for b in bands], np.int64)
        self._phase = np.array([-1 if b.phase is None else b.phase for b in bands], np.int64)
        self._groups = (w - 1) // COLUMNS + 1
        self.values = np.zeros((c * 4 * (len(KNEES) + 1), NODES, 4), np.int64)
        """Per context and node: how often 0 and 1 came, and were expected; where values are made in
        half precision, how often what it makes came, and what it does not."""
        self.values.reshape(c, -1, 4)[(self._rule >= 0) & (_HALF_OF[self._rule] >= 0)] = _FOREIGN
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
            self._rule[step.band],
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
        first, rule, closing, group = (np.empty(n, np.int64) for _ in range(4))
        constants, usable = np.empty(CONSTANTS * n, np.int64), np.empty(SUBBANDS * n, bool)
        m = kernels.find_closing(
            (*self._layout.shape[1:], MARGIN),
            np.ascontiguousarray(step.cells, np.int64),
            np.ascontiguousarray(step.band, np.int64),
            np.ascontiguousarray(values, np.float64),
            self._complete,
            self._phase,
            self._rule,
            first,
            rule,
            closing,
            constants,
            usable,
            group,
        )
        return Leaning(
            step.whole,
            first,
            rule,
            closing[:m],
            constants[: CONSTANTS * m].reshape(CONSTANTS, m),
            usable[: SUBBANDS * m].reshape(SUBBANDS, m),
            group[:m],
            self,
        )


class Noted(NamedTuple):
    """What is to be learned from k of the decisions of a moment."""

    at: I64
    """(k,) which of them."""
    context: I64
    node: I64
    given: I64
    """(k,) how likely what is counted first was, in 2**-24, before counts leaned on it."""
    turned: Bool
    """(k,) whether that is the answer yes."""


@dataclass(frozen=True)
class Leaning:
    """What counts say of the n pixels of a step."""

    whole: I64
    """(n,) values of level 0, DN."""
    first: I64
    """(n,) first of the contexts of the pixel's band and parities."""
    rule: I64
    """(n,) which of `RULES`, or -1."""
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
    """(context, node, edge, answer) of decisions to learn from."""

    def arrays(self) -> tuple[npt.NDArray[np.int64 | np.bool_], ...]:
        """What kernels ask for; they count in the last two."""
        given = (self.whole, self.first, self.rule, self.closing, self.constants)
        return (
            *(np.ascontiguousarray(a, np.int64) for a in given),
            np.ascontiguousarray(self.usable),
            np.ascontiguousarray(self.group, np.int64),
            masses(),
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

    def lean(self, edges: I64, pixels: I64, low: I64, high: I64) -> tuple[I64, Noted]:
        """Lean decisions on what is known of values.

        Decisions between 4 levels and between 2 lean on counts. Where half precision made the
        values, those between `TABLE` or fewer lean on how much reflectance makes either part, and
        on counts if nothing makes one of them.

        Parameters
        ----------
        edges, pixels, low, high : array, (k,)
            Where yes begins, in 2**-24; whose decision it is; levels where the interval begins and
            ends.

        Returns
        -------
        array, (k,)
            Edges.
        Noted
            What to learn from.
        """
        leaning, size, rule = edges.copy(), high - low, self.rule[pixels]
        half = np.where(rule >= 0, _HALF_OF[rule], -1)
        counted = np.flatnonzero((size <= 4) & (rule >= 0) & (half < 0))
        which, notes = [counted], [self._counted(pixels[counted], low[counted], size[counted])]
        known = np.flatnonzero((size <= TABLE) & (half >= 0))
        if len(known):
            below, above = self._masses(half[known], pixels[known], low[known], high[known])
            both, either = (below > 0) & (above > 0), (below > 0) ^ (above > 0)
            share = np.clip((below[both] << _SHARE_BITS) // (below + above)[both], 1, _MOST_WEIGHT)
            some = known[both]
            leaning[some] = _leaned(edges[some], share, (1 << _SHARE_BITS) - share)
            some = known[either]
            which.append(some)
            notes.append(self._foreign(pixels[some], size[some], above[either] > 0))
        at = np.concatenate(which)
        context, node, turned = (np.concatenate(parts) for parts in zip(*notes, strict=True))
        zero, one = self.node_weights(context, node)
        given = np.where(turned, (1 << 24) - edges[at], edges[at])
        leaning[at] = _leaned(edges[at], np.where(turned, one, zero), np.where(turned, zero, one))
        return leaning, Noted(at, context, node, given, turned)

    def _counted(self, pixels: I64, low: I64, size: I64) -> tuple[I64, I64, Bool]:
        """(k,) contexts and nodes of decisions about the two lowest bits, and none turned."""
        value = self.whole[pixels] + low
        shifted = (value & ~3) + _SHIFT_OF[self.rule[pixels]]
        context = self.first[pixels] + np.searchsorted(np.array(KNEES), shifted, side="right")
        node = np.where(size == 4, 0, 1 + (value >> 1 & 1))
        return context, node, np.zeros(len(pixels), bool)

    def _foreign(self, pixels: I64, size: I64, turned: Bool) -> tuple[I64, I64, Bool]:
        """(k,) the same of decisions whether a value is one that half precision makes."""
        depth = np.frexp(size.astype(np.float64))[1].astype(np.int64) - 2
        return self.first[pixels] + depth // NODES, depth % NODES, turned

    def _masses(self, half: I64, pixels: I64, low: I64, high: I64) -> tuple[I64, I64]:
        """(k,) how much reflectance makes the values of lower and upper parts of intervals."""
        start = self.whole[pixels] + _SHIFT_OF[self.rule[pixels]]
        ends = np.stack([low, (low + high) >> 1, high]) + start
        sums = masses()[half, np.clip(ends, 0, SPAN)]
        below, above = np.diff(sums, axis=0)
        return below, above

    def note(self, noted: Noted, up: Bool) -> None:
        """Keep what was answered, to learn of it."""
        answer = up[noted.at] ^ noted.turned
        self.notes.append((noted.context, noted.node, noted.given, answer))

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


def _leaned(edges: I64, zero: I64, one: I64) -> I64:
    """Edges of decisions whose answers weigh differently."""
    share = edges * zero
    return np.asarray((share << 24) // (share + ((1 << 24) - edges) * one), np.int64)
