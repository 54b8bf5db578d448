"""The range coder in C: constriction's words, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_kernels import needs_kernels
from test_rangecoder import MODELS, TRIPLES, columns, integer_tables

from stvc import native
from stvc.codec import rangecoder_native, rangecoder_numpy
from stvc.codec.rangecoder import Models
from stvc.codec.tables import DIRECT_SCALES, FRACTIONS, TOTAL, Tables
from stvc.errors import CorruptError
from stvc.model.architecture import SCALES

pytestmark = needs_kernels
SIDES = (rangecoder_native, rangecoder_numpy)
ONE = rangecoder_numpy.ONE

FIELDS = st.one_of(
    st.tuples(st.just("uniform"), st.integers(1, 2**24 - 1), st.integers(0, 2**24)),
    st.tuples(st.just("flag"), st.integers(1, 500), st.integers(0, 1)),
    st.tuples(st.just("bits"), st.integers(1, 40), st.integers(0, 2**40)),
    st.tuples(st.just("symbols"), st.just(0), TRIPLES),
)


def write(writer, fields: list) -> list[bytes]:
    """Write fields; what the payload would be after each."""
    payloads = []
    for kind, size, value in fields:
        if kind == "uniform":
            writer.uniform(value % size, size)
        elif kind == "flag":
            writer.flag(bool(value), (size, 7))
        elif kind == "bits":
            writer.bits(np.array([value % (1 << size), 1]), size)
        else:
            writer.symbols(*columns(value), MODELS)
        payloads.append(writer.getvalue())
    return payloads


def read(reader, fields: list) -> list:
    found = []
    for kind, size, value in fields:
        if kind == "uniform":
            found.append(reader.uniform(size))
        elif kind == "flag":
            found.append(reader.flag((size, 7)))
        elif kind == "bits":
            found.append(reader.bits(2, size).tolist())
        else:
            found.append(reader.symbols(*columns(value)[1:], MODELS).tolist())
    return found


def what_happens(reader, fields: list) -> list | str:
    try:
        return read(reader, fields)
    except CorruptError as error:
        return str(error).partition("(")[0]


def what_happens_to(reader, location: np.ndarray, scale: np.ndarray) -> np.ndarray | None:
    try:
        return reader.symbols(location, scale, MODELS)
    except CorruptError:
        return None


@given(st.lists(FIELDS, max_size=25))
def test_same_words_and_back(fields: list) -> None:
    ours, theirs = (write(side.Writer(), fields) for side in SIDES)
    assert ours == theirs
    if ours:
        assert read(rangecoder_native.Reader(ours[-1]), fields) == read(
            rangecoder_numpy.Reader(ours[-1]), fields
        )


WORDS = st.lists(
    st.one_of(
        st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\0\0\0", b"\xfe\xff\xff\xff"]),
        st.binary(min_size=1, max_size=4),
    ),
    max_size=40,
)


@given(WORDS, st.lists(FIELDS, max_size=25))
def test_any_bytes_mean_the_same(words: list[bytes], fields: list) -> None:
    block = b"".join(words)
    ours, theirs = (what_happens(side.Reader(block), fields) for side in SIDES)
    assert ours == theirs


@given(WORDS, st.integers(0, 2**32), st.integers(1, 60))
def test_carries_run_through_many_words(words: list[bytes], seed: int, top: int) -> None:
    """Symbols of a number with runs of ones or zeros keep the encoder close to a carry."""
    block = b"\x5a\x5a\x5a\x7f" + b"".join(words)
    rng = np.random.default_rng(seed)
    readers, writers = [side.Reader(block) for side in SIDES], [side.Writer() for side in SIDES]
    for _ in range(20):
        location, scale = rng.integers(-9, 9, 20), rng.integers(0, min(top, SCALES), 20)
        found = [what_happens_to(reader, location, scale) for reader in readers]
        np.testing.assert_array_equal(*found)
        if found[0] is None:
            break
        for writer in writers:
            writer.symbols(found[0], location, scale, MODELS)
        assert writers[0].getvalue() == writers[1].getvalue()


@pytest.mark.parametrize("word", [b"\xff\xff\xff\xff", b"\0\0\0\0"])
@pytest.mark.parametrize("first", [b"\xff\x7f\0\0", b"\0\0\0\x80", b"\xff\xff\xff\x7f"])
def test_long_runs_before_a_carry(first: bytes, word: bytes) -> None:
    """One bit at a time: the undecided words number dozens."""
    bits = 1500
    readers = [side.Reader(first + word * 60) for side in SIDES]
    values = [reader.bits(bits, 1) for reader in readers]
    np.testing.assert_array_equal(*values)
    for turn in (0, 1):
        writers = [side.Writer() for side in SIDES]
        for writer in writers:
            writer.bits(values[0], 1)
            writer.bits(np.full(70, turn), 1)
        assert writers[0].getvalue() == writers[1].getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_a_large_batch(dtype: type) -> None:
    """Runs that are long enough for an index, of every table, with escapes in all of them."""
    rng = np.random.default_rng(3)
    n = 60_000
    scale = rng.integers(0, SCALES, n).astype(dtype)
    location = rng.integers(-(2**14), 2**14, n)
    width = 2.0 ** ((scale.astype(float) - 18) / 4)
    symbols = np.rint(location / 8 + rng.standard_cauchy(n) * width).clip(-(2**20), 2**20)
    symbols = symbols.astype(np.int64)
    payloads = []
    for side in SIDES:
        writer = side.Writer()
        writer.symbols(symbols, location, scale, MODELS)
        payloads.append(writer.getvalue())
    assert payloads[0] == payloads[1]
    for side in SIDES:
        found = side.Reader(payloads[0]).symbols(location, scale, MODELS)
        np.testing.assert_array_equal(found, symbols)


@pytest.mark.parametrize("tables", [MODELS.tables, integer_tables()])
def test_edges_are_those_of_the_specification(tables: Tables) -> None:
    """`categorical` of docs/format/entropy.md, in integers."""
    edges, starts = Models(tables).edges
    for k in range(FRACTIONS * DIRECT_SCALES):
        frequencies = tables.frequencies_of(k).tolist()
        below = np.cumsum([0, *frequencies]).tolist()
        wanted = [below[j] * (ONE - len(frequencies)) // TOTAL + j for j in range(len(frequencies))]
        assert edges[starts[k] : starts[k + 1]].tolist() == [*wanted, ONE]


def test_every_uniform_size_and_flag_of_the_bit_stream() -> None:
    for size in (*range(2, 500), 4095, 4096, 2**16 - 1, 2**24 - 1):
        ours, theirs = (side.Writer() for side in SIDES)
        for writer in (ours, theirs):
            for value in (0, 1, size // 2, size - 1):
                writer.uniform(value, size)
            writer.flag(size % 2 == 1, (size, 3))
        assert ours.getvalue() == theirs.getvalue()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("value", [-1, 7, 2**31 - 1])
def test_values_that_do_not_fit_are_refused(side: object, value: int) -> None:
    with pytest.raises((ValueError, KeyError)):
        side.Writer().uniform(value, 7)  # type: ignore[attr-defined]


@pytest.mark.parametrize("side", SIDES)
def test_symbols_too_far_for_an_escape_are_refused(side: object) -> None:
    symbol = np.array([2**29])
    with pytest.raises((ValueError, KeyError)):
        side.Writer().symbols(symbol, 0 * symbol, 0 * symbol, MODELS)  # type: ignore[attr-defined]


def arrays(**other: np.ndarray) -> list[np.ndarray]:
    edges, starts = MODELS.edges
    zeros = np.zeros(4, np.int64)
    named = {"edges": edges, "starts": starts, "location": zeros, "scale": zeros, "symbols": zeros}
    return list((named | other).values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"edges": MODELS.edges[0][:1000]},
        {"edges": np.zeros_like(MODELS.edges[0])},
        {"edges": MODELS.edges[0][::-1].copy()},
        {"edges": np.zeros(3, np.uint8)},
        {"starts": np.zeros(0, np.int32)},
        {"starts": MODELS.edges[1][:3]},
        {"starts": -MODELS.edges[1]},
        {"starts": np.full(273, 2**31 - 1, np.int32)},
        {"scale": np.full(4, SCALES)},
        {"scale": np.full(4, -1)},
        {"scale": np.full(4, 2**40)},
        {"scale": np.full(4, 255, np.uint8)},
        {"scale": np.zeros(3, np.uint8)},
        {"scale": np.zeros(5, np.int64)},
        {"location": np.zeros(3, np.int64)},
        {"symbols": np.zeros(3, np.int64)},
        {"location": np.zeros(33, np.uint8)[1:].view(np.int64)},
    ],
)
def test_arguments_that_disagree_are_refused(wrong: dict[str, np.ndarray]) -> None:
    assert native.kernels is not None
    for coder in (native.kernels.Encoder(), native.kernels.Decoder(bytes(50))):
        with pytest.raises(ValueError, match="outside of what it may be|aligned items"):
            coder.symbols(*arrays(**wrong))
    native.kernels.Decoder(bytes(50)).symbols(*arrays())


@pytest.mark.parametrize("size", [0, 1, 2**24 + 1, 2**32 - 1])
def test_sizes_that_no_model_has_are_refused(size: int) -> None:
    assert native.kernels is not None
    for coder, value in ((native.kernels.Encoder(), (0,)), (native.kernels.Decoder(b""), ())):
        with pytest.raises(ValueError, match="outside of what it may be"):
            coder.uniform(size, *value)
    for edge in (0, 2**24):
        with pytest.raises(ValueError, match="outside of what it may be"):
            native.kernels.Decoder(b"").flag(edge)
