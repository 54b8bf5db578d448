"""References, predictions and their choice in C: the same as in numpy."""

from __future__ import annotations

from copy import copy, deepcopy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_kernels import needs_kernels, plain

from stvc import native
from stvc.codec import prediction, prediction_choice, references, registration, synthesis
from stvc.codec.prediction import ReferenceCoefficients
from stvc.codec.profiles import profiles_of
from stvc.codec.references import NEVER, ReferenceState
from stvc.codec.registration import MAX_SHIFT
from stvc.codec.spectral import Klt

pytestmark = needs_kernels
NAMES = ("recent", "second", "average", "recent_day", "second_day", "count")
SEEDS = st.integers(0, 2**32)
SIZES = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4))
SHIFTS = st.integers(-MAX_SHIFT, MAX_SHIFT)


def state(rng: np.random.Generator, c: int, h: int, w: int, generation: int) -> ReferenceState:
    """Whatever may be in it."""
    made = ReferenceState(np.zeros(c, np.int32), (h, w), None, True, generation)
    made.recent, made.second, made.average = rng.integers(0, 65536, (3, c, h, w), np.int32)
    days = rng.integers(10_000, 30_000, (2, h, w), np.int32)
    made.recent_day, made.second_day = np.where(rng.random(days.shape) < 0.3, NEVER, days)
    made.count = rng.integers(0, 5, (h, w), np.int32)
    return made


@given(SIZES, st.integers(9_000, 31_000), st.booleans(), SEEDS)
def test_two_sides_are_combined_alike(
    sizes: tuple[int, int, int], day: int, views: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    c, h, w = sizes
    mine, later = (state(rng, c, 8 * h, 8 * w, 4) for _ in "ml")
    if views:
        mine.recent = np.ascontiguousarray(mine.recent.swapaxes(1, 2)).swapaxes(1, 2)
    found = mine.between(later, day)
    wanted = plain(lambda: mine.between(later, day), references)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), name)
        assert getattr(found, name).dtype == np.int32
    assert found.two_sided


@given(SIZES, st.sampled_from([0.0, 0.3, 1.0]), st.tuples(SHIFTS, SHIFTS), SEEDS)
def test_dates_enter_alike(
    sizes: tuple[int, int, int], share: float, shift: tuple[int, int], seed: int
) -> None:
    """Under clouds of any share; arrays of before are left as they were."""
    rng = np.random.default_rng(seed)
    c, h, w = sizes
    before = state(rng, c, 8 * h, 8 * w, 4)
    decoded = rng.integers(0, 65536, (c, 8 * h, 8 * w)).astype(np.uint16)
    hidden = rng.random((8 * h, 8 * w)) < share
    kept, found, wanted = deepcopy(before), copy(before), copy(before)
    found.update(decoded, hidden, 20_000, shift)
    plain(lambda: wanted.update(decoded, hidden, 20_000, shift), references)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), name)
        np.testing.assert_array_equal(getattr(before, name), getattr(kept, name), name)


