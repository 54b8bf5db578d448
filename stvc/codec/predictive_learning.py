"""Weights of the predictive coder, learned on the way from what is already decoded.

Sums of products come from integer-valued float64 matrix products (exact in any order). What is
computed from them (decay, elimination) uses only single element-wise float64 operations, + - * /
and square root, which IEEE 754 rounds in one way; no reduction, BLAS or fused operation. The
weights are rounded to integers before they meet a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stvc.native import kernels

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

PREDICTORS = 4
BASE_CONTEXTS = 14
"""Contexts of the scale that do not concern references."""
WEIGHT_BITS, SCALE_BITS = 14, 12
_SLOW, _FAST, _SCALE_DECAY = 0.97, 0.6, 0.985
_PRIOR, _FAST_PRIOR, _SCALE_PRIOR = 0.05, 0.005, 0.4
_RIDGE, _SCALE_RIDGE = 3e-4, 1e-3
_FEATURE_LIMIT = 4095.0
_LEARN_PIXELS = 256
"""Pixels of a band between two updates of the weights, at least."""
_UPDATES = 64
"""Updates per unit, at most (and a few more at the start)."""
_WEIGHT_LIMIT = float(1 << 18)


def solve_nested(gram: F64, moment: F64, sizes: tuple[int, ...], ridge: float, bits: int) -> F64:
    """Solve regularized normal equations, restricted to several leading sets of variables.

    Parameters
    ----------
    gram : array, (B, K, K) float64, symmetric, positive semidefinite
    moment : array, (B, K) float64
    sizes : tuple of int
        Solution v uses the first ``sizes[v]`` variables.
    ridge : float
        Added to the diagonal after it was scaled to 1.
    bits : int
        Fractional bits of the weights.

    Returns
    -------
    array, (B, V, K) float64
        Weights, integers in units of ``2**-bits``.
    """
    k = moment.shape[1]
    if kernels is not None:
        found = np.empty((len(moment), len(sizes), k))
        shape = (len(moment), k, ridge, float(1 << bits))
        parts = (np.ascontiguousarray(a, np.float64) for a in (gram, moment))
        kernels.solve_nested(shape, np.array(sizes, np.int64), *parts, found)
        return found
    diagonal = np.einsum("bkk->bk", gram)
    spread = np.sqrt(np.maximum(diagonal, 1e-6))
    a = gram / spread[:, :, None] / spread[:, None, :]
    a[:, range(k), range(k)] += ridge
    z = moment / spread
    for i in range(k):
        pivot = np.maximum(a[:, i, i], ridge)[:, None]
        below = a[:, i, i + 1 :].copy()
        scaled = below / pivot
        a[:, i + 1 :, i + 1 :] -= below[:, :, None] * scaled[:, None, :]
        z[:, i + 1 :] -= z[:, i, None] * scaled
        a[:, i, i + 1 :] = scaled
        z[:, i] /= pivot[:, 0]
    solution = np.repeat(z[:, None], len(sizes), 1)
    for v, size in enumerate(sizes):
        solution[:, v, size:] = 0
    for i in range(k - 1, 0, -1):
        solution[:, :, :i] -= a[:, None, :i, i] * solution[:, :, i, None]
    weights = solution / spread[:, None] * float(1 << bits)
    rounded: F64 = np.clip(np.rint(np.nan_to_num(weights)), -_WEIGHT_LIMIT, _WEIGHT_LIMIT)
    return rounded


class Sums:
    """Decaying sums of products of one set of variables, per band.

    Parameters
    ----------
    bands, variables : int
    decay : float
        What older sums are multiplied by at each update.
    """

    def __init__(self, bands: int, variables: int, decay: float) -> None:
        self.gram = np.zeros((bands, variables, variables))
        self.moment = np.zeros((bands, variables))
        self._decay = decay

    def add(self, gram: F64, moment: F64) -> None:
        """Add new exact sums (B, K, K), (B, K)."""
        self.gram *= self._decay
        self.gram += gram
        self.moment *= self._decay
        self.moment += moment


def products(rows: F64, weights: F64, targets: F64) -> tuple[F64, F64]:
    """Exact (K, K) and (K,) sums of integer-valued rows (K, n), weights (n,), targets (n,)."""
    weighted = rows * weights
    return weighted @ rows.T, weighted @ targets


@dataclass(frozen=True)
class Memory:
    """What one date of a tile taught; the next one starts from it."""

    sizes: tuple[int, int, int]
    """Variables: all, those of the band and one earlier band, those without references."""
    gram: F64
    """(C, K, K)."""
    moment: F64
    """(C, K)."""
    scale_gram: F64
    """(C, k, k)."""
    scale_moment: F64
    """(C, k)."""
    local: F64 | None = None
    """Of `stvc.codec.predictive_local`, from generation 3 on."""

    @classmethod
    def empty(cls, bands: int, variables: int, contexts: int) -> Memory:
        """Nothing learned."""
        return cls(
            (variables, variables, variables),
            np.zeros((bands, variables, variables)),
            np.zeros((bands, variables)),
            np.zeros((bands, contexts, contexts)),
            np.zeros((bands, contexts)),
        )

    def adapted(self, sizes: tuple[int, int, int], contexts: int) -> Memory:
        """The same for another number of references: what does not concern them stays."""
        if sizes == self.sizes:
            return self
        k, m = sizes[2], BASE_CONTEXTS
        out = Memory.empty(len(self.moment), sizes[0], contexts)
        out.gram[:, :k, :k] = self.gram[:, :k, :k]
        out.moment[:, :k] = self.moment[:, :k]
        out.scale_gram[:, :m, :m] = self.scale_gram[:, :m, :m]
        out.scale_moment[:, :m] = self.scale_moment[:, :m]
        return replace(out, sizes=sizes, local=self.local)


Memories = tuple[Memory, ...]
"""One memory for each 13 bands; empty: nothing learned."""


class Learner:
    """Collects finished steps and turns them into weights.

    Parameters
    ----------
    bands : int
    sizes : tuple of int
        See `Memory`.
    contexts, pixels : int
        Of the scale, and of a band.
    memory : Memory, optional
        What the date before taught.
    """

    def __init__(
        self,
        bands: int,
        sizes: tuple[int, int, int],
        contexts: int,
        pixels: int,
        memory: Memory | None,
    ) -> None:
        self._bands = bands
        self._sizes = sizes
        self._slow = Sums(bands, sizes[0], _SLOW)
        self._fast = Sums(bands, sizes[0], _FAST)
        self._scales = Sums(bands, contexts, _SCALE_DECAY)
        self.weights = np.zeros((bands, PREDICTORS, sizes[0]))
        self.scale_weights = np.full((bands, contexts), float((1 << SCALE_BITS) // contexts))
        self._pending: list[tuple[tuple[F64, ...], I64]] = []
        self._waiting = 0
        self._due = 16 * bands
        self._most = max(_LEARN_PIXELS, pixels // _UPDATES) * bands
        self._prior = Memory.empty(bands, sizes[0], contexts)
        if memory is not None:
            self._prior = memory.adapted(sizes, contexts)
            self._solve()

    def add(self, arrays: tuple[F64, ...], bounds: I64) -> None:
        """Take a finished step; learn when enough pixels have come.

        Parameters
        ----------
        arrays : tuple of array, each (..., n) float64, integers
            Features (K, n), values to predict, trust, contexts (k, n), logarithms to expect,
            whether a pixel was coded.
        bounds : array, (C + 1,)
            Where each band begins.
        """
        self._pending.append((arrays, bounds))
        self.wait(len(arrays[1]))

    def wait(self, pixels: int) -> None:
        """Count the pixels of a finished step; learn when enough have come."""
        self._waiting += pixels
        if self._waiting >= self._due:
            self._learn()
            self._solve()
            self._due = min(2 * self._due, self._most)

    def _learn(self) -> None:
        gram, moment, scale_gram, scale_moment = self.fresh()
        self._slow.add(gram, moment)
        self._fast.add(gram, moment)
        self._scales.add(scale_gram, scale_moment)
        self._waiting = 0

    def fresh(self) -> tuple[F64, F64, F64, F64]:
        """Sums (C, K, K), (C, K) and of contexts (C, k, k), (C, k) of what has come since."""
        grams, scale_grams = [], []
        for b in range(self._bands):
            parts = [
                [a[..., bounds[b] : bounds[b + 1]] for a in arrays]
                for arrays, bounds in self._pending
            ]
            rows, wanted, trust, contexts, logs, shown = (
                np.concatenate(column, -1) for column in zip(*parts, strict=True)
            )
            rows = np.clip(rows, -_FEATURE_LIMIT, _FEATURE_LIMIT)
            wanted = np.clip(wanted, -_FEATURE_LIMIT, _FEATURE_LIMIT)
            grams.append(products(rows, trust, wanted))
            scale_grams.append(products(contexts, shown, logs))
        self._pending.clear()
        gram, moment = (np.stack(a) for a in zip(*grams, strict=True))
        scale_gram, scale_moment = (np.stack(a) for a in zip(*scale_grams, strict=True))
        return gram, moment, scale_gram, scale_moment

    def _solve(self) -> None:
        prior = self._prior
        solved = solve_nested(
            np.concatenate(
                [
                    self._slow.gram + prior.gram * _PRIOR,
                    self._fast.gram + prior.gram * _FAST_PRIOR,
                ]
            ),
            np.concatenate(
                [
                    self._slow.moment + prior.moment * _PRIOR,
                    self._fast.moment + prior.moment * _FAST_PRIOR,
                ]
            ),
            self._sizes,
            _RIDGE,
            WEIGHT_BITS,
        )
        slow, fast = solved[: self._bands], solved[self._bands :]
        np.stack([slow[:, 0], slow[:, 1], fast[:, 0], fast[:, 2]], 1, out=self.weights)
        self.scale_weights[:] = solve_nested(
            self._scales.gram + prior.scale_gram * _SCALE_PRIOR,
            self._scales.moment + prior.scale_moment * _SCALE_PRIOR,
            (self._scales.gram.shape[1],),
            _SCALE_RIDGE,
            SCALE_BITS,
        )[:, 0]

    def memory(self) -> Memory:
        """What the next date may start from."""
        if self._waiting:
            self._learn()
        prior = self._prior
        return Memory(
            self._sizes,
            self._slow.gram + prior.gram * _PRIOR,
            self._slow.moment + prior.moment * _PRIOR,
            self._scales.gram + prior.scale_gram * _SCALE_PRIOR,
            self._scales.moment + prior.scale_moment * _SCALE_PRIOR,
        )
