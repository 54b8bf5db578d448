"""What `Int8Network` does between its products: attention, sums, rounding, and the last step.

Here in torch; `NativePasses` does the same in C.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from stvc.model.architecture import (
    ACTIVATION_BITS,
    ACTIVATION_LIMIT,
    GROUPS,
    KEY_LIMIT,
    LOGIT_SHIFT,
    RESIDUAL_BITS,
    SCALE_OCTAVE,
    SCALE_ZERO,
    SCALES,
    NetworkConfig,
)
from stvc.model.arithmetic import Arithmetic
from stvc.model.features import COMPAND, U_LIMIT
from stvc.model.network import EXP_STEPS, LIMIT, LOCATION_LIMIT

if TYPE_CHECKING:
    from torch import Tensor

OFFSET = 128
"""Of activations in uint8."""
_CHUNK = 48
# ^ query blocks whose keys and logits stay in a core's cache


class Passes:
    """The passes of a network on 8-bit products.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        See `EntropyNetwork`.
    config : NetworkConfig
    """

    def __init__(self, tensors: Mapping[str, Tensor], config: NetworkConfig) -> None:
        import torch

        self.config = config
        self._exp = tensors["exp"].float()
        self._keys_offset = {
            name.removesuffix(".position"): position.float() - OFFSET
            for name, position in tensors.items()
            if name.endswith(".position")
        }
        self._compand8 = (torch.from_numpy(COMPAND).int() + OFFSET).to(torch.uint8)

    def begin(self, h: Tensor, *, clamped: bool) -> Tensor:
        """Round a residual stream down, in place, and return its activations.

        Parameters
        ----------
        h : Tensor, (B, n, d) float32
        clamped : bool
            Whether it might go beyond `LIMIT`.

        Returns
        -------
        Tensor, (B, n, d) uint8
        """
        return self._activations(self._rounded(h, clamped=clamped))

    def absorb(self, h: Tensor, added: Tensor, *, clamped: bool) -> Tensor:
        """Add what is to be rounded down to a residual stream, and return its activations.

        Parameters
        ----------
        h, added : Tensor, (B, n, d) float32
            Both are written to.
        clamped : bool
            Whether `added` might go beyond `LIMIT`.

        Returns
        -------
        Tensor, (B, n, d) uint8
        """
        return self._activations(h.add_(self._rounded(added, clamped=clamped)))

    @staticmethod
    def _rounded(x: Tensor, *, clamped: bool) -> Tensor:
        x.floor_()
        return x.clamp_(-LIMIT, LIMIT) if clamped else x

    @staticmethod
    def _activations(h: Tensor) -> Tensor:
        """Residual stream to uint8 activations."""
        import torch

        small = h * 2.0 ** (ACTIVATION_BITS - RESIDUAL_BITS)
        small.add_(OFFSET + 0.5).clamp_(OFFSET - ACTIVATION_LIMIT, OFFSET + ACTIVATION_LIMIT)
        # ^ rounding down is what the conversion does to positive numbers
        return small.to(torch.uint8)

    def keep(self, kv: Tensor, out: Tensor) -> None:
        """Write keys and values (B, n, 2 d) uint8, as products leave them, to where `mix` reads."""
        d = self.config.width
        kv[..., :d].clamp_(OFFSET - KEY_LIMIT, OFFSET + KEY_LIMIT)
        kv[..., d:].clamp_(min=OFFSET - ACTIVATION_LIMIT)
        out.copy_(kv)

    def mix(self, name: str, q: Tensor, kv: Tensor, index: Tensor) -> Tensor:
        """Attend.

        Parameters
        ----------
        name : str
            Of the layer.
        q : Tensor, (B, blocks, n, d) uint8
            Written to.
        kv : Tensor, (B, tokens + 1, 2 d) uint8
            Keys and values.
        index : Tensor, (blocks, keys) int64
            Tokens that queries of a block attend to.

        Returns
        -------
        Tensor, (B, blocks, n, d) uint8
        """
        import torch

        b, blocks, n, d = q.shape
        heads, dh = self.config.heads, self.config.width // self.config.heads
        position = self._keys_offset[name].view(1, -1, heads, dh)
        position = position.permute(2, 0, 1, 3)
        mixed = torch.empty(b * blocks, n, heads, dh, dtype=torch.uint8)
        q = q.clamp_(min=OFFSET - ACTIVATION_LIMIT).view(b * blocks, n, heads, dh)
        flat = kv.view(-1, 2 * d)
        keys = index.shape[1]
        if b > 1:
            start = torch.arange(b).view(b, 1, 1) * kv.shape[1]
            index = (index[None] + start).view(b * blocks, keys)
        for at in range(0, b * blocks, _CHUNK):
            rows = index[at : at + _CHUNK]
            count = len(rows)
            near = flat.index_select(0, rows.reshape(-1)).view(count, keys, 2, heads, dh)
            near = near.permute(2, 3, 0, 1, 4)
            # ^ one batch of small products for all heads wants them outermost
            k = torch.add(near[0], position, out=torch.empty(heads, count, keys, dh))
            v = torch.empty(heads, count, keys, dh).copy_(near[1])
            ask = torch.empty(heads, count, n, dh)
            ask.copy_(q[at : at + count].permute(2, 0, 1, 3))
            ask.sub_(OFFSET).mul_(2.0**-LOGIT_SHIFT)
            logits = torch.bmm(
                ask.view(heads * count, n, dh), k.view(heads * count, keys, dh).transpose(1, 2)
            )
            top = logits.amax(-1, keepdim=True).add_(0.5).floor_().add_(0.5 - 2.0**-LOGIT_SHIFT)
            below = torch.sub(top, logits, out=logits)
            # ^ cut to an integer it is round(top) - round(logit), both half up
            place = below.clamp_(max=EXP_STEPS - 1).to(torch.int32)
            weight = self._exp.index_select(0, place.view(-1)).view(logits.shape)
            total = weight.sum(-1, keepdim=True)
            out = torch.bmm(weight, v.view(heads * count, keys, dh))
            out = out.mul_(2).add_(total).div_(total.mul_(2)).floor_().view(ask.shape)
            # ^ see Arithmetic.divide_round; values carry their offset, so the result does
            mixed[at : at + count].copy_(out.permute(1, 2, 0, 3))
        return mixed.view(b, blocks, n, d)

    def place(
        self,
        heads: Tensor,
        candidates: Tensor,
        step: tuple[int, int],
        near: Tensor | None,
        *,
        clamped: bool,
    ) -> tuple[Tensor, Tensor]:
        """Make locations and scales of a step.

        Parameters
        ----------
        heads : Tensor, (B, tokens / 2, (2 + gates) n) float32
            What is to be rounded down: locations, scales, gates; written to.
        candidates : Tensor, (B, tokens, 64, gates - 1) int16
        step : (int, int)
            Group of n coefficients, and phase.
        near : Tensor or None, (B, tokens / 2, n) int32
            The last gate's candidate: what neighbors suggest.
        clamped : bool
            Whether `heads` might go beyond `LIMIT`.

        Returns
        -------
        (Tensor, Tensor)
            Locations and scale indexes, (B, tokens / 2, n) int32.
        """
        import torch

        (low, high), half = GROUPS[step[0]], heads.shape[1]
        out = self._rounded(heads, clamped=clamped)
        out = out.view(len(heads), half, 2 + self.config.gates, high - low)
        gate = out[:, :, 2:].clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        moves = candidates[:, step[1] * half :][:, :half, low:high].transpose(2, 3)
        moved = (gate[:, :, :-1].mul_(moves)).sum(2)
        if near is not None:
            moved += gate[:, :, -1] * near
        moved.add_(out[:, :, 0], alpha=8)
        location = Arithmetic("float32").shift(moved, RESIDUAL_BITS)
        scale = out[:, :, 1] * (SCALE_OCTAVE * 2.0**-RESIDUAL_BITS)
        scale.add_(SCALE_ZERO + 0.5).floor_().clamp_(0, SCALES - 1)
        location.clamp_(-LOCATION_LIMIT, LOCATION_LIMIT)
        return location.to(torch.int32), scale.to(torch.int32)

    def known(self, symbols: Tensor) -> Tensor:
        """Look up what the network is told of symbols (B, n, k) int32: uint8."""
        return self._compand8[(symbols.long() * 8).clamp_(-U_LIMIT, U_LIMIT).add_(U_LIMIT)]
