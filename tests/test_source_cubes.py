"""NetCDF, Zarr and ``.npz`` cubes of other tools' making."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scenes import TEN, TWENTY, dataset
from servers.places import area

from stvc.dataset import series_from_dataset
from stvc.errors import NoDataError, SourceError
from stvc.source import get_source


def fetch(path: Any, aoi: Any = None, bands: Any = None, exclude: Any = (), **options: Any) -> Any:
    return get_source("files", path=path, **options).fetch(aoi, None, None, bands, exclude)


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    ds = dataset(
        3, (20, 24), groups={"": TEN, "20": TWENTY}, mask="SCL", mask_suffix="20", crs=True
    )
    return ds.assign_attrs(title="cube")


def box_of(ds: xr.Dataset, rows: slice, cols: slice) -> Any:
    """An area a little inside some 10 m pixels."""
    y, x = ds.y.values[rows], ds.x.values[cols]
    return area((x[0] - 4, y[-1] - 4, x[-1] + 4, y[0] + 4))


@pytest.mark.parametrize("form", ["nc", "zarr"])
def test_a_dataset_written_by_xarray(tmp_path: Path, cube: xr.Dataset, form: str) -> None:
    path = tmp_path / f"cube.{form}"
    cube.to_netcdf(path) if form == "nc" else cube.to_zarr(path, zarr_format=2)
    found = fetch(path)
    for name in cube.data_vars:
        np.testing.assert_array_equal(found[name].values, cube[name].values)
    assert found.attrs["title"] == "cube" and found.sizes == cube.sizes
    series = series_from_dataset(found)
    assert "32631" in series.crs_wkt
    part = fetch(path, box_of(cube, slice(5, 9), slice(3, 8)), ["B08", "B5"])
    # snapped to 20 m because B05 lies there: rows 4 to 10, columns 2 to 8
    np.testing.assert_array_equal(part["B08"].values, cube["B08"].values[:, 4:10, 2:8])
    np.testing.assert_array_equal(part["B05"].values, cube["B05"].values[:, 2:5, 1:4])
    assert sorted(n for n in part.data_vars) == ["B05", "B08", "SCL"]
    times = get_source("files", path=path).dates(None, None, None)
    assert fetch(path, exclude=times[:2]).sizes["time"] == 1
    assert fetch(path, exclude=times).sizes["time"] == 0
    with pytest.raises(SourceError, match="has no band B12; it has B02"):
        fetch(path, bands=["B12"])


def test_cubes_along_time_are_joined(tmp_path: Path, cube: xr.Dataset) -> None:
    cube.isel(time=[2]).to_netcdf(tmp_path / "a.nc")
    cube.isel(time=[0, 1]).to_netcdf(tmp_path / "b.nc")
    found = fetch(tmp_path)
    np.testing.assert_array_equal(found["B04"].values, cube["B04"].values)
    cube.isel(time=[1]).to_netcdf(tmp_path / "c.nc")
    with pytest.raises(SourceError, match="stands in two files"):
        fetch(tmp_path)
    cube.isel(time=[1], x=slice(2, None), x20=slice(1, None)).to_netcdf(tmp_path / "c.nc")
    with pytest.raises(SourceError, match=r"a\.nc \(.*24 x 20 .*c\.nc \(.*22 x 20 .* not have"):
        fetch(tmp_path)


def test_reflectance_and_packed_values(tmp_path: Path, cube: xr.Dataset) -> None:
    ten = cube[["B04", "B08"]]
    dn = ten["B04"].values.copy()
    dn[0, 0, 0] = 0
    floats = ten.assign(B04=ten.B04.dims and (ten.B04.dims, np.where(dn == 0, np.nan, dn / 1e4)))
    floats.to_netcdf(tmp_path / "floats.nc")
    np.testing.assert_array_equal(fetch(tmp_path / "floats.nc")["B04"].values, dn)
    packed = {"dtype": "uint16", "scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
    floats.to_netcdf(tmp_path / "packed.nc", encoding={"B04": packed})
    found = fetch(tmp_path / "packed.nc")["B04"]
    np.testing.assert_array_equal(found.values, dn)
    assert not {"scale_factor", "add_offset", "_FillValue"} & set(found.attrs)
    found = fetch(tmp_path / "packed.nc", dn_offset=0)["B04"].values
    np.testing.assert_array_equal(found, np.where(dn == 0, 0, dn + 1000))


def test_names_that_other_tools_use(tmp_path: Path, cube: xr.Dataset) -> None:
    ten = cube[list(TEN)]
    openeo = ten.rename(time="t", B04="B4")
    openeo.to_netcdf(tmp_path / "openeo.nc")
    np.testing.assert_array_equal(
        fetch(tmp_path / "openeo.nc", bands=["B04"])["B4"].values, cube["B04"].values
    )
    stacked = ten.to_dataarray("band").transpose("time", "band", "y", "x").rename("stack")
    stacked = stacked.assign_coords(band=["blue", "green", "red", "nir"])
    stacked.to_netcdf(tmp_path / "stackstac.nc")
    found = fetch(tmp_path / "stackstac.nc")
    assert list(found.data_vars) == list(TEN) and "32631" in found.spatial_ref.crs_wkt
    np.testing.assert_array_equal(found["B08"].values, cube["B08"].values)
    numbered = stacked.assign_coords(band=[1, 2, 3, 4])
    numbered.to_netcdf(tmp_path / "numbered.nc")
    with pytest.raises(SourceError, match="called 1, 2, 3, 4 .* --band-names"):
        fetch(tmp_path / "numbered.nc")
    assert list(fetch(tmp_path / "numbered.nc", band_names="B2,B3,B4,B8")) == list(TEN)
    one = ten.isel(time=0, drop=True)
    one.to_netcdf(tmp_path / "S2_20210304.nc")
    assert str(fetch(tmp_path / "S2_20210304.nc").time.values[0])[:10] == "2021-03-04"


def test_npz_cubes(tmp_path: Path, cube: xr.Dataset) -> None:
    pixels = np.stack([cube[name].values for name in TEN], axis=1)
    scl = np.full((3, 20, 24), 4, np.uint8)
    meta = {"crs": "EPSG:32631", "x0": 600005.0, "y0": 5599995.0, "res": 10, "note": "about"}
    arrays = {"x": pixels, "bands": np.array(TEN), "dates": np.array(["2021-03-04"] * 3)}
    path = tmp_path / "cube.npz"
    arrays["dates"] = np.array([f"2021-03-0{day}" for day in (4, 5, 6)])
    np.savez(path, **arrays, scl=scl, mask=scl * 0, meta=json.dumps(meta))
    found = fetch(path)
    np.testing.assert_array_equal(found["B04"].values, cube["B04"].values)
    np.testing.assert_array_equal(found.x.values, cube.x.values)
    assert "SCL" in found and "mask" not in found
    cut = fetch(path, box_of(cube, slice(5, 9), slice(3, 8)))
    np.testing.assert_array_equal(cut["B04"].values, cube["B04"].values[:, 5:9, 3:8])
    np.savez(path, **arrays, mask=scl == 4)
    bare = fetch(path)
    assert bare["mask"].values.all() and "y" not in bare.coords
    np.savez(path, x=pixels, dates=arrays["dates"])
    with pytest.raises(SourceError, match="--band-names"):
        fetch(path)
    np.savez(path, x=pixels, bands=arrays["bands"])
    with pytest.raises(SourceError, match="no dates for its 3 frames"):
        fetch(path)
    np.savez(path, x=pixels, bands=np.array(list(TEN), object), dates=arrays["dates"])
    with pytest.raises(SourceError, match="cannot be read"):  # pickles could run code
        fetch(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(SourceError, match="cannot be read"):
        fetch(path)


def test_damaged_and_foreign_files(tmp_path: Path, cube: xr.Dataset) -> None:
    (tmp_path / "a.nc").write_bytes(b"CDF\x01 but not really")
    with pytest.raises(SourceError, match=r"a\.nc cannot be read"):
        fetch(tmp_path / "a.nc")
    (tmp_path / "b.zarr").mkdir()
    with pytest.raises(SourceError, match=r"b\.zarr cannot be read"):
        fetch(tmp_path / "b.zarr")
    xr.Dataset({"t2m": ("x", [1.0])}).to_netcdf(tmp_path / "era5_20210101.nc")
    with pytest.raises(SourceError, match="has no band with dims"):
        fetch(tmp_path / "era5_20210101.nc")
    cube.to_netcdf(tmp_path / "c.nc")
    source = get_source("files", path=tmp_path / "c.nc")
    with pytest.raises(NoDataError, match="has no date from 2030-01-01"):
        source.fetch(None, date(2030, 1, 1), None, None, ())
