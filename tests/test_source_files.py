"""The files source: GeoTIFFs and SAFE folders, read where they lie or refused in words."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from scenes import SIXTY, TEN, TWENTY, dataset
from servers.places import FIELD, area
from servers.safe_products import write_safe
from servers.stac_products import GSD, LEFT, TOP, Product, dn_at

import stvc
from stvc.errors import AoiError, NoDataError, SourceError
from stvc.source import get_source
from stvc.source.files import FilesSource

PLAIN = rasterio.Affine(10, 0, LEFT, 0, -10, TOP)


def tif(
    path: Path,
    values: Any,
    *,
    transform: rasterio.Affine = PLAIN,
    names: tuple[str, ...] = (),
    crs: str | None = "EPSG:32631",
    tags: dict[str, str] | None = None,
    nodata: float | None = None,
    scale: float = 1,
    offset: float = 0,
) -> Path:
    """Write a GeoTIFF of (C, H, W) or (H, W) values."""
    values = np.atleast_3d(np.asarray(values)) if np.ndim(values) == 3 else np.array([values])
    place = {"crs": crs, "transform": transform} if crs else {}
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype.name}
    with rasterio.open(path, "w", driver="GTiff", nodata=nodata, **shape, **place) as raster:
        raster.write(values)
        if names:
            raster.descriptions = names
        raster.scales, raster.offsets = [scale] * count, [offset] * count
        raster.update_tags(**(tags or {}))
    return path


def ramp(shape: tuple[int, int] = (12, 14), start: int = 1000) -> np.ndarray:
    return (start + np.arange(shape[0] * shape[1]).reshape(shape)).astype(np.uint16)


def fetch(path: Any, aoi: Any = None, bands: Any = None, exclude: Any = (), **options: Any) -> Any:
    return get_source("files", path=path, **options).fetch(aoi, None, None, bands, exclude)


@pytest.mark.parametrize("form", ["tif", "nc"])
def test_own_exports_come_back(tmp_path: Path, form: str) -> None:
    from stvc.cli.app import run

    groups = {"": TEN[:2], "20": TWENTY[:1], "60": SIXTY}
    ds = dataset(2, (18, 24), groups=groups, mask="SCL", mask_suffix="20", crs=True)
    ds["product_id"] = ("time", [f"S2A_{day}" for day in range(2)])
    ds["baseline"] = ("time", ["05.09"] * 2)
    ds["offset_dn"] = ("time", [-1000] * 2)
    ds["cloud_cover"] = ("time", [1.5, 22.0])
    stvc.encode(ds, tmp_path / "a.stvc")
    out = tmp_path / ("frames" if form == "tif" else "frames.nc")
    assert run(["decode", str(tmp_path / "a.stvc"), "-o", str(out), "-q"]) == 0
    decoded = stvc.open(tmp_path / "a.stvc").to_xarray()
    found = fetch(out)
    assert set(found.variables) == set(decoded.variables)
    for name, variable in decoded.variables.items():
        assert found[name].dims == variable.dims
        np.testing.assert_array_equal(found[name].values, variable.values)
    assert found.spatial_ref.attrs == decoded.spatial_ref.attrs
    report = stvc.append(found, tmp_path / "a.stvc")
    assert report.frames_added == 0


def test_a_mask_and_an_archive_without_crs_come_back(tmp_path: Path) -> None:
    from stvc.cli.app import run

    ds = dataset(2, (10, 12), mask="mask")
    ds = ds.drop_vars([name for name in ds.coords if name != "time"])
    stvc.encode(ds, tmp_path / "a.stvc", lossless=True)
    assert run(["decode", str(tmp_path / "a.stvc"), "-o", str(tmp_path / "out"), "-q"]) == 0
    found = fetch(tmp_path / "out")
    assert "spatial_ref" not in found and found["mask"].dtype == bool
    for name in [*TEN, "mask"]:
        np.testing.assert_array_equal(found[name].values, ds[name].values)
    with pytest.raises(SourceError, match="has no CRS, so no area can be cut out"):
        fetch(tmp_path / "out", area())


def test_one_file_per_date_and_band(tmp_path: Path) -> None:
    for day in ("20210601T105031", "20210606T105031"):
        for band, start in (("B04", 1000), ("B8", 3000), ("SCL", 0)):
            values = ramp(start=start) if band != "SCL" else np.full((12, 14), 4, np.uint8)
            tif(tmp_path / f"T31UFS_{day}_{band}.tif", values)
    ds = fetch(str(tmp_path / "*.tif"))
    assert list(ds.data_vars)[:2] == ["B04", "B08"]
    assert [str(t)[:19] for t in ds.time.values] == ["2021-06-01T10:50:31", "2021-06-06T10:50:31"]
    np.testing.assert_array_equal(ds["B08"].values[1], ramp(start=3000))
    np.testing.assert_array_equal(ds.x.values, LEFT + 10 * (np.arange(14) + 0.5))
    np.testing.assert_array_equal(ds.y.values, TOP - 10 * (np.arange(12) + 0.5))
    only = fetch([tmp_path / f"T31UFS_20210601T105031_{b}.tif" for b in ("B04", "SCL")])
    assert only.sizes == {"time": 1, "y": 12, "x": 14}
    part = fetch(tmp_path, bands=["nir"], exclude=[ds.time.values[0]])
    assert part.sizes["time"] == 1 and "B04" not in part
    assert fetch(tmp_path, exclude=tuple(ds.time.values)).sizes["time"] == 0
    (tmp_path / "T31UFS_20210606T105031_B04.tif").unlink()
    with pytest.raises(SourceError, match=r"frame 2021-06-06T10:50:31: it has no B04; it has B08"):
        fetch(tmp_path)
    skipped = fetch(tmp_path, on_frame_error="skip")
    (lost,) = json.loads(skipped.attrs["incomplete"])
    assert skipped.sizes["time"] == 1 and lost["time"] == "2021-06-06T10:50:31"
    assert lost["error"].startswith("SourceError: it has no B04")
    one = date(2021, 6, 6)
    with pytest.raises(SourceError, match="none of 1 frames could be read; the first: 2021-06-06T"):
        FilesSource(tmp_path, on_frame_error="skip").fetch(None, one, one, None, ())


def test_an_area_is_cut_out_on_pixel_edges(tmp_path: Path) -> None:
    values = dn_at("B04", LEFT, TOP, 120, "2021-06-01")
    tif(tmp_path / "2021-06-01_B04.tif", values)
    source = FilesSource(tmp_path / "2021-06-01_B04.tif")
    ds = source.fetch(area(), None, None, None, ())
    left, bottom, _, _ = FIELD
    assert ds.x.values[0] - 5 <= left < ds.x.values[0] + 5
    # (its lower edge lies on a pixel edge, but a straight line in degrees is curved in meters)
    assert bottom - 15 < ds.y.values[-1] - 5 <= bottom
    col, row = round((ds.x.values[0] - 5 - LEFT) / 10), round((TOP - ds.y.values[0] - 5) / 10)
    cut = values[row : row + ds.sizes["y"], col : col + ds.sizes["x"]]
    np.testing.assert_array_equal(ds["B04"].values[0], cut)
    assert ds.attrs["aoi_name"] == "field"
    with pytest.raises(AoiError, match="lies off the ground of source files"):
        source.fetch(area((0, 0, 100, 100)), None, None, None, ())
    with pytest.raises(NoDataError, match="it has 1 dates from 2021-06-01"):
        source.fetch(area(), date(2022, 1, 1), None, None, ())
    edge = area((LEFT - 500, TOP - 95, LEFT + 95, TOP + 500))
    assert source.fetch(edge, None, None, None, ()).sizes == {"time": 1, "y": 10, "x": 10}


def test_crops_fit_and_other_grids_are_named(tmp_path: Path) -> None:
    whole = dn_at("B04", LEFT, TOP, 20, "2021-06-01")
    tif(tmp_path / "20210601_B04.tif", whole)
    shifted = rasterio.Affine(10, 0, LEFT + 50, 0, -10, TOP - 30)
    tif(tmp_path / "20210606_B04.tif", whole[3:9, 5:12], transform=shifted)
    ds = fetch(tmp_path)
    assert ds.sizes == {"time": 2, "y": 20, "x": 20}
    expected = np.zeros_like(whole)
    expected[3:9, 5:12] = whole[3:9, 5:12]
    np.testing.assert_array_equal(ds["B04"].values[1], expected)
    for transform, crs in (
        (rasterio.Affine(10, 0, LEFT + 4, 0, -10, TOP), "EPSG:32631"),
        (rasterio.Affine(20, 0, LEFT, 0, -20, TOP), "EPSG:32631"),
        (PLAIN, "EPSG:32632"),
    ):
        tif(tmp_path / "20210611_B04.tif", whole, transform=transform, crs=crs)
        with pytest.raises(SourceError, match=r"20210601_B04\.tif \(20 x 20 pixels of 10 from .*"):
            fetch(tmp_path)
        with pytest.raises(SourceError, match=r"20210611_B04\.tif .* do not share their pixels"):
            fetch(tmp_path)


def test_what_a_geotiff_does_not_tell_is_asked_for(tmp_path: Path) -> None:
    pair = np.stack([ramp(), ramp(start=3000)])
    path = tif(tmp_path / "20210601.tif", pair)
    with pytest.raises(SourceError, match="2 bands carry no names; .* --band-names"):
        fetch(path)
    with pytest.raises(SourceError, match=r"\(3 names are given\)"):
        fetch(path, band_names="B02,B03,B04")
    assert list(fetch(path, band_names="red, nir").data_vars) == ["B04", "B08"]
    undated = tif(tmp_path / "scene_B04.tif", ramp())
    with pytest.raises(SourceError, match="neither its tags nor its name tell the date"):
        fetch(undated)
    tagged = tif(tmp_path / "20210601_B04.tif", ramp(), tags={"TIFFTAG_DATETIME": "2024:01:02"})
    with pytest.raises(SourceError, match="2024-01-02T00:00:00, its name 2021-06-01"):
        fetch(tagged)
    assert str(fetch(tagged, dates_from="name").time.values[0])[:10] == "2021-06-01"
    assert str(fetch(tagged, dates_from="tag").time.values[0])[:10] == "2024-01-02"
    twice = [tif(tmp_path / f"{n}_2021-06-01_B04.tif", ramp()) for n in "ab"]
    with pytest.raises(SourceError, match=r"a_2021-06-01_B04\.tif and b_.* both hold B04"):
        fetch(twice)
    skewed = rasterio.Affine(10, 1, LEFT, 1, -10, TOP)
    with pytest.raises(SourceError, match="not square and north-up"):
        fetch(tif(tmp_path / "s_20210601_B04.tif", ramp(), transform=skewed))
    (tmp_path / "20210602_B04.tif").write_bytes(b"II*\0 not a tiff")
    with pytest.raises(SourceError, match="cannot be read"):
        fetch(tmp_path / "20210602_B04.tif")


def test_scale_offset_nodata_and_floats(tmp_path: Path) -> None:
    raw = ramp(start=900)
    raw[0, 0] = 0
    harmonized = np.where(raw == 0, 0, np.maximum(raw.astype(int) - 1000, 1)).astype(np.uint16)
    cases: dict[str, tuple[np.ndarray, dict[str, Any], np.ndarray]] = {
        "declared": (raw, {"scale": 1e-4, "offset": -0.1, "nodata": 0}, harmonized),
        "harmonized": (raw, {"scale": 1e-4}, raw),
        "tagged": (raw, {"tags": {"PROCESSING_BASELINE": "05.09"}}, harmonized),
        "integers": (raw.astype(np.int16) - 950, {"nodata": -950}, np.where(raw == 0, 0, 1)),
        "floats": ((raw / 1e4).astype(np.float32), {"nodata": 0}, raw),
    }
    cases["integers"] = (
        *cases["integers"][:2],
        np.where(raw == 0, 0, np.maximum(raw.astype(int) - 950, 1)).astype(np.uint16),
    )
    for name, (values, options, expected) in cases.items():
        ds = fetch(tif(tmp_path / f"{name}_20210601_B04.tif", values, **options))
        np.testing.assert_array_equal(ds["B04"].values[0], expected, err_msg=name)
    forced = fetch(tmp_path / "harmonized_20210601_B04.tif", dn_offset=-1000)
    np.testing.assert_array_equal(forced["B04"].values[0], harmonized)
    speckled = (raw / 1e4).astype(np.float32)
    speckled[1, 1] = np.nan
    ds = fetch(tif(tmp_path / "nan_20210601_VV.tif", speckled, names=("B04",)))
    assert ds["B04"].values[0, 1, 1] == 0


@pytest.mark.parametrize("level", ["L2A", "L1C"])
def test_safe_folders(tmp_path: Path, level: str) -> None:
    old = Product("2021-06-01", side=600)
    new = Product("2022-06-06", side=600, baseline="05.09", offset=1000)
    again = Product("2021-06-01", side=600, baseline="05.00", offset=1000)
    for product in (old, new, again):
        write_safe(product, tmp_path, level=level)
    ds = fetch(tmp_path)
    assert ds.sizes["time"] == 2, "the older version of a product is superseded"
    assert ds["baseline"].values.tolist() == ["05.00", "05.09"]
    assert ds["offset_dn"].values.tolist() == [-1000, -1000]
    names = [p.name.replace("MSIL2A", f"MSI{level}") for p in (again, new)]
    assert ds["product_id"].values.tolist() == names
    for band, gsd in GSD.items():
        if band == "SCL" and level == "L1C":
            assert "SCL" not in ds
            continue
        suffix = "" if gsd == 10 else str(gsd)
        for frame, product in enumerate((again, new)):
            np.testing.assert_array_equal(ds[band].values[frame], product.reflectance(band))
        assert ds[band].dims[1:] == (f"y{suffix}", f"x{suffix}")
    small = fetch(tmp_path, area((LEFT + 65, TOP - 145, LEFT + 130, TOP - 70)), ["B04", "B8A"])
    assert small.sizes["x"] == 2 * small.sizes["x20"]


def test_damaged_safe_folders(tmp_path: Path) -> None:
    folder = write_safe(Product("2021-06-01", side=600, bands=("B04", "SCL")), tmp_path)
    image = next(folder.rglob("*_B04_10m.jp2"))
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    with pytest.raises(SourceError, match=r"B04_10m\.jp2 cannot be read"):
        fetch(folder)
    listing = folder / "MTD_MSIL2A.xml"
    text = listing.read_text()
    for change, message in (
        (("<PROCESSING_BASELINE>02.14</PROCESSING_BASELINE>", ""), "does not tell PROCESSING_B"),
        (("10000", "ten"), "want a positive number"),
        (("?>\n", '?>\n<!DOCTYPE x [<!ENTITY a "b">]>\n'), "declares XML entities"),
        (("</n1:Product>", ""), "cannot be read"),
    ):
        listing.write_text(text.replace(*change))
        with pytest.raises(SourceError, match=message):
            fetch(folder)
    listing.write_text(text)
    next(folder.rglob("MTD_TL.xml")).unlink()
    with pytest.raises(SourceError, match="has 0 granules, want one"):
        fetch(folder)


def test_paths_that_mean_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist, and matches no file"):
        fetch(tmp_path / "gone*")
    with pytest.raises(SourceError, match="holds no file that stvc reads"):
        fetch(tmp_path)
    tif(tmp_path / "20210601_B04.tif", ramp())
    np.savez(tmp_path / "cube.npz", x=np.zeros(1))
    with pytest.raises(SourceError, match=r"several kinds: 20210601_B04\.tif .*cube\.npz"):
        fetch(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match=r"notes\.txt is of no kind"):
        fetch(tmp_path / "notes.txt")
    with pytest.raises(SourceError, match="source files has no option colour; it takes path"):
        get_source("files", path=tmp_path, colour=1)
    with pytest.raises(SourceError, match="source files needs the option path"):
        get_source("files")


def test_one_pixel(tmp_path: Path) -> None:
    ds = fetch(tif(tmp_path / "20210601_B04.tif", np.array([[1234]], np.uint16)))
    assert ds["B04"].values.tolist() == [[[1234]]]
    assert ds.x.values.tolist() == [LEFT + 5]
