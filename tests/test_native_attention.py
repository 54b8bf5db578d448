"""Attention and the other passes of the 8-bit network in C: the same bytes as in torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from native_kernels import needs_kernels
from test_network import assert_equal, inputs, network, walk
from training import SMALL

from stvc import native
from stvc.model.architecture import GROUPS, KEY_LIMIT, POSITION_LIMIT
from stvc.model.features import U_LIMIT
from stvc.model.int8 import Int8Network, usable
from stvc.model.int8_native import LEVEL, NativePasses, passes
from stvc.model.int8_passes import OFFSET, Passes
from stvc.model.network import LIMIT

pytestmark = [
    needs_kernels,
    pytest.mark.skipif(
        native.kernels is not None and LEVEL == 0, reason="this processor has no fast instructions"
    ),
]
SHAPES = st.sampled_from([(32, 1), (32, 8), (64, 4), (96, 3), (128, 4), (160, 5), (1024, 1)])
EXP = np.rint(255 * np.exp(-np.arange(128) / 16))


def tensors(position: np.ndarray, table: np.ndarray = EXP) -> dict[str, torch.Tensor]:
    return {
        "layer.position": torch.from_numpy(position.astype(np.int8)),
        "exp": torch.from_numpy(table.astype(np.int32)),
    }


def pair(x: dict[str, torch.Tensor], width: int, heads: int) -> tuple[NativePasses, Passes]:
    config = replace(SMALL, width=width, heads=heads)
    mine = passes(x, config)
    assert isinstance(mine, NativePasses)
    return mine, Passes(x, config)


def within(kv: torch.Tensor) -> torch.Tensor:
    """Keys and values as they are for torch; C cuts them itself."""
    d, out = kv.shape[-1] // 2, kv.clone()
    out[..., :d].clamp_(OFFSET - KEY_LIMIT, OFFSET + KEY_LIMIT)
    out[..., d:].clamp_(min=1)
    return out


def check_mix(
    x: dict[str, torch.Tensor], heads: int, q: np.ndarray, kv: np.ndarray, index: np.ndarray
) -> torch.Tensor:
    mine, theirs = pair(x, q.shape[-1], heads)
    asked, memory, rows = (torch.from_numpy(v) for v in (q, kv, index))
    wanted = theirs.mix("layer", asked.clone(), within(memory), rows)
    for level in range(1, LEVEL + 1):
        mine.level = level
        assert torch.equal(mine.mix("layer", asked, memory, rows), wanted)
    return wanted


def bytes_of(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    match kind:
        case "any":
            found = rng.integers(0, 256, shape)
        case "near zero":
            found = rng.normal(OFFSET, 3, shape).round()
        case "extreme":
            found = rng.choice([0, 1, 255], shape)
        case _:
            found = np.full(shape, int(kind))
    return found.astype(np.uint8)


KINDS = st.sampled_from(["any", "near zero", "extreme", "0", "128", "255"])


@given(
    SHAPES,
    st.tuples(KINDS, KINDS),
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 19), st.integers(1, 64)),
    st.sampled_from(["trained", "any", "first alone", "all greatest"]),
    st.integers(0, 2**32),
)
def test_attention_is_equal(
    shape: tuple[int, int],
    kinds: tuple[str, str],
    sizes: tuple[int, int, int, int],
    weights: str,
    seed: int,
) -> None:
    """Heads and blocks of all sizes; keys off the grid; equal logits; any table of bytes."""
    rng = np.random.default_rng(seed)
    (width, heads), (b, blocks, n, keys) = shape, sizes
    rows = int(rng.integers(1, 30))
    table = {
        "trained": EXP,
        "any": rng.integers(0, 256, 128),
        "first alone": np.arange(128) == 0,
        "all greatest": np.full(128, 255),
    }[weights]
    table[0] = max(table[0], 1)
    index = rng.integers(0, rows + 1, (blocks, keys))
    index[0] = rows
    kv = bytes_of(rng, kinds[1], (b, rows + 1, 2 * width))
    kv[:, rows] = OFFSET
    check_mix(
        tensors(rng.integers(-POSITION_LIMIT, POSITION_LIMIT + 1, (keys, width)), table),
        heads,
        bytes_of(rng, kinds[0], (b, blocks, n, width)),
        kv,
        index,
    )


@pytest.mark.parametrize("sign", [-1, 1])
def test_attention_of_the_largest_products(sign: int) -> None:
    """Queries and keys with their positions at their limits, logits as far apart as can be."""
    position = np.full((64, 1024), POSITION_LIMIT)
    position[32:] *= -1
    kv = np.full((1, 65, 2048), 255 if sign > 0 else 0, np.uint8)
    kv[:, 32:, :1024] = 255 - kv[:, 32:, :1024]
    kv[:, 40:, 1024:] = 255 - kv[:, 40:, 1024:]
    q = np.full((1, 1, 8, 1024), 255, np.uint8)
    q[:, :, 4:] = 0
    found = check_mix(tensors(position), 1, q, kv, np.arange(64)[None])
    assert len(found.unique()) > 1


def test_rounding_without_a_division() -> None:
    """All sums of weights, and the sums of values next to the middle between two integers.

    The product of a 24-bit and a 23-bit number is exact in float64: rounded to float32 it is what
    one operation of the processor makes of it.
    """
    half = np.arange(-127, 127) + 0.5
    for total in range(1, 64 * 255 + 1):
        reciprocal = np.float64(np.float32(1) / np.float32(total))
        middle = np.floor(half * total)
        for n in (middle, middle + 1):
            found = np.rint(((4 * n + 1) * (reciprocal / 4)).astype(np.float32))
            np.testing.assert_array_equal(found, np.floor((2 * n + total) / (2 * total)))


def test_attention_rounds_half_up() -> None:
    """Two keys of equal weight: every mean of two values."""
    values = np.stack(np.meshgrid(np.arange(1, 256), np.arange(1, 256)), -1).reshape(-1, 2)
    padded = np.zeros((len(values) // 32 + 1, 32, 2), np.uint8)
    padded.reshape(-1, 2)[: len(values)] = values
    kv = np.full((len(padded), 2, 64), OFFSET, np.uint8)
    kv[:, :, 32:] = padded.transpose(0, 2, 1)
    q = np.full((len(padded), 1, 1, 32), 200, np.uint8)
    found = check_mix(tensors(np.zeros((2, 32))), 2, q, kv, np.array([[0, 1]]))
    wanted = (values.sum(1) + 1) // 2
    np.testing.assert_array_equal(found.numpy().reshape(-1)[: len(values)], wanted)


def floats(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> torch.Tensor:
    found = {
        "units": rng.normal(0, 300, shape),
        "halves": rng.integers(-1200, 1200, shape) / 2,
        "limits": rng.integers(-3, 4, shape) * LIMIT / 3,
        "beyond": rng.choice([-np.inf, -1e20, -0.0, 0.0, 1e-30, -1e-30, 1e20, np.inf], shape),
    }[kind]
    return torch.from_numpy(found.astype(np.float32))


FLOATS = st.sampled_from(["units", "halves", "limits", "beyond"])


@given(FLOATS, st.integers(1, 70), st.integers(0, 2**32))
def test_residual_streams_are_equal(kind: str, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mine, theirs = pair(tensors(np.zeros((1, 32))), 32, 1)
    x = floats(rng, kind, (2, n))
    h = rng.integers(-(1 << 17), 1 << 17, (2, n)) >> rng.integers(0, 17, (2, n))
    first, second = x.clone(), x.clone()
    assert torch.equal(mine.begin(first, clamped=True), theirs.begin(second, clamped=True))
    assert torch.equal(first, second)
    mine_h, theirs_h = (torch.from_numpy(h.astype(np.float32)) for _ in "mt")
    found = mine.absorb(mine_h, x.clone(), clamped=True)
    assert torch.equal(found, theirs.absorb(theirs_h, x.clone(), clamped=True))
    assert torch.equal(mine_h, theirs_h)


@given(
    FLOATS,
    st.tuples(st.integers(1, 3), st.integers(1, 9)),
    st.tuples(st.integers(0, 4), st.integers(0, 1)),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_locations_and_scales_are_equal(
    kind: str, sizes: tuple[int, int], step: tuple[int, int], near: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    (b, half), n = sizes, GROUPS[step[0]][1] - GROUPS[step[0]][0]
    mine, theirs = pair(tensors(np.zeros((1, 32))), 32, 1)
    heads = floats(rng, kind, (b, half, (2 + SMALL.gates) * n))
    moves = rng.integers(-U_LIMIT, U_LIMIT + 1, (b, 2 * half, 64, SMALL.candidates))
    around = rng.integers(-U_LIMIT, U_LIMIT + 1, (b, 2 * half, n)) if near else None
    found, wanted = (
        one.place(
            heads.clone(),
            torch.from_numpy(moves.astype(np.int16)),
            step,
            None if around is None else torch.from_numpy(around.astype(np.int32))[:, half:],
            clamped=True,
        )
        for one in (mine, theirs)
    )
    for a, x in zip(found, wanted, strict=True):
        assert a.dtype == torch.int32
        assert torch.equal(a, x)


def test_known_symbols_are_equal() -> None:
    mine, theirs = pair(tensors(np.zeros((1, 32))), 32, 1)
    ends = [-(2**31), -(2**28), 2**28, 2**31 - 1]
    symbols = torch.tensor([*range(-1100, 1101), *ends], dtype=torch.int32)
    assert torch.equal(mine.known(symbols), theirs.known(symbols))


@pytest.mark.skipif(not usable(), reason="no exact 8-bit products here")
@pytest.mark.parametrize("gain", [1.0, 6.0, 40.0])
@pytest.mark.parametrize("size", [(1, 1), (9, 13), (31, 30)])
@pytest.mark.parametrize("extreme", [False, True])
def test_all_steps_are_equal(gain: float, size: tuple[int, int], extreme: bool) -> None:
    net, x = network(3, "int8", gain), inputs(3, size, extreme=extreme)
    assert isinstance(net, Int8Network)
    found = walk(net, x)
    assert isinstance(net.passes, NativePasses)
    net.passes = Passes(
        {f"{k}.position": torch.from_numpy(p) for k, p in net.passes.positions.items()}
        | {"exp": torch.from_numpy(net.passes.table)},
        SMALL,
    )
    assert_equal(found, walk(net, x))


@pytest.mark.parametrize(
    ("wrong", "config"),
    [
        (tensors(np.full((4, 32), POSITION_LIMIT + 1)), SMALL),
        (tensors(np.full((4, 32), -128)), SMALL),
        (tensors(np.zeros((4, 32)), np.zeros(128)), SMALL),
        (tensors(np.zeros((4, 32)), np.full(128, 256)), SMALL),
        (tensors(np.zeros((4, 32)), 1 - np.arange(128)), SMALL),
        (tensors(np.zeros((4, 48))), replace(SMALL, width=48)),
        (tensors(np.zeros((4, 32))), replace(SMALL, heads=16)),
        (tensors(np.zeros((4, 2048))), replace(SMALL, width=2048)),
        (tensors(np.zeros((4, 32))), replace(SMALL, candidates=17)),
        (tensors(np.zeros((65, 32))), SMALL),
    ],
)
def test_networks_that_kernels_cannot_do_run_in_torch(
    wrong: dict[str, torch.Tensor], config: object
) -> None:
    assert type(passes(wrong, config)) is Passes


SIZES = (2, 1, 3, 5, 7, 2, 32)


def mix_arguments(**other: object) -> list[object]:
    named = {
        "sizes": SIZES,
        "query": np.zeros(2 * 3 * 32, np.uint8),
        "kv": np.zeros(2 * 7 * 64, np.uint8),
        "index": np.zeros(5, np.int64),
        "position": np.zeros(5 * 32, np.int8),
        "table": np.ones(128, np.uint8),
        "level": 1,
        "out": np.zeros(2 * 3 * 32, np.uint8),
    }
    return list((named | other).values())


@pytest.mark.parametrize(
    "wrong",
    [
        *({"sizes": tuple(np.where(np.arange(7) == k, 0, SIZES).tolist())} for k in range(7)),
        {"sizes": (2, 1, 3, 5, 7, 16, 32)},
        {"sizes": (2, 1, 4, 5, 7, 2, 24)},
        {"sizes": (2, 1, 3, 5, 2**62, 2, 32)},
        {"sizes": (2**17, 2**17, 2**17, 5, 7, 2, 32)},
        {"sizes": (2**62, 1, 3, 5, 7, 2, 32)},
        {"query": np.zeros(2 * 3 * 32 - 1, np.uint8)},
        {"kv": np.zeros(2 * 7 * 64 + 1, np.uint8)},
        {"index": np.zeros(5, np.int32)},
        {"index": np.array([0, 1, 2, 3, 7])},
        {"index": np.array([0, -1, 2, 3, 4])},
        {"position": np.full(5 * 32, 33, np.int8)},
        {"position": np.full(5 * 32, -33, np.int8)},
        {"table": np.ones(127, np.uint8)},
        {"table": np.zeros(128, np.uint8)},
        {"level": 0},
        {"level": 3},
        {"out": np.zeros(2 * 3 * 32 + 1, np.uint8)},
    ],
)
def test_attention_refuses_what_disagrees(wrong: dict[str, object]) -> None:
    assert native.kernels is not None
    native.kernels.mix(*mix_arguments())
    with pytest.raises(ValueError, match="outside of what it may be|aligned items"):
        native.kernels.mix(*mix_arguments(**wrong))


def place_arguments(**other: object) -> list[object]:
    named = {
        "sizes": (2, 6, 3, 3, 6, 15, 5),
        "heads": np.zeros(2 * 3 * 8 * 15, np.float32),
        "moves": np.zeros(2 * 6 * 64 * 5, np.int16),
        "near": np.zeros(2 * 3 * 15, np.int32),
        "location": np.zeros(2 * 3 * 15, np.int32),
        "scale": np.zeros(2 * 3 * 15, np.int32),
    }
    return list((named | other).values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"sizes": (2, 6, 4, 3, 6, 15, 5)},
        {"sizes": (2, 6, -1, 3, 6, 15, 5)},
        {"sizes": (2, 6, 3, 3, 50, 15, 5)},
        {"sizes": (2, 6, 3, 3, -1, 15, 5)},
        {"sizes": (2, 6, 3, 3, 6, 15, 17)},
        {"sizes": (2**25, 2**25, 0, 2**25, 0, 64, 16)},
        {"sizes": (2**60, 6, 3, 3, 6, 15, 5)},
        {"heads": np.zeros(2 * 3 * 7 * 15, np.float32)},
        {"moves": np.zeros(2 * 6 * 64 * 4, np.int16)},
        {"near": np.zeros(2 * 3, np.int32)},
        {"location": np.zeros(2 * 3 * 15, np.int16)},
        {"scale": np.zeros(3 * 15, np.int32)},
    ],
)
def test_places_refuse_what_disagrees(wrong: dict[str, object]) -> None:
    assert native.kernels is not None
    native.kernels.place(*place_arguments())
    with pytest.raises(ValueError, match="outside of what it may be|aligned items"):
        native.kernels.place(*place_arguments(**wrong))


def test_small_passes_refuse_what_disagrees() -> None:
    assert native.kernels is not None
    h, out = np.zeros(8, np.float32), np.zeros(8, np.uint8)
    for wrong in ((h, h[:7], out), (h, None, out[:7]), (h[:7], h, out), (out[:7], None, out)):
        with pytest.raises(ValueError, match="aligned items"):
            native.kernels.absorb(*wrong)
    symbols, table = np.zeros(8, np.int32), np.zeros(9, np.uint8)
    with pytest.raises(ValueError, match="aligned items"):
        native.kernels.look_up(symbols, table, out[:7])
    for wrong_table in (table[:8], table[:0]):
        with pytest.raises(ValueError, match="outside of what it may be"):
            native.kernels.look_up(symbols, wrong_table, out)
