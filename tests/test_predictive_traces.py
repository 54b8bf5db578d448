"""Traces of earlier processing: leaned on where they are, never believed where they are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_kernels import needs_kernels, plain
from traced_scenes import (
    COUNTING,
    MAKING,
    in_half_precision,
    in_steps,
    texture,
    through_jpeg2000,
)

from stvc.codec import (
    predictive,
    predictive_decisions,
    predictive_traces,
    rangecoder_native,
    rangecoder_numpy,
)
from stvc.codec.predictive import decode, encode
from stvc.codec.predictive_decisions import read_levels, write_levels
from stvc.codec.predictive_layout import layout_of
from stvc.codec.predictive_mixture import COPIES, OUTPUTS, mixture_of
from stvc.codec.predictive_tables import EIGHTH
from stvc.codec.predictive_traces import Leaning, Traces
from stvc.codec.predictive_walk import Step
from stvc.codec.rangecoder import Reader, Writer
from stvc.codec.trace_coefficients import CLASSES
from stvc.codec.trace_rules import RULES, BandTraces, Tellable, read_traces, write_traces
from stvc.errors import CorruptError

SHAPE = (3, 40, 44)


def traced_scene(seed: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Bands in steps, the last one through a lossy transform, too."""
    bands = [in_steps(texture(seed + k, shape[1:], 1400 + 300 * k)) for k in range(shape[0])]
    bands[-1] = through_jpeg2000(bands[-1], (2, 1, 1), 1)
    return np.stack(bands).astype(np.uint16)


def saved_bits(
    pixels: np.ndarray, hidden: np.ndarray, *, generation: int, networked: bool
) -> float:
    """Bits per shown pixel, all bands, by which a unit is smaller than in the generation before."""
    coded = [
        encode(pixels, generation=k, hidden=hidden, networked=networked)
        for k in (generation - 1, generation)
    ]
    decoded, _ = decode(coded[1].payload, pixels.shape, hidden=hidden, generation=generation)
    np.testing.assert_array_equal(decoded, coded[1].decoded)
    np.testing.assert_array_equal(decoded[:, ~hidden], pixels[:, ~hidden])
    return 8 * (len(coded[0].payload) - len(coded[1].payload)) / int((~hidden).sum())


@pytest.mark.parametrize("networked", [False, True])
@pytest.mark.parametrize("hide", [False, True])
def test_traced_units_are_smaller_and_come_back(hide: bool, networked: bool) -> None:
    pixels = traced_scene(6, (3, 64, 72))
    hidden = np.zeros(pixels.shape[1:], bool)
    hidden[20:40, 30:50] = hide
    assert saved_bits(pixels, hidden, generation=6, networked=networked) > 2.2
    # ^ a bit and a bit in two bands, and more in the third


@pytest.mark.parametrize("networked", [False, True])
@pytest.mark.parametrize("hide", [False, True])
def test_units_in_half_precision_are_smaller_still(hide: bool, networked: bool) -> None:
    bands = [texture(20 + k, (64, 72), 3000 + 400 * k, 100, 64) for k in range(3)]
    pixels = np.stack([in_half_precision(band) for band in bands]).astype(np.uint16)
    pixels[0, 5:7, 5:9] = 3001  # two of them odd, and rare
    hidden = np.zeros(pixels.shape[1:], bool)
    hidden[20:40, 30:50] = hide
    assert saved_bits(pixels, hidden, generation=8, networked=networked) > 3 * 0.23
    # ^ log2(1 / 0.819) = 0.288 bits a pixel from 2500 to 5000 DN, less what is learned


@needs_kernels
def test_kernels_refuse_masses_of_another_size_and_bear_any() -> None:
    rng = np.random.default_rng(4)
    traces, step, values = asked(rng)
    traces._rule[:] = 2
    mixture = mixture_of(step, np.zeros((300, OUTPUTS), np.int32), 1)
    levels = values[step.cells] - step.whole
    arrays = list(traces.at(step, values).arrays())
    at = next(k for k, a in enumerate(arrays) if a.shape == (2, 66537))
    wide = predictive_decisions._widened(mixture, traces.at(step, values)).arrays()
    arrays[at] = rng.integers(-(1 << 62), 1 << 62, (2, 66537))
    Writer().traced(wide, levels, tuple(arrays))
    arrays[at] = arrays[at][:, 1:].copy()
    with pytest.raises(ValueError, match="aligned|size"):
        Writer().traced(wide, levels, tuple(arrays))


