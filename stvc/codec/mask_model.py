"""Order and probabilities of a mask's pixels; shared by encoder and decoder of ``mask_coder``.

What is here is the definition, in numpy; ``mask_native`` does the same in C.

The raster is walked from coarse to fine: one pixel, then for each spacing h = ..., 4, 2, 1 four
passes that fill the centers of the coarser lattice's squares (in two checkerboard halves) and then
the middles of their sides (horizontal, then vertical ones). All pixels of a pass are predicted at
once: for each class, a pixel's 36 nearest lattice neighbors that are known already, the share of
the class so far and, optionally, the previous raster vote with integer weights that were trained on
real masks (``mask_tables``); how rough the raster was so far scales the votes. They become integer
frequencies, so no result depends on floating-point rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.codec.mask_lattice import Step, plan
from stvc.codec.mask_network import OCTAVES, PAST, SECOND, Place, Seen, load_network, refined
from stvc.codec.mask_tables import OFFSETS, Tables, load_tables
from stvc.types import U8

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.signedinteger[Any] | np.unsignedinteger[Any]]

_NEAR = 8
_FEW_PIXELS = 256
# ^ below it, telling apart costs more than it saves
_RINGS = 12
_ROUGH_SPACING = 8
_LARGEST_DROP = 1023
# Frequencies of up to 12 classes must add up exactly in float32, that is to less than 2**24. They
# are listed by an integer recurrence because exp() may round differently elsewhere.


def _frequencies() -> F32:
    table = []
    value = 1 << 50
    for _ in range(_LARGEST_DROP + 1):
        table.append(max(1, value >> 30))
        value = value * 64520 >> 16  # 64520 / 65536 = exp(-1 / 64)
    return np.array(table, dtype=np.float32)


FREQUENCIES = _frequencies()
"""By drop: how far a class's votes lie below the most, in 1/64 nat."""


def walk(
    shape: tuple[int, int],
    values: U8,
    scene: bool,
    previous: U8 | None,
    code: Callable[[F32, I64], Ints],
    network: bool = False,
    second: U8 | None = None,
) -> U8:
    """Visit all pixels from coarse to fine.

    Parameters
    ----------
    shape : (int, int)
        (H, W), not empty.
    values : ndarray, (K,) uint8
        The classes that occur, ascending; K >= 2.
    scene : bool
        Whether they are scene classes 0 to 11; otherwise K = 2.
    previous : ndarray, (H, W) uint8, optional
        A raster that resembles this one.
    code : callable
        Gets frequencies (n, K) of n pixels, integers in float32, with their positions in the flat
        raster, both lent until it returns, and gives back their symbols (n,): indexes into
        ``values``, just encoded or decoded.
    network : bool
        Whether `stvc.codec.mask_network` corrects the votes.
    second : ndarray, (H, W) uint8, optional
        Another raster that resembles this one; only the network looks at it.

    Returns
    -------
    ndarray, (H, W) uint8
        All symbols.
    """
    tables = load_tables(scene, previous is not None)
    missing = tables.classes
    # Tables speak of scene classes, or of the lower and the higher of two values.
    labels = values.astype(np.int64) if scene else np.arange(2)
    affinity = _pairs(tables.affinity[:, :, labels])
    before = None
    if previous is not None:
        before = np.append(relabeled(previous, values, scene, missing), np.uint8(missing))
    known = np.full(shape[0] * shape[1] + 1, missing, np.uint8)
    past, other = (
        known.copy() if r is None else np.append(relabeled(r, values, scene, missing), known[-1:])
        for r in (previous, second)
    )
    symbols = np.zeros(shape[0] * shape[1], np.uint8)
    counts, rough = np.zeros(len(values), np.int64), np.zeros(2, np.int64)
    for steps in plan(*shape):
        # Pixels of one pass must not see each other, however they are cut into steps.
        tally, state = counts.copy(), _roughness(rough)
        for step in steps:
            around = known[step.neighbors]
            votes = _shared_votes(tables, affinity, labels, step, around, before, tally)
            votes = votes * int(tables.scale[step.kind, state]) >> 8
            if network and tally.any():
                seen = Seen(
                    around, *(_near(r, step, n) for r, n in ((past, PAST), (other, SECOND)))
                )
                octave = min(step.spacing.bit_length(), OCTAVES) - 1
                place = Place(step.kind, octave, state, _rarity(tally))
                votes = refined(load_network(scene), votes, labels, seen, place)
            drop = votes.max(axis=1, keepdims=True) - votes
            table = FREQUENCIES[np.minimum(drop, _LARGEST_DROP)]
            positions = step.rows * shape[1] + step.columns
            found = code(table, positions)
            symbols[positions] = found
            label = labels[found].astype(np.uint8)
            known[positions] = label
            counts += np.bincount(found, minlength=len(values))
            if step.spacing <= _ROUGH_SPACING:
                near = around[:, :_NEAR]
                first = near[np.arange(len(near)), (near != missing).argmax(axis=1)]
                seen = first != missing
                rough += (int((first != label)[seen].sum()), int(seen.sum()))
    return symbols.reshape(shape)


