"""Attributes, CRS and coordinates of lazy datasets, against rioxarray and rasterio, and on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr
from pyproj import CRS

import stvc
from stvc.masks import SCL_MEANINGS
from stvc.xarray_backend.attributes import plain


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that is hard to write: dicts, lists, None, booleans, text and mixed columns."""
    path = tmp_path_factory.mktemp("meta") / "field.stvc"
    groups = {"": ("B03", "B04", "B08"), "20": ("B8A",)}
    ds = scenes.dataset(3, (24, 32), groups=groups, mask="SCL", mask_suffix="20", crs=True)
    ds.attrs = {
        "aoi": {"type": "Point", "coordinates": [1.5, 2]},
        "bounds": [1.0, 2.5],
        "empty": [],
        "flag": True,
        "names": ["a", "b"],
        "nothing": None,
        "tile": "T31UFS",
    }
    ds["B04"].attrs = {"origin": {"a": 1}, "gain": 2.5, "grid_mapping": "spatial_ref"}
    ds["product_id"] = ("time", ["Straße", "", "b"])
    ds["cloud_cover"] = ("time", [1.5, np.nan, 3.0])
    ds["orbit"] = ("time", [51, 94, 51])
    ds["harmonized"] = ("time", [True, False, True])
    mixed = np.empty(3, object)
    mixed[:] = ["x", None, 3]
    ds["mixed"] = ("time", mixed)
    stvc.encode(ds, path)
    return path


def opened(path: Path, **options: Any) -> xr.Dataset:
    return xr.open_dataset(path, engine="stvc", **options)


# rioxarray multiplies transforms in a way that affine would like to be rid of
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_coordinates_and_crs_are_what_rioxarray_reads(field: Path) -> None:
    import rioxarray  # noqa: F401

    ds = opened(field, group="r10m")
    assert ds.B04.rio.crs.to_epsg() == 32631
    assert ds.rio.bounds() == (600_000.0, 5_599_760.0, 600_320.0, 5_600_000.0)
    assert ds.B04.rio.resolution() == (10.0, -10.0)
    assert ds.rio.transform() == ds.rio.transform(recalc=True)
    assert ds.B04.rio.grid_mapping == "spatial_ref"
    assert ds.B04.rio.encoded_nodata == 0
    assert opened(field, group="r10m", mask_and_scale=False).B04.rio.nodata == 0
    mine = ds.drop_vars("spatial_ref").rio.write_crs("EPSG:32631").rio.write_transform()
    for key, value in mine.spatial_ref.attrs.items():
        if key not in ("crs_wkt", "spatial_ref"):  # the same CRS may be spelled differently
            assert ds.spatial_ref.attrs[key] == pytest.approx(value) or str(value) in str(
                ds.spatial_ref.attrs[key]
            ), key
    assert CRS(ds.spatial_ref.attrs["crs_wkt"]) == CRS("EPSG:32631")


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_a_band_written_by_rioxarray_is_what_rasterio_reads(field: Path, tmp_path: Path) -> None:
    import rasterio
    import rioxarray  # noqa: F401

    ds = opened(field, group="r20m", mask_and_scale=False)
    ds.B8A.isel(time=1).rio.to_raster(tmp_path / "band.tif")
    with rasterio.open(tmp_path / "band.tif") as file:
        np.testing.assert_array_equal(file.read(1), ds.B8A[1])
        assert file.crs.to_epsg() == 32631
        assert (file.transform.a, file.transform.e) == (20, -20)
        assert file.xy(0, 0) == (ds.x.values[0], ds.y.values[0])
        assert file.nodata == 0
        assert file.scales[0] == pytest.approx(1e-4)


def test_cf_attributes(field: Path) -> None:
    ds = opened(field)
    assert ds.attrs["Conventions"] == "CF-1.12"
    assert ds.B04.attrs["standard_name"] == "surface_bidirectional_reflectance"
    assert ds.B04.attrs["units"] == "1"
    assert ds.B04.encoding["grid_mapping"] == "spatial_ref"
    assert ds.x.attrs["standard_name"] == "projection_x_coordinate"
    assert ds.y.attrs["units"] == "metre"
    assert ds.time.encoding["units"] == "seconds since 1970-01-01"
    assert ds.time.encoding["dtype"] == np.int64
    flags = dict(
        zip(ds.SCL.attrs["flag_meanings"].split(), ds.SCL.attrs["flag_values"], strict=True)
    )
    assert flags == dict(zip(SCL_MEANINGS, range(12), strict=True))
    assert ds.SCL.attrs["flag_values"].dtype == ds.SCL.dtype


def test_what_was_lost_is_said_after_the_cf_pattern(field: Path) -> None:
    ds = opened(field)
    with stvc.open(field) as archive:
        info = archive.info()
    container = ds[ds.B04.attrs["quantization"]]
    assert container.attrs["algorithm"] == "stvc"
    assert container.attrs["implementation"].startswith(f"stvc version {stvc.__version__}")
    assert container.attrs["stvc_model"] == info["model"]
    assert container.attrs["stvc_format_version"] == str(info["format_version"])
    largest = max(ds.B04.attrs["stvc_max_abs_error"], ds.B8A.attrs["stvc_max_abs_error"])
    assert largest == info["max_error_clear"]
    sizes = {"B04": 3 * 24 * 32, "B8A": 12 * 16}
    square = sum(ds[b].attrs["stvc_rmse"] ** 2 * n for b, n in sizes.items())
    assert np.sqrt(square / sum(sizes.values())) == pytest.approx(info["rmse_clear"], rel=0.03)


