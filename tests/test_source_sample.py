"""The sample source: on made files of the same form, and on the real ones where installed."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import shapely
from pyproj import Transformer

import stvc.source.sample as sample_module
from stvc.aoi import Aoi, read_aoi
from stvc.dataset import dataset_from_series, series_from_dataset
from stvc.errors import AoiError, NoDataError, SourceError
from stvc.masks import hidden, hidden_on_grid
from stvc.source import get_source, names
from stvc.source.sample import SampleSource

FIELD = Path(__file__).parent.parent / "examples" / "field.geojson"
LEFT, TOP = 5271982.5, 2533004.0
DAYS = [0, 5, 10, 15, 400]


def write(path: Path, gsd: int, count: int, bands: list[str], **change: Any) -> dict[str, Any]:
    """Write a file as nrt's are: DN tell band, date, row and column; one band is float with NaN."""
    cubes: dict[str, Any] = {}
    t, row, col = np.meshgrid(range(len(DAYS)), range(count), range(count), indexing="ij")
    for number, band in enumerate([*bands, "SCL"], 1):
        cube = number * 10_000 + t * 1000 + (row * 7 + col) % 1000
        cubes[band] = (cube % 12 if band == "SCL" else cube).astype(np.uint16)
    cubes[bands[-1]] = cubes[bands[-1]].astype(np.float32)
    cubes[bands[-1]][0, 0, 0] = np.nan
    with h5py.File(path, "w") as file:
        for band, cube in cubes.items():
            if band != change.get("without"):
                file[band] = cube
        file["time"] = np.array(change.get("days", DAYS), np.int64)
        units = change.get("units", "days since 2019-01-01 00:00:00")
        file["time"].attrs["units"] = np.bytes_(units.encode())
        file["y"] = change.get("top", TOP) - gsd * (np.arange(count) + 0.5)
        file["x"] = LEFT + gsd * (np.arange(count) + 0.5)
        file["spatial_ref"] = 0
        file["spatial_ref"].attrs["spatial_ref"] = np.bytes_(b"EPSG:3035")
    return cubes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "sentinel2_cube_subset_romania_10m.nc", 10, 20, ["B2", "B3", "B4", "B8"])
    write(tmp_path / "sentinel2_cube_subset_romania_20m.nc", 20, 10, ["B3", "B4", "B8A", "B11"])
    return tmp_path


def on_ground(col: float, row: float, col_stop: float, row_stop: float) -> Aoi:
    """Area of some 10 m pixels."""
    box = shapely.box(LEFT + 10 * col, TOP - 10 * row_stop, LEFT + 10 * col_stop, TOP - 10 * row)
    to_degrees = Transformer.from_crs("EPSG:3035", "EPSG:4326", always_xy=True)
    return Aoi(shapely.transform(box, lambda xy: np.stack(to_degrees.transform(*xy.T), 1)), "box")


def test_the_registry() -> None:
    assert names()[0] == "sample"
    assert get_source("sample").name == "sample"
    with pytest.raises(SourceError, match="source 'sentinel' is unknown; choose from: sample, "):
        get_source("sentinel")


def test_pixels_come_from_where_they_lie(folder: Path) -> None:
    ds = SampleSource(folder).fetch(on_ground(3.2, 4.1, 8.5, 7.9), None, None, None, ())
    assert dict(ds.sizes) == {"time": 5, "y": 4, "x": 8, "y20": 2, "x20": 4}
    assert list(ds.data_vars) == ["B02", "B03", "B04", "B08", "B8A", "B11", "SCL"]
    with h5py.File(folder / "sentinel2_cube_subset_romania_10m.nc") as fine:
        np.testing.assert_array_equal(ds["B04"].values, fine["B4"][:, 4:8, 2:10])
        np.testing.assert_allclose(ds["x"], fine["x"][2:10], atol=1e-6)
        np.testing.assert_allclose(ds["y"], fine["y"][4:8], atol=1e-6)
    with h5py.File(folder / "sentinel2_cube_subset_romania_20m.nc") as coarse:
        np.testing.assert_array_equal(ds["B11"].values, coarse["B11"][:, 2:4, 1:5])
        np.testing.assert_array_equal(ds["SCL"].values, coarse["SCL"][:, 2:4, 1:5])
        np.testing.assert_allclose(ds["x20"], coarse["x"][1:5], atol=1e-6)
    assert {v.dtype for v in ds.data_vars.values()} == {np.dtype("u2"), np.dtype("u1")}
    assert ds["time"].values.astype("M8[D]").astype(str).tolist() == [
        "2019-01-01",
        "2019-01-06",
        "2019-01-11",
        "2019-01-16",
        "2020-02-05",
    ]
    assert "ETRS89" in ds["spatial_ref"].attrs["crs_wkt"]


