"""Series from datasets and back: exact, for whatever the contract allows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_datasets import WKT, small

from stvc.dataset import dataset_from_series, select_times, series_from_dataset
from stvc.masks.rule import VARIABLES
from stvc.types import Series

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
ATTRS = st.dictionaries(NAMES.filter(lambda n: n != "grid_mapping"), JSON_VALUES, max_size=2)


@st.composite
def columns(draw: st.DrawFn, count: int) -> Any:
    kind = draw(st.sampled_from(["U", "i8", "u1", "f8", "f4", "b", "M8[ns]", "M8[s]", "O"]))
    if kind in ("U", "O"):
        texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
        return np.array(draw(st.lists(texts, min_size=count, max_size=count)), dtype=kind)
    numbers = draw(st.lists(st.integers(0, 255), min_size=count, max_size=count))
    column = np.array(numbers).astype(kind)
    if kind[0] in "fM" and draw(st.booleans()):
        column[0] = "NaT" if kind[0] == "M" else draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return column


@st.composite
def datasets(draw: st.DrawFn) -> xr.Dataset:
    count = draw(st.integers(1, 4))
    seconds = draw(
        st.lists(st.integers(-(10**9), 4 * 10**9), min_size=count, max_size=count, unique=True)
    )
    beyond = draw(st.lists(st.integers(0, 10**9 - 1), min_size=count, max_size=count))
    if draw(st.booleans()):
        beyond = [0] * count
    times = np.array(sorted(seconds), "M8[s]").astype("M8[ns]") + np.array(beyond, "m8[ns]")
    placed = draw(st.booleans())
    coords: dict[str, Any] = {"time": ("time", times, draw(ATTRS))}
    variables: dict[str, Any] = {}
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    suffixes = draw(st.lists(st.sampled_from(["", "20", "60", "_a", "é"]), min_size=1, unique=True))
    sizes = {}
    for suffix in suffixes:
        height, width = sizes[suffix] = draw(st.integers(1, 7)), draw(st.integers(1, 7))
        if placed:
            gsd = draw(st.sampled_from([10.0, 0.1, 60.0]))
            sign = draw(st.sampled_from([-1, 1]))
            coords["y" + suffix] = ("y" + suffix, 1e6 + 0.5 + sign * gsd * np.arange(height), {})
            coords["x" + suffix] = ("x" + suffix, 3e5 + 0.5 + gsd * np.arange(width), draw(ATTRS))
    taken = {"time", *VARIABLES, "spatial_ref"} | {a + s for a in "xy" for s in suffixes}
    untaken = NAMES.filter(lambda n: n not in taken)
    bands = draw(st.lists(untaken, min_size=1, max_size=5, unique=True))
    for band in bands:
        suffix = draw(st.sampled_from(suffixes))
        pixels = rng.integers(0, 65536, (count, *sizes[suffix]), dtype=np.uint16)
        variables[band] = (("time", "y" + suffix, "x" + suffix), pixels, draw(ATTRS))
    kind = draw(st.sampled_from(["SCL", "mask", "none"]))
    if kind != "none":
        suffix = draw(st.sampled_from(suffixes))
        classes = rng.integers(0, 12, (count, *sizes[suffix]), dtype=np.uint8)
        variables[kind] = (
            ("time", "y" + suffix, "x" + suffix),
            classes if kind == "SCL" else classes > 8,
            draw(ATTRS),
        )
    for name in draw(st.lists(untaken.filter(lambda n: n not in bands), max_size=3, unique=True)):
        target = variables if draw(st.booleans()) else coords
        target[name] = ("time", draw(columns(count)), draw(ATTRS))
    if placed and draw(st.booleans()):
        coords["spatial_ref"] = ((), 0, {"crs_wkt": WKT})
    ds = xr.Dataset(variables, coords=coords, attrs=draw(ATTRS))
    used = {dim for variable in ds.data_vars.values() for dim in variable.dims}
    return ds.drop_vars([name for name in ds.dims if name not in used and name in ds.variables])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(datasets())
def test_round_trip_is_exact(ds: xr.Dataset) -> None:
    series = series_from_dataset(ds)
    # What an archive keeps goes through JSON.
    kept = json.loads(json.dumps([series.attrs, series.provenance, series.band_attrs]))
    stored = Series(
        times=series.times,
        grids=series.grids,
        pixels=series.pixels,
        mask=series.mask,
        classes=series.classes,
        crs_wkt=series.crs_wkt,
        attrs=kept[0],
        provenance=tuple(kept[1]),
        band_attrs=kept[2],
    )
    back = dataset_from_series(stored)
    xr.testing.assert_identical(
        back.drop_vars("spatial_ref", errors="ignore"), ds.drop_vars("spatial_ref", errors="ignore")
    )
    assert list(back.data_vars) == list(ds.data_vars)
    for name, variable in ds.variables.items():
        if variable.dtype.kind != "O" and name != "spatial_ref":
            assert back[name].dtype.kind == variable.dtype.kind
        if variable.ndim == 3:
            assert back[name].dtype == variable.dtype
            assert back[name].dims == variable.dims
    assert ("spatial_ref" in back.coords) == ("spatial_ref" in ds.coords)
    if "spatial_ref" in ds.coords:
        assert back["spatial_ref"].attrs["crs_wkt"] == WKT
    again = series_from_dataset(back)
    assert all(np.array_equal(a, b) for a, b in zip(again.pixels, series.pixels, strict=True))
    assert (again.grids[0].bands, again.provenance) == (series.grids[0].bands, series.provenance)


def test_groups_hold_native_resolutions() -> None:
    series = series_from_dataset(small())
    assert [(g.suffix, g.bands, g.shape, g.gsd) for g in series.grids] == [
        ("", ("B04", "B08"), (2, 4, 6), 10.0),
        ("20", ("B11",), (1, 2, 3), 20.0),
    ]
    assert series.times.dtype == np.dtype("datetime64[s]")
    assert series.pixels[0].shape == (3, 2, 4, 6)
    assert series.classes.shape == (3, 0, 0)
    np.testing.assert_array_equal(series.pixels[0][:, 1], small()["B08"].values)


def test_a_lone_band_is_not_copied() -> None:
    ds = small()
    series = series_from_dataset(ds)
    assert np.shares_memory(series.pixels[1], ds["B11"].values)
    assert np.shares_memory(dataset_from_series(series)["B08"].values, series.pixels[0])


def test_unsorted_dates_are_sorted_with_all_that_belongs_to_them() -> None:
    ds = small(SCL=(("time", "y20", "x20"), np.arange(18, dtype=np.uint8).reshape(3, 2, 3)))
    ds["product_id"] = ("time", ["a", "b", "c"])
    shuffled = ds.isel(time=[2, 0, 1])
    xr.testing.assert_identical(dataset_from_series(series_from_dataset(shuffled)), ds)


def test_select_times_keeps_frames_whole() -> None:
    ds = small(mask=(("time", "y", "x"), np.arange(72).reshape(3, 4, 6) % 5 == 0))
    ds["baseline"] = ("time", ["04.00", "05.09", "05.10"])
    series = series_from_dataset(ds)
    kept = select_times(series, np.array([True, False, True]))
    xr.testing.assert_identical(dataset_from_series(kept), ds.isel(time=[0, 2]))
    assert select_times(series, np.ones(3, bool)) is series
    assert len(select_times(series, np.zeros(3, bool)).times) == 0


def test_transposed_and_dask_like_inputs_are_read_in_order() -> None:
    ds = small()
    turned = ds.transpose("x", "time", "y", "x20", "y20")
    xr.testing.assert_identical(dataset_from_series(series_from_dataset(turned)), ds)


def test_far_times_survive() -> None:
    times = np.array(["0800-12-25", "2500-01-01"], dtype="datetime64[s]")
    ds = small(times)
    xr.testing.assert_identical(dataset_from_series(series_from_dataset(ds)), ds)


def test_netcdf_takes_what_comes_back(tmp_path: Path) -> None:
    ds = small(SCL=(("time", "y20", "x20"), np.zeros((3, 2, 3), np.uint8)))
    ds["product_id"] = ("time", ["a", "b", "c"])
    ds = ds.assign_coords(spatial_ref=((), 0, {"crs_wkt": "EPSG:3035"}))
    back = dataset_from_series(series_from_dataset(ds))
    back.to_netcdf(tmp_path / "back.nc")
    with xr.open_dataset(tmp_path / "back.nc", decode_coords="all") as read:
        assert "spatial_ref" in read.coords
        again = series_from_dataset(read.load())
    want = series_from_dataset(back)
    assert (again.crs_wkt, again.mask.kind) == (want.crs_wkt, "SCL")
    np.testing.assert_array_equal(again.pixels[0], want.pixels[0])
