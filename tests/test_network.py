"""Integer inference: the same integers in every arithmetic, and nothing known too early."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training import SMALL, export, random_net

from stvc.model.architecture import (
    GROUPS,
    SCALES,
    STEP_HALO,
    TRUNK_HALO,
    TokenLayout,
    token_layout,
)
from stvc.model.arithmetic import Arithmetic
from stvc.model.features import U_LIMIT, compand, in_steps, log2_units
from stvc.model.int8 import Int8Network, usable
from stvc.model.neighbors import neighbor_candidates
from stvc.model.network import LOCATION_LIMIT, EntropyNetwork

Outputs = list[tuple[int, int, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Inputs:
    """One batch of components in memory order."""

    layout: TokenLayout
    features: torch.Tensor
    candidates: torch.Tensor
    importance: torch.Tensor
    valid: torch.Tensor
    symbols: torch.Tensor


def inputs(
    seed: int, size: tuple[int, int] = (5, 6), batch: int = 2, *, extreme: bool = False
) -> Inputs:
    rng = np.random.default_rng(seed)
    layout = token_layout(*size)
    n, tokens = size[0] * size[1], layout.tokens
    valid = layout.place < n
    shape = (batch, tokens)
    if extreme:
        features = rng.choice([-127, 127], (*shape, SMALL.features))
        candidates = rng.choice([-U_LIMIT, U_LIMIT], (*shape, 64, SMALL.candidates))
        symbols = rng.choice([-32768, 0, 32768], (*shape, 64))
    else:
        features = np.clip(rng.normal(0, 20, (*shape, SMALL.features)), -127, 127)
        candidates = np.clip(rng.normal(0, 60, (*shape, 64, SMALL.candidates)), -U_LIMIT, U_LIMIT)
        symbols = rng.normal(0, 2, (*shape, 64))
    importance = rng.choice(np.array([0, 0, 0, 2, 4, 255], np.uint8), shape)
    importance[:, ~valid] = 255
    shown = valid[None, :, None]
    return Inputs(
        layout,
        torch.from_numpy((features * shown).astype(np.int8)),
        torch.from_numpy((candidates * shown[..., None]).astype(np.int16)),
        torch.from_numpy(importance),
        torch.from_numpy(valid),
        torch.from_numpy((np.rint(symbols) * shown).astype(np.int32)),
    )


def walk(network: EntropyNetwork, x: Inputs) -> Outputs:
    """Run all steps, sending the true symbols."""
    found: Outputs = []
    half = x.layout.tokens // 2
    with torch.no_grad():
        steps = network.steps(x.features, x.candidates, x.importance, x.valid, x.layout)
        step = next(steps)
        while True:
            g, p, location, scale = step
            found.append((g, p, location.numpy().copy(), scale.numpy().copy()))
            low, high = GROUPS[g]
            try:
                step = steps.send(x.symbols[:, p * half : (p + 1) * half, low:high])
            except StopIteration:
                return found


def network(seed: int, arithmetic: str, gain: float = 1.0) -> EntropyNetwork:
    tensors = export.integer_tensors(random_net(seed, gain))
    if arithmetic == "int8":
        return Int8Network(tensors, SMALL)
    return EntropyNetwork(tensors, SMALL, Arithmetic(arithmetic))


def assert_equal(a: Outputs, b: Outputs) -> None:
    assert [x[:2] for x in a] == [x[:2] for x in b]
    for mine, theirs in zip(a, b, strict=True):
        np.testing.assert_array_equal(mine[2], theirs[2])
        np.testing.assert_array_equal(mine[3], theirs[3])


@pytest.mark.parametrize("gain", [1.0, 6.0, 40.0])
@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_float32_and_int32_agree(gain: float, extreme: bool, seed: int) -> None:
    """Large gains saturate keys, values, hidden units and the residual stream."""
    x = inputs(seed, extreme=extreme)
    found = walk(network(seed, "float32", gain), x)
    assert_equal(found, walk(network(seed, "int32", gain), x))
    assert [f[:2] for f in found] == [(g, p) for g in range(5) for p in (0, 1)]
    everything = np.concatenate([f[2].reshape(-1) for f in found])
    scales = np.concatenate([f[3].reshape(-1) for f in found])
    assert len(np.unique(everything)) > 100
    assert np.abs(everything).max() <= LOCATION_LIMIT
    assert scales.min() >= 0
    assert scales.max() < SCALES
    if gain == 40:
        assert {0, SCALES - 1} <= set(scales.tolist())


@pytest.mark.skipif(not usable(), reason="no exact 8-bit products here")
@pytest.mark.parametrize("gain", [1.0, 6.0, 40.0])
@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("size", [(5, 6), (9, 13), (31, 30)])
def test_8_bit_products_agree(gain: float, extreme: bool, size: tuple[int, int]) -> None:
    """Few rows, many rows and several chunks of query blocks take different ways."""
    x = inputs(7, size, extreme=extreme)
    shown = x.valid.numpy().reshape(2, -1)
    found = walk(network(7, "int8", gain), x)
    for mine, theirs in zip(found, walk(network(7, "float32", gain), x), strict=True):
        assert mine[:2] == theirs[:2]
        for a, b in zip(mine[2:], theirs[2:], strict=True):
            np.testing.assert_array_equal(a[:, shown[mine[1]]], b[:, shown[mine[1]]])


@pytest.mark.skipif(not usable(), reason="no exact 8-bit products here")
def test_weights_beyond_24_bits_are_refused() -> None:
    tensors = export.integer_tensors(random_net(0, 1.0))
    tensors["trunk.0.up.bias"] = tensors["trunk.0.up.bias"] + (1 << 23)
    with pytest.raises(OverflowError, match="up"):
        Int8Network(tensors, SMALL)


@pytest.mark.parametrize("arithmetic", ["float32", "int32"])
def test_units_of_a_batch_do_not_see_each_other(arithmetic: str) -> None:
    net, x = network(2, arithmetic), inputs(2, batch=3)
    together = walk(net, x)
    for k in range(3):
        rows = slice(k, k + 1)
        alone = replace(
            x,
            features=x.features[rows],
            candidates=x.candidates[rows],
            importance=x.importance[rows],
            symbols=x.symbols[rows],
        )
        assert_equal(walk(net, alone), [(g, p, m[rows], s[rows]) for g, p, m, s in together])


@pytest.mark.parametrize("changed", range(10))
def test_later_symbols_are_not_known_earlier(changed: int) -> None:
    net, x = network(3, "float32", 2.0), inputs(3)
    g, p = divmod(changed, 2)
    half = x.layout.tokens // 2
    symbols = x.symbols.clone()
    rows = slice(p * half, (p + 1) * half)
    symbols[:, rows, slice(*GROUPS[g])] += 9
    before = walk(net, x)
    after = walk(net, replace(x, symbols=symbols))
    assert_equal(before[: changed + 1], after[: changed + 1])
    if changed < 9:
        later = zip(before[changed + 1 :], after[changed + 1 :], strict=True)
        assert any((a[2] != b[2]).any() for a, b in later)


def test_padding_does_not_reach_real_tokens() -> None:
    net, x = network(4, "float32", 2.0), inputs(4, (3, 5))
    real = x.valid.numpy()
    features = x.features.clone()
    features[:, ~x.valid] = 99
    half = x.layout.tokens // 2
    other = replace(x, features=features)
    for (_, p, m, s), (_, _, m2, s2) in zip(walk(net, x), walk(net, other), strict=True):
        shown = real[p * half : (p + 1) * half]
        np.testing.assert_array_equal(m[:, shown], m2[:, shown])
        np.testing.assert_array_equal(s[:, shown], s2[:, shown])


def test_the_trainable_twin_is_close() -> None:
    net, x = random_net(5), inputs(5, (8, 8))
    around = neighbor_candidates(x.symbols, x.importance, x.layout)
    with torch.no_grad():
        location, scale = net(
            x.features.float() / 16,
            torch.from_numpy(compand(x.symbols.numpy() * 8)).float() / 16,
            x.candidates.float(),
            [a.float() for a in around],
            x.layout,
            x.valid.float()[None, :, None].expand(2, -1, 1),
        )
    found = walk(network(5, "float32"), x)
    mine = np.zeros((2, 2, x.layout.tokens, 64))
    half = x.layout.tokens // 2
    for g, p, m, s in found:
        rows, band = slice(p * half, (p + 1) * half), slice(*GROUPS[g])
        mine[0][:, rows, band], mine[1][:, rows, band] = m, s
    shown = x.valid.numpy()
    for integer, twin, limit in ((mine[0], location, 1.5), (mine[1], scale, 0.5)):
        miss = np.abs(integer - twin.numpy())[:, shown]
        assert np.median(miss) < limit
        spread = twin.numpy()[:, shown].std()
        assert np.sqrt((miss**2).mean()) < 0.15 * spread + 0.5


@given(st.integers(1, 19), st.integers(1, 19))
def test_token_layout(h: int, w: int) -> None:
    layout = token_layout(h, w)
    n, tokens = h * w, layout.tokens
    assert tokens == 16 * layout.blocks == 16 * -(-h // 4) * -(-w // 4)
    assert sorted(layout.place[layout.place < n].tolist()) == list(range(n))
    np.testing.assert_array_equal(layout.place[layout.order], np.arange(n))
    rows, columns = np.divmod(np.arange(n), w)
    black = (rows + columns) % 2 == 0
    np.testing.assert_array_equal(layout.order < tokens // 2, black)
    assert sorted(layout.queries.reshape(-1).tolist()) == list(range(tokens))
    np.testing.assert_array_equal(layout.queries[:, :8] < tokens // 2, True)
    place = np.append(layout.place, n)
    assert layout.trunk_keys.shape == (layout.blocks, (4 + 2 * TRUNK_HALO) ** 2)
    assert layout.step_keys.shape == (layout.blocks, (4 + 2 * STEP_HALO) ** 2)
    for block in range(layout.blocks):
        by, bx = divmod(block, -(-w // 4))
        mine = {(by * 4 + r) * w + bx * 4 + c for r in range(4) for c in range(4)
                if by * 4 + r < h and bx * 4 + c < w}  # fmt: skip
        assert set(place[layout.queries[block]].tolist()) - {n} == mine
        for keys, halo in ((layout.trunk_keys, TRUNK_HALO), (layout.step_keys, STEP_HALO)):
            near = {
                r * w + c
                for r in range(max(0, by * 4 - halo), min(h, by * 4 + 4 + halo))
                for c in range(max(0, bx * 4 - halo), min(w, bx * 4 + 4 + halo))
            }
            assert set(place[keys[block]].tolist()) - {n} == near
    offsets = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
    for k in range(n):
        r, c = divmod(k, w)
        around = [(r + dy) * w + c + dx if 0 <= r + dy < h and 0 <= c + dx < w else n
                  for dy, dx in offsets]  # fmt: skip
        assert place[layout.neighbors[layout.order[k]]].tolist() == around


@given(st.lists(st.integers(-(2**23) + 1, 2**23 - 1), min_size=1), st.integers(0, 14))
def test_shifts_agree_with_python(values: list[int], bits: int) -> None:
    exact = [(v + (1 << bits >> 1)) >> bits for v in values]
    for name in ("float32", "int32"):
        arithmetic = Arithmetic(name)
        x = torch.tensor(values, dtype=arithmetic.dtype)
        assert arithmetic.shift(x, bits).long().tolist() == exact


@given(st.integers(0, 2**32), st.booleans())
def test_linear_maps_agree_with_python(seed: int, extreme: bool) -> None:
    """Up to the largest sums that `train/export.py` lets through."""
    rng = np.random.default_rng(seed)
    levels = np.array([-127, 127]) if extreme else np.arange(-127, 128)
    weight, x = rng.choice(levels, (17, 480)), rng.choice(levels, (5, 480))
    bias, bits = rng.integers(-600_000, 600_000, 17), rng.integers(-2, 15, 17)
    total = (x @ weight.T + bias).astype(object)

    def shifted(v: int, k: int) -> int:
        return (v + (1 << k >> 1)) >> k if k >= 0 else v << -k

    exact = [[shifted(v, k) for v, k in zip(r, bits.tolist(), strict=True)] for r in total.tolist()]
    for name in ("float32", "int32"):
        arithmetic = Arithmetic(name)
        mapped = arithmetic.linear(
            torch.from_numpy(weight).to(torch.int8),
            torch.from_numpy(bias).to(torch.int32),
            torch.from_numpy(bits).to(torch.int8),
        )(torch.from_numpy(x).to(arithmetic.dtype))
        assert mapped.long().tolist() == exact


@given(st.integers(1, 16320), st.data())
def test_rounded_quotients_agree_with_python(bottom: int, data: st.DataObject) -> None:
    top = data.draw(st.integers(-127 * bottom, 127 * bottom))
    for name in ("float32", "int32"):
        arithmetic = Arithmetic(name)
        n, d = (torch.tensor([v], dtype=arithmetic.dtype) for v in (top, bottom))
        assert int(arithmetic.divide_round(n, d)) == (2 * top + bottom) // (2 * bottom)


@given(st.integers(-(2**26), 2**26), st.integers(16, 2**18))
def test_values_in_steps(value: int, step: int) -> None:
    got = int(in_steps(np.array([value]), np.array([step]))[0])
    exact = np.clip(8 * value / step, -U_LIMIT, U_LIMIT)
    assert abs(got - exact) <= 0.51 + abs(exact) * step / 2**22


def test_companding_is_odd_monotone_and_exact_near_zero() -> None:
    u = np.arange(-U_LIMIT - 5, U_LIMIT + 6)
    v = compand(u).astype(int)
    np.testing.assert_array_equal(v, -v[::-1])
    assert (np.diff(v) >= 0).all()
    near = np.abs(u) <= 16
    np.testing.assert_array_equal(v[near], u[near])
    far = u[u > 16][:-5]
    assert np.abs(v[u > 16][:-5] - (16 + 12 * np.log2(far / 16))).max() <= 0.51


@given(st.integers(1, 2**50), st.sampled_from([8, 16]))
def test_logarithms_without_floats(value: int, per_octave: int) -> None:
    got = int(log2_units(value, per_octave))
    assert got <= per_octave * np.log2(value) + 1e-6
    assert got > per_octave * (np.log2(value) - 0.09) - 1.01 - per_octave / 256
