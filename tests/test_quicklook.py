"""Quick looks: the right pixels in the right place, one brightness, marks for hidden ground."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scenes
from PIL import Image

import stvc
from stvc import cli
from stvc.bands import named_like
from stvc.errors import CorruptInputError
from stvc.exit_codes import ExitCode
from stvc.pictures.colors import SCL_COLORS, class_table, colorize, from_hex, table
from stvc.pictures.frame import Clouds, Enlargement, mark_hidden, north_up, scale_bar, shrink
from stvc.pictures.quicklook import Look, default_time, quicklook
from stvc.pictures.views import Stretch, View, common_names, recipe
from stvc.types import GroupGrid


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quick") / "field.stvc"
    ds = scenes.dataset(
        4, (16, 24), groups={"": scenes.TEN, "20": ("B11",)}, mask="SCL", cloudy=(1, 3), crs=True
    )
    stvc.encode(ds, path, lossless=True)
    return path


def pixels_of(path: Path, height: int) -> np.ndarray:
    """Grid pixels of a picture: its part above the caption."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))[:height]


def test_each_grid_pixel_is_a_crisp_square_of_its_color(field: Path, tmp_path: Path) -> None:
    with stvc.open(field) as archive:
        times = archive.times
        ds = archive.to_xarray(time=[times[0]])
        quicklook(archive, tmp_path / "x.png", times=[times[0]], look=Look(size=288))
    shown = pixels_of(tmp_path / "x.png", 192).reshape(16, 12, 24, 12, 3)
    assert (shown == shown[:, :1, :, :1]).all()
    rgb = np.stack([ds[b].values[0] for b in ("B04", "B03", "B02")])
    # brighter DN are never darker on screen, band by band
    for band, screen in zip(rgb, np.moveaxis(shown[:, 0, :, 0], -1, 0), strict=True):
        order = np.argsort(band.reshape(-1), kind="stable")
        assert (np.diff(screen.reshape(-1)[order].astype(int)) >= 0).all()
        assert screen.max() > screen.min() + 100


def test_ndvi_and_mask_colors_are_those_of_the_tables(field: Path, tmp_path: Path) -> None:
    with stvc.open(field) as archive:
        time = archive.times[1]
        ds = archive.to_xarray(time=[time])
        for view in (View.ndvi, View.mask):
            look = Look(view, Clouds.show, size=24)
            quicklook(archive, tmp_path / f"{view}.png", times=[time], look=look)
    red, nir = (ds[b].values[0].astype(float) for b in ("B04", "B08"))
    wanted = colorize((nir - red) / (nir + red), -0.2, 1.0, "vegetation")
    seen = pixels_of(tmp_path / "ndvi.png", 16)
    left = (seen.shape[1] - 24) // 2
    # one step of the table where float32 and float64 round to different colors
    np.testing.assert_allclose(seen[:, left : left + 24].astype(int), wanted, atol=3)
    classes = ds.SCL.values[0]
    seen = pixels_of(tmp_path / "mask.png", 16)[:, left : left + 24]
    for value in np.unique(classes):
        assert (seen[classes == value] == from_hex(SCL_COLORS[value])).all()


def test_brightness_is_one_for_all_dates() -> None:
    rng = np.random.default_rng(0)
    dates = rng.integers(300, 900, (6, 3, 8, 8)).astype(np.uint16)
    dates[2] *= 8  # a date of snow
    clear = np.ones((6, 8, 8), bool)
    stretch = Stretch.fit(dates, clear)
    assert max(stretch.high) < 1500  # the snow does not darken the others
    np.testing.assert_array_equal(stretch.apply(dates[0]), stretch.apply(dates[0].copy()))
    assert stretch.apply(dates[2]).mean() > 250
    hidden = Stretch.fit(dates, np.zeros_like(clear))
    assert all(h > low for h, low in zip(hidden.high, hidden.low, strict=True))
    flat = Stretch.fit(np.full((1, 1, 4, 4), 700, np.uint16), np.ones((1, 4, 4), bool))
    assert flat.apply(np.full((1, 4, 4), 700)).shape == (4, 4, 3)


def test_hidden_ground_is_marked_and_nothing_else_is() -> None:
    picture = np.full((40, 40, 3), 100, np.uint8)
    unclear = np.zeros((40, 40), bool)
    unclear[10:30, 10:30] = True
    for clouds in Clouds:
        drawn = mark_hidden(picture, unclear, clouds)
        assert (drawn[~unclear] == 100).all()
        changed = (drawn[unclear] != 100).any()
        assert changed == (clouds is not Clouds.show)
    assert (mark_hidden(picture, unclear, Clouds.hide)[unclear].std(axis=0) == 0).all()
    striped = mark_hidden(picture, unclear, Clouds.hatch)[unclear]
    assert striped.max() > 200
    assert striped.min() < 60


def test_south_up_and_west_right_grids_are_turned() -> None:
    image = np.arange(6).reshape(2, 3)
    rising = np.array([10.0, 20.0])
    east = np.array([5.0, 15.0, 25.0])
    as_is = GroupGrid("", ("a",), rising[::-1], east)
    np.testing.assert_array_equal(north_up(image, as_is), image)
    np.testing.assert_array_equal(north_up(image, GroupGrid("", ("a",), rising, east)), image[::-1])
    both = GroupGrid("", ("a",), rising, east[::-1])
    np.testing.assert_array_equal(north_up(image, both), image[::-1, ::-1])
    counted = GroupGrid("", ("a",), np.arange(2.0), np.arange(3.0))
    np.testing.assert_array_equal(north_up(image, counted), image)  # row 0 is the top


