"""Products of 8-bit matrices, scaled, biased and rounded: on a native kernel, or on torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc.native import kernels

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Map = Callable[["Tensor"], "Tensor"]
Layer = tuple[Any, ...]
"""Columns, outputs, whether it rounds, offset, top, level; packed weights, scales, biases."""
DOTS_8 = 2
LEVEL: int = 0 if kernels is None else kernels.attention_level()
"""What the processor has for it: 2: 8-bit dot products, 1: 16-bit ones, 0: nothing fast."""

_MOST = 1024
# ^ rows from which on oneDNN is as fast, and may use several threads
_FEW = 160
# ^ rows up to which torch's plain product and separate passes cost less than oneDNN's fused ones
_LANES = 16
_LINE = 64


def product(
    weight: Tensor,
    scale: Tensor,
    bias: Tensor,
    dtype: torch.dtype,
    offset: int = 0,
    base: int = 0,
    top: int = 255,
) -> Map:
    """Prepare ``x -> round(x @ weight.T * scale + bias) + offset`` for uint8 ``x``.

    Parameters
    ----------
    weight : Tensor, (rows, columns) int8
    scale, bias : Tensor, (rows,) float32
    dtype : torch.dtype
        float32 (then nothing is rounded) or uint8 (saturated).
    offset : int
    base : int
        What ``x`` holds for zero; `bias` makes up for it.
    top : int
        The largest uint8 that comes out.
    """
    if not LEVEL:
        return torch_product(weight, scale, bias, dtype, offset, base, top)
    quick = native_product(weight, scale, bias, dtype, offset, top)
    if LEVEL < DOTS_8:
        return quick
        # ^ oneDNN's sums of 8-bit products may saturate on such processors
    many = torch_product(weight, scale, bias, dtype, offset, base, top)
    most = _MOST * weight.shape[1]
    return lambda x: (quick if x.numel() <= most else many)(x)


def torch_product(
    weight: Tensor,
    scale: Tensor,
    bias: Tensor,
    dtype: torch.dtype,
    offset: int = 0,
    base: int = 0,
    top: int = 255,
) -> Map:
    """Do what `product` does, without a native kernel."""
    import torch

    short = dtype == torch.uint8
    packed = torch.ops.onednn.qlinear_prepack(weight.contiguous(), None)
    zeros = torch.zeros(len(weight), dtype=torch.int32)
    run = torch.ops.onednn.qlinear_pointwise.default

    columns = weight.T
    few = _FEW if weight.shape[1] % 8 == 0 else 0
    # ^ torch._int_mm mistakes the layout of a matrix of one row
    narrow = bias + base * weight.float().sum(1) * scale + (offset + 0.5 - scale / 4) * short
    # ^ the same for int8 operands, with rounding down as the last step
    cut = short and top < 255

    def mapped(x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        if len(rows) <= few:
            signed = (rows ^ base).view(torch.int8) if base else rows.view(torch.int8)
            small = torch.addcmul(narrow, torch._int_mm(signed, columns).to(torch.float32), scale)
            if short:
                small = small.clamp_(0, top).to(torch.uint8)
            return small.view(*x.shape[:-1], -1)
        found: Tensor = run(
            x, 1.0, 0, packed, scale, zeros, bias, 1.0, offset, dtype, "none", [], ""
        )
        return found.clamp_(max=top) if cut else found

    return mapped


def native_product(
    weight: Tensor,
    scale: Tensor,
    bias: Tensor,
    dtype: torch.dtype,
    offset: int = 0,
    top: int = 255,
    level: int = LEVEL,
) -> Map:
    """Do what `product` does, by instructions of a level, 1 to `LEVEL`."""
    import torch

    assert kernels is not None
    multiply = kernels.multiply
    fixed = layer(weight, scale, bias, dtype, offset, top, level)
    outputs = len(weight)

    def mapped(x: Tensor) -> Tensor:
        out = torch.empty((*x.shape[:-1], outputs), dtype=dtype)
        multiply(fixed, x.contiguous().numpy(), out.numpy())
        return out

    return mapped


def layer(
    weight: Tensor,
    scale: Tensor,
    bias: Tensor,
    dtype: torch.dtype,
    offset: int = 0,
    top: int = 255,
    level: int = LEVEL,
) -> Layer:
    """Arrange a `product` as native kernels take it."""
    import torch

    outputs, columns = weight.shape
    room = (0, -outputs % _LANES)
    return (
        columns,
        outputs,
        int(dtype == torch.uint8),
        offset,
        top,
        level,
        _packed(weight.numpy(), level),
        _aligned(np.pad(scale.numpy(), room)),
        _aligned(np.pad(bias.numpy(), room)),
    )


def _packed(weight: npt.NDArray[np.int8], level: int) -> npt.NDArray[Any]:
    """Order weights (outputs, columns) as ``int8_product`` in kernels.h wants them."""
    outputs, columns = weight.shape
    padded = np.pad(weight, [(0, -outputs % _LANES), (0, -columns % 4)])
    lanes, depth, kind = (16, 4, np.int8) if level >= DOTS_8 else (8, 2, np.int16)
    cut = padded.reshape(len(padded) // lanes, lanes, -1, depth).transpose(0, 2, 1, 3)
    return _aligned(cut.astype(kind))


def _aligned(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Copy to where vectors do not straddle lines of the cache."""
    room = np.empty(x.nbytes + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    out = room[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    out[...] = x
    return out
