"""Candidate corrections from neighboring tokens of the same component (integer arithmetic)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stvc.model.architecture import GROUPS, TokenLayout

if TYPE_CHECKING:
    from torch import Tensor

_STEP_UP = (16, 23, 32, 45, 64)
_STEP_DOWN = (16, 11, 8, 6, 4)
# ^ 2**(class / 2) and its reciprocal in 1/16, see `quantize.importance_class`

_SLOPE = (
    # N, S, W, E, NW, NE, SW, SE, in 1/64: least squares on first frames of the training places
    (0, 0, 12, -12, 0, 0, 0, 0),
    (12, -12, 0, 0, 0, 0, 0, 0),
    (5, 5, 0, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 2, -3, -3, 2),
    (0, 0, 5, 5, 0, 0, 0, 0),
)
"""How the five lowest AC coefficients follow from differences of neighboring DCs."""

_LIMIT = 8191


def neighbor_candidates(symbols: Tensor, importance: Tensor, layout: TokenLayout) -> list[Tensor]:
    """What neighbors' residuals suggest, per frequency group.

    Parameters
    ----------
    symbols : Tensor, (B, tokens, 64) int32, memory order
        Only the DC is read. In the DC group only the white tokens' rows of the result mean
        anything, and they depend on black tokens alone.
    importance : Tensor, (B, tokens) uint8
    layout : TokenLayout

    Returns
    -------
    list of Tensor, (B, tokens, n) int32
        In units of 1/8 step of the receiving token; 0 where nothing is known.
    """
    import torch

    b, tokens, _ = symbols.shape
    around = Neighbors(importance, layout)
    out = [around.levels(symbols), around.slopes(symbols)]
    out += [
        torch.zeros(b, tokens, high - low, dtype=torch.int32, device=symbols.device)
        for low, high in GROUPS[2:]
    ]
    return out


class Neighbors:
    """What of the candidates depends on importance alone, for one component of B units.

    Parameters
    ----------
    importance : Tensor, (B, tokens) uint8
    layout : TokenLayout
    """

    def __init__(self, importance: Tensor, layout: TokenLayout) -> None:
        import torch

        device = importance.device
        coded = importance != 255
        level = torch.where(coded, importance, 0).int()
        self._up = torch.tensor(_STEP_UP, device=device, dtype=torch.int32)[level] * 8 * coded
        self._down = torch.tensor(_STEP_DOWN, device=device, dtype=torch.int32)[level]
        self._index = torch.from_numpy(layout.neighbors).to(device).reshape(-1)
        self._shape = (*importance.shape, 8)
        seen = self._near(coded.int())
        self._count = seen[..., :4].sum(-1, dtype=torch.int32).clamp_min_(1)
        self._seen = seen
        self._both = seen * coded[..., None]

    def _near(self, x: Tensor) -> Tensor:
        """Look up the neighbors of each token: (B, tokens) to (B, tokens, 8), 0 off the grid."""
        import torch

        return torch.nn.functional.pad(x, (0, 1)).index_select(1, self._index).view(self._shape)

    def _levels(self, symbols: Tensor) -> Tensor:
        """(B, tokens) DCs in units of 1/8 base step; below 2**19."""
        return (symbols[..., 0].clamp(-_LIMIT, _LIMIT) * self._up) >> 4

    def levels(self, symbols: Tensor) -> Tensor:
        """(B, tokens, 1) what the mean of black neighbors suggests for DCs of white tokens."""
        import torch

        near = self._near(self._levels(symbols))[..., :4] * self._seen[..., :4]
        mean = torch.div(near.sum(-1, dtype=torch.int32), self._count, rounding_mode="floor")
        first = (mean * self._down) >> 4
        first[:, : first.shape[1] // 2] = 0
        return first.clamp_(-_LIMIT, _LIMIT)[..., None]

    def slopes(self, symbols: Tensor) -> Tensor:
        """(B, tokens, 5) what differences of neighboring DCs suggest for the lowest ACs."""
        import torch

        dc = self._levels(symbols)
        difference = (self._near(dc) - dc[..., None]) * self._both
        columns = [
            torch.stack([difference[..., k] * w for k, w in enumerate(row) if w]).sum(
                0, dtype=torch.int32
            )
            for row in _SLOPE
        ]
        second = ((torch.stack(columns, -1) >> 6) * self._down[..., None]) >> 4
        return second.clamp_(-_LIMIT, _LIMIT)
