"""Smoothing and phenology against solved equations and seasons that are known."""

from __future__ import annotations

import numpy as np
import pytest
from pairs import followed

from stvc.fidelity.phenology import phenology, season_of, season_windows
from stvc.fidelity.profiles import binned, whittaker

RNG = np.random.default_rng


def test_whittaker_solves_its_equations() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    rng = RNG(3)
    n, series = 30, 4
    observed, weights = rng.normal(size=(n, series)), rng.integers(0, 3, (n, series)).astype(float)
    weights[[2, 20]] = 1
    observed[weights == 0] = np.nan  # gaps may hold anything
    got = whittaker(observed, weights, 7.0)
    second = np.diff(np.eye(n), 2, axis=0)
    for k in range(series):
        system = sparse.csr_matrix(np.diag(weights[:, k]) + 7.0 * second.T @ second)
        right = weights[:, k] * np.nan_to_num(observed[:, k])
        wanted = pytest.importorskip("scipy.sparse.linalg").spsolve(system, right)
        np.testing.assert_allclose(got[:, k], wanted, atol=1e-8)
    line = np.linspace(0, 3, n)[:, None]
    np.testing.assert_allclose(whittaker(line, np.ones((n, 1)), 50.0), line, atol=1e-9)
    with pytest.raises(ValueError, match="4 steps"):
        whittaker(observed[:3], weights[:3], 1.0)


def test_bins_average_clear_observations() -> None:
    days = np.array([0.0, 1, 4.9, 5, 12])
    values = np.array([[1.0], [3], [5], [7], [9]])
    clear = np.array([[True], [True], [False], [True], [True]])
    axis, means, count = binned(days, values, clear, 5.0)
    np.testing.assert_allclose(axis, [2.5, 7.5, 12.5])
    np.testing.assert_allclose(means[:, 0], [2, 7, 9])
    np.testing.assert_allclose(count[:, 0], [2, 1, 1])


def season(days: np.ndarray, peak: float, width: float = 40.0, height: float = 0.6) -> np.ndarray:
    """One bell per year, as a column."""
    phase = (days - peak + 182.6) % 365.25 - 182.6
    return (0.2 + height * np.exp(-((phase / width) ** 2)))[:, None]


@pytest.mark.parametrize("peak", [200.0, 10.0, 355.0])  # also summers around New Year
def test_seasons_are_found_where_they_are(peak: float) -> None:
    days = 17_900.0 + np.arange(0, 3 * 365, 5.0)
    curve = season(days, peak)
    windows = season_windows(days, curve[:, 0])
    assert len(windows) >= 2
    for window in windows:
        found = season_of(days[window], curve[window])
        off = (found.peak_date[0] - peak + 182.6) % 365.25 - 182.6
        assert abs(off) < 1.0
        assert found.peak_height[0] == pytest.approx(0.8, abs=0.01)
        half = 40.0 * np.sqrt(np.log(2))  # a bell is at half its height there
        assert found.peak_date[0] - found.start[0] == pytest.approx(half, abs=1.5)
        assert found.end[0] - found.peak_date[0] == pytest.approx(half, abs=1.5)


def test_phenology_sees_a_shift_and_a_loss() -> None:
    rng = RNG(4)
    days = 17_900.0 + np.sort(rng.choice(1100, 220, replace=False))
    original = np.concatenate([season(days, p) for p in (180, 200, 220)], axis=1)
    later = np.concatenate([season(days - 6, p) for p in (180, 200, 220)], axis=1)
    same = phenology(followed(original, original, days))
    moved = phenology(followed(original, later, days))
    assert not isinstance(same, str)
    assert not isinstance(moved, str)
    assert same.peak_date.p90 == same.start.p90 == same.lost == 0
    assert moved.start.bias == pytest.approx(6, abs=0.8)
    assert moved.end.bias == pytest.approx(6, abs=0.8)
    assert moved.peak_date.bias == pytest.approx(6, abs=1.5)
    gone = later.copy()
    gone[:, 1] = 0.3
    part = phenology(followed(original, gone, days))
    assert not isinstance(part, str)
    assert part.lost == pytest.approx(1 / 3, abs=0.01)


def test_phenology_says_why_not() -> None:
    days = 17_900.0 + np.arange(0, 100, 5.0)
    curve = season(days, 200)
    assert "needs a year" in str(phenology(followed(curve, curve, days)))
    days = 17_900.0 + np.arange(0, 800, 5.0)
    flat = np.full((len(days), 2), 0.5)
    assert "rises and falls" in str(phenology(followed(flat, flat, days)))
    hidden = np.zeros(flat.shape, bool)
    assert "clear dates" in str(phenology(followed(flat, flat, days, hidden)))
    one = phenology(followed(flat[:1], flat[:1], days[:1]))
    assert "covers 0 days" in str(one)
