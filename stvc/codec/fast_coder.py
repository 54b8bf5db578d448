"""Entropy coding of a unit's symbols through the fast model: few steps, all tokens in each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.codec.rangecoder import Ints, Models, Reader
from stvc.errors import CorruptError
from stvc.model.arithmetic import exact_products
from stvc.model.fast_architecture import EARLIER, FAST_GROUPS, LOW, OWN
from stvc.model.fast_features import FastFeatures, symbol_levels

if TYPE_CHECKING:
    from torch import Tensor

    from stvc.model.fast import FastNetwork

I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
FastBatch = tuple[Ints, Ints, Ints]
"""Symbols with their locations (1/8 steps) and scale indices, flat."""


class _Walk:
    """Some components of one unit on their way through the groups, in one batch."""

    def __init__(self, net: FastNetwork, features: FastFeatures, components: int) -> None:
        import torch

        self._net, self._features = net, features
        self._width, around = net.config.trunk + OWN, net.config.around
        device = net.device
        rows = components * len(features.rows)
        self._heard = torch.empty(rows, net.config.heard, dtype=torch.uint8, device=device)
        self._told = torch.empty(rows, self._width, dtype=torch.uint8, device=device)
        h, w = features.grid
        self._grid = torch.zeros(components, h + 2, w + 2, around, dtype=torch.int16, device=device)
        # ^ what tokens tell, with a rim of zeros; those that are not coded tell nothing
        y, x = np.divmod(features.rows, w)
        inner = (np.arange(components)[:, None] * (h + 2) + y + 1) * (w + 2) + x + 1
        outer = (np.arange(components)[:, None] * h + y) * w + x
        self._inner = torch.from_numpy(inner.reshape(-1)).to(device)
        self._outer = torch.from_numpy(outer.reshape(-1)).to(device)
        self._everything = len(features.rows) == h * w

    def start(self, h: Tensor) -> None:
        """Turn to a component with its trunk activations (rows, trunk) uint8."""
        trunk = h.shape[1]
        for x in (self._heard, self._told):
            x[:, :trunk] = h
            x[:, trunk : self._width] = 0

    def step(self, group: int, components: slice) -> tuple[npt.NDArray[np.int16] | None, U8]:
        """Locations (lowest group only) and scale indices of a group, (rows, n)."""
        net = self._net
        self._share(net.around(group, self._told))
        z = net.hidden(group, self._heard)
        where = None
        if group == 0:
            moves = self._features.moves[components].reshape(len(z), LOW, -1)
            where = net.locations(z, moves)
        return where, net.scales(group, z).cpu().numpy()

    def _share(self, told: Tensor) -> None:
        """Let the neighbors hear what tokens (rows, around) tell."""
        from stvc.model.fast import neighbor_means

        n = told.shape[1]
        if self._everything:
            h, w = self._features.grid
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


def fast_batches(net: FastNetwork, features: FastFeatures, symbols: I32) -> list[FastBatch]:
    """(symbols, location, scale) of every step, in coding order (encoder).

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
    with exact_products():
        known = net.known(torch.from_numpy(features.known.reshape(c * m, width)).to(net.device))
        earlier = np.concatenate([_earlier(levels, k) for k in range(c)])
        walk = _Walk(net, features, c)
        walk.start(net.trunk(known, torch.from_numpy(earlier).to(net.device)))
        found = []
        for g, (low, high) in enumerate(FAST_GROUPS):
            where, scale = walk.step(g, slice(0, c))
            part = mine[..., low:high]
            walk.hear(g, part.reshape(c * m, high - low))
            shape = (c, m * (high - low))
            nowhere = np.zeros(shape, np.int16) if where is None else where.reshape(shape)
            found.append((part.reshape(shape), nowhere, scale.reshape(shape)))
    return [(s[k], where[k], scale[k]) for k in range(c) for s, where, scale in found]


def decode_fast(
    reader: Reader, net: FastNetwork, features: FastFeatures, tokens: int, models: Models
) -> I32:
    """Read the symbols (C, tokens, 64) of a unit."""
    import torch

    c, m, width = features.known.shape
    symbols = np.zeros((c, m, 64), np.int32)
    levels = np.zeros((c, m, 64), np.uint8)
    with exact_products():
        known = net.known(torch.from_numpy(features.known.reshape(c * m, width)).to(net.device))
        walk = _Walk(net, features, 1)
        for k in range(c):
            before = torch.from_numpy(_earlier(levels, k)).to(net.device) if k else None
            walk.start(net.trunk(known[k * m : (k + 1) * m], before))
            for g, (low, high) in enumerate(FAST_GROUPS):
                where, scale = walk.step(g, slice(k, k + 1))
                nowhere = np.zeros(scale.size, np.int16) if where is None else where.reshape(-1)
                values = reader.symbols(nowhere, scale.reshape(-1), models)
                if len(values) and int(np.abs(values).max()) >= 1 << 24:
                    raise CorruptError(
                        "a symbol is beyond every quantizer level; the payload is damaged"
                    )
                part = values.reshape(m, high - low)
                symbols[k, :, low:high] = part
                walk.hear(g, part)
            if k + 1 < c:
                levels[k] = symbol_levels(symbols[k])
    if m == tokens:
        return symbols
    whole = np.zeros((c, tokens, 64), np.int32)
    whole[:, features.rows] = symbols
    return whole
