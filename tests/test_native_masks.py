"""The mask walk in C: every frequency that numpy makes, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from native_kernels import needs_kernels
from test_mask_coder import scene, smooth_field

from stvc import native
from stvc.codec import mask_coder, mask_model, mask_native
from stvc.codec.mask_coder import decode_mask, encode_mask

pytestmark = needs_kernels


def steps(walk, raster: np.ndarray, values: np.ndarray, *others: object) -> list:
    """Everything that a walk tells its coder, and what it returns."""
    rank = np.searchsorted(values, raster).ravel()
    told = []

    def code(table: np.ndarray, positions: np.ndarray) -> np.ndarray:
        assert table.dtype == np.float32
        told.append((table.copy(), positions.copy()))
        return rank[positions]

    is_scene, previous, *network = others
    told.append((walk(raster.shape, values, is_scene, previous, code, *network),))
    return told


def same_steps(raster: np.ndarray, previous: np.ndarray | None, values: np.ndarray) -> None:
    is_scene = bool(values[-1] < 12 and values[-1] > 1)
    second = None if previous is None else previous[::-1, ::-1]
    for network in ((), (True,), (True, second)):
        ours, theirs = (
            steps(walk, raster, values, is_scene, previous, *network)
            for walk in (mask_native.walk, mask_model.walk)
        )
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            for a, b in zip(mine, other, strict=True):
                np.testing.assert_array_equal(a, b)


alphabets = st.one_of(
    st.lists(st.integers(0, 11), min_size=2, max_size=12, unique=True),
    st.lists(st.integers(0, 255), min_size=2, max_size=2, unique=True),
)


@st.composite
def rasters(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Noise, stripes or blobs of some classes, and maybe a raster before, of any classes."""
    values = np.array(sorted(draw(alphabets)), np.uint8)
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))
    seed = draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)

    def one() -> np.ndarray:
        kind = draw(st.sampled_from(("noise", "blobs", "one")))
        if kind == "noise":
            return rng.choice(values, shape)
        if kind == "one":
            return np.full(shape, values[0], np.uint8)
        with np.errstate(all="ignore"):  # a single pixel has no deviation
            level = smooth_field(shape, int(rng.integers(2**31)), 5)
        place = np.clip(
            np.floor(2 * np.nan_to_num(level, posinf=0, neginf=0)) + len(values) // 2,
            0,
            len(values) - 1,
        )
        return values[place.astype(np.int64)]

    before = draw(st.sampled_from(("none", "alike", "any")))
    previous = None if before == "none" else one()
    if before == "any":
        previous = rng.integers(0, 256, shape, dtype=np.uint8)
    return one(), previous, values


@given(rasters())
def test_frequencies_are_equal(drawn: tuple[np.ndarray, np.ndarray | None, np.ndarray]) -> None:
    same_steps(*drawn)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 300), (257, 1), (130, 150)])
@pytest.mark.parametrize("previous", [False, True])
def test_all_classes(shape: tuple[int, int], previous: bool) -> None:
    rng = np.random.default_rng(shape[1])
    values = np.arange(12, dtype=np.uint8)
    raster = rng.choice(values, shape)
    same_steps(raster, rng.integers(0, 20, shape, dtype=np.uint8) if previous else None, values)


def test_passes_of_several_steps() -> None:
    """Pixels of a later step of a pass see those of earlier ones."""
    raster = scene((300, 320), 4)
    same_steps(raster, None, np.unique(raster))
    same_steps(raster, scene((300, 320), 5), np.unique(raster))
    pair = (raster > 7).astype(np.uint8)
    same_steps(pair, raster % 2, np.arange(2, dtype=np.uint8))


def test_payloads_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [scene((61, 90), k) for k in range(4)]
    sources += [(source > 7).astype(np.uint8) for source in sources]
    pairs = [(a, b) for a in sources[:5] for b in (None, *sources[3:6])]
    ours = [encode_mask(a, b) for a, b in pairs]
    monkeypatch.setattr(mask_coder, "encode", mask_coder.plain_encode)
    assert [encode_mask(a, b) for a, b in pairs] == ours
    for (a, b), payload in zip(pairs, ours, strict=True):
        np.testing.assert_array_equal(decode_mask(payload, a.shape, b), a)


@given(rasters())
def test_words_are_equal(drawn: tuple[np.ndarray, np.ndarray | None, np.ndarray]) -> None:
    raster, previous, values = drawn
    about = raster.shape, values, bool(1 < values[-1] < 12), previous
    rank = np.searchsorted(values, raster).astype(np.uint8).ravel()
    for network, second in ((False, None), (True, None), (True, previous)):
        ours = mask_native.encode(rank, about, network, second)
        assert ours == mask_coder.plain_encode(rank, about, network, second)


