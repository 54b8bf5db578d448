"""The range coder: what goes in comes out, frozen words, and no harm from damage."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvc.codec.rangecoder import Models, Reader, Writer, address
from stvc.codec.tables import DIRECT_SCALES, FRACTIONS, TOTAL, Tables, build_tables
from stvc.errors import CorruptError
from stvc.model.architecture import SCALES

MODELS = Models(build_tables(0.12, 2.5))
LOCATIONS = st.one_of(
    st.integers(-(2**17), 2**17), st.integers(-20, 20), st.sampled_from([-(2**17), 2**17])
)
SYMBOLS = st.one_of(st.integers(-3, 3), st.integers(-(2**15), 2**15), st.integers(-300, 300))
TRIPLES = st.lists(st.tuples(SYMBOLS, LOCATIONS, st.integers(0, SCALES - 1)), max_size=60)


def columns(triples: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(triples, np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


@given(st.lists(TRIPLES, max_size=3))
def test_symbols_come_back(batches: list[list[tuple[int, int, int]]]) -> None:
    writer = Writer()
    for batch in batches:
        writer.symbols(*columns(batch), MODELS)
    payload = writer.getvalue()
    assert not payload.endswith(b"\0")
    reader = Reader(payload)
    for batch in batches:
        symbols, location, scale = columns(batch)
        np.testing.assert_array_equal(reader.symbols(location, scale, MODELS), symbols)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("uniform"), st.integers(1, 2**16), st.integers(0, 2**16)),
            st.tuples(st.just("flag"), st.integers(1, 15), st.integers(0, 1)),
            st.tuples(st.just("bits"), st.integers(1, 30), st.integers(0, 2**30)),
        ),
        max_size=40,
    )
)
def test_header_fields_come_back(fields: list[tuple[str, int, int]]) -> None:
    writer = Writer()
    for kind, size, value in fields:
        if kind == "uniform":
            writer.uniform(value % size, size)
        elif kind == "flag":
            writer.flag(bool(value), (size, 1))
        else:
            writer.bits(np.array([value % (1 << size)]), size)
    reader = Reader(writer.getvalue())
    for kind, size, value in fields:
        if kind == "uniform":
            assert reader.uniform(size) == value % size
        elif kind == "flag":
            assert reader.flag((size, 1)) == bool(value)
        else:
            assert reader.bits(1, size)[0] == value % (1 << size)


@pytest.mark.parametrize("symbol", [0, 1, -1, 32768, -32768, 65535, -65535, 131071, -131071])
@pytest.mark.parametrize("scale", [0, 18, DIRECT_SCALES - 1, DIRECT_SCALES, SCALES - 1])
@pytest.mark.parametrize("location", [0, 3, -4, 2**17, -(2**17)])
def test_escapes_reach_every_symbol(symbol: int, scale: int, location: int) -> None:
    triple = columns([(symbol, location, scale)] * 3)
    writer = Writer()
    writer.symbols(*triple, MODELS)
    assert Reader(writer.getvalue()).symbols(*triple[1:], MODELS).tolist() == [symbol] * 3


def test_nothing_is_no_bytes() -> None:
    writer = Writer()
    writer.uniform(0, 1)
    empty = np.zeros(0, np.int64)
    writer.symbols(empty, empty, empty, MODELS)
    assert writer.getvalue() == b""
    assert Reader(b"").symbols(empty, empty, MODELS).shape == (0,)


@given(LOCATIONS, st.integers(0, SCALES - 1))
def test_addresses(location: int, scale: int) -> None:
    whole, table, low_bits = address(np.array([location]), np.array([scale]))
    fraction, reduced = divmod(int(table[0]), DIRECT_SCALES)
    assert 0 <= fraction < FRACTIONS
    assert reduced + 4 * low_bits[0] == scale
    assert abs(8 * whole[0] - location) <= 4
    if not low_bits[0]:
        assert 8 * whole[0] + fraction - 4 == location


def test_code_length_is_what_the_tables_promise() -> None:
    rng = np.random.default_rng(0)
    scale = rng.integers(8, 40, 4000)
    location = rng.integers(-40, 40, 4000)
    spread = 2.0 ** ((scale - 18) / 4)
    symbols = np.rint(rng.logistic(location / 8, spread)).astype(np.int64)
    writer = Writer()
    writer.symbols(symbols, location, scale, MODELS)
    density = np.exp(-np.abs(symbols - location / 8) / spread)
    ideal = np.log2(spread * (1 + density) ** 2 / density)
    spent = 8 * len(writer.getvalue()) / 4000
    assert spent < ideal.mean() + 0.15


def integer_tables() -> Tables:
    """Tent-shaped tables without floating point, the same on every machine."""
    rows = []
    for table in range(FRACTIONS * DIRECT_SCALES):
        fraction, scale = divmod(table, DIRECT_SCALES)
        reach = 3 + scale
        distance = np.abs(8 * np.arange(-reach, reach + 1) - fraction + 4)
        counts = np.append(1 + (12 * reach - distance) * (reach + 5), 9).astype(np.int64)
        counts = np.maximum(counts * 60_000 // counts.sum(), 1)
        counts[reach] += TOTAL - counts.sum()
        rows.append(counts.astype(np.int32))
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    return Tables(np.concatenate(rows), starts)


def test_frozen_words() -> None:
    """The very bytes: constriction's arithmetic is part of the bit stream."""
    tables = Models(integer_tables())
    writer = Writer()
    writer.flag(True, (1, 15))
    writer.uniform(200, 449)
    symbols = np.array([0, 1, -2, 7, 300, -40000, 5, 0])
    location = np.array([0, 3, -9, 60, 800, -131072, 2, 1])
    scale = np.array([2, 18, 20, 30, 36, 55, 33, 10])
    writer.symbols(symbols, location, scale, tables)
    writer.bits(np.array([1000, 5]), 14)
    assert writer.getvalue().hex() == FROZEN
    reader = Reader(bytes.fromhex(FROZEN))
    assert (reader.flag((1, 15)), reader.uniform(449)) == (True, 200)
    np.testing.assert_array_equal(reader.symbols(location, scale, tables), symbols)
    assert reader.bits(2, 14).tolist() == [1000, 5]


FROZEN = "ad16257bc25067928f59de998c0d74f20000002e"


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_any_bytes_give_symbols_or_a_typed_error(block: bytes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    location, scale = rng.integers(-5000, 5000, 300), rng.integers(0, SCALES, 300)
    reader = Reader(block)
    with suppress(CorruptError):
        reader.flag()
        assert 0 <= reader.uniform(449) < 449
        symbols = reader.symbols(location, scale, MODELS)
        assert symbols.shape == (300,)
        assert np.abs(symbols).max() < 2**31


def test_reading_past_the_end_ends() -> None:
    reader = Reader(b"\1\2\3")
    location = np.zeros(20_000, np.int64)
    with suppress(CorruptError):
        for scale in (0, 20, 40, SCALES - 1):
            assert reader.symbols(location, location + scale, MODELS).shape == (20_000,)
