"""Whole units in C: inputs, levels, pixels, widenings and words, the same as in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_kernels import needs_kernels, plain
from test_adaptation import MODELS
from test_native_references import state
from test_native_transforms import KINDS, SIZES, numbers
from test_turns import angles as angles_of

from stvc import native
from stvc.codec import analysis, costs, frame_stats, spectral, synthesis, transform, widening
from stvc.codec import turns as turning
from stvc.codec.adaptation import BANDS, widened
from stvc.codec.batches import corrected_batches, write_batches
from stvc.codec.columns import Columns, column_costs
from stvc.codec.entropy import PLAIN_BANDS
from stvc.codec.fast_coder import Told, told_batches
from stvc.codec.fast_coding import FastCoding
from stvc.codec.fast_walk import TorchWalk, walk_through
from stvc.codec.prediction import reference_coefficients
from stvc.codec.quantize import importance_class, step_size, token_steps
from stvc.codec.rangecoder import Writer
from stvc.codec.spectral import Klt
from stvc.codec.unit_plan import UnitPlan
from stvc.codec.widening import all_costs, choose_widening, widening_of, write_widening
from stvc.model import fast_features
from stvc.model.fast_architecture import FAST_GROUPS, LOW, MOVES, PLANES, SIDE
from stvc.model.weights import default_model_id, load_model

pytestmark = needs_kernels
SEEDS = st.integers(0, 2**32)


def mixture(rng: np.random.Generator, bands: int) -> Klt:
    matrix = rng.integers(-(1 << 14), (1 << 14) + 1, (bands, bands)).astype(np.int16)
    return Klt(matrix, np.zeros(bands, np.int32), np.zeros(bands, np.uint8))


@given(SIZES, st.sampled_from([np.uint16, np.int32, np.int64]), KINDS, st.booleans(), SEEDS)
def test_pixels_become_coefficients_alike(
    sizes: tuple[int, int, int], dtype: type[np.generic], kind: str, left: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    c, h, w = sizes
    klt = mixture(rng, c)
    planes = np.abs(numbers(rng, kind, (c, 8 * h, 8 * w), 65535)).astype(dtype)
    mixed = np.empty(planes.shape, np.int32) if left else None
    found = klt.coefficients(planes, mixed)
    wanted = plain(lambda: klt.coefficients(planes), spectral, transform)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.int32
    if mixed is not None:
        np.testing.assert_array_equal(mixed, klt.forward(planes))


@given(SIZES, st.sampled_from([0.0, 0.02, 0.5, 1.0]), st.booleans(), SEEDS)
def test_levels_become_pixels_alike(
    sizes: tuple[int, int, int], share: float, show: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    c, h, w = sizes
    klt = mixture(rng, c)
    predicted = rng.integers(-(1 << 16), 1 << 18, (c, h, w, 64), np.int32)
    symbols = np.rint(rng.laplace(0, 2, predicted.shape)).astype(np.int32)
    concealed = rng.random((8 * h, 8 * w)) < share
    concealed[: 8 * (seed % 2)] = True
    steps = np.asarray(step_size(rng.integers(0, 300, (h, w))))
    shrink = (int(rng.integers(-7, 8)), int(rng.integers(-7, 8)))
    turns = None if seed % 3 else angles_of(rng, c)
    zeros = np.zeros(c, np.int64)
    plan = UnitPlan(0, (0, 0), zeros, zeros, shrink, zeros, turns)
    given_ = (predicted, symbols, steps, plan, klt, concealed)
    found = synthesis.unrestored_pixels(*given_, show=show)
    wanted = plain(
        lambda: synthesis.unrestored_pixels(*given_), synthesis, spectral, transform, turning
    )
    if show:
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(found[:, ~concealed], wanted[:, ~concealed])
    assert found.dtype == np.uint16


@given(SIZES, st.sampled_from([0.0, 0.3, 0.95]), st.booleans(), st.sampled_from([0.36, 0.5]), SEEDS)
def test_levels_are_found_alike(
    sizes: tuple[int, int, int], share: float, coarse: bool, dead_zone: float, seed: int
) -> None:
    """What is filled is the same to many digits; levels are where these do not decide."""
    rng = np.random.default_rng(seed)
    c, h, w = sizes
    hidden = rng.random((8 * h, 8 * w)) < share
    hidden[: 8 * (seed % 3 == 0)] = True
    importance = importance_class(hidden, coarse)
    steps = token_steps(int(rng.integers(100, 250)), importance)
    components = np.cumsum(rng.integers(-300, 300, (c, 8 * h, 8 * w)), 1).astype(np.int32)
    target = transform.forward(components)
    predicted = target + np.rint(rng.laplace(0, 900, target.shape)).astype(np.int32)
    how = analysis._Levels(
        components, target, predicted, hidden, steps, importance, dead_zone, not coarse
    )
    turns = angles_of(rng, c) if seed % 2 else None
    residual, symbols, shrink = analysis.native_levels(how, turns)
    wanted, levels, points = plain(
        lambda: analysis.plain_levels(how, turns), analysis, transform, turning
    )
    np.testing.assert_allclose(residual, wanted, rtol=1e-9, atol=1e-6)
    near = np.abs(wanted) / steps[None, :, :, None] + dead_zone
    sure = np.abs(near - np.rint(near)) > 1e-9
    np.testing.assert_array_equal(symbols[sure], levels[sure])
    assert (np.abs(symbols - levels) <= 1).all()
    if (symbols == levels).all():
        assert shrink == points


@given(st.integers(1, 4), st.tuples(*[st.integers(1, 19)] * 2), st.sampled_from([0, 0.4, 1]), SEEDS)
def test_errors_are_summed_up_alike(
    bands: int, size: tuple[int, int], share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    h, w = size
    decoded = rng.choice([0, 7, 999, 65535], (bands, h + 3, w + 2)).astype(np.uint16)
    original = rng.choice([0, 9, 65535], (bands, h, w)).astype(np.uint16)
    unclear = rng.random((h + 3, w + 2)) < share
    found = frame_stats.clear_errors(decoded, original, unclear)
    assert found == plain(lambda: frame_stats.clear_errors(decoded, original, unclear), frame_stats)


@given(SIZES, st.booleans(), st.booleans(), st.booleans(), SEEDS)
def test_inputs_are_gathered_alike(
    sizes: tuple[int, int, int], dated: bool, background: bool, wild: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    c, h, w = sizes
    made = state(rng, c, 8 * h, 8 * w, 4)
    if not dated:
        made.recent_day = made.second_day = np.full_like(made.recent_day, -(1 << 30))
    if background:
        made.background = rng.integers(0, 9999, made.recent.shape, np.int32)
    refs = reference_coefficients(made, mixture(rng, c), (0, 0), 20_000)
    predicted = rng.integers(-(1 << (25 if wild else 12)), 1 << 12, (c, h, w, 64), np.int32)
    rows = np.flatnonzero(rng.random(h * w) < 0.7)
    steps = np.asarray(step_size(rng.integers(0, 300, h * w)))

    def gathered() -> tuple[np.ndarray, np.ndarray]:
        known = np.zeros((c, len(rows), 64 * PLANES + SIDE), np.uint8)
        moves = np.zeros((c, len(rows), LOW, MOVES), np.int16)
        gather = fast_features.native_inputs
        if fast_features.kernels is None:
            gather = fast_features.plain_inputs
        gather(refs, predicted, steps, rows, known, moves)
        return known, moves

    for a, b in zip(gathered(), plain(gathered, fast_features), strict=True):
        np.testing.assert_array_equal(a, b)


def unit_of(seed: int, *, wild: bool = False, tokens: int = 9) -> Told:
    rng = np.random.default_rng(seed)
    scale = rng.integers(0, 56, (2, tokens, 64)).astype(np.uint8)
    location = rng.integers(-60, 60, (2, tokens, LOW), np.int32) // 2 * 2
    width = 2.0 ** ((scale.astype(float) - 18) / 4) * (30 if wild else 1)
    symbols = np.rint(rng.standard_normal(scale.shape) * width)
    symbols[..., :LOW] += location / 8
    return Told(np.rint(symbols).astype(np.int32), location, scale)


@given(SEEDS, st.booleans())
def test_widenings_cost_the_same(seed: int, wild: bool) -> None:
    told = unit_of(seed, wild=wild)
    found = all_costs(*told, MODELS)
    for batch in told_batches(told):
        columns = Columns.plain(batch.location, batch.scale)
        wanted = column_costs(batch.symbols, columns, range(-9, 10), MODELS)
        mine = found[batch.component, batch.low : batch.low + batch.scale.shape[1]]
        np.testing.assert_array_equal(mine, wanted)


@given(SEEDS, st.integers(-7, 7))
def test_widenings_are_chosen_alike(seed: int, wider: int) -> None:
    told = unit_of(seed, tokens=30)
    told = told._replace(scale=np.clip(told.scale + np.int16(wider), 0, 55).astype(np.uint8))
    found = widening_of(*told, MODELS)
    groups = [(b.component, b.low, b.symbols, b.location, b.scale) for b in told_batches(told)]
    np.testing.assert_array_equal(choose_widening(groups, 2, MODELS), found)
    np.testing.assert_array_equal(
        plain(lambda: choose_widening(groups, 2, MODELS), widening), found
    )


@given(SEEDS, st.booleans(), st.integers(0, 20))
def test_units_become_the_same_words(seed: int, wild: bool, tokens: int) -> None:
    told = unit_of(seed, wild=wild, tokens=tokens)
    rng = np.random.default_rng(seed)
    coding = FastCoding(told, rng.integers(-9, 10, (2, len(BANDS))))
    one, other = Writer(), Writer()
    coding.write(one, MODELS)
    write_widening(other, coding.widening)
    batches = corrected_batches(told_batches(told), widened(coding.widening, "fast"), MODELS)
    write_batches(other, batches, MODELS, by_columns=True)
    assert one.getvalue() == other.getvalue()
    assert coding.bits(MODELS) > 0


@pytest.mark.parametrize("skipped", [0, 11])
@pytest.mark.parametrize("units", [1, 3])
def test_walks_tell_the_same(units: int, skipped: int) -> None:
    net = load_model(default_model_id("fast")).fast_network
    if not net.layers:
        pytest.skip("no fast products on this processor")
    rng = np.random.default_rng(units)
    grid = (5, 9)
    coded = [np.sort(rng.permutation(45)[skipped:]) for _ in range(units)]
    rows = sum(map(len, coded))
    walks = walk_through(net, grid, coded), TorchWalk(net, grid, coded)
    for first in (True, False):
        known = rng.integers(0, 128, (rows, net.config.known)).astype(np.uint8)
        earlier = None if first else rng.integers(0, 128, (rows, 128)).astype(np.uint8)
        moves = rng.integers(-8191, 8192, (rows, LOW, MOVES)).astype(np.int16)
        for walk in walks:
            walk.start(known, earlier)
        for group, (low, high) in enumerate(FAST_GROUPS):
            (where, scale), (place, wide) = (walk.step(group, moves) for walk in walks)
            np.testing.assert_array_equal(scale, wide)
            assert (where is None) == (place is None) == (group > 0)
            if where is not None and place is not None:
                np.testing.assert_array_equal(where, place)
            symbols = np.rint(rng.laplace(0, 40, (rows, high - low))).astype(np.int32)
            for walk in walks:
                walk.hear(group, symbols)


@given(st.integers(1, 3), st.integers(0, 9), st.sampled_from([0, 1, 30, 400]), st.booleans(), SEEDS)
def test_bands_of_the_plain_coder_get_the_cheapest_scales(
    components: int, tokens: int, width: int, flat: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    symbols = np.rint(rng.laplace(0, width or 1e-9, (components, tokens, 64))).astype(np.int32)
    symbols = np.full_like(symbols, width) if flat else symbols
    found, bits = costs.band_scales(symbols, PLAIN_BANDS, MODELS)
    least = 0.0
    for k in range(components):
        for b, (low, high) in enumerate(PLAIN_BANDS):
            values = symbols[k, :, low:high].reshape(-1).astype(np.int64)
            each = [
                costs.symbol_bits(values, 0, np.full(values.shape, scale), MODELS).sum()
                for scale in range(56)
            ]
            assert each[found[k, b]] == pytest.approx(min(each), abs=1e-6)
            least += min(each)
    assert bits == pytest.approx(least, abs=1e-6)


@given(st.integers(1, 3), st.integers(1, 9), st.sampled_from([1, 30, 400]), SEEDS)
def test_levels_are_counted_alike(components: int, tokens: int, width: int, seed: int) -> None:
    """Those of tokens that are left out do not count."""
    rng = np.random.default_rng(seed)
    symbols = np.rint(rng.laplace(0, width, (components, tokens, 64))).astype(np.int32)
    left_out = rng.random(tokens) < rng.choice([0.0, 0.4, 1.0])
    symbols[:, left_out] = 0
    rows = np.sort(rng.integers(0, 4, 64))
    levels = int(symbols.min()), int(np.ptp(symbols)) + 1
    for which in (None, left_out):
        found = costs.native_counts(symbols, rows, levels, which)
        wanted = costs.plain_counts(symbols, rows, levels, which)
        np.testing.assert_array_equal(found, wanted)
    scales, bits = costs.band_scales(symbols, PLAIN_BANDS, MODELS, left_out)
    others, same = costs.band_scales(symbols[:, ~left_out], PLAIN_BANDS, MODELS)
    np.testing.assert_array_equal(scales, others)
    assert bits == same
    again, same = plain(lambda: costs.band_scales(symbols, PLAIN_BANDS, MODELS, left_out), costs)
    np.testing.assert_array_equal(scales, again)
    assert bits == same


@pytest.mark.parametrize(
    "wrong",
    [
        {0: (1, 2, 4)},
        {0: (-1, 3, 4)},
        {0: (1, 3, 0)},
        {0: (1, 3, 3)},
        {0: (1, 2**40, 4)},
        {1: (-4, 8)},
        {1: (-5, 10)},
        {1: (-5, 0)},
        {1: (-5, 2**40)},
        {1: (2**40, 9)},
        {2: np.zeros(191, np.int32)},
        {2: np.full(192, 4, np.int32)},
        {2: np.full(192, -(2**31), np.int32)},
        {3: np.zeros(4, bool)},
        {4: np.zeros(63, np.uint8)},
        {4: np.full(64, 4, np.uint8)},
        {5: np.zeros(35, np.int64)},
    ],
)
def test_levels_that_cannot_be_counted_are_refused(wrong: dict[int, object]) -> None:
    symbols = np.full(192, -5, np.int32)
    given = {
        0: (1, 3, 4),
        1: (-5, 9),
        2: symbols,
        3: np.zeros(3, bool),
        4: np.full(64, 3, np.uint8),
        5: np.zeros(36, np.int64),
    }
    assert native.kernels is not None
    native.kernels.count_levels(*given.values())
    with pytest.raises(ValueError, match="outside of what it may be|aligned items"):
        native.kernels.count_levels(*(given | wrong).values())


@given(st.integers(1, 3), st.integers(1, 17), st.integers(1, 17), SEEDS)
def test_edges_are_repeated(c: int, h: int, w: int, seed: int) -> None:
    planes = np.random.default_rng(seed).integers(0, 99, (c, h, w)).astype(np.uint16)
    wanted = np.pad(planes, [(0, 0), (0, -h % 8), (0, -w % 8)], mode="edge")
    np.testing.assert_array_equal(transform.pad_to_blocks(planes), wanted)


def test_arrays_are_checked() -> None:
    """Whatever a kernel relies on is refused in Python, not met in C."""
    kernels = native.kernels
    assert kernels is not None
    some = np.zeros((1, 8, 8), np.int32)
    eye = np.eye(1)
    out = np.zeros((1, 1, 1, 64), np.int32)
    parts = transform.PARTS
    kernels.forward_unit(parts, eye, (1, 8, 8), some, None, out)
    for wrong in ((0, 8, 8), (1, 8, 7), (1, 16, 8), (65, 8, 8), (1, -8, -8)):
        with pytest.raises(ValueError, match="bytes|outside"):
            kernels.forward_unit(parts, eye, wrong, some, None, out)
    levels = np.zeros((1, 1, 1, 64), np.int32)
    flags, image = np.zeros((8, 8), bool), np.zeros((1, 8, 8), np.uint16)
    none = np.zeros((0, 64), np.int64)
    for step in (0, 1 << 40):
        with pytest.raises(ValueError, match="outside"):
            kernels.decode_unit(
                *(parts, eye, (1, 1, 1), levels, levels, np.array([[step]]), (0, 0)),
                *(none, none, flags, True, image),
            )
    with pytest.raises(ValueError, match="bytes"):
        kernels.decode_unit(
            *(parts, eye, (1, 1, 1), levels, levels, np.array([[16]]), (0, 0)),
            *(np.zeros((1, 64), np.int64), none, flags, True, image),
        )
    with pytest.raises(ValueError, match="outside"):
        kernels.unit_inputs(
            *((1, 1, False), np.array([1]), np.array([[16]]), levels, None, None, None, None),
            *(np.zeros((1, 64), np.int32), np.zeros(288, np.uint8), np.zeros(50, np.int16)),
        )
    told = unit_of(0)
    with pytest.raises(ValueError, match="outside"):
        all_costs(told.symbols, told.location, np.full_like(told.scale, 56), MODELS)
    net = load_model(default_model_id("fast")).fast_network
    if net.layers:
        walk = walk_through(net, (2, 2), [np.array([4])])
        with pytest.raises(ValueError, match="outside"):
            walk.step(1, np.zeros((1, LOW, MOVES), np.int16))
