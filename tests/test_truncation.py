"""Bands that JPEG 2000 cut, told as they were before: exact whatever is told, and smaller."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stvc.codec import predictive, rangecoder_numpy, trace_choice, truncation_search, wavelet
from stvc.codec.predictive import decode, encode
from stvc.codec.rangecoder import Reader, Writer
from stvc.codec.trace_choice import find_traces
from stvc.codec.trace_rules import RULES, BandTraces, Tellable
from stvc.codec.truncation import (
    BLOCK,
    CUT,
    UNREFINED,
    WHOLE,
    Truncation,
    cut,
    read_truncation,
    second_subband,
    subbands,
    truncated,
    write_truncation,
)
from stvc.codec.truncation_search import untruncated
from stvc.native import kernels

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from product_traces import in_half_precision, in_steps, through_jpeg2000, transformed

I64 = np.ndarray[Any, np.dtype[np.int64]]
COUNTING, MAKING = Tellable(2, True), Tellable(len(RULES), True)
needs_kernels = pytest.mark.skipif(kernels is None, reason="no native kernels")


def ground(seed: int, height: int, width: int, level: float = 2400) -> I64:
    """(H, W) rough ground, in steps."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    relief = level + 400 * np.sin(y / 9) * np.cos(x / 7)
    return in_steps(np.clip(relief + rng.normal(0, 90, (height, width)), 1, 65535).astype(int))


def any_truncation(seed: int, shape: tuple[int, int]) -> Truncation:
    """Blocks chosen by chance."""
    rng = np.random.default_rng(seed)
    phase, second = int(rng.integers(4)), (None, 0, 1, 2, 3)[rng.integers(5)]
    sizes = [subband.blocks for subband in subbands(shape, phase)]
    if second is not None:
        sizes.append(second_subband(shape, phase, second).blocks)
    share = rng.dirichlet(np.ones(3))
    modes = (rng.choice(3, size, p=share).astype(np.uint8) for size in sizes)
    return Truncation(phase, second, tuple(modes))


def everywhere(shape: tuple[int, int], phase: int, second: int | None) -> Truncation:
    """HH of both levels, all of it."""
    hh, lh, hl = (subband.blocks for subband in subbands(shape, phase))
    blocks = [np.full(hh, CUT, np.uint8), np.zeros(lh, np.uint8), np.zeros(hl, np.uint8)]
    if second is not None:
        size = second_subband(shape, phase, second).blocks
        blocks.append(np.full(size, CUT, np.uint8))
    return Truncation(phase, second, tuple(blocks))


@given(st.integers(2, 21), st.integers(2, 21), st.integers(0, 3), st.integers(0, 99))
@settings(deadline=None)
def test_the_transform_comes_back(height: int, width: int, phase: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 65536, (height, width))
    made = wavelet.forward(values, phase)
    np.testing.assert_array_equal(made, transformed(values, phase))
    np.testing.assert_array_equal(wavelet.inverse(made, phase), values)


@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 999))
@settings(deadline=None, max_examples=60)
def test_what_was_told_is_read(height: int, width: int, seed: int) -> None:
    told = any_truncation(seed, (height, width))
    writer, twin = Writer(), rangecoder_numpy.Writer()
    for one in (writer, twin):
        write_truncation(one, told)
        write_truncation(one, None)
    assert writer.getvalue() == twin.getvalue()
    reader = Reader(writer.getvalue())
    found = read_truncation(reader, (height, width))
    assert found is not None
    assert (found.phase, found.second) == (told.phase, told.second)
    assert len(found.blocks) == len(told.blocks)
    assert all(np.array_equal(a, b) for a, b in zip(found.blocks, told.blocks, strict=True))
    assert read_truncation(reader, (height, width)) is None


@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 999))
@settings(deadline=None, max_examples=60)
def test_what_is_cut_stays_as_it_is(height: int, width: int, seed: int) -> None:
    told = any_truncation(seed, (height, width))
    values = np.random.default_rng(seed).integers(900, 60000, (height, width))
    once = truncated(values, told)
    np.testing.assert_array_equal(truncated(once, told), once)
    extreme = np.random.default_rng(seed).choice([0, 65535], (height, width))
    assert 0 <= truncated(extreme, told).min() <= truncated(extreme, told).max() <= 65535


