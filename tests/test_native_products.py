"""Products of 8-bit matrices in C: what exact integers say, and what torch says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from native_kernels import needs_kernels

from stvc import native
from stvc.model.int8 import usable
from stvc.model.int8_product import LEVEL, native_product, product, torch_product

pytestmark = [
    needs_kernels,
    pytest.mark.skipif(
        native.kernels is not None and LEVEL == 0, reason="this processor has no fast instructions"
    ),
]
Case = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
OFFSET = 128
SIZES = st.tuples(st.integers(0, 40), st.integers(1, 260), st.integers(1, 150))


def case(sizes: tuple[int, int, int], extreme: bool, seed: int) -> Case:
    """Inputs, weights, scales and integer biases; all sums stay within 24 bits."""
    rng = np.random.default_rng(seed)
    rows, columns, outputs = sizes
    x = rng.integers(0, 256, (rows, columns))
    weight = rng.integers(-128, 128, (outputs, columns))
    if extreme:
        x, weight = rng.choice([0, 255], x.shape), rng.choice([-128, 127], weight.shape)
    scale = 2.0 ** -rng.integers(-2, 15, outputs)
    bias = rng.integers(-(1 << 20), 1 << 20, outputs)
    return (
        torch.from_numpy(x.astype(np.uint8)),
        torch.from_numpy(weight.astype(np.int8)),
        torch.from_numpy(scale.astype(np.float32)),
        torch.from_numpy(bias),
    )


@given(SIZES, st.booleans(), st.integers(0, 2**32))
def test_sums_are_exact(sizes: tuple[int, int, int], extreme: bool, seed: int) -> None:
    x, weight, scale, bias = case(sizes, extreme, seed)
    wanted = (x.long() @ weight.long().T + bias).double() * scale.double()
    for level in range(1, LEVEL + 1):
        run = native_product(
            weight, scale, (bias * scale.double()).float(), torch.float32, level=level
        )
        assert torch.equal(run(x).double(), wanted)


@given(SIZES, st.booleans(), st.sampled_from([0, OFFSET]), st.integers(0, 255), st.integers(0, 99))
def test_bytes_are_rounded_half_up_and_cut(
    sizes: tuple[int, int, int], extreme: bool, offset: int, top: int, seed: int
) -> None:
    """A quarter of a unit of the sum, in the bias, turns rounding to even into half up."""
    x, weight, scale, bias = case(sizes, extreme, seed)
    bias %= 1 << 16
    exact = (x.long() @ weight.long().T + bias).double() * scale.double()
    wanted = torch.floor(exact + 0.5).add_(offset).clamp_(0, top)
    near = (bias * scale.double() + scale.double() / 4).float()
    for level in range(1, LEVEL + 1):
        run = native_product(weight, scale, near, torch.uint8, offset, top, level)
        assert torch.equal(run(x).double(), wanted)


@pytest.mark.skipif(not usable(), reason="no exact 8-bit products here")
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("rows", [1, 16, 160, 161, 1024, 1025])
@pytest.mark.parametrize("columns", [15, 128, 544])
def test_torch_says_the_same(rows: int, columns: int, dtype: torch.dtype) -> None:
    """Whichever does it, few rows and many; rows as they are used, in three dimensions."""
    x, weight, scale, bias = case((rows, columns, 40), False, rows)
    scale.clamp_(max=2**-6)
    near = (bias * scale.double() + scale.double() / 4 * (dtype == torch.uint8)).float()
    given = x.view(1, rows, columns)
    how = (weight, scale, near, dtype, OFFSET * (dtype == torch.uint8), OFFSET, 200)
    found = product(*how)(given)
    assert found.shape == (1, rows, 40)
    assert torch.equal(found, product(*how)(given.expand(2, -1, -1))[1:])
    if LEVEL > 1:
        assert torch.equal(found, torch_product(*how)(given))


def test_rows_need_not_lie_one_after_the_other() -> None:
    x, weight, scale, bias = case((9, 12, 7), False, 1)
    run = native_product(weight, scale, bias.float() * scale, torch.float32)
    assert torch.equal(run(x[::2]), run(x)[::2])


def arguments(**other: object) -> tuple[object, ...]:
    named = {
        "columns": 5,
        "outputs": 17,
        "rounded": 1,
        "offset": 128,
        "top": 255,
        "level": 1,
        "packed": np.zeros(32 * 2 * 8, np.uint8),
        "scale": np.zeros(32, np.float32),
        "bias": np.zeros(32, np.float32),
        "x": np.zeros(3 * 5, np.uint8),
        "out": np.zeros(3 * 17, np.uint8),
    }
    *fixed, x, out = (named | other).values()
    return tuple(fixed), x, out


@pytest.mark.parametrize(
    "wrong",
    [
        {"columns": 0},
        {"columns": 4},
        {"columns": (1 << 15) + 1},
        {"columns": 2**62},
        {"outputs": 0},
        {"outputs": 16},
        {"outputs": 2**62},
        {"offset": -1},
        {"offset": 256},
        {"top": -1},
        {"top": 256},
        {"rounded": 0},
        {"level": 0},
        {"level": LEVEL + 1},
        {"packed": np.zeros(32 * 2 * 8 - 1, np.uint8)},
        {"scale": np.zeros(17, np.float32)},
        {"bias": np.zeros(33, np.float32)},
        {"bias": np.zeros(32 * 4 + 1, np.uint8)[1:]},
        {"x": np.zeros(3 * 5 + 1, np.uint8)},
        {"out": np.zeros(3 * 17 - 1, np.uint8)},
        {"out": np.zeros(4 * 17, np.uint8)},
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(wrong: dict[str, object]) -> None:
    assert native.kernels is not None
    native.kernels.multiply(*arguments())
    with pytest.raises(ValueError, match=r"aligned items|outside of what"):
        native.kernels.multiply(*arguments(**wrong))
