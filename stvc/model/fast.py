"""Integer inference of the fast entropy model (see `stvc.model.fast_architecture`).

All activations are 0 to 127, so that products of 8-bit operands need no offsets. Like the larger
network it runs on float32 or int32, or on 8-bit products, with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from stvc.model.architecture import (
    ACTIVATION_BITS,
    RESIDUAL_BITS,
    SCALE_OCTAVE,
    SCALE_ZERO,
    SCALES,
)
from stvc.model.arithmetic import Arithmetic
from stvc.model.fast_architecture import (
    LOCATION_GRAIN,
    LOW,
    MOVES,
    TOP,
    FastConfig,
)
from stvc.model.int8_product import LEVEL, Layer, layer, product

if TYPE_CHECKING:
    from torch import Tensor

    from stvc.model.fast_features import I16

GATE_LIMIT = 127
_EXACT = 1 << 23
_MOST_BITS = 16
# ^ sums beyond 2**22 then stand for more than any scale: where a quarter of a unit no longer fits
#   into 24 bits, results are clamped anyway
_SCALE_FINER = (SCALE_OCTAVE.bit_length() - 1) - ACTIVATION_BITS
_MOVE_FINER = RESIDUAL_BITS - ACTIVATION_BITS
# ^ powers of two from a row's own units (1/16) to scale indices, and to 1/64


class FastNetwork:
    """The network with its integer weights, on float32 or int32.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        ``*.weight`` int8 (rows, columns), ``*.bias`` int32 (rows,) in accumulator units,
        ``*.bits`` int8 (rows,).
    config : FastConfig
    arithmetic : Arithmetic
    device : str
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        config: FastConfig,
        arithmetic: Arithmetic,
        device: str = "cpu",
    ) -> None:
        import torch

        self.config = config
        self.arithmetic = arithmetic
        self.layers: dict[str, Layer] = {}
        """All products as native kernels take them; none where no kernel is fast."""
        self.device = device
        self._sums: dict[str, Callable[[Tensor], Tensor]] = {}
        self._divided: dict[str, Callable[[Tensor], Tensor]] = {}
        for key in tensors:
            name, _, part = key.rpartition(".")
            if part != "weight":
                continue
            weight, bias = tensors[key], tensors[name + ".bias"]
            bits = tensors[name + ".bits"].to(torch.int32)
            reach = weight.to(torch.int32).abs().sum(1) * TOP + bias.abs()
            if int(reach.max()) >= _EXACT:
                raise OverflowError(name)
            if name == "trunk":
                self._add(name, weight[:, : config.known], bias, bits)
                self._add("earlier", weight[:, config.known :], torch.zeros_like(bias), bits)
            elif name.startswith("scale"):
                bits = bits - _SCALE_FINER
                zero = torch.tensor([SCALE_ZERO << int(k) for k in bits])
                self._add(name, weight, bias + zero.to(torch.int32), bits)
            else:
                self._add(name, weight, bias, bits - (_MOVE_FINER if name == "move" else 0))

    def _add(self, name: str, weight: Tensor, bias: Tensor, bits: Tensor) -> None:
        """Prepare exact sums ``x @ weight.T + bias`` and their later division by ``2**bits``."""
        kind = self.arithmetic.dtype
        matrix = weight.T.to(device=self.device, dtype=kind).contiguous()
        offset = bias.to(device=self.device, dtype=kind)
        self._sums[name] = lambda x: x.to(kind) @ matrix + offset
        self._divided[name] = self.arithmetic.divider(bits.to(self.device))

    def _activation(self, name: str, x: Tensor) -> Tensor:
        import torch

        return self._divided[name](self._sums[name](x)).clamp_(0, TOP).to(torch.uint8)

    def known(self, features: Tensor) -> Tensor:
        """Trunk sums of (rows, config.known) uint8 inputs that do not wait for symbols."""
        return self._sums["trunk"](features)

    def trunk(self, known: Tensor, earlier: Tensor | None) -> Tensor:
        """Activations (rows, trunk) uint8 of trunk sums and earlier components' magnitudes."""
        import torch

        sums = known if earlier is None else known + self._sums["earlier"](earlier)
        return self._divided["trunk"](sums).clamp_(0, TOP).to(torch.uint8)

    def around(self, group: int, x: Tensor) -> Tensor:
        """What tokens (rows, trunk + OWN) uint8 tell their neighbors: (rows, around) uint8."""
        return self._activation(f"around.{group}", x)

    def hidden(self, group: int, x: Tensor) -> Tensor:
        """(rows, heard) uint8 to (rows, hidden) uint8."""
        return self._activation(f"hidden.{group}", x)

    def scales(self, group: int, z: Tensor) -> Tensor:
        """Scale index of every coefficient of a group, (rows, n) uint8."""
        import torch

        name = f"scale.{group}"
        return self._divided[name](self._sums[name](z)).clamp_(0, SCALES - 1).to(torch.uint8)

    def locations(self, z: Tensor, moves: I16) -> np.ndarray:
        """Locations (rows, LOW) int16 of the lowest group in 1/8 step, multiples of the grain."""
        import torch

        out = self._divided["move"](self._sums["move"](z)).to(torch.int32)
        out = out.view(-1, 1 + MOVES, LOW)
        gates = out[:, 1:].clamp(-GATE_LIMIT, GATE_LIMIT)
        sums = (gates * torch.from_numpy(moves).to(self.device).transpose(1, 2)).sum(
            1, dtype=torch.int32
        )
        bits = RESIDUAL_BITS + LOCATION_GRAIN.bit_length() - 1
        grains = (sums + 8 * out[:, 0] + (1 << bits >> 1)) >> bits
        limit = (1 << 15) // LOCATION_GRAIN - 1
        found = grains.clamp_(-limit, limit) * LOCATION_GRAIN
        return np.asarray(found.to(torch.int16).cpu().numpy())


