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
    device = symbols.device
    coded = importance != 255
    level = torch.where(coded, importance, 0).long()
    up = torch.tensor(_STEP_UP, device=device)[level]
    down = torch.tensor(_STEP_DOWN, device=device)[level]
    dc = (symbols[..., 0].clamp(-_LIMIT, _LIMIT).long() * 8 * up) >> 4
    dc = torch.where(coded, dc, 0)
    index = torch.from_numpy(layout.neighbors).to(device).reshape(-1)
    wide = torch.nn.functional.pad(dc, (0, 1))[:, index].view(b, tokens, 8)
    seen = torch.nn.functional.pad(coded.long(), (0, 1))[:, index].view(b, tokens, 8)
    count = seen[..., :4].sum(-1)
    mean = torch.div(
        (wide[..., :4] * seen[..., :4]).sum(-1), count.clamp_min(1), rounding_mode="floor"
    )
    first = (mean * down) >> 4
    half = tokens // 2
    first = torch.cat([torch.zeros_like(first[:, :half]), first[:, half:]], 1)[..., None]
    slope = torch.tensor(_SLOPE, device=device)
    difference = (wide - dc[..., None]) * seen * coded[..., None]
    second = (((difference[:, :, None] * slope).sum(-1) >> 6) * down[..., None]) >> 4
    out = [first.clamp(-_LIMIT, _LIMIT).int(), second.clamp(-_LIMIT, _LIMIT).int()]
    out += [
        torch.zeros(b, tokens, high - low, dtype=torch.int32, device=device)
        for low, high in GROUPS[2:]
    ]
    return out
