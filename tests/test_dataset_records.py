"""What stands beside the pixels of a dataset: its CRS, its attributes, its columns along time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_datasets import TIMES, WKT, small

from stvc.dataset import dataset_from_series, series_from_dataset
from stvc.types import Series


@pytest.mark.parametrize(
    "mapping",
    [
        {"spatial_ref": {"crs_wkt": WKT}},
        {"spatial_ref": {"spatial_ref": np.bytes_(WKT.encode())}},
        {"crs": {"crs_wkt": WKT, "grid_mapping_name": "whatever"}},
        {"crs": {"crs_wkt": "EPSG:4326"}, "spatial_ref": {"crs_wkt": WKT}},
    ],
)
def test_the_crs_is_found_where_writers_put_it(mapping: dict[str, Any]) -> None:
    ds = small()
    for name, attrs in mapping.items():
        ds[name] = ((), 0, attrs)  # a data variable: files opened without decode_coords="all"
    ds["B04"].attrs["grid_mapping"] = "crs"
    series = series_from_dataset(ds)
    assert series.crs_wkt == WKT
    back = dataset_from_series(series)
    assert [name for name in back.variables if back[name].ndim == 0] == ["spatial_ref"]
    assert "grid_mapping" not in back["B04"].attrs
    assert back["B04"].encoding["grid_mapping"] == "spatial_ref"


def test_the_crs_becomes_wkt_and_cf_parameters() -> None:
    ds = small().drop_vars(["B11", "y20", "x20"])
    ds = ds.assign_coords(spatial_ref=((), 0, {"crs_wkt": "EPSG:3035"}))
    attrs = dataset_from_series(series_from_dataset(ds))["spatial_ref"].attrs
    assert attrs["crs_wkt"] == attrs["spatial_ref"]
    assert attrs["crs_wkt"].startswith('PROJCRS["ETRS89')
    assert attrs["grid_mapping_name"] == "lambert_azimuthal_equal_area"
    assert [float(n) for n in attrs["GeoTransform"].split()] == [195, 10, 0, 5005, 0, -10]
    from_cf_alone = {k: v for k, v in attrs.items() if k not in ("crs_wkt", "spatial_ref")}
    ds["spatial_ref"].attrs = from_cf_alone
    assert "Lambert Azimuthal Equal Area" in series_from_dataset(ds).crs_wkt


def test_no_geotransform_speaks_for_several_grids() -> None:
    ds = small().assign_coords(spatial_ref=((), 0, {"crs_wkt": WKT}))
    assert "GeoTransform" not in dataset_from_series(series_from_dataset(ds))["spatial_ref"].attrs


def test_scalars_become_attributes() -> None:
    ds = small().assign_coords(tile="32TQM", cloud=np.float32(0.5)).assign_attrs(tile="kept")
    assert series_from_dataset(ds).attrs == {"tile": "kept", "cloud": 0.5}


def test_odd_attributes_become_json() -> None:
    ds = small().assign_attrs(
        {
            "a": np.float32(1.5),
            "b": np.arange(3),
            "c": (1, 2),
            "d": Path("x"),
            "e": {"f": np.int8(1)},
            "g": np.nan,
            "h": b"raw",
            "i": np.datetime64("2024-01-01"),
            "j": np.longdouble(2),
            3: True,
        }
    )
    assert series_from_dataset(ds).attrs == {
        "a": 1.5,
        "b": [0, 1, 2],
        "c": [1, 2],
        "d": "x",
        "e": {"f": 1},
        "g": "nan",
        "h": "raw",
        "i": "2024-01-01",
        "j": 2.0,
        "3": True,
    }


def test_frames_of_several_appends_line_up() -> None:
    """Later frames may lack a column of the first, have another, or hold another type."""
    first = small(TIMES[:2])
    first["id"] = ("time", ["a", "b"])
    first["orbit"] = ("time", np.array([7, 8], np.uint8))
    first["share"] = ("time", np.array([0.5, np.inf], np.float32))
    head = series_from_dataset(first)
    tail = series_from_dataset(small(TIMES[2:], note=("time", ["late"]), share=("time", ["?"])))
    joined = Series(
        times=np.concatenate([head.times, tail.times]),
        grids=head.grids,
        pixels=tuple(np.concatenate(pair) for pair in zip(head.pixels, tail.pixels, strict=True)),
        mask=head.mask,
        classes=np.zeros((3, 0, 0), np.uint8),
        attrs=head.attrs,
        provenance=head.provenance + tail.provenance,
        band_attrs=head.band_attrs,
    )
    back = dataset_from_series(joined)
    assert back["time"].size == 3
    assert back["id"].values.tolist() == ["a", "b", ""]
    assert back["note"].values.tolist() == ["", "", "late"]
    np.testing.assert_array_equal(back["orbit"].values, [7, 8, np.nan])
    assert back["share"].values.tolist() == [0.5, "inf", "?"]


def test_missing_cells_of_an_object_column_are_empty() -> None:
    ds = small()
    ds["id"] = ("time", np.array(["a", np.nan, None], dtype=object))
    assert dataset_from_series(series_from_dataset(ds))["id"].values.tolist() == ["a", "", ""]
