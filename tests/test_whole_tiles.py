"""What keeps whole satellite tiles small in memory changes no bit and no value."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from tile_workers import wide_series

import stvc
from stvc import _guard
from stvc._band_stack import stack_bands
from stvc._ndvi import NdviError
from stvc.codec import packed_state, sampling
from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.generations import NEWEST
from stvc.codec.packed_state import PackedState, pack, unpack
from stvc.codec.place import Place, Settings, Tile, nodata_of, tiles_of
from stvc.codec.references import ReferenceState
from stvc.codec.sampling import spread_sample
from stvc.codec.spectral import fit_klt
from stvc.codec.structure import Link
from stvc.masks import lookup
from stvc.metrics import ndvi_mae
from stvc.types import GroupGrid, MaskGrid
from stvc.xarray_backend.masks_of_frames import Hidden
from stvc.xarray_backend.windows import tiles_of_box

PLANES = ("recent", "second", "average", "recent_day", "second_day", "count")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every place count as a large one."""
    monkeypatch.setattr(packed_state, "LARGE", 1)


def walked(rng: np.random.Generator, dates: int, mean: int, days: list[int]) -> ReferenceState:
    state = ReferenceState(np.full(3, mean, np.int32), (16, 24))
    for day in days[:dates]:
        pixels = rng.integers(0, 65536, (3, 16, 24)).astype(np.uint16)
        hidden = rng.random((16, 24)) < rng.choice([0, 0.3, 1])
        state.update(pixels, hidden, day, (0, int(rng.integers(-2, 3))))
    return state


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 6),
    st.sampled_from([0, 900, -7, 1 << 20]),
    st.lists(st.sampled_from([0, 5, 6, 17_000, -40_000, 90_000]), min_size=6, max_size=6),
)
def test_references_come_back(seed: int, dates: int, mean: int, days: list[int]) -> None:
    state = walked(np.random.default_rng(seed), dates, mean, days)
    later = walked(np.random.default_rng(seed + 1), 2, mean, days[::-1])
    fresh = ReferenceState(state.mean, state.shape)
    for given_ in (state, state.between(later, 11)):
        back = unpack(pack(given_), fresh)
        for name in PLANES:
            np.testing.assert_array_equal(getattr(back, name), getattr(given_, name), err_msg=name)
            assert getattr(back, name).dtype == np.int32
        assert (back.two_sided, back.background) == (given_.two_sided, None)
    assert not (fresh.recent_day > days[0] - 100_000).any()  # it is lent, not used up


def test_a_first_date_takes_its_pixels() -> None:
    state = ReferenceState(np.full(4, 900, np.int32), (256, 256))
    pixels = np.random.default_rng(1).integers(1, 3000, (4, 256, 256)).astype(np.uint16)
    state.update(pixels, np.zeros((256, 256), bool), 17_000, (0, 0))
    assert pixels.nbytes <= pack(state).nbytes < 1.01 * pixels.nbytes < state.nbytes / 5
    assert not np.shares_memory(pack(state).recent, state.recent)


@pytest.mark.parametrize("settings", [{"quality": 40}, {"lossless": True}, {"effort": "fast"}])
def test_no_byte_depends_on_what_is_put_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    ds = wide_series(7)
    small, packed = tmp_path / "small.stvc", tmp_path / "packed.stvc"
    known = []
    for path, limit in ((small, 1 << 20), (packed, 1)):
        monkeypatch.setattr(packed_state, "LARGE", limit)
        stvc.encode(ds.isel(time=[0, 1, 2, 4]), path, reference="both", **settings)
        stvc.append(ds.isel(time=[3, 5]), path)  # one between, one behind
        stvc.append(ds.isel(time=[6]), path)
        known.append(stvc.open(path).to_xarray())
    assert small.read_bytes() == packed.read_bytes()
    xr.testing.assert_identical(*known)


