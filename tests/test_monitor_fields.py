"""The job's TOML file and its outlines: what is taken, and what is said about what is not."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvc import cli
from stvc.errors import AoiError, ConfigError
from stvc.exit_codes import ExitCode
from stvc.monitor.fields import read_job
from stvc.monitor.outlines import check_id, read_outlines
from stvc.monitor.settings import WHOLE_PERIOD, FieldSettings, read_days
from stvc.monitor.window import batch_size, window

SQUARE = {
    "type": "Polygon",
    "coordinates": [[[14, 45], [14.01, 45], [14.01, 45.01], [14, 45.01], [14, 45]]],
}
EXAMPLES = Path(__file__).parent.parent / "examples"
INLINE = f'geometry = {"{"}type = "Polygon", coordinates = {SQUARE["coordinates"]}{"}"}'


def feature(properties: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": SQUARE, **more}


def collection(folder: Path, *features: Any, name: str = "fields.geojson") -> Path:
    path = folder / name
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def job(folder: Path, text: str) -> Any:
    path = folder / "fields.toml"
    path.write_text(text)
    return read_job(path)


def test_settings_lie_over_each_other(tmp_path: Path) -> None:
    collection(tmp_path, feature({"name": "a"}), feature({"name": "b"}))
    found = job(
        tmp_path,
        f"""
        archives = "kept/here"
        cache_dir = "/var/cache/stvc"
        [defaults]
        source = "stac"
        quality = 40
        start = 2020-01-01
        look_back = "3w"
        bands = "B04, B08"
        [sources.stac]
        url = "https://a.test"
        catalog = "./catalog.json"
        [sources.sample]
        [[fields]]
        file = "fields.geojson"
        id_property = "name"
        psnr = 45
        [[fields]]
        id = "c"
        source = "sample"
        options = {{ folder = "/x" }}
        look_back = 3
        {INLINE}
        [settings.b]
        max_error = 25
        end = "2020-12-31"
        """,
    )
    a, b, c = (field.settings for field in found.fields)
    assert found.archives == tmp_path / "kept" / "here"
    assert found.cache_dir == Path("/var/cache/stvc")
    assert found.archive(found.fields[0]) == tmp_path / "kept/here/a.stvc"
    assert (a.source, a.quality, a.psnr, a.max_error) == ("stac", None, 45.0, None)
    assert (b.quality, b.psnr, b.max_error, b.end) == (None, None, 25, date(2020, 12, 31))
    assert (c.source, c.quality, c.look_back) == ("sample", 40.0, 3)
    assert (a.start, a.look_back, a.bands) == (date(2020, 1, 1), 21, ("B04", "B08"))
    assert a.options == {"url": "https://a.test", "catalog": str(tmp_path / "catalog.json")}
    assert c.options == {"folder": "/x"}
    assert {f.settings.look_back for f in read_job(found.path, look_back=1).fields} == {1}


BAD = [
    ("", "names no field"),
    ("fields = 3", "names no field"),
    ("[[fields]]\nid = 'a'", "either file or geometry"),
    (f"[[fields]]\nfile = 'x'\n{INLINE}", "either file or geometry"),
    (f"[[fields]]\n{INLINE}", "needs an id"),
    (f"[[fields]]\nid = 7\n{INLINE}", "want a name in quotes"),
    ("[[fields]]\nid = 'a'\ngeometry = 7", "want a GeoJSON geometry"),
    ("[[fields]]\nfile = 'nowhere.geojson'", "no such file"),
    ("[[fields]]\nfile = ''", "want a path"),
    ("[[fields]]\nid = 'a'\nfile = 'fields.toml'", "is no GeoJSON"),
    ("[[fields]\nid", "is no TOML"),
    ("[defaults]\nqality = 4\n", "did you mean quality"),
    ("[default]\n", "did you mean defaults"),
    ("[defaults]\nquality = 'high'", "want a number"),
    ("[defaults]\nquality = 101", "0 (small) to 100"),
    ("[defaults]\nquality = 40\npsnr = 40", "contradict"),
    ("[defaults]\nclouds = 'gone'", "keep, coarse or drop"),
    ("[defaults]\nreference = 'all'", "choose one of"),
    ("[defaults]\nstart = 2020-02-30", "is no TOML"),
    ("[defaults]\nstart = 'spring'", "want a date"),
    ("[defaults]\nstart = 2021-01-01\nend = 2020-01-01", "after its end"),
    ("[defaults]\nlook_back = '15 months'", "is no time span"),
    ("[defaults]\nlook_back = -1", "is no time span"),
    ("[defaults]\nlook_back = true", "is no time span"),
    ("[defaults]\nbatch = 0", "1 date or more"),
    ("[defaults]\nlossless = 1", "true or false"),
    ("[defaults]\nmax_error = 1.5", "whole number"),
    ("[defaults]\nbands = []", "band names"),
    ("[defaults]\nbands = ['B04', 'B04']", "each once"),
    ("[defaults]\nsource = 'ftp'", "source 'ftp' is unknown"),
    ("[defaults]\nsource = ''", "want a word"),
    ("[defaults]\nmask = 3", "want a method"),
    ("[defaults]\nmask = 'clouds'", "choose from scl"),
    ("[defaults]\nmask = {dilation = 3}", "did you mean dilate"),
    ("[defaults]\nmask = {dilate = '3 m'}", "a number of meters"),
    ("[defaults]\nmask = {method = 'file'}", "needs the raster"),
    ("[sources]\nstac = 3", "want a table"),
    ("[settings]\na = 3", "want a table"),
    ("[settings.nobody]\nquality = 3", "a field that is not there"),
    ("archives = 3", "want a path"),
]


@pytest.mark.parametrize(("text", "words"), BAD)
def test_what_makes_no_sense_is_said(tmp_path: Path, text: str, words: str) -> None:
    if "[[fields]" not in text and not text.startswith("fields") and text:
        text += f"\n[[fields]]\nid = 'a'\n{INLINE}\n"
    with pytest.raises(ConfigError) as caught:
        job(tmp_path, text)
    assert words in str(caught.value)
    assert cli.run(["monitor", "run", str(tmp_path / "fields.toml")]) == ExitCode.CONFIG
    assert cli.run(["monitor", "status", str(tmp_path / "fields.toml")]) == ExitCode.CONFIG


def test_a_missing_file_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["monitor", "run", str(tmp_path / "no.toml")]) == ExitCode.CONFIG
    out, err = capsys.readouterr()
    assert out == "" and "no.toml: cannot be read: No such file" in err
    assert cli.run(["monitor", "run", str(tmp_path)]) == ExitCode.CONFIG


@pytest.mark.parametrize(("first", "second"), [("a", "a"), ("North", "north"), ("ä", "a\u0308")])
def test_two_fields_never_share_an_archive(tmp_path: Path, first: str, second: str) -> None:
    collection(tmp_path, feature({"id": first}), feature({"id": second}))
    with pytest.raises(ConfigError, match="share one archive"):
        job(tmp_path, "[[fields]]\nfile = 'fields.geojson'")


@pytest.mark.parametrize(
    ("features", "names"),
    [
        ([feature({"name": "x"}), feature({"id": 7, "name": "y"})], ["x", "7"]),
        ([feature({}, id="top")], ["top"]),
        ([feature({"id": 12.0})], ["12"]),
        ([feature(None)], ["fields"]),  # the only one is named after its file
        ([feature(None, geometry=None)], ["fields"]),
        (
            [feature({"name": "Müllers Acker 12"}), feature({"name": "b"})],
            ["Müllers Acker 12", "b"],
        ),
    ],
)
def test_features_are_named_as_one_would_expect(
    tmp_path: Path, features: list[Any], names: list[str]
) -> None:
    found = read_outlines(collection(tmp_path, *features), None)
    assert [outline.id for outline in found] == names
    assert [outline.problem for outline in found] == [None] * len(names)


@pytest.mark.parametrize(
    "name",
    [
        *("../x", "a/b", "..", ".hidden", "-rf", "a\\b", "a\0b", "", " ", "a.", "a ", "a\nb"),
        *("C:x", "x" * 121, "ä" * 110, "a*", "~", "a\u202eb", "_x", "con|x"),
    ],
)
def test_hostile_ids_are_refused_alone(tmp_path: Path, name: str) -> None:
    with pytest.raises(AoiError):
        check_id(name)
    found = read_outlines(collection(tmp_path, feature({"n": name}), feature({"n": "b"})), "n")
    assert found[0].problem is not None
    assert (found[1].id, found[1].problem) == ("b", None)


@given(st.text(max_size=130))
def test_ids_that_are_taken_stay_in_their_folder(name: str) -> None:
    try:
        check_id(name)
    except AoiError:
        return
    joined = os.path.normpath(f"/archives/{name}.stvc")
    assert os.path.dirname(joined) == "/archives"  # noqa: PTH120 - of text, not of a file
    assert len(f"{name}.stvc.lock".encode()) <= 255


@pytest.mark.parametrize(
    "broken",
    [
        7,
        None,
        {},
        {"type": "Feature"},
        feature({"n": True}),
        feature({"n": ["a"]}),
        feature("text"),
    ],
)
def test_a_feature_that_is_none_stops_no_other(tmp_path: Path, broken: Any) -> None:
    found = read_outlines(collection(tmp_path, broken, feature({"n": "b"})), "n")
    assert found[0].problem is not None and found[1].problem is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type": "Point"}', "[" * 200_000, '"x"', "\xff"])
def test_a_file_without_features_is_a_config_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.geojson"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"x\.geojson"):
        read_outlines(path, None)
    path.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(ConfigError, match="holds no field"):
        read_outlines(path, None)


@pytest.mark.parametrize("suffix", ["parquet", "gpkg"])
def test_tables_of_fields_in_any_crs(tmp_path: Path, suffix: str) -> None:
    geopandas = pytest.importorskip("geopandas")
    pytest.importorskip("pyarrow" if suffix == "parquet" else "pyogrio")
    from shapely.geometry import shape

    table = geopandas.GeoDataFrame(
        {"code": [3, 4], "note": ["x", None]}, geometry=[shape(SQUARE), None], crs="EPSG:4326"
    ).to_crs("EPSG:32633")
    path = tmp_path / f"t.{suffix}"
    table.to_parquet(path) if suffix == "parquet" else table.to_file(path)
    first, second = read_outlines(path, "code")
    assert (first.id, second.id, second.geometry) == ("3", "4", "null")
    corners = json.loads(first.geometry)["coordinates"][0]
    assert corners[0] == pytest.approx([14, 45], abs=1e-6)
    path.write_bytes(b"PAR1" + bytes(50))
    with pytest.raises(ConfigError, match="cannot be read as a table"):
        read_outlines(path, "code")


def test_a_collection_in_another_crs_is_refused_field_by_field(tmp_path: Path) -> None:
    path = collection(tmp_path, feature({"n": "b"}))
    top = json.loads(path.read_text())
    top["crs"] = {"type": "name", "properties": {"name": "EPSG:32633"}}
    path.write_text(json.dumps(top))
    from stvc.aoi import parse_aoi

    with pytest.raises(AoiError, match="EPSG:32633"):
        parse_aoi(read_outlines(path, "n")[0].geometry.encode(), "b", "b")


def test_the_example_is_a_job() -> None:
    found = read_job(EXAMPLES / "fields.toml")
    assert [field.id for field in found.fields] == ["north slope", "south slope", "clearing"]
    assert [field.problem for field in found.fields] == [None] * 3


@pytest.mark.parametrize(
    ("text", "days"), [("15d", 15), (15, 15), ("2w", 14), ("0", 0), ("all", WHOLE_PERIOD)]
)
def test_time_spans(text: Any, days: int) -> None:
    assert read_days(text, "x") == days


@pytest.mark.parametrize(
    ("last", "settings", "expected"),
    [
        (None, {}, (None, "2024-06-01")),
        (None, {"start": date(2024, 1, 1)}, ("2024-01-01", "2024-06-01")),
        (None, {"end": date(2024, 3, 1)}, (None, "2024-03-01")),
        ("2024-05-20", {}, ("2024-05-05", "2024-06-01")),
        ("2024-05-20", {"start": date(2024, 5, 10)}, ("2024-05-10", "2024-06-01")),
        ("2024-01-20", {}, ("2024-01-05", "2024-06-01")),  # after an outage
        ("2024-08-20", {}, ("2024-05-17", "2024-06-01")),  # replaying the past
        ("2024-05-20", {"look_back": WHOLE_PERIOD}, (None, "2024-06-01")),
    ],
)
def test_the_window_begins_before_the_last_date(
    last: str | None, settings: dict[str, Any], expected: tuple[str | None, str]
) -> None:
    import numpy as np

    from stvc.archive import FrameRecord

    held = (
        () if last is None else (FrameRecord(int(np.datetime64(f"{last}T10:00", "s").astype(int))),)
    )
    start, end = window(held, FieldSettings(**settings), date(2024, 6, 1))
    assert (start and str(start), str(end)) == expected


def test_large_places_are_fetched_in_small_batches() -> None:
    from stvc.aoi import parse_aoi

    def batch(width: float, bands: list[str] | None) -> int:
        corners = [[14, 45], [14 + width, 45], [14 + width, 45 + width], [14, 45 + width], [14, 45]]
        text = json.dumps({"type": "Polygon", "coordinates": [corners]})
        return batch_size(parse_aoi(text.encode(), "x", "x"), bands)

    assert batch(0.005, ["B04", "B08"]) > 10_000
    assert 1 <= batch(0.3, None) <= 2
    assert batch(5, None) == 1
