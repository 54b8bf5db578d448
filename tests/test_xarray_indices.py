"""Spectral indices and zonal means, against plain arithmetic, spyndex and rasterio."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr
from pyproj import Transformer

import stvc
from stvc.errors import AoiError, CorruptInputError, StvcError
from stvc.indices import ndvi_bound, ndvi_error, spectral_index
from stvc.xarray_backend import decode_counts
from stvc.zonal import zonal_means

GROUPS = {"": ("B02", "B03", "B04", "B08"), "20": ("B8A", "B11")}


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("indices") / "field.stvc"
    ds = scenes.dataset(3, (24, 32), groups=GROUPS, mask="SCL", mask_suffix="20", crs=True)
    stvc.encode(ds, path, lossless=True)
    return path


def opened(path: Path, **options: Any) -> xr.Dataset:
    return xr.open_dataset(path, engine="stvc", **options)


def square(left: float, bottom: float, side: float) -> list[list[float]]:
    corners = [(0, 0), (side, 0), (side, side), (0, side), (0, 0)]
    to_wgs84 = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    return [list(to_wgs84.transform(left + x, bottom + y)) for x, y in corners]


def parcel(left: float, bottom: float, side: float, **properties: Any) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": [square(left, bottom, side)]}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


@pytest.mark.parametrize("scaled", [True, False])
def test_own_indices(field: Path, scaled: bool) -> None:
    ds = opened(field, mask_and_scale=scaled)
    dn = opened(field, mask_and_scale=False)
    b, g, r, n = (dn[name].values * 1e-4 for name in ("B02", "B03", "B04", "B08"))
    want = {
        "NDVI": (n - r) / (n + r),
        "NDWI": (g - n) / (g + n),
        "EVI": 2.5 * (n - r) / (n + 6 * r - 7.5 * b + 1),
    }
    for name, values in want.items():
        found = spectral_index(ds, name)
        seen = np.isfinite(found.values)
        assert seen.mean() > 0.9
        np.testing.assert_allclose(found.values[seen], values[seen], atol=2e-3)
        assert found.name == name.lower()
    clear = ds.stvc.clear().values
    np.testing.assert_array_equal(np.isfinite(ds.stvc.index("NDVI")), clear)


def test_other_indices_come_from_spyndex(field: Path) -> None:
    import spyndex

    ds = opened(field, resolution=20)
    found = spectral_index(ds, "ndmi")
    want = spyndex.computeIndex("NDMI", {"N": ds.B08, "S1": ds.B11})
    np.testing.assert_allclose(found, want, rtol=1e-4)
    np.testing.assert_allclose(
        spectral_index(ds, "SAVI", L=0.25), 1.25 * (ds.B08 - ds.B04) / (ds.B08 + ds.B04 + 0.25),
        rtol=1e-4,
    )  # fmt: skip


def test_indices_that_cannot_be(field: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = opened(field)
    with pytest.raises(CorruptInputError, match="NDMI: its bands lie on different grids"):
        spectral_index(ds, "NDMI")
    with pytest.raises(CorruptInputError, match="no index 'nonsense'"):
        spectral_index(ds, "nonsense")
    with pytest.raises(CorruptInputError, match="NDVI needs the bands nir, red; no red among"):
        spectral_index(ds[["B08"]], "NDVI")
    monkeypatch.setitem(sys.modules, "spyndex", None)
    with pytest.raises(StvcError, match=r"pip install 'stvc\[indices\]'"):
        spectral_index(ds, "NDMI")


def test_b8a_stands_in_for_b08(field: Path) -> None:
    ds = opened(field, resolution=20)
    np.testing.assert_array_equal(
        spectral_index(ds.drop_vars("B08"), "NDVI"),
        spectral_index(ds.drop_vars("B08").rename(B8A="B08"), "NDVI"),
    )


def test_the_error_formula_is_the_gradient() -> None:
    n, r, s = xr.DataArray(0.4), xr.DataArray(0.1), xr.DataArray(1e-4)
    rng = np.random.default_rng(0)
    off_n, off_r = rng.normal(0, 1e-4, (2, 200_000))
    moved = (n.item() + off_n - r.item() - off_r) / (n.item() + off_n + r.item() + off_r)
    assert float(ndvi_error(n, r, s)) == pytest.approx(moved.std(), rel=0.01)
    corners = [abs((0.4 + a - 0.1 - b) / (0.5 + a + b) - 0.6) for a in (-0.05, 0.05)
               for b in (-0.05, 0.05)]  # fmt: skip
    assert float(ndvi_bound(n, r, xr.DataArray(0.05))) == pytest.approx(max(corners), rel=1e-5)


def test_zonal_means_weigh_pixels_by_their_share(field: Path) -> None:
    ds = opened(field)
    collection = {
        "type": "FeatureCollection",
        "features": [
            parcel(600_020, 5_599_900, 40, crop="wheat"),
            parcel(600_105, 5_599_905, 30, crop="maize"),  # through pixel centers
            parcel(610_000, 5_599_900, 50, crop="elsewhere"),
        ],
    }
    found = zonal_means(ds, collection, "B04", name_from="crop")
    assert found.parcel.values.tolist() == ["wheat", "maize", "elsewhere"]
    np.testing.assert_allclose(found.area, [16, 9, 0], atol=0.02)
    rows, columns = slice(6, 10), slice(2, 6)
    clear = ds.stvc.clear().values[:, rows, columns]
    part = np.where(clear, ds.B04.values[:, rows, columns], np.nan)
    for k in range(3):
        want = np.nanmean(part[k]) if clear[k].any() else np.nan
        np.testing.assert_allclose(found["mean"][0, k], want, rtol=1e-3)
    np.testing.assert_allclose(found.clear_share[0], clear.mean((1, 2)), atol=1e-3)
    assert np.isnan(found["mean"][2]).all()
    table = found.to_dataframe().reset_index()
    assert len(table) == 9
    assert set(table.columns) >= {"parcel", "time", "mean", "clear_share"}


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rasterio's own
def test_zonal_means_against_rasterio(field: Path) -> None:
    """Whole pixels, as rasterio burns them: a parcel along pixel edges."""
    import geopandas
    from rasterio.features import geometry_mask
    from rasterio.transform import from_origin

    ds = opened(field)
    box = {"type": "Polygon", "coordinates": [[
        (600_050, 5_599_800), (600_250, 5_599_800), (600_250, 5_599_950), (600_050, 5_599_950),
        (600_050, 5_599_800)]]}  # fmt: skip
    inside = ~geometry_mask([box], (24, 32), from_origin(600_000, 5_600_000, 10, 10))
    parcels = geopandas.GeoDataFrame.from_features(
        [{"type": "Feature", "properties": {"id": 7}, "geometry": box}], crs="EPSG:32631"
    )
    found = ds.stvc.zonal(parcels, name_from="id")
    ndvi = spectral_index(ds, "NDVI").where(ds.stvc.clear()).values
    want = np.nanmean(np.where(inside, ndvi, np.nan)[0])
    assert found.parcel.values.tolist() == ["7"]
    np.testing.assert_allclose(found["mean"][0, 0], want, rtol=1e-5)
    assert found.area.values[0] == inside.sum()


def test_zonal_means_decode_the_tiles_under_parcels(tmp_path: Path) -> None:
    ds = scenes.dataset(1, (264, 264), groups={"": ("B04",)}, crs=True)
    stvc.encode(ds, tmp_path / "a.stvc", quality=0)
    lazy = opened(tmp_path / "a.stvc")
    before = decode_counts()
    lazy.stvc.zonal(parcel(602_570, 5_597_370, 20), "B04")  # in the last corner
    assert (decode_counts() - before).units == 1


def test_parcels_that_cannot_be(field: Path, tmp_path: Path) -> None:
    ds = opened(field)
    for wrong, told in [
        ({"type": "FeatureCollection", "features": []}, "no parcels"),
        ({"type": "Point", "coordinates": [3, 50]}, "is Point, want a polygon"),
        ({"type": "Feature", "geometry": None}, "is nothing|is no GeoJSON"),
        (tmp_path / "missing.geojson", "cannot be read"),
        ("[1]", "cannot be read"),
        (7, "parcels are int"),
        (parcel(600_000, 5_599_900, 9), "no property 'crop'"),
    ]:
        with pytest.raises(AoiError, match=told):
            zonal_means(ds, wrong, name_from="crop" if "crop" in told else None)
    with pytest.raises(CorruptInputError, match="no CRS"):
        zonal_means(ds.drop_vars("spatial_ref"), parcel(600_000, 5_599_900, 9))
    path = tmp_path / "one.geojson"
    path.write_text(json.dumps(parcel(600_000, 5_599_900, 20)))
    assert zonal_means(ds, path).sizes == {"parcel": 1, "time": 3}
    assert zonal_means(ds.isel(time=0), str(path)).sizes == {"parcel": 1, "time": 1}
