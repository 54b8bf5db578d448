"""Series from datasets and back: exact for what the contract allows, else one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stvc.dataset import dataset_from_series, select_times, series_from_dataset
from stvc.errors import CorruptInputError
from stvc.masks.rule import VARIABLES
from stvc.types import Series

WKT = (
    'ENGCRS["a test bench",EDATUM["its corner"],CS[Cartesian,2],AXIS["(E)",east],'
    'AXIS["(N)",north],LENGTHUNIT["metre",1]]'
)
TIMES = np.array(["2024-05-01", "2024-05-06T10:30:31", "2024-06-01"], dtype="datetime64[ns]")


def small(times: Any = TIMES, **extra: Any) -> xr.Dataset:
    """Two 10 m bands of 4 by 6 pixels, one 20 m band, all dates."""
    count = len(times)
    pixels = np.arange(count * 24, dtype=np.uint16).reshape(count, 4, 6)
    return xr.Dataset(
        {
            "B04": (("time", "y", "x"), pixels),
            "B11": (("time", "y20", "x20"), pixels[:, ::2, ::2]),
            "B08": (("time", "y", "x"), pixels + 1000),
            **extra,
        },
        coords={
            "time": times,
            "y": 5000.0 - 10 * np.arange(4),
            "x": 200.0 + 10 * np.arange(6),
            "y20": 4995.0 - 20 * np.arange(2),
            "x20": 205.0 + 20 * np.arange(3),
        },
    )


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


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "float64",
        "float16",
        "int32",
        "int64",
        "uint8",
        ">u2",
        ">f4",
    ],
)
def test_integer_values_of_other_dtypes_are_cast(dtype: str) -> None:
    ds = small()
    want = ds["B04"].values
    ds["B04"] = ds["B04"].astype(dtype)
    got = series_from_dataset(ds).pixels[0]
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got[:, 0], want)


def test_nan_is_nodata() -> None:
    ds = small()
    ds["B04"] = ds["B04"].astype("float32").where(ds["x"] > 220)
    ds["SCL"] = (("time", "y", "x"), np.full((3, 4, 6), np.nan))
    series = series_from_dataset(ds)
    assert (series.pixels[0][:, 0, :, :3] == 0).all()
    assert (series.pixels[0][1:, 0, :, 3:] > 0).all()
    assert series.classes.dtype == np.uint8
    assert not series.classes.any()


BROKEN: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "reflectance": (
        lambda ds: ds.assign(B04=ds["B04"] / 10000),
        "variable B04 holds 0.0001, want integers; give DN = reflectance x 10000",
    ),
    "negative": (
        lambda ds: ds.assign(B04=ds["B04"].astype("int32") - 1),
        "variable B04 holds -1, want 0 to 65535",
    ),
    "too large": (
        lambda ds: ds.assign(B04=ds["B04"].astype("uint32") + 65530),
        "variable B04 holds 65536, want 0 to 65535",
    ),
    "infinite": (
        lambda ds: ds.assign(B04=ds["B04"] + np.inf),
        "variable B04 holds inf, want 0 to 65535",
    ),
    "complex": (lambda ds: ds.astype("complex64"), "variable B04 is complex64, want integers"),
    "text": (lambda ds: ds.astype(str), "variable B04 is <U"),
    "boolean band": (
        lambda ds: ds.assign(B04=ds["B04"] > 3),
        "variable B04 is bool, want integers",
    ),
    "both masks": (
        lambda ds: ds.assign(SCL=ds["B04"].astype("uint8"), mask=ds["B04"] > 3),
        "both SCL and mask",
    ),
    "fuzzy mask": (
        lambda ds: ds.assign(mask=ds["B04"] / 2),
        "variable mask holds 0.5, want integers; mask is boolean",
    ),
    "mask values": (lambda ds: ds.assign(mask=ds["B04"]), "variable mask holds 2, want 0 to 1"),
    "SCL values": (
        lambda ds: ds.assign(SCL=ds["B04"] + 250),
        "variable SCL holds 256, want 0 to 255",
    ),
    "no bands": (lambda ds: ds[["time"]], "no band; it has no variables"),
    "only a mask": (lambda ds: ds[["B04"]].rename(B04="SCL"), "no band; it has SCL"),
    "static": (
        lambda ds: ds.assign(dem=ds["B04"].isel(time=0, drop=True)),
        r"variable dem has dims \(y, x\), want \(time, y, x\).*ds.drop_vars\('dem'\)",
    ),
    "band dim": (
        lambda ds: ds[["B04", "B08"]].to_dataarray("band").to_dataset(name="dn"),
        r"variable dn has dims \(band, time, y, x\).*to_dataset\('band'\)",
    ),
    "lat lon": (
        lambda ds: ds.rename(y="lat", x="lon"),
        r"variable B04 has dims \(time, lat, lon\).*rename\(lat='y', lon='x'\)",
    ),
    "crossed suffixes": (
        lambda ds: ds.assign(B05=ds["B04"].rename(x="x60").drop_vars("x60")),
        r"variable B05 has dims \(time, y, x60\)",
    ),
    "no time": (lambda ds: ds.isel(time=0, drop=True), r"no dim time.*expand_dims\(time=\["),
    "time as scalar": (lambda ds: ds.isel(time=0), r"no dim time.*expand_dims\('time'\)"),
    "an array": (lambda ds: ds["B04"], "want an xarray.Dataset.*got DataArray"),
    "no dates": (lambda ds: ds.isel(time=slice(0, 0)), "no dates"),
    "time without coordinates": (lambda ds: ds.drop_vars("time"), "datetime64.*no coordinate"),
    "time as numbers": (lambda ds: ds.assign_coords(time=[1, 2, 3]), "datetime64.*it has int64"),
    "NaT": (
        lambda ds: ds.assign_coords(time=np.array(["2024-01-01", "NaT", "2025"], "M8[s]")),
        "time 1 is NaT",
    ),
    "twice": (lambda ds: ds.isel(time=[0, 1, 1, 2]), "time 2024-05-06T10:30:31 stands twice"),
    "twice in a second": (
        lambda ds: ds.assign_coords(time=TIMES[0] + np.array([0, 1, 10**9], "m8[ns]")),
        "time 2024-05-01T00:00:00 stands twice",
    ),
    "empty": (lambda ds: ds.isel(y=slice(0, 0)), "variable B04 is empty"),
    "coordinates twice": (
        lambda ds: ds.assign_coords(x=[1.0, 2, 2, 3, 4, 5]),
        "coordinate x is not strictly rising or falling",
    ),
    "coordinates NaN": (
        lambda ds: ds.assign_coords(x=[1.0, 2, np.nan, 3, 4, 5]),
        "coordinate x is not strictly rising or falling",
    ),
    "coordinates text": (
        lambda ds: ds.assign_coords(x=list("abcdef")),
        "coordinate x is <U1, want numbers",
    ),
    "mask elsewhere": (
        lambda ds: ds.assign(SCL=ds["B04"].astype("uint8").rename(y="yq", x="xq")).assign_coords(
            yq=np.arange(4.0), xq=np.arange(6.0)
        ),
        "SCL lies off the ground of B04: its yq runs from 0 to 3",
    ),
    "no CRS": (
        lambda ds: ds.assign_coords(spatial_ref=((), 0, {"crs_wkt": "PROJCS[nonsense"})),
        "spatial_ref holds 'PROJCS.nonsense', which is no CRS",
    ),
    "number as name": (lambda ds: ds.assign({7: ds["B04"]}), "variable 7 is not named by a string"),
    "other axis": (
        lambda ds: ds.assign(srf=("wavelength", np.zeros(5))),
        r"variable srf has dims \(wavelength\)",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_rule_is_told_in_one_line(broken: str) -> None:
    change, said = BROKEN[broken]
    with pytest.raises(CorruptInputError, match=said) as caught:
        series_from_dataset(change(small()))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "mapping",
    [
        {"spatial_ref": {"crs_wkt": WKT}},
        {"spatial_ref": {"spatial_ref": np.bytes_(WKT.encode())}},
        {"crs": {"crs_wkt": WKT, "grid_mapping_name": "whatever"}},
        {"crs": {"crs_wkt": "EPSG:4326"}, "spatial_ref": {"crs_wkt": WKT}},
    ],
)
def test_the_crs_is_found_where_writers_put_it(mapping: dict[str, Any]) -> None:
    ds = small()
    for name, attrs in mapping.items():
        ds[name] = ((), 0, attrs)  # a data variable: files opened without decode_coords="all"
    ds["B04"].attrs["grid_mapping"] = "crs"
    series = series_from_dataset(ds)
    assert series.crs_wkt == WKT
    back = dataset_from_series(series)
    assert [name for name in back.variables if back[name].ndim == 0] == ["spatial_ref"]
    assert "grid_mapping" not in back["B04"].attrs
    assert back["B04"].encoding["grid_mapping"] == "spatial_ref"


def test_the_crs_becomes_wkt_and_cf_parameters() -> None:
    ds = small().drop_vars(["B11", "y20", "x20"])
    ds = ds.assign_coords(spatial_ref=((), 0, {"crs_wkt": "EPSG:3035"}))
    attrs = dataset_from_series(series_from_dataset(ds))["spatial_ref"].attrs
    assert attrs["crs_wkt"] == attrs["spatial_ref"]
    assert attrs["crs_wkt"].startswith('PROJCRS["ETRS89')
    assert attrs["grid_mapping_name"] == "lambert_azimuthal_equal_area"
    assert [float(n) for n in attrs["GeoTransform"].split()] == [195, 10, 0, 5005, 0, -10]
    from_cf_alone = {k: v for k, v in attrs.items() if k not in ("crs_wkt", "spatial_ref")}
    ds["spatial_ref"].attrs = from_cf_alone
    assert "Lambert Azimuthal Equal Area" in series_from_dataset(ds).crs_wkt


def test_no_geotransform_speaks_for_several_grids() -> None:
    ds = small().assign_coords(spatial_ref=((), 0, {"crs_wkt": WKT}))
    assert "GeoTransform" not in dataset_from_series(series_from_dataset(ds))["spatial_ref"].attrs


def test_scalars_become_attributes() -> None:
    ds = small().assign_coords(tile="32TQM", cloud=np.float32(0.5)).assign_attrs(tile="kept")
    assert series_from_dataset(ds).attrs == {"tile": "kept", "cloud": 0.5}


def test_odd_attributes_become_json() -> None:
    ds = small().assign_attrs(
        {
            "a": np.float32(1.5),
            "b": np.arange(3),
            "c": (1, 2),
            "d": Path("x"),
            "e": {"f": np.int8(1)},
            "g": np.nan,
            "h": b"raw",
            "i": np.datetime64("2024-01-01"),
            "j": np.longdouble(2),
            3: True,
        }
    )
    assert series_from_dataset(ds).attrs == {
        "a": 1.5,
        "b": [0, 1, 2],
        "c": [1, 2],
        "d": "x",
        "e": {"f": 1},
        "g": "nan",
        "h": "raw",
        "i": "2024-01-01",
        "j": 2.0,
        "3": True,
    }


def test_frames_of_several_appends_line_up() -> None:
    """Later frames may lack a column of the first, have another, or hold another type."""
    first = small(TIMES[:2])
    first["id"] = ("time", ["a", "b"])
    first["orbit"] = ("time", np.array([7, 8], np.uint8))
    first["share"] = ("time", np.array([0.5, np.inf], np.float32))
    head = series_from_dataset(first)
    tail = series_from_dataset(small(TIMES[2:], note=("time", ["late"]), share=("time", ["?"])))
    joined = Series(
        times=np.concatenate([head.times, tail.times]),
        grids=head.grids,
        pixels=tuple(np.concatenate(pair) for pair in zip(head.pixels, tail.pixels, strict=True)),
        mask=head.mask,
        classes=np.zeros((3, 0, 0), np.uint8),
        attrs=head.attrs,
        provenance=head.provenance + tail.provenance,
        band_attrs=head.band_attrs,
    )
    back = dataset_from_series(joined)
    assert back["time"].size == 3
    assert back["id"].values.tolist() == ["a", "b", ""]
    assert back["note"].values.tolist() == ["", "", "late"]
    np.testing.assert_array_equal(back["orbit"].values, [7, 8, np.nan])
    assert back["share"].values.tolist() == [0.5, "inf", "?"]


def test_missing_cells_of_an_object_column_are_empty() -> None:
    ds = small()
    ds["id"] = ("time", np.array(["a", np.nan, None], dtype=object))
    assert dataset_from_series(series_from_dataset(ds))["id"].values.tolist() == ["a", "", ""]


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