def walker(**other: object) -> object:
    """A walk over 5 x 4 pixels of two classes."""
    weights, classes = mask_native._weights(False, False, (0, 1))
    arguments = {
        "weights": weights,
        "classes": classes,
        "count": 2,
        "frequencies": mask_model.FREQUENCIES,
        "shape": (5, 4),
        "chunk": 16,
        "before": None,
        "symbols": np.zeros(20, np.uint8),
        "network": None,
        "second": None,
    } | other
    assert native.kernels is not None
    return native.kernels.MaskWalk(*arguments.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": np.zeros(7, np.int16)},
        {"weights": np.zeros(3, np.uint8)},
        {"weights": np.full(len(mask_native._weights(False, False, (0, 1))[0]), 9, np.int16)},
        {"classes": 12},
        {"classes": 0},
        {"classes": -1},
        {"count": 3},
        {"count": 1},
        {"frequencies": np.zeros(1023, np.float32)},
        {"shape": (5, 5)},
        {"shape": (0, 20)},
        {"shape": (-5, -4)},
        {"shape": (2**40, 2**40)},
        {"shape": (2**20, 2**20)},
        {"chunk": 0},
        {"chunk": 2**40},
        {"before": np.zeros(19, np.uint8)},
        {"symbols": np.zeros(21, np.uint8)},
        {"network": mask_native._corrections(True)},
        {"network": np.zeros(7, np.int16)},
        {"network": np.zeros(3, np.uint8)},
        {"network": np.full_like(mask_native._corrections(False), 999)},
        {"network": np.full_like(mask_native._corrections(False), -32768)},
        {"second": np.zeros(19, np.uint8)},
    ],
)
def test_arguments_that_disagree_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="outside of what it may be|aligned items"):
        walker(**wrong)


def test_read_only_results_are_refused() -> None:
    with pytest.raises((TypeError, BufferError, ValueError)):
        walker(symbols=bytes(20))


@pytest.mark.parametrize("symbol", [-1, 2, 2**31 - 1])
def test_symbols_that_are_none_are_refused(symbol: int) -> None:
    walk = walker()
    table, positions = np.empty((16, 2), np.float32), np.empty(16, np.int64)
    assert walk.next(np.empty(0, np.int32), table, positions) == 1
    with pytest.raises(ValueError, match="outside of what it may be"):
        walk.next(np.array([symbol], np.int32), table, positions)


def test_a_raster_before_of_unknown_classes_is_refused() -> None:
    walk = walker(before=np.full(20, 3, np.uint8))
    with pytest.raises(ValueError, match="outside of what it may be"):
        walk.next(np.empty(0, np.int32), np.empty((16, 2), np.float32), np.empty(16, np.int64))


def test_a_second_raster_of_unknown_classes_does_no_harm() -> None:
    """Nothing is looked up by its classes."""
    second = np.arange(20, dtype=np.uint8) * 13
    walk = walker(network=mask_native._corrections(False), second=second)
    table, positions = np.empty((16, 2), np.float32), np.empty(16, np.int64)
    count = walk.next(np.empty(0, np.int32), table, positions)
    visited = 0
    while count:
        visited += count
        count = walk.next(np.zeros(count, np.int32), table, positions)
    assert visited == 20


def test_ranks_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="aligned items"):
        walker().encode(np.zeros(19, np.uint8))
    with pytest.raises(ValueError, match="outside of what it may be"):
        walker().encode(np.full(20, 2, np.uint8))


def test_only_a_walk_that_begins_can_encode() -> None:
    walk, ranks = walker(), np.zeros(20, np.uint8)
    assert walk.next(np.empty(0, np.int32), np.empty((16, 2), np.float32), np.empty(16, np.int64))
    with pytest.raises(ValueError, match="outside of what it may be"):
        walk.encode(ranks)
    walk = walker()
    assert walk.encode(ranks)[0]
    assert walk.encode(ranks) == (b"", 0, (0, 2**64 - 1)), "there is nothing left to encode"


@pytest.mark.parametrize("sizes", [(0, 32, 16), (1, 31, 16), (1, 32, 15), (2, 32, 16)])
def test_buffers_that_are_too_small_are_refused(sizes: tuple[int, int, int]) -> None:
    walk = walker()
    room = np.empty((16, 2), np.float32), np.empty(16, np.int64)
    assert walk.next(np.empty(0, np.int32), *room) == 1
    coded, table, positions = sizes
    with pytest.raises(ValueError, match="aligned items"):
        walk.next(
            np.zeros(coded, np.int32), np.empty(table, np.float32), np.empty(positions, np.int64)
        )
    assert walk.next(np.zeros(1, np.int32), *room) == 1, "nothing has happened"
