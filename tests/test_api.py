"""The public contract of `stvc.encode`, `stvc.open` and `Archive`, on synthetic places."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scenes
import xarray as xr

import stvc
from stvc.background import building

THREE = {"": scenes.TEN, "20": scenes.TWENTY, "60": scenes.SIXTY}


def round_trip(ds: xr.Dataset, path: Path, **options: object) -> xr.Dataset:
    """Encode and decode; checks what holds whatever the settings."""
    report = stvc.encode(ds, path, **options)
    assert report.path == path
    assert report.frames_added == report.frames_total == ds.sizes["time"]
    assert report.bytes_after == path.stat().st_size
    with stvc.open(path) as archive:
        decoded = archive.to_xarray()
    assert list(decoded.data_vars) == list(ds.data_vars)
    for name in ds.data_vars:
        assert decoded[name].dims == ds[name].dims
        assert decoded[name].dtype == ds[name].dtype
    for name in ds.coords:
        if name != "spatial_ref":
            np.testing.assert_array_equal(decoded[name].values, ds[name].values)
    for mask in ("SCL", "mask"):
        if mask in ds:
            np.testing.assert_array_equal(decoded[mask].values, ds[mask].values)
    return decoded


def errors_of(ds: xr.Dataset, decoded: xr.Dataset, band: str) -> np.ndarray:
    """Signed errors (T, H, W)."""
    return decoded[band].values.astype(np.int64) - ds[band].values.astype(np.int64)


def psnr_of(ds: xr.Dataset, decoded: xr.Dataset) -> float:
    """Over the clear pixels of all bands, peak 10000."""
    miss = [errors_of(ds, decoded, b)[~scenes.hidden_on(ds, b)] for b in scenes.bands_of(ds)]
    return float(10 * np.log10(1e8 / np.mean(np.concatenate(miss).astype(float) ** 2)))


def test_the_smallest_ordinary_case(tmp_path: Path) -> None:
    ds = scenes.dataset()
    decoded = round_trip(ds, tmp_path / "a.stvc")
    assert psnr_of(ds, decoded) > 45
    assert (tmp_path / "a.stvc").stat().st_size < 32768 / 3


def test_plain_arrays_without_coordinates_or_crs(tmp_path: Path) -> None:
    ds = scenes.dataset().drop_vars(["y", "x"])
    decoded = round_trip(ds, tmp_path / "a.stvc")
    assert "spatial_ref" not in decoded.coords
    assert set(decoded.coords) == {"time"}


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"max_error": 3}, {"psnr": 60}])
def test_one_pixel_one_band_one_date(tmp_path: Path, options: dict[str, object]) -> None:
    ds = scenes.dataset(1, (1, 1), groups={"": ("B04",)})
    decoded = round_trip(ds, tmp_path / "a.stvc", **options)
    limit = 0 if "lossless" in options else options.get("max_error", 42)
    assert np.abs(errors_of(ds, decoded, "B04")).max() <= limit


@pytest.mark.parametrize("shape", [(1, 17), (33, 7), (29, 41)])
def test_odd_sizes(tmp_path: Path, shape: tuple[int, int]) -> None:
    ds = scenes.dataset(3, shape, mask="mask")
    decoded = round_trip(ds, tmp_path / "a.stvc", max_error=20)
    for band in scenes.TEN:
        miss = errors_of(ds, decoded, band)[~scenes.hidden_on(ds, band)]
        assert np.abs(miss).max(initial=0) <= 20


@pytest.mark.parametrize(("mask", "suffix"), [("SCL", "20"), ("SCL", ""), ("mask", "60")])
def test_three_groups_under_masks_of_any_grid(tmp_path: Path, mask: str, suffix: str) -> None:
    ds = scenes.dataset(4, (48, 60), groups=THREE, mask=mask, mask_suffix=suffix, crs=True)
    decoded = round_trip(ds, tmp_path / "a.stvc", quality=45)
    assert decoded.spatial_ref.attrs["crs_wkt"] == ds.spatial_ref.attrs["crs_wkt"]
    assert decoded["B05"].shape == (4, 24, 30)
    assert decoded["B01"].shape == (4, 8, 10)
    assert psnr_of(ds, decoded) > 45


def test_tiles_of_a_large_grid_meet(tmp_path: Path) -> None:
    ds = scenes.dataset(2, (24, 390), groups={"": ("B02", "B08")})
    decoded = round_trip(ds, tmp_path / "a.stvc", max_error=25)
    for band in ("B02", "B08"):
        assert np.abs(errors_of(ds, decoded, band)).max() <= 25
    with stvc.open(tmp_path / "a.stvc") as archive:
        assert archive.verify().units_checked == 4


@pytest.mark.parametrize("mask", [None, "mask", "SCL"])
def test_lossless_keeps_every_value(tmp_path: Path, mask: str | None) -> None:
    ds = scenes.dataset(4, (30, 35), groups={"": scenes.TEN, "20": scenes.TWENTY}, mask=mask)
    ds["B02"].values[0, :3] = 0
    ds["B04"].values[1, 5:8, 5:9] = 65535
    for band in scenes.TEN:
        ds[band].values[2, 10:20, 4:30] = 0
    ds["B11"].values[3, 0, 0] = 65535
    xr.testing.assert_identical(round_trip(ds, tmp_path / "a.stvc", lossless=True), ds)
    with stvc.open(tmp_path / "a.stvc") as archive:
        assert archive.info()["max_error_clear"] == 0


@pytest.mark.parametrize("bound", [0, 1, 7, 60, 4000])
@pytest.mark.parametrize("clouds", ["drop", "keep"])
def test_a_bound_holds_on_decoded_arrays(tmp_path: Path, bound: int, clouds: str) -> None:
    ds = scenes.dataset(3, (24, 24), mask="mask", cloudy=(1, 2), noise=60)
    ds["B03"].values[0, 3:5, 3:5] = 65535
    ds["B08"].values[1, 2, :] = 0
    for band in scenes.TEN:
        ds[band].values[2, :9, :9] = 0
    decoded = round_trip(ds, tmp_path / "a.stvc", max_error=bound, clouds=clouds)
    largest = 0
    for band in scenes.TEN:
        clear = ~scenes.hidden_on(ds, band)
        required = clear if clouds == "drop" else np.ones_like(clear)
        largest = max(largest, np.abs(errors_of(ds, decoded, band)[required]).max())
    assert largest <= bound
    assert (decoded["B02"].values[2, :9, :9] == 0).all()


def test_lossy_values_never_turn_into_nodata_nor_back(tmp_path: Path) -> None:
    ds = scenes.dataset(3, (24, 24), noise=2)
    for band in scenes.TEN:
        ds[band].values[:] = 1
        ds[band].values[:, :, 11:] = 2000
        # ^ an edge, for the transform to ring at, next to the smallest value that is not nodata
        ds[band].values[1, 5:9, 5:12] = 0
    for options in ({"quality": 10}, {"max_error": 50}, {"max_error": 1}):
        decoded = round_trip(ds, tmp_path / "a.stvc", **options)
        for band in scenes.TEN:
            np.testing.assert_array_equal(decoded[band].values == 0, ds[band].values == 0)


def test_clouds_modes(tmp_path: Path) -> None:
    ds = scenes.dataset(4, (48, 48), mask="mask", cloudy=(2, 3), seed=3)
    size, miss = {}, {}
    for mode in ("keep", "coarse", "drop"):
        decoded = round_trip(ds, tmp_path / f"{mode}.stvc", clouds=mode, quality=50)
        size[mode] = (tmp_path / f"{mode}.stvc").stat().st_size
        hidden = scenes.hidden_on(ds, "B04")
        miss[mode] = np.sqrt((errors_of(ds, decoded, "B04")[hidden].astype(float) ** 2).mean())
        assert psnr_of(ds, decoded) > 47
    assert size["drop"] < size["coarse"] < size["keep"]
    assert 1.3 * miss["keep"] < miss["coarse"] < 250
    assert miss["drop"] > 1000


def test_dropped_clouds_show_the_ground(tmp_path: Path) -> None:
    clear = scenes.dataset(3, (40, 40), seed=5)
    ds = scenes.dataset(3, (40, 40), seed=5, mask="mask", cloudy=(2,))
    decoded = round_trip(ds, tmp_path / "a.stvc", quality=55)
    hidden = scenes.hidden_on(ds, "B08")
    painted = np.abs(ds["B08"].values.astype(int) - clear["B08"].values)[hidden].mean()
    restored = np.abs(decoded["B08"].values.astype(int) - clear["B08"].values)[hidden].mean()
    assert restored < painted / 5


@pytest.mark.parametrize("target", [42.0, 47.3, 55.1])
def test_a_psnr_target_is_met(tmp_path: Path, target: float) -> None:
    ds = scenes.dataset(8, (96, 96), mask="mask", cloudy=(1, 2, 5), seed=11)
    decoded = round_trip(ds, tmp_path / "a.stvc", psnr=target)
    assert psnr_of(ds, decoded) == pytest.approx(target, abs=0.1)
    with stvc.open(tmp_path / "a.stvc") as archive:
        info = archive.info()
    assert info["psnr_clear"] == pytest.approx(psnr_of(ds, decoded), abs=0.05)
    assert info["settings"]["psnr"] == target


def test_quality_orders_size_and_error(tmp_path: Path) -> None:
    ds = scenes.dataset(3, (32, 32))
    found = []
    for quality in (0, 30, 60, 100):
        decoded = round_trip(ds, tmp_path / "a.stvc", quality=quality)
        found.append((psnr_of(ds, decoded), (tmp_path / "a.stvc").stat().st_size))
    assert found == sorted(found)
    assert found[-1][0] > 70 > 45 > found[0][0]


@pytest.mark.parametrize("reference", ["auto", "none", "background", "recent", "both"])
def test_reference_modes(tmp_path: Path, reference: str) -> None:
    ds = scenes.dataset(9, (32, 32), groups={"": ("B02", "B08")}, noise=4, seed=2)
    decoded = round_trip(ds, tmp_path / "a.stvc", reference=reference)
    assert psnr_of(ds, decoded) > 45
    with stvc.open(tmp_path / "a.stvc") as archive:
        info = archive.info()
        assert archive.verify().ok
    assert (info["background"] is not None) == (reference in ("background", "both"))
    assert (info["bytes_by_kind"]["background"] > 0) == (info["background"] is not None)


def test_auto_makes_a_background_for_long_series_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "MIN_FRAMES", 5)
    ds = scenes.dataset(5, (8, 8), groups={"": ("B02",)})
    for dates in (4, 5):
        round_trip(ds.isel(time=slice(0, dates)), tmp_path / "a.stvc")
        with stvc.open(tmp_path / "a.stvc") as archive:
            assert (archive.info()["background"] is not None) == (dates == 5)


def test_references_pay(tmp_path: Path) -> None:
    ds = scenes.dataset(6, (48, 48), groups={"": ("B02", "B08")}, noise=2, seed=2)
    sizes = {}
    for reference in ("none", "recent"):
        round_trip(ds, tmp_path / "a.stvc", reference=reference, quality=55)
        sizes[reference] = (tmp_path / "a.stvc").stat().st_size
    assert sizes["recent"] < 0.85 * sizes["none"]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    ds = scenes.dataset(4, (40, 33), groups=THREE, mask="SCL", mask_suffix="20")
    for name in ("a", "b"):
        stvc.encode(ds, tmp_path / f"{name}.stvc", psnr=50)
    assert (tmp_path / "a.stvc").read_bytes() == (tmp_path / "b.stvc").read_bytes()


def test_info_tells_what_the_contract_says(tmp_path: Path) -> None:
    ds = scenes.dataset(4, (48, 60), groups=THREE, mask="SCL", mask_suffix="20", crs=True)
    path = tmp_path / "a.stvc"
    report = stvc.encode(ds, path, quality=50)
    with stvc.open(path) as archive:
        info = archive.info()
    assert set(info) == {
        *("path", "format_version", "model", "bytes", "raw_bytes", "ratio", "bits_per_sample"),
        *("frames", "first_date", "last_date", "crs", "bounds", "groups", "settings"),
        *("psnr_clear", "rmse_clear", "max_error_clear", "ndvi_mae_clear", "mask"),
        *("bytes_by_kind", "background", "dates", "superseded", "warnings", "features"),
        *("learned_gain", "effort"),
    }
    json.dumps(info, allow_nan=False)
    size = path.stat().st_size
    assert (info["path"], info["bytes"], info["frames"]) == (str(path), size, 4)
    assert sum(info["bytes_by_kind"].values()) == size == report.bytes_after
    assert info["raw_bytes"] == 2 * 4 * (4 * 48 * 60 + 3 * 24 * 30 + 8 * 10)
    assert info["ratio"] == pytest.approx(info["raw_bytes"] / size)
    assert (info["first_date"], info["last_date"]) == ("2021-03-04T10:40:21", "2021-03-19T10:40:21")
    assert info["crs"] == "EPSG:32631"
    assert info["bounds"] == [600_000, 5_600_000 - 480, 600_600, 5_600_000]
    assert [g["shape"] for g in info["groups"]] == [[4, 48, 60], [3, 24, 30], [1, 8, 10]]
    assert [g["gsd"] for g in info["groups"]] == [10, 20, 60]
    assert [set(d) >= {"time", "bytes", "clear_share", "psnr_clear", "max_error_clear"}
            for d in info["dates"]] == [True] * 4  # fmt: skip
    assert info["mask"]["kind"] == "SCL"
    assert 0 < info["dates"][1]["clear_share"] < 1 == info["dates"][0]["clear_share"]
    assert report.psnr_clear == info["psnr_clear"]
    with stvc.open(path) as archive:
        decoded = archive.to_xarray()
    miss = max(np.abs(errors_of(ds, decoded, b)[~scenes.hidden_on(ds, b)]).max()
               for b in scenes.bands_of(ds))  # fmt: skip
    assert info["max_error_clear"] == miss
    red, nir = (decoded[b].values.astype(float) for b in ("B04", "B08"))
    was_red, was_nir = (ds[b].values.astype(float) for b in ("B04", "B08"))
    ndvi = np.abs((nir - red) / (nir + red) - (was_nir - was_red) / (was_nir + was_red))
    assert info["ndvi_mae_clear"] == pytest.approx(
        ndvi[~scenes.hidden_on(ds, "B04")].mean(), rel=0.15
    )


def test_verify_is_stable_and_follows_content(tmp_path: Path) -> None:
    ds = scenes.dataset(3, (24, 24), mask="mask")
    hashes = []
    for quality in (40, 40, 50):
        stvc.encode(ds, tmp_path / "a.stvc", quality=quality)
        with stvc.open(tmp_path / "a.stvc") as archive:
            report = archive.verify()
            assert report == archive.verify()
        assert (report.ok, report.errors, report.frames_checked) == (True, (), 3)
        assert report.units_checked == 6
        hashes.append(report.sha256)
    assert hashes[0] == hashes[1] != hashes[2]
