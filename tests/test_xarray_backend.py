"""``engine="stvc"``: what datasets hold, against `Archive.to_xarray`, and what opening touches."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import scenes
import xarray as xr
from closures import frames_for

import stvc
from stvc.errors import CorruptError, CorruptInputError, QualityError
from stvc.xarray_backend import StvcBackend, decode_counts

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*/*.stvc"))
EXTRA = {"clear_share", "quantization_info"}


@pytest.fixture(scope="module")
def two_grids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("two") / "field.stvc"
    groups = {"": ("B03", "B04", "B08"), "20": ("B8A",)}
    ds = scenes.dataset(5, (24, 32), groups=groups, mask="SCL", mask_suffix="20", crs=True)
    ds["B04"][2, :5] = 0
    for band in groups[""]:
        ds[band][2, :5] = 0  # a swath edge
    ds["product_id"] = ("time", [f"P{k}" for k in range(5)])
    stvc.encode(ds, path)
    return path


def opened(path: Path | str, **options: object) -> xr.Dataset:
    return xr.open_dataset(path, engine="stvc", **options)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_archives_open_to_what_the_archive_decodes_to(path: Path) -> None:
    with stvc.open(path) as archive:
        want = archive.to_xarray()
    found = opened(path, mask_and_scale=False)
    assert list(found.data_vars) == list(want.data_vars)
    for name in want.variables:
        if name == "spatial_ref":
            assert found[name].attrs["crs_wkt"] == want[name].attrs["crs_wkt"]
            continue
        assert found[name].dims == want[name].dims
        np.testing.assert_array_equal(found[name].values, want[name].values, err_msg=str(name))
        if name != "time" and want[name].dtype.kind != "U":  # text is objects, as from any file
            assert found[name].dtype == want[name].dtype, name
    assert set(found.variables) - set(want.variables) == EXTRA


def test_opening_decodes_nothing_and_one_date_only_what_it_is_predicted_from(
    two_grids: Path,
) -> None:
    before = decode_counts()
    ds = opened(two_grids)
    repr(ds), ds._repr_html_(), ds.nbytes, ds.B04.isel(time=1, x=3)
    assert (decode_counts() - before).units == 0
    ds.B8A.isel(time=2).load()
    assert (decode_counts() - before).units == frames_for(two_grids, [2])  # of one group alone
    ds.B8A.isel(time=4).load()
    assert (decode_counts() - before).units == frames_for(two_grids, [2, 4])
    ds.B8A.load()
    assert (decode_counts() - before).units == 5
    ds.SCL.load()
    assert (decode_counts() - before).units == 5


def test_reflectance_and_dn(two_grids: Path) -> None:
    dn, scaled = opened(two_grids, mask_and_scale=False), opened(two_grids)
    assert dn.B04.dtype == np.uint16
    assert scaled.B04.dtype == np.float32
    assert np.isnan(scaled.B04.values[2, :5]).all()
    seen = dn.B04.values > 0
    np.testing.assert_allclose(scaled.B04.values[seen], dn.B04.values[seen] * 1e-4, rtol=1e-6)
    assert np.isnan(scaled.B04.values[~seen]).all()
    assert dn.B04.attrs["scale_factor"] == 1e-4
    assert dn.B04.attrs["_FillValue"] == 0
    assert scaled.B04.encoding["scale_factor"] == 1e-4
    assert scaled.SCL.dtype == np.uint8


def test_bands_of_unknown_meaning_have_no_scale(tmp_path: Path) -> None:
    ds = scenes.dataset(2, (8, 8), groups={"": ("VV", "height")})
    ds["height"].attrs = {"scale_factor": 0.5, "units": "m", "_FillValue": 65535}
    stvc.encode(ds, tmp_path / "a.stvc", lossless=True)
    found = opened(tmp_path / "a.stvc")
    assert "scale_factor" not in found.VV.encoding
    np.testing.assert_array_equal(found.VV, ds.VV)
    np.testing.assert_allclose(found.height, ds.height * 0.5)
    assert found.height.attrs["units"] == "m"


@pytest.mark.parametrize(
    "key",
    [
        {"time": -1},
        {"time": slice(None, None, -2)},
        {"time": [3, 0, 0]},
        {"y": slice(20, 4, -3), "x": [31, 0, 5]},
        {"time": 1, "y": 0, "x": -1},
        {"time": [], "y": slice(0, 3)},
        {"x": slice(5, 5)},
    ],
)
def test_every_way_to_index(two_grids: Path, key: dict[str, object]) -> None:
    with stvc.open(two_grids) as archive:
        want = archive.to_xarray(bands=["B08"]).B08.isel(key)
    found = opened(two_grids, mask_and_scale=False).B08.isel(key)
    assert found.shape == want.shape
    np.testing.assert_array_equal(found.values, want.values)


def test_pointwise_indexing(two_grids: Path) -> None:
    rows, columns = xr.DataArray([3, 9, 3], dims="p"), xr.DataArray([0, 31, 7], dims="p")
    ds = opened(two_grids, mask_and_scale=False)
    with stvc.open(two_grids) as archive:
        want = archive.to_xarray().B04.isel(y=rows, x=columns)
    np.testing.assert_array_equal(ds.B04.isel(y=rows, x=columns).values, want.values)


def test_selection_by_date_and_box(two_grids: Path) -> None:
    ds = opened(two_grids)
    box = ds.sel(time="2021-03-14", y=slice(5_599_950, 5_599_900), x=slice(600_100, 600_200))
    assert dict(box.sizes)["time"] == 1
    assert box.B04.shape == (1, 5, 10)
    assert box.B04.isel(time=0).y.values[0] == 5_599_945


def test_drop_variables(two_grids: Path) -> None:
    ds = opened(two_grids, drop_variables=["SCL", "B03", "nonsense"])
    assert list(ds.data_vars) == ["B04", "B08", "B8A", "product_id"]
    assert "B04" not in opened(two_grids, drop_variables="B04")


def test_values_on_record_per_date(two_grids: Path) -> None:
    ds = opened(two_grids)
    assert ds.product_id.values.tolist() == [f"P{k}" for k in range(5)]
    with stvc.open(two_grids) as archive:
        shares = [date["clear_share"] for date in archive.info()["dates"]]
    np.testing.assert_allclose(ds.clear_share, shares, atol=1e-6)


def test_late_dates_stand_in_order_and_superseded_ones_are_hidden(tmp_path: Path) -> None:
    ds = scenes.dataset(4, (16, 16), groups={"": ("B04",)})
    ds["baseline"] = ("time", ["04.00"] * 4)
    path = tmp_path / "a.stvc"
    stvc.encode(ds.isel(time=[0, 3]), path, lossless=True)
    stvc.append(ds.isel(time=[1, 2]), path)
    again = ds.isel(time=[1]).assign(baseline=("time", ["05.00"]), B04=ds.B04[[1]] + 7)
    stvc.append(again, path)
    found = opened(path, mask_and_scale=False)
    np.testing.assert_array_equal(found.time, ds.time)
    np.testing.assert_array_equal(found.B04.isel(time=[0, 2, 3]), ds.B04[[0, 2, 3]])
    np.testing.assert_array_equal(found.B04.isel(time=1), again.B04[0])
    every = opened(path, mask_and_scale=False, versions="all")
    assert every.superseded.values.tolist() == [False, True, False, False, False]
    np.testing.assert_array_equal(every.B04[1], ds.B04[1])


def test_an_open_dataset_survives_appends_but_not_another_archive(tmp_path: Path) -> None:
    ds = scenes.dataset(3, (16, 16), groups={"": ("B04",)})
    path = tmp_path / "a.stvc"
    stvc.encode(ds.isel(time=[0, 1]), path, lossless=True)
    first = opened(path, mask_and_scale=False, cache=False)
    np.testing.assert_array_equal(first.B04[0], ds.B04[0])
    stvc.append(ds.isel(time=[2]), path)
    np.testing.assert_array_equal(first.B04[1], ds.B04[1])
    assert opened(path).sizes["time"] == 3
    stvc.encode(ds.isel(time=[1, 2]), path, lossless=True)
    with pytest.raises(CorruptInputError, match=r"a\.stvc was encoded anew"):
        first.B04[0].load()
    np.testing.assert_array_equal(opened(path, mask_and_scale=False).B04[0], ds.B04[1])


def test_closing_and_reading_again(two_grids: Path) -> None:
    with opened(two_grids, cache=False) as ds:
        want = ds.B04[0].values
    np.testing.assert_array_equal(ds.B04[0].values, want)


def test_what_the_engine_recognizes(two_grids: Path, tmp_path: Path) -> None:
    guess = StvcBackend().guess_can_open
    renamed = shutil.copy(two_grids, tmp_path / "noname")
    (tmp_path / "other.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(5000))
    assert guess(two_grids)
    assert guess(str(two_grids))
    assert guess(renamed)
    assert guess("https://host/field.stvc?token=1")
    assert not guess(tmp_path / "other.h5")
    assert not guess(tmp_path / "missing")
    assert not guess("https://host/field.nc")
    assert not guess(b"bytes")
    assert not guess(xr.Dataset())
    assert xr.open_dataset(renamed, engine="stvc").sizes["time"] == 5


def test_wrong_use_is_told(two_grids: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        opened(tmp_path / "nowhere.stvc")
    (tmp_path / "text.stvc").write_text("hello")
    with pytest.raises(CorruptError, match=r"text\.stvc"):
        opened(tmp_path / "text.stvc")
    with pytest.raises(QualityError, match="versions='newest'; choose latest or all"):
        opened(two_grids, versions="newest")
    with pytest.raises(QualityError, match=r"resolution=30: .* holds 10, 20"):
        opened(two_grids, resolution=30)
    with pytest.raises(QualityError, match="fill='yes'"):
        opened(two_grids, fill="yes")
    with pytest.raises(CorruptInputError, match="no group 'r60m'; it has r10m, r20m"):
        opened(two_grids, group="r60m")
    with pytest.raises(CorruptInputError, match="exclude each other"):
        opened(two_grids, group="r10m", resolution=10)
    with pytest.raises(CorruptInputError, match="storage_options are for URLs"):
        opened(two_grids, storage_options={"anon": True})
    with pytest.raises(CorruptInputError, match="got BytesIO"):
        StvcBackend().open_dataset(io.BytesIO(b""))


def test_damage_is_named_when_met(two_grids: Path, tmp_path: Path) -> None:
    broken = bytearray(two_grids.read_bytes())
    broken[-3] ^= 0xFF  # inside the last date's payload
    path = tmp_path / "broken.stvc"
    path.write_bytes(broken)
    ds = opened(path)
    ds.B04.isel(time=0).load()
    with pytest.raises(CorruptError, match=r"frame 4 \(2021-03"):
        ds.load()


def test_a_lossy_archive_encodes_again_as_it_is(two_grids: Path, tmp_path: Path) -> None:
    ds = opened(two_grids, mask_and_scale=False)
    stvc.encode(ds, tmp_path / "again.stvc", lossless=True)
    again = opened(tmp_path / "again.stvc", mask_and_scale=False)
    for name in ds.data_vars:
        np.testing.assert_array_equal(again[name], ds[name])
