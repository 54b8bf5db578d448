"""Mask methods, classes and dilation: what is chosen, what is stored, what appends use."""

from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scenes import NORTH, TEN, WEST, dataset

import stvc
from stvc.dataset import dataset_from_series, series_from_dataset
from stvc.errors import CorruptInputError, QualityError, SourceError
from stvc.masks import MaskRule, hidden
from stvc.masks.choice import MaskChoice, choose_mask
from stvc.masks.growth import grown
from stvc.masks.rule import spell_values


@given(
    variable=st.sampled_from(["SCL", "mask", "CLP", "OCM"]),
    values=st.frozensets(st.integers(0, 255)),
    grow=st.integers(0, 40).map(lambda n: n / 8),
)
def test_rules_are_spelled_and_read_alike(
    variable: str, values: frozenset[int], grow: float
) -> None:
    rule = MaskRule(variable, values, grow)
    assert MaskRule.parse(rule.kind) == rule
    assert MaskRule.of_attrs(variable, rule.attrs) == rule


def test_usual_rules_are_spelled_as_ever() -> None:
    assert MaskRule.parse("SCL").kind == "SCL"
    assert MaskRule("SCL", frozenset({0, 1, 3, 8, 9, 10})).kind == "SCL"
    assert MaskRule("SCL", frozenset({3, 8, 9, 10}), 2.5).kind == "SCL;hide=3,8-10;grow=2.5"
    assert spell_values([5, 4, 9, 0]) == "0,4-5,9"


@pytest.mark.parametrize(
    "kind",
    ["SCL;hide=300", "SCL;hide=9-3", "SCL;grow=-1", "SCL;grow=1e9", "SCL;grow=nan", "SCL;x=1", "q"],
)
def test_hostile_rules_are_refused(kind: str) -> None:
    with pytest.raises(CorruptInputError, match=r"."):
        hidden(np.zeros((1, 2, 2), np.uint8), kind)


@given(
    distance=st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 7.0]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_dilation_is_a_disk(distance: float, height: int, width: int, seed: int) -> None:
    found = np.random.default_rng(seed).random((2, height, width)) < 0.1
    expected = np.zeros_like(found)
    for t, row, col in np.argwhere(found):
        y, x = np.mgrid[:height, :width]
        expected[t] |= (y - row) ** 2 + (x - col) ** 2 <= distance**2
    np.testing.assert_array_equal(grown(found, distance), expected)


def masked() -> xr.Dataset:
    return dataset(4, (24, 24), groups={"": TEN[:3]}, mask="SCL", crs=True)


def test_classes_and_dilation_are_kept_and_used_again(tmp_path: Path) -> None:
    plain = masked()
    plain["SCL"].values[0] = 4
    plain["SCL"].values[0, 5, 5] = 11  # snow, which hides nothing unless asked
    chosen = choose_mask(plain, MaskChoice(classes="0,3,8-11", dilate=25))
    assert chosen["SCL"].attrs == {"hidden_values": "0,3,8-11", "hidden_grow_pixels": 2.5}
    path = tmp_path / "a.stvc"
    stvc.encode(chosen.isel(time=slice(0, 2)), path, psnr=45)
    with stvc.open(path) as archive:
        assert archive.info()["mask"]["kind"] == "SCL;hide=0,3,8-11;grow=2.5"
        first = archive.to_xarray()
    np.testing.assert_array_equal(first["SCL"].values, plain["SCL"].values[:2])
    assert first["SCL"].attrs == chosen["SCL"].attrs
    y, x = np.mgrid[:24, :24]
    disk = (y - 5) ** 2 + (x - 5) ** 2 <= 2.5**2
    np.testing.assert_array_equal(hidden(first["SCL"].values, MaskRule.of_attrs(
        "SCL", first["SCL"].attrs).kind)[0], disk)  # fmt: skip
    share = stvc.open(path).info()["dates"][0]["clear_share"]
    assert share == pytest.approx(1 - disk.mean(), abs=1e-3)
    # a dataset without a rule takes the archive's, one with another is refused
    assert stvc.append(plain, path).frames_added == 2
    assert stvc.append(stvc.open(path).to_xarray(), path).frames_added == 0
    other = choose_mask(plain, MaskChoice(classes="9"))
    with pytest.raises(CorruptInputError, match=r"grow=2\.5', the dataset 'SCL;hide=9'"):
        stvc.append(other, path)
    assert stvc.open(path).verify().ok


