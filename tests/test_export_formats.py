"""Streamed exports of a real archive: COG, NetCDF and Zarr as their own tools see them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr
from fake_codec import DAYS, make_info, make_series

import stvc
from stvc import cli
from stvc.errors import CorruptInputError
from stvc.exit_codes import ExitCode
from stvc.export import FrameStream, RasterForm, stream_netcdf, stream_rasters, stream_zarr
from stvc.export.stream import chunks_of, runs

rasterio = pytest.importorskip("rasterio")
GROUPS = {"": ("B03", "B08"), "20": ("B11",)}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four dates on two grids; the second date arrived last."""
    path = tmp_path_factory.mktemp("a") / "field.stvc"
    ds = scenes.dataset(4, (20, 24), groups=GROUPS, mask="SCL", crs=True)
    ds["product_id"] = ("time", np.array(["a", "b", "c", "d"], object))
    stvc.encode(ds.isel(time=[0, 2, 3]), path)
    stvc.append(ds, path)
    return path


@pytest.fixture(scope="module")
def decoded(archive: Path) -> xr.Dataset:
    with stvc.open(archive) as opened:
        return opened.to_xarray()


def run(archive: Path, out: Path, *more: str) -> int:
    return cli.run(["export", str(archive), "-o", str(out), "-q", *more])


def test_dates_are_streamed_in_file_order_and_placed_by_time(
    archive: Path, decoded: xr.Dataset
) -> None:
    with stvc.open(archive) as opened:
        stream = FrameStream.of_archive(opened)
        frames = dict(stream.frames)
    assert list(frames) == [0, 2, 3, 1]
    assert stream.columns.product_id.values.tolist() == ["a", "b", "c", "d"]
    for position, frame in frames.items():
        xr.testing.assert_identical(frame, decoded.isel(time=[position]))


def test_cogs_are_valid_and_say_all(archive: Path, decoded: xr.Dataset, tmp_path: Path) -> None:
    cogeo = pytest.importorskip("rio_cogeo")
    assert run(archive, tmp_path / "cogs") == ExitCode.OK
    files = sorted(path.name for path in (tmp_path / "cogs").iterdir())
    stamps = [str(t)[:19].replace("-", "").replace(":", "") for t in decoded.time.values]
    assert files == sorted(f"field_{s}_{x}.tif" for s in stamps for x in ("10m", "20m", "SCL"))
    for frame, stamp in enumerate(stamps):
        for label, names in (("10m", GROUPS[""]), ("20m", GROUPS["20"]), ("SCL", ("SCL",))):
            path = tmp_path / "cogs" / f"field_{stamp}_{label}.tif"
            valid, errors, warnings = cogeo.cog_validate(path, quiet=True)
            assert (valid, errors, warnings) == (True, [], [])
            with rasterio.open(path) as raster:
                np.testing.assert_array_equal(
                    raster.read(), [decoded[name].values[frame] for name in names]
                )
                assert (raster.descriptions, raster.nodata) == (names, 0)
                assert raster.crs.to_epsg() == 32631
                assert raster.tags()["product_id"] == "abcd"[frame]
                layout = raster.tags(ns="IMAGE_STRUCTURE")
                assert layout["COMPRESSION"] == "DEFLATE"
                if label == "SCL":
                    assert raster.colormap(1)[4] == (0, 160, 0, 255)
                else:
                    assert set(raster.scales) == {1e-4}
                    assert layout["PREDICTOR"] == "2"
    with rasterio.open(tmp_path / "cogs" / f"field_{stamps[0]}_10m.tif") as raster:
        assert [color.name for color in raster.colorinterp] == ["green", "undefined"]
        assert raster.tags()["TIFFTAG_DATETIME"] == "2021:03:04 10:40:21"


def test_overviews_average_bands_and_pick_classes(tmp_path: Path) -> None:
    cogeo = pytest.importorskip("rio_cogeo")
    ds = make_series(DAYS[:1], ("B02",), size=600)
    ds["SCL"].values[0, ::2] = 11
    stream = FrameStream.of_dataset(ds, make_info(ds, "f.stvc", {}, 1))
    band, mask = stream_rasters(stream, tmp_path, RasterForm(cog=True, compress="zstd"))
    for path in (band, mask):
        assert cogeo.cog_validate(path, quiet=True)[:2] == (True, [])
    with rasterio.open(band) as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "ZSTD"
        assert raster.overviews(1)[0] == 2
        small = raster.read(1, out_shape=(300, 300))
    blocks = ds.B02.values[0].reshape(300, 2, 300, 2).mean((1, 3))
    assert np.abs(small - blocks).max() <= 1
    with rasterio.open(mask) as raster:
        assert set(np.unique(raster.read(1, out_shape=(300, 300)))) <= {4, 9, 11}


