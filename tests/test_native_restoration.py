"""The restoration network in C: the same corrections by every kind of instruction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_kernels import needs_kernels

from stvc import native
from stvc.codec import restoration, restoration_native, restoration_network
from stvc.codec.quantize import step_size
from stvc.codec.restoration import Scene, corrections
from stvc.codec.restoration_native import LEVEL

pytestmark = [
    needs_kernels,
    pytest.mark.skipif(
        native.kernels is not None and LEVEL == 0, reason="this processor has no fast instructions"
    ),
]
SIZES = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6))


def check(decoded: np.ndarray, predicted: np.ndarray, symbols: np.ndarray, scene: Scene) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STVC_ARITHMETIC", "int32")
        restoration_network.layers.cache_clear()
        wanted = corrections(decoded, predicted, symbols, scene)
    restoration_network.layers.cache_clear()
    blocks = restoration._blocks(symbols, scene)
    reciprocal = restoration._reciprocal(int(step_size(scene.step_index)))
    for level in range(1, LEVEL + 1):
        found = restoration_native.corrections(decoded, predicted, blocks, reciprocal, level)
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(corrections(decoded, predicted, symbols, scene), wanted)


@given(SIZES, st.integers(0, 448), st.integers(0, 2**32), st.booleans(), st.integers(0, 31))
def test_corrections_are_equal(
    size: tuple[int, int, int], step_index: int, seed: int, unpredicted: bool, width: int
) -> None:
    """Units of all sizes; pixels from none to beyond what any picture has."""
    rng = np.random.default_rng(seed)
    c, h, w = size
    reach = 2**width
    planes = [rng.integers(-reach, reach, (c, 8 * h, 8 * w)).astype(np.int32) for _ in range(2)]
    symbols = rng.integers(-3, 4, (c, h, w, 64)) * (rng.random((c, h, w, 64)) < 0.2)
    importance = rng.choice([0, 2, 4, 255], (h, w)).astype(np.uint8)
    spread = rng.integers(0, 256, c).astype(np.uint8)
    check(*planes, symbols.astype(np.int32), Scene(step_index, spread, importance, unpredicted))


def test_views_of_larger_arrays() -> None:
    rng = np.random.default_rng(1)
    planes = rng.integers(-3000, 3000, (2, 3, 40, 48)).astype(np.int32)[:, ::-1, ::-1]
    symbols = rng.integers(-2, 3, (3, 6, 5, 64)).astype(np.int32).transpose(0, 2, 1, 3)
    check(*planes, symbols, Scene(200, np.zeros(3, np.uint8), np.zeros((5, 6), np.uint8), False))


def arguments(**other: object) -> list[object]:
    named = {
        "network": restoration_native.network(),
        "shape": (2, 1, 3),
        "decoded": np.zeros(2 * 3 * 64, np.int32),
        "predicted": np.zeros(2 * 3 * 64, np.int32),
        "blocks": np.zeros(2 * 9 * 3, np.int8),
        "reciprocal": 100,
        "level": 1,
        "out": np.zeros(2 * 3 * 64, np.int32),
    }
    network, *rest = (named | other).values()
    return [*network, *rest]


def weights(index: int, array: np.ndarray) -> tuple[np.ndarray, ...]:
    found = list(restoration_native.network()) if native.kernels is not None else [array] * 5
    found[index] = array
    return tuple(found)


@pytest.mark.parametrize(
    "wrong",
    [
        {"network": weights(0, np.zeros(48 * 47, np.int8))},
        {"network": weights(3, np.zeros(80, np.int32))},
        {"network": weights(3, np.full(81, 2**30, np.int32))},
        {"network": weights(4, np.zeros(81, np.int8))},
        {"network": weights(4, np.full(81, 40, np.int8))},
        {"shape": (2, 3, 2)},
        {"shape": (2, 0, 3)},
        {"shape": (-2, 1, 3)},
        {"shape": (2**18, 2**18, 2**18)},
        {"shape": (2**62, 1, 3)},
        {"decoded": np.zeros(2 * 3 * 64 - 1, np.int32)},
        {"predicted": np.zeros(2 * 3 * 64, np.int16)},
        {"blocks": np.zeros(2 * 9 * 3 + 1, np.int8)},
        {"reciprocal": -1},
        {"reciprocal": 2**26},
        {"level": 0},
        {"level": 3},
        {"level": -1},
        {"out": np.zeros(3 * 64, np.int32)},
    ],
)
def test_arguments_that_disagree_are_refused(wrong: dict[str, object]) -> None:
    assert native.kernels is not None
    native.kernels.corrections(*arguments())
    with pytest.raises(ValueError, match="outside of what it may be|aligned items"):
        native.kernels.corrections(*arguments(**wrong))
