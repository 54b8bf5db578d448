"""Each measure of a comparison against an independent computation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pairs import followed, made_pair

from stvc.fidelity.bands import SSIM_WINDOW, errors, ssim, whole_windows
from stvc.fidelity.change import DROP, change, deseasoned, largest_drop, relative
from stvc.fidelity.classes import checkerboard, classification, densest_window, kappa, period_means
from stvc.fidelity.indices import index_table
from stvc.fidelity.profiles import profiles, sample_pixels
from stvc.fidelity.texture import EDGES, clear_patches, radial_power, spectra

RNG = np.random.default_rng


# ---------------------------------------------------------------- errors, SSIM


def test_errors_are_those_of_numpy() -> None:
    rng = RNG(0)
    before = rng.integers(0, 65536, (3, 9, 7)).astype(np.uint16)
    after = rng.integers(0, 65536, (3, 9, 7)).astype(np.uint16)
    chosen = rng.random(before.shape) < 0.6
    miss = after[chosen].astype(float) - before[chosen].astype(float)
    got = errors(before, after, chosen)
    assert got.samples == chosen.sum()
    assert got.rmse == pytest.approx(np.sqrt((miss**2).mean()))
    assert got.psnr == pytest.approx(20 * np.log10(10_000 / np.sqrt((miss**2).mean())))
    assert got.max_error == np.abs(miss).max()
    assert got.bias == pytest.approx(miss.mean())
    assert got.mae == pytest.approx(np.abs(miss).mean())
    nothing = errors(before, after, np.zeros_like(chosen))
    assert (nothing.samples, nothing.rmse, nothing.psnr) == (0, None, None)
    assert errors(before, before, chosen).psnr == float("inf")


def ssim_by_hand(a: np.ndarray, b: np.ndarray, span: float) -> np.ndarray:
    """Wang et al. 2004 with SciPy's Gaussian filter, (H, W)."""
    ndimage = pytest.importorskip("scipy.ndimage")

    def blurred(x: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(x, 1.5, radius=SSIM_WINDOW // 2))

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    both = blurred(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    return ((2 * mean_a * mean_b + c1) * (2 * both + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )


def test_ssim_counts_wholly_clear_windows_only() -> None:
    rng = RNG(1)
    before = rng.integers(300, 3000, (2, 24, 30)).astype(np.uint16)
    after = np.clip(before + rng.normal(0, 200, before.shape), 1, 9999).astype(np.uint16)
    clear = np.ones(before.shape, bool)
    clear[0, 3, 4] = False
    clear[1] = False
    inside = np.zeros(clear.shape, bool)
    for y in range(5, 19):
        for x in range(5, 25):
            inside[0, y, x] = clear[0, y - 5 : y + 6, x - 5 : x + 6].all()
    np.testing.assert_array_equal(whole_windows(clear, SSIM_WINDOW), inside)
    low, high = np.percentile(before[clear], (0.5, 99.5))
    by_hand = ssim_by_hand(before[0].astype(float), after[0].astype(float), high - low)
    # the hidden pixel and the hidden date must not matter
    after[0, 3, 4], after[1] = 65535, 7
    assert ssim(before, after, clear) == pytest.approx(by_hand[inside[0]].mean(), abs=1e-6)
    assert ssim(before, before, clear) == pytest.approx(1.0)
    assert ssim(before[:, :8], after[:, :8], clear[:, :8]) is None  # smaller than the window
    flat = np.full_like(before, 500)
    assert ssim(flat, after, np.ones(flat.shape, bool)) is None


# ---------------------------------------------------------------- indices


def test_indices_by_hand() -> None:
    rng = RNG(2)
    bands = ("B02", "B03", "B04", "B08", "B11")
    before = rng.integers(200, 4000, (3, 5, 6, 7))
    after = before + rng.integers(-40, 40, before.shape)
    clear = rng.random((3, 6, 7)) < 0.7
    rows = {row.name: row for row in index_table(made_pair(before, after, bands, clear=clear))}
    a, b = (np.moveaxis(x, 1, 0)[:, clear] / 1e4 for x in (before, after))

    def told(miss: np.ndarray) -> tuple[float, ...]:
        size = np.abs(miss)
        return size.mean(), np.sqrt((miss**2).mean()), miss.mean(), np.percentile(size, 95)

    def ndvi(x: np.ndarray) -> np.ndarray:
        return (x[3] - x[2]) / (x[3] + x[2])

    def ndwi(x: np.ndarray) -> np.ndarray:
        return (x[1] - x[3]) / (x[1] + x[3])

    def ndmi(x: np.ndarray) -> np.ndarray:
        return (x[3] - x[4]) / (x[3] + x[4])

    def evi(x: np.ndarray) -> np.ndarray:
        below = x[3] + 6 * x[2] - 7.5 * x[0] + 1
        return np.where(below > 0.1, 2.5 * (x[3] - x[2]) / below, np.nan)

    for name, formula in (("NDVI", ndvi), ("NDWI", ndwi), ("NDMI", ndmi), ("EVI", evi)):
        miss = formula(b) - formula(a)
        miss = miss[np.isfinite(miss)]
        row = rows[name]
        np.testing.assert_allclose((row.mae, row.rmse, row.bias, row.p95), told(miss), rtol=1e-9)
        assert row.samples == miss.size
    assert index_table(made_pair(before[:, :2], after[:, :2], bands[:2])) == []


# ---------------------------------------------------------------- change


def drop_by_hand(values: np.ndarray, clear: np.ndarray) -> tuple[float, int]:
    """Largest fall of one series, observation by observation."""
    rows = np.flatnonzero(clear)
    best, when = 0.0, 1
    for k in range(3, len(rows) - 2):
        fall = np.median(values[rows[k - 3 : k]]) - np.median(values[rows[k : k + 3]])
        if fall > best:
            best, when = fall, int(rows[k])
    return best, when


def test_largest_drop_by_hand() -> None:
    rng = RNG(5)
    values = rng.normal(0.5, 0.2, (25, 40))
    clear = rng.random(values.shape) < 0.6
    size, when = largest_drop(values, clear)
    for p in range(values.shape[1]):
        want, row = drop_by_hand(values[:, p], clear[:, p])
        assert size[p] == pytest.approx(want)
        if want > 0:
            assert when[p] == row


def test_change_maps_agree_and_disagree() -> None:
    days = 17_900.0 + np.arange(0, 300, 10.0)
    rng = RNG(6)
    values = np.full((len(days), 50), 0.7) + rng.normal(0, 0.01, (len(days), 50))
    values[15:, :10] -= 0.4  # ten pixels are felled
    decoded = values.copy()
    decoded[15:, :2] += 0.4  # two of them stand in the decoded copy
    decoded[20:, 40] -= 0.4  # and another one falls there alone
    found = change(followed(values, decoded, days))
    assert not isinstance(found, str)
    assert found.changed_original == pytest.approx(0.2)
    assert found.changed_decoded == pytest.approx(0.18)
    assert found.agreement == pytest.approx(47 / 50)
    assert found.f1 == pytest.approx(2 * 8 / (10 + 9))
    assert found.same_date == 1.0
    assert DROP == 0.15
    assert "clear dates" in str(change(followed(values[:5], decoded[:5], days[:5])))


def test_field_wide_drops_and_waves_are_no_change() -> None:
    days = 17_900.0 + np.arange(0, 1100, 8.0)
    season_wide = 0.3 * np.sin(2 * np.pi * days / 365.25)[:, None]
    own = season_wide * np.array([[1.0, 1.0, 1.0, 2.0]])  # the last pixel swings twice as far
    values = 0.5 + own
    seen = np.ones(values.shape, bool)
    assert largest_drop(relative(values, seen), seen)[0][0] < 0.01
    assert largest_drop(relative(values, seen), seen)[0][3] > DROP / 3
    calm = deseasoned(days, relative(values, seen), seen)
    assert largest_drop(calm, seen)[0].max() < 0.02
    values[70:, 1] -= 0.4
    calm = deseasoned(days, relative(values, seen), seen)
    assert largest_drop(calm, seen)[0][1] > 0.3


# ---------------------------------------------------------------- classification


def test_kappa_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = RNG(7)
    a, b = rng.integers(0, 4, 300), rng.integers(0, 4, 300)
    b[:150] = a[:150]
    assert kappa(a, b) == pytest.approx(metrics.cohen_kappa_score(a, b))
    assert kappa(np.ones(5), np.ones(5)) == 1.0


def test_period_means_bridge_gaps() -> None:
    days = np.arange(12.0) * 30
    values = np.arange(12.0)[:, None] * np.ones((1, 3))
    clear = np.ones((12, 3), bool)
    clear[3:6, 0] = False
    clear[:2, 1] = False
    clear[:, 2] = False
    got = period_means(days, values, clear)
    np.testing.assert_allclose(got[:, 0], np.arange(12))  # linear over the gap
    np.testing.assert_allclose(got[:3, 1], 2)  # held at the ends
    assert np.isnan(got[:, 2]).all()
    assert densest_window(np.array([0.0, 500, 510, 520]), np.array([9, 5, 5, 5])) == slice(1, 4)


def test_classifier_agrees_with_a_copy_and_not_with_noise() -> None:
    pytest.importorskip("sklearn")
    rng = RNG(8)
    kinds = np.kron(rng.integers(0, 3, (9, 9)), np.ones((4, 4), int))
    days = np.arange(0, 360, 15)
    wave = 1500 + 1200 * np.sin(2 * np.pi * (days[:, None] / 360 + np.arange(3) / 3))
    nir = wave[:, kinds]
    cube = np.stack([np.full_like(nir, 900), nir], axis=1) + rng.normal(0, 60, (24, 2, 36, 36))
    cube = np.clip(cube, 1, 9999)
    noise = np.clip(cube + rng.normal(0, 2500, cube.shape), 1, 9999)
    bands = ("B04", "B08")
    exact = classification(profiles(made_pair(cube, cube, bands, days)))
    given = classification(profiles(made_pair(cube, cube, bands, days)), kinds + 1)
    noisy = classification(profiles(made_pair(cube, noise, bands, days)), kinds + 1)
    assert not isinstance(exact, str)
    assert not isinstance(given, str)
    assert not isinstance(noisy, str)
    assert exact.agreement == exact.kappa == 1.0
    assert given.accuracy_original > 0.97
    assert (given.labels, given.classes) == ("given", 3)
    assert given.trained + given.tested == 36 * 36
    assert noisy.agreement < 0.95
    assert noisy.accuracy_decoded < noisy.accuracy_original
    few = classification(profiles(made_pair(cube[:, :, :4, :4], cube[:, :, :4, :4], bands, days)))
    assert "64 are needed" in str(few)


def test_train_and_test_squares_do_not_touch_the_same_pixels() -> None:
    rows, columns = np.mgrid[:30, :30]
    train = checkerboard(rows.reshape(-1), columns.reshape(-1), (30, 30)).reshape(30, 30)
    side = 5
    assert train[:side, :side].all()
    assert not train[:side, side : 2 * side].any()
    assert 0.4 < train.mean() < 0.6


# ---------------------------------------------------------------- texture


def test_power_by_frequency_of_pure_waves() -> None:
    n = 32
    x = np.arange(n)
    for cycles, where in ((2, 0), (6, 1), (10, 2), (14, 3)):
        wave = 100 * np.cos(2 * np.pi * cycles * x / n)[None] * np.ones((n, 1))
        power = radial_power(wave)
        assert power.argmax() == where
        assert power[where] > 0.97 * power.sum()
    assert len(EDGES) == 5


def test_blur_and_noise_show_in_the_ratios() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = RNG(9)
    before = np.clip(rng.normal(2000, 300, (2, 1, 40, 40)), 1, 9999).round()
    blurred = ndimage.gaussian_filter(before, (0, 0, 0.8, 0.8)).round()
    noisy = np.clip(before + rng.normal(0, 300, before.shape), 1, 9999).round()

    def ratios(after: np.ndarray) -> Any:
        found = spectra(made_pair(before, after, ("B04",)))
        assert not isinstance(found, str)
        return found[0].ratio

    assert ratios(before) == (1.0,) * 4
    plain = spectra(made_pair(before, before, ("B04",)))
    assert not isinstance(plain, str)
    # white noise of 300 DN spreads over the plane: each ring holds its share of the area
    area = np.pi * np.diff(np.square(EDGES))
    np.testing.assert_allclose(plain[0].original_rms, 300 * np.sqrt(area), rtol=0.08)
    blur = ratios(blurred)
    assert blur[0] > blur[1] > blur[2] > blur[3]
    assert blur[3] < 0.1
    assert all(1.6 < r < 2.4 for r in ratios(noisy))


def test_patches_are_clear_and_apart() -> None:
    clear = np.ones((2, 40, 70), bool)
    clear[0, 5, 40] = False
    side, corners = clear_patches(clear)
    assert side == 32
    assert corners == [(0, 0, 0), (1, 0, 0), (1, 0, 32)]
    assert clear_patches(np.zeros((1, 40, 40), bool)) == (8, [])
    assert clear_patches(np.ones((1, 9, 10), bool)) == (8, [(0, 0, 0)])
    assert "no wholly clear patch" in str(
        spectra(made_pair(np.ones((1, 1, 5, 5)), np.ones((1, 1, 5, 5)), ("B04",)))
    )


def test_large_fields_are_followed_on_an_even_grid() -> None:
    group = made_pair(np.ones((1, 1, 300, 500)), np.ones((1, 1, 300, 500)), ("B04",)).groups[0]
    rows, columns = sample_pixels(group, 1000)
    assert len(rows) <= 1000
    assert rows.max() < 300
    assert columns.max() < 500
    assert len(np.unique(np.diff(np.unique(rows)))) == 1
