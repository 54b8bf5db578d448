"""The fast model's walk on native kernels: the same numbers, without torch between products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stvc.codec.fast_walk import I32, U8, Coded, inside_rims, places
from stvc.model.fast_architecture import FAST_GROUPS, LOW, OWN
from stvc.model.fast_features import I16, SYMBOL_LEVELS
from stvc.native import kernels

if TYPE_CHECKING:
    from stvc.model.fast import FastNetwork


class NativeWalk:
    """A walk in C; see `stvc.codec.fast_walk.walk_through`."""

    def __init__(self, net: FastNetwork, grid: tuple[int, int], coded: Coded) -> None:
        config = net.config
        rows = sum(len(tokens) for tokens in coded)
        self._layers, self._own = net.layers, config.trunk
        self._place = np.ascontiguousarray(inside_rims(grid, places(grid, coded)), np.int64)
        self._heard = np.empty((rows, config.heard), np.uint8)
        self._told = np.empty((rows, config.trunk + OWN), np.uint8)
        self._size = len(coded), *grid
        self._around = np.zeros((len(coded), grid[0] + 2, grid[1] + 2, config.around), np.uint8)
        # ^ what tokens tell, with a rim of zeros; those that are not coded tell nothing

    def start(self, features: U8, earlier: U8 | None) -> None:
        """Turn to a component; see `Walk.start`."""
        assert kernels is not None
        layers = self._layers["trunk"], self._layers["earlier"]
        features = np.ascontiguousarray(features)
        kernels.begin_trunk(*layers, len(features), features, earlier, self._heard, self._told)

    def step(self, group: int, moves: I16) -> tuple[I32 | None, U8]:
        """Tell of a group; see `Walk.step`."""
        assert kernels is not None
        low, high = FAST_GROUPS[group]
        rows, first = len(self._place), group == 0
        scale = np.empty((rows, high - low), np.uint8)
        where = np.empty((rows, LOW), np.int32) if first else None
        layers = tuple(self._layers[f"{name}.{group}"] for name in ("around", "hidden", "scale"))
        kernels.step_group(
            (*layers, self._layers["move"] if first else None),
            self._size,
            self._place,
            self._told,
            np.ascontiguousarray(moves) if first else None,
            self._around,
            self._heard,
            where,
            scale,
        )
        return where, scale

    def hear(self, group: int, symbols: I32) -> None:
        """Take in symbols; see `Walk.hear`."""
        assert kernels is not None
        low, high = FAST_GROUPS[group]
        if high > OWN:
            return
        kernels.hear_group(
            (len(symbols), high - low, self._own + low),
            np.ascontiguousarray(symbols, np.int32),
            SYMBOL_LEVELS,
            self._heard,
            self._told,
        )
