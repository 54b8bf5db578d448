"""Choice of levels: never more distortion than the dead zone's, fewer bits where there are any."""

from __future__ import annotations

import numpy as np
import pytest
import scenes
from hypothesis import given
from hypothesis import strategies as st

import stvc
from stvc.codec import costs, entropy, network_coding, unit_encoder
from stvc.codec.levels import _squared_error, choose_levels
from stvc.codec.quantize import quantize
from stvc.codec.unit import NETWORK
from stvc.model.weights import load_model

MODELS = load_model().models
SHRINK = (2, 1)


def case(seed: int, spread: float, size: int = 400) -> tuple[np.ndarray, ...]:
    """Residuals of a known scale, and what a model that knows it would say."""
    rng = np.random.default_rng(seed)
    residual = rng.laplace(0, spread, size)
    plain = quantize(residual, np.ones(size, np.int64), 0.36).astype(np.int64)
    scale = np.full(size, int(np.clip(round(18 + 4 * np.log2(spread)), 0, 55)))
    return residual, plain, np.zeros(size, np.int64), scale


@given(st.integers(0, 10**6), st.floats(0.05, 30))
def test_distortion_never_grows_and_bits_shrink(seed: int, spread: float) -> None:
    residual, plain, location, scale = case(seed, spread)
    chosen = choose_levels(residual, plain, location, scale, SHRINK, MODELS)
    if chosen is None:
        return

    def distortion(levels: np.ndarray) -> float:
        return float(_squared_error(np.abs(residual), np.abs(levels), SHRINK).sum())

    assert distortion(chosen) <= distortion(plain) * (1 + 1e-12)
    assert (np.sign(chosen) * np.sign(residual) >= 0).all()
    assert np.abs(np.abs(chosen) - np.abs(residual)).max() <= 2.5


def test_bits_are_saved_on_what_the_codec_meets() -> None:
    residual, plain, location, scale = case(1, 0.6, 20_000)
    chosen = choose_levels(residual, plain, location, scale, SHRINK, MODELS)
    assert chosen is not None
    before, after = (
        costs.symbol_bits(levels, location, scale, MODELS).sum() for levels in (plain, chosen)
    )
    assert after < before


def test_nothing_to_choose() -> None:
    nothing = np.zeros(9)
    whole = nothing.astype(np.int64)
    assert choose_levels(nothing, whole, whole, whole + 10, SHRINK, MODELS) is None


@pytest.mark.parametrize("size", [(3, 5), (8, 8)])
def test_batches_know_where_their_symbols_lie(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    importance = rng.choice(np.array([0, 2, 255], np.uint8), size)
    symbols = rng.integers(-9, 9, (2, importance.size, 64)).astype(np.int32)
    symbols[:, importance.reshape(-1) == 255] = 0
    places = entropy.batch_places(importance, 2)
    again = np.zeros(symbols.size, np.int32)
    for place in places:
        assert not again[place].any() or len(place) == 0
        again[place] = symbols.reshape(-1)[place]
    np.testing.assert_array_equal(again.reshape(symbols.shape), symbols)
    assert len(np.unique(np.concatenate(places))) == 2 * 64 * (importance != 255).sum()


def test_archives_get_smaller_at_the_same_quality(tmp_path, monkeypatch) -> None:
    ds = scenes.dataset(3, (64, 64), groups={"": ("B02", "B08")}, seed=3)
    monkeypatch.setattr(unit_encoder, "cheaper_coder", lambda *_: NETWORK)
    # ^ the network codes every unit, whatever it is worth on synthetic ground
    found = {}
    for name in ("two passes", "one pass"):
        if name == "one pass":
            monkeypatch.setattr(network_coding, "choose_levels", lambda *_: None)
        stvc.encode(ds, tmp_path / "a.stvc", quality=45)
        with stvc.open(tmp_path / "a.stvc") as archive:
            info = archive.info()
        found[name] = info["bytes_by_kind"]["pixels"], info["psnr_clear"]
    assert found["two passes"][0] < found["one pass"][0]
    assert abs(found["two passes"][1] - found["one pass"][1]) < 0.15
