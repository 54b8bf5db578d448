"""Masks: which classes hide the ground, and how they come to a band group's grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvc.errors import CorruptInputError
from stvc.masks import SCL_MEANINGS, SCL_UNCLEAR, hidden, hidden_on_grid
from stvc.types import GroupGrid, MaskGrid


def axis(count: int, gsd: float, start: float = 0.0, sign: int = 1) -> np.ndarray:
    """Centers of `count` pixels whose first edge is `start`."""
    return start + sign * gsd * (np.arange(count) + 0.5)


def group(y: np.ndarray, x: np.ndarray) -> GroupGrid:
    return GroupGrid(suffix="", bands=("a", "b"), y=y, x=x)


def test_scene_classes_that_hide_the_ground() -> None:
    classes = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert set(np.flatnonzero(hidden(classes, "SCL"))) == {0, 1, 3, 8, 9, 10} == SCL_UNCLEAR
    assert [SCL_MEANINGS[c] for c in (3, 8, 10, 11)] == [
        "cloud_shadow",
        "cloud_medium_probability",
        "thin_cirrus",
        "snow_or_ice",
    ]
    assert len(SCL_MEANINGS) == 12


def test_other_kinds() -> None:
    classes = np.array([[[0, 1], [2, 0]]], np.uint8)
    assert hidden(classes, "mask").tolist() == [[[False, True], [True, False]]]
    assert not hidden(classes, "none").any()
    with pytest.raises(CorruptInputError, match="mask kind 'qa' is unknown"):
        hidden(classes, "qa")


def test_no_mask_hides_nothing() -> None:
    nothing = MaskGrid("none", "", np.zeros(0), np.zeros(0))
    grid = group(axis(3, 10), axis(5, 10))
    got = hidden_on_grid(hidden(np.zeros((4, 0, 0), np.uint8), "none"), nothing, grid)
    assert got.shape == (4, 3, 5)
    assert not got.any()


def test_the_same_grid_costs_no_copy() -> None:
    y, x = axis(3, 10, sign=-1), axis(5, 10)
    unclear = np.random.default_rng(0).random((2, 3, 5)) < 0.5
    assert hidden_on_grid(unclear, MaskGrid("mask", "", y, x), group(y.copy(), x)) is unclear


@given(
    factor=st.integers(1, 6),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    finer=st.booleans(),
    falling=st.tuples(st.sampled_from([-1, 1]), st.sampled_from([-1, 1])),
    gsd=st.sampled_from([10.0, 20.0, 0.1, 1e-4]),
    start=st.sampled_from([0.0, 5271987.577, -3e6]),
    seed=st.integers(0, 2**32),
    noise=st.sampled_from([0.0, 1e-9]),
)
def test_nested_grids_repeat_or_pool(
    factor: int,
    height: int,
    width: int,
    finer: bool,
    falling: tuple[int, int],
    gsd: float,
    start: float,
    seed: int,
    noise: float,
) -> None:
    """Against plain numpy: ``repeat``, and ``any`` over blocks."""
    if gsd < 1e-3:
        start = 22.1  # degrees
    rng = np.random.default_rng(seed)
    fine_y = axis(height * factor, gsd, start, falling[0])
    fine_x = axis(width * factor, gsd, start, falling[1])
    # Centers read from files carry rounding.
    coarse_y = axis(height, gsd * factor, start, falling[0]) + noise * gsd * rng.normal(size=height)
    coarse_x = axis(width, gsd * factor, start, falling[1]) + noise * gsd * rng.normal(size=width)
    if finer:
        unclear = rng.random((3, height * factor, width * factor)) < 0.3
        mask, grid = MaskGrid("mask", "", fine_y, fine_x), group(coarse_y, coarse_x)
        want = unclear.reshape(3, height, factor, width, factor).any(axis=(2, 4))
    else:
        unclear = rng.random((3, height, width)) < 0.3
        mask, grid = MaskGrid("mask", "", coarse_y, coarse_x), group(fine_y, fine_x)
        want = unclear.repeat(factor, axis=1).repeat(factor, axis=2)
    np.testing.assert_array_equal(hidden_on_grid(unclear, mask, grid), want)


@given(
    mask_count=st.integers(1, 12),
    count=st.integers(2, 12),
    mask_gsd=st.sampled_from([1.0, 1.7, 3.0]),
    gsd=st.sampled_from([1.0, 1.3, 2.0]),
    shift=st.floats(-3, 3).map(lambda v: round(v, 2) + 0.003),
    seed=st.integers(0, 2**32),
)
def test_grids_that_do_not_nest(
    mask_count: int, count: int, mask_gsd: float, gsd: float, shift: float, seed: int
) -> None:
    """Against a loop: the nearest pixel of a coarser mask; any center inside, of a finer one."""
    unclear = np.random.default_rng(seed).random((1, 1, mask_count)) < 0.4
    mask_x, x = axis(mask_count, mask_gsd), axis(count, gsd, shift)
    got = hidden_on_grid(unclear, MaskGrid("mask", "", np.zeros(1), mask_x), group(np.zeros(1), x))
    for column, center in enumerate(x):
        inside = np.abs(mask_x - center) < gsd / 2
        if mask_count == 1 or gsd <= mask_gsd or not inside.any():
            inside = np.abs(mask_x - center) == np.abs(mask_x - center).min()
        assert got[0, 0, column] == unclear[0, 0, inside].any()


@given(st.integers(0, 2**32), st.sampled_from([-1, 1]), st.sampled_from([10.0, 20.0]))
def test_a_tie_does_not_turn_on_the_last_bits(seed: int, sign: int, mask_gsd: float) -> None:
    """Band pixels whose centers lie on the edges between mask pixels, give or take rounding."""
    rng = np.random.default_rng(seed)
    unclear = rng.random((1, 1, 9)) < 0.5
    mask_x, x = axis(9, mask_gsd, 0.0, sign), sign * mask_gsd * np.arange(1.0, 9.0)
    want = unclear[:, :, 1:]  # the later of the two
    for grid_x in (x, x + 1e-9 * rng.normal(size=8), x * (1 + 1e-12), x * (1 - 1e-12)):
        mask = MaskGrid("mask", "", np.zeros(1), mask_x + 1e-9 * rng.normal(size=9))
        got = hidden_on_grid(unclear, mask, group(np.zeros(1), grid_x))
        np.testing.assert_array_equal(got, want)


def test_axes_without_coordinates_share_their_ground() -> None:
    unclear = np.zeros((1, 4, 6), bool)
    unclear[0, 3, 0] = True
    mask = MaskGrid("mask", "", np.arange(4.0), np.arange(6.0))
    got = hidden_on_grid(unclear, mask, group(np.arange(2.0), np.arange(3.0)))
    assert got[0].tolist() == [[False, False, False], [True, False, False]]
    back = hidden_on_grid(
        got,
        MaskGrid("mask", "20", np.arange(2.0), np.arange(3.0)),
        group(np.arange(4.0), np.arange(6.0)),
    )
    assert np.argwhere(back[0]).tolist() == [[2, 0], [2, 1], [3, 0], [3, 1]]


def test_one_band_pixel_under_a_finer_mask_is_hidden_by_any() -> None:
    unclear = np.zeros((1, 2, 2), bool)
    unclear[0, 1, 1] = True
    fine = axis(2, 10, 500)
    one = group(axis(1, 20, 500), axis(1, 20, 500))
    assert hidden_on_grid(unclear, MaskGrid("SCL", "", fine, fine), one).tolist() == [[[True]]]


def test_empty_series_keep_their_shape() -> None:
    mask = MaskGrid("mask", "20", axis(2, 20), axis(3, 20))
    got = hidden_on_grid(np.zeros((0, 2, 3), bool), mask, group(axis(4, 10), axis(6, 10)))
    assert got.shape == (0, 4, 6)
