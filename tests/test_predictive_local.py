"""The local correction of generation 3: it learns, stays finite, forgets nothing by accident."""

import numpy as np
import pytest

from stvc.codec.predictive import decode, encode
from stvc.codec.predictive_layout import layout_of
from stvc.codec.predictive_local import FEATURES, LocalCorrection

SHAPE = (2, 12, 40)
SCALE = 60


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def walked(local, features, errors, shown=None):
    """Corrections of every pixel, in coding order; (K, N) features, (N,) errors."""
    layout = layout_of(SHAPE, 3)
    found = np.zeros(len(layout.cells))
    for step in range(len(layout.starts) - 1):
        span = slice(layout.starts[step], layout.starts[step + 1])
        count = span.stop - span.start
        found[span] = local.correct(features[:, span], layout.cells[span])
        seen = np.ones(count, bool) if shown is None else shown[span]
        local.learn(errors[span], np.full(count, SCALE), seen, layout.band_starts[step])
    return found


def test_what_differs_from_place_to_place_is_learned_there(rng):
    layout = layout_of(SHAPE, 3)
    column = (layout.cells % layout.plane) % layout.row
    features = rng.integers(-200, 200, (FEATURES, len(layout.cells))).astype(np.float64)
    # the left half follows the first number, the right half turns its sign around
    errors = np.rint(np.where(column < 23, 0.5, -0.5) * features[0])
    found = walked(LocalCorrection(layout, 1, None), features, errors)
    # one set of weights for the whole picture would take nothing off
    assert np.abs(errors - found).mean() < 0.6 * np.abs(errors).mean()


def test_the_next_date_starts_from_the_mean_of_this_one(rng):
    layout = layout_of(SHAPE, 3)
    features = rng.integers(-200, 200, (FEATURES, len(layout.cells))).astype(np.float64)
    errors = np.rint(0.5 * features[3])
    first = LocalCorrection(layout, 1, None)
    cold = walked(first, features, errors)
    warm = walked(LocalCorrection(layout, 1, first.memory()), features, errors)
    start = slice(0, layout.starts[20])
    assert np.abs(errors - warm)[start].sum() < 0.7 * np.abs(errors - cold)[start].sum()


def test_pixels_that_are_not_shown_teach_nothing(rng):
    layout = layout_of(SHAPE, 3)
    features = rng.integers(-200, 200, (FEATURES, len(layout.cells))).astype(np.float64)
    never = np.zeros(len(layout.cells), bool)
    local = LocalCorrection(layout, 1, None)
    assert (walked(local, features, features[0], never) == 0).all()
    assert (local.memory() == 0).all()


@pytest.mark.parametrize("pitch", [1, 101, 131_071])
def test_corrections_are_finite_integers_whatever_comes(rng, pitch):
    layout = layout_of(SHAPE, 3)
    features = rng.choice([-524_280.0, 0.0, 524_280.0], (FEATURES, len(layout.cells)))
    features[1:4] = features[0]  # singular
    found = walked(LocalCorrection(layout, pitch, None), features, features[0])
    assert np.isfinite(found).all()
    assert (found == np.rint(found)).all()


def test_memory_never_holds_denormal_numbers():
    layout = layout_of(SHAPE, 3)
    known = np.full((2, FEATURES, FEATURES + 1), 1e-31)
    assert (LocalCorrection(layout, 1, known).memory() == 0).all()


@pytest.mark.parametrize("max_error", [0, 5])
def test_where_it_cannot_help_it_costs_less_than_a_percent(rng, max_error):
    y, x = np.mgrid[:96, :96]
    noise = rng.normal(0, 1, (3, 96, 96)) * (4 + 40 * ((x // 24 + y // 24) % 2))
    stripes = 300 * np.sin(x / 3) * ((x // 32) % 2) + 300 * np.sin(y / 3) * ((y // 32) % 2)
    pixels = (2000 + stripes + noise.cumsum(0)).clip(1, 65535).astype(np.uint16)
    sizes = []
    for generation in (2, 3):
        encoded = encode(pixels, max_error=max_error, generation=generation)
        decoded, _ = decode(
            encoded.payload, pixels.shape, max_error=max_error, generation=generation
        )
        assert np.abs(decoded.astype(int) - pixels).max() <= max_error
        sizes.append(len(encoded.payload))
    assert sizes[1] < 1.01 * sizes[0]
