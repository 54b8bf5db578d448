"""Levels under mixtures: exact, near their entropy, the same words in C and in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_kernels import needs_kernels, plain

from stvc.codec import (
    predictive_decisions,
    predictive_mixture,
    predictive_network,
    rangecoder_native,
    rangecoder_numpy,
)
from stvc.codec.predictive_context import FEATURES
from stvc.codec.predictive_decisions import read_levels, write_levels
from stvc.codec.predictive_mixture import (
    COPIES,
    OUTPUTS,
    PARTS,
    Mixture,
    level_bits,
    mixture_of,
)
from stvc.codec.predictive_network import WEIGHTS, outputs
from stvc.codec.predictive_tables import EIGHTH, LARGEST_SCALE, SIZES
from stvc.codec.predictive_walk import Step
from stvc.codec.rangecoder import Reader, Writer
from stvc.errors import CorruptError, ModelError

PITCHES = (1, 3, 11, 101, 65535, 131071)


def asked(rng: np.random.Generator, n: int, scales: tuple[int, int]) -> Step:
    cells = np.arange(n)
    prediction = rng.integers(0, 65535 * EIGHTH + 1, n)
    copies = rng.integers(0, 65536, (COPIES, n))
    return Step(cells, cells * 0, prediction, rng.integers(*scales, n), copies=copies)


def levels_around(rng: np.random.Generator, step: Step, pitch: int) -> np.ndarray:
    """Levels of values near predictions, some copies, some anywhere."""
    whole = (step.prediction + EIGHTH // 2) // EIGHTH
    spread = 2.0 ** (np.clip(step.scale, 0, LARGEST_SCALE) / 16) / EIGHTH
    near = whole + np.rint(rng.logistic(0, 1, len(whole)) * spread)
    kind = rng.integers(0, 8, len(whole))
    value = np.select(
        [kind == 0, kind == 1], [step.copies[1], rng.integers(0, 65536, len(whole))], near
    )
    return (np.clip(value, 0, 65535).astype(np.int64) - whole + pitch // 2) // pitch


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 40),
    st.sampled_from(PITCHES),
    st.sampled_from([(80, 150), (-90, 400), (310, 330)]),
    st.sampled_from([0, 60, 3000, 2**20]),
    st.integers(0, 999),
)
def test_levels_come_back(
    n: int, pitch: int, scales: tuple[int, int], spread: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    step = asked(rng, n, scales)
    found = rng.normal(0, spread, (n, OUTPUTS)).astype(np.int32)
    mixture, levels = mixture_of(step, found, pitch), levels_around(rng, step, pitch)
    writer = Writer()
    write_levels(writer, mixture, levels)
    writer.uniform(5, 77)
    reader = Reader(writer.getvalue())
    np.testing.assert_array_equal(read_levels(reader, mixture), levels)
    assert reader.uniform(77) == 5


@needs_kernels
@pytest.mark.parametrize("pitch", PITCHES)
@pytest.mark.parametrize("spread", [60, 3000])
def test_c_and_numpy_write_the_same_words(
    pitch: int, spread: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(pitch)
    step = asked(rng, 500, (0, 330) if spread > 100 else (80, 150))
    found = rng.normal(0, spread, (500, OUTPUTS)).astype(np.int32)
    mixture, levels = mixture_of(step, found, pitch), levels_around(rng, step, pitch)
    kernels = predictive_decisions.kernels
    payloads = []
    for module, native in ((rangecoder_native, kernels), (rangecoder_numpy, None)):
        monkeypatch.setattr(predictive_decisions, "kernels", native)
        writer = module.Writer()
        write_levels(writer, mixture, levels)
        payloads.append(writer.getvalue())
        read = read_levels(module.Reader(payloads[0]), mixture)
        np.testing.assert_array_equal(read, levels)
    assert payloads[0] == payloads[1]


@needs_kernels
@pytest.mark.parametrize("pitch", PITCHES)
@pytest.mark.parametrize("spread", [0, 60, 3000, 2**20])
def test_c_and_numpy_form_the_same_mixtures(pitch: int, spread: int) -> None:
    rng = np.random.default_rng(pitch)
    for n, scales in ((0, (0, 9)), (1, (80, 150)), (300, (-90, 400)), (77, (-(2**20), 2**20))):
        step = asked(rng, n, scales)
        found = rng.normal(0, spread, (n, OUTPUTS)).astype(np.int32)
        mixture = mixture_of(step, found, pitch)
        wanted = plain(lambda f=found, s=step: mixture_of(s, f, pitch), predictive_mixture)
        for name, value in vars(wanted).items():
            np.testing.assert_array_equal(getattr(mixture, name), value)
        levels = np.where(rng.random(n) < 0.8, levels_around(rng, step, pitch), 1 << 40)
        np.testing.assert_array_equal(
            level_bits(mixture, levels),
            plain(lambda m=mixture, v=levels: level_bits(m, v), predictive_mixture),
        )


@needs_kernels
def test_kernels_refuse_steps_that_disagree() -> None:
    rng = np.random.default_rng(4)
    step, found = asked(rng, 9, (80, 150)), np.zeros((9, OUTPUTS), np.int32)
    for name in ("prediction", "scale", "copies"):
        wrong = replace(step, **{name: getattr(step, name).copy()})
        getattr(wrong, name).reshape(-1)[3] = 1 << 40
        with pytest.raises(ValueError, match="outside"):
            mixture_of(wrong, found, 1)
    for name in ("scale", "copies"):
        with pytest.raises(ValueError, match="aligned"):
            mixture_of(replace(step, **{name: getattr(step, name)[..., :-1]}), found, 1)
    with pytest.raises(ValueError, match="aligned"):
        mixture_of(step, found[1:], 1)
    for pitch in (0, -1, 1 << 20):
        with pytest.raises(ValueError, match="outside"):
            mixture_of(step, found, pitch)
    with pytest.raises(ValueError, match="aligned"):
        level_bits(mixture_of(step, found, 1), np.zeros(8, np.int64))


@needs_kernels
def test_kernels_refuse_what_could_overflow() -> None:
    rng = np.random.default_rng(1)
    step = asked(rng, 9, (80, 150))
    mixture = mixture_of(step, np.zeros((9, OUTPUTS), np.int32), 1)
    for name, value in (
        ("location", 1 << 30),
        ("inverse", 1 << 62),
        ("inverse", -1),
        ("weight", 1 << 17),
        ("weight", -1),
        ("width", 40),
        ("width", -1),
    ):
        parts = {k: v.copy() for k, v in vars(mixture).items()}
        parts[name].reshape(-1)[4] = value
        with pytest.raises(ValueError, match="outside"):
            write_levels(Writer(), Mixture(**parts), np.zeros(9, np.int64))
    with pytest.raises(ValueError, match="outside"):
        write_levels(Writer(), mixture, np.full(9, 1 << 40))


def test_a_mixture_costs_its_entropy() -> None:
    rng = np.random.default_rng(2)
    n, scale = 4000, 130
    step = asked(rng, n, (scale, scale + 1))
    found = np.zeros((n, OUTPUTS), np.int32)
    found[:, 2 * PARTS + 1 :] = -1000
    # ^ all weight on the first distribution
    whole = (step.prediction + EIGHTH // 2) // EIGHTH
    spread = SIZES[scale] / EIGHTH
    levels = np.rint(rng.logistic(0, spread, n) + step.prediction / EIGHTH - whole).astype(np.int64)
    writer = Writer()
    write_levels(writer, mixture_of(step, found, 1), levels)
    bits = 8 * len(writer.getvalue()) / n
    assert bits == pytest.approx(np.log2(spread) + 2 / np.log(2), abs=0.05)


def test_a_copied_value_costs_next_to_nothing() -> None:
    rng = np.random.default_rng(3)
    n = 2000
    step = asked(rng, n, (150, 151))
    found = np.zeros((n, OUTPUTS), np.int32)
    found[:, 3 * PARTS + 1] = 600
    whole = (step.prediction + EIGHTH // 2) // EIGHTH
    writer = Writer()
    near = Step(step.cells, step.band, step.prediction, step.scale, copies=step.copies * 0 + whole)
    write_levels(writer, mixture_of(near, found, 1), np.zeros(n, np.int64))
    assert 8 * len(writer.getvalue()) / n < 0.05


@given(st.binary(max_size=90), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_any_words_read_or_raise(payload: bytes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mixture = mixture_of(
        asked(rng, 30, (0, 330)), rng.normal(0, 300, (30, OUTPUTS)).astype(np.int32), 3
    )
    try:
        levels = read_levels(Reader(payload), mixture)
    except CorruptError:
        return
    assert np.abs(levels).max() <= 1 << 17


@pytest.mark.parametrize("generation", WEIGHTS)
def test_all_arithmetics_give_the_same_outputs(
    generation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    seen = rng.integers(-127, 128, (300, FEATURES)).astype(np.int8)
    wanted = outputs(seen, generation)
    assert wanted.shape == (300, OUTPUTS)
    assert wanted.std() > 1
    for arithmetic in ("float32", "int32", "int8"):
        monkeypatch.setenv("STVC_ARITHMETIC", arithmetic)
        predictive_network._layers.cache_clear()
        np.testing.assert_array_equal(outputs(seen, generation), wanted)
        many = np.concatenate([seen] * 4)
        np.testing.assert_array_equal(outputs(many, generation)[-300:], wanted)
    predictive_network._layers.cache_clear()


def test_damaged_weights_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = WEIGHTS[5]
    monkeypatch.setitem(WEIGHTS, 5, (path, "0" * 64))
    predictive_network._layers.cache_clear()
    with pytest.raises(ModelError, match=path.name):
        outputs(np.zeros((1, FEATURES), np.int8), 5)
    predictive_network._layers.cache_clear()


def test_generations_keep_their_networks() -> None:
    seen = np.random.default_rng(6).integers(-127, 128, (50, FEATURES)).astype(np.int8)
    five, six, seven, later = (outputs(seen, generation) for generation in (5, 6, 7, 8))
    np.testing.assert_array_equal(seven, later)
    assert (five != six).any()
    assert (six != seven).any()
