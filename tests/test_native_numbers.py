"""Numbers of small archives in C: the same bytes as in Python, and the same refusals."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from native_kernels import needs_kernels, plain

from stvc.archive import numbers
from stvc.archive.numbers import NumberDecoder, NumberEncoder, reading, writing
from stvc.archive.tables import decode_tables
from stvc.errors import CorruptError

pytestmark = needs_kernels
VALUES = st.one_of(
    st.integers(0, 40),
    st.integers(-(2**60) + 1, 2**60 - 1),
    st.sampled_from([255, 2**60 - 1, 1 - 2**60]),
)
ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(0, 1023), max_size=3), VALUES, st.booleans()),
    max_size=60,
)


@given(ROWS)
@example([(0, [], 2**60 - 1, False)] * 30 + [(0, [], 0, True)] * 30)
@example([(1, [7], -1, True)] * 500 + [(1, [7], 2**60 - 1, True)])
@example([(k % 1024, [k % 1024, k % 7], k, False) for k in range(900)])
def test_numbers_become_the_same_bytes(rows: list[tuple[int, list[int], int, bool]]) -> None:
    one, other = writing(), NumberEncoder()
    assert not isinstance(one, NumberEncoder)
    given_ = [(c, tuple(k), v if s else abs(v), s) for c, k, v, s in rows]
    for column, contexts, value, signed in given_:
        assert one.number(column, contexts, value, signed=signed) == value
        other.number(column, contexts, value, signed=signed)
    block = one.finish()
    assert block == other.finish()
    with reading(block) as coder:
        found = [coder.number(c, k, signed=s) for c, k, _, s in given_]
    assert found == [value for _, _, value, _ in given_]


@given(st.binary(max_size=60), ROWS)
def test_whatever_bytes_hold_is_read_alike(
    block: bytes, rows: list[tuple[int, list[int], int, bool]]
) -> None:
    found: list[list[int | str]] = [[], []]
    try:
        with reading(block) as coder:
            for column, contexts, _, signed in rows:
                found[0].append(coder.number(column, tuple(contexts), signed=signed))
    except CorruptError:
        found[0].append("corrupt")
    try:
        decoder = NumberDecoder(block)
        for column, contexts, _, signed in rows:
            found[1].append(decoder.number(column, tuple(contexts), signed=signed))
    except CorruptError:
        found[1].append("corrupt")
    assert found[0] == found[1]


@given(st.binary(max_size=200), st.integers(0, 20), st.integers(0, 20))
def test_damaged_tables_end_alike(block: bytes, units: int, frames: int) -> None:
    def outcome() -> str:
        try:
            return str(decode_tables(block, units, frames))
        except CorruptError:
            return "corrupt"

    assert outcome() == plain(outcome, numbers)


def test_arguments_are_checked() -> None:
    coder = writing()
    for column, contexts in ((1024, ()), (0, (1024,)), (0, (-1,)), (0, (1, 2, 3, 4)), (0, [1])):
        with pytest.raises(ValueError, match="outside"):
            coder.number(column, contexts)  # type: ignore[arg-type]
    with reading(b"") as reader, pytest.raises(ValueError, match="outside"):
        reader.finish()  # type: ignore[attr-defined]
    with pytest.raises(CorruptError, match="no encoder"), reading(b"\xff" * 9):
        pass