def test_a_file_for_each_band(archive: Path, decoded: xr.Dataset, tmp_path: Path) -> None:
    assert run(archive, tmp_path, "--split-bands", "--format", "geotiff") == ExitCode.OK
    assert len(list(tmp_path.iterdir())) == 4 * 4
    with rasterio.open(tmp_path / "field_20210304T104021_B08.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), decoded.B08.values[0])


@pytest.mark.parametrize("form", ["netcdf", "zarr"])
@pytest.mark.parametrize("dn", [False, True])
def test_cubes_hold_what_was_decoded(
    form: str, dn: bool, archive: Path, decoded: xr.Dataset, tmp_path: Path
) -> None:
    pytest.importorskip("zarr")
    out = tmp_path / ("x.nc" if form == "netcdf" else "x.zarr")
    assert run(archive, out, *(["--dn"] if dn else [])) == ExitCode.OK
    assert list(tmp_path.iterdir()) == [out]
    options: dict[str, Any] = {"decode_coords": "all"}
    options |= {"engine": "netcdf4"} if form == "netcdf" else {"engine": "zarr", "chunks": None}
    with (
        xr.open_dataset(out, **options) as read,
        xr.open_dataset(out, mask_and_scale=False, **options) as raw,
    ):
        assert set(read.data_vars) == set(decoded.data_vars)
        for name in ("B03", "B08", "B11", "SCL"):
            np.testing.assert_array_equal(raw[name].values, decoded[name].values)
            assert read[name].encoding["grid_mapping"] == "spatial_ref"
            assert read[name].dims == decoded[name].dims
        wanted = decoded.B08.values * (1 if dn else np.float32(1e-4))
        np.testing.assert_allclose(read.B08.values, wanted, rtol=1e-6)
        floats = np.float32 if form == "netcdf" else np.float64  # JSON knows one kind of number
        assert read.B08.dtype == (np.uint16 if dn else floats)
        for name in ("time", "y", "x", "y20", "x20"):
            np.testing.assert_array_equal(read[name].values, decoded[name].values)
        assert read.time.encoding["units"] == "seconds since 1970-01-01"
        assert read.time.encoding["dtype"] == np.dtype("int64")
        assert read.product_id.values.tolist() == ["a", "b", "c", "d"]
        assert read.y20.attrs["standard_name"] == "projection_y_coordinate"
        assert read.SCL.attrs["flag_meanings"].split()[9] == "cloud_high_probability"
        assert read.spatial_ref.attrs["crs_wkt"] == decoded.spatial_ref.attrs["crs_wkt"]


def test_zarr_is_consolidated_and_replaced_whole(archive: Path, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    out = tmp_path / "x.zarr"
    (out / "c").mkdir(parents=True)
    (out / "c" / "mine.txt").write_text("precious")
    assert run(archive, out) == ExitCode.CORRUPT  # not a store: not ours to delete
    assert (out / "c" / "mine.txt").read_text() == "precious"
    (out / "zarr.json").write_text("{}")
    assert run(archive, out, "--bands", "B03") == ExitCode.OK
    assert not (out / "c").exists()
    assert list(tmp_path.iterdir()) == [out]
    metadata = json.loads((out / "zarr.json").read_text())
    assert "B03" in metadata["consolidated_metadata"]["metadata"]
    with_bands = {name for name, _ in zarr.open_group(out, mode="r").arrays()}
    assert "B11" not in with_bands


@pytest.mark.parametrize("form", ["netcdf", "zarr", "cog"])
def test_an_interrupted_export_leaves_nothing_half(
    form: str, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zarr")
    names = {"netcdf": "x.nc", "zarr": "x.zarr", "cog": "x"}
    with stvc.open(archive) as opened:
        stream = FrameStream.of_archive(opened)
        half = iter(list(stream.frames)[:2])

        def interrupted() -> Any:
            yield from half
            raise KeyboardInterrupt

        cut = FrameStream(stream.columns, interrupted(), stream.info)
        out = tmp_path / names[form]
        write = {"netcdf": stream_netcdf, "zarr": stream_zarr}.get(
            form, partial(stream_rasters, form=RasterForm(cog=True))
        )
        with pytest.raises(KeyboardInterrupt):
            write(cut, out)
    if form != "cog":
        assert list(tmp_path.iterdir()) == []
        return
    assert len(list(out.iterdir())) == 6  # two dates, three files each: whole
    for path in out.iterdir():
        with rasterio.open(path) as raster:
            raster.read()


def test_one_chunk_of_dates_is_held_at_a_time() -> None:
    assert chunks_of(140, (96, 96), 2) == (56, 96, 96)
    assert chunks_of(3, (96, 96), 2) == (3, 96, 96)
    assert chunks_of(500, (10980, 10980), 2) == (2, 512, 512)
    ds = make_series(DAYS, size=8)
    frames = [(k, ds.isel(time=[k])) for k in (0, 1, 3, 4, 2)]
    columns = ds[["product_id", "time"]]
    found = [
        (where, sorted(block), block["B02"].shape)
        for where, _, block in runs(FrameStream(columns, frames, {}))
    ]
    names = sorted(name for name in ds.data_vars if ds[name].ndim == 3)
    assert found == [
        (slice(0, 2), names, (2, 8, 8)),
        (slice(3, 5), names, (2, 8, 8)),
        (slice(2, 3), names, (1, 8, 8)),
    ]
    with pytest.raises(CorruptInputError, match="no dates"):
        list(runs(FrameStream(columns, [], {})))


def test_little_places(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    ds = make_series(DAYS[:1], ("B02",), mask="mask").isel(y=[0], x=[0])
    bare = ds.drop_vars(["y", "x", "y20", "x20", "spatial_ref"])
    for number, small in enumerate((ds, bare)):
        stvc.encode(small, tmp_path / f"{number}.stvc", lossless=True)
        for name in (f"{number}.nc", f"{number}.zarr", f"cog{number}"):
            assert run(tmp_path / f"{number}.stvc", tmp_path / name) == ExitCode.OK
        with xr.open_dataset(tmp_path / f"{number}.nc", mask_and_scale=False) as read:
            np.testing.assert_array_equal(read.B02.values, small.B02.values)
            np.testing.assert_array_equal(read["mask"].values, small["mask"].values)
            assert read["mask"].dtype == np.bool_
        with xr.open_zarr(tmp_path / f"{number}.zarr", chunks=None) as stored:
            np.testing.assert_array_equal(stored["mask"].values, small["mask"].values)
