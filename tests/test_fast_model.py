"""The fast model: the same integers in every arithmetic, nothing known too early, and its twin."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from training import fast_qat

from stvc.codec.batches import Batch, write_batches
from stvc.codec.fast_coder import decode_fast, fast_batches
from stvc.codec.rangecoder import Models, Reader, Writer
from stvc.codec.readers import Readers
from stvc.codec.tables import Tables
from stvc.errors import CorruptError
from stvc.model.arithmetic import Arithmetic
from stvc.model.fast import FastInt8Network, FastNetwork, neighbor_means
from stvc.model.fast_architecture import FAST_GROUPS, LOCATION_GRAIN, LOW, MOVES, FastConfig
from stvc.model.fast_features import SYMBOL_LEVELS, FastFeatures, symbol_levels
from stvc.model.int8 import usable

CONFIG = FastConfig(trunk=32, around=8, hidden=16)


@dataclass(frozen=True)
class Case:
    """A random network with the inputs of one unit."""

    tensors: dict[str, torch.Tensor]
    twin: fast_qat.FastTwin
    features: FastFeatures
    symbols: np.ndarray

    def net(self, arithmetic: str = "int32") -> FastNetwork:
        return FastNetwork(self.tensors, CONFIG, Arithmetic(arithmetic))

    def models(self) -> Models:
        frequencies = self.tensors["tables.frequencies"].numpy()
        return Models(Tables(frequencies, self.tensors["tables.starts"].numpy()))


def case_of(seed: int, gain: float = 1.0, grid: tuple[int, int] = (5, 7), skipped: int = 6) -> Case:
    torch.manual_seed(seed)
    twin = fast_qat.FastTwin(CONFIG).eval()
    with torch.no_grad():
        for name, value in twin.named_parameters():
            if name != "tail":
                value *= gain
                value += torch.randn(value.shape) * 0.05 * gain
    rng = np.random.default_rng(seed)
    c, n = 3, grid[0] * grid[1]
    rows = np.sort(rng.permutation(n)[: n - skipped])
    known = rng.integers(0, 128, (c, len(rows), CONFIG.known)).astype(np.uint8)
    moves = rng.integers(-8191, 8192, (c, len(rows), LOW, MOVES)).astype(np.int16)
    symbols = np.zeros((c, n, 64), np.int32)
    symbols[:, rows] = np.rint(rng.laplace(0, 3, (c, len(rows), 64)))
    features = FastFeatures(grid, rows, known, moves)
    return Case(fast_qat.fast_tensors(twin), twin, features, symbols)


def same(a: list[Batch], b: list[Batch]) -> bool:
    return all(
        np.array_equal(x, y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True)
    )


@pytest.mark.parametrize("gain", [0.2, 1.0, 6.0])
@pytest.mark.parametrize("skipped", [0, 6])
def test_every_arithmetic_says_the_same(gain: float, skipped: int) -> None:
    case = case_of(1, gain, skipped=skipped)
    exact = fast_batches(case.net("int32"), case.features, case.symbols)
    assert same(exact, fast_batches(case.net("float32"), case.features, case.symbols))
    if usable():
        quick = FastInt8Network(case.tensors, CONFIG)
        assert same(exact, fast_batches(quick, case.features, case.symbols))
        large = case_of(2, gain, grid=(20, 20), skipped=skipped)
        # ^ more rows than the path for few of them takes
        quick = FastInt8Network(large.tensors, CONFIG)
        slow = fast_batches(large.net(), large.features, large.symbols)
        assert same(slow, fast_batches(quick, large.features, large.symbols))


@pytest.mark.parametrize("skipped", [0, 9])
def test_decodes_what_was_written(skipped: int) -> None:
    case, models = case_of(3, skipped=skipped), case_of(3).models()
    writer = Writer()
    batches = fast_batches(case.net("float32"), case.features, case.symbols)
    write_batches(writer, batches, models)
    reader = Reader(writer.getvalue())
    readers = Readers([reader], models)
    (found,) = decode_fast(readers, case.net("int32"), [case.features], [None], 35)
    np.testing.assert_array_equal(found, case.symbols)


def test_units_with_other_tokens_decode_together() -> None:
    cases, models, net = [case_of(3, skipped=n) for n in (0, 9, 20)], case_of(3).models(), None
    readers = []
    for case in cases:
        net = net or case.net("float32")
        writer = Writer()
        write_batches(writer, fast_batches(net, case.features, case.symbols), models)
        readers.append(Reader(writer.getvalue()))
    assert net is not None
    found = decode_fast(
        Readers(readers, models), net, [case.features for case in cases], [None] * 3, 35
    )
    for case, symbols in zip(cases, found, strict=True):
        np.testing.assert_array_equal(symbols, case.symbols)


def test_nothing_is_known_before_it_is_coded() -> None:
    case = case_of(4)
    batches = fast_batches(case.net(), case.features, case.symbols)
    groups = len(FAST_GROUPS)
    for k in range(3):
        for g, (low, high) in enumerate(FAST_GROUPS):
            changed = case.symbols.copy()
            changed[k, case.features.rows, low:high] += 50
            others = fast_batches(case.net(), case.features, changed)
            at = k * groups + g
            for mine, theirs in zip(batches[: at + 1], others[: at + 1], strict=True):
                assert np.array_equal(mine[1], theirs[1])
                assert np.array_equal(mine[2], theirs[2])
            later = zip(batches[at + 1 :], others[at + 1 :], strict=True)
            heard = any(not np.array_equal(a[2], b[2]) for a, b in later)
            assert heard == (at + 1 < 3 * groups)


def test_the_twin_says_the_same() -> None:
    case = case_of(5, skipped=0)
    case.features.moves[:] = 0
    # ^ gates are rounded to 1/64, which products with far corrections would feel
    fast_qat.load_fast_integers(case.twin, case.tensors)
    c, n = 3, 35
    batches = fast_batches(case.net(), case.features, case.symbols)
    earlier = np.zeros((c, n, 128), np.uint8)
    levels = symbol_levels(case.symbols)
    earlier[1:, :, :64], earlier[2:, :, 64:] = levels[:-1], levels[:-2]
    inputs = torch.from_numpy(np.concatenate([case.features.known, earlier], -1)).float() / 16
    with torch.no_grad():
        location, scale = case.twin(
            inputs,
            torch.from_numpy(levels).float() / 16,
            torch.from_numpy(case.features.moves).float(),
            torch.ones(c, n, 1),
            case.features.grid,
        )
    groups = len(FAST_GROUPS)
    for k in range(c):
        mine = np.concatenate([batches[k * groups + g][2].reshape(n, -1) for g in range(groups)], 1)
        np.testing.assert_array_equal(mine, np.floor(scale[k].numpy() + 0.5))
        where = batches[k * groups][1].reshape(n, LOW)
        assert np.abs(where - location[k].numpy()).max() <= LOCATION_GRAIN / 2 + 8 / 128


def test_neighbors_are_the_eight_around() -> None:
    grid = torch.zeros(1, 5, 6, 1, dtype=torch.int16)
    grid[0, 2, 3] = 8
    cross, corner = (x[0, :, :, 0].tolist() for x in neighbor_means(grid))
    assert cross == [[0, 0, 2, 0], [0, 2, 0, 2], [0, 0, 2, 0]]
    assert corner == [[0, 2, 0, 2], [0, 0, 0, 0], [0, 2, 0, 2]]


def test_levels_are_eight_an_octave() -> None:
    exact = 8 * np.log2(1 + 8 * np.arange(len(SYMBOL_LEVELS)))
    assert SYMBOL_LEVELS[0] == 0
    assert (np.diff(SYMBOL_LEVELS.astype(int)) >= 0).all()
    assert np.abs(SYMBOL_LEVELS - exact).max() < 1.8
    assert symbol_levels(np.array([-3, 3, 10**6, -(10**6)])).tolist() == [
        SYMBOL_LEVELS[3],
        SYMBOL_LEVELS[3],
        SYMBOL_LEVELS[-1],
        SYMBOL_LEVELS[-1],
    ]


@pytest.mark.parametrize("seed", range(4))
def test_noise_for_bytes_is_damage_or_symbols(seed: int) -> None:
    case = case_of(6)
    noise = np.random.default_rng(seed).bytes(400)
    readers = Readers([Reader(noise)], case.models())
    (found,) = decode_fast(readers, case.net(), [case.features], [None], 35)
    assert isinstance(found, CorruptError) or np.abs(found).max() < 1 << 24


def test_weights_beyond_exact_sums_are_refused() -> None:
    case = case_of(7)
    tensors = dict(case.tensors)
    tensors["trunk.bias"] = torch.full_like(tensors["trunk.bias"], 1 << 23)
    with pytest.raises(OverflowError):
        FastNetwork(tensors, CONFIG, Arithmetic("float32"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_says_the_same() -> None:
    case = case_of(8)
    there = FastNetwork(case.tensors, CONFIG, Arithmetic("float32"), "cuda")
    mine = fast_batches(case.net(), case.features, case.symbols)
    assert same(mine, fast_batches(there, case.features, case.symbols))


def test_skipped_tokens_say_nothing() -> None:
    case = case_of(9)
    loud = case.symbols.copy()
    hidden = np.setdiff1d(np.arange(35), case.features.rows)
    loud[:, hidden] = 77
    features = replace(case.features)
    assert same(
        fast_batches(case.net(), features, case.symbols),
        fast_batches(case.net(), features, loud),
    )