def test_without_traces_a_unit_costs_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.stack([texture(7 + k, (48, 48), 600) for k in range(2)]).astype(np.uint16)
    asked = len(encode(pixels, generation=6, networked=True).payload)
    monkeypatch.setattr(predictive, "_tellable", lambda *_: None)
    assert asked <= len(encode(pixels, generation=6, networked=True).payload) + 2


def test_bounded_units_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = traced_scene(8)
    monkeypatch.setattr(predictive, "find_traces", None)
    coded = encode(pixels, max_error=3, generation=6, networked=True)
    decoded, _ = decode(coded.payload, pixels.shape, max_error=3, generation=6)
    assert np.abs(decoded.astype(int) - pixels).max() <= 3


@given(
    st.integers(1, 3),
    st.integers(1, 14),
    st.integers(1, 14),
    st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 3)), min_size=3, max_size=3),
    st.booleans(),
    st.booleans(),
    st.sampled_from([6, 8]),
    st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_any_traces_can_be_told_of_any_unit(
    bands: int,
    height: int,
    width: int,
    told: list[tuple[int, int | None]],
    hide: bool,
    networked: bool,
    generation: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    most = Tellable.of(generation, (height, width), None).rules
    traces = [BandTraces(min(steps, most), phase) for steps, phase in told]
    pixels = rng.choice([0, 1, 1023, 1024, 4095, 4100, 65535], (bands, height, width))
    near = texture(seed, (height, width))
    pixels = np.where(rng.random(pixels.shape) < 0.7, near, pixels).astype(np.uint16)
    hidden = rng.random((height, width)) < 0.3 if hide else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictive, "_cheaper", lambda plain, _: rng.random(len(plain)) < 0.7)
        patch.setattr(predictive, "find_traces", lambda values, *_: (values, traces[: len(values)]))
        encoded = encode(pixels, hidden=hidden, generation=generation, networked=networked)
    decoded, _ = decode(encoded.payload, pixels.shape, hidden=hidden, generation=generation)
    shown = np.ones((height, width), bool) if hidden is None else ~hidden
    np.testing.assert_array_equal(decoded[:, shown], pixels[:, shown])


def asked(rng: np.random.Generator, bands: int = 2) -> tuple[Traces, Step, np.ndarray]:
    """Pixels of several steps at once, under counts that have seen something."""
    layout = layout_of((bands, 12, 40), 6)
    told = [BandTraces(int(rng.integers(6)), int(rng.integers(4))) for _ in range(bands)]
    traces = Traces(layout, told, rng.random((12, 40)) < 0.05)
    traces.values[:] = rng.integers(0, 40000, traces.values.shape)
    traces.coefficients[:] = rng.integers(0, 300, traces.coefficients.shape)
    cells = np.sort(rng.permutation(layout.cells)[:300])
    band = cells // layout.plane - 3
    values = rng.integers(0, 65536, layout.size)
    prediction = np.clip(values[cells] * EIGHTH + rng.integers(-900, 900, 300), 0, 65535 * EIGHTH)
    copies = rng.integers(0, 65536, (COPIES, 300))
    scale = rng.integers(60, 160, 300)
    return traces, Step(cells, band, prediction, scale, copies=copies), values


