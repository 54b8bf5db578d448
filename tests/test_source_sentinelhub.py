"""The source sentinelhub: which frames, which pixels, on which grids; nothing goes wrong here."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import shapely
import xarray as xr
from pyproj import CRS, Transformer
from sentinelhub_samples import connect, truth
from servers.places import FIELD, TILE, area
from servers.sentinelhub_scenes import GSD, Raster, scene
from servers.sentinelhub_server import SentinelHubServer

import stvc
from stvc.aoi import Aoi, read_aoi
from stvc.dataset import series_from_dataset
from stvc.errors import AoiError, ConfigError, NoDataError, SourceError
from stvc.radiometry import offset_of_baseline
from stvc.source import get_source, names
from stvc.versions import version_of

L2A = [band for band in GSD if band.startswith("B")]
DAYS = ("2023-05-01", "2023-05-06", "2023-05-11")
LEFT = (TILE[0], TILE[1], 650_200.0, TILE[3])
RIGHT = (650_200.0, TILE[1], TILE[2], TILE[3])


def bounds_of(ds: xr.Dataset, suffix: str) -> tuple[float, ...]:
    x, y = ds[f"x{suffix}"].values, ds[f"y{suffix}"].values
    half = float(suffix or 10) / 2
    return x[0] - half, y[-1] - half, x[-1] + half, y[0] + half


def test_every_band_is_fetched_on_its_native_grid_to_the_pixel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenes = [scene(day, TILE) for day in DAYS]
    with SentinelHubServer(scenes, page=2) as server:
        ds = connect(server, monkeypatch).fetch(area(), None, None, None, ())
    assert [b for b in ds.data_vars if b in L2A] and set(L2A) <= set(ds.data_vars)
    for row, one in enumerate(scenes):
        for band in [*L2A, "SCL"]:
            np.testing.assert_array_equal(ds[band].values[row], truth(ds, band, [one]), band)
    assert ds.B02.dtype == np.uint16 and ds.SCL.dtype == np.uint8 and ds.SCL.dims[1] == "y20"
    # Tiles of Sentinel-2 begin at multiples of 60 m: so must the box, and all grids share it.
    box = bounds_of(ds, "")
    assert box == bounds_of(ds, "20") == bounds_of(ds, "60")
    assert all(edge % 60 == 0 for edge in box)
    assert box[0] <= FIELD[0] and box[3] >= FIELD[3] and box[2] - FIELD[2] < 60
    assert "32631" in str(ds.spatial_ref.attrs["crs_wkt"])


def test_the_dataset_goes_through_the_codec(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "f.stvc"
    with SentinelHubServer([scene(day, TILE) for day in DAYS[:2]]) as server:
        source = connect(server, monkeypatch)
        ds = source.fetch(area(), None, None, ["B02"], ())
        stvc.encode(ds, path, lossless=True, cache_dir=None)
        server.scenes.append(scene(DAYS[2], TILE))
        later = source.fetch(area(), None, None, ["B02"], tuple(ds.time.values))
        assert later.sizes["time"] == 1
        stvc.append(later, path)
    with stvc.open(path) as archive:
        back = archive.to_xarray()
    whole = xr.concat([ds, later], "time", data_vars="minimal", coords="minimal", compat="override")
    for name in ("B02", "SCL", "product_id", "baseline", "harmonized", "orbit"):
        np.testing.assert_array_equal(back[name].values, whole[name].values, name)


def test_two_tiles_and_two_halves_of_an_overpass_make_one_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The recording is cut: two products of one tile, imaged half a minute apart, and a neighbor.
    first = scene(DAYS[0], LEFT, delay_s=400.0)
    second = scene(DAYS[0], RIGHT, delay_s=431.6, made="20230501T151000")
    above = scene(DAYS[0], (TILE[0], TILE[3], TILE[2], TILE[3] + 50_000), tile="31UFT")
    other = scene(DAYS[1], TILE)
    place = area((650_010, 5_699_800, 650_390, 5_700_190))
    with SentinelHubServer([first, second, above, other]) as server:
        source = connect(server, monkeypatch)
        ds = source.fetch(place, None, None, ["B04"], ())
        assert source.requests == 1 + 2 * 2  # a page; two dates, 10 m and the classes
    assert list(ds.time.values.astype("datetime64[s]").astype(str)) == [
        "2023-05-01T10:40:21",
        "2023-05-06T10:40:21",
    ]
    np.testing.assert_array_equal(ds.B04.values[0], truth(ds, "B04", [second, above, first]))
    assert (ds.B04.values[0] > 0).all()
    assert str(ds.product_id.values[0]) == ",".join(
        sorted(s.product_id for s in (first, second, above))
    )
    version = version_of(0, {"product_id": str(ds.product_id.values[0]), "baseline": "05.09"})
    assert len(version.products) == 3


def test_a_late_half_keeps_the_frames_time_and_changes_its_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    halves = [
        scene(DAYS[0], LEFT, delay_s=431.6),
        scene(DAYS[0], RIGHT, delay_s=400.0, made="20230502T080000", published="2023-05-03"),
    ]
    with SentinelHubServer(halves, today=date(2023, 5, 1)) as server:
        source = connect(server, monkeypatch)
        early = source.products(area(), None, None)
        server.today = date(2023, 5, 3)
        late = source.products(area(), None, None)
    assert [row["time"] for row in early] == [row["time"] for row in late]
    assert early[0]["product_id"] != late[0]["product_id"]


def test_half_a_date_is_nodata_in_the_other_half(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelHubServer([scene(DAYS[0], LEFT)]) as server:
        ds = connect(server, monkeypatch).fetch(area(), None, None, ["B02", "B05"], ())
    beyond = ds.x.values > LEFT[2]
    assert beyond.any() and not beyond.all()
    assert (ds.B02.values[0][:, beyond] == 0).all() and (ds.B02.values[0][:, ~beyond] > 0).all()
    beyond = ds.x20.values > LEFT[2]
    assert (ds.SCL.values[0][:, beyond] == 0).all() and (ds.SCL.values[0][:, ~beyond] > 0).all()


def test_black_ground_is_not_nodata(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelHubServer([scene(DAYS[0], TILE, imagery=Raster({}, {}, {}))]) as server:
        ds = connect(server, monkeypatch).fetch(area(), None, None, ["B02"], ())
    assert (ds.B02.values == 1).all()


def test_a_reprocessed_product_replaces_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    old = scene(DAYS[0], TILE, baseline="0300")
    new = scene(DAYS[0], TILE, baseline="0500", made="20240101T000000", suffix=".SAFE")
    with SentinelHubServer([new, old]) as server:
        source = connect(server, monkeypatch)
        ds = source.fetch(area(), None, None, ["B02"], ())
        script = server.requests[-1].body["evalscript"]
    assert ds.sizes["time"] == 1
    assert str(ds.product_id.values[0]) == new.product_id.removesuffix(".SAFE")
    assert str(ds.supersedes.values[0]) == old.product_id
    assert str(ds.baseline.values[0]) == "05.00"
    np.testing.assert_array_equal(ds.B02.values[0], truth(ds, "B02", [new]))
    # Telling the two apart costs samples of both, which is why it is not always done.
    assert 'mosaicking: "TILE"' in script


def test_two_satellites_in_the_same_seconds_are_two_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = [
        scene(DAYS[0], TILE, platform="S2A", start="10:40:21"),
        scene(DAYS[0], TILE, platform="S2C", start="10:40:22", delay_s=399.0),
    ]
    with SentinelHubServer(pair) as server:
        ds = connect(server, monkeypatch).fetch(area(), None, None, ["B02"], ())
    assert ds.sizes["time"] == 2
    for row, one in enumerate(pair):
        np.testing.assert_array_equal(ds.B02.values[row], truth(ds, "B02", [one]))


def test_areas_of_more_than_2500_pixels_are_tiled_and_stitched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = area((640_000, 5_620_000, 665_060, 5_620_120))  # 2506 by 12 pixels of 10 m
    with SentinelHubServer([scene(DAYS[0], TILE)]) as server:
        source = connect(server, monkeypatch)
        plan = source.plan(place, None, None, ["B02"], ())
        ds = source.fetch(place, None, None, ["B02"], ())
        sizes = [r.body["output"]["width"] for r in server.requests if r.kind == "process"]
    # Snapped to 20 m, the corners' projection back and forth notwithstanding.
    assert ds.sizes["x"] > 2500 and sorted(sizes) == sorted(
        [2500, ds.sizes["x"] - 2500, ds.sizes["x20"]]
    )
    assert plan.requests == 3
    np.testing.assert_array_equal(ds.B02.values[0], truth(ds, "B02", [server.scenes[0]]))
    np.testing.assert_array_equal(ds.SCL.values[0], truth(ds, "SCL", [server.scenes[0]]))


def test_the_grid_does_not_depend_on_dates_and_follows_the_coarsest_band(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SentinelHubServer([scene(day, TILE) for day in DAYS]) as server:
        source = connect(server, monkeypatch)
        fine = source.fetch(area(), None, date(2023, 5, 3), ["B02"], ())
        again = source.fetch(area(), date(2023, 5, 4), None, ["B02"], ())
        coarse = source.fetch(area(), None, date(2023, 5, 3), ["B01"], ())
    assert bounds_of(fine, "") == bounds_of(again, "") == bounds_of(fine, "20")
    assert all(edge % 20 == 0 for edge in bounds_of(fine, ""))
    assert "x" not in coarse.dims and set(coarse.B01.dims) == {"time", "y60", "x60"}
    assert bounds_of(coarse, "60") == bounds_of(coarse, "20")


def test_a_place_in_the_next_zone_gets_nearest_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    place = area((302_000, 5_620_000, 302_200, 5_620_200), epsg=32632)  # 6.2 degrees east
    with SentinelHubServer([scene(DAYS[0], (600_000, 5_500_000, 800_000, 5_700_000))]) as server:
        ds = connect(server, monkeypatch).fetch(place, None, None, ["B02"], ())
    assert "32632" in str(ds.spatial_ref.attrs["crs_wkt"]) and (ds.B02.values > 0).all()


def test_raw_numbers_keep_the_offset_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [scene(DAYS[0], TILE, baseline="0300"), scene(DAYS[1], TILE, baseline="0509")]
    with SentinelHubServer(scenes) as server:
        plain = connect(server, monkeypatch).fetch(area(), None, None, ["B02"], ())
        raw = connect(server, monkeypatch, harmonized=False).fetch(area(), None, None, ["B02"], ())
    assert list(plain.harmonized.values) == [True, True] and not raw.harmonized.values.any()
    assert list(plain.offset_dn.values) == [0, 0]
    assert list(raw.offset_dn.values) == [offset_of_baseline(b) for b in ("03.00", "05.09")]
    shift = raw.B02.values.astype(int) - plain.B02.values
    assert (shift[0] == 0).all() and (shift[1] == 1000).all()


def test_cloud_probability_as_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelHubServer([scene(DAYS[0], LEFT)]) as server:
        ds = connect(server, monkeypatch, mask="clp").fetch(area(), None, None, ["B02"], ())
    assert "SCL" not in ds and ds.CLP.dtype == np.uint8
    beyond = ds.x20.values > LEFT[2]
    assert (ds.CLP.values[0][:, beyond] == 255).all()
    expected = truth(ds, "CLP", [server.scenes[0]])
    np.testing.assert_array_equal(ds.CLP.values[0][:, ~beyond], expected[:, ~beyond])
    assert series_from_dataset(ds).mask.variable == "CLP"


def test_dates_products_plan_and_fetch_agree_and_ask_the_catalog_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenes = [scene(day, TILE) for day in DAYS]
    with SentinelHubServer(scenes) as server:
        source = connect(server, monkeypatch)
        times = source.dates(area(), None, None)
        assert times.dtype == "datetime64[s]" and server.count("catalog") == 1
        ds = source.fetch(area(), date(2023, 5, 2), None, ["B02", "B01"], times[2:])
        assert server.count("catalog") == 1
        np.testing.assert_array_equal(ds.time.values, times[1:2].astype("datetime64[ns]"))
        rows = source.products(area(), date(2023, 5, 6), date(2023, 5, 6))
        assert [row["product_id"] for row in rows] == [scenes[1].product_id]
        before = source.usage()
        plan = source.plan(area(), None, None, ["B02", "B01"], times[:1])
        source.fetch(area(), None, None, ["B02", "B01"], times[:1])
        after = source.usage()
    assert plan.requests == after["requests"] - before["requests"] - 1  # the plan's own search
    assert plan.processing_units == pytest.approx(after["pu_spent"] - before["pu_spent"], abs=1e-4)
    priced = source.estimate(area(), ["B02", "B01"], 2)
    assert priced == {"requests": plan.requests, "pu": pytest.approx(plan.processing_units)}
    nbytes = sum(ds[v].nbytes for v in ("B02", "B01", "SCL"))
    assert plan.raw_bytes == 2 * nbytes
    assert (plan.height, plan.width) == ds.B02.shape[1:]


def test_periods_without_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelHubServer([scene(DAYS[0], TILE)]) as server:
        source = connect(server, monkeypatch)
        assert len(source.dates(area(), date(2023, 6, 1), None)) == 0
        assert len(source.dates(area(), None, date(2014, 1, 1))) == 0
        with pytest.raises(NoDataError, match="2023-06-01 to today"):
            source.fetch(area(), date(2023, 6, 1), None, None, ())
        had = source.dates(area(), None, None)
        empty = source.fetch(area(), None, None, ["B02"], had)
        assert empty.sizes["time"] == 0 and empty.sizes["x"] > 0
        # A scene that images only a corner of the place's box is no frame.
        to_degrees = Transformer.from_crs(32631, 4326, always_xy=True)
        corners = [(660_000, 5_620_000), (700_000, 5_620_000), (700_000, 5_660_000)]
        triangle = shapely.Polygon([to_degrees.transform(*corner) for corner in corners])
        server.scenes = [scene(DAYS[0], (660_000, 5_640_000, 670_000, 5_660_000))]
        assert len(source.dates(Aoi(triangle, "triangle"), None, None)) == 0


def test_a_pass_over_midnight_belongs_to_the_day_on_which_it_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = scene(DAYS[0], TILE, start="23:55:00", delay_s=600.0)
    with SentinelHubServer([late]) as server:
        source = connect(server, monkeypatch)
        assert len(source.dates(area(), date(2023, 5, 1), date(2023, 5, 1))) == 1
        assert len(source.dates(area(), date(2023, 5, 2), date(2023, 5, 2))) == 0


def test_real_imagery(monkeypatch: pytest.MonkeyPatch) -> None:
    place = read_aoi(Path(__file__).parents[1] / "examples" / "field.geojson")
    sample = get_source("sample").fetch(place, None, date(2015, 9, 1), None, ())
    scenes = []
    for row, time in enumerate(sample.time.values):
        one = sample.isel(time=row)
        names = ("B02", "B04", "B8A", "SCL")
        raster = Raster(
            {name: one[name].values for name in names},
            {name: one[one[name].dims[1]].values for name in names},
            {name: one[one[name].dims[0]].values for name in names},
        )
        ground = bounds_of(sample, "")
        day = str(time)[:10]
        scenes.append(scene(day, ground, baseline="0213", epsg=3035, imagery=raster))
    with SentinelHubServer(scenes) as server:
        ds = connect(server, monkeypatch).fetch(place, None, None, ["B02", "B04", "B8A"], ())
    assert ds.sizes["time"] == sample.sizes["time"] == 3
    zone = CRS(str(ds.spatial_ref.attrs["crs_wkt"])).to_epsg()
    for row, one in enumerate(scenes):
        for band in ("B02", "B04", "B8A", "SCL"):
            np.testing.assert_array_equal(ds[band].values[row], truth(ds, band, [one], zone), band)
    # The field lies inside: what was fetched is its imagery, not the nodata around it.
    assert np.mean(ds.B04.values > 0) > 0.8 and np.ptp(ds.B04.values) > 500


def test_wrong_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "sentinelhub" in names()
    with pytest.raises(ConfigError, match="mask 'fmask'"):
        get_source("sentinelhub", mask="fmask")
    with pytest.raises(ConfigError, match="attempts=0"):
        get_source("sentinelhub", attempts=0)
    with pytest.raises(ConfigError, match="timeout_s=nan"):
        get_source("sentinelhub", timeout_s=float("nan"))
    with SentinelHubServer([scene(DAYS[0], TILE)]) as server:
        source = connect(server, monkeypatch)
        with pytest.raises(SourceError, match="no band 'B10'; it has B01"):
            source.fetch(area(), None, None, ["B10"], ())
        with pytest.raises(AoiError, match=r"million pixels a date; split"):
            source.fetch(area((300_000, 5_300_000, 700_000, 5_700_000)), None, None, None, ())
        with pytest.raises(AoiError, match="beyond UTM"):
            source.dates(Aoi(shapely.box(10, 85, 11, 86), "north"), None, None)
        assert server.requests == []
    assert json.dumps(source.usage())
