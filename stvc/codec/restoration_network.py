"""The restoration network's weights, and its layers in torch; see `stvc.codec.restoration`."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from stvc import config
from stvc.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

LIMIT = 127
"""Activations and inputs are cut there."""
FINER = 2
"""Bits by which the last layer's output is finer than activations."""
WEIGHTS = Path(__file__).parent / "restoration-1.safetensors"
SHA256 = "6ed998d3e880cac450ed2ff746bdb9f4e0db33ce33ea4637113d3d042ec8155b"
"""Of the weights' values: what a generation decodes with never changes."""


@lru_cache(maxsize=1)
def layers() -> Callable[[Tensor], Tensor]:
    """(N, 48) int8 to (N,) int32."""
    import torch

    from stvc.model.arithmetic import Arithmetic
    from stvc.model.int8 import usable
    from stvc.model.int8_passes import OFFSET
    from stvc.model.int8_product import product

    tensors = weights()
    names = sorted({name.partition(".")[0] for name in tensors})
    if config.arithmetic() in ("fastest", "int8") and usable():
        maps = []
        for k, name in enumerate(names):
            weight = tensors[f"{name}.weight"]
            last = k == len(names) - 1
            bits = tensors[f"{name}.bits"].double() - (FINER if last else 0)
            scale = 2.0**-bits
            base = OFFSET if k == 0 else 0
            bias = tensors[f"{name}.bias"].double() - base * weight.double().sum(1)
            added = 0.5 if last else scale / 4
            # ^ a quarter of a unit turns rounding to even into rounding half up
            dtype = torch.float32 if last else torch.uint8
            maps.append(
                product(weight, scale.float(), (bias * scale + added).float(), dtype, 0, base)
            )

        def quick(x: Tensor) -> Tensor:
            h = x.view(torch.uint8) ^ OFFSET
            for one in maps[:-1]:
                h = one(h).clamp_(max=LIMIT)
            return maps[-1](h).floor_()[:, 0].to(torch.int32)

        return quick
    arithmetic = Arithmetic("int32" if config.arithmetic() == "int32" else "float32")
    plain = [
        arithmetic.linear(
            tensors[f"{name}.weight"],
            tensors[f"{name}.bias"],
            tensors[f"{name}.bits"] - (FINER if name == names[-1] else 0),
        )
        for name in names
    ]

    def slow(x: Tensor) -> Tensor:
        h = x.to(arithmetic.dtype)
        for one in plain[:-1]:
            h = one(h).clamp_(0, LIMIT)
        return plain[-1](h)[:, 0].to(torch.int32)

    return slow


def weights() -> dict[str, Tensor]:
    """Weight, bias and bits of the layers "0", "1" and "2"; the last one's bits lack `FINER`."""
    from safetensors.torch import load_file

    tensors = load_file(WEIGHTS)
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    if digest.hexdigest() != SHA256:
        raise ModelError(f"{WEIGHTS} is damaged; install stvc again")
    return tensors
