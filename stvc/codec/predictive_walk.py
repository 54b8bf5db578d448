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
from stvc.codec.predictive_front import Cells, Front
from stvc.codec.predictive_front_native import NativeFront
from stvc.codec.predictive_layout import BANDS_BACK, Layout
from stvc.codec.predictive_learning import Memory
from stvc.codec.predictive_tables import EIGHTH
from stvc.native import kernels

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


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
    known = Cells(layout, references, first)
    kind = Front if kernels is None else NativeFront
    front = kind(known, len(references), max_error, memory, generation, networked=networked)
    gatherer = None
    if networked:
        gatherer = ContextGatherer(layout, len(references), 2 * max_error + 1)
    copied = np.array([layout.offset(0, -1), layout.offset(-1, 0), layout.size], np.int64)[:, None]
    if not references:
        copied[2] = copied[1]
    band = layout.cells // layout.plane - BANDS_BACK
    for step in range(len(layout.starts) - 1):
        span = slice(layout.starts[step], layout.starts[step + 1])
        cells, flagged = layout.cells[span], unclear[span]
        if not len(cells):
            continue
        found = front.foresee(step, flagged)
        asked = Step(cells, band[span], found.prediction, found.scale, told=known.own)
        if gatherer is not None:
            seen = gatherer.gather(
                known.values,
                known.missed,
                known.scales,
                cells,
                flagged,
                found.each,
                found.correction,
                found.prediction,
                found.scale,
            )
            copies = known.values.take(copied + cells).astype(np.int64)
            asked = replace(asked, seen=seen, copies=copies)
        shown = np.ones(len(cells), bool) if hidden is None else ~hidden[span]
        if shown.all():
            told = code(asked).astype(np.float64)
        else:
            told = front.fill()
            if shown.any():
                told[shown] = code(asked.of(shown))
        front.learn(told, shown)
    return np.asarray(known.own, np.float64), front.memory()
