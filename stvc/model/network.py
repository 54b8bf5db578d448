"""Integer inference of the conditional transformer entropy model.

`EntropyNetwork.steps` is the one function that encoder and decoder share: a generator that walks
the coding order and is sent the symbols of each step, which the encoder knows and the decoder has
just decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING

from stvc.model.architecture import (
    ACTIVATION_BITS,
    ACTIVATION_LIMIT,
    GROUPS,
    KEY_LIMIT,
    LOGIT_SHIFT,
    RESIDUAL_BITS,
    SCALE_OCTAVE,
    SCALE_ZERO,
    SCALES,
    NetworkConfig,
    TokenLayout,
)
from stvc.model.arithmetic import Arithmetic
from stvc.model.features import COMPAND, U_LIMIT
from stvc.model.neighbors import neighbor_candidates

if TYPE_CHECKING:
    from torch import Tensor

EXP_STEPS = 128
LOCATION_LIMIT = 1 << 17
TO_RESIDUAL = ("embed", ".out", ".down", ".head")
# ^ layers that write to the residual stream; all others make int8 activations
LIMIT = 1 << 15
# ^ far beyond what a trained network produces; keeps every later sum exact in float32

Steps = Generator[tuple[int, int, "Tensor", "Tensor"], "Tensor", None]
"""Yields (group, phase, location, scale) and is sent symbols, all (B, tokens / 2, n) int32."""


class EntropyNetwork:
    """The network with its integer weights.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        ``*.weight`` int8 (rows, columns), ``*.bias`` int32 (rows,) in accumulator units,
        ``*.bits`` int8 (rows,), ``*.position`` int8, ``exp`` int32 (128,).
    config : NetworkConfig
    arithmetic : Arithmetic
    device : str
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        config: NetworkConfig,
        arithmetic: Arithmetic,
        device: str = "cpu",
    ) -> None:
        import torch

        self.config = config
        self.arithmetic = arithmetic
        self.device = device
        kind = arithmetic.dtype
        self._maps: dict[str, Callable[[Tensor], Tensor]] = {}
        for key, weight in tensors.items():
            name, _, part = key.rpartition(".")
            if part == "weight":
                finer = RESIDUAL_BITS - ACTIVATION_BITS if name.endswith(TO_RESIDUAL) else 0
                bits = tensors[name + ".bits"].to(torch.int32) - finer
                bias = tensors[name + ".bias"].to(device)
                self._maps[name] = arithmetic.linear(weight.to(device), bias, bits.to(device))
        self._position = {
            k: v.to(device=device, dtype=kind)
            for k, v in tensors.items()
            if k.endswith(".position")
        }
        self._exp = tensors["exp"].to(device=device, dtype=kind)
        self._compand = torch.from_numpy(COMPAND).to(device=device, dtype=kind)

    def _residual(self, name: str, x: Tensor) -> Tensor:
        """Map int8 activations to the residual stream's units of 1/64."""
        return self._maps[name](x).clamp_(-LIMIT, LIMIT)

    def _activation(self, name: str, x: Tensor, low: int, high: int) -> Tensor:
        """Map int8 activations to int8 activations."""
        return self._maps[name](x).clamp_(low, high)

    def _quantize(self, h: Tensor) -> Tensor:
        """Residual stream to int8 activations."""
        return self.arithmetic.shift(h, RESIDUAL_BITS - ACTIVATION_BITS).clamp_(
            -ACTIVATION_LIMIT, ACTIVATION_LIMIT
        )

    def _keys_values(self, name: str, h: Tensor) -> Tensor:
        kv = self._maps[name + ".keyvalue"](self._quantize(h))
        d = self.config.width
        kv[..., :d].clamp_(-KEY_LIMIT, KEY_LIMIT)
        kv[..., d:].clamp_(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        return kv

    def _attend(self, name: str, hq: Tensor, kv: Tensor, index: Tensor) -> Tensor:
        """Hq (B, blocks, n, d) residual stream; kv (B, tokens + 1, 2 d); index (blocks, keys)."""
        b, blocks, n, d = hq.shape
        heads = self.config.heads
        q = self._activation(
            name + ".query", self._quantize(hq), -ACTIVATION_LIMIT, ACTIVATION_LIMIT
        )
        near = kv.index_select(1, index.reshape(-1)).view(b * blocks, -1, 2, heads, d // heads)
        k = near[:, :, 0] + self._position[name + ".position"].view(1, -1, heads, d // heads)
        q = q.view(b * blocks, n, heads, d // heads).transpose(1, 2)
        logits = self.arithmetic.shift(q @ k.permute(0, 2, 3, 1), LOGIT_SHIFT)
        below = (logits.amax(-1, keepdim=True) - logits).clamp_(max=EXP_STEPS - 1)
        weight = self._exp[below.long()]
        mixed = self.arithmetic.divide_round(
            weight @ near[:, :, 1].transpose(1, 2), weight.sum(-1, keepdim=True, dtype=weight.dtype)
        )
        mixed = mixed.transpose(1, 2).reshape(b, blocks, n, d)
        return self._residual(name + ".out", mixed)

    def _mlp(self, name: str, h: Tensor) -> Tensor:
        mid = self._activation(name + ".up", self._quantize(h), 0, ACTIVATION_LIMIT)
        return self._residual(name + ".down", mid)

    def _known(self, symbols: Tensor) -> Tensor:
        return self._compand[self._position_of(symbols)]

    @staticmethod
    def _position_of(symbols: Tensor) -> Tensor:
        """Where symbols stand in the table of companded values."""
        return (symbols.long() * 8).clamp_(-U_LIMIT, U_LIMIT).add_(U_LIMIT)

    def steps(
        self,
        features: Tensor,
        candidates: Tensor,
        importance: Tensor,
        valid: Tensor,
        layout: TokenLayout,
    ) -> Steps:
        """Walk the coding order of one component of B units.

        Parameters
        ----------
        features : Tensor, (B, tokens, config.features) int8, memory order
        candidates : Tensor, (B, tokens, 64, n) int16, units of 1/8 step
        importance : Tensor, (B, tokens) uint8
        valid : Tensor, (tokens,) bool
            False for padding.
        layout : TokenLayout

        Yields
        ------
        (int, int, Tensor, Tensor)
            Group, phase, locations (units of 1/8 step) and scale indices of the step.
        """
        import torch

        kind = self.arithmetic.dtype
        b, tokens, _ = features.shape
        blocks, half = layout.blocks, tokens // 2
        trunk_keys = torch.from_numpy(layout.trunk_keys).to(self.device)
        step_keys = torch.from_numpy(layout.step_keys).to(self.device)
        mask = valid.to(device=self.device, dtype=kind)[None, :, None]

        def with_zero(kv: Tensor) -> Tensor:
            return torch.nn.functional.pad(kv * mask, (0, 0, 0, 1))

        def together(x: Tensor) -> Tensor:
            return torch.cat(
                [x[:, :half].view(b, blocks, 8, -1), x[:, half:].view(b, blocks, 8, -1)], 2
            )

        def apart(x: Tensor) -> Tensor:
            return torch.cat(
                [x[:, :, :8].reshape(b, half, -1), x[:, :, 8:].reshape(b, half, -1)], 1
            )

        h = self._residual("embed", features.to(device=self.device, dtype=kind))
        for k in range(self.config.trunk):
            name = f"trunk.{k}"
            kv = with_zero(self._keys_values(name, h))
            h = h + apart(self._attend(name, together(h), kv, trunk_keys))
            h = h + self._mlp(name, h)
        phase = [h[:, :half], h[:, half:]]
        symbols = torch.zeros(b, tokens, 64, dtype=torch.int32, device=self.device)
        importance = importance.to(self.device)
        candidates = candidates.to(device=self.device, dtype=kind)
        for g, (low, high) in enumerate(GROUPS):
            name, n = f"step.{g}", high - low
            halves = [self._keys_values(name, x) for x in phase]
            for p in (0, 1):
                rows = slice(p * half, (p + 1) * half)
                both = with_zero(torch.cat(halves, 1))
                hq = phase[p]
                hq = hq + self._attend(name, hq.view(b, blocks, 8, -1), both, step_keys).reshape(
                    b, half, -1
                )
                hq = hq + self._mlp(name, hq)
                out = self._residual(name + ".head", self._quantize(hq)).view(
                    b, half, 2 + self.config.gates, n
                )
                gates = out[:, :, 2:].clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
                moved = (gates[:, :, :-1] * candidates[:, rows, low:high].transpose(2, 3)).sum(
                    2, dtype=kind
                )
                if g < 2:
                    around = neighbor_candidates(symbols, importance, layout)[g]
                    moved = moved + gates[:, :, -1] * around[:, rows].to(kind)
                location = self.arithmetic.shift(8 * out[:, :, 0] + moved, RESIDUAL_BITS)
                scale = self.arithmetic.shift(
                    SCALE_OCTAVE * out[:, :, 1] + (SCALE_ZERO << RESIDUAL_BITS), RESIDUAL_BITS
                )
                location = location.clamp(-LOCATION_LIMIT, LOCATION_LIMIT).to(torch.int32)
                found = yield g, p, location, scale.clamp(0, SCALES - 1).to(torch.int32)
                symbols[:, rows, low:high] = found
                phase[p] = hq + self._residual(name + ".embed", self._known(found))
                if p == 0:
                    halves[0] = self._keys_values(name, phase[0])
