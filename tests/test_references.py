"""Reference states, and the prediction made of them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import scenes
from hypothesis import given
from hypothesis import strategies as st

from stvc.codec.prediction import predict, reference_coefficients
from stvc.codec.profiles import profiles_of
from stvc.codec.references import MEMORY, NEVER, ReferenceState, linked_state
from stvc.codec.registration import warp
from stvc.codec.spectral import fit_klt
from stvc.codec.transform import RADIUS, blocks_of, forward

GROUND = scenes.ground(1, 4, 3, (24, 32))
KLT = fit_klt(GROUND[0].reshape(3, -1).T)
CLEAR = np.zeros((24, 32), bool)


def state(background: bool = False, use_recent: bool = True, generation: int = 2) -> ReferenceState:
    base = GROUND[3].astype(np.int32) if background else None
    return ReferenceState(KLT.mean, (24, 32), base, use_recent, generation)


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
    for name in ("recent", "recent_day", "second", "second_day", "average", "count"):
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
    assert later.recent_age[1, 1] == 51
    mine.generation = 1
    assert reference_coefficients(mine, KLT, (0, 0), 50).recent_age[1, 1] == 0
    mine.generation = 2
    ancient = reference_coefficients(mine, KLT, (0, 0), 10**6)
    assert ancient.recent_age[1, 1] == 4000


def test_what_stands_in_for_missing_references() -> None:
    refs = reference_coefficients(state(), KLT, (0, 0), 110)
    for name in ("recent", "second", "background", "average"):
        np.testing.assert_array_equal(getattr(refs, name), refs.mean)
    assert not refs.has_background
    refs = reference_coefficients(state(background=True), KLT, (2, 5), 110)
    expected = forward(KLT.forward(warp(GROUND[3], (2, 5))))
    for name in ("recent", "second", "background", "average"):
        np.testing.assert_array_equal(getattr(refs, name), expected)
    assert refs.has_background
    mine = state()
    mine.update(GROUND[0], CLEAR, 100, (0, 0))
    refs = reference_coefficients(mine, KLT, (0, 0), 110)
    np.testing.assert_array_equal(refs.second, refs.recent)
    np.testing.assert_array_equal(refs.background, refs.mean)


@pytest.mark.parametrize(("generation", "rows"), [(1, 32), (2, 64)])
def test_profiles_are_shares(generation: int, rows: int) -> None:
    table = profiles_of(generation)
    assert table.shape == (rows, 4, 64)
    assert table.min() == 0
    assert table.sum(1).max() <= 66
    assert not table[0].any()
    assert (table[1, 0] == 64).all()
    assert not table[1, 1:].any()
    assert len({p.tobytes() for p in table}) == rows
    assert not table.flags.writeable
    digest = hashlib.sha256(table.astype("<i8").tobytes()).hexdigest()
    assert digest.startswith({1: "041747f6dd031d3d", 2: "42dbf0c1bc5e6a48"}[generation])
    # ^ part of the bit stream


@pytest.mark.parametrize("generation", [1, 2])
@given(
    st.lists(st.integers(0, 31), min_size=3, max_size=3),
    st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=3),
)
def test_prediction_mixes_references_by_frequency(
    generation: int, profiles: list[int], offsets: list[int]
) -> None:
    mine = state(background=True, generation=generation)
    mine.update(GROUND[0], CLEAR, 100, (0, 0))
    mine.update(GROUND[1], CLEAR, 105, (0, 0))
    refs = reference_coefficients(mine, KLT, (0, 0), 110)
    got = predict(refs, np.array(profiles), np.array(offsets))
    assert got.dtype == np.int32
    weights = profiles_of(generation)[profiles][:, :, None, None, :] / 64
    exact = refs.mean.astype(float)
    for k, plane in enumerate((refs.recent, refs.background, refs.second, refs.average)):
        exact = exact + weights[:, k] * (plane - refs.mean.astype(float))
    exact[..., 0] += np.array(offsets)[:, None, None]
    assert np.abs(got - exact).max() <= 0.51


def test_the_running_mean_follows_the_clear_values() -> None:
    mine = state(background=True)
    wanted, count = GROUND[3].astype(float), np.zeros((24, 32))
    for k in range(7):
        clouds = some_clouds(k)
        mine.update(GROUND[k % 4], clouds, 100 + k, (0, 0))
        count = np.where(clouds, count, np.minimum(count + 1, MEMORY))
        moved = wanted + (GROUND[k % 4] - wanted) / np.maximum(count, 1)
        wanted = np.where(clouds, wanted, moved)
    np.testing.assert_array_equal(mine.count, count)
    assert np.abs(mine.average - wanted).max() <= 4
    # ^ each step rounds by half a DN, and forgets a quarter of what earlier ones rounded
    only = state()
    only.update(GROUND[0], CLEAR, 100, (0, 0))
    np.testing.assert_array_equal(only.average, GROUND[0])


def test_between_two_frames_the_closer_date_comes_first() -> None:
    before, after = state(), state()
    hidden_before, hidden_after = some_clouds(1), some_clouds(2)
    before.update(GROUND[0], hidden_before, 100, (0, 0))
    after.update(GROUND[1], hidden_after, 108, (0, 0))
    for day, closer in ((103, 0), (104, 0), (105, 1)):
        made = linked_state(state(), before, after, day)
        both = ~hidden_before & ~hidden_after
        np.testing.assert_array_equal(made.recent[:, both], GROUND[closer][:, both])
        np.testing.assert_array_equal(made.second[:, both], GROUND[1 - closer][:, both])
        one = ~hidden_before & hidden_after
        np.testing.assert_array_equal(made.recent[:, one], GROUND[0][:, one])
        assert (made.second_day[one] == NEVER).all()
        neither = hidden_before & hidden_after
        assert (made.recent_day[neither] == NEVER).all()
        assert made.two_sided
        mean = (GROUND[0].astype(int) + GROUND[1] + 1) >> 1
        np.testing.assert_array_equal(made.average[:, both], mean[:, both])
        np.testing.assert_array_equal(made.average[:, one], GROUND[0][:, one])
        refs = reference_coefficients(made, KLT, (0, 0), day)
        assert refs.two_sided
        assert refs.recent_age.min() >= 0
    np.testing.assert_array_equal(after.recent_day, np.where(hidden_after, NEVER, 108))


@pytest.mark.parametrize("side", ["before", "after", "none"])
def test_a_linked_state_can_be_advanced_on_its_own(side: str) -> None:
    fresh, other = state(background=True), state(background=True)
    other.update(GROUND[0], CLEAR, 100, (0, 0))
    links = {"before": (other, None), "after": (None, other), "none": (None, None)}[side]
    made = linked_state(fresh, *links, 104)
    assert not made.two_sided
    kept = (other.recent.copy(), other.average.copy(), fresh.recent.copy())
    made.update(GROUND[1], CLEAR, 104, (0, 0))
    for mine, old in zip((other.recent, other.average, fresh.recent), kept, strict=True):
        np.testing.assert_array_equal(mine, old)
    np.testing.assert_array_equal(made.second, GROUND[3] if side == "none" else GROUND[0])


def test_levels_from_the_recent_state_and_detail_from_the_background() -> None:
    table = profiles_of(1)
    mine = state(background=True, generation=1)
    mine.update(GROUND[0], CLEAR, 100, (0, 0))
    refs = reference_coefficients(mine, KLT, (0, 0), 110)
    split = [k for k in range(32) if table[k, 0, 0] == 64 and table[k, 1, -1] == 64]
    assert split
    for k in split:
        got = predict(refs, np.full(3, k), np.zeros(3, np.int64))
        low = table[k, 0] == 64
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