def test_cloud_probability_is_kept_for_other_thresholds(tmp_path: Path) -> None:
    ds = masked()
    clp = np.where(ds["SCL"].values == 9, 180, 30).astype(np.uint8)
    clp[2, :8] = 90
    both = ds.assign(CLP=(ds["SCL"].dims, clp))
    with pytest.raises(CorruptInputError, match="has both SCL and CLP"):
        series_from_dataset(both)
    assert set(choose_mask(both, MaskChoice()).data_vars) - set(TEN) == {"SCL"}
    chosen = choose_mask(both, MaskChoice("clp", threshold=80))
    assert "SCL" not in chosen
    stvc.encode(chosen, tmp_path / "a.stvc")
    back = stvc.open(tmp_path / "a.stvc").to_xarray()
    np.testing.assert_array_equal(back["CLP"].values, clp)
    series = series_from_dataset(back)
    assert series.mask.kind == "CLP;hide=80-255"
    np.testing.assert_array_equal(hidden(series.classes, series.mask.kind), clp >= 80)
    assert dataset_from_series(series)["CLP"].dtype == np.uint8
    assert "SCL" not in choose_mask(both, MaskChoice("none"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "mask 'magic'; choose from scl, clp"),
        ({"method": "file"}, "--mask-file RASTER"),
        ({"file": Path("m.tif")}, "say --mask file"),
        ({"weights": Path("w")}, "--mask-weights is used with"),
        ({"method": "scl", "threshold": 5}, "--mask-threshold is used with"),
        ({"method": "clp", "threshold": 0}, "choose 1 to 255"),
        ({"method": "clp", "classes": "3"}, "does not go with --mask clp"),
        ({"dilate": -1.0}, "choose 0 to 10000 m"),
        ({"method": "none", "dilate": 5.0}, "nothing to dilate"),
    ],
)
def test_choices_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(QualityError, match=message):
        MaskChoice(**options)


def test_choices_that_do_not_suit_the_frames() -> None:
    ds = masked()
    with pytest.raises(QualityError, match="'300' is no mask value"):
        choose_mask(ds, MaskChoice(classes="300"))
    with pytest.raises(QualityError, match=r"have no CLP \(they have SCL\)"):
        choose_mask(ds, MaskChoice("clp"))
    with pytest.raises(QualityError, match="is 900 pixels of 10 m; choose at most 640 m"):
        choose_mask(ds, MaskChoice(dilate=9000))
    bare = ds.drop_vars("SCL")
    assert choose_mask(bare, MaskChoice()) is bare
    with pytest.raises(QualityError, match="there is no mask to choose classes of"):
        choose_mask(bare, MaskChoice(dilate=20))
    with pytest.raises(QualityError, match="without coordinates cannot be dilated"):
        choose_mask(ds.drop_vars(list(ds.coords)), MaskChoice(dilate=20))


def mask_file(path: Path, values: Any, gsd: float = 20, epsg: int = 32631) -> Path:
    values = np.asarray(values, np.uint8)
    shape = {"height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": "uint8"}
    transform = rasterio.Affine(gsd, 0, WEST - 100, 0, -gsd, NORTH + 100)
    with rasterio.open(
        path, "w", driver="GTiff", crs=f"EPSG:{epsg}", transform=transform, **shape
    ) as raster:
        raster.write(values, 1)
    return path


def test_a_raster_of_hidden_ground(tmp_path: Path) -> None:
    ds = masked()
    values = np.zeros((40, 40), np.uint8)
    values[6, 7] = 1  # 20 m pixels from 100 m north-west of the frames' corner
    path = mask_file(tmp_path / "forest.tif", values)
    found = choose_mask(ds, MaskChoice("file", file=path, dilate=20))
    assert found["mask"].dims == ("time", "y20", "x20") and "SCL" not in found
    assert found["mask"].attrs["hidden_grow_pixels"] == 1.0
    np.testing.assert_array_equal(np.argwhere(found["mask"].values[3]), [[1, 2]])
    assert found["y20"].values[1] == NORTH + 100 - 20 * 6.5
    stvc.encode(found, tmp_path / "a.stvc")
    assert stvc.open(tmp_path / "a.stvc").info()["mask"]["kind"] == "mask;grow=1"
    for day, time in enumerate(ds.time.values):
        values[:] = day == 2
        mask_file(tmp_path / f"m_{str(time)[:10]}.tif", values)
    dated = choose_mask(ds, MaskChoice("file", file=tmp_path / "m_*.tif"))
    assert dated["mask"].values.mean(axis=(1, 2)).tolist() == [0, 0, 1, 0]
    (tmp_path / f"m_{str(ds.time.values[1])[:10]}.tif").unlink()
    with pytest.raises(SourceError, match="has no mask of 2021-03-09; every date needs one"):
        choose_mask(ds, MaskChoice("file", file=tmp_path / "m_*.tif"))
    for broken, message in (
        (mask_file(tmp_path / "small.tif", values[:8, :8]), "does not cover the frames' ground"),
        (mask_file(tmp_path / "zone.tif", values, epsg=32632), "is not in the CRS"),
        (tmp_path / "gone.tif", "does not exist"),
    ):
        with pytest.raises(SourceError, match=message):
            choose_mask(ds, MaskChoice("file", file=broken))


