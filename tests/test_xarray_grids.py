"""Native grids as a tree, one at a time, or all on one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr

import stvc
from stvc.xarray_backend import decode_counts
from stvc.xarray_backend.resample import axis_map


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("grids") / "field.stvc"
    groups = {"": ("B04", "B08"), "20": ("B8A",), "60": ("B01",)}
    ds = scenes.dataset(3, (24, 36), groups=groups, mask="SCL", mask_suffix="20", crs=True)
    ds["B04"][0, 0, 0] = ds["B08"][0, 0, 0] = 0
    ds["product_id"] = ("time", ["a", "b", "c"])
    stvc.encode(ds, path, lossless=True)
    return path


def opened(path: Path, **options: Any) -> xr.Dataset:
    return xr.open_dataset(path, engine="stvc", **{"mask_and_scale": False, **options})


def test_a_tree_has_a_group_for_every_resolution(field: Path) -> None:
    before = decode_counts()
    tree = xr.open_datatree(field, engine="stvc", mask_and_scale=False)
    assert (decode_counts() - before).units == 0
    assert list(tree.children) == ["r10m", "r20m", "r60m"]
    flat = opened(field)
    assert dict(tree["r20m"].sizes) == {"time": 3, "y": 12, "x": 18}
    np.testing.assert_array_equal(tree["r20m/B8A"], flat.B8A)
    np.testing.assert_array_equal(tree["r20m/SCL"], flat.SCL)
    np.testing.assert_array_equal(tree["r60m/x"], flat.x60)
    assert "SCL" not in tree["r10m"]
    assert tree.product_id.values.tolist() == ["a", "b", "c"]
    assert tree.attrs["title"] == "synthetic"
    assert tree["r10m"].spatial_ref.attrs["GeoTransform"].split()[1] == "10.0"
    assert tree["r60m"].spatial_ref.attrs["GeoTransform"].split()[1] == "60.0"


def test_a_tree_with_chunks_and_reflectance(field: Path) -> None:
    tree = xr.open_datatree(field, engine="stvc", chunks={})
    band = tree["r20m/B8A"]
    assert band.chunks == ((3,), (12,), (18,))
    np.testing.assert_allclose(band, opened(field).B8A * 1e-4, rtol=1e-6)


def test_one_group_of_a_tree(field: Path) -> None:
    one = opened(field, group="/r20m")
    assert list(one.data_vars) == ["B8A", "SCL", "product_id"]
    tree = xr.open_datatree(field, engine="stvc", group="r20m", mask_and_scale=False)
    np.testing.assert_array_equal(tree.B8A, one.B8A)


def test_everything_at_ten_meters_repeats_coarser_pixels(field: Path) -> None:
    flat, fine = opened(field), opened(field, resolution=10)
    assert dict(fine.sizes) == {"time": 3, "y": 24, "x": 36}
    np.testing.assert_array_equal(fine.B8A, flat.B8A.values.repeat(2, 1).repeat(2, 2))
    np.testing.assert_array_equal(fine.B01, flat.B01.values.repeat(6, 1).repeat(6, 2))
    np.testing.assert_array_equal(fine.SCL, flat.SCL.values.repeat(2, 1).repeat(2, 2))
    np.testing.assert_array_equal(fine.B04, flat.B04)
    assert fine.B8A.attrs["resampling"] == "nearest from 20"
    assert "resampling" not in fine.B04.attrs
    part = fine.B8A.isel(y=slice(5, 8), x=[30, 3])
    np.testing.assert_array_equal(part, fine.B8A.values[:, 5:8][:, :, [30, 3]])


def test_everything_at_sixty_meters_averages_finer_pixels(field: Path) -> None:
    flat, coarse = opened(field), opened(field, resolution=60)
    assert dict(coarse.sizes) == {"time": 3, "y": 4, "x": 6}
    want = flat.B04.values.reshape(3, 4, 6, 6, 6).astype(float)
    assert np.abs(coarse.B04.values[1:] - want[1:].mean((2, 4))).max() <= 1
    first = want[0, 0, :, 0].reshape(-1)  # holds one pixel of nodata, which does not count
    assert abs(coarse.B04.values[0, 0, 0] - first[1:].sum() / 35) <= 1.5
    np.testing.assert_array_equal(coarse.B01, flat.B01)
    assert set(np.unique(coarse.SCL)) <= set(np.unique(flat.SCL))
    assert coarse.B04.attrs["resampling"] == "mean from 10"


def test_reflectance_is_scaled_after_resampling(field: Path) -> None:
    scaled = opened(field, resolution=20, mask_and_scale=True)
    np.testing.assert_allclose(scaled.B04, opened(field, resolution=20).B04 * 1e-4, rtol=1e-6)


def test_a_box_at_another_resolution_decodes_its_tiles_only(tmp_path: Path) -> None:
    ds = scenes.dataset(1, (784, 24), groups={"": ("B04",), "20": ("B8A",)}, crs=True)
    stvc.encode(ds, tmp_path / "a.stvc", quality=0)
    fine = opened(tmp_path / "a.stvc", resolution=10)
    before = decode_counts()
    assert fine.B8A.isel(y=slice(0, 30)).values.shape == (1, 30, 24)
    assert (decode_counts() - before).units == 1
    assert fine.B8A.isel(y=slice(774, 784)).values.shape == (1, 10, 24)
    assert (decode_counts() - before).units == 2


def test_an_archive_of_one_grid_is_one_group(tmp_path: Path) -> None:
    ds = scenes.dataset(1, (8, 8), groups={"": ("B04",)}, mask="mask")
    stvc.encode(ds, tmp_path / "a.stvc")
    assert list(xr.open_datatree(tmp_path / "a.stvc", engine="stvc").children) == ["grid0"]


@pytest.mark.parametrize("kind", ["band", "mask", "classes"])
def test_axes_that_do_not_nest_take_the_pixels_below(kind: str) -> None:
    native, target = np.arange(10.0), np.array([0.5, 4.2, 8.9])
    mapped = axis_map(native, target, None, kind)
    block = np.arange(10, dtype=np.uint16)[None]
    picked = np.array([2, 0])
    span = mapped.span(picked, 10)
    found = mapped.apply(block[:, span], picked, span, axis=1)
    whole = mapped.apply(block, np.arange(3), slice(0, 10), axis=1)
    np.testing.assert_array_equal(found[0], whole[0, [2, 0]])
    assert mapped.how == {"band": "mean", "mask": "any", "classes": "nearest"}[kind]
