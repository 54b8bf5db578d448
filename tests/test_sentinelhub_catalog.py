"""How products make frames, without a server; and what the catalog may not tell us."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from servers.places import TILE, area
from servers.sentinelhub_answers import feature_of
from servers.sentinelhub_scenes import Scene, scene

from stvc.aoi import Aoi
from stvc.errors import AoiError, SourceError
from stvc.source.sentinelhub.catalog import Overpass, overpasses, product_of
from stvc.source.sentinelhub.layout import lay_out

LEFT = (TILE[0], TILE[1], 650_200.0, TILE[3])
RIGHT = (650_200.0, TILE[1], TILE[2], TILE[3])
DAY = "2023-05-01"


def frames_of(*scenes: Scene) -> tuple[Overpass, ...]:
    return overpasses([product_of(feature_of(s)) for s in scenes], area().geometry)


def feature(**changes: Any) -> dict[str, Any]:
    return {**feature_of(scene(DAY, TILE)), **changes}


def test_versions_of_a_cut_recording() -> None:
    # Both halves, and a reprocessed version of the left one only.
    left_old = scene(DAY, LEFT, baseline="0300")
    left_new = scene(DAY, LEFT, baseline="0500")
    right = scene(DAY, RIGHT, baseline="0300", delay_s=431, made="20230501T153000")
    (frame,) = frames_of(left_old, right, left_new)
    assert {p.id for p in frame.products} == {left_new.product_id, right.product_id}
    assert frame.supersedes == left_old.product_id
    assert frame.baseline == "05.00" and frame.contested


def test_the_same_baseline_made_twice_is_a_version_too() -> None:
    early = scene(DAY, TILE, made="20230501T120000")
    again = scene(DAY, TILE, made="20230501T180000")
    (frame,) = frames_of(again, early)
    assert frame.product_id == again.product_id and frame.supersedes == early.product_id


@given(st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(shuffle: random.Random) -> None:
    scenes = [
        scene(DAY, LEFT),
        scene(DAY, RIGHT, delay_s=431, made="20230501T153000"),
        scene(DAY, TILE, baseline="0400", made="20230501T110000"),
        scene("2023-05-06", TILE),
        scene(DAY, TILE, platform="S2A", orbit=51, start="12:22:11"),
        scene(DAY, TILE, platform="S2C", start="10:40:51"),
    ]
    expected = frames_of(*scenes)
    mixed = scenes * 2
    shuffle.shuffle(mixed)
    found = frames_of(*mixed)
    assert found == expected
    assert len(found) == 4
    times = [frame.time for frame in found]
    assert all(a < b for a, b in pairwise(times))


def test_satellites_of_one_second_get_two_times() -> None:
    one, two = frames_of(scene(DAY, TILE, platform="S2A"), scene(DAY, TILE, platform="S2B"))
    assert (two.time - one.time).astype(int) == 1
    assert one.contested and two.contested


def test_neighbors_of_one_recording_are_not_contested() -> None:
    (frame,) = frames_of(scene(DAY, LEFT), scene(DAY, RIGHT, tile="31UGS", delay_s=401))
    assert len(frame.products) == 2 and not frame.contested


def test_unknown_names_are_grouped_by_time() -> None:
    odd = [
        feature(id="tile-a", properties={"datetime": "2023-05-01T10:47:01.123Z"}),
        feature(id="tile-b", properties={"datetime": "2023-05-01T10:47:09+00:00"}),
        feature(id="tile-c", properties={"datetime": "2023-05-03T10:47:09"}),
    ]
    first, second = overpasses([product_of(f) for f in odd], area().geometry)
    assert first.product_id == "tile-a,tile-b" and first.baseline == "" and first.supersedes == ""
    assert str(first.time) == "2023-05-01T10:47:01" and str(second.time) == "2023-05-03T10:47:09"


@pytest.mark.parametrize("geometry", [None, 5, {}, {"type": "Polygon"}, {"type": "Point"}, "x"])
def test_a_footprint_of_no_use_does_not_lose_the_frame(geometry: Any) -> None:
    product = product_of(feature(geometry=geometry))
    assert product.footprint is None
    assert len(overpasses([product], area().geometry)) == 1


@pytest.mark.parametrize(
    "bad",
    [
        feature(id="../../etc/passwd"),
        feature(id="a/b"),
        feature(id=""),
        feature(id="x" * 300),
        feature(id="a\nb"),
        feature(id='"]; evil(); ["'),
        feature(id=5),
        {"properties": {}},
        [],
        None,
        "feature",
        feature(properties={"datetime": "yesterday"}),
        feature(properties={}),
        feature(properties=[]),
        feature(properties={"datetime": 1e99}),
    ],
)
def test_hostile_features_are_refused(bad: Any) -> None:
    with pytest.raises(SourceError, match="the catalog lists"):
        product_of(bad)


def test_the_layout_of_one_pixel_and_of_a_polar_place() -> None:
    tiny = area((650_001, 5_620_001, 650_002, 5_620_002))
    layout = lay_out(tiny, ["B02"])
    assert [(g.gsd, g.spec.height, g.spec.width) for g in layout.groups] == [(10, 2, 2), (20, 1, 1)]
    assert layout.bounds == (650_000.0, 5_620_000.0, 650_020.0, 5_620_020.0)
    south = lay_out(Aoi(shapely.box(-70.01, -33.01, -70.0, -33.0), "santiago"), None)
    assert south.epsg == 32719 and [g.gsd for g in south.groups] == [10, 20, 60]
    with pytest.raises(AoiError, match="million"):
        lay_out(Aoi(shapely.box(-179.9, 10, 179.9, 11), "belt"), None)


@pytest.mark.parametrize("band", [None, ["B01"], ["B02"], ["B05"], ["B01", "B02"]])
def test_windows_cover_each_grid_once(band: list[str] | None) -> None:
    layout = lay_out(area((600_000, 5_600_000, 652_000, 5_601_000)), band)
    for group in layout.groups:
        assert group.spec.bounds == layout.bounds
        covered = [w.shape[0] * w.shape[1] for w in group.windows()]
        assert sum(covered) == group.spec.height * group.spec.width
        assert all(max(w.shape) <= 2500 for w in group.windows())
