"""Sub-pixel registration: exact warps, honest estimates."""

from __future__ import annotations

import numpy as np
import pytest
import scenes
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stvc.codec.registration import FILTERS, MAX_SHIFT, SHIFT_UNITS, estimate_shift, warp

SHIFTS = st.tuples(*[st.integers(-MAX_SHIFT, MAX_SHIFT)] * 2)


def ground(seed: int = 0, shape: tuple[int, int] = (48, 56)) -> np.ndarray:
    """Smooth texture, one plane (H, W)."""
    field = scenes.texture(np.random.default_rng(seed), shape, 2.0)
    return np.clip(np.rint(2000 + 500 * field), 0, 65535).astype(np.int64)


def lanczos(planes: np.ndarray, shift: float, axis: int, taps: np.ndarray) -> np.ndarray:
    """Floating-point interpolation at ``position + shift / 8`` with given taps."""
    whole, phase = divmod(shift, SHIFT_UNITS)
    n = planes.shape[axis]
    total = np.zeros(planes.shape)
    for k in range(6):
        index = np.clip(np.arange(n) + whole + k - 2, 0, n - 1)
        total += planes.take(index, axis) * taps[phase, k]
    return total


def test_filters_are_lanczos_and_sum_to_one() -> None:
    assert (FILTERS.sum(1) == 128).all()
    t = np.arange(-2, 4)[None] - np.arange(8)[:, None] / 8
    taps = np.sinc(t) * np.sinc(t / 3)
    assert np.abs(FILTERS / 128 - taps / taps.sum(1, keepdims=True)).max() < 2 / 128
    np.testing.assert_array_equal(FILTERS[1:], FILTERS[:0:-1, ::-1])
    assert FILTERS[0].tolist() == [0, 0, 128, 0, 0, 0]


@given(st.integers(-2, 2), st.integers(-2, 2))
def test_whole_pixels_move_exactly(dy: int, dx: int) -> None:
    planes = ground()[None].astype(np.uint16)
    got = warp(planes, (8 * dy, 8 * dx))
    rows = np.clip(np.arange(48) + dy, 0, 47)
    columns = np.clip(np.arange(56) + dx, 0, 55)
    np.testing.assert_array_equal(got[0], planes[0][rows][:, columns])
    assert got.dtype == np.int32


@settings(max_examples=40)
@given(SHIFTS, st.integers(0, 9))
def test_fixed_point_follows_floating_point(shift: tuple[int, int], seed: int) -> None:
    planes = ground(seed)[None]
    exact = lanczos(lanczos(planes, shift[0], 1, FILTERS / 128), shift[1], 2, FILTERS / 128)
    assert np.abs(warp(planes, shift) - np.clip(exact, 0, 65535)).max() <= 1
    t = np.arange(-2, 4)[None] - np.arange(8)[:, None] / 8
    taps = np.sinc(t) * np.sinc(t / 3)
    taps /= taps.sum(1, keepdims=True)
    real = lanczos(lanczos(planes, shift[0], 1, taps), shift[1], 2, taps)
    assert np.abs(warp(planes, shift) - real).mean() < 3


@given(SHIFTS, st.sampled_from([0, 1, 9999, 65535]))
def test_constants_stay(shift: tuple[int, int], value: int) -> None:
    assert (warp(np.full((2, 8, 8), value), shift) == value).all()


@given(SHIFTS, st.integers(0, 2**32))
def test_extreme_values_are_clipped(shift: tuple[int, int], seed: int) -> None:
    planes = np.random.default_rng(seed).choice([0, 65535], (1, 16, 16))
    got = warp(planes, shift)
    assert got.min() >= 0
    assert got.max() <= 65535


@pytest.mark.parametrize("shift", [(0, 0), (3, -5), (-8, 2), (12, 12), (0, -13), (1, 0)])
def test_known_shifts_are_recovered(shift: tuple[int, int]) -> None:
    reference = ground(1, (96, 96))
    current = scenes.moved(reference, shift[0] / 8, shift[1] / 8)
    clear = np.ones(reference.shape, bool)
    clear[:9], clear[-9:], clear[:, :9], clear[:, -9:] = False, False, False, False
    # ^ the synthetic ground wraps around at its edges
    found = estimate_shift(current, reference, clear)
    assert np.abs(np.subtract(found, shift)).max() <= 1
    before = np.abs(current - reference)[clear].mean()
    after = np.abs(current - warp(reference[None], found)[0])[clear].mean()
    assert after <= before * 0.5 + 6


def test_clouds_and_haze_do_not_mislead() -> None:
    reference = ground(2, (96, 96))
    current = scenes.moved(reference, 0.5, -0.625) * 0.97 + 150
    clear = np.ones(reference.shape, bool)
    clear[20:50, 30:80] = False
    current[~clear] = 7000
    assert np.abs(np.subtract(estimate_shift(current, reference, clear), (4, -5))).max() <= 1


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 65535))
def test_estimates_stay_in_range(seed: int, high: int) -> None:
    rng = np.random.default_rng(seed)
    current, reference = rng.integers(0, high, (2, 24, 24), endpoint=True)
    found = estimate_shift(current, reference, rng.random((24, 24)) < 0.8)
    assert all(isinstance(v, int) and abs(v) <= MAX_SHIFT for v in found)


@pytest.mark.parametrize(
    "place",
    [
        np.full((32, 32), 500),
        np.tile(np.arange(32) * 50, (32, 1)),
        ground()[:15, :40],
        np.zeros((32, 32)),
    ],
    ids=["constant", "one direction", "too small", "zero"],
)
def test_too_little_to_see(place: np.ndarray) -> None:
    assert estimate_shift(place, place, np.ones(place.shape, bool)) == (0, 0)


def test_hidden_ground_is_not_looked_at() -> None:
    place = ground()
    assert estimate_shift(place, np.roll(place, 1, 0), np.zeros(place.shape, bool)) == (0, 0)


def test_the_blur_is_kornias() -> None:
    from kornia.filters import get_gaussian_kernel1d

    from stvc.codec.registration import _blur_kernel

    assert torch.equal(_blur_kernel(), get_gaussian_kernel1d(5, 1.0)[0])
