"""Short fuzz runs; ``tools/fuzz.py --seconds N`` goes on for longer, with the same attacks."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stvc.aoi import parse_aoi
from stvc.archive import ArchiveReader
from stvc.archive.blobs import pack_text
from stvc.archive.layout import MAJORS, Locator, build_head, crc
from stvc.errors import AoiError, BitstreamError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from fuzzing.running import Tally, fuzz

EXECUTIONS = {"archive": 30, "payload": 30, "index": 400, "aoi": 1500, "toml": 200}


@pytest.mark.parametrize("name", EXECUTIONS)
def test_mutated_inputs_end_in_typed_errors(name: str) -> None:
    # Golden archives take tenths of a second each: they are for longer runs.
    tally = fuzz(name, executions=EXECUTIONS[name], seed=20_000, patience=300, largest=4000)
    assert tally.executions == EXECUTIONS[name]
    assert {place: trace for place, (trace, _) in tally.findings.items()} == {}


def test_the_tool_finds_what_is_there_to_be_found(tmp_path: Path) -> None:
    def fragile(block: bytes, _: Path) -> None:
        if block.count(b"x") > 1:
            raise KeyError("x")

    tally = Tally()
    for block in (b"", b"xx", b"xxx"):
        tally.attempt(fragile, block, tmp_path)
    assert tally.executions == 3 and tally.outcomes == {"well": 1, "finding": 2}
    assert [block for _, block in tally.findings.values()] == [b"xx"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["Polygon", "MultiPolygon", "Feature", "FeatureCollection"]),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(
                ["type", "coordinates", "geometry", "features", "crs", "geometries", "id"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)
number = st.floats(-400, 400) | st.sampled_from([0.0, -0.0, 180.0, 1e-9, float("nan")])
rings = st.lists(st.tuples(number, number).map(list), max_size=7).map(lambda r: r + r[:1])


def check_aoi(raw: bytes) -> None:
    try:
        aoi = parse_aoi(raw, "fuzz", "area")
    except AoiError as error:
        if not str(error).startswith("fuzz: ") or "\n" in str(error):
            raise
        return
    west, south, east, north = aoi.geometry.bounds
    assert aoi.geometry.is_valid and aoi.geometry.area > 0
    assert -180 <= west < east <= 180 and -90 <= south < north <= 90


@given(json_values)
def test_any_json_as_area(value: Any) -> None:
    check_aoi(json.dumps(value).encode())


@given(st.lists(rings, min_size=1, max_size=3))
@example([[[0, 0], [1, 0], [1, 1], [0, 0]], [[5, 5], [6, 5], [6, 6], [5, 5]]])
@example([[[0, 0], [1e-320, 0], [1e-320, 1e-320], [0, 0]]])
@example([[[0, 0], [9, 0], [9, 9], [0, 0]], [[2, 1], [1e308, 2], [3, 1], [2, 1]]])
def test_any_rings_as_area(coordinates: Any) -> None:
    check_aoi(json.dumps({"type": "Polygon", "coordinates": coordinates}).encode())


@given(st.binary(max_size=60))
@example(b"[" * 100_000)
@example(b'{"type":"GeometryCollection","geometries":[' * 3000)
@example(b'{"type":"Polygon","coordinates":[[[' + b"9" * 5000 + b",1]]]}")
@example(b"\xff\xfe{}")
def test_any_bytes_as_area(raw: bytes) -> None:
    check_aoi(raw)


@given(json_values, st.binary(max_size=80), st.sampled_from(MAJORS))
def test_any_header_and_index_behind_right_checksums(header: Any, body: bytes, major: int) -> None:
    frame = pack_text(json.dumps(header).encode(), major)
    blobs = frame + crc(frame), body + crc(body)
    head = build_head(Locator(len(blobs[0]), len(blobs[1]), 0, major))
    try:
        with ArchiveReader.open(io.BytesIO(head + blobs[0] + blobs[1])) as reader:
            assert isinstance(reader.header, dict)
            assert sum(info.length for info in reader.units.values()) == 0
    except BitstreamError:
        return
