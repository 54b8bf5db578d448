"""Reference states, and the prediction made of them."""

from __future__ import annotations

import numpy as np
import pytest
import scenes
from hypothesis import given
from hypothesis import strategies as st

from stvc.codec.prediction import PROFILES, predict, reference_coefficients
from stvc.codec.references import NEVER, ReferenceState
from stvc.codec.registration import warp
from stvc.codec.spectral import fit_klt
from stvc.codec.transform import RADIUS, blocks_of, forward

GROUND = scenes.ground(1, 4, 3, (24, 32))
KLT = fit_klt(GROUND[0].reshape(3, -1).T)
CLEAR = np.zeros((24, 32), bool)


def state(background: bool = False, use_recent: bool = True) -> ReferenceState:
    base = GROUND[3].astype(np.int32) if background else None
    return ReferenceState(KLT.mean, (24, 32), base, use_recent)


def some_clouds(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((24, 32)) < 0.4


def test_a_fresh_state_knows_the_mean_or_the_background() -> None:
    fresh = state()
    assert fresh.empty
    assert (fresh.recent == KLT.mean[:, None, None]).all()
    with_background = state(background=True)
    assert not with_background.empty
    np.testing.assert_array_equal(with_background.recent, GROUND[3])
    assert (with_background.recent_day == NEVER).all()


def test_clear_pixels_enter_and_hidden_ones_keep_their_state() -> None:
    mine = state()
    first, second = some_clouds(1), some_clouds(2)
    mine.update(GROUND[0], first, 100, (0, 0))
    mine.update(GROUND[1], second, 105, (0, 0))
    recent = np.where(second, np.where(first, KLT.mean[:, None, None], GROUND[0]), GROUND[1])
    np.testing.assert_array_equal(mine.recent, recent)
    days = np.where(second, np.where(first, NEVER, 100), 105)
    np.testing.assert_array_equal(mine.recent_day, days)
    both = ~first & ~second
    np.testing.assert_array_equal(mine.second[:, both], GROUND[0][:, both])
    assert (mine.second_day[both] == 100).all()
    assert (mine.second_day[second] == NEVER).all()
    assert not mine.empty


def test_registered_frames_are_moved_home() -> None:
    mine = state()
    mine.update(GROUND[0], CLEAR, 100, (3, -6))
    np.testing.assert_array_equal(mine.recent, warp(GROUND[0], (-3, 6)))


@pytest.mark.parametrize("background", [False, True])
def test_reset_forgets_everything_but_the_background(background: bool) -> None:
    mine, fresh = state(background), state(background)
    for k in range(3):
        mine.update(GROUND[k], some_clouds(k), 100 + k, (k, 0))
    mine.reset()
    for name in ("recent", "recent_day", "second", "second_day"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(fresh, name))
    if background:
        np.testing.assert_array_equal(mine.background, GROUND[3])


def test_the_background_is_never_changed_in_place() -> None:
    base = GROUND[3].astype(np.int32)
    mine = ReferenceState(KLT.mean, (24, 32), base)
    mine.update(GROUND[0], CLEAR, 100, (0, 0))
    mine.recent += 1
    np.testing.assert_array_equal(base, GROUND[3])


def test_a_switched_off_state_stays_as_it_was() -> None:
    mine = state(background=True, use_recent=False)
    mine.update(GROUND[0], CLEAR, 100, (0, 0))
    np.testing.assert_array_equal(mine.recent, GROUND[3])
    assert (mine.recent_day == NEVER).all()


def test_ages_are_means_over_seen_pixels() -> None:
    mine = state()
    hidden = np.ones((24, 32), bool)
    hidden[:4, :8] = False
    mine.update(GROUND[0], hidden, 90, (0, 0))
    hidden = np.ones((24, 32), bool)
    hidden[:1, :8], hidden[8:16, 8:16] = False, False
    mine.update(GROUND[1], hidden, 101, (0, 0))
    refs = reference_coefficients(mine, KLT, (0, 0), 110)
    assert refs.recent_age[0, 0] == (8 * 9 + 24 * 20) // 32
    assert refs.recent_age[1, 1] == 9
    assert refs.second_age[0, 0] == 20
    unknown = np.ones((3, 4), bool)
    unknown[0, 0] = unknown[1, 1] = False
    assert (refs.recent_age[unknown] == -1).all()
    later = reference_coefficients(mine, KLT, (0, 0), 50)
    assert later.recent_age[1, 1] == 0
    ancient = reference_coefficients(mine, KLT, (0, 0), 10**6)
    assert ancient.recent_age[1, 1] == 4000


def test_what_stands_in_for_missing_references() -> None:
    refs = reference_coefficients(state(), KLT, (0, 0), 110)
    for name in ("recent", "second", "background"):
        np.testing.assert_array_equal(getattr(refs, name), refs.mean)
    assert not refs.has_background
    refs = reference_coefficients(state(background=True), KLT, (2, 5), 110)
    expected = forward(KLT.forward(warp(GROUND[3], (2, 5))))
    for name in ("recent", "second", "background"):
        np.testing.assert_array_equal(getattr(refs, name), expected)
    assert refs.has_background
    mine = state()
    mine.update(GROUND[0], CLEAR, 100, (0, 0))
    refs = reference_coefficients(mine, KLT, (0, 0), 110)
    np.testing.assert_array_equal(refs.second, refs.recent)
    np.testing.assert_array_equal(refs.background, refs.mean)


def test_profiles_are_shares() -> None:
    assert PROFILES.shape == (32, 2, 64)
    assert PROFILES.min() == 0
    assert PROFILES.sum(1).max() <= 65
    assert not PROFILES[0].any()
    assert (PROFILES[1, 0] == 64).all()
    assert not PROFILES[1, 1].any()
    assert len({p.tobytes() for p in PROFILES}) == 32


@given(
    st.lists(st.integers(0, 31), min_size=3, max_size=3),
    st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=3),
)
def test_prediction_mixes_references_by_frequency(profiles: list[int], offsets: list[int]) -> None:
    mine = state(background=True)
    mine.update(GROUND[0], CLEAR, 100, (0, 0))
    refs = reference_coefficients(mine, KLT, (0, 0), 110)
    got = predict(refs, np.array(profiles), np.array(offsets))
    assert got.dtype == np.int32
    weights = PROFILES[profiles][:, :, None, None, :] / 64
    exact = refs.mean + weights[:, 0] * (refs.recent - refs.mean.astype(float))
    exact += weights[:, 1] * (refs.background - refs.mean.astype(float))
    exact[..., 0] += np.array(offsets)[:, None, None]
    assert np.abs(got - exact).max() <= 0.51


def test_levels_from_the_recent_state_and_detail_from_the_background() -> None:
    mine = state(background=True)
    mine.update(GROUND[0], CLEAR, 100, (0, 0))
    refs = reference_coefficients(mine, KLT, (0, 0), 110)
    split = [k for k in range(32) if PROFILES[k, 0, 0] == 64 and PROFILES[k, 1, -1] == 64]
    assert split
    for k in split:
        got = predict(refs, np.full(3, k), np.zeros(3, np.int64))
        low = PROFILES[k, 0] == 64
        np.testing.assert_array_equal(got[..., low], refs.recent[..., low])
        np.testing.assert_array_equal(got[..., ~low], refs.background[..., ~low])
        assert RADIUS[low].max() < RADIUS[~low].min()


def test_the_state_itself_is_a_perfect_prediction_of_itself() -> None:
    mine = state()
    mine.update(GROUND[0], CLEAR, 100, (0, 0))
    refs = reference_coefficients(mine, KLT, (0, 0), 101)
    got = predict(refs, np.ones(3, np.int64), np.zeros(3, np.int64))
    np.testing.assert_array_equal(got, forward(KLT.forward(GROUND[0])))
    assert got.shape == blocks_of(GROUND[0]).shape
