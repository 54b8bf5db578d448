"""Trainable twin of the fast model: the same arithmetic with fake quantization."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from export import integer_linear
from qat import IntLinear, _mass, quantize
from torch import Tensor, nn

from stvc.codec.tables import build_tables
from stvc.model.architecture import ACTIVATION_BITS, SCALE_OCTAVE, SCALE_ZERO, SCALES
from stvc.model.fast_architecture import EARLIER, FAST_GROUPS, LOW, MOVES, OWN, FastConfig


class FastTwin(nn.Module):
    """Twin of `stvc.model.fast.FastNetwork`; tokens lie on a whole grid, raster order."""

    def __init__(self, config: FastConfig) -> None:
        super().__init__()
        self.config = config
        d, a, n = config.trunk, config.around, config.hidden
        self.trunk = IntLinear(config.known + 64 * EARLIER, d, gain=1.4)
        self.around = nn.ModuleList([IntLinear(d + OWN, a, gain=1.4) for _ in FAST_GROUPS])
        self.hidden = nn.ModuleList([IntLinear(config.heard, n, gain=1.4) for _ in FAST_GROUPS])
        self.scale = nn.ModuleList([IntLinear(n, hi - lo, gain=0.3) for lo, hi in FAST_GROUPS])
        self.move = IntLinear(n, LOW * (1 + MOVES), gain=0.05)
        self.tail = nn.Parameter(torch.tensor([-2.0, 1.2]))
        self.product = torch.float32

    def forward(
        self, known: Tensor, levels: Tensor, moves: Tensor, coded: Tensor, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Location (in 1/8 steps) of the lowest and scale index of all coefficients.

        known (B, T, F) float, earlier components' magnitudes included; levels (B, T, 64) float
        magnitudes of the component's own symbols; moves (B, T, LOW, MOVES) float in 1/8 steps;
        coded (B, T, 1).
        """
        p = self.product
        b, t, _ = known.shape

        def squeeze(x: Tensor) -> Tensor:
            return quantize(x, p, positive=True)

        h = squeeze(self.trunk(known.to(p)))
        scales = []
        location = torch.zeros(b, t, LOW)
        for g, (low, _) in enumerate(FAST_GROUPS):
            own = F.pad(levels[..., :low].to(p), (0, OWN - low))
            told = squeeze(self.around[g](torch.cat([h, own], -1))) * coded.to(p)
            cross, corner = (squeeze(x) for x in neighbor_means(told.float(), grid))
            z = squeeze(self.hidden[g](torch.cat([h, own, cross, corner], -1)))
            scales.append(SCALE_OCTAVE * self.scale[g](z) + SCALE_ZERO)
            if g == 0:
                out = self.move(z).view(b, t, 1 + MOVES, LOW)
                gates = out[:, :, 1:].clamp(-127 / 64, 127 / 64)
                location = 8 * out[:, :, 0] + (gates * moves.transpose(2, 3)).sum(2)
        return location, torch.cat(scales, -1).clamp(0, SCALES - 1)

    def bits(self, symbols: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        """Ideal code length of symbols (B, T, 64) in bits."""
        x = torch.cat([symbols[..., :LOW] - location / 8, symbols[..., LOW:]], -1)
        inverse = torch.exp2((SCALE_ZERO - scale) / SCALE_OCTAVE)
        weight = torch.sigmoid(self.tail[0])
        narrow = _mass(x, inverse)
        wide = _mass(x, inverse * torch.exp2(-self.tail[1]))
        return -torch.log2((1 - weight) * narrow + weight * wide + 2.0**-20)

    def layers(self) -> dict[str, IntLinear]:
        """Linear layers under their exported names."""
        named = {"trunk": self.trunk, "move": self.move}
        for part in ("around", "hidden", "scale"):
            named |= {f"{part}.{g}": layer for g, layer in enumerate(getattr(self, part))}
        return named


def neighbor_means(told: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Means over the four nearest and the four diagonal neighbors; zeros off the grid."""
    b, t, n = told.shape
    h, w = grid
    wide = F.pad(told.view(b, h, w, n), (0, 0, 1, 1, 1, 1))
    up, level, down = wide[:, :-2], wide[:, 1:-1], wide[:, 2:]
    cross = up[:, :, 1:-1] + down[:, :, 1:-1] + level[:, :, :-2] + level[:, :, 2:]
    corner = up[:, :, :-2] + up[:, :, 2:] + down[:, :, :-2] + down[:, :, 2:]
    return cross.reshape(b, t, n) / 4, corner.reshape(b, t, n) / 4


def fast_tensors(net: FastTwin) -> dict[str, Tensor]:
    """All tensors of the integer network, and the frequency tables."""
    tensors = {
        f"{name}.{part}": values
        for name, layer in net.layers().items()
        for part, values in integer_linear(layer).items()
    }
    weight, ratio = torch.sigmoid(net.tail[0]).item(), 2.0 ** net.tail[1].item()
    tables = build_tables(weight, ratio)
    tensors["tables.frequencies"] = torch.from_numpy(tables.frequencies)
    tensors["tables.starts"] = torch.from_numpy(tables.starts)
    return {k: tensors[k].contiguous() for k in sorted(tensors)}


def load_fast_integers(net: FastTwin, tensors: Mapping[str, Tensor]) -> None:
    """Set a twin to exported integers: training goes on from a shipped model."""
    with torch.no_grad():
        for name, layer in net.layers().items():
            unit = torch.exp2(-tensors[f"{name}.bits"].float())
            layer.weight.copy_(tensors[f"{name}.weight"].float() * unit[:, None])
            if layer.bias is not None:
                layer.bias.copy_(tensors[f"{name}.bias"].float() * unit / (1 << ACTIVATION_BITS))
