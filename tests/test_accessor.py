"""``ds.stvc``: masks, shares, the cloud-free view, NDVI with its error bar, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr

import stvc
from stvc.errors import CorruptInputError
from stvc.masks import SCL_UNCLEAR

GROUPS = {"": ("B02", "B03", "B04", "B08"), "20": ("B8A",)}


def scene() -> xr.Dataset:
    ds = scenes.dataset(4, (24, 32), groups=GROUPS, mask="SCL", mask_suffix="20", crs=True)
    for band in GROUPS[""]:
        ds[band][3, :, 30:] = 0  # beyond the swath
    return ds


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("accessor") / "field.stvc"
    stvc.encode(scene(), path)
    return path


def opened(path: Path, **options: Any) -> xr.Dataset:
    return xr.open_dataset(path, engine="stvc", **options)


def hidden(ds: xr.Dataset) -> np.ndarray[Any, Any]:
    return scenes.hidden_on(ds, "B04")


def test_info_and_bands(field: Path) -> None:
    ds = opened(field)
    assert ds.stvc.info()["frames"] == 4
    assert ds.stvc.bands == ["B02", "B03", "B04", "B08", "B8A"]
    assert "field.stvc" in ds.stvc._repr_html_()


def test_clear_pixels_and_their_share(field: Path) -> None:
    ds, want = opened(field), scene()
    clear = ~hidden(want) & (want.B04.values > 0)
    np.testing.assert_array_equal(ds.stvc.clear(), clear)
    np.testing.assert_allclose(ds.stvc.clear_fraction, clear.mean((1, 2)), atol=1e-6)
    np.testing.assert_array_equal(
        ds.stvc.clear("B8A"), ~np.isin(want.SCL, sorted(SCL_UNCLEAR)) & (want.B8A > 0)
    )


@pytest.mark.parametrize("scaled", [True, False])
def test_masking_makes_nodata(field: Path, scaled: bool) -> None:
    ds = opened(field, mask_and_scale=scaled)
    masked = ds.stvc.mask()
    away = np.isnan(masked.B04.values) if scaled else masked.B04.values == 0
    np.testing.assert_array_equal(away, ~ds.stvc.clear().values)
    assert masked.B04.dtype == ds.B04.dtype
    np.testing.assert_array_equal(masked.B04.values[~away], ds.B04.values[~away])
    assert ds.B04.values.sum() != masked.B04.values.sum()  # the original stays


def test_masking_by_chosen_classes(field: Path) -> None:
    ds = opened(field)
    flags = np.isin(ds.SCL.values, (5, 9)).repeat(2, 1).repeat(2, 2)
    by_name = ds.stvc.mask(["not_vegetated", "cloud_high_probability"])
    np.testing.assert_array_equal(np.isnan(by_name.B08), flags | np.isnan(ds.B08.values))
    xr.testing.assert_equal(by_name, ds.stvc.mask([5, 9]))
    with pytest.raises(CorruptInputError, match="no scene class 'fog'; there are no_data"):
        ds.stvc.mask(["fog"])


def test_masking_stays_lazy(field: Path) -> None:
    masked = opened(field, chunks={}).stvc.mask()
    assert masked.B04.chunks is not None
    np.testing.assert_array_equal(masked.B04, opened(field).stvc.mask().B04)


@pytest.mark.parametrize("clouds", ["drop", "coarse", "keep"])
def test_filled_pixels_are_predictions_and_marked(tmp_path: Path, clouds: str) -> None:
    ds = scene()
    stvc.encode(ds, tmp_path / "a.stvc", clouds=clouds, quality=60)
    plain = opened(tmp_path / "a.stvc", mask_and_scale=False)
    filled = plain.stvc.fill()
    want = hidden(ds) & (ds.B04.values > 0)
    np.testing.assert_array_equal(filled.filled, want)
    np.testing.assert_array_equal(filled.B04.values[~want], plain.B04.values[~want])
    assert filled.filled20.dims == ("time", "y20", "x20")
    truth = scenes.ground(0, 4, 4, (24, 32))[:, 2].astype(float)  # the place without its clouds
    off = np.abs(filled.B04.values - truth)[want].mean()
    clouded = np.abs(ds.B04.values - truth)[want].mean()
    assert off < 0.25 * clouded
    if clouds == "drop":
        np.testing.assert_array_equal(filled.B04, plain.B04)
    with stvc.open(tmp_path / "a.stvc") as archive:
        same = archive.to_xarray(fill=True)
        for name in ("B04", "B8A", "filled", "filled20", "SCL"):
            np.testing.assert_array_equal(same[name], filled[name])
        blank = archive.to_xarray(fill=False, bands=["B04"], time="2021-03-09")
    np.testing.assert_array_equal(blank.B04[0].values == 0, want[1] | (ds.B04.values[1] == 0))
    lazily = opened(tmp_path / "a.stvc", mask_and_scale=False, fill=False)
    np.testing.assert_array_equal(lazily.B04[1], blank.B04[0])
    assert "filled" not in lazily
    again = opened(tmp_path / "a.stvc", mask_and_scale=False, fill=True)
    np.testing.assert_array_equal(again.B04, filled.B04)  # after fill=False, from one cache


def test_filling_keeps_the_selection(field: Path) -> None:
    ds = opened(field, chunks={})
    part = ds[["B08"]].isel(time=[3, 1], y=slice(4, 9), x=slice(None, None, -2)).sel(x=600_115.0)
    filled = part.stvc.fill()
    assert filled.B08.shape == (2, 5)
    assert list(filled.data_vars) == ["B08", "filled"]
    assert filled.B08.chunks is not None
    np.testing.assert_array_equal(filled.time, part.time)
    np.testing.assert_array_equal(filled.B08, part.B08)
    one = ds.isel(time=2).stvc.fill()
    assert "time" not in one.dims
    assert one.filled.shape == (24, 32)
    from_archive = stvc.open(field).to_xarray(bands=["B04"]).stvc.fill()
    assert from_archive.B04.dtype == np.uint16


def test_filling_needs_the_archive(field: Path) -> None:
    with pytest.raises(CorruptInputError, match="B02 was computed"):
        (opened(field) * 2).stvc.fill()
    ds = opened(field)
    with pytest.raises(CorruptInputError, match="B08 was computed"):
        ds.assign(B08=ds.B08 / 2).stvc.ndvi()
    with pytest.raises(CorruptInputError, match="does not know its archive"):
        opened(field).astype("f8").stvc.fill()
    moved = opened(field)
    moved["x"] = moved.x + 5
    with pytest.raises(CorruptInputError, match="x are not those of"):
        moved.stvc.fill()


def test_a_cloudless_archive_has_nothing_to_fill(tmp_path: Path) -> None:
    ds = scenes.dataset(1, (1, 1), groups={"": ("height",)})
    stvc.encode(ds, tmp_path / "a.stvc")
    found = opened(tmp_path / "a.stvc").stvc.fill()
    assert not found.filled.any()
    assert opened(tmp_path / "a.stvc").stvc.clear_fraction.values == [1.0]


def test_errors_on_record(field: Path) -> None:
    ds, want = opened(field, mask_and_scale=False), scene()
    errors = ds.stvc.errors()
    clear = ~hidden(want) & (want.B04.values > 0)
    bands = [ds[b].values.astype(float) - want[b].values.astype(float) for b in GROUPS[""]]
    for k in range(4):
        miss = np.stack([band[k][clear[k]] for band in bands])
        assert errors.max_error_B04[k] == np.abs(miss).max()
        assert errors.rmse_B08[k] == pytest.approx(np.sqrt((miss**2).mean()), rel=0.03)


def test_ndvi_and_its_error_bar(tmp_path: Path) -> None:
    ds = scenes.dataset(4, (48, 48), mask="mask", seed=4, cloudy=(2,))
    stvc.encode(ds, tmp_path / "a.stvc", quality=30)
    found = opened(tmp_path / "a.stvc").stvc.ndvi()
    clear = ~ds["mask"].values

    def ndvi(of: xr.Dataset) -> np.ndarray[Any, Any]:
        n, r = (of[b].values.astype(float) for b in ("B08", "B04"))
        return (n - r) / (n + r)

    decoded = ndvi(opened(tmp_path / "a.stvc", mask_and_scale=False))
    np.testing.assert_allclose(found.ndvi.values[clear], decoded[clear], atol=1e-5)
    assert np.isnan(found.ndvi.values[~clear]).all()
    assert np.isnan(found.ndvi_error.values[~clear]).all()
    real = np.abs(decoded - ndvi(ds))
    assert (real[clear] <= found.ndvi_bound.values[clear] + 1e-5).all()
    ratio = np.sqrt((found.ndvi_error.values[clear] ** 2).mean() / (real[clear] ** 2).mean())
    assert 0.7 < ratio < 1.6
    assert opened(tmp_path / "a.stvc").stvc.ndvi(error=False).name == "ndvi"


def test_the_error_bar_of_a_selection(field: Path) -> None:
    ds = opened(field)
    whole = ds.stvc.ndvi()
    part = ds.isel(time=[2, 0], x=slice(3, 8)).stvc.ndvi()
    xr.testing.assert_allclose(part, whole.isel(time=[2, 0], x=slice(3, 8)))
    one = ds.isel(time=2).stvc.ndvi()
    np.testing.assert_allclose(one.ndvi_error, whole.ndvi_error[2], rtol=1e-6)
    lazy = opened(field, chunks={}).stvc.ndvi()
    assert lazy.ndvi_error.chunks is not None
    np.testing.assert_allclose(lazy.ndvi_error, whole.ndvi_error, rtol=1e-5)


def test_a_lossless_archive_has_no_error(tmp_path: Path) -> None:
    stvc.encode(scene(), tmp_path / "a.stvc", lossless=True)
    found = opened(tmp_path / "a.stvc").stvc.ndvi()
    assert float(found.ndvi_error.max()) == 0
    assert float(found.ndvi_bound.max()) == 0


def test_the_three_lines_every_analyst_types(field: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    ds = opened(field)
    assert "B04" in repr(ds)
    assert "B04" in ds._repr_html_()
    grid = ds.B04.plot(col="time")
    assert len(grid.axs.flat) == 4
    curve = ((ds.B08 - ds.B04) / (ds.B08 + ds.B04)).mean(("x", "y"))
    assert curve.shape == (4,)
    assert np.isfinite(curve).all()
    pyplot.close("all")


@pytest.mark.parametrize("scaled", [True, False])
def test_quicklook(field: Path, scaled: bool) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    ds = opened(field, mask_and_scale=scaled)
    drawn = ds.stvc.quicklook("2021-03-09")
    picture = drawn.get_images()[0].get_array()
    assert picture.shape == (24, 32, 3)
    assert picture.std() > 0.05
    assert drawn.get_title().startswith("2021-03-09 10:40 UTC, B04/B03/B02")
    clearest = ds.stvc.quicklook(bands=["B8A"]).get_title()
    assert "B8A" in clearest
    with pytest.raises(CorruptInputError, match="give one or three of B02"):
        ds.stvc.quicklook(bands=["B04", "B08"])
    pyplot.close("all")


def test_decode_fill_on_the_command_line(field: Path, tmp_path: Path) -> None:
    from stvc.cli.app import run

    assert run(["decode", str(field), "-o", str(tmp_path / "free.nc"), "--fill", "-q"]) == 0
    with xr.open_dataset(tmp_path / "free.nc", engine="netcdf4", mask_and_scale=False) as written:
        want = opened(field, mask_and_scale=False, fill=True)
        np.testing.assert_array_equal(written.filled, want.filled)
        np.testing.assert_array_equal(written.B04, want.B04)
    rasterio = pytest.importorskip("rasterio")
    out = tmp_path / "tiles"
    assert run(["decode", str(field), "-o", str(out), "--fill", "-q", "--date", "2021-03-09"]) == 0
    marks = [path for path in out.iterdir() if "filled" in path.name]
    assert len(marks) == 2
    with rasterio.open(next(path for path in marks if "filled20" not in path.name)) as file:
        np.testing.assert_array_equal(file.read(1) != 0, want.filled[1])
