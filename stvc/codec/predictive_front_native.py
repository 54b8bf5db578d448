"""The front of `stvc.codec.predictive_front` on native kernels: the same numbers, faster."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_features import Features
from stvc.codec.predictive_front import (
    BLEND_POWERS,
    ROBUST_POWERS,
    START_ERROR,
    TRAIN_POWERS,
    Cells,
    Foreseen,
)
from stvc.codec.predictive_layout import Layout
from stvc.codec.predictive_learning import BASE_CONTEXTS, PREDICTORS, Learner, Memory
from stvc.codec.predictive_local import FEATURES, TRUST, without_vanished
from stvc.codec.predictive_tables import SIZES
from stvc.native import kernels

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_LANES = 16
"""Pixels of a block; the last block of a band may have fewer."""
_WIDE = 8
"""Rows of sums are a multiple of this long."""
_HALVES = np.triu_indices(FEATURES, 0, FEATURES + 1)
"""(row, column) of what the kernels keep of normal equations and right sides."""


class NativeFront:
    """Does what `Front` does; the same parameters."""

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
        assert kernels is not None
        layout = cells.layout
        c, h, w = layout.shape
        features = Features(layout, references, generation)
        contexts = BASE_CONTEXTS + references
        sizes = (features.count, *features.sizes)
        self._layout = layout
        self._learner = _Learner(c, sizes, contexts, h * w, memory)
        local = generation > 2
        mean = np.zeros((c, FEATURES, FEATURES + 1))
        if memory is not None and memory.local is not None:
            mean = memory.local
        self._mean = np.ascontiguousarray(mean[:, *_HALVES]) if local else None
        lines = (len(_HALVES[0]), c * (h + 1) + _LANES) if local else 0
        # ^ an empty line before each band, some to read behind the last one
        block, besides = kernels.walk_room(features.count, contexts)
        self._walk = kernels.PixelWalk(
            (c, h, w, references, features.count, features.pairs, max_error, local, networked),
            *_indexes(layout, features),
            BLEND_POWERS,
            ROBUST_POWERS if local else TRAIN_POWERS,
            TRUST,
            SIZES,
            cells.values,
            cells.errors,
            np.full((layout.size, PREDICTORS), START_ERROR * START_ERROR),
            cells.signed,
            cells.missed,
            cells.scales,
            self._learner.weights,
            self._learner.scale_weights,
            self._learner.products,
            self._learner.scale_products,
            np.zeros(lines),
            np.zeros(lines),
            np.zeros(0) if self._mean is None else self._mean,
            np.zeros(_blocks(layout) * block),
            np.zeros(besides),
        )
        self._count = 0

    def foresee(self, step: int, flagged: Bool) -> Foreseen:
        """Predict the pixels of a step, of which a mask flags some (n,)."""
        n = self._count = len(flagged)
        found = Foreseen(
            np.empty(n, np.int64), np.empty(n, np.int64), np.empty((PREDICTORS, n)), np.empty(n)
        )
        self._walk.foresee(
            step,
            np.ascontiguousarray(flagged),
            found.prediction,
            found.scale,
            found.each,
            found.correction,
        )
        return found

    def fill(self) -> F64:
        """(n,) values of don't-care pixels: the first reference's relief on the local level."""
        filled = np.empty(self._count)
        self._walk.fill(filled)
        return filled

    def learn(self, told: F64, shown: Bool) -> None:
        """Take the (n,) values of the step's pixels, DN, and which of them were coded."""
        self._walk.learn(told, shown)
        self._learner.wait(self._count)

    def memory(self) -> Memory:
        """For the next date."""
        taught = self._learner.memory()
        if self._mean is None:
            return taught
        local = np.zeros((len(self._mean), FEATURES, FEATURES + 1))
        row, column = _HALVES
        local[:, row, column] = self._mean
        inside = column < FEATURES
        local[:, column[inside], row[inside]] = self._mean[:, inside]
        return replace(taught, local=without_vanished(local))


class _Learner(Learner):
    """Kernels add up for it, halves of symmetric matrices: (C, wide, wide), values in column K."""

    def __init__(
        self,
        bands: int,
        sizes: tuple[int, int, int],
        contexts: int,
        pixels: int,
        memory: Memory | None,
    ) -> None:
        super().__init__(bands, sizes, contexts, pixels, memory)
        self._counts = sizes[0], contexts
        wide, scale_wide = ((count + _WIDE) // _WIDE * _WIDE for count in self._counts)
        self.products = np.zeros((bands, wide, wide))
        self.scale_products = np.zeros((bands, scale_wide, scale_wide))

    def fresh(self) -> tuple[F64, F64, F64, F64]:
        """As in `Learner`."""
        found = []
        for sums, k in zip((self.products, self.scale_products), self._counts, strict=True):
            upper = np.triu(sums[:, :k, :k])
            lower = np.triu(upper, 1).transpose(0, 2, 1)
            found += [upper + lower, sums[:, :k, k].copy()]
            sums[:] = 0
        gram, moment, scale_gram, scale_moment = found
        return gram, moment, scale_gram, scale_moment


def _indexes(layout: Layout, features: Features) -> tuple[I64, ...]:
    """What kernels find cells with."""
    found = (
        layout.cells,
        layout.starts,
        layout.band_starts[: len(layout.starts) - 1],
        layout.margin_to,
        layout.margin_from,
        layout.margin_starts,
        features.offsets,
        np.array(features.groups, np.int64),
    )
    return tuple(np.ascontiguousarray(part, np.int64) for part in found)


def _blocks(layout: Layout) -> int:
    """Of the step that has the most of them."""
    counts = np.diff(layout.band_starts, axis=1)
    return int(((counts + _LANES - 1) // _LANES).sum(1).max())
