"""Trainable twin of the integer network: the same arithmetic with fake quantization.

Every rounding that integer inference performs on an operand of a matrix product is performed here
too (straight-through gradients), so that the exported integers lose nothing that training did not
already see.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stvc.model.architecture import (
    ACTIVATION_BITS,
    ACTIVATION_LIMIT,
    GROUPS,
    KEY_LIMIT,
    POSITION_LIMIT,
    QUERY,
    SCALE_OCTAVE,
    SCALE_ZERO,
    SCALES,
    STEP_HALO,
    TRUNK_HALO,
    NetworkConfig,
    TokenLayout,
)

_UNIT = float(1 << ACTIVATION_BITS)


class _Quantize(torch.autograd.Function):
    """Round to int8 units of 1/16 and clip; gradients pass where nothing was clipped."""

    @staticmethod
    def forward(ctx, x: Tensor, low: float, high: float, dtype: torch.dtype) -> Tensor:  # type: ignore[no-untyped-def]
        y = (x * _UNIT + 0.5).floor_()
        ctx.save_for_backward((y >= low) & (y <= high))
        ctx.source = x.dtype
        return (y.clamp_(low, high) / _UNIT).to(dtype)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        (inside,) = ctx.saved_tensors
        return (grad * inside).to(ctx.source), None, None, None


class _RoundWeight(torch.autograd.Function):
    """Round each output row to int8 times a power of two."""

    @staticmethod
    def forward(ctx, w: Tensor, dtype: torch.dtype) -> Tensor:  # type: ignore[no-untyped-def]
        scale = torch.exp2(row_bits(w).float())[:, None]
        return ((w * scale).round_().clamp_(-127, 127) / scale).to(dtype)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        return grad.float(), None


def row_bits(w: Tensor) -> Tensor:
    """(rows,) int: the largest k with ``|w| * 2**k <= 127`` for the whole row, 0 to 14."""
    largest = w.detach().abs().amax(1).clamp_min(1e-9)
    return torch.floor(torch.log2(127 / largest)).clamp(0, 14).int()


def quantize(
    x: Tensor, dtype: torch.dtype, limit: int = ACTIVATION_LIMIT, positive: bool = False
) -> Tensor:
    """Fake-quantize activations to int8 units of 1/16."""
    return _Quantize.apply(x, 0.0 if positive else -float(limit), float(limit), dtype)  # type: ignore[no-any-return]


class IntLinear(nn.Module):
    """Linear map whose weights will be int8 rows times powers of two."""

    def __init__(self, inputs: int, outputs: int, *, gain: float = 1.0, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * gain / math.sqrt(inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs) float32."""
        w = _RoundWeight.apply(self.weight, x.dtype)
        out = F.linear(x, w).float()
        return out if self.bias is None else out + self.bias


