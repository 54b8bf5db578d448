"""Entropy coding of a unit's symbols through the fast model: few steps, all tokens in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from stvc.codec.adaptation import Correction
from stvc.codec.batches import Batch
from stvc.codec.fast_walk import walk_through
from stvc.codec.readers import Readers
from stvc.codec.readers import Told as Given
from stvc.errors import CorruptError
from stvc.model.arithmetic import exact_products
from stvc.model.fast_architecture import EARLIER, FAST_GROUPS, LOW
from stvc.model.fast_features import FastFeatures, symbol_levels

if TYPE_CHECKING:
    from stvc.model.fast import FastNetwork

I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]


def _earlier(levels: U8, k: int) -> U8:
    """Magnitudes of the components before one, (M, 64 * EARLIER), from those of all (C, M, 64)."""
    m = levels.shape[1]
    out = np.zeros((m, 64 * EARLIER), np.uint8)
    for back in range(1, min(k, EARLIER) + 1):
        out[:, 64 * (back - 1) : 64 * back] = levels[k - back]
    return out


class Told(NamedTuple):
    """What the network says of a unit's coded tokens."""

    symbols: I32
    """(C, M, 64)."""
    location: I32
    """(C, M, LOW), 1/8 steps; all others lie at 0."""
    scale: U8
    """(C, M, 64)."""


def tell(net: FastNetwork, features: FastFeatures, symbols: I32) -> Told:
    """What the network says of all symbols (C, N, 64) of a unit (encoder)."""
    c, (m, width) = len(symbols), features.known.shape[1:]
    mine = symbols if m == symbols.shape[1] else symbols[:, features.rows]
    levels = symbol_levels(mine)
    moves = features.moves.reshape(c * m, LOW, -1)
    scale, location = np.empty((c, m, 64), np.uint8), np.empty((c, m, LOW), np.int32)
    with exact_products():
        walk = walk_through(net, features.grid, [features.rows] * c)
        earlier = np.concatenate([_earlier(levels, k) for k in range(c)])
        walk.start(features.known.reshape(c * m, width), earlier)
        for g, (low, high) in enumerate(FAST_GROUPS):
            where, wide = walk.step(g, moves)
            walk.hear(g, mine[..., low:high].reshape(c * m, high - low))
            scale[..., low:high] = wide.reshape(c, m, high - low)
            if where is not None:
                location[...] = where.reshape(c, m, LOW)
    return Told(np.ascontiguousarray(mine), location, scale)


def told_batches(told: Told) -> list[Batch]:
    """The same as batches, in coding order."""
    found = []
    for k, (symbols, location, scale) in enumerate(zip(*told, strict=True)):
        for low, high in FAST_GROUPS:
            part = slice(low, high)
            where = location if low == 0 else np.zeros((len(symbols), high - low), np.int32)
            found.append(Batch(symbols[:, part], where, scale[:, part], k, low))
    return found


def fast_batches(net: FastNetwork, features: FastFeatures, symbols: I32) -> list[Batch]:
    """What the network says of every step, in coding order (encoder); arguments as for `tell`."""
    return told_batches(tell(net, features, symbols))


def decode_fast(
    readers: Readers,
    net: FastNetwork,
    features: Sequence[FastFeatures],
    corrections: Sequence[Correction | None],
    tokens: int,
) -> list[I32 | CorruptError]:
    """Read the symbols (C, tokens, 64) of units of one shape, all in one batch."""
    c = len(features[0].known)
    counts = [len(one.rows) for one in features]
    stops = np.cumsum(counts).tolist()
    parts = [slice(stop - count, stop) for stop, count in zip(stops, counts, strict=True)]
    alone = len(features) == 1
    inputs, moves = (
        found[0] if alone else np.concatenate(found, 1)
        for found in ([one.known for one in features], [one.moves for one in features])
    )
    m = stops[-1]
    symbols = np.zeros((c, m, 64), np.int32)
    levels = np.zeros((c, m, 64), np.uint8)
    with exact_products():
        walk = walk_through(net, features[0].grid, [one.rows for one in features])
        for k in range(c):
            walk.start(inputs[k], _earlier(levels, k) if k else None)
            for g, (low, high) in enumerate(FAST_GROUPS):
                where, scale = walk.step(g, moves[k])
                mine = symbols[k, :, low:high]
                for unit, part in enumerate(parts):
                    wide = scale[part]
                    place = np.zeros(wide.shape, np.int32) if where is None else where[part]
                    given = Given(place, wide, k, low, features[unit].rows)
                    mine[part] = readers.group(unit, given, corrections[unit])
                walk.hear(g, mine)
            if k + 1 < c:
                levels[k] = symbol_levels(symbols[k])
    return readers.outcomes(
        [
            _spread_out(symbols[:, part], one.rows, tokens)
            for part, one in zip(parts, features, strict=True)
        ]
    )


def _spread_out(symbols: I32, rows: npt.NDArray[np.intp], tokens: int) -> I32:
    """Symbols of coded tokens (C, M, 64) among all tokens (C, tokens, 64)."""
    if len(rows) == tokens:
        return symbols
    whole = np.zeros((len(symbols), tokens, 64), np.int32)
    whole[:, rows] = symbols
    return whole
