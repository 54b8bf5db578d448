"""The features and the network of `restoration` on native kernels: the same corrections."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.codec.transform import BLOCK, I32
from stvc.native import kernels

Network = tuple[npt.NDArray[Any], ...]
"""Weights of the three layers, then the biases and the bits of all."""

LEVEL: int = 0 if kernels is None else kernels.restoration_level()
"""What the processor has for it: 2: 8-bit dot products, 1: 16-bit ones, 0: nothing fast."""


@lru_cache(maxsize=1)
def network() -> Network:
    """The integer network, as ``rest_network`` in kernels.h wants it."""
    from stvc.codec.integer_layers import FINER
    from stvc.codec.restoration_network import weights

    layers = {name: tensor.numpy() for name, tensor in weights().items()}
    maps = [np.ascontiguousarray(layers[f"{k}.weight"], np.int8) for k in range(3)]
    bias = np.concatenate([layers[f"{k}.bias"] for k in range(3)]).astype(np.int32)
    bits = np.concatenate([layers[f"{k}.bits"] for k in range(3)]).astype(np.int8)
    bits[-1] -= FINER
    return *maps, bias, bits


def corrections(
    decoded: I32,
    predicted: I32,
    blocks: npt.NDArray[np.int8],
    reciprocal: int,
    level: int = LEVEL,
) -> I32:
    """Run the network.

    Parameters
    ----------
    decoded, predicted : array, (C, H, W) int32
        Components in units of 2**-4 DN.
    blocks : array, (C, 9, h, w) int8
        Features of whole blocks.
    reciprocal : int
        Units of 2**-25 of a step, see `stvc.codec.restoration`.
    level : int
        Instructions to use, 1 to `LEVEL`.

    Returns
    -------
    array, (C, H, W) int32
        Units of 2**-8 base step.
    """
    assert kernels is not None
    components, height, width = decoded.shape
    out = np.empty(decoded.shape, np.int32)
    kernels.corrections(
        *network(),
        (components, height // BLOCK, width // BLOCK),
        np.ascontiguousarray(decoded, np.int32),
        np.ascontiguousarray(predicted, np.int32),
        np.ascontiguousarray(blocks),
        reciprocal,
        level,
        out,
    )
    return out
