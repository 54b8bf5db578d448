"""The fit of the spectral transform: what a rotation saves, and what little is known of a place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvc.codec import spectral_fit
from stvc.codec.spectral import fit_klt
from stvc.codec.spectral_fit import patches_of, rotation, textures, typical_texture

FLOOR = spectral_fit._FLOOR


def price(basis: np.ndarray, covariances: np.ndarray, weights: np.ndarray) -> float:
    """The sum that a fit makes small, from its definition."""
    variances = np.einsum("ij,njk,ik->ni", basis, covariances, basis)
    return float(weights @ np.log(variances + FLOOR).sum(1))


def random_patches(seed: int, bands: int, count: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    roots = rng.normal(0, rng.uniform(5, 400, (count, 1, 1)), (count, bands, bands))
    return roots @ roots.transpose(0, 2, 1), rng.uniform(0.1, 2, count)


def turned(seed: int, bands: int) -> np.ndarray:
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).normal(size=(bands, bands)))[0])


@given(st.integers(0, 99), st.integers(1, 6))
def test_a_rotation_is_orthogonal_and_no_small_turn_improves_it(seed: int, bands: int) -> None:
    covariances, weights = random_patches(seed, bands)
    basis = rotation(covariances, weights)
    np.testing.assert_allclose(basis @ basis.T, np.eye(bands), atol=1e-9)
    found = price(basis, covariances, weights)
    principal = np.linalg.eigh(np.einsum("n,nij->ij", weights, covariances))[1].T
    assert found <= price(principal, covariances, weights) + 1e-6
    for i in range(bands):
        for j in range(i + 1, bands):
            for angle in (-0.1, 0.1):
                turn = np.eye(bands)
                turn[[i, j], [i, j]] = np.cos(angle)
                turn[i, j], turn[j, i] = np.sin(angle), -np.sin(angle)
                assert price(turn @ basis, covariances, weights) > found - 1e-3 * weights.sum()


@pytest.mark.parametrize("seed", range(4))
def test_components_that_all_patches_share_are_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    basis = turned(seed, 4)
    variances = 10.0 ** rng.uniform(1, 6, (40, 4))
    covariances = np.einsum("ki,nk,kj->nij", basis, variances, basis)
    found = rotation(covariances, np.ones(40))
    np.testing.assert_allclose(np.abs(found @ basis.T).max(1), 1, atol=1e-3)
    along = np.einsum("ij,njk,ik->ni", found, covariances, found)
    costs = np.log(along + FLOOR).sum(0)
    assert (np.diff(costs) <= 1e-6).all()  # the most expensive component comes first


def test_few_strong_patches_do_not_decide() -> None:
    quiet = np.diag([90_000.0, 4_000.0])
    mixed = np.full((2, 2), 5e7) + np.eye(2)
    covariances = np.stack([quiet] * 20 + [mixed])
    basis = rotation(covariances, np.ones(21))
    assert abs(basis[0, 0]) > 0.99
    principal = np.linalg.eigh(covariances.mean(0))[1][:, -1]
    assert abs(principal[0]) < 0.8  # where variance alone would lead


@pytest.mark.parametrize("distance", [1, 2, 4])
def test_textures_are_covariances_of_differences(distance: int, monkeypatch) -> None:
    monkeypatch.setattr(spectral_fit, "_DISTANCES", ((distance, 1.0),))
    rng = np.random.default_rng(distance)
    pixels = rng.integers(1, 9000, (1, 3, 8, 8)).astype(np.uint16)
    hidden = rng.random((1, 8, 8)) < 0.3
    (covariance,), (weight,) = textures(pixels, hidden)
    x, clear = pixels[0].astype(float), ~hidden[0]
    differences = [
        x[:, a, b] - x[:, y, z]
        for y in range(8)
        for z in range(8)
        for a, b in ((y + distance, z), (y, z + distance))
        if a < 8 and b < 8 and clear[y, z] and clear[a, b]
    ]
    expected = np.mean([np.outer(d, d) / 2 for d in differences], 0)
    np.testing.assert_allclose(covariance, expected)
    assert weight == pytest.approx(len(differences) / (16 * (8 - distance)))


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
def test_textures_of_any_size(dates: int, height: int, width: int, cloudy: float) -> None:
    rng = np.random.default_rng(height * 41 + width)
    pixels = rng.integers(0, 65536, (dates, 2, height, width)).astype(np.uint16)
    hidden = rng.random((dates, height, width)) < cloudy
    covariances, weights = textures(pixels, hidden)
    assert covariances.shape == (len(weights), 2, 2)
    assert len(weights) <= 3 * spectral_fit.PATCHES
    assert (weights > 0).all()
    assert np.isfinite(covariances).all()


def test_typical_texture_is_for_sentinel_2_bands_by_any_name() -> None:
    four = typical_texture(("B02", "B3", "red", "b08"))
    assert four is not None
    np.testing.assert_array_equal(four, four.T)
    assert np.linalg.eigvalsh(four).min() > 0
    assert typical_texture(("B02", "VV")) is None
    assert typical_texture(("B10",)) is None  # cirrus shows no ground


def test_a_place_of_which_nothing_is_clear_yet_gets_the_typical_transform() -> None:
    pixels = np.full((1, 4, 16, 16), 900, np.uint16)
    hidden = np.ones((1, 16, 16), bool)
    nothing = np.zeros((0, 4), np.uint16)
    known = fit_klt(nothing, patches_of(pixels, hidden, ("B02", "B03", "B04", "B08")))
    typical = typical_texture(("B02", "B03", "B04", "B08"))
    assert typical is not None
    first = known.matrix[0] / 2**14
    np.testing.assert_allclose(np.abs(first), np.abs(np.linalg.eigh(typical)[1][:, -1]), atol=0.02)
    assert known.spread.min() > 0
    other = fit_klt(nothing, patches_of(pixels, hidden, ("a", "b", "c", "d")))
    np.testing.assert_array_equal(other.matrix, np.eye(4) * 2**14)


def test_runs_of_many_bands_stay_apart() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 9000, (2, 20, 16, 16)).astype(np.uint16)
    clear = np.zeros((2, 16, 16), bool)
    names = [f"band{k}" for k in range(20)]
    klt = fit_klt(pixels.transpose(0, 2, 3, 1).reshape(-1, 20), patches_of(pixels, clear, names))
    assert not klt.matrix[:16, 16:].any()
    assert not klt.matrix[16:, :16].any()
    matrix = klt.matrix / 2.0**14
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(20), atol=1e-3)
