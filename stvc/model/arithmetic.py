"""Exact integer arithmetic on top of torch, in int32 or in float32.

A float32 tensor that holds integers below 2**24 multiplies and adds exactly in any order, so both
back ends give the same bits on any thread count, any BLAS, any CPU level. int32 is the reference;
float32 is what ordinary CPUs do fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stvc.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

NAMES = ("float32", "int32")


@contextmanager
def exact_products() -> Iterator[None]:
    """Shield integer arithmetic from what a user's program has set in torch.

    Reduced matrix precision and autocast would multiply in bfloat16; gradients would cost memory,
    and being ready for them an eighth of the time of many small products.
    """
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.inference_mode(),
            torch.autocast("cpu", enabled=False),
            torch.autocast("cuda", enabled=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@dataclass(frozen=True)
class Arithmetic:
    """How integers are represented and multiplied."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ConfigError(f"unknown arithmetic {self.name!r}; choose one of {', '.join(NAMES)}")

    @property
    def dtype(self) -> torch.dtype:
        """Dtype that holds the integers."""
        import torch

        return torch.float32 if self.name == "float32" else torch.int32

    def linear(self, weight: Tensor, bias: Tensor, bits: Tensor) -> Callable[[Tensor], Tensor]:
        """Prepare ``x -> (x @ weight.T + bias) / 2**bits``, rounding half up.

        Parameters
        ----------
        weight : Tensor, (rows, columns) int8
        bias : Tensor, (rows,) int32
        bits : Tensor, (rows,) int8, may be negative
            ``|x| @ |weight| + |bias|`` must stay below 2**23 for all x that will come.
        """
        import torch

        amount = bits.to(torch.int32)
        if self.name == "float32":
            powers = torch.tensor(
                [2.0 ** -int(k) for k in amount], dtype=torch.float32, device=weight.device
            )
            matrix = (weight.float() * powers[:, None]).T.contiguous()
            offset = bias.float() * powers + 0.5
            # ^ a power of two moves no bit of a mantissa: the product is as exact as without it

            def scaled(x: Tensor) -> Tensor:
                rows = x.reshape(-1, x.shape[-1])
                return torch.addmm(offset, rows, matrix).floor_().view(*x.shape[:-1], -1)

            return scaled
        plain = weight.to(torch.int32).T.contiguous()
        return lambda x: self._shift_right(x @ plain + bias, amount)

    def divider(self, bits: Tensor) -> Callable[[Tensor], Tensor]:
        """Prepare ``x -> x / 2**bits`` of each row (the last axis), rounding half up.

        Parameters
        ----------
        bits : Tensor, (rows,) int32, may be negative
            For integers below 2**23.
        """
        import torch

        if self.name == "float32":
            powers = torch.tensor([2.0 ** -int(k) for k in bits], device=bits.device)
            return lambda x: torch.floor(x * powers + 0.5)
        return lambda x: self._shift_right(x, bits)

    def shift(self, x: Tensor, bits: int) -> Tensor:
        """Divide integers below 2**23 by ``2**bits``, rounding half up."""
        import torch

        if self.name == "float32":
            return torch.floor(x * 2.0**-bits + 0.5)
        return (x + (1 << bits >> 1)) >> bits

    @staticmethod
    def _shift_right(x: Tensor, amount: Tensor) -> Tensor:
        import torch

        right, left = amount.clamp_min(0), (-amount).clamp_min(0)
        half = (torch.ones_like(right) << right) >> 1
        return torch.where(amount >= 0, (x + half) >> right, x << left)

    def divide_round(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        """Round ``numerator / denominator`` half up; ``denominator > 0``.

        In float32 the correctly rounded quotient of ``(2 n + d) / (2 d)`` has the right floor as
        long as the result stays below 256 and ``d`` below 2**15: a quotient that is not an integer
        is at least ``1 / (2 d)`` away from one, more than half a unit in the last place.
        """
        import torch

        top, bottom = 2 * numerator + denominator, 2 * denominator
        if self.name == "float32":
            return torch.floor(top / bottom)
        return torch.div(top, bottom, rounding_mode="floor")
