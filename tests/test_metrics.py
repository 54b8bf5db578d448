"""Distortion and rate measures against closed forms, SciPy and slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.interpolate import PchipInterpolator

from stvc import metrics
from stvc.errors import CorruptInputError, QualityError

SHAPE = (3, 4, 5, 6)
CUBES = hnp.arrays(np.uint16, SHAPE)
CLEAR = hnp.arrays(np.bool_, (3, 5, 6))


def test_psnr_of_a_constant_error_is_closed_form():
    original = np.full((2, 3, 4, 4), 1000, np.uint16)
    seen = metrics.distortion(original, original + np.uint16(10))
    assert seen == metrics.Distortion(100 * original.size, original.size, 10)
    assert seen.rmse == 10.0
    assert seen.psnr == pytest.approx(60.0, abs=1e-12)  # 20 log10(10000 / 10)


def test_full_scale_errors_do_not_wrap():
    low, high = np.zeros((1, 4, 4), np.uint16), np.full((1, 4, 4), 65535, np.uint16)
    assert metrics.distortion(low, high) == metrics.distortion(high, low)
    assert metrics.distortion(low, high).rmse == 65535.0


def test_lossless_is_infinite_and_nothing_is_none():
    frames = np.arange(36, dtype=np.uint16).reshape(1, 2, 3, 6)
    assert metrics.distortion(frames, frames).psnr == math.inf
    nothing = metrics.distortion(frames, frames, np.zeros((1, 3, 6), bool))
    assert (nothing.psnr, nothing.rmse, nothing.samples) == (None, None, 0)
    assert metrics.sam_degrees(frames, frames, np.zeros((1, 3, 6), bool)) is None
    assert metrics.ndvi_mae(frames, frames, 0, 1, np.zeros((1, 3, 6), bool)) is None


@given(CUBES, CUBES, CLEAR)
def test_distortion_equals_a_plain_loop(original, decoded, clear):
    errors = [
        abs(int(original[t, c, i, j]) - int(decoded[t, c, i, j]))
        for t, i, j in zip(*np.nonzero(clear), strict=True)
        for c in range(SHAPE[1])
    ]
    got = metrics.distortion(original, decoded, clear)
    assert (got.squared, got.samples) == (sum(e * e for e in errors), len(errors))
    assert got.largest == max(errors, default=0)


@given(CUBES, CUBES, CLEAR)
def test_clear_and_hidden_add_up_to_all(original, decoded, clear):
    parts = metrics.distortion(original, decoded, clear) + metrics.distortion(
        original, decoded, ~clear
    )
    assert parts == metrics.distortion(original, decoded)


@pytest.mark.parametrize(
    ("before", "after", "degrees"),
    [
        ((1000, 1000), (1000, 0), 45.0),
        ((0, 500), (900, 0), 90.0),
        ((100, 200), (1000, 2000), 0.0),  # brightness alone is no spectral error
        ((3, 4), (0, 0), 90.0),  # black where there was ground
    ],
)
def test_sam_of_known_angles(before, after, degrees):
    original = np.array(before, np.uint16).reshape(2, 1, 1)
    decoded = np.array(after, np.uint16).reshape(2, 1, 1)
    assert metrics.sam_degrees(original, decoded) == pytest.approx(degrees, abs=1e-6)


@given(CUBES, CUBES, CLEAR)
def test_sam_equals_the_arccos_formula(original, decoded, clear):
    angles = []
    for t, i, j in zip(*np.nonzero(clear), strict=True):
        a, b = original[t, :, i, j].astype(float), decoded[t, :, i, j].astype(float)
        if a.any():
            norm = math.sqrt((a @ a) * (b @ b))
            angles.append(math.acos(min(1.0, a @ b / norm)) if norm else math.pi / 2)
    got = metrics.sam_degrees(original, decoded, clear)
    if angles:
        assert got == pytest.approx(math.degrees(sum(angles) / len(angles)), abs=1e-5)
    else:
        assert got is None


def test_sam_is_exactly_zero_without_error_and_none_for_one_band():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 65536, SHAPE).astype(np.uint16)
    assert metrics.sam_degrees(frames, frames) == 0.0
    assert metrics.sam_degrees(frames[:, :1], frames[:, :1]) is None


def test_nodata_counts_neither_for_sam_nor_for_ndvi():
    original = np.array([[[0, 1000]], [[0, 3000]]], np.uint16)  # (C=2, H=1, W=2)
    decoded = np.array([[[700, 2000]], [[1, 2000]]], np.uint16)
    assert metrics.ndvi_mae(original, decoded, 0, 1) == pytest.approx(0.5)
    only = metrics.sam_degrees(original[..., 1:], decoded[..., 1:])
    assert metrics.sam_degrees(original, decoded) == only


def test_ndvi_takes_the_named_bands():
    original = np.array([1, 2000, 6000], np.uint16).reshape(3, 1, 1)
    decoded = np.array([9, 3000, 3000], np.uint16).reshape(3, 1, 1)
    assert metrics.ndvi_mae(original, decoded, red=1, nir=2) == pytest.approx(0.5)
    assert metrics.ndvi_mae(original, original * 0, red=1, nir=2) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("decoded", "clear"),
    [
        (np.zeros((2, 2, 3), np.uint16), None),
        (np.zeros((2, 3, 3), np.uint16), np.ones((2, 3, 3), bool)),
        (np.zeros((2, 3, 3), np.uint16), np.ones((3, 2), bool)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(decoded, clear):
    with pytest.raises(CorruptInputError, match=r"same shape|does not fit"):
        metrics.distortion(np.zeros((2, 3, 3), np.uint16), decoded, clear)


def test_bits_per_sample():
    assert metrics.bits_per_sample(1000, 4000) == 2.0
    with pytest.raises(CorruptInputError):
        metrics.bits_per_sample(10, 0)


def _curve(points):
    return metrics.RdCurve.fit([r for r, _ in points], [p for _, p in points])


KNOWN = [(0.3, 41.0), (0.55, 45.5), (1.0, 49.0), (1.6, 53.2), (2.9, 57.0)]


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.25, 3.0])
def test_bd_rate_of_a_scaled_curve_is_the_scale(factor):
    scaled = _curve([(r * factor, p) for r, p in KNOWN])
    assert metrics.bd_rate(_curve(KNOWN), scaled) == pytest.approx(100 * (factor - 1), abs=1e-9)


def test_bd_rate_of_exponential_curves_is_closed_form():
    # log r = p / 9 and log r = p / 9 - 0.02 (p - 42) - 0.1 differ by 0.24 on average over 42..56
    p = np.array([40.0, 47.0, 58.0])
    reference = metrics.RdCurve.fit(np.exp(p / 9), p)
    test = metrics.RdCurve.fit(np.exp(p / 9 - 0.02 * (p - 42) - 0.1), p)
    assert metrics.bd_rate(reference, test) == pytest.approx(100 * math.expm1(-0.24), abs=1e-9)


increasing = st.lists(st.floats(0.05, 4.0), min_size=2, max_size=9)


@settings(deadline=None)
@given(increasing, st.data())
def test_curve_equals_scipy_pchip(gaps, draw):
    psnr = 38.0 + np.cumsum(gaps)
    steps = draw.draw(st.lists(st.floats(0.01, 1.5), min_size=len(gaps), max_size=len(gaps)))
    log_rate = np.cumsum(steps) - 2.0
    curve = metrics.RdCurve.fit(np.exp(log_rate), psnr)
    oracle = PchipInterpolator(psnr, log_rate)
    low, high = curve.span
    for at in np.linspace(low, high, 23):
        assert math.log(curve.rate_at(at)) == pytest.approx(float(oracle(at)), abs=1e-9)
    third = (high - low) / 3
    for a, b in ((low, high), (low + third, high - third)):
        want = float(oracle.integrate(a, b)) / (b - a)
        assert curve.mean_log_rate(a, b) == pytest.approx(want, abs=1e-9)


def test_rate_is_not_extrapolated_beyond_the_tolerance():
    curve = _curve(KNOWN)
    assert curve.rate_at(40.8) is None
    assert curve.rate_at(57.2) is None
    assert curve.rate_at(57.05) == pytest.approx(2.9, rel=0.02)
    assert curve.rate_at(57.05, tolerance=0.0) is None
    for rate, psnr in KNOWN:
        assert curve.rate_at(psnr) == pytest.approx(rate, rel=1e-12)


def test_dominated_and_infinite_points_are_left_out():
    noisy = [*KNOWN, (1.2, 48.0), (9.0, math.inf), (4.0, None), (0.0, 43.0), (1.0, 48.5)]
    assert np.array_equal(_curve(noisy).psnr, _curve(KNOWN).psnr)


def test_curves_without_common_range_have_no_bd_rate():
    low, high = _curve(KNOWN[:2]), _curve(KNOWN[3:])
    assert metrics.bd_rate(low, high) is None
    assert metrics.common_span(_curve(KNOWN), high, 42, 56) == (53.2, 56)


def test_one_point_is_no_curve():
    with pytest.raises(QualityError, match="two points"):
        _curve([(1.0, 50.0), (1.0, 49.0)])
