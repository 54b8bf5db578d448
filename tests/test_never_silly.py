"""Absurd input: never a crash, never more than raw size and a small header, promises kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scenes
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import stvc

PROMISE = 1000
"""Bytes that an archive may need above raw size."""
PER_UNIT = 12
"""Bytes of index per coding unit."""
PER_COEFFICIENT = 3
"""Bytes per entry of the spectral transform: a header of many bands is no longer small."""
RNG = np.random.default_rng(77)
ONE, FOUR = ("B1",), ("B1", "B2", "B3", "B4")
MODES: list[dict[str, object]] = [{}, {"lossless": True}, {"max_error": 4}, {"psnr": 60}]


def stack(pixels: np.ndarray, mask: np.ndarray | None = None) -> xr.Dataset:
    """Dataset without coordinates or CRS from (T, C, H, W)."""
    dims = ("time", "y", "x")
    variables = {f"B{c + 1}": (dims, pixels[:, c].astype(np.uint16)) for c in range(len(pixels[0]))}
    if mask is not None:
        variables["mask"] = (dims, mask)
    return xr.Dataset(variables, coords={"time": scenes.times(len(pixels))})


def check(ds: xr.Dataset, path: Path, **options: object) -> xr.Dataset:
    """Encode, decode, verify; size and bound must hold."""
    report = stvc.encode(ds, path, **options)
    with stvc.open(path) as archive:
        decoded, verified, info = archive.to_xarray(), archive.verify(), archive.info()
    assert verified.ok
    assert decoded.sizes == ds.sizes
    bands = scenes.bands_of(ds)
    raw = sum(ds[b].nbytes for b in bands)
    entries = sum(min(len(bands) - k, 16) ** 2 for k in range(0, len(bands), 16))
    extra = PER_UNIT * verified.units_checked + PER_COEFFICIENT * (entries if entries > 16 else 0)
    assert report.bytes_after <= raw + PROMISE + extra
    if options.get("lossless"):
        xr.testing.assert_equal(decoded, ds)
    nodata = np.all([ds[b].values == 0 for b in bands], 0)
    for band in bands:
        assert (decoded[band].values[nodata] == 0).all()
        if "max_error" in options:
            miss = decoded[band].values.astype(int) - ds[band].values
            clear = ~scenes.hidden_on(ds, band) & ~nodata
            assert np.abs(miss[clear]).max(initial=0) <= options["max_error"]
    assert 0 <= info["mask"]["clear_share"] <= 1
    return decoded


def noise(high: int) -> np.ndarray:
    return RNG.integers(0, high, (2, 3, 24, 40))


def decibels() -> np.ndarray:
    """Speckled Sentinel-1 backscatter as DN: hundredths of a dB above -50."""
    base = scenes.texture(RNG, (40, 40))[None, None] * 3 - 14
    speckle = 10 * np.log10(RNG.gamma(4.4, 1 / 4.4, (3, 2, 40, 40)))
    return np.clip((base + speckle + 50) * 100, 1, 65535)


CASES: dict[str, Callable[[], xr.Dataset]] = {
    "full-range noise": lambda: stack(noise(65536)),
    "small noise": lambda: stack(noise(3)),
    "constant": lambda: stack(np.full((3, 2, 24, 24), 4321)),
    "all nodata": lambda: stack(np.zeros((3, 2, 24, 24))),
    "largest value": lambda: stack(np.full((2, 2, 16, 16), 65535)),
    "one pixel": lambda: stack(np.full((1, 1, 1, 1), 9)),
    "checkerboard": lambda: stack(np.indices((2, 2, 32, 32))[2:].sum(0) % 2 * 65534 + 1),
    "one bright pixel": lambda: stack(np.eye(1, 1024, 500).reshape(1, 1, 32, 32) * 65534 + 1),
    "one clear pixel": lambda: stack(
        noise(9000)[:, :, :17, :17], np.arange(2 * 289).reshape(2, 17, 17) != 300
    ),
    "all cloud": lambda: stack(scenes.ground(1, 3, 2, (24, 24)), np.ones((3, 24, 24), bool)),
    "one seen date": lambda: stack(
        scenes.ground(1, 9, 2, (16, 16)), np.arange(9)[:, None, None] != np.full((16, 16), 4)
    ),
    "huge numbers": lambda: stack(65535 - scenes.ground(2, 3, 3, (32, 32))),
    "radar": lambda: stack(decibels()),
    "a row": lambda: stack(scenes.ground(3, 2, 2, (1, 300))),
    "another ground every date": lambda: stack(
        np.concatenate([scenes.ground(k, 1, 2, (32, 32)) for k in range(4)])
    ),
    "nodata and largest": lambda: stack(RNG.choice([0, 65535], (2, 2, 24, 24))),
    "long gaps": lambda: stack(scenes.ground(4, 3, 1, (16, 16))).assign_coords(
        time=np.array(["1972-01-01", "2000-02-29", "2199-12-31"], "datetime64[ns]")
    ),
}


@pytest.mark.parametrize("options", MODES, ids=["quality", "lossless", "bounded", "psnr"])
@pytest.mark.parametrize("case", CASES)
def test_absurd_places(tmp_path: Path, case: str, options: dict[str, object]) -> None:
    check(CASES[case](), tmp_path / "a.stvc", **options)


@pytest.mark.parametrize("clouds", ["keep", "coarse"])
@pytest.mark.parametrize("case", ["all cloud", "all nodata", "one clear pixel", "constant"])
def test_absurd_masks(tmp_path: Path, case: str, clouds: str) -> None:
    check(CASES[case](), tmp_path / "a.stvc", clouds=clouds, quality=50)


@pytest.mark.parametrize("options", [{}, {"max_error": 4}], ids=["quality", "bounded"])
def test_forty_bands(tmp_path: Path, options: dict[str, object]) -> None:
    for pixels in (scenes.ground(5, 2, 40, (16, 24)), RNG.integers(0, 65536, (1, 40, 8, 8))):
        check(stack(pixels), tmp_path / "a.stvc", **options)


def test_absurd_dates_after_ordinary_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.stvc"
    stvc.encode(stack(scenes.ground(6, 2, 2, (24, 24))), path, max_error=9)
    for k, pixels in enumerate(
        (RNG.integers(0, 65536, (1, 2, 24, 24)), np.zeros((1, 2, 24, 24)),
         np.full((1, 2, 24, 24), 65535), scenes.ground(6, 1, 2, (24, 24)))
    ):  # fmt: skip
        ds = stack(pixels)
        when = ds.time + np.timedelta64(100 * (k + 1), "D")
        before = path.stat().st_size
        stvc.append(ds.assign_coords(time=when), path)
        assert path.stat().st_size - before <= pixels.size * 2 + 200
        with stvc.open(path) as archive:
            last = archive.to_xarray(time=str(when.values[0])[:10])
        for c in range(2):
            seen = (pixels[0] != 0).any(0)
            miss = last[f"B{c + 1}"].values[0].astype(int) - pixels[0, c]
            assert np.abs(miss[seen]).max(initial=0) <= 9


@settings(max_examples=25)
@given(
    pixels=arrays.arrays(
        np.uint16,
        st.tuples(*(st.integers(1, n) for n in (3, 3, 18, 18))),
        elements=st.one_of(st.sampled_from([0, 1, 65534, 65535]), st.integers(0, 65535)),
    ),
    masked=st.booleans(),
    options=st.sampled_from(MODES),
    clouds=st.sampled_from(["drop", "coarse", "keep"]),
    seed=st.integers(0, 99),
)
def test_any_array(
    tmp_path_factory: pytest.TempPathFactory,
    pixels: np.ndarray,
    masked: bool,
    options: dict[str, object],
    clouds: str,
    seed: int,
) -> None:
    t, _, h, w = pixels.shape
    mask = np.random.default_rng(seed).random((t, h, w)) < 0.3 if masked else None
    path = tmp_path_factory.mktemp("any") / "a.stvc"
    check(stack(pixels, mask), path, clouds=clouds, **options)
