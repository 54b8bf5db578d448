"""Registration in C: planes, and some of their blocks, are moved and compared as in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_kernels import needs_kernels, plain

from stvc import native
from stvc.codec import registration
from stvc.codec.registration import MAX_SHIFT

pytestmark = needs_kernels
SEEDS = st.integers(0, 2**32)
SHIFTS = st.integers(-MAX_SHIFT, MAX_SHIFT)


@given(
    st.tuples(st.integers(0, 3), st.integers(1, 20), st.integers(1, 20)),
    st.tuples(SHIFTS, SHIFTS),
    st.sampled_from([np.uint16, np.int32, np.int64]),
    st.booleans(),
    SEEDS,
)
def test_planes_are_moved_alike(
    shape: tuple[int, int, int], shift: tuple[int, int], dtype: type, extreme: bool, seed: int
) -> None:
    """Planes smaller than a filter as well, and those that ring beyond 16 bits."""
    rng = np.random.default_rng(seed)
    planes = rng.choice([0, 65535], shape) if extreme else rng.integers(0, 65536, shape)
    planes = planes.astype(dtype)
    found = registration.warp(planes, shift)
    wanted = plain(lambda: registration.warp(planes, shift), registration)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.int32


@given(
    st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 4)),
    st.tuples(SHIFTS, SHIFTS),
    st.booleans(),
    SEEDS,
)
def test_blocks_are_moved_alike(
    sizes: tuple[int, int, int], shift: tuple[int, int], extreme: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = sizes[0], 8 * sizes[1], 8 * sizes[2]
    planes = rng.choice([0, 65535], shape) if extreme else rng.integers(0, 65536, shape)
    tokens = rng.integers(0, sizes[1] * sizes[2], int(rng.integers(0, 9)))
    found = registration.warp_blocks(planes, shift, tokens)
    wanted = plain(lambda: registration.warp_blocks(planes, shift, tokens), registration)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype == np.int32


@pytest.mark.parametrize(
    "wrong",
    [
        {0: np.zeros(2 * 16 * 24 - 1, np.int32)},
        {0: np.full(2 * 16 * 24, 65536, np.int32)},
        {0: np.full(2 * 16 * 24, -1, np.int32)},
        {1: np.zeros(47, np.int32)},
        {1: np.full(48, 129, np.int32)},
        {2: (2, 16, 25)},
        {2: (2, 0, 24)},
        {2: (-2, 16, 24)},
        {2: (2, 2**40, 24)},
        {3: (2**16 + 1, 0)},
        {3: (0, -(2**16) - 1)},
        {4: np.array([0, 6])},
        {4: np.array([-1, 5])},
        {4: np.zeros(3, np.int64)},
        {5: np.zeros(2 * 2 * 64 + 1, np.int32)},
    ],
)
def test_blocks_that_are_none_are_refused(wrong: dict[int, object]) -> None:
    given = {
        0: np.zeros(2 * 16 * 24, np.int32),
        1: registration._FILTERS_32,
        2: (2, 16, 24),
        3: (1, -1),
        4: np.array([0, 5]),
        5: np.zeros(2 * 2 * 64, np.int32),
    }
    assert native.kernels is not None
    native.kernels.warp_blocks(*given.values())
    with pytest.raises(ValueError, match="outside of what it may be|aligned items"):
        native.kernels.warp_blocks(*(given | wrong).values())


@given(st.tuples(st.integers(3, 40), st.integers(3, 40)), st.floats(0, 1), SEEDS)
def test_equations_are_alike(shape: tuple[int, int], share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(3000, 900, (2, *shape)).astype(np.float32)
    target = registration.native_blur(first)
    np.testing.assert_allclose(target, registration.plain_blur(first), rtol=1e-6)
    moved = registration.native_blur(second)
    weight = rng.random(shape) < share
    found = registration.native_equations(target, moved, weight)
    np.testing.assert_allclose(
        found, registration.plain_equations(target, moved, weight), rtol=1e-6, atol=1e-3
    )


def test_one_value_everywhere_has_no_equations() -> None:
    flat = np.full((20, 20), 7, np.float32)
    assert not registration.native_equations(flat, flat, flat > 0).any()
    assert not registration.native_equations(flat, flat, flat < 0).any()
    assert registration.estimate_shift(flat, flat, flat > 0) == (0, 0)