def test_the_achieved_error_is_the_real_one(tmp_path: Path) -> None:
    ds = scenes.dataset(3, (24, 24), mask="mask", groups={"": ("B04", "B08")})
    stvc.encode(ds, tmp_path / "a.stvc", quality=30)
    found = opened(tmp_path / "a.stvc", mask_and_scale=False)
    clear = ~ds.mask.values
    off = [(found[b].values.astype(int) - ds[b].values.astype(int))[clear] for b in ("B04", "B08")]
    assert found.B04.attrs["stvc_max_abs_error"] == np.abs(off).max()
    rmse = np.sqrt((np.stack(off).astype(float) ** 2).mean())
    assert found.B04.attrs["stvc_rmse"] == pytest.approx(rmse, rel=0.02)
    stvc.encode(ds, tmp_path / "exact.stvc", lossless=True)
    exact = opened(tmp_path / "exact.stvc")
    assert exact.B04.attrs["stvc_max_abs_error"] == 0
    assert "stvc_psnr" not in exact.B04.attrs
    assert "lossless" in exact.quantization_info.attrs["comment"]


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("form", ["netcdf", "zarr2", "zarr3"])
def test_everything_survives_on_disk(field: Path, tmp_path: Path, form: str, scaled: bool) -> None:
    ds = opened(field, mask_and_scale=scaled)
    if form == "netcdf":
        ds.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
        again = xr.open_dataset(
            tmp_path / "a.nc", engine="netcdf4", mask_and_scale=scaled, decode_coords="all"
        )
    else:
        ds.to_zarr(tmp_path / "a.zarr", zarr_format=int(form[-1]), consolidated=False)
        again = xr.open_zarr(
            tmp_path / "a.zarr", mask_and_scale=scaled, decode_coords="all", consolidated=False,
            chunks=None,
        )  # fmt: skip
    with again:
        assert set(again.variables) == set(ds.variables)
        assert set(again.coords) >= {"time", "x", "y", "spatial_ref"}
        for name in ds.variables:
            if scaled and ds[name].dtype == np.float32:  # readers of files scale to float64
                np.testing.assert_allclose(again[name], ds[name], rtol=1e-6, err_msg=name)
            else:
                np.testing.assert_array_equal(again[name], ds[name], err_msg=name)
            for key, value in ds[name].attrs.items():
                if key != "_FillValue":
                    found = again[name].attrs[key]
                    np.testing.assert_array_equal(found, value, err_msg=f"{name}.{key}")
        for key, value in ds.attrs.items():
            np.testing.assert_array_equal(again.attrs[key], value)
        assert again.B04.encoding["grid_mapping"] == "spatial_ref"
        assert again.time.encoding["units"] == "seconds since 1970-01-01"
        if scaled:
            assert again.B04.encoding["dtype"] == np.uint16
            assert again.B04.encoding["scale_factor"] == 1e-4


def test_attributes_become_what_writers_take() -> None:
    found = plain(
        {"a": None, "b": [], "c": [1, 2.5], "d": ["x", "y"], "e": {"k": [1]}, "f": 2**70}
        | {"g": False}
    )
    assert "a" not in found
    assert found["b"] == "[]"
    np.testing.assert_array_equal(found["c"], [1, 2.5])
    assert found["d"] == ["x", "y"]
    assert found["e"] == '{"k": [1]}'
    assert found["f"] == str(2**70)
    assert found["g"] == "false"


def test_sensing_times_keep_their_fractions(tmp_path: Path) -> None:
    ds = scenes.dataset(2, (8, 8), groups={"": ("B04",)})
    exact = ds.time.values + np.array([123_456_789, 0], "timedelta64[ns]")
    stvc.encode(ds.assign_coords(time=exact), tmp_path / "a.stvc")
    np.testing.assert_array_equal(opened(tmp_path / "a.stvc").time, exact)


def test_no_crs_and_no_coordinates(tmp_path: Path) -> None:
    ds = scenes.dataset(1, (1, 1), groups={"": ("B04",)}).drop_vars(["x", "y"])
    stvc.encode(ds, tmp_path / "a.stvc", lossless=True)
    found = opened(tmp_path / "a.stvc", mask_and_scale=False)
    assert "spatial_ref" not in found.coords
    assert "x" not in found.coords
    assert "grid_mapping" not in found.B04.encoding
    np.testing.assert_array_equal(found.B04, ds.B04)
    found.to_netcdf(tmp_path / "a.nc")


def test_geographic_coordinates(tmp_path: Path) -> None:
    from stvc.grid import spatial_ref_attrs

    ds = scenes.dataset(1, (8, 8), groups={"": ("B04",)})
    ds = ds.assign_coords(x=5 + 1e-4 * np.arange(8), y=50 - 1e-4 * np.arange(8))
    attrs = spatial_ref_attrs(CRS("EPSG:4326").to_wkt(), ())
    ds.coords["spatial_ref"] = ((), np.int64(0), attrs)
    stvc.encode(ds, tmp_path / "a.stvc")
    found = opened(tmp_path / "a.stvc")
    assert found.x.attrs["standard_name"] == "longitude"
    assert found.y.attrs["units"] == "degrees_north"
    assert list(xr.open_datatree(tmp_path / "a.stvc", engine="stvc").children) == ["r0_0001deg"]