@needs_kernels
@pytest.mark.parametrize("seed", range(6))
def test_c_and_numpy_find_the_same_coefficients(seed: int) -> None:
    traces, step, values = asked(np.random.default_rng(seed))
    found = traces.at(step, values)
    wanted = plain(lambda: traces.at(step, values), predictive_traces)
    assert len(wanted.closing)
    for name in ("whole", "first", "rule", "closing", "constants", "usable", "group"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


@needs_kernels
def test_kernels_refuse_pixels_outside() -> None:
    traces, step, values = asked(np.random.default_rng(1))
    row = traces._layout.row
    for change in (
        {"band": step.band + 2},
        {"band": step.band - 1},
        {"band": step.band[1:]},
        {"cells": step.cells + (1 << 40)},
        {"cells": -step.cells},
        {"cells": step.cells // row * row},
    ):
        with pytest.raises(ValueError, match="outside|aligned"):
            traces.at(replace(step, **change), values)
    with pytest.raises(ValueError, match="aligned"):
        traces.at(step, values[1:])


@needs_kernels
@pytest.mark.parametrize("seed", range(6))
def test_c_and_numpy_write_the_same_words(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = predictive_decisions.kernels
    found = []
    for module, native in ((rangecoder_native, kernels), (rangecoder_numpy, None)):
        monkeypatch.setattr(predictive_decisions, "kernels", native)
        rng = np.random.default_rng(seed)
        traces, step, values = asked(rng)
        spread = (60, 3000)[seed % 2]
        mixture = mixture_of(step, rng.normal(0, spread, (300, OUTPUTS)).astype(np.int32), 1)
        levels = values[step.cells] - step.whole
        start = traces.values.copy(), traces.coefficients.copy()
        writer = module.Writer()
        for _ in range(3):
            write_levels(writer, mixture, levels, traces.at(step, values))
        learned = traces.values.copy(), traces.coefficients.copy()
        found.append((writer.getvalue(), *learned))
        traces.values[:], traces.coefficients[:] = start
        reader = module.Reader(found[0][0])
        for _ in range(3):
            read = read_levels(reader, mixture, traces.at(step, values))
            np.testing.assert_array_equal(read, levels)
        np.testing.assert_array_equal(traces.values, learned[0])
        np.testing.assert_array_equal(traces.coefficients, learned[1])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(
            np.frombuffer(ours, np.uint8), np.frombuffer(theirs, np.uint8)
        )


@needs_kernels
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("whole", 1 << 40),
        ("first", -1),
        ("first", 1 << 20),
        ("rule", -2),
        ("rule", len(RULES)),
        ("closing", 300),
        ("closing", -1),
        ("group", 1 << 20),
        ("constants", 1 << 40),
    ],
)
def test_kernels_refuse_what_could_overflow(name: str, value: int) -> None:
    rng = np.random.default_rng(1)
    traces, step, values = asked(rng)
    mixture = mixture_of(step, np.zeros((300, OUTPUTS), np.int32), 1)
    leaning = traces.at(step, values)
    assert len(leaning.closing) > 4
    parts = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in vars(leaning).items()}
    parts[name].reshape(-1)[4] = value
    with pytest.raises(ValueError, match="outside"):
        write_levels(Writer(), mixture, values[step.cells] - step.whole, Leaning(**parts))


@needs_kernels
def test_kernels_refuse_counts_out_of_bounds() -> None:
    traces, step, values = asked(np.random.default_rng(2))
    mixture = mixture_of(step, np.zeros((300, OUTPUTS), np.int32), 1)
    for counts in (traces.values, traces.coefficients):
        kept = counts.copy()
        counts.reshape(-1)[3] = -5
        with pytest.raises(ValueError, match="outside"):
            write_levels(Writer(), mixture, np.zeros(300, np.int64), traces.at(step, values))
        counts[:] = kept


def test_what_was_told_is_read() -> None:
    for tellable in (COUNTING, MAKING):
        steps = range(tellable.rules + 1)
        told = [BandTraces(k, phase) for k in steps for phase in (None, 0, 1, 2, 3)]
        writer = Writer()
        write_traces(writer, told, tellable)
        reader = Reader(writer.getvalue())
        assert read_traces(reader, len(told), (9, 9), tellable) == told
    assert [t.any for t in told[:2]] == [False, True]


def test_counts_stay_within_their_limits() -> None:
    rng = np.random.default_rng(3)
    traces, step, values = asked(rng)
    mixture = mixture_of(step, np.zeros((300, OUTPUTS), np.int32), 1)
    writer = Writer()
    for _ in range(200):
        write_levels(writer, mixture, values[step.cells] - step.whole, traces.at(step, values))
    assert traces.values[:, :, 2:].sum(2).max() < 2 << 20
    assert traces.coefficients.sum(2).max() < 3 * 640
    assert traces.coefficients.shape[2] == CLASSES


@given(st.binary(max_size=90), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_any_words_read_or_raise(payload: bytes, seed: int) -> None:
    traces, step, values = asked(np.random.default_rng(seed))
    outputs = np.random.default_rng(seed).normal(0, 60, (300, OUTPUTS)).astype(np.int32)
    try:
        levels = read_levels(Reader(payload), mixture_of(step, outputs, 1), traces.at(step, values))
    except CorruptError:
        return
    assert len(levels) == 300


def test_a_mixture_without_traces_is_left_alone() -> None:
    pixels = traced_scene(9)
    layout = layout_of(pixels.shape, 6)
    assert not BandTraces().any
    traces = Traces(layout, [BandTraces()] * 3, None)
    step = Step(layout.cells[:5], np.zeros(5, np.int64), np.full(5, 8000), np.full(5, 100))
    leaning = traces.at(step, np.zeros(layout.size))
    assert not len(leaning.closing) and (leaning.rule == -1).all()
