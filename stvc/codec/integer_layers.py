"""Small dense networks that belong to a generation of the codec: integer layers in torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc import config
from stvc.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LIMIT = 127
"""Activations and inputs are cut there."""
FINER = 2
"""Bits by which the last layer's output is finer than activations."""
SMALL = 1024
"""Rows up to which native kernels are as fast as torch."""


def load_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read ``weight``, ``bias`` and ``bits`` of the layers "0", "1", ...; bits lack `FINER`.

    Raises
    ------
    ModelError
        If their values are not those of the hash: what a generation decodes with never changes.
    """
    from safetensors.torch import load_file

    tensors = load_file(path)
    if content_hash(tensors) != sha256:
        raise ModelError(f"{path} is damaged; install stvc again")
    return tensors


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()


def layers(tensors: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Prepare the layers of `load_weights`: (N, inputs) int8 to (N, outputs) int32."""
    import torch

    from stvc.model.arithmetic import Arithmetic
    from stvc.model.int8 import usable
    from stvc.model.int8_passes import OFFSET
    from stvc.model.int8_product import product

    names = sorted({name.partition(".")[0] for name in tensors})
    if config.arithmetic() in ("fastest", "int8") and usable():
        maps = [product(*one) for one in _products(tensors)]

        def quick(x: Tensor) -> Tensor:
            h = x.view(torch.uint8) ^ OFFSET
            for one in maps:
                h = one(h)
            return h.floor_().to(torch.int32)

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
        return plain[-1](h).to(torch.int32)

    return slow


def small_layers(
    tensors: Mapping[str, Tensor],
) -> Callable[[npt.NDArray[np.int8]], npt.NDArray[np.int32]] | None:
    """`layers` for at most `SMALL` rows, without torch's cost per call; None: no kernels for it."""
    import torch

    from stvc.model.int8 import usable
    from stvc.model.int8_passes import OFFSET
    from stvc.model.int8_product import LEVEL, layer
    from stvc.native import kernels

    if kernels is None or not LEVEL or config.arithmetic() not in ("fastest", "int8"):
        return None
    if not usable():
        return None
    multiply = kernels.multiply
    fixed = []
    for weight, scale, bias, dtype, offset, _, top in _products(tensors):
        kind = np.uint8 if dtype == torch.uint8 else np.float32
        fixed.append((layer(weight, scale, bias, dtype, offset, top), len(weight), kind))

    def quick(x: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
        h: npt.NDArray[np.generic] = x.view(np.uint8) ^ np.uint8(OFFSET)
        for one, outputs, kind in fixed:
            out = np.empty((len(x), outputs), kind)
            multiply(one, h, out)
            h = out
        return np.asarray(np.floor(h), np.int32)

    return quick


def _products(
    tensors: Mapping[str, Tensor],
) -> list[tuple[Tensor, Tensor, Tensor, torch.dtype, int, int, int]]:
    """Arguments of `stvc.model.int8_product.product`, layer by layer."""
    import torch

    from stvc.model.int8_passes import OFFSET

    names = sorted({name.partition(".")[0] for name in tensors})
    found = []
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
        found.append((weight, scale.float(), (bias * scale + added).float(), dtype, 0, base, LIMIT))
    return found
