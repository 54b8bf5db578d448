"""Transforms, levels and filling in C: the same integers as in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_kernels import needs_kernels, plain

from stvc import native
from stvc.codec import fill, quantize, spectral, transform
from stvc.codec.spectral import Klt

pytestmark = needs_kernels
SIZES = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 5))
SEEDS = st.integers(0, 2**32)


def numbers(rng: np.random.Generator, kind: str, shape: tuple[int, ...], most: int) -> np.ndarray:
    match kind:
        case "any":
            found = rng.integers(-most, most + 1, shape)
        case "small":
            found = rng.integers(-9, 10, shape)
        case "flat":
            found = np.full(shape, rng.integers(-most, most + 1))
        case _:
            found = rng.choice([-most, most], shape)
    return found.astype(np.int32)


KINDS = st.sampled_from(["any", "small", "flat", "extreme"])


@given(SIZES, KINDS, SEEDS)
def test_blocks_are_transformed_alike(sizes: tuple[int, int, int], kind: str, seed: int) -> None:
    c, h, w = sizes
    planes = numbers(np.random.default_rng(seed), kind, (c, 8 * h, 8 * w), 1 << 25)
    there = transform.forward(planes)
    np.testing.assert_array_equal(there, plain(lambda: transform.forward(planes), transform))
    back = transform.inverse(there)
    np.testing.assert_array_equal(back, plain(lambda: transform.inverse(there), transform))
    assert there.dtype == back.dtype == np.int32


def test_views_are_transformed_like_copies() -> None:
    planes = np.random.default_rng(0).integers(0, 999, (40, 24, 3)).transpose(2, 0, 1)
    there = transform.forward(planes)
    np.testing.assert_array_equal(there, transform.forward(planes.copy().astype(np.int32)))
    view = there[:, ::2]
    np.testing.assert_array_equal(transform.inverse(view), transform.inverse(view.copy()))
    assert transform.forward(np.zeros((0, 8, 8), np.int32)).shape == (0, 1, 1, 64)


@given(
    st.integers(1, 20),
    st.sampled_from([1, 7, 256, 257, 600]),
    st.sampled_from([np.uint16, np.int32, np.int64]),
    KINDS,
    SEEDS,
)
def test_bands_are_mixed_alike(
    bands: int, size: int, dtype: type[np.generic], kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-(1 << 14), (1 << 14) + 1, (bands, bands)).astype(np.int16)
    klt = Klt(matrix, np.zeros(bands, np.int32), np.zeros(bands, np.uint8))
    planes = np.abs(numbers(rng, kind, (bands, 1, size), 65535)).astype(dtype)
    components = numbers(rng, kind, (bands, 1, size), 1 << 20)
    for turn, x in ((klt.forward, planes), (klt.inverse, components)):
        np.testing.assert_array_equal(turn(x), plain(lambda t=turn, x=x: t(x), spectral))


@given(
    SIZES,
    st.sampled_from([0, 0.36, 0.5]),
    st.integers(-31, 31),
    st.integers(-31, 31),
    st.sampled_from([1.0, 40.0, 1e5, 1e9]),
    SEEDS,
)
def test_levels_are_alike(
    sizes: tuple[int, int, int], dead_zone: float, first: int, others: int, spread: float, seed: int
) -> None:
    """Halves and whole steps as well, and levels beyond the greatest."""
    rng = np.random.default_rng(seed)
    steps = quantize.step_size(rng.integers(0, quantize.MAX_STEP_INDEX + 1, sizes[1:]))
    steps = steps[None, :, :, None]
    residual = np.round(rng.normal(0, spread, (*sizes, 64)) * steps * 2) / 2
    found = quantize.quantize(residual, steps, dead_zone)
    wanted = plain(lambda: quantize.quantize(residual, steps, dead_zone), quantize)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.int32
    shrink = first, others
    values = quantize.dequantize(found, steps, shrink)
    np.testing.assert_array_equal(
        values, plain(lambda: quantize.dequantize(found, steps, shrink), quantize)
    )
    table = [-2, -1, 0, 1, 2, 3, 1 << 15]
    few = rng.choice(np.array(table, np.int32), (*sizes, 64))
    np.testing.assert_array_equal(
        quantize.dequantize(few, steps, shrink),
        plain(lambda: quantize.dequantize(few, steps, shrink), quantize),
    )


@given(st.integers(1, 3), st.integers(0, 5), st.sampled_from([0, 0.1, 0.5, 1]), SEEDS)
def test_hidden_pixels_are_filled_alike(c: int, n: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    residual, hidden = rng.normal(0, 300, (c, n, 64)), rng.random((n, 64)) < share
    steps = rng.uniform(1, 500, n)
    found = fill.fill_hidden(residual, hidden, steps)
    wanted = plain(lambda: fill.fill_hidden(residual, hidden, steps), fill)
    np.testing.assert_allclose(found, wanted, atol=1e-8)
    np.testing.assert_array_equal(found[:, ~hidden], residual[:, ~hidden])


I32, F64, U8 = np.int32, np.float64, np.uint8
PARTS = transform.PARTS
ONE = np.ones(2, np.int64)
TOKENS = np.zeros(3 * 2 * 64, I32)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("transform_blocks", (PARTS, np.zeros(64, I32), 4, False, np.zeros(64, I32))),
        ("transform_blocks", (PARTS, np.zeros(64, I32), 0, False, np.zeros(64, I32))),
        ("transform_blocks", (PARTS, np.zeros(64, I32), 2**40, False, np.zeros(64, I32))),
        ("transform_blocks", (PARTS, np.zeros(72, I32), 8, False, np.zeros(72, I32))),
        ("transform_blocks", (PARTS, np.zeros(64, I32), 8, True, np.zeros(128, I32))),
        (
            "transform_blocks",
            ((*PARTS[:2], np.full(64, 64, U8)), np.zeros(64, I32), 8, True, np.zeros(64, I32)),
        ),
        (
            "transform_blocks",
            ((PARTS[0][:3], *PARTS[1:]), np.zeros(64, I32), 8, True, np.zeros(64, I32)),
        ),
        ("mix_bands", (np.eye(2), np.zeros(8, I32), np.zeros(8, I32), 0)),
        ("mix_bands", (np.eye(65), np.zeros(65, I32), np.zeros(65, I32), 65)),
        ("mix_bands", (np.eye(2), np.zeros(8, I32), np.zeros(8, I32), 3)),
        ("mix_bands", (np.eye(3), np.zeros(8, I32), np.zeros(8, I32), 3)),
        ("mix_bands", (np.eye(2), np.zeros(9, np.uint16), np.zeros(8, I32), 2)),
        ("fill_blocks", (PARTS, np.zeros(128), np.zeros(64, bool), np.zeros(1), np.zeros(64))),
        ("fill_blocks", (PARTS, np.zeros(64), np.zeros(63, bool), np.zeros(1), np.zeros(64))),
        ("fill_blocks", (PARTS, np.zeros(64), np.zeros(64, bool), np.zeros(2), np.zeros(64))),
        ("quantize", (np.zeros(384), ONE, 0.5, 9, np.zeros(385, I32))),
        ("quantize", (np.zeros(383), ONE, 0.5, 9, TOKENS)),
        ("quantize", (np.zeros(384), 0 * ONE, 0.5, 9, TOKENS)),
        ("quantize", (np.zeros(384), ONE << 40, 0.5, 9, TOKENS)),
        ("quantize", (np.zeros(384), ONE[:0], 0.5, 9, TOKENS)),
        ("quantize", (np.zeros(384), ONE, float("nan"), 9, TOKENS)),
        ("quantize", (np.zeros(384), ONE, 0.5, -1, TOKENS)),
        ("dequantize", (TOKENS[1:], ONE, (0, 0), TOKENS)),
        ("dequantize", (TOKENS, -ONE, (0, 0), TOKENS)),
        ("dequantize", (TOKENS, ONE, (1 << 20, 0), TOKENS)),
        ("dequantize", (TOKENS, ONE, (0, -(1 << 20)), TOKENS)),
    ],
)
def test_what_does_not_fit_is_refused(name: str, arguments: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match=r"aligned items|outside of what"):
        getattr(native.kernels, name)(*arguments)
