"""The fast model's walk through the groups of a component's coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from stvc.model.fast_architecture import FAST_GROUPS, OWN
from stvc.model.fast_features import I16, symbol_levels

if TYPE_CHECKING:
    from torch import Tensor

    from stvc.model.fast import FastNetwork

I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
Coded = Sequence[npt.NDArray[np.intp]]
"""Per grid the raster indices of its coded tokens."""


class Walk(Protocol):
    """Grids of tokens, one per unit or component, on their way through the groups in one batch."""

    def start(self, features: U8, earlier: U8 | None) -> None:
        """Turn to a component.

        Parameters
        ----------
        features : array, (rows, config.known) uint8
            As in `FastFeatures`.
        earlier : array, (rows, 64 * EARLIER) uint8, optional
            Magnitudes of the components before.
        """
        ...

    def step(self, group: int, moves: I16) -> tuple[I32 | None, U8]:
        """Locations (lowest group only) and scale indices of a group, (rows, n).

        ``moves`` (rows, LOW, MOVES) are as in `FastFeatures`.
        """
        ...

    def hear(self, group: int, symbols: I32) -> None:
        """Take in the symbols (rows, n) of a group."""
        ...


def walk_through(net: FastNetwork, grid: tuple[int, int], coded: Coded) -> Walk:
    """Begin a walk: in C, if the network's products are there as well.

    Parameters
    ----------
    net : FastNetwork
    grid : (int, int)
        Tokens down and across.
    coded : sequence of array
    """
    from stvc.codec.fast_walk_native import NativeWalk

    return NativeWalk(net, grid, coded) if net.layers else TorchWalk(net, grid, coded)


def places(grid: tuple[int, int], coded: Coded) -> npt.NDArray[np.intp]:
    """Where coded tokens lie among all of all grids; these have no rims."""
    h, w = grid
    return np.concatenate([tokens + k * h * w for k, tokens in enumerate(coded)])


def inside_rims(grid: tuple[int, int], outer: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Where such tokens lie if every grid has a rim."""
    h, w = grid
    y, x = np.divmod(outer, w)
    return np.asarray((y + 2 * (y // h) + 1) * (w + 2) + x + 1)


class TorchWalk:
    """A walk on torch, the definition; arguments as for `walk_through`."""

    def __init__(self, net: FastNetwork, grid: tuple[int, int], coded: Coded) -> None:
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
        outer = places(grid, coded)
        self._inner = torch.from_numpy(inside_rims(grid, outer)).to(device)
        self._outer = torch.from_numpy(outer).to(device)
        self._everything = len(outer) == len(coded) * h * w

    def start(self, features: U8, earlier: U8 | None) -> None:
        """Turn to a component; see `Walk.start`."""
        import torch

        known, before = (
            None if x is None else torch.from_numpy(x).to(self._net.device)
            for x in (features, earlier)
        )
        assert known is not None
        h = self._net.trunk(self._net.known(known), before)
        trunk = h.shape[1]
        for x in (self._heard, self._told):
            x[:, :trunk] = h
            x[:, trunk : self._width] = 0

    def step(self, group: int, moves: I16) -> tuple[I32 | None, U8]:
        """Tell of a group; see `Walk.step`."""
        net = self._net
        self._share(net.around(group, self._told))
        z = net.hidden(group, self._heard)
        where = net.locations(z, moves).astype(np.int32) if group == 0 else None
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

    def hear(self, group: int, symbols: I32) -> None:
        """Take in the symbols (rows, n) of a group."""
        import torch

        low, high = FAST_GROUPS[group]
        if high > OWN:
            return
        levels = torch.from_numpy(symbol_levels(symbols)).to(self._heard.device)
        at = self._width - OWN
        self._told[:, at + low : at + high] = levels
        self._heard[:, at + low : at + high] = levels
