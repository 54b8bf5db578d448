"""Shape of the conditional transformer entropy model: what it sees, in which order it codes.

A token is one 8x8 block of one spectral component. Components are coded one after the other; the
64 coefficients of a token in five frequency groups, coarse to fine; each group in two phases, the
black and the white tokens of a checkerboard, so that half of the tokens know their neighbors.

    features -> embed -> trunk layers -> h
    for each group, for each phase:  h -> attention over 6x6 tokens -> MLP -> head
                                     -> (location, scale) of every coefficient of the group
                                     symbols of the group -> embed -> added to h
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

GROUPS: tuple[tuple[int, int], ...] = ((0, 1), (1, 6), (6, 21), (21, 36), (36, 64))
"""Zigzag ranges of the frequency groups."""
QUERY = 4
"""Tokens per side of a query block."""
TRUNK_HALO = 2
STEP_HALO = 1
"""Tokens beyond the query block that its queries attend to."""

PREVIOUS_COMPONENTS = 3
SIDE_FEATURES = 32

ACTIVATION_BITS = 4
"""Activations are int8 in units of 1/16."""
RESIDUAL_BITS = 6
"""The residual stream and the heads are integers in units of 1/64."""
ACTIVATION_LIMIT = 127
KEY_LIMIT = 95
POSITION_LIMIT = 32
# ^ key plus position stays within int8
LOGIT_SHIFT = 7
# ^ q . k is in units of 1/256; logits are q . k / 8 in units of 1/16 nat

LOCATION_BITS = 3
"""Locations are integers in units of 1/8 step."""
SCALES = 56
SCALE_OCTAVE = 4
SCALE_ZERO = 18
"""Scale index ``i`` means ``2**((i - 18) / 4)`` steps."""


@dataclass(frozen=True)
class NetworkConfig:
    """Widths of the network; stored with the weights."""

    width: int = 128
    heads: int = 4
    hidden: int = 256
    trunk: int = 2
    references: int = 5
    """Planes of coefficients that a token sees: mean, recent, background, second, running mean."""
    candidates: int = 5
    """Corrections of the location: recent, background, mean, second, running mean."""

    @property
    def features(self) -> int:
        """Inputs of a token."""
        return 64 * (self.references + PREVIOUS_COMPONENTS) + SIDE_FEATURES

    @property
    def gates(self) -> int:
        """Candidate corrections, the one from neighboring tokens included."""
        return self.candidates + 1


@dataclass(frozen=True)
class TokenLayout:
    """Order of the tokens of an (h, w) grid in memory, and who attends to whom.

    Tokens are padded to whole query blocks; first come all black tokens, block by block, then all
    white ones. Index ``tokens`` (one past the end) is a token of zeros: everything off the grid.
    """

    blocks: int
    """Number of query blocks."""
    tokens: int
    """16 * blocks."""
    place: npt.NDArray[np.int64]
    """(tokens,) raster position in the (h, w) grid; h * w for padding."""
    order: npt.NDArray[np.int64]
    """(h * w,) memory index of each raster position."""
    trunk_keys: npt.NDArray[np.int64]
    """(blocks, 64) memory indices of the keys of each block in the trunk."""
    step_keys: npt.NDArray[np.int64]
    """(blocks, 36) the same in the steps."""
    neighbors: npt.NDArray[np.int64]
    """(tokens, 8) memory indices: N, S, W, E, NW, NE, SW, SE."""
    queries: npt.NDArray[np.int64]
    """(blocks, 16) memory indices of each block's own tokens, black ones first."""


@lru_cache(maxsize=32)
def token_layout(h: int, w: int) -> TokenLayout:
    """Lay out an (h, w) grid of tokens."""
    bh, bw = -(-h // QUERY), -(-w // QUERY)
    blocks = bh * bw
    rows, cols = np.mgrid[0 : bh * QUERY, 0 : bw * QUERY]
    block = (rows // QUERY) * bw + cols // QUERY
    black = (rows + cols) % 2 == 0
    inside = (rows % QUERY) * (QUERY // 2) + (cols % QUERY) // 2
    memory = block * 8 + inside + np.where(black, 0, blocks * 8)
    tokens = blocks * 16
    real = (rows < h) & (cols < w)
    place = np.full(tokens, h * w, np.int64)
    place[memory[real]] = (rows * w + cols)[real]
    order = memory[:h, :w].reshape(-1)
    edge = 2 * QUERY
    # ^ wide enough for every halo
    padded = np.full((bh * QUERY + 2 * edge, bw * QUERY + 2 * edge), tokens, np.int64)
    padded[edge : edge + h, edge : edge + w] = memory[:h, :w]

    def windows(halo: int) -> npt.NDArray[np.int64]:
        side = QUERY + 2 * halo
        view = np.lib.stride_tricks.sliding_window_view(padded, (side, side))
        start = edge - halo
        view = view[start : start + bh * QUERY : QUERY, start : start + bw * QUERY : QUERY]
        return np.ascontiguousarray(view.reshape(blocks, side * side))

    offsets = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
    around = np.stack(
        [padded[rows + edge + dy, cols + edge + dx] for dy, dx in offsets], -1
    ).reshape(-1, 8)
    neighbors = np.full((tokens, 8), tokens, np.int64)
    neighbors[memory.reshape(-1)] = around
    queries = np.concatenate(
        [
            np.arange(blocks * 8).reshape(blocks, 8),
            blocks * 8 + np.arange(blocks * 8).reshape(blocks, 8),
        ],
        1,
    )
    return TokenLayout(
        blocks, tokens, place, order, windows(TRUNK_HALO), windows(STEP_HALO), neighbors, queries
    )