@pytest.mark.parametrize("phase", range(4))
def test_the_middle_is_what_jpeg2000_makes(phase: int) -> None:
    values = ground(phase, 48, 52)
    found = truncated(values, everywhere(values.shape, phase, None))
    inner = np.s_[5:-5, 5:-5]
    want = through_jpeg2000(values, (1, 0, 0), phase)
    np.testing.assert_array_equal(found[inner], want[inner])
    assert (found != values).mean() > 0.1


def test_cut_comes_back_in_the_middle() -> None:
    made = np.array([-4, -3, -2, -1, 0, 1, 2, 3, 5])
    assert cut(made).tolist() == [-5, -3, -3, 0, 0, 0, 3, 3, 5]
    assert cut(made, UNREFINED).tolist() == [-5, -3, -3, -1, 0, 1, 3, 3, 5]
    assert cut(made, WHOLE).tolist() == made.tolist()


@needs_kernels
@pytest.mark.parametrize(("phase", "second"), [(0, None), (1, 2), (3, 0), (2, 3)])
def test_values_in_steps_are_found(phase: int, second: int | None) -> None:
    values = ground(phase, 96, 104)
    band = truncated(values, everywhere(values.shape, phase, second))
    found = untruncated(band, phase, RULES[:2])
    assert found is not None
    assert (found.truncation.phase, found.truncation.second) == (phase, second)
    np.testing.assert_array_equal(truncated(found.values, found.truncation), band)
    inner = np.s_[8:-8, 8:-8]
    missed = float((found.values[inner] != in_steps(found.values[inner])).mean())
    assert missed < 0.05 < (band[inner] != in_steps(band[inner])).mean()
    assert (found.values[inner] == values[inner]).mean() > 0.8


@needs_kernels
def test_blocks_that_kept_their_smallest_are_found() -> None:
    values = ground(11, 96, 96)
    told = everywhere(values.shape, 0, None)
    hh, lh, hl = told.blocks
    told = replace(told, blocks=(hh, np.full_like(lh, UNREFINED), hl))
    band = truncated(values, told)
    found = untruncated(band, 0, RULES[:2])
    assert found is not None
    np.testing.assert_array_equal(truncated(found.values, found.truncation), band)
    assert (found.truncation.blocks[1][1:-1, 1:-1] != WHOLE).mean() > 0.9
    assert (found.truncation.blocks[1] == UNREFINED).any()


@needs_kernels
@pytest.mark.parametrize("shift", [0, 1000])
def test_the_offset_is_found(shift: int) -> None:
    values = in_steps(ground(7, 80, 80, 3000) + shift, shift)
    told = everywhere(values.shape, 0, None)
    found = untruncated(truncated(values, told), 0, RULES[:2])
    assert found is not None
    assert found.steps == (1 if shift == 0 else 2)


@needs_kernels
@pytest.mark.parametrize(("offset", "kept", "steps"), [(0, 0, 3), (1000, 0, 4), (1000, 1000, 5)])
def test_values_in_half_precision_are_found(offset: int, kept: int, steps: int) -> None:
    y, _ = np.mgrid[:80, :80]
    rough = 3300 + 500 * np.sin(y / 9) + np.random.default_rng(8).normal(0, 90, y.shape)
    values = in_half_precision((64 * rough).astype(np.int64), offset) - offset + kept
    found = untruncated(truncated(values, everywhere(values.shape, 0, None)), 0, RULES)
    assert found is not None
    assert found.steps == steps
    assert (found.values == values).mean() > 0.9