@given(SIZES, st.sampled_from([0.0, 0.02, 0.5, 1.0]), SEEDS)
def test_concealed_pixels_are_shown_alike(
    sizes: tuple[int, int, int], share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    c, h, w = sizes
    klt = Klt(np.eye(c, dtype=np.int16) << 14, np.zeros(c, np.int32), np.zeros(c, np.uint8))
    decoded = rng.integers(-(1 << 21), 1 << 21, (c, 8 * h, 8 * w), np.int32)
    predicted = rng.integers(-(1 << 18), 1 << 21, (c, h, w, 64), np.int32)
    concealed = rng.random((8 * h, 8 * w)) < share
    found = synthesis.shown_pixels(decoded, predicted, klt, concealed)
    wanted = plain(lambda: synthesis.shown_pixels(decoded, predicted, klt, concealed), synthesis)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.uint16


@given(SIZES, st.tuples(SHIFTS, SHIFTS), st.booleans(), SEEDS)
def test_some_tokens_are_those_of_all(
    sizes: tuple[int, int, int], shift: tuple[int, int], dated: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    c, h, w = sizes
    made = state(rng, c, 8 * h, 8 * w, 4) if dated else ReferenceState(np.ones(c, int), (8 * h, 8))
    klt = Klt(np.eye(c, dtype=np.int16) << 14, made.mean, np.zeros(c, np.uint8))
    tokens = rng.permutation(made.shape[0] * made.shape[1] // 64)[:5]
    some = prediction.reference_coefficients(made, klt, shift, 20_000, tokens)
    all_of_them = prediction.reference_coefficients(made, klt, shift, 20_000)
    assert some.unpredicted == all_of_them.unpredicted
    for x, y in zip(
        (*some.planes, some.mean), (*all_of_them.planes, all_of_them.mean), strict=True
    ):
        np.testing.assert_array_equal(x[:, 0], y.reshape(c, -1, 64)[:, tokens])


@given(SIZES, st.integers(9_000, 31_000), st.sampled_from([1, 4]), SEEDS)
def test_blocks_are_dated_alike(
    sizes: tuple[int, int, int], day: int, generation: int, seed: int
) -> None:
    """Later days than today's too: they count for nothing in the first generation."""
    days = state(np.random.default_rng(seed), 1, 8 * sizes[1], 8 * sizes[2], 4).recent_day
    days[:8, :8] = NEVER
    found = prediction._block_age(days, day, generation)
    wanted = plain(lambda: prediction._block_age(days, day, generation), prediction)
    np.testing.assert_array_equal(found, wanted)
    assert found[0, 0] == -1


def coefficients(
    rng: np.random.Generator, sizes: tuple[int, int, int], spread: float, generation: int, bare: int
) -> tuple[np.ndarray, ReferenceCoefficients]:
    """A target near its references, of which ``bare`` are the mean itself."""
    c, h, w = sizes
    falling = 1 / (1 + np.arange(64))
    mean = np.zeros((c, 1, 1, 64), np.int32)
    mean[..., 0] = rng.integers(0, 1 << 20, (c, 1, 1))
    mean = np.broadcast_to(mean, (c, h, w, 64))
    place = rng.normal(0, 20_000, (c, h, w, 64)) * falling

    def near() -> np.ndarray:
        return (mean + place + rng.normal(0, spread, mean.shape) * falling).astype(np.int32)

    planes = [mean if k < bare else near() for k in range(4)]
    age = np.zeros((h, w), np.int32)
    refs = ReferenceCoefficients(
        mean, planes[3], planes[2], planes[0], planes[1], age, age, bare < 4, False, generation
    )
    return near(), refs


@given(SIZES, st.sampled_from([10.0, 1e4]), st.sampled_from([1, 2, 4]), st.integers(0, 4), SEEDS)
def test_predictions_are_alike(
    sizes: tuple[int, int, int], spread: float, generation: int, bare: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    _, refs = coefficients(rng, sizes, spread, generation, bare)
    profiles = rng.integers(0, len(profiles_of(generation)), sizes[0])
    offsets = rng.integers(-9999, 10_000, sizes[0])
    found = prediction.predict(refs, profiles, offsets)
    wanted = plain(lambda: prediction.predict(refs, profiles, offsets), prediction)
    np.testing.assert_array_equal(found, wanted)


@given(
    SIZES,
    st.sampled_from([10.0, 300.0, 1e4]),
    st.sampled_from([1, 4]),
    st.integers(0, 3),
    st.sampled_from([1, 16, 333, 1 << 14]),
    st.booleans(),
    SEEDS,
)
def test_costs_are_alike(
    sizes: tuple[int, int, int],
    spread: float,
    generation: int,
    bare: int,
    step: int,
    lifted: bool,
    seed: int,
) -> None:
    """To a millionth; where this might decide about a choice, numpy decides."""
    rng = np.random.default_rng(seed)
    target, refs = coefficients(rng, sizes, spread, generation, bare)
    if lifted:
        target[..., 0] += rng.integers(-40, 41) * step
    tokens = sizes[1] * sizes[2]
    probes = rng.permutation(tokens)[: rng.integers(1, min(tokens, 64) + 1)]
    rows = prediction_choice._rows(generation)
    for some in (rows, rows[:1]):
        cost, lift = prediction_choice.native_costs(target, refs, probes, some, step)
        wanted, lift_wanted = prediction_choice.plain_costs(target, refs, probes, some, step)
        np.testing.assert_array_equal(lift, lift_wanted)
        np.testing.assert_allclose(cost, wanted, rtol=prediction_choice._ERROR, atol=1e-5)
    for some_probes in (probes, probes[::2]):
        args = target, refs, some_probes, step
        found = prediction_choice.choose_prediction(*args)
        wanted = plain(lambda a=args: prediction_choice.choose_prediction(*a), prediction_choice)
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_array_equal(found[1], wanted[1])


def test_a_logarithm_for_each_number_says_the_same() -> None:
    """Products whose exponents are summed apart are not what the cost means, but equal it."""
    rng = np.random.default_rng(3)
    target, refs = coefficients(rng, (2, 8, 8), 3000, 4, 1)
    rows = np.zeros((1, 64, 4), np.float32)
    cost, lift = prediction_choice.native_costs(target, refs, np.arange(64), rows, 1 << 14)
    residual = np.float64(target - refs.mean)
    residual[..., 0] -= lift[:, 0, None, None] * (1 << 14)
    wanted = np.log2(1 + np.abs(residual) / (1 << 14)).sum((1, 2, 3))
    np.testing.assert_allclose(cost[:, 0], wanted, atol=1e-3)


I32, F32 = np.int32, np.float32
FILTERS = registration.FILTERS.astype(I32)
PLANE, FLOATS = np.zeros((1, 8, 8), I32), np.zeros((8, 8), F32)
COSTS = np.zeros((1, 2))
SIDES = (*(np.zeros(8, I32),) * 2, *(np.zeros(4, I32),) * 2)
MADE = (*(np.zeros(8, I32),) * 3, *(np.zeros(4, I32),) * 3)


STEP = (SIDES[0], np.zeros(4, bool), np.zeros(5, I32), *SIDES, SIDES[0], SIDES[2])


def costs(**other: object) -> tuple[object, ...]:
    named = {
        "sizes": (1, 1, 16, 9),
        "target": PLANE,
        "planes": (PLANE, None, None, PLANE),
        "mean": np.zeros(64, F32),
        "probes": np.zeros(2, np.int64),
        "weights": np.zeros((2, 64, 4), F32),
        "cost": COSTS,
        "lift": np.zeros((1, 2), F32),
    }
    sizes, target, planes, *rest = (named | other).values()
    return sizes, target, *planes, *rest


def predicted(**other: object) -> tuple[object, ...]:
    named = {
        "sizes": (1, 1, 6),
        "planes": (PLANE, None, None, PLANE),
        "mean": np.zeros(64, I32),
        "weights": np.zeros((4, 64), I32),
        "offsets": np.zeros(1, np.int64),
        "out": PLANE.copy(),
    }
    return tuple((named | other).values())


def test_what_fits_is_done() -> None:
    assert native.kernels is not None
    native.kernels.profile_costs(*costs())
    native.kernels.predict(*predicted())
    native.kernels.between(2, 5, *SIDES, *SIDES, *MADE)
    native.kernels.advance(2, 5, *STEP, *MADE)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("warp", (PLANE + 65536, FILTERS, (1, 8, 8), (1, 1), PLANE.copy())),
        ("warp", (PLANE - 1, FILTERS, (1, 8, 8), (1, 1), PLANE.copy())),
        ("warp", (PLANE, FILTERS * 999, (1, 8, 8), (1, 1), PLANE.copy())),
        ("warp", (PLANE, FILTERS[:7], (1, 8, 8), (1, 1), PLANE.copy())),
        ("warp", (PLANE, FILTERS, (1, 8, 7), (1, 1), PLANE.copy())),
        ("warp", (PLANE, FILTERS, (1, 64, 0), (1, 1), PLANE.copy())),
        ("warp", (PLANE, FILTERS, (2**40, 8, 8), (1, 1), PLANE.copy())),
        ("warp", (PLANE, FILTERS, (1, 8, 8), (2**20, 1), PLANE.copy())),
        ("block_ages", (PLANE, (8, 7), 1, True, -9, np.zeros(1, I32))),
        ("block_ages", (PLANE, (8, 16), 1, True, -9, np.zeros(2, I32))),
        ("block_ages", (PLANE, (8, 8), 1, True, -9, np.zeros(2, I32))),
        ("between", (3, 5, *SIDES, *SIDES, *MADE)),
        ("between", (-1, 5, *SIDES, *SIDES, *MADE)),
        ("between", (2, 5, *SIDES[::-1], *SIDES, *MADE)),
        ("between", (2, 5, *SIDES, *SIDES, *MADE[1:], MADE[0])),
        ("advance", (3, 5, *STEP, *MADE)),
        ("advance", (-1, 5, *STEP, *MADE)),
        ("advance", (2, 5, *STEP[:6], np.full(4, 5, I32), *STEP[7:], *MADE)),
        ("advance", (2, 5, *STEP[:6], np.full(4, -1, I32), *STEP[7:], *MADE)),
        ("advance", (2, 5, *STEP[:2], np.zeros(4, I32), *STEP[3:], *MADE)),
        ("advance", (2, 5, *STEP, *MADE[1:], MADE[0])),
        ("show", (PLANE, np.ones((8, 8), bool), (1, 8, 8), PLANE[:0], PLANE.astype("u2"))),
        ("show", (PLANE, np.zeros((8, 8), bool), (1, 8, 8), PLANE, PLANE.astype("u2"))),
        ("show", (PLANE, np.zeros((8, 8), bool), (1, 4, 16), PLANE[:0], PLANE.astype("u2"))),
        ("show", (PLANE, np.zeros((8, 8), bool), (1, 8, 16), PLANE[:0], PLANE.astype("u2"))),
        ("show", (PLANE, np.zeros((8, 8), bool), (0, 8, 8), PLANE[:0], PLANE.astype("u2"))),
        ("show", (PLANE, np.zeros((8, 8), bool), (1, 8, 8), PLANE[:0], PLANE.copy())),
        ("blur", (FLOATS, np.zeros(5, F32), (2, 32), FLOATS.copy())),
        ("blur", (FLOATS, np.zeros(4, F32), (8, 8), FLOATS.copy())),
        ("blur", (FLOATS, np.zeros(5, F32), (8, 9), FLOATS.copy())),
        ("equations", (FLOATS, FLOATS, FLOATS == 0, (8, 9), np.zeros(5))),
        ("equations", (FLOATS, FLOATS, FLOATS == 0, (8, 8), np.zeros(4))),
        ("equations", (FLOATS * np.nan, FLOATS, FLOATS == 0, (8, 8), np.zeros(5))),
        ("profile_costs", costs(sizes=(1, 2, 16, 9))),
        ("profile_costs", costs(sizes=(1, 1, 0, 9))),
        ("profile_costs", costs(sizes=(1, 1, 16, -1))),
        ("profile_costs", costs(sizes=(2**40, 2**40, 16, 9))),
        ("profile_costs", costs(probes=np.array([0, 1]))),
        ("profile_costs", costs(probes=np.array([-1]))),
        ("profile_costs", costs(probes=np.zeros(65, np.int64))),
        ("profile_costs", costs(probes=np.zeros(0, np.int64))),
        ("profile_costs", costs(planes=(PLANE, None, PLANE[0, 0], None))),
        ("profile_costs", costs(weights=np.zeros((257, 64, 4), F32))),
        ("profile_costs", costs(cost=np.zeros((1, 3)))),
        ("predict", predicted(sizes=(1, 2, 6))),
        ("predict", predicted(sizes=(1, 1, 60))),
        ("predict", predicted(weights=np.zeros((3, 64), I32))),
        ("predict", predicted(offsets=np.zeros(2, np.int64))),
        ("predict", predicted(planes=(PLANE, None, None, PLANE[:, 1:].copy()))),
    ],
)
def test_what_does_not_fit_is_refused(name: str, arguments: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match=r"aligned items|outside of what"):
        getattr(native.kernels, name)(*arguments)


def test_references_need_not_lie_in_one_piece() -> None:
    rng = np.random.default_rng(5)
    target, refs = coefficients(rng, (3, 2, 2), 300, 4, 0)
    turned = np.ascontiguousarray(refs.recent.transpose(3, 0, 1, 2)).transpose(1, 2, 3, 0)
    other = replace(refs, recent=turned)
    rows, probes = prediction_choice._rows(4), np.arange(4)
    first, second = (
        prediction_choice.native_costs(target, x, probes, rows, 16)[0] for x in (refs, other)
    )
    np.testing.assert_array_equal(first, second)
