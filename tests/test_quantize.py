"""Steps, importance classes and the quantizer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvc.codec.quantize import (
    COARSE_CLASS,
    MAX_STEP_INDEX,
    MAX_SYMBOL,
    SKIPPED,
    STEP_OCTAVE,
    dequantize,
    importance_class,
    quantize,
    step_size,
    token_steps,
)

INDICES = np.arange(MAX_STEP_INDEX + 1)


def test_steps_are_monotone_integers_close_to_powers_of_two() -> None:
    steps = step_size(INDICES)
    assert steps.dtype == np.int64
    assert (np.diff(steps) >= 0).all()
    exact = 16 * 2.0 ** (INDICES / STEP_OCTAVE)
    assert np.abs(steps - exact).max() <= 0.5 * (1 + 1e-3) + exact.max() * 1e-5
    assert steps[0] == 16
    np.testing.assert_array_equal(steps[::STEP_OCTAVE], 16 << np.arange(15))


@given(st.integers(-(10**9), 10**9))
def test_absurd_steps_are_clipped(index: int) -> None:
    assert step_size(0) <= step_size(index) <= step_size(MAX_STEP_INDEX)


@given(
    st.lists(st.integers(-(2**25), 2**25), min_size=1, max_size=40),
    st.integers(0, MAX_STEP_INDEX),
    st.sampled_from([0.3, 0.36, 0.5]),
    st.tuples(st.integers(-7, 7), st.integers(-7, 7)),
)
def test_residuals_come_back_within_their_bin(
    values: list[int], index: int, dead_zone: float, shrink: tuple[int, int]
) -> None:
    residual, step = np.array(values), int(step_size(index))
    symbols = quantize(residual, np.full(residual.shape, step), dead_zone)
    assert symbols.dtype == np.int32
    assert np.abs(symbols).max() <= MAX_SYMBOL
    whole = np.abs(residual) // step < MAX_SYMBOL
    got = dequantize(symbols, np.full(residual.shape, step), shrink)
    limit = (1 - dead_zone) * step + np.abs(shrink).max() * step / 32 + 1
    assert np.abs(residual - got)[whole].max(initial=0) <= limit
    plain = dequantize(symbols, np.full(residual.shape, step), (0, 0))
    np.testing.assert_array_equal(plain, symbols.astype(np.int64) * step)
    np.testing.assert_array_equal(
        quantize(-residual, np.full(residual.shape, step), dead_zone), -symbols
    )
    np.testing.assert_array_equal(dequantize(-symbols, np.full(residual.shape, step), shrink), -got)


def test_rounding_to_nearest() -> None:
    values = np.array([-24, -8, -7, 0, 7, 8, 23, 24])
    assert quantize(values, np.full(8, 16), 0.5).tolist() == [-2, -1, 0, 0, 0, 1, 1, 2]


def test_reconstruction_points_move_toward_zero() -> None:
    symbols, steps = np.array([-2, -1, 0, 1, 2, 3], np.int32), np.full(6, 320)
    assert dequantize(symbols, steps, (4, 1)).tolist() == [-630, -280, 0, 280, 630, 950]
    assert dequantize(symbols, steps, (-4, 0)).tolist() == [-640, -360, 0, 360, 640, 960]


@pytest.mark.parametrize(
    ("clear", "expected"),
    [(64, 0), (48, 0), (47, 1), (24, 1), (23, 2), (12, 2), (11, 3), (6, 3), (5, 4), (1, 4)],
)
def test_importance_follows_the_share_of_clear_pixels(clear: int, expected: int) -> None:
    hidden = np.ones((8, 8), bool)
    hidden.flat[:clear] = False
    for coarse in (False, True):
        assert importance_class(hidden, coarse)[0, 0] == expected


def test_hidden_tokens_are_skipped_or_coarse() -> None:
    hidden = np.ones((16, 8), bool)
    hidden[:8] = False
    assert importance_class(hidden, False).tolist() == [[0], [SKIPPED]]
    assert importance_class(hidden, True).tolist() == [[0], [COARSE_CLASS]]


def test_steps_of_tokens() -> None:
    importance = np.array([[0, 1, 2, 3, 4, SKIPPED]], np.uint8)
    steps = token_steps(160, importance)[0]
    assert steps.tolist() == step_size(160 + np.array([0, 16, 32, 48, 64, 0])).tolist()
    assert steps[4] == 4 * steps[0]