@pytest.mark.parametrize(
    ("shape", "size", "up", "down"),
    [((10, 20), 640, 32, 1), ((1, 1), 640, 640, 1), ((700, 20), 640, 1, 2), ((640, 1), 640, 1, 1)],
)
def test_enlargement(shape: tuple[int, int], size: int, up: int, down: int) -> None:
    assert Enlargement.fit(shape, size) == Enlargement(up, down)


def test_shrinking_averages_blocks_and_edges() -> None:
    image = np.arange(15, dtype=np.uint8).reshape(3, 5)
    got = shrink(image, 2)
    assert got.shape == (2, 3)
    assert got[0, 0] == round((0 + 1 + 5 + 6) / 4)
    assert shrink(np.array([[True, False], [True, False]]), 2).tolist() == [[True]]
    assert shrink(np.array([[True, False], [False, False]]), 2).tolist() == [[False]]


@pytest.mark.parametrize(
    ("meters", "room", "told"),
    [
        (2.5, 200, (200, "500 m")),
        (10, 100, (100, "1 km")),
        (0.5, 10, None),
        (float("nan"), 9, None),
    ],
)
def test_scale_bar_is_round(meters: float, room: int, told: object) -> None:
    assert scale_bar(meters, room) == told


def test_bands_of_other_sensors_fall_back_and_say_so() -> None:
    assert recipe(View.true_color, scenes.TEN).bands == ("B04", "B03", "B02")
    assert recipe(View.false_color, ("B8A", "B03", "B04")).bands == ("B8A", "B04", "B03")
    radar = recipe(View.true_color, ("VV", "VH"))
    assert radar.bands == ("VV",)
    assert "in grey" in radar.note
    five = recipe(View.true_color, ("B05", "B06", "B07", "B11"))
    assert five.bands == ("B05", "B06", "B07")
    assert "no red, green and blue" in five.note
    named = {"SR_B4": {"common_name": "red"}, "SR_B5": {"common_name": "nir"}}
    assert recipe(View.ndvi, tuple(named), named).bands == ("SR_B4", "SR_B5")
    # what an attribute says goes before what a name resembles
    swapped = common_names(("B04", "B08"), {"B04": {"common_name": "nir"}})
    assert swapped["nir"] == "B04"
    assert named_like("nir", ("B04", "B08")) == "B08"
    with pytest.raises(CorruptInputError, match="no near infrared band for NDVI"):
        recipe(View.ndvi, ("B04", "B03"))
    with pytest.raises(CorruptInputError, match="no mask"):
        recipe(View.mask, scenes.TEN, mask_kind="none")


def test_color_tables_are_monotonic_in_lightness() -> None:
    for name in ("heat", "depth"):
        light = table(name).astype(float) @ (0.2126, 0.7152, 0.0722)
        assert (np.diff(light) > -0.6).all()
    assert class_table("SCL")[200].tolist() == [255, 0, 255]
    assert class_table("mask")[7].tolist() == class_table("mask")[1].tolist()


def test_animation_has_every_date_and_a_sheet_is_one_picture(field: Path, tmp_path: Path) -> None:
    with stvc.open(field) as archive:
        drawn = quicklook(archive, tmp_path / "x.gif", times=archive.times)
        quicklook(archive, tmp_path / "x.webp", times=archive.times)
        quicklook(archive, tmp_path / "x.png", times=archive.times)
        assert default_time(archive) == archive.times[2]
    assert len(drawn.times) == 4
    for suffix in ("gif", "webp"):
        with Image.open(tmp_path / f"x.{suffix}") as film:
            assert film.n_frames == 4
            assert film.info["loop"] == 0
    with Image.open(tmp_path / "x.png") as sheet:
        assert getattr(sheet, "n_frames", 1) == 1


@pytest.mark.parametrize(
    ("mask", "shape", "bands"), [(None, (1, 1), ("VV",)), ("mask", (3, 40), ("B05", "B06", "B07"))]
)
def test_small_and_odd_places(
    mask: str | None, shape: tuple[int, int], bands: tuple[str, ...], tmp_path: Path
) -> None:
    stvc.encode(scenes.dataset(1, shape, groups={"": bands}, mask=mask), tmp_path / "a.stvc")
    with stvc.open(tmp_path / "a.stvc") as archive:
        drawn = quicklook(archive, tmp_path / "a.png")
    assert drawn.note
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width >= 280


def test_command(
    field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["quicklook", str(field), "-o", "x.png", "--json"]
    assert cli.run([*line, "--date", "2021-03-09", "--view", "ndvi", "--size", "64"]) == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert told["dates"] == ["2021-03-09T10:40:21"]
    assert told["bytes"] == Path("x.png").stat().st_size
    assert cli.run(["quicklook", str(field), "-o", "y.gif", "--min-clear", "0.99"]) == ExitCode.OK
    assert "2 dates" in capsys.readouterr().out
    for more, word in (
        (["-o", "x.bmp"], "x.bmp"),
        (["-o", "gone/x.png"], "gone"),
        (["-o", "x.png", "--date", "2020-01-01"], "2021-03-04"),
        (["-o", "x.png", "--all", "--date", "2021-03-09"], "--date"),
        (["-o", "x.png", "--start", "2022-01-01"], "no date matches"),
    ):
        assert cli.run(["quicklook", str(field), *more]) == ExitCode.USAGE
        assert word in capsys.readouterr().err
    stvc.encode(scenes.dataset(1, (8, 8), groups={"": ("VV",)}), "s1.stvc")
    assert cli.run(["quicklook", "s1.stvc", "-o", "x.png", "--view", "ndvi"]) == ExitCode.USAGE
    assert "no red and near infrared" in capsys.readouterr().err
    assert cli.run(["quicklook", "s1.stvc", "-o", "z.png"]) == ExitCode.OK
    assert "in grey" in capsys.readouterr().err