@needs_kernels
@pytest.mark.parametrize("networked", [True, False])
def test_units_get_smaller_and_come_back(networked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    blue, red = ground(1, 96, 96), ground(2, 96, 96)
    pixels = np.stack([blue, truncated(red, everywhere(red.shape, 1, 1))]).astype(np.uint16)
    sizes = {}
    for generation in (6, 7, 8):
        coded = encode(pixels, generation=generation, networked=networked)
        sizes[generation] = len(coded.payload)
        np.testing.assert_array_equal(coded.decoded, pixels)
        found, _ = decode(coded.payload, pixels.shape, generation=generation)
        np.testing.assert_array_equal(found, pixels)
    assert sizes[7] < sizes[6] - red.size // 60
    assert sizes[8] <= sizes[7] + 2  # which can tell of steps as well
    monkeypatch.setattr(truncation_search, "kernels", None)
    alone = encode(pixels, generation=7, networked=networked)
    assert abs(len(alone.payload) - sizes[6]) <= 2
    np.testing.assert_array_equal(decode(alone.payload, pixels.shape, generation=7)[0], pixels)


@given(
    st.integers(1, 3),
    st.integers(8, 20),
    st.integers(8, 20),
    st.sampled_from([7, 8]),
    st.integers(0, 999),
)
@settings(deadline=None, max_examples=30)
def test_any_truncation_can_be_told(
    bands: int, height: int, width: int, generation: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(3, 65000, (bands, height, width))
    told = [any_truncation(seed + k, (height, width)) for k in range(bands)]
    pixels = np.stack([truncated(v, t) for v, t in zip(values, told, strict=True)])
    pixels = pixels.astype(np.uint16)

    def given_cuts(*asked: Any) -> tuple[I64, list[BandTraces]]:
        _, traces = find_traces(*asked)
        return values[::-1], [
            replace(one, truncation=cuts) for one, cuts in zip(traces, told[::-1], strict=True)
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictive, "find_traces", given_cuts)
        coded = encode(pixels, generation=generation, networked=bool(seed % 2))
    np.testing.assert_array_equal(coded.decoded, pixels)
    if coded.payload[0] in (predictive.PREDICTED, predictive.LEARNED):
        found, _ = decode(coded.payload, pixels.shape, generation=generation)
        np.testing.assert_array_equal(found, pixels)


def test_only_whole_bands_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = np.zeros((8, 9), bool)
    assert Tellable.of(7, (8, 9), None) == (2, True)
    assert Tellable.of(8, (8, 9), hidden) == (len(RULES), True)
    assert not Tellable.of(6, (8, 9), None).truncations
    assert not Tellable.of(7, (8, 7), None).truncations
    hidden[2, 2] = True
    assert not Tellable.of(7, (8, 9), hidden).truncations
    pixels = truncated(ground(3, 48, 48), everywhere((48, 48), 0, None))[None].astype(np.uint16)
    monkeypatch.setattr(trace_choice, "untruncated", None)  # would be called
    hidden = np.zeros((48, 48), bool)
    hidden[40, 3] = True
    encode(pixels, hidden=hidden, generation=7)
    encode(pixels, max_error=2, generation=7)


def test_bands_that_were_never_cut_are_left_alone() -> None:
    values = np.stack([ground(4, 64, 64), ground(5, 64, 64) | 1])
    for tellable in (COUNTING, MAKING):
        found, told = find_traces(values, None, tellable)
        np.testing.assert_array_equal(found, values)
        assert all(one.truncation is None for one in told)


@needs_kernels
@pytest.mark.parametrize("wrong", range(9))
def test_kernels_refuse_what_does_not_fit(wrong: int) -> None:
    assert kernels is not None
    fine, coarse = (10, 12, 0, 1), (5, 6, 1, 0)
    args: list[Any] = [
        fine,
        coarse,
        np.zeros((10, 12), np.int32),
        np.ones((10, 12), bool),
        np.zeros((5, 6), np.int32),
        np.ones((5, 6), bool),
        truncation_search._prices(RULES[0]),
        truncation_search._odds(3),
        np.zeros((10, 12), np.int32),
    ]
    kernels.untruncate(*args)
    args[wrong] = [
        (1, 12, 0, 1),
        (5, 5, 1, 0),
        *(np.zeros(7, a.dtype) for a in args[2:]),
    ][wrong]
    if wrong == 7:
        args[7] = np.zeros(7, np.uint16)[1:4]  # no whole numbers, and unaligned
    with pytest.raises((ValueError, OverflowError)):
        kernels.untruncate(*args)


def test_blocks_cover_their_subbands() -> None:
    for subband in subbands((37, 50), 2):
        spread = subband.spread(np.full(subband.blocks, UNREFINED, np.uint8))
        np.testing.assert_array_equal(spread, np.where(subband.usable, UNREFINED, WHOLE))
        assert (subband.blocks[0] - 1) * BLOCK < subband.usable.shape[0]
