"""The entropy network on 8-bit integer products (VNNI and its like), a few times faster.

Activations are uint8 with an offset of 128; a native kernel, or oneDNN, multiplies them by int8
weights into int32, scales each row by a power of two, adds a bias and rounds, all in one pass.
Every intermediate value that matters is an integer multiple of a power of two within 24 bits, so
that nothing depends on the order of summation; `usable` tries it out on extreme operands, since
oneDNN may saturate on the way on CPUs without 8-bit dot products. The float32 network in
`stvc.model.network` is what it must equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from stvc.model.architecture import (
    ACTIVATION_BITS,
    ACTIVATION_LIMIT,
    GROUPS,
    RESIDUAL_BITS,
    NetworkConfig,
    TokenLayout,
)
from stvc.model.arithmetic import Arithmetic
from stvc.model.int8_native import passes
from stvc.model.int8_passes import OFFSET
from stvc.model.int8_product import DOTS_8, LEVEL, Map, product, torch_product
from stvc.model.neighbors import Neighbors
from stvc.model.network import LIMIT, TO_RESIDUAL, EntropyNetwork, Steps

if TYPE_CHECKING:
    from torch import Tensor

_EXACT = 1 << 24
_TRIALS = ((16, 544, 128), (48, 128, 256), (331, 256, 128), (8, 1, 128), (8, 15, 128))
# ^ rows, columns, outputs of the products that are tried out
_MAKERS = (product, torch_product) if LEVEL >= DOTS_8 else (product,)


@lru_cache(maxsize=1)
def usable() -> bool:
    """Whether this machine and this torch multiply 8-bit integers exactly, and faster."""
    import time

    import torch

    generator = torch.Generator().manual_seed(1)
    try:
        for rows, columns, out in _TRIALS:
            for make, extreme in itertools.product(_MAKERS, (True, False)):
                x = torch.randint(0, 256, (rows, columns), generator=generator)
                w = torch.randint(-127, 128, (out, columns), generator=generator)
                if extreme:
                    x, w = torch.full_like(x, 255), torch.sign(w) * 127
                    w[: out // 2] = 127 if columns < 257 else w[: out // 2]
                bits = torch.randint(6, 14, (out,), generator=generator)
                scale = 2.0 ** -bits.float()
                bias = torch.randint(-4096, 4096, (out,), generator=generator).float() * scale
                exact = ((x - OFFSET) @ w.T).double() * scale.double() + bias.double()
                shifted = bias - OFFSET * w.float().sum(1) * scale
                weight, given = w.to(torch.int8), x.to(torch.uint8)
                plain = make(weight, scale, shifted, torch.float32, 0, OFFSET)(given)
                if not torch.equal(plain.double(), exact):
                    return False
                near = shifted + scale / 4
                short = make(weight, scale, near, torch.uint8, OFFSET, OFFSET)(given)
                wanted = torch.floor(exact + 0.5).add_(OFFSET).clamp_(0, 255)
                if not torch.equal(short.double(), wanted):
                    return False
        x = torch.full((512, 256), 100, dtype=torch.uint8)
        weight = torch.ones(256, 256, dtype=torch.int8)
        ones = torch.ones(256)
        quick = product(weight, ones, ones, torch.float32)
        slow_x, slow_w = x.float(), weight.float()

        def cost(run: Callable[[], object]) -> float:
            best = float("inf")
            for _ in range(4):
                start = time.thread_time()
                run()
                best = min(best, time.thread_time() - start)
            return best

        return cost(lambda: quick(x)) < cost(lambda: torch.mm(slow_x, slow_w))
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


class Int8Network(EntropyNetwork):
    """`EntropyNetwork` on 8-bit products; CPU only.

    Raises
    ------
    OverflowError
        If the weights are so large that 24 bits might not do: use float32 then.
    """

    def __init__(self, tensors: Mapping[str, Tensor], config: NetworkConfig) -> None:

        super().__init__(tensors, config, Arithmetic("float32"))
        self._fast: dict[str, Map] = {}
        self._clamped: dict[str, bool] = {}
        for key, weight in tensors.items():
            name, _, part = key.rpartition(".")
            if part == "weight":
                self._prepare(
                    name, weight, tensors[name + ".bias"].double(), tensors[name + ".bits"]
                )
        self.passes = passes(tensors, config)

    def _prepare(self, name: str, weight: Tensor, bias: Tensor, bits: Tensor) -> None:
        import torch

        residual = name.endswith(TO_RESIDUAL)
        bits = bits.double() - (RESIDUAL_BITS - ACTIVATION_BITS if residual else 0)
        scale = 2.0**-bits
        magnitude = weight.double().abs().sum(1)
        base = 0 if name.endswith(".down") else OFFSET
        shifted = bias - base * weight.double().sum(1)
        reach = (magnitude * ACTIVATION_LIMIT + bias.abs() + 1) * scale
        if (
            float(magnitude.max()) * 255 >= _EXACT
            or float(shifted.abs().max()) * 4 >= _EXACT
            or float((reach * 2.0 ** bits.clamp_min(0)).max()) >= _EXACT / 2
            or float(bits.max()) > 14
        ):
            raise OverflowError(name)
        if residual:
            added, dtype, offset = torch.full_like(scale, 0.5), torch.float32, 0
            self._clamped[name] = float(reach.max()) >= LIMIT
        else:
            # a quarter of a unit turns rounding to even into rounding half up
            added, dtype, offset = scale / 4, torch.uint8, 0 if name.endswith(".up") else OFFSET
        top = ACTIVATION_LIMIT + offset
        self._fast[name] = product(
            weight, scale.float(), (shifted * scale + added).float(), dtype, offset, base, top
        )

    def _absorb(self, name: str, h: Tensor, x: Tensor) -> Tensor:
        """Add a layer's outputs to a residual stream, and return its activations."""
        return self.passes.absorb(h, self._fast[name](x), clamped=self._clamped[name])

    def _key_value(self, name: str, x: Tensor, out: Tensor) -> None:
        """Write keys and values of activations (B, n, d) to (B, n, 2 d) uint8."""
        self.passes.keep(self._fast[name + ".keyvalue"](x), out)

    def _mix(self, name: str, x: Tensor, kv: Tensor, index: Tensor) -> Tensor:
        """Attention of activations x (B, blocks, n, d) uint8 to kv (B, tokens + 1, 2 d) uint8."""
        q = self._fast[name + ".query"](x.reshape(-1, self.config.width))
        return self.passes.mix(name, q.view(x.shape), kv, index)

    def _expand(self, name: str, h: Tensor, x: Tensor) -> Tensor:
        return self._absorb(name + ".down", h, self._fast[name + ".up"](x))

    def steps(
        self,
        features: Tensor,
        candidates: Tensor,
        importance: Tensor,
        valid: Tensor,
        layout: TokenLayout,
    ) -> Steps:
        """Walk the coding order; see `EntropyNetwork.steps`."""
        import torch

        b, tokens, _ = features.shape
        d, passes = self.config.width, self.passes
        blocks, half = layout.blocks, tokens // 2
        trunk_keys = torch.from_numpy(layout.trunk_keys)
        step_keys = torch.from_numpy(layout.step_keys)
        kv = torch.empty(b, tokens + 1, 2 * d, dtype=torch.uint8)
        kv[:, tokens] = OFFSET
        # ^ tokens off the grid are never keys but through this row

        # int8 to uint8 with offset: the highest bit turns over
        h = self._fast["embed"](features.contiguous().view(torch.uint8) ^ OFFSET)
        x = passes.begin(h, clamped=self._clamped["embed"])
        for layer in range(self.config.trunk):
            name = f"trunk.{layer}"
            self._key_value(name, x, kv[:, :tokens])
            ask = x.view(b, 2, blocks, 8, d).transpose(1, 2).reshape(b, blocks, 16, d)
            mixed = self._mix(name, ask, kv, trunk_keys)
            mixed = mixed.view(b, blocks, 2, 8, d).transpose(1, 2).reshape(b, tokens, d)
            x = self._expand(name, h, self._absorb(name + ".out", h, mixed))
        candidates = candidates.contiguous()
        phase = [h[:, :half].contiguous(), h[:, half:].contiguous()]
        asks = [x[:, :half].contiguous(), x[:, half:].contiguous()]
        symbols = torch.zeros(b, tokens, 64, dtype=torch.int32)
        around = Neighbors(importance, layout)
        for g, (low, high) in enumerate(GROUPS):
            name = f"step.{g}"
            for p in (0, 1):
                rows = slice(p * half, (p + 1) * half)
                if p == 0:
                    self._key_value(name, asks[0], kv[:, :half])
                    self._key_value(name, asks[1], kv[:, half:tokens])
                hq = phase[p]
                mixed = self._mix(name, asks[p].view(b, blocks, 8, d), kv, step_keys)
                x = self._absorb(name + ".out", hq, mixed.view(b, half, d))
                out = self._fast[name + ".head"](self._expand(name, hq, x))
                near = None
                if (g, p) == (0, 1):
                    near = around.levels(symbols)[:, half:]
                elif g == 1:
                    if p == 0:
                        slopes = around.slopes(symbols)
                    near = slopes[:, rows]
                clamped = self._clamped[name + ".head"]
                location, scale = passes.place(out, candidates, (g, p), near, clamped=clamped)
                found = yield g, p, location, scale
                symbols[:, rows, low:high] = found
                if g == len(GROUPS) - 1 and p == 1:
                    return
                asks[p] = self._absorb(name + ".embed", hq, passes.known(found))
                if p == 0:
                    self._key_value(name, asks[0], kv[:, :half])