def test_missing_pixels_are_nodata(folder: Path) -> None:
    ds = SampleSource(folder).fetch(on_ground(0, 0, 20, 20), None, None, ["B8", "B11"], ())
    assert ds["B08"].values[0, 0, 0] == ds["B11"].values[0, 0, 0] == 0
    assert (ds["B08"].values.ravel()[1:] > 0).all()


def test_the_fetched_dataset_is_a_series(folder: Path) -> None:
    ds = SampleSource(folder).fetch(on_ground(2, 2, 10, 10), None, None, None, ())
    series = series_from_dataset(ds)
    assert [g.bands for g in series.grids] == [("B02", "B03", "B04", "B08"), ("B8A", "B11")]
    unclear = hidden(series.classes, "SCL")
    np.testing.assert_array_equal(
        hidden_on_grid(unclear, series.mask, series.grids[0]), unclear.repeat(2, 1).repeat(2, 2)
    )
    assert dataset_from_series(series).identical(ds)
    aoi = shapely.from_geojson(series.attrs["aoi"])
    assert aoi.equals_exact(on_ground(2, 2, 10, 10).geometry, 1e-6)


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        (["B08", "B02"], ["B08", "B02"]),
        (["b4", "red", "B04"], ["B04"]),
        (["B11", "nir"], ["B11", "B08"]),
        (["B11"], ["B11"]),
    ],
)
def test_bands_are_chosen_by_any_name(folder: Path, asked: list[str], got: list[str]) -> None:
    ds = SampleSource(folder).fetch(on_ground(3, 3, 5, 5), None, None, asked, ())
    assert [name for name in ds.data_vars if name != "SCL"] == got
    assert (ds.sizes["y20"], ds["SCL"].dims) == (2, ("time", "y20", "x20"))
    assert ("y" in ds.dims) == (got != ["B11"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["B04", "B12"], "has no band 'B12'; it has B02, B03, B04, B08, B8A, B11"),
        (["VV"], "has no band 'VV'"),
        ([], "no band is asked"),
    ],
)
def test_other_bands_are_refused(folder: Path, asked: list[str], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        SampleSource(folder).fetch(on_ground(3, 3, 5, 5), None, None, asked, ())


def test_first_and_last_day_are_included(folder: Path) -> None:
    source, aoi = SampleSource(folder), on_ground(0, 0, 4, 4)
    first, last = date(2019, 1, 6), date(2019, 1, 16)
    want = ["2019-01-06", "2019-01-11", "2019-01-16"]
    assert source.dates(aoi, first, last).astype("M8[D]").astype(str).tolist() == want
    ds = source.fetch(aoi, first, last, ["B02"], ())
    np.testing.assert_array_equal(ds["time"].values, source.dates(aoi, first, last))
    assert len(source.dates(aoi, date(2019, 1, 17), date(2020, 2, 4))) == 0
    with pytest.raises(
        NoDataError,
        match="no date from 2019-01-17 to 2020-02-04; it has 5 dates from 2019-01-01 to 2020-02-05",
    ):
        source.fetch(aoi, date(2019, 1, 17), date(2020, 2, 4), None, ())
    with pytest.raises(NoDataError, match="no date from 2021-01-01 to 2020-02-05"):
        source.fetch(aoi, date(2021, 1, 1), None, None, ())


def test_dates_that_the_caller_has_are_left_out(folder: Path) -> None:
    source, aoi = SampleSource(folder), on_ground(2, 2, 9, 9)
    whole = source.fetch(aoi, None, None, None, ())
    had = [np.datetime64("2019-01-11"), np.datetime64("2019-01-01T00:00:00.000000001", "ns")]
    ds = source.fetch(aoi, None, None, None, had)
    assert ds.identical(whole.isel(time=[1, 3, 4]))
    nothing = source.fetch(aoi, None, None, None, list(whole["time"].values))
    assert nothing.sizes["time"] == 0
    assert list(nothing.data_vars) == list(whole.data_vars)


def test_the_grid_does_not_depend_on_dates_or_bands(folder: Path) -> None:
    source, aoi = SampleSource(folder), on_ground(3, 5, 8, 8)
    some = source.fetch(aoi, date(2019, 1, 6), date(2019, 1, 6), ["B02"], ())
    np.testing.assert_array_equal(some["x"], source.fetch(aoi, None, None, None, ())["x"])


def test_off_the_ground(folder: Path) -> None:
    source = SampleSource(folder)
    for ask in (
        lambda aoi: source.fetch(aoi, None, None, None, ()),
        lambda aoi: source.dates(aoi, None, None),
    ):
        with pytest.raises(AoiError, match=r"AOI box .* off the ground of source sample; it cov"):
            ask(on_ground(40, 40, 50, 50))
        there = on_ground(4, 4, 9, 9).geometry
        swapped = Aoi(shapely.transform(there, lambda xy: xy[:, ::-1]), "box")
        with pytest.raises(AoiError, match="longitude first, then latitude"):
            ask(swapped)


def test_an_area_partly_off_the_ground_is_cut_and_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        ds = SampleSource(folder).fetch(on_ground(10, 0, 30, 20), None, None, None, ())
    assert (ds.sizes["y"], ds.sizes["x"]) == (20, 10)
    assert "source sample covers 50 % of it" in caplog.text
    assert ds.attrs["aoi_covered"] == 0.5


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    source = SampleSource()
    with pytest.raises(SourceError, match=r"not installed: pip install --no-deps nrt==0\.2\.1"):
        source.dates(on_ground(0, 0, 1, 1), None, None)


def test_with_a_package_that_brings_no_imagery(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"10m\.nc does not exist; install nrt 0\.2\.1"):
        SampleSource(tmp_path).ground()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"units": "seconds since 1970-01-01"}, "20m.nc is damaged; reinstall"),
        ({"days": DAYS[::-1]}, "20m.nc is damaged"),
        ({"days": [0, 5, 10, 15, 401]}, "do not share dates and ground"),
        ({"top": TOP + 10}, "do not share dates and ground"),
        ({"without": "B11"}, "20m.nc is damaged"),
        ({"without": "SCL"}, "20m.nc is damaged"),
    ],
)
def test_files_of_another_form(folder: Path, change: dict[str, Any], said: str) -> None:
    path = folder / "sentinel2_cube_subset_romania_20m.nc"
    write(path, 20, 10, ["B3", "B4", "B8A", "B11"], **change)
    with pytest.raises(SourceError, match=said) as caught:
        SampleSource(folder).fetch(on_ground(0, 0, 20, 20), None, None, None, ())
    assert "\n" not in str(caught.value)


