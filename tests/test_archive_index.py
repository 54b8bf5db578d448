"""The archive's index: columns, varints and records come back as they were packed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stvc.archive import FrameRecord, Kind, UnitKey
from stvc.archive.columns import Cursor, decode_column, encode_column, write_varint
from stvc.archive.index import pack_index, unpack_index
from stvc.archive.keys import UnitInfo, date_text
from stvc.archive.layout import MAJORS

integers = st.integers(-(2**59), 2**59)


@settings(deadline=None)
@given(st.lists(st.one_of(integers, st.integers(0, 300), st.just(7)), max_size=200))
def test_columns_round_trip(values: list[int]) -> None:
    block = encode_column(values)
    cursor = Cursor(block + b"tail")
    assert decode_column(cursor, len(values)).tolist() == values
    assert cursor.rest() == b"tail"


def test_regular_columns_cost_next_to_nothing() -> None:
    assert len(encode_column([5] * 1000)) == 2
    assert len(encode_column(range(0, 432_000 * 1000, 432_000))) <= 40
    assert encode_column([]) == b""


def test_column_value_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="2\\*\\*60"):
        encode_column([2**60])


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_varints_round_trip(value: int) -> None:
    assert Cursor(write_varint(value)).varint() == value


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
records = st.builds(
    FrameRecord,
    st.integers(-(10**10), 10**11),
    st.dictionaries(st.text(max_size=5), json_values, max_size=3),
    st.lists(st.integers(-9, 10**6), max_size=4).map(tuple),
)
keys = st.builds(
    UnitKey,
    st.sampled_from(Kind),
    st.integers(0, 5),
    st.integers(0, 3),
    st.integers(0, 10**5),
)


@settings(deadline=None)
@given(
    st.lists(records, max_size=6),
    st.dictionaries(
        keys,
        st.tuples(
            st.integers(0, 2**40),
            st.integers(0, 2**32 - 1),
            st.tuples(*[st.integers(0, 2**31)] * 3),
        ),
        max_size=12,
    ),
)
def test_any_index_round_trips(
    frames: list[FrameRecord], table: dict[UnitKey, tuple[int, int, tuple[int, int, int]]]
) -> None:
    units, offset = {}, 0
    for key, (length, check, stats) in table.items():
        units[key] = UnitInfo(offset, length, check if length else 0, stats)
        # the checksum of an empty payload is 0 and is not stored
        offset += length
    for major in MAJORS:
        block = pack_index(frames, units.items(), major)
        found_frames, found_units = unpack_index(block, 10**6, major)
        assert found_frames == tuple(frames)
        assert found_units == units and list(found_units) == list(units)


def test_dates_in_messages() -> None:
    assert date_text(1_525_690_231) == "2018-05-07T10:50:31Z"
    assert date_text(-1) == "1969-12-31T23:59:59Z"
    assert date_text(10**18) == f"{10**18} s"
