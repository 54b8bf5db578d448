"""The cubes of the benchmark: what it reads from files, and what it makes of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from bench_scenes import BANDS, cube_file, field, smooth_scene

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from bench_peers import cubes

from stvc.dataset import dataset_from_series
from stvc.errors import CorruptInputError

__all__ = ["cube_file", "field"]


def test_repeated_20_m_bands_go_back_to_their_grid(field):
    cube = cubes.load_cube(field)
    x = np.load(field)["x"]
    assert [grid.bands for grid in cube.series.grids] == [("B02", "B04", "B08"), ("B11",)]
    assert [grid.gsd for grid in cube.series.grids] == [10, 20]
    assert np.array_equal(cube.series.pixels[0], x[:, :3])
    assert np.array_equal(cube.series.pixels[1], x[:, 3:, ::2, ::2])
    assert cube.samples == 4 * (3 * 24 * 24 + 12 * 12)
    # one hidden 10 m pixel hides the 20 m pixel around it
    assert np.array_equal(cube.hidden[1], cube.hidden[0].reshape(4, 12, 2, 12, 2).any((2, 4)))
    as_is = cubes.load_cube(field, cubes.Cut(native=False))
    assert as_is.shape == "4x(4x24x24)"


@pytest.mark.parametrize("change", ["one pixel differs", "a 10 m band", "an odd size"])
def test_other_bands_stay_where_they_are(cube_file, change):
    x, bands = smooth_scene(), list(BANDS)
    if change == "one pixel differs":
        x[3, 3, 23, 23] += 1
    elif change == "a 10 m band":
        bands[3] = "B03"
    else:
        x = x[..., :23]
    cube = cubes.load_cube(cube_file(x=x, bands=np.array(bands)))
    assert [len(grid.bands) for grid in cube.series.grids] == [4]
    assert np.array_equal(cube.series.pixels[0], x)


def test_netcdf_reads_like_npz(field, tmp_path):
    pytest.importorskip("netCDF4")
    cube = cubes.load_cube(field)
    path = tmp_path / "field.nc"
    ds = dataset_from_series(cube.series)
    ds["mask"] = ds["mask"].astype("u1")
    ds.to_netcdf(path)
    again = cubes.load_cube(path)
    assert again.series.grids[1].bands == ("B11",)
    for a, b in zip(
        cube.series.pixels + cube.hidden, again.series.pixels + again.hidden, strict=True
    ):
        assert np.array_equal(a, b)


def test_scene_classes_hide_clouds_and_shadows(cube_file):
    scl = np.full((4, 24, 24), 4, np.uint8)
    scl[0, :2, 0], scl[0, :2, 1], scl[0, :2, 2] = 9, 3, 11  # cloud, shadow, snow
    cube = cubes.load_cube(cube_file(x=smooth_scene(), scl=scl))
    assert cube.series.mask.kind == "SCL"
    assert cube.hidden[0].sum() == 4
    assert cube.hidden[0][0, 0].tolist()[:3] == [True, True, False]


def test_dates_are_sorted_and_made_up_where_unknown(cube_file):
    x = smooth_scene()
    day = np.timedelta64(86400, "s")
    known = cubes.load_cube(
        cube_file(x=x, dates=np.array(["2024-05-11", "2024-05-01", "2024-05-11", "2024-06-01"]))
    )
    assert np.array_equal(known.series.pixels[0], x[[1, 0, 2, 3]])
    assert np.diff(known.series.times).tolist() == [
        10 * day,
        np.timedelta64(1, "s"),
        21 * day - np.timedelta64(1, "s"),
    ]
    unknown = cubes.load_cube(cube_file(x=x))
    assert set(np.diff(unknown.series.times)) == {5 * day}
    seasons = cubes.load_cube(cube_file(x=x, dates=np.array([f"season{i}" for i in range(4)])))
    assert set(np.diff(seasons.series.times)) == {91 * day}


def test_a_crop_keeps_to_the_edges_of_coarse_pixels(field):
    cube = cubes.load_cube(field, cubes.Cut(dates=2, crop=9))
    x = np.load(field)["x"]
    assert cube.shape == "2x(3x10x10+1x5x5)"
    assert np.array_equal(cube.series.pixels[0], x[:2, :3, 6:16, 6:16])
    assert np.array_equal(cube.series.pixels[1], x[:2, 3:, 6:16:2, 6:16:2])
    assert cube.hidden[0].shape == (2, 10, 10)
    assert cube.series.grids[1].x[0] == (cube.series.grids[0].x[0] + cube.series.grids[0].x[1]) / 2


def test_a_group_is_chosen_by_native_resolution(field):
    assert cubes.load_cube(field, cubes.Cut(group="20")).shape == "4x(1x12x12)"
    with pytest.raises(CorruptInputError, match="nothing is left"):
        cubes.load_cube(field, cubes.Cut(group="60"))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.zeros(3)}, "x is not a file"),
        ({"x": np.zeros((2, 3, 4, 4), np.float32)}, "float32"),
        ({"x": np.zeros((3, 4, 4), np.uint16)}, "expected uint16"),
    ],
)
def test_what_is_no_cube_is_named(cube_file, arrays, words):
    with pytest.raises(CorruptInputError, match=words):
        cubes.load_cube(cube_file(**arrays))


def test_cubes_are_found_in_folders_and_packages(field, tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("no cube")
    assert cubes.find_cubes([str(tmp_path)]) == [field]
    assert cubes.find_cubes([str(field), str(tmp_path)]) == [field, field]
    with pytest.raises(CorruptInputError, match="nowhere"):
        cubes.find_cubes(["nowhere"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CorruptInputError, match="pip install"):
        cubes.find_cubes(["sample"])
