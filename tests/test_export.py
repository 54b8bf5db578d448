"""Exports: exact pixels, where they lie, what the files say of themselves, and atomic writing."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from fake_codec import DAYS, WKT, make_info, make_series

from stvc.dataset import dataset_from_series, series_from_dataset
from stvc.errors import CorruptInputError, StvcError
from stvc.export import frames_between, write_geotiffs, write_netcdf

rasterio = pytest.importorskip("rasterio")

SETTINGS = {"psnr": 45.0, "clouds": "drop"}


def info_of(ds: xr.Dataset) -> dict[str, Any]:
    return make_info(ds, "place/field.stvc", SETTINGS, 1234)


# ---------------------------------------------------------------- selection


@pytest.mark.parametrize(
    ("first", "last", "rows"),
    [
        (None, None, [0, 1, 2, 3, 4]),
        (date(2020, 1, 11), None, [1, 2, 3, 4]),
        (None, date(2020, 1, 21), [0, 1, 2]),
        (date(2020, 1, 21), date(2020, 1, 21), [2]),
        (date(2020, 1, 2), date(2020, 1, 10), []),
    ],
)
def test_days_are_inclusive(first: date | None, last: date | None, rows: list[int]) -> None:
    chosen = frames_between([*DAYS[:4], DAYS[4] + "T23:59:59Z"], first, last)
    every = np.array([*DAYS[:4], DAYS[4] + "T23:59:59"], "datetime64[s]")
    assert chosen.dtype == np.dtype("datetime64[s]")
    np.testing.assert_array_equal(chosen, every[rows])


# ---------------------------------------------------------------- NetCDF


@pytest.mark.parametrize("mask", ["SCL", "mask", None])
def test_netcdf_holds_everything(mask: str | None, tmp_path: Path) -> None:
    ds = make_series(DAYS, mask=mask)
    kept = ds.copy(deep=True)
    path = tmp_path / "x.nc"
    assert write_netcdf(ds, path, info_of(ds)) == path
    xr.testing.assert_identical(ds, kept)  # the caller's dataset is left alone
    with xr.open_dataset(path) as read:
        assert set(read.data_vars) == set(ds.data_vars)
        for name in ds.data_vars:
            np.testing.assert_array_equal(read[name].values, ds[name].values)
            if name != "product_id":
                assert read[name].dtype == ds[name].dtype
                assert read[name].dims == ds[name].dims
        for name in ("time", "y", "x", "y20", "x20"):
            np.testing.assert_array_equal(read[name].values, ds[name].values)
        assert read.spatial_ref.attrs["crs_wkt"] == WKT
        assert read.attrs["place"] == "nowhere"
        assert read.attrs["nested"] == '{"a": null}'
        assert read.attrs["stvc_max_error_clear"] == 40.0
        assert read.attrs["stvc_settings"] == '{"psnr": 45.0, "clouds": "drop"}'
        assert read.time.encoding["units"].startswith("seconds since 1970-01-01")
        assert list(tmp_path.iterdir()) == [path]


def test_an_exported_netcdf_can_be_encoded_again(tmp_path: Path) -> None:
    ds = make_series(DAYS)
    write_netcdf(ds, tmp_path / "x.nc", info_of(ds))
    with xr.open_dataset(tmp_path / "x.nc") as read:
        ours, theirs = series_from_dataset(ds), series_from_dataset(read)
    for a, b in zip(ours.pixels, theirs.pixels, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ours.classes, theirs.classes)
    assert ours.provenance == theirs.provenance
    assert ours.crs_wkt == theirs.crs_wkt


def test_netcdf_of_what_a_dataset_may_carry(tmp_path: Path) -> None:
    ds = make_series(DAYS)
    ds["B02"].attrs = {"scale_factor": 0.0001, "flags": [1, 2], "ok": True, "none": None}
    ds["time"].attrs = {"units": "days since 2000-01-01", "calendar": "proleptic_gregorian"}
    ds["orbit"] = ("time", np.array([1, None, "x", 2.5, None], object))
    ds = ds.assign_coords(time=ds.time.values + np.timedelta64(5, "ns"))
    write_netcdf(dataset_from_series(series_from_dataset(ds)), tmp_path / "x.nc", info_of(ds))
    with xr.open_dataset(tmp_path / "x.nc", mask_and_scale=False) as read:
        np.testing.assert_array_equal(read.time.values, ds.time.values)
        np.testing.assert_array_equal(read.B02.values, ds.B02.values)
        assert read.B02.attrs["scale_factor"] == 0.0001


def test_a_failed_netcdf_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.nc"
    path.write_text("old")

    def fail(self: xr.Dataset, scratch: Path, **_: Any) -> None:
        scratch.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", fail)
    ds = make_series(DAYS)
    with pytest.raises(OSError, match="No space"):
        write_netcdf(ds, path, info_of(ds))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_writers_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = make_series(DAYS)
    monkeypatch.setattr("stvc.export.netcdf.find_spec", lambda name: None)
    with pytest.raises(StvcError, match=r"NetCDF needs .* pip install 'stvc\[export\]'"):
        write_netcdf(ds, tmp_path / "x.nc", info_of(ds))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(StvcError, match=r"GeoTIFF needs .* pip install 'stvc\[export\]'"):
        write_geotiffs(ds, tmp_path / "x", info_of(ds))


# ---------------------------------------------------------------- GeoTIFF


def test_one_geotiff_per_date_and_grid(tmp_path: Path) -> None:
    ds = make_series(DAYS)
    files = write_geotiffs(ds, tmp_path / "a" / "b", info_of(ds))
    days = ["20200101", "20200111", "20200121T093015", "20200131", "20200210"]
    assert [path.name for path in files] == [
        f"field_{day}_{label}.tif" for day in days for label in ("10m", "20m", "SCL")
    ]
    assert sorted(path.name for path in files) == sorted(
        path.name for path in (tmp_path / "a" / "b").iterdir()
    )
    for frame in range(len(DAYS)):
        for path, names, suffix in zip(
            files[3 * frame :],
            (("B02", "B04", "B08"), ("B11",), ("SCL",)),
            ("", "20", ""),
            strict=False,
        ):
            with rasterio.open(path) as raster:
                pixels = raster.read()
                assert raster.descriptions == names
                assert raster.nodata == 0
                assert raster.crs.to_epsg() == 32633
                rows, columns = np.indices(pixels.shape[1:])
                xs, ys = raster.xy(rows[0], columns[0])[0], raster.xy(rows[:, 0], columns[:, 0])[1]
            np.testing.assert_array_equal(pixels, [ds[name].values[frame] for name in names])
            np.testing.assert_allclose(xs, ds["x" + suffix].values, rtol=0, atol=1e-6)
            np.testing.assert_allclose(ys, ds["y" + suffix].values, rtol=0, atol=1e-6)


def test_geotiffs_say_what_they_are(tmp_path: Path) -> None:
    ds = make_series(DAYS)
    ds["B04"].attrs = {"scale_factor": 0.5, "add_offset": -3.0}
    ds = ds.rename(B08="sigma0")
    files = write_geotiffs(ds, tmp_path, info_of(ds))
    with rasterio.open(files[6]) as raster:
        assert raster.scales == (1e-4, 0.5, 1.0)  # Sentinel-2's, the dataset's own, unknown
        assert raster.offsets == (0.0, -3.0, 0.0)
        tags = raster.tags()
        assert raster.dtypes == ("uint16",) * 3
    assert tags["TIFFTAG_DATETIME"] == "2020:01:21 09:30:15"
    assert tags["product_id"] == "S2A_2020-01-21"
    assert tags["stvc_max_error_clear"] == "40.0"


def test_south_up_and_single_pixels_and_no_crs(tmp_path: Path) -> None:
    flipped = make_series(DAYS[:1]).isel(y=slice(None, None, -1))
    north_up = write_geotiffs(make_series(DAYS[:1]), tmp_path / "up", info_of(flipped))[0]
    turned = write_geotiffs(flipped, tmp_path / "down", info_of(flipped))[0]
    with rasterio.open(north_up) as a, rasterio.open(turned) as b:
        np.testing.assert_array_equal(a.read(), b.read())
        assert a.transform == b.transform

    row = make_series(DAYS[:1], ("B02",)).isel(y=[3]).drop_vars(["y20", "x20"])
    with rasterio.open(write_geotiffs(row, tmp_path / "row", info_of(row))[0]) as raster:
        assert (raster.res, raster.shape) == ((10.0, 10.0), (1, 8))
        assert raster.xy(0, 0) == (row.x.values[0], row.y.values[0])
    pixel = row.isel(x=[2])
    pixel.spatial_ref.attrs["GeoTransform"] = "400020.0 30.0 0.0 5000000.0 0.0 -30.0"
    with rasterio.open(write_geotiffs(pixel, tmp_path / "px", info_of(pixel))[0]) as raster:
        assert raster.res == (30.0, 30.0)

    bare = make_series(DAYS[:2], mask="mask").drop_vars(["spatial_ref", "y", "x", "y20", "x20"])
    files = write_geotiffs(bare, tmp_path / "bare", {**info_of(bare), "crs": ""})
    assert [path.stem for path in files[:3]] == [
        "field_20200101_grid",
        "field_20200101_grid20",
        "field_20200101_mask",
    ]
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        raster = rasterio.open(files[0])
    with raster:
        assert raster.crs is None
        np.testing.assert_array_equal(raster.read(2), bare.B04.values[0])


def test_one_geotiff_by_name(tmp_path: Path) -> None:
    ds = make_series(DAYS[:1], ("B04", "B08"))
    path = tmp_path / "one.TIF"
    assert write_geotiffs(ds, path, info_of(ds)) == [path]
    with rasterio.open(path) as raster:
        assert raster.descriptions == ("B04", "B08")
    with pytest.raises(ValueError, match="2 dates on 1 grids"):
        write_geotiffs(make_series(DAYS[:2], ("B04",)), path, info_of(ds))
    with pytest.raises(ValueError, match="1 dates on 2 grids"):
        write_geotiffs(make_series(DAYS[:1]), path, info_of(ds))
    assert list(tmp_path.iterdir()) == [path]


def test_a_large_raster_is_tiled(tmp_path: Path) -> None:
    ds = make_series(DAYS[:1], ("B02",), size=520)
    with rasterio.open(write_geotiffs(ds, tmp_path, info_of(ds))[0]) as raster:
        assert raster.block_shapes == [(256, 256)]
        np.testing.assert_array_equal(raster.read(1), ds.B02.values[0])


# ---------------------------------------------------------------- the picture


def test_the_picture_compares_what_both_have(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from stvc.comparison import compare
    from stvc.picture import draw

    original = make_series(DAYS)
    decoded = make_series(DAYS[1:]).copy(deep=True)
    decoded["B04"] = decoded.B04 + np.uint16(3)
    pair = compare(original, decoded)
    assert pair.bands == ("B02", "B04", "B08")
    assert len(pair.times) == 4
    np.testing.assert_allclose(pair.clear_share, 0.75)
    error = pair.error(0)
    assert np.isnan(error[:2]).all()  # the clouded rows
    np.testing.assert_allclose(error[2:], np.sqrt(3**2 / 3), rtol=1e-6)
    before, what = pair.index_curve(pair.original)
    red, nir = (original[band].values[1, 2:].astype(float) for band in ("B04", "B08"))
    assert what == "NDVI"
    assert before[0] == pytest.approx(((nir - red) / (nir + red)).mean(), rel=1e-5)

    path = draw(original, decoded, info_of(decoded), tmp_path / "p.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    from matplotlib.image import imread

    picture = imread(path)
    assert min(picture.shape[:2]) > 1000
    assert picture[..., :3].std() > 0.1


@pytest.mark.parametrize(("bands", "mask"), [(("B11",), None), (("B02",), "mask")])
def test_a_picture_of_little(bands: tuple[str, ...], mask: str | None, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from stvc.picture import draw

    unused = ["y", "x"] if mask is None else []
    ds = make_series(DAYS[:1], bands, mask=mask).drop_vars(unused)
    info = {**info_of(ds), "psnr_clear": float("inf"), "ndvi_mae_clear": None}
    assert draw(ds, ds, info, tmp_path / "p.png").stat().st_size > 10_000


def test_a_picture_of_other_ground_is_refused(tmp_path: Path) -> None:
    from stvc.comparison import compare

    with pytest.raises(CorruptInputError, match="same area of interest"):
        compare(make_series(DAYS, size=12), make_series(DAYS, size=8))
    with pytest.raises(CorruptInputError, match="same area of interest"):
        compare(make_series(DAYS[:2]), make_series(DAYS[2:]))
