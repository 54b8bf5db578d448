"""`Passes` on native kernels: the same bytes, attention in a tenth of the time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from stvc.model.architecture import GROUPS, POSITION_LIMIT, NetworkConfig
from stvc.model.features import COMPAND, U_LIMIT
from stvc.model.int8_passes import OFFSET, Passes
from stvc.native import kernels

if TYPE_CHECKING:
    from torch import Tensor

LEVEL: int = 0 if kernels is None else kernels.attention_level()
"""What the processor has for attention: 2: 8-bit dot products, 1: 16-bit ones, 0: nothing fast."""


class NativePasses(Passes):
    """The passes of a network on 8-bit products, in C; see `passes`."""

    def __init__(self, tensors: Mapping[str, Tensor], config: NetworkConfig) -> None:
        super().__init__(tensors, config)
        self.level = LEVEL
        self.table = tensors["exp"].numpy().astype(np.uint8)
        self.positions = {
            name.removesuffix(".position"): np.ascontiguousarray(position.numpy(), np.int8)
            for name, position in tensors.items()
            if name.endswith(".position")
        }
        reach = -(-U_LIMIT // 8)
        told = COMPAND[(8 * np.arange(-reach, reach + 1)).clip(-U_LIMIT, U_LIMIT) + U_LIMIT]
        self._told = (told.astype(int) + OFFSET).astype(np.uint8)

    def begin(self, h: Tensor, *, clamped: bool) -> Tensor:
        """Round a residual stream down; see `Passes.begin`."""
        return self._absorb(h, None)

    def absorb(self, h: Tensor, added: Tensor, *, clamped: bool) -> Tensor:
        """Add to a residual stream; see `Passes.absorb`."""
        return self._absorb(h, added)

    @staticmethod
    def _absorb(h: Tensor, added: Tensor | None) -> Tensor:
        import torch

        assert kernels is not None
        out = torch.empty(h.shape, dtype=torch.uint8)
        kernels.absorb(h.numpy(), None if added is None else added.numpy(), out.numpy())
        return out

    def keep(self, kv: Tensor, out: Tensor) -> None:
        """Write keys and values to where `mix` reads, which cuts them itself."""
        out.copy_(kv)

    def mix(self, name: str, q: Tensor, kv: Tensor, index: Tensor) -> Tensor:
        """Attend; see `Passes.mix`."""
        import torch

        assert kernels is not None
        out = torch.empty(q.shape, dtype=torch.uint8)
        b, blocks, n, d = q.shape
        kernels.mix(
            (b, blocks, n, index.shape[1], kv.shape[1], self.config.heads, d),
            q.numpy(),
            kv.numpy(),
            index.numpy(),
            self.positions[name],
            self.table,
            self.level,
            out.numpy(),
        )
        return out

    def place(
        self,
        heads: Tensor,
        candidates: Tensor,
        step: tuple[int, int],
        near: Tensor | None,
        *,
        clamped: bool,
    ) -> tuple[Tensor, Tensor]:
        """Make locations and scales of a step; see `Passes.place`."""
        import torch

        assert kernels is not None
        (low, high), (b, half, _) = GROUPS[step[0]], heads.shape
        location, scale = (torch.empty(b, half, high - low, dtype=torch.int32) for _ in "ls")
        kernels.place(
            (b, 2 * half, step[1] * half, half, low, high - low, self.config.candidates),
            heads.numpy(),
            candidates.numpy(),
            None if near is None else near.contiguous().numpy(),
            location.numpy(),
            scale.numpy(),
        )
        return location, scale

    def known(self, symbols: Tensor) -> Tensor:
        """Look up what the network is told of symbols; see `Passes.known`."""
        import torch

        assert kernels is not None
        out = torch.empty(symbols.shape, dtype=torch.uint8)
        kernels.look_up(symbols.contiguous().numpy(), self._told, out.numpy())
        return out


def passes(tensors: Mapping[str, Tensor], config: NetworkConfig) -> Passes:
    """Choose the passes of a network: in C, or in torch where kernels are not or cannot do it."""
    table = tensors["exp"]
    positions = [t for name, t in tensors.items() if name.endswith(".position")]
    suits = (
        LEVEL > 0
        and config.width % 32 == config.width // config.heads % 4 == 0
        and config.width <= 1024
        and config.candidates <= 16
        and bool(table[0] > 0)
        and 0 <= int(table.min()) <= int(table.max()) <= 255
        and all(len(t) <= 64 and int(t.int().abs().max()) <= POSITION_LIMIT for t in positions)
    )
    return (NativePasses if suits else Passes)(tensors, config)