def test_truncated_files(folder: Path) -> None:
    path = folder / "sentinel2_cube_subset_romania_10m.nc"
    whole = path.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 1000):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"10m\.nc is damaged; reinstall"):
            SampleSource(folder).fetch(on_ground(0, 0, 20, 20), None, None, None, ())


def test_listing_sources_imports_no_heavy_package() -> None:
    code = (
        "import sys, stvc.source, stvc.aoi; stvc.source.names(); heavy = {'nrt', 'xarray', "
        "'torch', 'shapely', 'pyproj'}; print(sorted(heavy & sys.modules.keys()))"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.strip() == "[]"


@pytest.mark.skipif(importlib.util.find_spec("nrt") is None, reason=sample_module.INSTALL)
def test_the_example_covers_the_real_sample() -> None:
    source, aoi = get_source("sample"), read_aoi(FIELD)
    assert len(source.dates(aoi, None, None)) == 140
    ds = source.fetch(aoi, date(2018, 1, 1), date(2018, 2, 28), None, ())
    assert (ds.sizes["y"], ds.sizes["x"], ds.sizes["y20"]) == (96, 96, 48)
    assert ds["time"].values.astype("M8[D]").min() >= np.datetime64("2018-01-01")
    assert ds["B04"].values.min() > 0
    assert set(np.unique(ds["SCL"])) <= set(range(2, 12))
    ground = source.ground()
    assert ground is not None
    assert ground.contains(aoi.geometry)
    assert "nrt" not in sys.modules
