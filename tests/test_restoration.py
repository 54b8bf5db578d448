"""In-loop restoration: exact everywhere, off where it harms, frozen."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from stvc.codec import restoration, restoration_native, restoration_network
from stvc.codec.restoration import (
    STRENGTH_ONE,
    STRENGTHS,
    Scene,
    choose_strengths,
    corrections,
    features,
    restore,
)
from stvc.codec.transform import I32
from stvc.errors import ModelError

STEP = 16 * 64
Unit = tuple[I32, I32, I32, Scene]


@pytest.fixture(autouse=True)
def fresh_layers() -> Iterator[None]:
    for kept in (restoration_network.layers, restoration_native.network):
        kept.cache_clear()
    yield
    for kept in (restoration_network.layers, restoration_native.network):
        kept.cache_clear()


def unit(seed: int, step_index: int = 192, height: int = 48, width: int = 40) -> Unit:
    rng = np.random.default_rng(seed)
    rough = rng.integers(-400, 401, (3, height, width)).cumsum(2).astype(np.int32)
    expected = rough + rng.integers(-900, 901, rough.shape).astype(np.int32)
    blocks = (3, height // 8, width // 8, 64)
    symbols = rng.integers(-3, 4, blocks) * (rng.random(blocks) < 0.2)
    importance = rng.choice([0, 2, 4, 255], blocks[1:3]).astype(np.uint8)
    spread = np.array([80, 60, 40], np.uint8)
    return rough, expected, symbols.astype(np.int32), Scene(step_index, spread, importance, False)


@pytest.mark.parametrize("arithmetic", ["int8", "float32", "int32"])
@pytest.mark.parametrize("step_index", [0, 192, 448])
def test_every_arithmetic_gives_the_same_corrections(
    monkeypatch: pytest.MonkeyPatch, arithmetic: str, step_index: int
) -> None:
    monkeypatch.setenv("STVC_ARITHMETIC", "int32")
    wanted = corrections(*unit(1, step_index))
    restoration_network.layers.cache_clear()
    monkeypatch.setenv("STVC_ARITHMETIC", arithmetic)
    assert np.array_equal(corrections(*unit(1, step_index)), wanted)
    assert wanted.any()


@pytest.mark.parametrize("arithmetic", ["int8", "float32"])
def test_extreme_inputs_stay_exact(monkeypatch: pytest.MonkeyPatch, arithmetic: str) -> None:
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.choice([-127, 127], (20_000, 48)).astype(np.int8))
    monkeypatch.setenv("STVC_ARITHMETIC", "int32")
    wanted = restoration_network.layers()(rows)
    restoration_network.layers.cache_clear()
    monkeypatch.setenv("STVC_ARITHMETIC", arithmetic)
    assert torch.equal(restoration_network.layers()(rows), wanted)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVC_ARITHMETIC", "int8")
    whole = corrections(*unit(2))
    monkeypatch.setattr(restoration, "_CHUNK", 100)
    assert np.array_equal(corrections(*unit(2)), whole)


def test_corrections_see_two_pixels_and_the_block_no_further() -> None:
    decoded, expected, symbols, scene = unit(3)
    before = corrections(decoded, expected, symbols, scene)
    changed = decoded.copy()
    changed[1, 20, 20] += 3000
    moved = np.argwhere(corrections(changed, expected, symbols, scene) != before)
    assert len(moved)
    assert (moved[:, 0] == 1).all()
    assert np.abs(moved[:, 1:] - 20).max() <= 2
    first = decoded.copy()
    first[0, 20, 20] += 3000
    moved = np.argwhere(corrections(first, expected, symbols, scene) != before)
    assert set(moved[:, 0]) == {0, 1, 2}, "the first component guides the others"


def test_features_are_differences_in_units_of_the_step() -> None:
    _, _, symbols, scene = unit(4)
    flat = np.full((3, 48, 40), 5000, np.int32)
    steep = flat + (np.arange(40, dtype=np.int32) * (STEP // 8))
    found = features(steep, flat, symbols * 0, scene)
    assert found.shape == (3, restoration.FEATURES, 48, 40)
    assert found.dtype == np.int8
    assert (found[:, 0, :, 1:-1] == 32 // 8).all(), "the neighbor to the right"
    assert (found[:, 2, :, 1:-1] == -32 // 8).all(), "to the left"
    assert not found[:, 1].any(), "no difference downwards"
    assert not found[:, 12:20].any(), "the prediction is flat"
    assert (found[:, 0, :, 39] == 0).all(), "the edge is repeated"


def test_the_log_table_is_the_logarithm() -> None:
    wanted = [min(math.floor(16 * math.log2(1 + n) + 1e-9), 96) for n in range(65)]
    assert restoration._LOG.tolist() == wanted


def test_strength_one_adds_corrections_as_they_are() -> None:
    decoded = np.zeros((2, 8, 8), np.int32)
    found = np.full((2, 8, 8), 256, np.int32)
    out = restore(decoded, found, np.array([STRENGTH_ONE, 0]), STEP)
    assert (out[0] == STEP).all()
    assert not out[1].any()


def test_absurd_corrections_do_not_overflow() -> None:
    decoded = np.full((1, 8, 8), 1 << 29, np.int32)
    scene = Scene(448, np.zeros(1, np.uint8), np.zeros((1, 1), np.uint8), True)
    symbols = np.full((1, 1, 1, 64), 1 << 20, np.int32)
    found = corrections(decoded, -decoded, symbols, scene)
    assert np.isfinite(restore(decoded, found, np.array([STRENGTHS - 1]), 1 << 18)).all()


def test_helpful_corrections_are_used_and_harmful_ones_are_not() -> None:
    found = np.tile(np.array([[64], [64]], np.int32), (1, 5000))
    helps = found * (STEP / 256.0)
    assert choose_strengths(helps, found, STEP).tolist() == [4, 4]
    assert choose_strengths(-helps, found, STEP).tolist() == [0, 0]
    mixed = np.stack([helps[0] * 1.75, -helps[1]])
    assert choose_strengths(mixed, found, STEP).tolist() == [7, 0]


def test_naming_strengths_must_be_worth_its_bits() -> None:
    found = np.full((2, 3), 64, np.int32)
    helps = found * (STEP / 256.0) * np.array([[1.3], [0.9]])
    assert choose_strengths(helps, found, STEP).tolist() == [4, 4]


def test_weights_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoration_network, "SHA256", "0" * 64)
    with pytest.raises(ModelError, match="damaged"):
        corrections(*unit(5))
