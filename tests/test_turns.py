"""Turns of components: undone exactly, chosen where components go together, worth their bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from native_kernels import needs_kernels, plain

import stvc
from stvc.codec import analysis, turn_choice, turns
from stvc.codec.analysis import requantized
from stvc.codec.prediction import turned_references
from stvc.codec.quantize import SKIPPED
from stvc.codec.rangecoder import Reader, Writer
from stvc.codec.turn_choice import choose_turns
from stvc.codec.turns import (
    BANDS,
    BITS,
    COMPONENTS,
    MOST,
    UNITS,
    factors,
    pairs_of,
    read_turns,
    turn,
    turn_back,
    turn_residual,
    turn_residual_back,
    write_turns,
)


def angles(rng: np.random.Generator, components: int) -> np.ndarray:
    """Turns of all kinds: none, one for all bands, one for each."""
    found = rng.integers(-MOST, MOST + 1, (len(pairs_of(components)), len(BANDS)))
    for row in found:
        kind = rng.integers(3)
        row[:] = 0 if kind == 0 else row[0] if kind == 1 else row * (rng.random(len(row)) < 0.7)
    return found


def coefficients(rng: np.random.Generator, components: int, spread: float = 3000) -> np.ndarray:
    return np.rint(rng.normal(0, spread, (components, 3, 5, 64))).astype(np.int32)


def test_factors_are_those_of_angles() -> None:
    cosine, sine = factors(np.arange(-MOST, MOST + 1)[:, None].repeat(len(BANDS), 1))
    exact = np.pi / UNITS * np.arange(-MOST, MOST + 1)[:, None]
    assert np.abs(cosine - np.cos(exact) * (1 << BITS)).max() <= 0.5
    assert np.abs(sine - np.sin(exact) * (1 << BITS)).max() <= 0.5


@pytest.mark.parametrize("components", [1, 2, 4, 7, 13])
def test_turning_back_undoes_a_turn(components: int) -> None:
    rng = np.random.default_rng(components)
    x, how = coefficients(rng, components), angles(rng, components)
    there = turn(x, how)
    assert np.abs(turn_back(there, how).astype(int) - x).max() <= 2 * COMPONENTS
    np.testing.assert_array_equal(there[COMPONENTS:], x[COMPONENTS:])
    np.testing.assert_allclose((there**2.0).sum(), (x**2.0).sum(), rtol=1e-3)
    real = x.astype(np.float64)
    np.testing.assert_allclose(turn_residual(real, how), there, atol=COMPONENTS)
    back = turn_residual_back(turn_residual(real, how), how)
    np.testing.assert_allclose(back, real, atol=1)
    np.testing.assert_array_equal(turn(x, how * 0), x)


@needs_kernels
@pytest.mark.parametrize("components", [1, 2, 6, 9])
def test_c_and_numpy_turn_alike(components: int) -> None:
    rng = np.random.default_rng(components)
    x, how = coefficients(rng, components, 200000), angles(rng, components)
    for work in (turn, turn_back):
        np.testing.assert_array_equal(work(x, how), plain(lambda w=work: w(x, how), turns))
    real = x / 3.0
    for other in (turn_residual, turn_residual_back):
        found = plain(lambda w=other: w(real, how), turns)
        np.testing.assert_allclose(other(real, how), found, atol=1e-6)


@needs_kernels
def test_kernels_refuse_wrong_sizes() -> None:
    kernels = turns.kernels
    assert kernels is not None
    cosine, sine = factors(np.zeros((1, len(BANDS)), np.int64))
    x = np.zeros((2, 3, 64), np.int32)
    for shape in ((3, 3, False), (2, 4, False), (2, -1, False), (1 << 40, 3, False)):
        with pytest.raises(ValueError, match="holds|outside|bytes"):
            kernels.turn(shape, cosine, sine, x)
    with pytest.raises(ValueError, match="holds|outside|bytes"):
        kernels.choose_turns((2, 3, 1.0), np.zeros((2, 3, 64)), np.zeros((2, 4), np.int64))


@given(st.integers(1, 9), st.integers(0, 9999))
@settings(max_examples=40, deadline=None)
def test_turns_are_read_as_written(components: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    how = angles(rng, components)
    for given_ in (None, how):
        writer = Writer()
        write_turns(writer, given_)
        writer.uniform(3, 50)
        reader = Reader(writer.getvalue())
        found = read_turns(reader, components)
        assert (found is None) == (given_ is None)
        if found is not None:
            np.testing.assert_array_equal(found, how)
        assert reader.uniform(50) == 3


def correlated(seed: int, angle: int, components: int = 4) -> np.ndarray:
    """Residuals (C, 12, 12, 64) in units of 2**-4 DN; the second follows the first."""
    rng = np.random.default_rng(seed)
    strength = np.array([900, 120, 90, 80, 70, 60, 50, 40, 30.0])[:components]
    fall = 1 / (1 + np.arange(64) / 12)
    x = rng.laplace(0, 1, (components, 12, 12, 64)) * strength[:, None, None, None] * fall
    how = np.zeros((len(pairs_of(components)), len(BANDS)), np.int64)
    how[0] = angle
    return turn_residual_back(x, how)


STEPS = np.full((12, 12), 160)
SEEN = np.zeros((12, 12), np.uint8)


@pytest.mark.parametrize("angle", [-9, 5, 13])
def test_the_angle_between_components_is_found(angle: int) -> None:
    found = choose_turns(correlated(1, angle), STEPS, SEEN)
    assert found is not None
    assert np.abs(found[0] - angle).max() <= 1
    assert not found[1:].any()


def test_components_that_do_not_go_together_stay_as_they_are() -> None:
    assert choose_turns(correlated(2, 0), STEPS, SEEN) is None
    assert choose_turns(correlated(3, 9), STEPS, np.full_like(SEEN, SKIPPED)) is None
    assert choose_turns(correlated(3, 9)[:1], STEPS, SEEN) is None
    assert choose_turns(correlated(3, 9) * 1e-4, STEPS, SEEN) is None


@needs_kernels
@pytest.mark.parametrize("seed", range(8))
def test_c_and_numpy_choose_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    residual = correlated(seed, int(rng.integers(-15, 16)), 2 + seed)
    residual = turn_residual(residual, angles(rng, 2 + seed) // 4)
    importance = np.where(rng.random((12, 12)) < 0.2, SKIPPED, 0).astype(np.uint8)
    ours = choose_turns(residual, STEPS, importance)
    theirs = plain(lambda: choose_turns(residual, STEPS, importance), turn_choice)
    assert (ours is None) == (theirs is None)
    if ours is not None:
        np.testing.assert_array_equal(ours, theirs)


@needs_kernels
def test_c_and_numpy_quantize_a_turned_residual_alike() -> None:
    residual = correlated(5, 7)
    _, symbols, points = requantized(residual, STEPS, 0.36)
    found = plain(lambda: requantized(residual, STEPS, 0.36), analysis)
    np.testing.assert_array_equal(symbols, found[1])
    assert points == found[2]


def seasons(shape: tuple[int, int, int, int] = (3, 4, 64, 64)) -> xr.Dataset:
    """Dates with another spectrum each."""
    rng = np.random.default_rng(6)
    dates, bands, height, width = shape
    ground = rng.normal(0, 1, (dates, height, width))
    mix = rng.uniform(0.2, 1.0, (dates, bands))
    pixels = 2000 + 300 * mix[:, :, None, None] * ground[:, None]
    pixels += rng.normal(0, 12, pixels.shape)
    names = ("B02", "B03", "B04", "B08")[:bands]
    times = np.datetime64("2021-01-15T10:00:00", "ns") + np.arange(dates) * np.timedelta64(90, "D")
    variables = {
        name: (("time", "y", "x"), pixels[:, k].clip(1, 9999).astype(np.uint16))
        for k, name in enumerate(names)
    }
    return xr.Dataset(variables, coords={"time": times})


@pytest.mark.parametrize("effort", ["default", "fast"])
def test_turns_save_bytes_where_spectra_change(
    effort: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds, sizes, decoded = seasons(), {}, {}
    for turned in (False, True):
        if not turned:
            monkeypatch.setattr(analysis, "choose_turns", lambda *_: None)
        path = tmp_path / f"{turned}.stvc"
        stvc.encode(ds, path, quality=60, effort=effort)
        monkeypatch.undo()
        sizes[turned] = path.stat().st_size
        with stvc.open(path) as archive:
            assert archive.verify().ok
            decoded[turned] = archive.to_xarray().load()
    assert sizes[True] < 0.93 * sizes[False]
    errors = [
        np.mean([((decoded[k][b].astype(int) - ds[b].astype(int)) ** 2).mean() for b in ds])
        for k in (False, True)
    ]
    assert errors[1] == pytest.approx(errors[0], rel=0.1)


def test_references_are_turned_with_the_prediction() -> None:
    rng = np.random.default_rng(7)
    from stvc.codec.prediction import ReferenceCoefficients

    mean, recent, second = (coefficients(rng, 4) for _ in range(3))
    age = np.zeros((3, 5), np.int32)
    refs = ReferenceCoefficients(mean, recent, second, mean, recent, age, age, False)
    how = angles(rng, 4)
    same, predicted = turned_references(refs, recent, None)
    assert same is refs and predicted is recent
    now, predicted = turned_references(refs, recent, how)
    np.testing.assert_array_equal(now.second, turn(second, how))
    np.testing.assert_array_equal(now.background, now.mean)
    np.testing.assert_array_equal(predicted, now.average)