def relabeled(previous: U8, values: U8, scene: bool, missing: int) -> U8:
    """Classes of the raster before in the tables' terms, `missing` for those they do not know."""
    to_label = np.full(256, missing, np.uint8)
    to_label[np.arange(missing) if scene else values] = np.arange(missing)
    return to_label[previous]


def _roughness(rough: I64) -> int:
    unlike, seen = rough.tolist()
    return min(4, 20 * unlike // seen) if seen > 7 else 5


def _rarity(counts: I64) -> I64:
    """floor(log2((total + 1) / (count + 1/4))) in integers: how rare a class has been so far."""
    scaled = (4 * counts[:, None] + 1) << np.arange(1, 9)
    rare: I64 = (scaled <= 4 * (counts.sum() + 1)).sum(axis=1)
    return rare


def _near(raster: U8, step: Step, count: int) -> U8:
    """Classes (n, count) of a raster here and at the nearest lattice neighbors."""
    here = (step.rows * step.width + step.columns)[:, None]
    near: U8 = raster[np.concatenate([here, step.neighbors[:, : count - 1]], axis=1)]
    return near


def _shared_votes(
    tables: Tables,
    affinity: list[I64],
    labels: I64,
    step: Step,
    around: U8,
    before: U8 | None,
    counts: I64,
) -> I64:
    """`_votes`, asked once for all pixels that see nothing but one class, now and before.

    Most pixels of a mask do; what they see is all that their votes depend on.
    """
    n = len(around)
    if n < _FEW_PIXELS:
        return _votes(tables, affinity, labels, step, around, before, counts)
    words = around.view(np.uint32)
    uniform = (words == around[:, :1] * np.uint32(0x01010101)).all(axis=1)
    seen = around[:, 0].astype(np.int64)
    if before is not None:
        past = before[step.rows * step.width + step.columns]
        near = before[step.neighbors[:, :_NEAR]].view(np.uint64)[:, 0]
        uniform &= near == past * np.uint64(0x0101010101010101)
        seen = seen * 256 + past
    if np.count_nonzero(uniform) < n // 4:
        return _votes(tables, affinity, labels, step, around, before, counts)
    alike = np.flatnonzero(uniform)
    _, first, which = np.unique(seen[alike], return_index=True, return_inverse=True)
    asked = np.concatenate([alike[first], np.flatnonzero(~uniform)])
    some = _votes(tables, affinity, labels, step.part(asked), around[asked], before, counts)
    votes = np.empty((n, len(labels)), np.int64)
    votes[asked] = some
    votes[alike] = some[which]
    return votes


def _votes(
    tables: Tables,
    affinity: list[I64],
    labels: I64,
    step: Step,
    around: U8,
    before: U8 | None,
    counts: I64,
) -> I64:
    """Sum the weights for each pixel and class: (n, K) int64, about 1/64 nat each."""
    kind = step.kind
    if not counts.any():
        return np.zeros((len(step.rows), len(labels)), np.int64)
    rows = around.T + np.arange(len(OFFSETS))[:, None] * (tables.classes + 1)
    votes = np.empty((len(around), len(labels)), np.int64)
    for k, pair in enumerate(affinity):
        both = pair.take(rows).sum(axis=0)
        # ^ neighbors outermost: adding whole rows is far faster than adding up short ones
        second = both.astype(np.int32)
        votes[:, 2 * k] = (both - second) >> 32
        if 2 * k + 1 < len(labels):
            votes[:, 2 * k + 1] = second
    votes += tables.bias[kind, labels]
    same = (around.T[:_RINGS, :, None] == labels.astype(np.uint8)).view(np.uint8)
    rings = same.reshape(3, 4, len(around), len(labels)).sum(axis=1, dtype=np.uint8)
    votes += tables.support[kind][rings[0], rings[1], rings[2]]
    votes += tables.rarity[kind, _rarity(counts)]
    if before is not None:
        past, near = before[step.rows * step.width + step.columns], around[:, :_NEAR]
        seen = near != tables.classes
        agree = ((before[step.neighbors[:, :_NEAR]] == near) & seen).sum(axis=1)
        total = seen.sum(axis=1)
        trust = np.where(total > 0, (8 * agree + total // 2) // np.maximum(total, 1), 9)
        gain = tables.affinity_before[past][:, labels].astype(np.int64)
        gain = gain * tables.gate[kind, trust][:, None] >> 6
        gain += (past[:, None] == labels) * tables.repeat[kind, trust][:, None]
        votes += gain * (past != tables.classes)[:, None]
    return votes


def _pairs(affinity: npt.NDArray[np.generic]) -> list[I64]:
    """Weights (36, labels, K) of two classes at a time in one integer: half as many look-ups."""
    flat = affinity.reshape(-1, affinity.shape[2]).astype(np.int64)
    flat = np.pad(flat, ((0, 0), (0, flat.shape[1] % 2)))
    return [(flat[:, k] << 32) + flat[:, k + 1] for k in range(0, flat.shape[1], 2)]