def test_classifiers_name_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = masked()
    for name in ("omnicloudmask", "s2cloudless"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(SourceError, match=rf"{name} needs a package .*stvc\[masks\]"):
            choose_mask(ds, MaskChoice(name, weights=tmp_path))


def test_omnicloudmask_is_given_local_weights_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in of its package: the real one cannot be installed beside every torch."""
    package = tmp_path / "site" / "omnicloudmask"
    package.mkdir(parents=True)
    rows = "file_name,version\na3.safetensors,3\nb3.safetensors,3\na4.safetensors,4\n"
    (package / "model_download_links.csv").write_text(rows)
    (package / "__init__.py").write_text(
        "def predict_from_array(stack, destination_model_dir, model_version, no_data_value):\n"
        "    assert stack.shape[0] == 3 and str(stack.dtype) == 'float32'\n"
        "    assert model_version == 3.0\n"
        "    return (stack[2] > stack[0]).astype('uint8')[None] * 3\n"
    )
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "omnicloudmask", raising=False)
    ds = dataset(2, (16, 16), crs=True)
    weights = tmp_path / "weights"
    weights.mkdir()
    with pytest.raises(SourceError, match="does not download: give their folder"):
        choose_mask(ds, MaskChoice("omnicloudmask"))
    with pytest.raises(SourceError, match=r"any version .* the newest are a4\.safetensors"):
        choose_mask(ds, MaskChoice("omnicloudmask", weights=weights))
    for name in ("a3", "b3"):
        (weights / f"{name}.safetensors").write_bytes(bytes(1 << 21))
    found = choose_mask(ds, MaskChoice("omnicloudmask", weights=weights, classes="1,3"))
    np.testing.assert_array_equal(
        found["OCM"].values, np.where(ds.B08.values > ds.B04.values, 3, 0)
    )
    stvc.encode(found, tmp_path / "a.stvc")
    back = stvc.open(tmp_path / "a.stvc").to_xarray()
    np.testing.assert_array_equal(back["OCM"].values, found["OCM"].values)
    assert back["OCM"].attrs["flag_meanings"].split()[3] == "cloud_shadow"
    with pytest.raises(QualityError, match="needs the band green"):
        choose_mask(ds[["B04", "B08"]], MaskChoice("omnicloudmask", weights=weights))
    sys.modules.pop("omnicloudmask", None)


def test_s2cloudless_needs_l1c(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    class Detector:
        def __init__(self, **_: Any) -> None:
            """Take what the real one takes."""

        def get_cloud_probability_maps(self, stack: np.ndarray) -> np.ndarray:
            seen.append(stack)
            return stack[..., 0]

    groups = {
        "": ("B02", "B04", "B08"),
        "20": ("B05", "B8A", "B11", "B12"),
        "60": ("B01", "B09", "B10"),
    }
    ds = dataset(2, (24, 36), groups=groups, crs=True)
    package = types.ModuleType("s2cloudless")
    package.__spec__ = ModuleSpec("s2cloudless", None)
    package.S2PixelCloudDetector = Detector  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "s2cloudless", package)
    found = choose_mask(ds, MaskChoice("s2cloudless", threshold=50))
    assert found["CLP"].dims == ("time", "y60", "x60")
    blue = ds["B02"].values.reshape(2, 4, 6, 6, 6).mean(axis=(2, 4)) / 10_000
    np.testing.assert_allclose(seen[0][..., 1], blue)
    expected = np.rint(ds["B01"].values / 1e4 * 255)
    np.testing.assert_array_equal(found["CLP"].values, expected)
    assert found["CLP"].attrs["hidden_values"] == "50-255"
    with pytest.raises(QualityError, match="which L2A lacks"):
        choose_mask(ds.drop_vars("B10"), MaskChoice("s2cloudless"))


def test_lazy_datasets_hide_by_the_archives_rule(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ds = dataset(3, (16, 16), groups={"": ("B04", "B08")}, mask="SCL", crs=True)
    ds["SCL"].values[:] = rng.integers(0, 12, ds["SCL"].shape)
    chosen = choose_mask(ds, MaskChoice(classes="4,9", dilate=10.0))
    path = tmp_path / "a.stvc"
    stvc.encode(chosen, path)
    with xr.open_dataset(path, engine="stvc") as lazy, stvc.open(path) as archive:
        whole = archive.to_xarray()
        assert "SCL" in lazy
        np.testing.assert_array_equal(lazy["SCL"].values, whole["SCL"].values)
        assert lazy["SCL"].attrs["hidden_values"] == whole["SCL"].attrs["hidden_values"] == "4,9"
        shares = [frame["clear_share"] for frame in archive.info()["dates"]]
        np.testing.assert_allclose(lazy.stvc.clear_fraction.values, shares, atol=0.001)
