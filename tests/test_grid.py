"""Grids, bands and DN: against rasterio's affine arithmetic, and by their own laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stvc.bands import SENTINEL2, find_band, named_like
from stvc.errors import CorruptInputError
from stvc.grid import GridSpec, Window, is_index, spatial_ref_attrs
from stvc.radiometry import (
    harmonize,
    offset_of_baseline,
    reflectance_scale,
    suspect_offset,
    to_dn,
    to_reflectance,
)
from stvc.types import GroupGrid

GRID = GridSpec("EPSG:3035", left=5271982.5, top=2533004.0, gsd=10.0, height=100, width=80)


@st.composite
def grids(draw: st.DrawFn) -> GridSpec:
    gsd = draw(st.sampled_from([10.0, 20.0, 0.5, 1e-4]))
    scale = 1.0 if gsd > 1e-3 else 1e-5
    return GridSpec(
        "EPSG:32633",
        draw(st.integers(-(10**7), 10**7)) * scale,
        draw(st.integers(-(10**7), 10**7)) * scale,
        gsd,
        draw(st.integers(2, 300)),
        draw(st.integers(2, 300)),
    )


@given(grids())
def test_centers_tell_the_grid(grid: GridSpec) -> None:
    back = GridSpec.from_centers(grid.crs, grid.y, grid.x)
    assert (back.height, back.width) == (grid.height, grid.width)
    assert back.gsd == pytest.approx(grid.gsd, rel=1e-6)
    assert back.bounds == pytest.approx(grid.bounds, abs=1e-3 * grid.gsd)


def test_centers_are_gdal_s_edges_plus_half_a_pixel() -> None:
    transform = pytest.importorskip("rasterio.transform")
    affine = transform.Affine(GRID.gsd, 0.0, GRID.left, 0.0, -GRID.gsd, GRID.top)
    x, y = transform.xy(affine, np.arange(5), np.arange(5))
    np.testing.assert_array_equal(GRID.x[:5], x)
    np.testing.assert_array_equal(GRID.y[:5], y)
    assert transform.array_bounds(100, 80, affine) == GRID.bounds


@given(
    grids(),
    st.tuples(*[st.floats(0.001, 0.999)] * 4),
    st.sampled_from([1, 2, 6]),
    st.sampled_from([0.0, 1e-8, -1e-8]),
)
def test_a_snapped_window_is_the_smallest_that_covers(
    grid: GridSpec, shares: tuple[float, float, float, float], multiple: int, noise: float
) -> None:
    rows, cols = grid.height // multiple * multiple, grid.width // multiple * multiple
    assume(rows and cols)
    (row, row_stop), (col, col_stop) = sorted(shares[:2]), sorted(shares[2:])
    exact = np.array([row * rows, row_stop * rows, col * cols, col_stop * cols])
    assume(exact[1] - exact[0] > 0.01 and exact[3] - exact[2] > 0.01)
    # Away from pixel edges, where the tolerance decides.
    assume(np.all(np.abs(exact / multiple - np.round(exact / multiple)) > 1e-3))
    window = grid.snap(
        (
            grid.left + grid.gsd * exact[2],
            grid.top - grid.gsd * exact[1],
            grid.left + grid.gsd * exact[3],
            grid.top - grid.gsd * exact[0],
        ),
        multiple,
    )
    assert window is not None
    assert all(edge % multiple == 0 for edge in window)
    edges = np.array(window)
    assert np.all((edges - exact) * [1, -1, 1, -1] <= 0)
    assert np.all(np.abs(edges - exact) < multiple)
    assert np.allclose(
        grid.crop(window).y, grid.y[window.row : window.row_stop], rtol=0, atol=1e-3 * grid.gsd
    )


@given(st.integers(0, 99), st.integers(0, 79), st.floats(-1e-6, 1e-6))
def test_bounds_along_pixel_edges_do_not_grow(row: int, col: int, noise: float) -> None:
    left, top = GRID.left + 10 * col, GRID.top - 10 * row
    window = GRID.snap((left + noise, top - 10 - noise, left + 10 - noise, top + noise))
    assert window == Window(row, row + 1, col, col + 1)


def test_a_window_is_clipped_to_the_grid() -> None:
    left, bottom, right, top = GRID.bounds
    assert GRID.snap((left - 500, bottom - 500, right + 500, top + 500)) == (0, 100, 0, 80)
    assert GRID.snap((left - 500, bottom, left - 1, top)) is None
    assert GRID.snap((left, top + 1, right, top + 50)) is None
    assert GRID.snap((right, bottom, right + 50, top)) is None
    odd = GridSpec(GRID.crs, 0.0, 0.0, 10.0, 7, 9)
    assert odd.snap((0, -70, 90, 0), multiple=2) == (0, 6, 0, 8)


def test_nesting() -> None:
    coarse = GridSpec(GRID.crs, GRID.left, GRID.top, 20.0, 50, 40)
    assert GRID.nests_in(coarse) == 2
    assert GRID.nests_in(GRID) == 1
    assert coarse.nests_in(GRID) == 0
    for change in ({"left": GRID.left + 5}, {"top": GRID.top - 10}, {"gsd": 20.01}, {"height": 49}):
        assert GRID.nests_in(GridSpec(**{**vars(coarse), **change})) == 0


def test_scaled_windows_lie_on_pixel_edges() -> None:
    assert Window(2, 98, 4, 60).scaled(2) == (1, 49, 2, 30)
    assert Window(2, 98, 4, 60).shape == (96, 56)
    with pytest.raises(ValueError, match="every 2th"):
        Window(1, 98, 4, 60).scaled(2)


@pytest.mark.parametrize(
    ("y", "x"),
    [
        ([3.0, 2, 1], [1.0]),
        ([1.0, 2, 3], [1.0, 2, 3]),
        ([3.0, 2, 1], [3.0, 2, 1]),
        ([3.0, 2, 0], [1.0, 2, 3]),
        ([6.0, 4, 2], [1.0, 2, 3]),
    ],
)
def test_other_grids_are_refused(y: list[float], x: list[float]) -> None:
    with pytest.raises(CorruptInputError, match=r"pixel"):
        GridSpec.from_centers("EPSG:3035", np.array(y), np.array(x))


def test_index_axes() -> None:
    assert is_index(np.arange(5.0))
    assert is_index(np.array([0.0]))
    assert not is_index(np.arange(5.0) + 0.5)
    assert not is_index(-np.arange(5.0))


@pytest.mark.parametrize(
    ("height", "width", "want"),
    [
        (3, 2, [100, 10, 0, 500, 0, -10]),
        (1, 2, [100, 10, 0, 500, 0, -10]),
        (3, 1, [100, 10, 0, 500, 0, -10]),
        (1, 1, None),
    ],
)
def test_geotransform(height: int, width: int, want: list[float] | None) -> None:
    grid = GridSpec("EPSG:3035", 100.0, 500.0, 10.0, height, width)
    attrs = spatial_ref_attrs(grid.crs, [GroupGrid("", ("a",), grid.y, grid.x)])
    text = attrs.get("GeoTransform")
    assert (None if text is None else [float(n) for n in text.split()]) == want


def test_a_crs_unknown_to_proj_stops_no_decoder() -> None:
    assert spatial_ref_attrs("nonsense", []) == {"crs_wkt": "nonsense", "spatial_ref": "nonsense"}


def test_band_names() -> None:
    assert {find_band(n).name for n in ("B2", "b02", "B02", "blue", "Blue")} == {"B02"}
    assert find_band("b8a").name == find_band("nir08").name == "B8A"
    assert [find_band(n) for n in ("B00", "B13", "B2A", "VV", "", "B002", "B8a ")] == [None] * 7
    assert [b.name for b in SENTINEL2 if b.gsd == 10] == ["B02", "B03", "B04", "B08"]
    waves = [b.center_wavelength for b in SENTINEL2]
    assert waves == sorted(waves)
    assert named_like("red", ["B8A", "B4", "B04"]) == "B4"
    assert named_like("nir", ["B8A", "VV"]) is None


@pytest.mark.parametrize(
    ("baseline", "offset"),
    [
        ("02.14", 0),
        ("N0301", 0),
        ("03.99", 0),
        ("04.00", -1000),
        ("N0509", -1000),
        ("05.11", -1000),
    ],
)
def test_the_baseline_decides_the_offset(baseline: str, offset: int) -> None:
    assert offset_of_baseline(baseline) == offset


@pytest.mark.parametrize("baseline", ["", "5.9", "2022-01-25", "N05091"])
def test_other_baselines_are_refused(baseline: str) -> None:
    with pytest.raises(CorruptInputError, match="is not of the form"):
        offset_of_baseline(baseline)


@given(st.lists(st.integers(0, 65535), min_size=1), st.sampled_from([0, -1000]))
def test_reflectance_and_back(values: list[int], offset: int) -> None:
    dn = np.array(values, np.uint16)
    reflectance = to_reflectance(dn, offset)
    assert reflectance.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(reflectance), dn == 0)
    np.testing.assert_array_equal(to_dn(reflectance, offset), dn)


def test_known_reflectance() -> None:
    assert to_reflectance(np.array([1250], np.uint16), -1000)[0] == np.float32(0.025)
    assert to_dn(np.array([-1.0, 0.0, 0.025, 99.0, np.nan])).tolist() == [1, 1, 250, 65535, 0]
    assert reflectance_scale("B8A") == 1e-4
    assert reflectance_scale("VV") == 1.0


def test_harmonized_pixels_stay_imaged() -> None:
    dn = np.array([0, 1, 999, 1000, 1001, 65535], np.uint16)
    assert harmonize(dn, -1000).tolist() == [0, 1, 1, 1, 1, 64535]
    assert harmonize(dn, 0).tolist() == dn.tolist()
    assert harmonize(dn, 1000).tolist() == [0, 1001, 1999, 2000, 2001, 65535]


def test_a_missing_offset_is_suspected() -> None:
    rng = np.random.default_rng(1)
    background = rng.integers(1500, 4000, (3, 16, 16)).astype(np.uint16)
    clear = np.ones((16, 16), bool)
    clear[:4] = False
    frame = background + rng.integers(-100, 100, background.shape).astype(np.uint16)
    frame[:, :4] = 60000  # a cloud, which must not vote
    assert suspect_offset(frame, background, clear) == 0
    assert suspect_offset(frame + np.uint16(1000), background, clear) == 1000
    assert suspect_offset(frame - np.uint16(1000), background, clear) == -1000
    season = frame.copy()
    season[2] += 1000  # one band alone: harvest, not an offset
    assert suspect_offset(season, background, clear) == 0
    assert suspect_offset(frame + np.uint16(1000), background, clear & False) == 0
