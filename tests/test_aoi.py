"""Areas of interest: any GeoJSON polygon is read, anything else is refused in one clear line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import stvc.aoi as aoi_module
from stvc.aoi import Aoi, check_overlap, parse_aoi, read_aoi
from stvc.errors import AoiError

SQUARE = [[22.0, 45.0], [22.2, 45.0], [22.2, 45.1], [22.0, 45.1], [22.0, 45.0]]
FIELD = Path(__file__).parent.parent / "examples" / "field.geojson"


def polygon(*rings: Any, **more: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings or [SQUARE]), **more}


def feature(geometry: Any, **more: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": None, "geometry": geometry, **more}


def collection(*features: Any, **more: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features), **more}


def moved(dx: float, dy: float = 0.0) -> list[list[float]]:
    return [[x + dx, y + dy] for x, y in SQUARE]


def parse(top: Any) -> Aoi:
    return parse_aoi(json.dumps(top).encode(), "field.geojson", "field")


@pytest.mark.parametrize(
    ("top", "area"),
    [
        (polygon(), 0.02),
        (polygon([[x, y, 312.5] for x, y in SQUARE]), 0.02),
        (polygon(SQUARE[::-1]), 0.02),
        (polygon(SQUARE, [[22.05, 45.02], [22.1, 45.02], [22.1, 45.06], [22.05, 45.02]]), 0.019),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], [moved(1)]]}, 0.04),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], [moved(0.1)]]}, 0.03),
        (feature(polygon()), 0.02),
        (collection(feature(polygon()), feature(polygon(moved(0.2)))), 0.04),
        (feature({"type": "GeometryCollection", "geometries": [polygon()]}), 0.02),
        (polygon(crs=None), 0.02),
        (
            polygon(crs={"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}),
            0.02,
        ),
        (polygon(crs={"type": "name", "properties": {"name": "EPSG:4326"}}), 0.02),
        (polygon(crs={"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::4326"}}), 0.02),
    ],
)
def test_polygons_are_read(top: Any, area: float) -> None:
    aoi = parse(top)
    assert aoi.geometry.is_valid
    assert aoi.geometry.geom_type in ("Polygon", "MultiPolygon")
    assert aoi.geometry.area == pytest.approx(area)
    assert shapely.from_geojson(aoi.geojson).equals_exact(aoi.geometry, 1e-7)


@pytest.mark.parametrize(
    ("top", "name"),
    [
        (polygon(), "field"),
        (feature(polygon(), id="F-7"), "F-7"),
        (feature(polygon(), id=12), "12"),
        (feature(polygon(), id="F-7", properties={"name": "Hay\n meadow "}), "Hay meadow"),
        (collection(feature(polygon(), id="F-7")), "F-7"),
        (collection(feature(polygon(), id="a"), feature(polygon(), id="b")), "field"),
        (collection(feature(polygon()), feature(polygon()), name="farm"), "farm"),
        (feature(polygon(), properties={"name": " "}), "field"),
        (feature(polygon(), properties={"name": ["x"]}, id={}), "field"),
        (feature(polygon(), id="x" * 200), "x" * 80),
    ],
)
def test_names(top: Any, name: str) -> None:
    assert parse(top).name == name


HOUSE = [[22.0, 45.0], [22.2, 45.1], [22.2, 45.0], [22.0, 45.1], [22.0, 45.0]]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is empty; want a GeoJSON polygon"),
        (b" \n\t", "is empty"),
        (b"{'type': 'Polygon'}", "is not JSON: Expecting property name.* at line 1, column 2"),
        (b'{"type": "Polygon",\n "coordinates": [[', "is not JSON: .* at line 2, column 19"),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8 text"),
        ("{}".encode("utf-16"), "is not UTF-8 text"),
        (b"[1, 2]", "is JSON, but no GeoJSON object"),
        (b"null", "is JSON, but no GeoJSON object"),
        (b"{}", "it has no type member"),
        (b'{"type": 3}', "it has no type member"),
        (b"[" * 100_000, "is not usable JSON"),
        (b'{"type": "GeometryCollection", "geometries": [' * 50_000, "is not usable JSON"),
        (
            b'{"type": "Polygon", "coordinates": [[[' + b"9" * 5000 + b", 1]]]}",
            "is not usable JSON",
        ),
        (b'{"type": "Polygon", "coordinates": [[[1e999, 1]]]}', "point 1 is not finite"),
        (b'{"type": "Polygon", "coordinates": [[[NaN, 1]]]}', "point 1 is not finite"),
        (
            b'{"type": "Polygon", "coordinates": [[[' + b"9" * 400 + b", 1]]]}",
            "point 1 is not finite",
        ),
    ],
)
def test_bytes_that_are_no_geojson(raw: bytes, said: str) -> None:
    refuse(raw, said)


@pytest.mark.parametrize(
    ("top", "said"),
    [
        ({"type": "Point", "coordinates": [22, 45]}, "holds a Point, want Polygon or MultiPolygon"),
        ({"type": "Topology"}, "holds a Topology, want Polygon"),
        (collection(), "holds no polygon, only an empty FeatureCollection"),
        ({"type": "FeatureCollection"}, "FeatureCollection has no list of features"),
        (collection(feature(polygon()), feature({"type": "LineString"})), "holds a LineString"),
        (collection(None), "holds a NoneType, want"),
        (feature(None), "a feature has no geometry"),
        ({"type": "Feature"}, "a feature has no geometry"),
        ({"type": "Polygon"}, "Polygon has no list of coordinates"),
        ({"type": "Polygon", "coordinates": []}, "polygon 1 has no rings"),
        (
            {"type": "MultiPolygon", "coordinates": []},
            "holds no polygon, only an empty MultiPolygon",
        ),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], 3]}, "polygon 2 has no rings"),
        ({"type": "MultiPolygon", "coordinates": [SQUARE]}, "point 1 is 22.0, want .lon, lat."),
        (polygon(3), "ring 1 of polygon 1 is no list of points"),
        (polygon([]), "ring 1 of polygon 1 has 0 points"),
        (polygon(SQUARE[:1] * 2), "ring 1 of polygon 1 has 2 points"),
        (polygon(SQUARE, SQUARE[:4]), "ring 2 of polygon 1 is not closed: it starts at 22, 45 and"),
        (polygon([[1], [2]]), r"point 1 is \[1\], want \[lon, lat\]"),
        (polygon([["22", "45"]]), r'point 1 is \["22", "45"\], want'),
        (polygon([[True, False]]), r"point 1 is \[true, false\], want"),
        (polygon([{"lon": 1}]), r"point 1 is \{.*want"),
        (
            polygon(HOUSE),
            "polygon 1 is not valid: Self-intersection at 22.1 45.05; redraw it there",
        ),
        (polygon(SQUARE, moved(5)), "is not valid: Hole lies outside shell at"),
        (polygon([[0, 0], [1, 1], [2, 2], [0, 0]]), "polygon 1 (is not valid|has no area)"),
        (polygon([[1, 1]] * 4), "polygon 1 (is not valid|has no area)"),
        (
            polygon([[y + 60, x + 90] for x, y in SQUARE]),
            "coordinates run from 105, 112 .*90 degrees",
        ),
        (
            polygon([[y, x + 90] for x, y in SQUARE]),
            "run from 45, 112 .*longitude first, then lati",
        ),
        (polygon(moved(500000, 5e6)), "these look like meters; reproject it: ogr2ogr"),
        (
            polygon([[-179, 0], [179, 0], [179, 1], [-179, 0]]),
            "358 degrees wide; split it at the anti",
        ),
        (
            polygon(crs={"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32634"}}),
            "has coordinates in urn:ogc:def:crs:EPSG::32634, want WGS84; reproject",
        ),
        (
            polygon(crs={"type": "name", "properties": {"name": "EPSG:14326"}}),
            "in EPSG:14326, want",
        ),
        (polygon(crs={"type": "link"}), "has coordinates in .*link.*, want WGS84"),
        (polygon(crs=4326), "has coordinates in 4326, want WGS84"),
    ],
)
def test_geojson_that_is_no_polygon(top: Any, said: str) -> None:
    refuse(json.dumps(top).encode(), said)


def refuse(raw: bytes, said: str) -> None:
    with pytest.raises(AoiError, match=said) as caught:
        parse_aoi(raw, "field.geojson", "field")
    line = str(caught.value)
    assert line.startswith("field.geojson: ")
    assert "\n" not in line
    assert len(line) < 300


def outcome(raw: bytes) -> Aoi | str:
    """The area, or the message of its refusal; any other exception is a bug."""
    try:
        return parse_aoi(raw, "field.geojson", "field")
    except AoiError as error:
        return str(error)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=3)
    | st.sampled_from(["Polygon", "Feature", "FeatureCollection", "MultiPolygon"]),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(
                ["type", "coordinates", "geometry", "features", "properties", "crs", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(JUNK)
def test_any_json_is_read_or_refused(top: Any) -> None:
    got = outcome(json.dumps(top).encode())
    assert "\n" not in got if isinstance(got, str) else got.geometry.area > 0


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused(draw: st.DataObject) -> None:
    raw = bytearray(FIELD.read_bytes())
    for _ in range(draw.draw(st.integers(1, 3))):
        raw[draw.draw(st.integers(0, len(raw) - 1))] = draw.draw(st.integers(0, 255))
    got = outcome(bytes(raw))
    assert "\n" not in got if isinstance(got, str) else got.geometry.is_valid


def test_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "meadow.geojson"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(polygon()).encode())  # editors write a mark
    assert read_aoi(path).name == read_aoi(str(path)).name == "meadow"
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps(polygon()).encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert read_aoi("-").name == "aoi"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(AoiError, match="standard input: is empty"):
        read_aoi("-")


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AoiError, match=r"none.geojson: cannot be read: No such file"):
        read_aoi(tmp_path / "none.geojson")
    with pytest.raises(AoiError, match="cannot be read: Is a directory"):
        read_aoi(tmp_path)
    monkeypatch.setattr(aoi_module, "MAX_BYTES", 2_000_000)
    path = tmp_path / "large.geojson"
    path.write_bytes(b" " * 2_000_001)
    with pytest.raises(AoiError, match="larger than 2 MB; simplify the outline"):
        read_aoi(path)
    path.write_bytes(b" " * 2_000_000)
    with pytest.raises(AoiError, match="is empty"):
        read_aoi(path)


def test_overlap_with_a_source() -> None:
    aoi = parse(polygon())
    check_overlap(aoi, None, "anything")
    check_overlap(aoi, shapely.box(22.1, 45.05, 30, 50), "corner")
    with pytest.raises(
        AoiError,
        match=r"AOI field \(22.0000, 45.0000 .* off the ground of source "
        r"sea; it covers 1.0000, 2.0000 to 3.0000, 4.0000",
    ):
        check_overlap(aoi, shapely.box(1, 2, 3, 4), "sea")
    with pytest.raises(AoiError, match="longitude first, then latitude: swap them"):
        check_overlap(aoi, shapely.box(44, 21, 46, 23), "swapped")
    with pytest.raises(AoiError, match="off the ground"):  # touching is not covering
        check_overlap(aoi, shapely.box(22.2, 45, 23, 46), "neighbor")


def test_bounds_in_meters() -> None:
    """Against PROJ's own densified bounds."""
    pyproj = pytest.importorskip("pyproj")
    wide = parse(polygon([[10, 50], [20, 50], [20, 55], [10, 55], [10, 50]]))
    transformer = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3035", always_xy=True)
    want = transformer.transform_bounds(10, 50, 20, 55, densify_pts=101)
    assert wide.bounds_in("EPSG:3035") == pytest.approx(want, abs=20)
    corners = [transformer.transform(x, y)[1] for x, y in [(10, 50), (20, 50)]]
    assert wide.bounds_in("EPSG:3035")[1] < min(corners) + 1


def test_bounds_where_the_crs_ends() -> None:
    with pytest.raises(AoiError, match="lies outside the range of the source's CRS"):
        parse(polygon([[100, 0], [105, 0], [105, 5], [100, 0]])).bounds_in("EPSG:32633")


def test_the_example_is_a_small_tidy_polygon() -> None:
    aoi = read_aoi(FIELD)
    assert aoi.name == "Romanian forest"
    assert aoi.geometry.exterior.is_ccw  # RFC 7946
    assert FIELD.stat().st_size < 1000
