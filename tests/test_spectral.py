"""The spectral transform: exact, nearly lossless, deterministic."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scenes
from hypothesis import given, settings
from hypothesis import strategies as st

from stvc.codec.spectral import Klt, fit_klt


def samples(seed: int, bands: int, count: int = 500) -> np.ndarray:
    return scenes.ground(seed, 1, bands, (25, 20))[0].reshape(bands, -1).T[:count]


@pytest.mark.parametrize("bands", [1, 2, 4, 6, 16, 17, 40])
def test_rows_are_orthonormal(bands: int) -> None:
    matrix = fit_klt(samples(1, bands)).matrix.astype(float) / 2**14
    assert np.abs(matrix @ matrix.T - np.eye(bands)).max() < 1e-3


@pytest.mark.parametrize("bands", [1, 4, 16, 40])
def test_components_are_uncorrelated_and_sorted(bands: int) -> None:
    x = samples(2, bands)
    klt = fit_klt(x)
    turned = klt.forward(x.T[:, :, None]).reshape(bands, -1) / 16
    variance = turned.var(1)
    for low in range(0, bands, 16):
        run = slice(low, min(low + 16, bands))
        assert (np.diff(variance[run]) < 1e-3 * variance[run][0] + 1).all()
        off = np.cov(turned[run]) if run.stop - run.start > 1 else np.zeros((1, 1))
        scale = np.sqrt(np.outer(variance[run], variance[run])) + 50
        assert (np.abs(off - np.diag(np.diag(off))) / scale).max() < 0.1
    np.testing.assert_allclose(klt.mean, x.mean(0), atol=0.51)
    np.testing.assert_allclose(
        klt.spread, 8 * np.log2(np.maximum(turned.std(1), 1)), atol=1.5 if bands < 17 else 3
    )


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([1, 2, 4, 7, 20]), st.sampled_from([9, 9999, 65535]))
def test_round_trip_is_within_a_dn_or_two(seed: int, bands: int, largest: int) -> None:
    rng = np.random.default_rng(seed)
    klt = fit_klt(samples(seed % 5, bands))
    pixels = rng.integers(0, largest, (bands, 5, 7), endpoint=True).astype(np.uint16)
    miss = np.abs(klt.inverse(klt.forward(pixels)) - pixels.astype(np.int64))
    assert miss.max() <= (2 if largest < 65535 else 20)


def test_products_are_exact() -> None:
    klt = fit_klt(samples(3, 7))
    pixels = np.random.default_rng(0).choice([0, 1, 65535], (7, 6, 6)).astype(np.uint16)
    matrix = klt.matrix.astype(object)
    turned = (matrix @ pixels.reshape(7, -1).astype(object) + (1 << 9)) >> 10
    np.testing.assert_array_equal(klt.forward(pixels).reshape(7, -1), turned.astype(np.int64))
    back = (matrix.T @ turned + (1 << 17)) >> 18
    np.testing.assert_array_equal(
        klt.inverse(turned.astype(np.int32).reshape(pixels.shape)).reshape(7, -1),
        back.astype(np.int64),
    )


def test_the_sign_is_fixed() -> None:
    matrix = fit_klt(samples(4, 5)).matrix
    largest = np.abs(matrix).argmax(1)
    assert (matrix[np.arange(5), largest] > 0).all()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_samples(count: int) -> None:
    klt = fit_klt(samples(5, 3)[:count])
    pixels = np.arange(3 * 64).reshape(3, 8, 8).astype(np.uint16)
    assert np.abs(klt.inverse(klt.forward(pixels)) - pixels.astype(int)).max() <= 1
    assert klt.matrix.dtype == np.int16


def test_constant_samples() -> None:
    klt = fit_klt(np.full((50, 3), 777))
    assert klt.mean.tolist() == [777, 777, 777]
    assert klt.spread.tolist() == [0, 0, 0]


def test_header_round_trip() -> None:
    klt = fit_klt(samples(6, 5))
    again = Klt.from_header(json.loads(json.dumps(klt.to_header())))
    for name in ("matrix", "mean", "spread"):
        mine, theirs = getattr(klt, name), getattr(again, name)
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype
