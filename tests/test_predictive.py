"""The predictive coder: exact, bounded, never larger than raw, the same under any thread count."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from stvc.codec import predictive
from stvc.codec.predictive import LEARNED, PREDICTED, decode, encode
from stvc.codec.predictive_layout import BANDS_BACK, MARGIN, layout_of
from stvc.codec.predictive_learning import solve_nested
from stvc.codec.predictive_tables import falling_powers, log16, logistic_models
from stvc.codec.tables import DIRECT_SCALES, FRACTIONS, TOTAL
from stvc.errors import CorruptError
from stvc.model.architecture import SCALE_OCTAVE, SCALE_ZERO


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def ground(rng, bands=3, height=24, width=20):
    """A smooth scene with noise, correlated bands."""
    y, x = np.mgrid[:height, :width]
    relief = 900 + 400 * np.sin(y / 5) * np.cos(x / 7) + rng.normal(0, 8, (height, width))
    scene = np.stack([relief * (1 + b / 4) + rng.normal(0, 4, relief.shape) for b in range(bands)])
    return scene.clip(1, 65535).astype(np.uint16)


def kinds(kind, rng, shape):
    if kind == "noise":
        return rng.integers(0, 65536, shape).astype(np.uint16)
    if kind == "constant":
        return np.full(shape, 65535, np.uint16)
    if kind == "checkerboard":
        return ((np.indices(shape).sum(0) % 2) * 65535).astype(np.uint16)
    if kind == "spike":
        pixels = np.zeros(shape, np.uint16)
        pixels[..., shape[2] // 2] = 65535
        return pixels
    return ground(rng, *shape)


SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 17), st.integers(1, 17))


@settings(max_examples=40, deadline=None)
@given(
    SHAPES,
    st.sampled_from(["ground", "noise", "constant", "checkerboard", "spike"]),
    st.sampled_from([0, 0, 1, 5, 50, 70000]),
    st.integers(0, 3),
    st.sampled_from(["none", "some", "all"]),
    st.integers(0, 99),
    st.sampled_from([2, 3, 5, 6]),
    st.booleans(),
)
def test_every_shown_pixel_comes_back_within_the_bound(
    shape, kind, max_error, references, hides, seed, generation, networked
):
    rng = np.random.default_rng(seed)
    pixels = kinds(kind, rng, shape)
    earlier = [kinds(k, rng, shape) for k in ("ground", "noise", "spike")][:references]
    hidden = {"none": None, "some": rng.random(shape[1:]) < 0.4, "all": np.ones(shape[1:], bool)}[
        hides
    ]
    flags = {"hidden": hidden, "unclear": rng.random(shape[1:]) < 0.5, "max_error": max_error}
    flags["generation"] = generation
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictive, "_cheaper", lambda plain, _: plain >= 0)
        encoded = encode(pixels, earlier, networked=networked, **flags)
    assert encoded.payload[0] != LEARNED or (networked and generation >= 5)
    decoded, memory = decode(encoded.payload, shape, earlier, **flags)
    np.testing.assert_array_equal(decoded, encoded.decoded)
    shown = np.ones(shape[1:], bool) if hidden is None else ~hidden
    assert np.abs(decoded.astype(int) - pixels)[:, shown].max(initial=0) <= max_error
    assert len(encoded.payload) <= pixels.nbytes + 1
    assert len(memory) == len(encoded.memory)


@pytest.mark.parametrize("generation", [2, 3, 5])
def test_a_series_keeps_what_it_learned_and_gains_from_it(rng, generation):
    first = ground(rng)
    flags = {"unclear": np.zeros((24, 20), bool), "generation": generation}
    frames = [first, *(np.maximum(first + rng.integers(-9, 9, first.shape), 1) for _ in range(3))]
    frames = [f.astype(np.uint16) for f in frames]
    sizes, alone, memory, seen = [], [], (), ()
    for t, frame in enumerate(frames):
        earlier = frames[max(t - 2, 0) : t][::-1]
        encoded = encode(frame, earlier, memory=memory, networked=True, **flags)
        alone.append(len(encode(frame, earlier, networked=True, **flags).payload))
        decoded, seen = decode(encoded.payload, frame.shape, earlier, memory=seen, **flags)
        np.testing.assert_array_equal(decoded, frame)
        sizes.append(len(encoded.payload))
        memory = encoded.memory
    assert sum(sizes[1:]) < sum(alone[1:])
    for mine, theirs in zip(memory, seen, strict=True):
        np.testing.assert_array_equal(mine.gram, theirs.gram)
        np.testing.assert_array_equal(mine.scale_moment, theirs.scale_moment)
        assert (mine.local is None) == (generation == 2)
        np.testing.assert_array_equal(mine.local, theirs.local)


@pytest.mark.parametrize("generation", [2, 3, 5])
def test_many_bands(rng, generation):
    pixels = ground(rng, 40, 6, 5)
    encoded = encode(pixels, [pixels[::-1]], generation=generation, networked=True)
    decoded, _ = decode(encoded.payload, pixels.shape, [pixels[::-1]], generation=generation)
    np.testing.assert_array_equal(decoded, pixels)


def test_ground_costs_little_more_than_its_noise(rng):
    pixels = ground(rng, 3, 64, 64)
    encoded = encode(pixels)
    assert encoded.payload[0] == PREDICTED
    # white noise of 8.9 DN in the first band is 5.2 bits, what the others add is 4.4 and 4.3
    assert len(encoded.payload) * 8 / pixels.size < 4.64 + 0.75


def test_hidden_pixels_cost_nothing_and_stay_plausible(rng):
    pixels = ground(rng, 2, 40, 40)
    spoiled = pixels.copy()
    hidden = np.zeros((40, 40), bool)
    hidden[10:30, 5:35] = True
    spoiled[:, hidden] = rng.integers(0, 65536, (2, hidden.sum()))
    encoded = encode(spoiled, [pixels], hidden=hidden, max_error=2)
    open_sky = encode(pixels, [pixels], max_error=2)
    assert len(encoded.payload) < len(open_sky.payload)
    assert np.abs(encoded.decoded.astype(int) - pixels)[:, hidden].mean() < 60


@pytest.mark.parametrize("generation", [2, 3, 5])
def test_the_same_bytes_under_any_thread_count(rng, generation):
    pixels, earlier = ground(rng, 3, 60, 50), [ground(rng, 3, 60, 50)]
    found = set()
    for threads in (1, 2):
        with threadpool_limits(threads):
            encoded = encode(pixels, earlier, generation=generation, networked=True)
            decoded, _ = decode(encoded.payload, pixels.shape, earlier, generation=generation)
            np.testing.assert_array_equal(decoded, pixels)
            found.add(hashlib.sha256(encoded.payload).hexdigest())
    assert len(found) == 1


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 5), st.integers(0, 50), st.sampled_from([2, 3, 5]))
def test_any_bytes_decode_or_raise(body, form, max_error, generation):
    shape = (2, 7, 9)
    try:
        decoded, _ = decode(bytes([form]) + body, shape, max_error=max_error, generation=generation)
    except CorruptError:
        return
    assert decoded.shape == shape
    assert decoded.dtype == np.uint16


def test_damage_gives_pixels_or_a_typed_error(rng):
    pixels = ground(rng)
    payload = encode(pixels).payload
    for position in range(0, len(payload), 37):
        broken = bytearray(payload)
        broken[position] ^= 0x5A
        try:
            decoded, _ = decode(bytes(broken), pixels.shape)
        except CorruptError:
            continue
        assert decoded.shape == pixels.shape
    with pytest.raises(CorruptError, match="unknown form"):
        decode(b"", pixels.shape)
    with pytest.raises(CorruptError, match="holds 3 bytes"):
        decode(b"\2abc", pixels.shape)


def test_logarithms_and_powers():
    values = np.arange(1, 70000, dtype=np.float64)
    assert np.abs(log16(values) - 16 * np.log2(values)).max() < 2.4
    expected = 4095 * 2 ** (-np.arange(100) * 11 / 128)
    assert np.abs(falling_powers((11, 128), 4095, 100) - np.floor(expected)).max() <= 1


def test_tables_are_logistic_and_frozen():
    tables = logistic_models().tables
    for fraction in (0, 4, 7):
        for scale in (0, SCALE_ZERO, DIRECT_SCALES - 1):
            counts = tables.frequencies_of(fraction * DIRECT_SCALES + scale)
            assert counts.sum() == TOTAL
            assert counts.min() >= 1
            reach = (len(counts) - 2) // 2
            width = 2.0 ** ((scale - SCALE_ZERO) / SCALE_OCTAVE)
            edges = np.arange(-reach, reach + 2) - 0.5 - (fraction - FRACTIONS // 2) / FRACTIONS
            mass = np.diff(0.5 * (1 + np.tanh(edges / width / 2))) * TOTAL
            assert np.abs(counts[:-1] - mass).max() < 4 + reach * 2
    # a change of a single entry would change every archive
    assert (
        hashlib.sha256(tables.frequencies.astype("<i4").tobytes()).hexdigest()[:16]
        == "da14e111a2e48f9e"
    )


def test_solver_against_numpy(rng):
    rows = rng.normal(0, 30, (2, 200, 6)).round()
    wanted = rows @ np.array([0.5, -0.25, 1, 0, 0.125, 2])
    gram = np.einsum("bnk,bnl->bkl", rows, rows)
    moment = np.einsum("bnk,bn->bk", rows, wanted)
    whole, part = solve_nested(gram, moment, (6, 3), 1e-9, 14).swapaxes(0, 1)
    assert np.abs(whole / 2**14 - [0.5, -0.25, 1, 0, 0.125, 2]).max() < 1e-3
    assert (part[:, 3:] == 0).all()
    for b in range(2):
        expected = np.linalg.solve(gram[b, :3, :3], moment[b, :3])
        assert np.abs(part[b, :3] / 2**14 - expected).max() < 1e-3


def test_singular_sums_give_finite_weights():
    gram, moment = np.zeros((1, 4, 4)), np.zeros((1, 4))
    gram[:, :2, :2] = 1e12
    moment[:, :2] = 1e12
    assert np.isfinite(solve_nested(gram, moment, (4,), 3e-4, 14)).all()


@given(SHAPES, st.sampled_from([2, 5]))
@settings(max_examples=30, deadline=None)
def test_a_step_reads_only_earlier_ones(shape, generation):
    layout = layout_of(shape, generation)
    step = np.full(layout.size, -1)
    step[layout.cells] = np.repeat(np.arange(len(layout.starts) - 1), np.diff(layout.starts))
    assert (np.sort(layout.cells) == np.unique(layout.cells)).all()
    margins = np.repeat(np.arange(len(layout.starts) - 1), np.diff(layout.margin_starts))
    step[layout.margin_to] = np.maximum(margins, step[layout.margin_from])
    c, h, w = shape
    y, x = np.divmod(layout.cells % layout.plane, w + 2 * MARGIN)
    inside = (y >= MARGIN) & (y < MARGIN + h) & (x >= MARGIN) & (x < MARGIN + w)
    assert inside.all()
    own = step[layout.cells]
    for dy, dx in ((0, -1), (-1, 0), (-1, 1), (-2, 2), (-3, 1), (-1, -3), (-2, 3), (-3, 3)):
        assert (step[layout.cells + layout.offset(dy, dx)] < own).all()
    band = layout.cells // layout.plane - BANDS_BACK
    for back in range(1, BANDS_BACK + 1):
        chosen = band >= back
        reach = range(-2, 3) if generation > 4 else range(-1, 2)
        for dy in reach:
            for dx in reach:
                read = layout.cells[chosen] + layout.offset(dy, dx, back)
                assert (step[read] < own[chosen]).all()
                assert (band[chosen] + c > 0).all()
