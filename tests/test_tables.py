"""Frequency tables: proper distributions, close to the ideal code length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvc.codec.tables import (
    DIRECT_SCALES,
    FRACTIONS,
    TOTAL,
    Tables,
    build_tables,
    reach_of,
    split_scale,
)
from stvc.model.architecture import SCALE_OCTAVE, SCALE_ZERO, SCALES
from stvc.model.weights import load_model

SHAPES = {"narrow": (0.05, 2.0), "wide": (0.3, 6.0), "single": (1e-9, 2.0)}


@pytest.fixture(scope="module", params=[*SHAPES, "installed"])
def tables(request: pytest.FixtureRequest) -> Tables:
    if request.param == "installed":
        return load_model().models.tables
    return build_tables(*SHAPES[request.param])


def test_every_table_is_a_distribution(tables: Tables) -> None:
    assert len(tables.starts) == FRACTIONS * DIRECT_SCALES + 1
    assert tables.starts[-1] == len(tables.frequencies)
    for k in range(FRACTIONS * DIRECT_SCALES):
        row = tables.frequencies_of(k)
        assert row.sum() == TOTAL
        assert row.min() >= 1
        assert tables.reach(k) == reach_of(k % DIRECT_SCALES)
        assert len(row) == 2 * tables.reach(k) + 2


def test_tables_mirror_each_other(tables: Tables) -> None:
    """A location f above a symbol looks like one f below it; rounding may move single counts."""
    for scale in range(DIRECT_SCALES):
        for fraction in range(FRACTIONS // 2, FRACTIONS):
            row = tables.frequencies_of(fraction * DIRECT_SCALES + scale)[:-1]
            mirror = FRACTIONS - fraction
            if mirror == FRACTIONS // 2:
                other = row
            else:
                other = tables.frequencies_of(mirror * DIRECT_SCALES + scale)[:-1]
            slack = len(row) + 2
            assert np.abs(row - other[::-1]).max() <= slack


def test_tables_peak_at_their_location_and_fall(tables: Tables) -> None:
    for scale in range(DIRECT_SCALES):
        row = tables.frequencies_of(FRACTIONS // 2 * DIRECT_SCALES + scale)[:-1]
        reach = (len(row) - 1) // 2
        assert row.argmax() == reach
        assert (np.diff(row[reach:]) <= 0).all()


@pytest.mark.parametrize("shape", SHAPES.values())
@pytest.mark.parametrize("scale", [0, 9, 18, 27, 33])
@pytest.mark.parametrize("fraction", [0, 3, 4])
def test_code_length_is_close_to_ideal(
    shape: tuple[float, float], scale: int, fraction: int
) -> None:
    weight, ratio = shape
    built = build_tables(weight, ratio)
    row = built.frequencies_of(fraction * DIRECT_SCALES + scale)
    reach = reach_of(scale)
    mean = (fraction - FRACTIONS // 2) / FRACTIONS
    width = 2.0 ** ((scale - SCALE_ZERO) / SCALE_OCTAVE)
    edges = np.arange(-reach, reach + 2) - 0.5 - mean

    def cumulative(w: float) -> np.ndarray:
        return 1 / (1 + np.exp(-np.clip(edges / w, -700, 700)))

    mass = np.diff((1 - weight) * cumulative(width) + weight * cumulative(width * ratio))
    inside = mass > 0
    ideal = -(mass[inside] * np.log2(mass[inside])).sum()
    spent = -(mass[inside] * np.log2(row[:-1][inside] / TOTAL)).sum()
    assert spent - ideal < 0.01 * ideal + 0.03


@given(st.lists(st.integers(0, SCALES - 1), min_size=1))
def test_large_scales_are_halved_until_a_table_fits(scales: list[int]) -> None:
    scale = np.array(scales)
    reduced, low_bits = split_scale(scale)
    np.testing.assert_array_equal(reduced + SCALE_OCTAVE * low_bits, scale)
    assert (low_bits >= 0).all()
    assert reduced.max() < DIRECT_SCALES
    assert reduced.min() >= 0
    assert (reduced[low_bits > 0] >= DIRECT_SCALES - SCALE_OCTAVE).all()
