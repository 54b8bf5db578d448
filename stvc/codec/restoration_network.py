"""The restoration network's weights, and its layers in torch; see `stvc.codec.restoration`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from stvc.codec import integer_layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

WEIGHTS = Path(__file__).parent / "restoration-1.safetensors"
SHA256 = "6ed998d3e880cac450ed2ff746bdb9f4e0db33ce33ea4637113d3d042ec8155b"


@lru_cache(maxsize=1)
def layers() -> Callable[[Tensor], Tensor]:
    """(N, 48) int8 to (N,) int32."""
    whole = integer_layers.layers(weights())
    return lambda x: whole(x)[:, 0]


def weights() -> dict[str, Tensor]:
    """Weight, bias and bits of the layers "0", "1" and "2"; the last one's bits lack `FINER`."""
    return integer_layers.load_weights(WEIGHTS, SHA256)