class FastInt8Network(FastNetwork):
    """`FastNetwork` on 8-bit products; CPU only.

    Raises
    ------
    OverflowError
        If the weights are so large that 24 bits might not do: use float32 then.
    """

    def __init__(self, tensors: Mapping[str, Tensor], config: FastConfig) -> None:
        self._fused: dict[str, Callable[[Tensor], Tensor]] = {}
        super().__init__(tensors, config, Arithmetic("float32"))

    def _add(self, name: str, weight: Tensor, bias: Tensor, bits: Tensor) -> None:
        import torch

        scale = torch.tensor([2.0 ** -int(k) for k in bits], dtype=torch.float64)
        reach = weight.double().abs().sum(1) * TOP + bias.double().abs() + 1
        if float(reach.max()) >= _EXACT or int(bits.max()) > _MOST_BITS:
            raise OverflowError(name)
        start = bias.double() * scale
        if name in ("trunk", "earlier", "move"):
            self._sums[name] = product(weight, scale.float(), start.float(), torch.float32)
            if LEVEL:
                self.layers[name] = layer(weight, scale.float(), start.float(), torch.float32)
            self._divided[name] = lambda sums: (sums + 0.5).floor_()
            return
        near = (start + scale / 4).float()
        # ^ a quarter of a unit turns rounding to even into rounding half up
        top = SCALES - 1 if name.startswith("scale") else TOP
        self._fused[name] = product(weight, scale.float(), near, torch.uint8, top=top)
        if LEVEL:
            self.layers[name] = layer(weight, scale.float(), near, torch.uint8, top=top)

    def _activation(self, name: str, x: Tensor) -> Tensor:
        return self._fused[name](x)

    def scales(self, group: int, z: Tensor) -> Tensor:
        """Scale index of every coefficient of a group, (rows, n) uint8."""
        return self._fused[f"scale.{group}"](z)


def neighbor_means(grid: Tensor) -> tuple[Tensor, Tensor]:
    """Rounded means over the four nearest and the four diagonal neighbors of tokens.

    Parameters
    ----------
    grid : Tensor, (B, h + 2, w + 2, n) int16
        Grids of tokens with a rim of zeros.

    Returns
    -------
    tuple of Tensor, (B, h, w, n) int16
    """
    columns = grid[:, :-2] + grid[:, 2:]
    level = grid[:, 1:-1, :-2] + grid[:, 1:-1, 2:]
    level += columns[:, :, 1:-1]
    corner = columns[:, :, :-2] + columns[:, :, 2:]
    for x in (level, corner):
        x += 2
        x >>= 2
    return level, corner