@pytest.mark.usefixtures("large")
def test_only_what_is_needed_is_kept() -> None:
    grid = GroupGrid("", ("B04",), np.arange(8.0), np.arange(392.0))
    place = _place(grid)
    links = (Link(), Link(0), Link(0))
    decoder = FrameDecoder(place, None, links, range(3), held=(2,))
    kept = []
    for frame in range(3):
        decoder.start_frame(frame, frame * 86400)
        for tile in tiles_of(grid, NEWEST):
            state = decoder.state(frame, 0, tile)
            state.update(
                np.full((1, *tile.padded), 7 + frame), np.zeros(tile.padded, bool), 1, (0, 0)
            )
            decoder.settle(frame, 0, tile)
        kept.append([type(held) for held in decoder._states[frame].values()])
        if frame == 2:  # whoever looks on finds what was left behind
            assert (decoder.state(2, 0, tiles_of(grid, NEWEST)[1]).recent == 9).all()
        decoder.end_frame(frame, np.zeros((0, 0), np.uint8))
    assert kept == [[PackedState] * 2, [], [PackedState] * 2]


def _place(grid: GroupGrid) -> Place:
    mask = MaskGrid("none", "", np.zeros(0), np.zeros(0))
    return Place((grid,), mask, (fit_klt(np.full((4, len(grid.bands)), 9.0)),), Settings(200))


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 9), st.integers(1, 7))
def test_samples_are_spread_alike(flags: list[bool], most: int, chunk: int) -> None:
    hidden = np.array(flags, bool)
    clear = np.flatnonzero(~hidden)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "_CHUNK", chunk)
        found = spread_sample(hidden, most)
    np.testing.assert_array_equal(found, clear[:: max(1, len(clear) // most)])


def test_nodata_is_where_every_band_is_zero() -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (3, 2, 9, 11)).astype(np.uint16)
    np.testing.assert_array_equal(nodata_of(pixels), (pixels == 0).all(1))
    np.testing.assert_array_equal(nodata_of(pixels[:, :1]), pixels[:, 0] == 0)


def test_values_are_looked_up_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 12, (7, 13)).astype(np.uint8)
    table = np.arange(100, 112)
    monkeypatch.setattr(lookup, "_AT_ONCE", 10)
    for raster in (values, values[::2, ::3], values[:0]):
        np.testing.assert_array_equal(lookup.looked_up(table, raster), table[raster])


def test_bands_of_one_array_are_not_copied() -> None:
    whole = np.arange(2 * 4 * 3 * 5, dtype=np.uint16).reshape(2, 4, 3, 5)
    apart = [whole[:, k].copy() for k in range(4)]
    views = [whole[:, k] for k in range(4)]
    uneven = [whole[:, k] for k in (0, 1, 3)]
    backward = views[::-1]
    interleaved = [np.moveaxis(whole, 1, -1).copy()[..., k] for k in range(4)]
    joint = np.moveaxis(whole, 1, -1).copy()
    for bands, copied in (
        (views, False),
        (backward, False),
        ([joint[..., k] for k in range(4)], False),
        (views[:1], False),
        (apart, True),
        (uneven, True),
        ([*views[:3], apart[3]], True),
        ([views[0], views[1][:, ::-1], views[2], views[3]], True),
        (interleaved, True),
        ([views[0], views[0], views[0]], False),
    ):
        stack = stack_bands(iter(bands), len(bands))
        np.testing.assert_array_equal(stack, np.stack(bands, 1))
        assert any(np.shares_memory(stack, band) for band in bands) is not copied


@given(st.integers(1, 900), st.integers(1, 900), st.sampled_from((6, 7)), st.data())
def test_tiles_of_a_box(height: int, width: int, generation: int, draw: st.DataObject) -> None:
    grid = GroupGrid("", ("B04",), np.arange(float(height)), np.arange(float(width)))
    rows, columns = (
        slice(*sorted(draw.draw(st.tuples(st.integers(0, n), st.integers(0, n)))))
        for n in (height, width)
    )

    def meets(tile: Tile) -> bool:
        inside = np.zeros((height, width), bool)
        inside[rows, columns] = True
        return bool(inside[tile.rows, tile.columns].any())

    tiles = tiles_of(grid, generation)
    assert tiles_of_box(tiles, rows, columns) == [tile for tile in tiles if meets(tile)]


@given(st.integers(1, 40), st.data())
def test_flags_are_cut_out(width: int, draw: st.DataObject) -> None:
    flags = np.random.default_rng(width).random((2, 5, width)) < 0.5
    packed = tuple(np.packbits(each, axis=1) for each in flags)
    start, stop = sorted(draw.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
    cut = Hidden(packed[:1], packed[1:]).cut(0, slice(1, 4), slice(start, stop))
    np.testing.assert_array_equal(cut, flags[:, 1:4, start:stop])


def test_the_ndvi_error_adds_up_over_tiles() -> None:
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 90, (2, 1, 2, 20, 30)).astype(np.uint16)
    clear = rng.random((1, 20, 30)) < 0.7
    total = NdviError()
    assert total.mean is None
    for part in (slice(0, 11), slice(11, 30)):
        total.add(truth[0, ..., part], found[0, ..., part], 0, 1, clear[0, :, part])
    assert total.mean == pytest.approx(ndvi_mae(truth, found, 0, 1, clear), rel=1e-12)


def test_memory_grows_by_few_bytes_a_pixel(tmp_path: Path) -> None:
    path = tmp_path / "tile.stvc"

    def peaks(side: int) -> tuple[int, int]:
        whole = np.tile(scenes.ground(1, 1, 4, (64, 64)).astype(np.uint16), (side // 64,) * 2)
        variables = {
            band: (("time", "y", "x"), whole[:, k])
            for k, band in enumerate(("B02", "B03", "B04", "B08"))
        }
        ds = xr.Dataset(variables, {"time": np.array(["2024-05-01"], "M8[ns]")})
        found = []
        for work in (
            lambda: stvc.encode(ds, path, effort="fast"),
            lambda: stvc.open(path).to_xarray(),
        ):
            tracemalloc.start()
            try:
                work()
                found.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
        return found[0], found[1]

    peaks(64)
    small, wide = peaks(512), peaks(1024)
    pixels = 1024**2 - 512**2
    assert (wide[0] - small[0]) / pixels < 7  # beside the input; 40 with all that could be kept
    assert (wide[1] - small[1]) / pixels < 8 + 7  # the result is 8 of them


@pytest.mark.parametrize("enough", [64, 700, 2000])
def test_the_guard_looks_at_some_pixels_of_a_large_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enough: int
) -> None:
    monkeypatch.setattr(_guard, "_ENOUGH", enough)
    monkeypatch.setattr(packed_state, "LARGE", 1)
    path = tmp_path / "place.stvc"
    ds = wide_series(4)
    stvc.encode(ds.isel(time=[0, 1]), path, quality=60)
    lifted = ds.isel(time=[2]).copy(deep=True)
    for band in ("B04", "B08", "B11"):
        lifted[band] = lifted[band] + np.uint16(1000)
    with pytest.raises(stvc.errors.RadiometryError, match=r"about \+1000 DN"):
        stvc.append(lifted, path)
    stvc.append(ds.isel(time=[2, 3]), path)


@given(st.integers(1, 600), st.integers(1, 7))
def test_the_guard_finds_its_pixels(width: int, step: int) -> None:
    grid = GroupGrid("", ("B04",), np.arange(9.0), np.arange(float(width)))
    decoder = FrameDecoder(_place(grid), None, (Link(),))
    decoder.start_frame(0, 0)
    image = np.random.default_rng(width).integers(1, 999, (1, 9, width))
    clear = image[0] % 3 > 0
    for tile in tiles_of(grid, NEWEST):
        h, w = tile.size
        pixels, hidden = np.ones((1, *tile.padded)), np.ones(tile.padded, bool)
        pixels[:, :h, :w], hidden[:h, :w] = (
            image[:, tile.rows, tile.columns],
            ~clear[:, tile.columns],
        )
        decoder.state(0, 0, tile).update(pixels, hidden, 1, (0, 0))
    found, seen = _guard._known(decoder.place, decoder, 0, 0, step)
    np.testing.assert_array_equal(seen, clear[::step, ::step])
    np.testing.assert_array_equal(found[:, seen], image[:, ::step, ::step][:, seen])
