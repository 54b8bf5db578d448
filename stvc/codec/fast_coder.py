"""Entropy coding of a unit's symbols through the fast model: few steps, all tokens in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.codec.adaptation import Correction
from stvc.codec.batches import Batch
from stvc.codec.readers import Readers, Told
from stvc.errors import CorruptError
from stvc.model.arithmetic import exact_products
from stvc.model.fast_architecture import EARLIER, FAST_GROUPS, LOW, OWN
from stvc.model.fast_features import I16, FastFeatures, symbol_levels

if TYPE_CHECKING:
    from torch import Tensor

    from stvc.model.fast import FastNetwork

I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]


class _Walk:
    """Grids of tokens, one per unit or component, on their way through the groups in one batch.

    Parameters
    ----------
    net : FastNetwork
    grid : (int, int)
        Tokens down and across.
    coded : sequence of array
        Per grid the raster indices of its coded tokens.
    """

    def __init__(
        self, net: FastNetwork, grid: tuple[int, int], coded: Sequence[npt.NDArray[np.intp]]
    ) -> None:
        import torch

        self._net, self._size = net, grid
        self._width, around = net.config.trunk + OWN, net.config.around
        device = net.device
        rows = sum(len(tokens) for tokens in coded)
        self._heard = torch.empty(rows, net.config.heard, dtype=torch.uint8, device=device)
        self._told = torch.empty(rows, self._width, dtype=torch.uint8, device=device)
        h, w = grid
        self._grid = torch.zeros(len(coded), h + 2, w + 2, around, dtype=torch.int16, device=device)
        # ^ what tokens tell, with a rim of zeros; those that are not coded tell nothing
        outer = np.concatenate([tokens + k * h * w for k, tokens in enumerate(coded)])
        y, x = np.divmod(outer, w)
        inner = (y + 2 * (y // h) + 1) * (w + 2) + x + 1
        self._inner = torch.from_numpy(inner).to(device)
        self._outer = torch.from_numpy(outer).to(device)
        self._everything = len(outer) == len(coded) * h * w

    def start(self, h: Tensor) -> None:
        """Turn to a component with its trunk activations (rows, trunk) uint8."""
        trunk = h.shape[1]
        for x in (self._heard, self._told):
            x[:, :trunk] = h
            x[:, trunk : self._width] = 0

    def step(self, group: int, moves: I16) -> tuple[I16 | None, U8]:
        """Locations (lowest group only) and scale indices of a group, (rows, n).

        ``moves`` (rows, LOW, MOVES) are as in `FastFeatures`.
        """
        net = self._net
        self._share(net.around(group, self._told))
        z = net.hidden(group, self._heard)
        where = net.locations(z, moves) if group == 0 else None
        return where, net.scales(group, z).cpu().numpy()

    def _share(self, told: Tensor) -> None:
        """Let the neighbors hear what tokens (rows, around) tell."""
        from stvc.model.fast import neighbor_means

        n = told.shape[1]
        if self._everything:
            h, w = self._size
            self._grid[:, 1:-1, 1:-1] = told.view(-1, h, w, n)
        else:
            self._grid.view(-1, n).index_copy_(0, self._inner, told.to(self._grid.dtype))
        for k, found in enumerate(neighbor_means(self._grid)):
            flat = found.view(-1, n)
            at = self._width + k * n
            self._heard[:, at : at + n] = (
                flat if self._everything else flat.index_select(0, self._outer)
            )

    def hear(self, group: int, symbols: npt.NDArray[np.generic]) -> None:
        """Take in the symbols (rows, n) of a group."""
        import torch

        low, high = FAST_GROUPS[group]
        if high > OWN:
            return
        levels = torch.from_numpy(symbol_levels(symbols)).to(self._heard.device)
        at = self._width - OWN
        self._told[:, at + low : at + high] = levels
        self._heard[:, at + low : at + high] = levels


def _earlier(levels: U8, k: int) -> U8:
    """Magnitudes of the components before one, (M, 64 * EARLIER), from those of all (C, M, 64)."""
    m = levels.shape[1]
    out = np.zeros((m, 64 * EARLIER), np.uint8)
    for back in range(1, min(k, EARLIER) + 1):
        out[:, 64 * (back - 1) : 64 * back] = levels[k - back]
    return out


def fast_batches(net: FastNetwork, features: FastFeatures, symbols: I32) -> list[Batch]:
    """What the network says of every step, in coding order (encoder).

    Parameters
    ----------
    net : FastNetwork
    features : FastFeatures
    symbols : array, (C, N, 64)
    """
    import torch

    c, (m, width) = len(symbols), features.known.shape[1:]
    mine = symbols if m == symbols.shape[1] else symbols[:, features.rows]
    levels = symbol_levels(mine)
    moves = features.moves.reshape(c * m, LOW, -1)
    with exact_products():
        known = net.known(torch.from_numpy(features.known.reshape(c * m, width)).to(net.device))
        earlier = np.concatenate([_earlier(levels, k) for k in range(c)])
        walk = _Walk(net, features.grid, [features.rows] * c)
        walk.start(net.trunk(known, torch.from_numpy(earlier).to(net.device)))
        found = []
        for g, (low, high) in enumerate(FAST_GROUPS):
            where, scale = walk.step(g, moves)
            part = mine[..., low:high]
            walk.hear(g, part.reshape(c * m, high - low))
            shape = (c, m, high - low)
            nowhere = np.zeros(shape, np.int16) if where is None else where.reshape(shape)
            found.append((part, nowhere, scale.reshape(shape), low))
    return [
        Batch(symbols_of[k], where[k], scale[k], k, low)
        for k in range(c)
        for symbols_of, where, scale, low in found
    ]


def decode_fast(
    readers: Readers,
    net: FastNetwork,
    features: Sequence[FastFeatures],
    corrections: Sequence[Correction | None],
    tokens: int,
) -> list[I32 | CorruptError]:
    """Read the symbols (C, tokens, 64) of units of one shape, all in one batch."""
    import torch

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
        known = net.known(torch.from_numpy(inputs.reshape(c * m, inputs.shape[-1])).to(net.device))
        walk = _Walk(net, features[0].grid, [one.rows for one in features])
        for k in range(c):
            before = torch.from_numpy(_earlier(levels, k)).to(net.device) if k else None
            walk.start(net.trunk(known[k * m : (k + 1) * m], before))
            for g, (low, high) in enumerate(FAST_GROUPS):
                where, scale = walk.step(g, moves[k])
                mine = symbols[k, :, low:high]
                for unit, part in enumerate(parts):
                    wide = scale[part]
                    place = np.zeros(wide.shape, np.int16) if where is None else where[part]
                    told = Told(place.reshape(wide.shape), wide, k, low, features[unit].rows)
                    mine[part] = readers.group(unit, told, corrections[unit])
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
