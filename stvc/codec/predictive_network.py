"""The pixel network: from what is known around pixels to mixtures of distributions.

Part of generations of the codec, not of an entropy model: lossless and bounded units are the same
whatever model an archive names. Dense integer layers of 8-bit weights.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.codec import integer_layers

if TYPE_CHECKING:
    from collections.abc import Callable

WEIGHTS = {
    5: (
        Path(__file__).parent / "pixels-1.safetensors",
        "b07f5df2a60e43d2e89420ef5c66bd01e176fc59af7a9b0ee128442f64a80dde",
    ),
    6: (
        Path(__file__).parent / "pixels-2.safetensors",
        "5c07701354a7afbe96f703e27a33b026b5a874e7b3ec6fb36762c3d76fba659b",
    ),
    7: (
        Path(__file__).parent / "pixels-3.safetensors",
        "96c84e25d2545fd7cd08de91879158b8916b9e7430eaa3e8509d7414cf5d20e3",
    ),
}
"""File and hash, by the first generation that has them."""


@lru_cache(maxsize=3)
def _layers(first: int) -> Callable[[npt.NDArray[np.int8]], npt.NDArray[np.int32]]:
    import torch

    from stvc.model.arithmetic import exact_products

    tensors = integer_layers.load_weights(*WEIGHTS[first])
    small, many = integer_layers.small_layers(tensors), integer_layers.layers(tensors)

    def found(seen: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
        if small is not None and len(seen) <= integer_layers.SMALL:
            return small(seen)
        with exact_products():
            return many(torch.from_numpy(seen)).numpy()

    return found


def outputs(seen: npt.NDArray[np.int8], generation: int) -> npt.NDArray[np.int32]:
    """Ask the network.

    Parameters
    ----------
    seen : array, (n, FEATURES) int8
        See `stvc.codec.predictive_context`.
    generation : int
        Of the codec, 5 or later.

    Returns
    -------
    array, (n, OUTPUTS) int32
        See `stvc.codec.predictive_mixture.mixture_of`.
    """
    return _layers(max(g for g in WEIGHTS if g <= generation))(seen)
