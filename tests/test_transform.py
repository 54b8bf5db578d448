"""The block transform: exact in any order of summation, invertible, safe from bad cosines."""

from __future__ import annotations

from decimal import Decimal, getcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvc.codec import transform
from stvc.codec.transform import (
    BLOCK,
    KERNEL,
    RADIUS,
    ZIGZAG,
    blocks_of,
    forward,
    inverse,
    pad_to_blocks,
    planes_of,
)

getcontext().prec = 60
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494")


def cosine(x: Decimal) -> Decimal:
    """Taylor series, far beyond float64."""
    term = total = Decimal(1)
    for k in range(1, 60):
        term *= -x * x / ((2 * k - 1) * (2 * k))
        total += term
    return total


def exact_kernel() -> list[list[Decimal]]:
    """The scaled kernel with 50 digits."""
    one = [
        [
            cosine((2 * n + 1) * k * PI / 16) * (Decimal(1) / (8 if k == 0 else 4)).sqrt()
            for n in range(8)
        ]
        for k in range(8)
    ]
    rows = []
    for z in ZIGZAG.tolist():
        v, u = divmod(z, 8)
        rows.append([one[v][y] * one[u][x] * 2**18 for y in range(8) for x in range(8)])
    return rows


def test_no_cosine_is_near_a_rounding_boundary() -> None:
    """Any libm, however bad its last digits, rounds to the same integers."""
    for mine, row in zip(KERNEL, exact_kernel(), strict=True):
        for integer, value in zip(mine, row, strict=True):
            distance = abs(value - int(integer))
            assert distance < Decimal("0.4999")
    assert KERNEL.dtype == np.float64
    assert (np.rint(KERNEL) == KERNEL).all()


def test_kernel_is_orthonormal() -> None:
    product = KERNEL @ KERNEL.T / 2.0**36
    assert np.abs(product - np.eye(64)).max() < 3e-5


def test_zigzag_walks_all_positions_by_frequency() -> None:
    assert sorted(ZIGZAG.tolist()) == list(range(64))
    assert ZIGZAG[:6].tolist() == [0, 1, 8, 16, 9, 2]
    diagonal = ZIGZAG // 8 + ZIGZAG % 8
    assert (np.diff(diagonal) >= 0).all()
    steps = np.abs(np.diff(ZIGZAG // 8)) + np.abs(np.diff(ZIGZAG % 8))
    assert steps.max() <= 2
    assert (RADIUS[0], RADIUS[-1]) == (0, pytest.approx(7 * 2**0.5))


def in_python_integers(blocks: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    product = blocks.astype(object) @ kernel.astype(np.int64).astype(object)
    return (product + (1 << 17)) // (1 << 18)


@given(st.integers(0, 2**32), st.sampled_from([1, 2**8, 2**16, 2**20, 2**25 - 1]))
def test_float64_products_are_exact(seed: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    planes = rng.integers(-limit, limit, (2, 8, 16), endpoint=True)
    planes[0, :, :8] = np.where(rng.random((8, 8)) < 0.5, limit, -limit)
    coefficients = forward(planes)
    expected = in_python_integers(blocks_of(planes), KERNEL.T)
    np.testing.assert_array_equal(coefficients, expected.astype(np.int64))
    back = planes_of(in_python_integers(coefficients, KERNEL))
    if limit < 2**25 - 1:
        np.testing.assert_array_equal(inverse(coefficients), back.astype(np.int64))


@given(st.integers(0, 2**32), st.integers(1, 65535))
def test_round_trip(seed: int, largest: int) -> None:
    """Within a tenth of a DN for reflectances, two DN at the end of the range."""
    planes = np.random.default_rng(seed).integers(0, 16 * largest, (1, 16, 16), endpoint=True)
    miss = np.abs(inverse(forward(planes)) - planes).max()
    assert miss <= (4 if largest <= 10_000 else 32)


def test_constant_blocks_have_a_dc_only() -> None:
    coefficients = forward(np.full((1, 8, 8), 12345))
    assert coefficients[0, 0, 0, 0] == pytest.approx(8 * 12345, abs=1)
    assert np.abs(coefficients[..., 1:]).max() <= 1


@given(st.integers(1, 20), st.integers(1, 20))
def test_padding_repeats_edges(h: int, w: int) -> None:
    planes = np.arange(h * w).reshape(1, h, w)
    padded = pad_to_blocks(planes)
    assert padded.shape[1] % BLOCK == padded.shape[2] % BLOCK == 0
    np.testing.assert_array_equal(padded[:, :h, :w], planes)
    assert (padded[:, h:, :w] == planes[:, -1:]).all()
    assert (padded[:, :, w:] == padded[:, :, w - 1 : w]).all()


def test_blocks_and_planes_are_inverse() -> None:
    planes = np.arange(2 * 16 * 24).reshape(2, 16, 24)
    blocks = blocks_of(planes)
    assert blocks.shape == (2, 2, 3, 64)
    np.testing.assert_array_equal(blocks[1, 1, 2].reshape(8, 8), planes[1, 8:, 16:])
    np.testing.assert_array_equal(planes_of(blocks), planes)


def test_kernel_is_made_once() -> None:
    np.testing.assert_array_equal(transform._kernel(), KERNEL)