class Attention(nn.Module):
    """Attention of each query block over its own tokens and a halo."""

    def __init__(self, config: NetworkConfig, halo: int) -> None:
        super().__init__()
        d = config.width
        self.heads = config.heads
        self.query = IntLinear(d, d)
        self.keyvalue = IntLinear(d, 2 * d)
        self.out = IntLinear(d, d, gain=0.3)
        keys = (QUERY + 2 * halo) ** 2
        self.position = nn.Parameter(torch.randn(keys, d) * 0.3)
        self.dtype = torch.float32

    def keys_values(self, h: Tensor) -> Tensor:
        """(..., 2 d) quantized keys and values."""
        kv = self.keyvalue(quantize(h, self.dtype))
        k, v = kv.chunk(2, -1)
        return torch.cat([quantize(k, self.dtype, KEY_LIMIT), quantize(v, self.dtype)], -1)

    def forward(self, hq: Tensor, kv: Tensor, index: Tensor) -> Tensor:
        """Hq (B, blocks, n, d); kv (B, tokens + 1, 2 d); index (blocks, keys)."""
        b, blocks, n, d = hq.shape
        q = self.query(quantize(hq, self.dtype))
        q = quantize(q, self.dtype)
        near = kv.index_select(1, index.reshape(-1)).view(
            b * blocks, -1, 2, self.heads, d // self.heads
        )
        k, v = near[:, :, 0].transpose(1, 2), near[:, :, 1].transpose(1, 2)
        place = quantize(self.position, self.dtype, POSITION_LIMIT)
        k = k + place.view(1, -1, self.heads, d // self.heads).transpose(1, 2)
        q = q.view(b * blocks, n, self.heads, d // self.heads).transpose(1, 2)
        logits = torch.matmul(q, k.transpose(-1, -2))
        seen = torch.matmul((logits.float() / 8).softmax(-1).to(v.dtype), v)
        # ^ written out: the fused CPU kernel's backward pass takes half of the whole step
        seen = seen.transpose(1, 2).reshape(b, blocks, n, d)
        return self.out(quantize(seen.float(), self.dtype))


class Mlp(nn.Module):
    """Token-wise two-layer perceptron."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.up = IntLinear(config.width, config.hidden, gain=1.4)
        self.down = IntLinear(config.hidden, config.width, gain=0.3)
        self.dtype = torch.float32

    def forward(self, h: Tensor) -> Tensor:
        """Map the residual stream (..., d) to its increment."""
        mid = quantize(self.up(quantize(h, self.dtype)), self.dtype, positive=True)
        return self.down(mid)


class Step(nn.Module):
    """Decodes one frequency group."""

    def __init__(self, config: NetworkConfig, group: tuple[int, int]) -> None:
        super().__init__()
        n = group[1] - group[0]
        self.attention = Attention(config, STEP_HALO)
        self.mlp = Mlp(config)
        self.head = IntLinear(config.width, n * (2 + config.gates), gain=0.1)
        self.embed = IntLinear(n, config.width)
        with torch.no_grad():
            self.head.bias.view(2 + config.gates, n)[1] = -1.0


class ConditionalTransformer(nn.Module):
    """See `stvc.model.architecture`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = IntLinear(config.features, config.width, gain=1.0)
        self.trunk_attention = nn.ModuleList(
            Attention(config, TRUNK_HALO) for _ in range(config.trunk)
        )
        self.trunk_mlp = nn.ModuleList(Mlp(config) for _ in range(config.trunk))
        self.steps = nn.ModuleList(Step(config, g) for g in GROUPS)
        self.tail = nn.Parameter(torch.tensor([-2.0, 1.0]))
        # ^ logit of the wide component's weight; log2 of its scale over the narrow one

    def set_dtype(self, dtype: torch.dtype) -> None:
        """Choose the dtype of matrix products (bfloat16 holds int8 exactly)."""
        self.product = dtype
        for module in self.modules():
            if isinstance(module, (Attention, Mlp)):
                module.dtype = dtype

    def forward(
        self,
        features: Tensor,
        known: Tensor,
        candidates: Tensor,
        neighbors: list[Tensor],
        layout: TokenLayout,
        valid: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Location (in 1/8 steps) and scale index of every coefficient.

        features (B, tokens, F) int8 values / 16; known (B, tokens, 64) companded symbols / 16;
        candidates (B, tokens, 64, n) float in 1/8 steps; neighbors: per group (B, tokens, n)
        float in 1/8 steps (phase 0 of the DC group is ignored); valid (B, tokens, 1).
        """
        b, tokens, _ = features.shape
        blocks = layout.blocks
        trunk_keys = torch.from_numpy(layout.trunk_keys)
        step_keys = torch.from_numpy(layout.step_keys)
        # memory order is black tokens, white tokens; trunk queries want both of a block together
        h = self.embed(features.to(self.product))

        def together(x: Tensor) -> Tensor:
            return torch.cat(
                [
                    x[:, : tokens // 2].view(b, blocks, 8, -1),
                    x[:, tokens // 2 :].view(b, blocks, 8, -1),
                ],
                2,
            )

        def apart(x: Tensor) -> Tensor:
            return torch.cat(
                [x[:, :, :8].reshape(b, tokens // 2, -1), x[:, :, 8:].reshape(b, tokens // 2, -1)],
                1,
            )

        def with_zero(kv: Tensor) -> Tensor:
            return F.pad(kv * valid.to(kv.dtype), (0, 0, 0, 1))

        for attention, mlp in zip(self.trunk_attention, self.trunk_mlp, strict=True):
            kv = with_zero(attention.keys_values(h))
            h = h + apart(attention(together(h), kv, trunk_keys))
            h = h + mlp(h)
        half = tokens // 2
        phase = [h[:, :half], h[:, half:]]
        locations, scales = [], []
        for g, (low, high) in enumerate(GROUPS):
            step = self.steps[g]
            n = high - low
            kv = [step.attention.keys_values(x) for x in phase]
            found = []
            for p in (0, 1):
                both = with_zero(torch.cat(kv, 1))
                hq = phase[p]
                hq = hq + step.attention(hq.view(b, blocks, 8, -1), both, step_keys).reshape(
                    b, half, -1
                )
                hq = hq + step.mlp(hq)
                found.append(step.head(quantize(hq, self.product)).view(b, half, -1, n))
                mine = known[:, p * half : (p + 1) * half, low:high].to(self.product)
                phase[p] = hq + step.embed(mine)
                if p == 0:
                    kv[0] = step.attention.keys_values(phase[0])
            out = torch.cat(found, 1)
            gates = out[:, :, 2:].clamp(-127 / 64, 127 / 64)
            moved = (gates[:, :, :-1] * candidates[:, :, low:high].transpose(2, 3)).sum(2)
            moved = moved + gates[:, :, -1] * neighbors[g]
            locations.append(8 * out[:, :, 0] + moved)
            scales.append(SCALE_OCTAVE * out[:, :, 1] + SCALE_ZERO)
        return torch.cat(locations, -1), torch.cat(scales, -1).clamp(0, SCALES - 1)

    def bits(self, symbols: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        """Ideal code length of symbols (same shape) in bits."""
        x = symbols - location / 8
        inverse = torch.exp2((SCALE_ZERO - scale) / SCALE_OCTAVE)
        weight = torch.sigmoid(self.tail[0])
        narrow = _mass(x, inverse)
        wide = _mass(x, inverse * torch.exp2(-self.tail[1]))
        return -torch.log2((1 - weight) * narrow + weight * wide + 2.0**-20)


def _mass(x: Tensor, inverse_scale: Tensor) -> Tensor:
    """Probability of ``[x - 1/2, x + 1/2]`` under a logistic of scale ``1 / inverse_scale``."""
    x = -x.abs()
    # ^ both ends on the falling side: no cancellation of numbers close to 1
    return torch.sigmoid((x + 0.5) * inverse_scale) - torch.sigmoid((x - 0.5) * inverse_scale)
