"""Traces of earlier processing: found where they are, not where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from traced_scenes import (
    COUNTING,
    MAKING,
    forward,
    in_half_precision,
    in_steps,
    inverse,
    texture,
    through_jpeg2000,
    transformed,
)

from stvc.codec.trace_choice import find_traces
from stvc.codec.trace_coefficients import (
    SUPPORT,
    class_of,
    coefficients,
    completed,
    constants_of,
)
from stvc.codec.trace_rules import BandTraces, Tellable

SHAPE = (40, 44)


def found_in(
    values: np.ndarray, hidden: np.ndarray | None = None, tellable: Tellable = COUNTING
) -> BandTraces:
    """What is found in an (H, W) band."""
    told, (found,) = find_traces(values[None], hidden, tellable)
    np.testing.assert_array_equal(told[0], values)
    return found


@given(st.integers(0, 1), st.integers(2, 9), st.integers(0, 99))
def test_the_transform_of_these_tests_comes_back(first: int, length: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 65536, (length, 3))
    np.testing.assert_array_equal(inverse(forward(values, first), first), values)


@pytest.mark.parametrize("phase", range(4))
def test_coefficients_are_those_of_the_transform(phase: int) -> None:
    values = np.random.default_rng(phase).integers(0, 65536, (24, 28))
    made = transformed(values, phase)
    even, left = phase >> 1, phase & 1
    y, x = (a.reshape(-1) for a in np.mgrid[even + 4 : 24 : 2, left + 4 : 28 : 2])
    reach = range(1 - SUPPORT, 1)
    around = np.stack([np.stack([values[y + k, x + j] for j in reach]) for k in reach])
    hh, lh, hl = coefficients(constants_of(around), values[y, x])
    np.testing.assert_array_equal(hh, made[y - 1, x - 1])
    np.testing.assert_array_equal(lh, made[y - 1, x - 2])
    np.testing.assert_array_equal(hl, made[y - 2, x - 1])


def test_classes_count_the_lowest_zero_bits() -> None:
    values = np.array([1, -1, 2, -2, 6, 4, -12, 8, 16, -24])
    assert class_of(values).tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]


def test_coefficients_need_all_their_pixels() -> None:
    shown = np.ones((8, 9), bool)
    shown[3, 4] = False
    hh, lh, hl = completed(shown)
    assert not hh[:2].any() and not hh[:, :2].any() and hh[2, 2]
    assert not lh[:, :4].any() and lh[2, 5] and not hl[:4].any() and hl[4, 2]
    assert not hh[3:6, 4:7].any() and hh[6, 4] and hh[3, 7]
    assert not lh[3:6, 4:9].any() and not hl[4:8, 4:7].any()
    assert not completed(np.ones((2, 9), bool)).any()


@pytest.mark.parametrize(
    ("level", "shift", "steps"), [(1500, 0, 1), (3500, 0, 1), (6000, 1000, 2), (400, 0, 0)]
)
def test_steps_are_found(level: int, shift: int, steps: int) -> None:
    values = in_steps(texture(1, SHAPE, level), shift)
    for tellable in (COUNTING, MAKING):
        found = found_in(values, None, tellable)
        assert found.phase is None
        assert bool(found.steps) == bool(steps)
        assert found.steps < 3


def test_the_knees_tell_whether_an_offset_was_taken_off() -> None:
    values = in_steps(texture(2, (80, 80), 3500, 400), 1000)
    assert found_in(values).steps == 2
    assert found_in(in_steps(texture(2, (80, 80), 4000, 400))).steps == 1


@pytest.mark.parametrize(
    ("level", "spread", "offset", "kept", "steps"),
    [
        (700, 40, 0, False, 3),
        (1100, 90, 0, False, 3),
        (3500, 300, 0, False, 3),
        (6000, 500, 0, False, 3),
        (700, 40, 1000, False, 4),
        (3500, 300, 1000, False, 4),
        (700, 40, 1000, True, 5),
        (3500, 300, 1000, True, 5),
    ],
)
def test_half_precision_is_found(
    level: int, spread: int, offset: int, kept: bool, steps: int
) -> None:
    values = in_half_precision(texture(3, (80, 80), level, spread, 64), offset)
    values = values if kept else values - offset
    assert found_in(values, None, MAKING) == BandTraces(steps)
    assert found_in(values).steps in (0, 1, 2)


def test_a_few_stray_pixels_do_not_hide_half_precision() -> None:
    values = in_half_precision(texture(3, (80, 80), 700, 40, 64))
    values[7, 8:11] = 65535, 3001, 65535
    assert found_in(values, None, MAKING) == BandTraces(3)


def test_half_precision_is_not_seen_where_it_was_not() -> None:
    for level in (700, 3500):
        assert found_in(texture(9, (80, 80), level, 60), None, MAKING) == BandTraces()


@pytest.mark.parametrize("phase", range(4))
@pytest.mark.parametrize("dropped", [(1, 0, 0), (2, 1, 1)])
def test_a_lossy_transform_is_found(phase: int, dropped: tuple[int, int, int]) -> None:
    values = through_jpeg2000(texture(3, (64, 72)), dropped, phase)
    assert found_in(values) == BandTraces(0, phase)
    assert found_in(values, None, MAKING) == BandTraces(0, phase)


@pytest.mark.parametrize("spread", [0, 0.6, 3, 60])
def test_nothing_is_found_where_nothing_was_done(spread: float) -> None:
    flat = texture(4, (64, 72), 700, spread)
    assert found_in(flat, None, MAKING).phase is None


def test_hidden_pixels_are_not_looked_at() -> None:
    values = in_steps(texture(5, SHAPE, 1500))
    hidden = np.zeros(values.shape, bool)
    hidden[:, 10:] = True
    values[hidden] = np.random.default_rng(5).integers(0, 65536, int(hidden.sum()))
    assert found_in(values, hidden).steps == 1
    for tellable in (COUNTING, MAKING):
        assert found_in(values, np.ones_like(hidden), tellable) == BandTraces()


def test_bright_values_by_chance_are_no_half_precision() -> None:
    for seed in range(12):
        clouds = texture(seed, (64, 64), 14000, 900)
        dark = np.maximum(texture(seed, (64, 64), 3, 3) - 2, 1)
        assert found_in(clouds, None, MAKING).steps == 0
        assert found_in(dark, None, MAKING).steps < 3
