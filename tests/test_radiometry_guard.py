"""The guard at the door: an offset left in, or removed twice, is refused; nature is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scenes import TEN, TWENTY, dataset, texture

import stvc
from stvc.cli.app import run
from stvc.errors import RadiometryError
from stvc.exit_codes import ExitCode
from stvc.radiometry import denies_offset, harmonize, offset_is_gone, suspect_offset

SIZE = 48
LEVELS = (350, 550, 450, 2900, 2000, 900)
"""Vegetation in B02, B03, B04, B08, B8A, B11."""


def field(seed: int = 0) -> np.ndarray:
    """(6, H, W) DN of crops, some bare, and water in a corner."""
    rng = np.random.default_rng(seed)
    level = np.array(LEVELS, float)[:, None, None]
    crops = level * (1 + 0.15 * texture(np.random.default_rng(1), (SIZE, SIZE)))
    crops[:, 30:, :20] = np.array([900, 1300, 1700, 2400, 2500, 3000], float)[:, None, None]
    crops[:, :8, :8] = np.array([400, 350, 250, 150, 140, 100], float)[:, None, None]
    return np.clip(crops + rng.normal(0, 25, crops.shape), 1, 10_000).astype(np.uint16)


EVERYWHERE = np.ones((SIZE, SIZE), bool)


@pytest.mark.parametrize("bands", [slice(0, 4), slice(0, 6), slice(0, 2)])
def test_a_shift_of_one_offset_is_found(bands: slice) -> None:
    now, before = field(1)[bands], field(2)[bands]
    assert suspect_offset(now, before, EVERYWHERE) == 0
    assert suspect_offset(now + np.uint16(1000), before, EVERYWHERE) == 1000
    assert suspect_offset(now, before + np.uint16(1000), EVERYWHERE) == -1000
    assert suspect_offset(harmonize(now, -1000), before, EVERYWHERE) == -1000
    few = np.zeros_like(EVERYWHERE)
    few[20, 20:60] = True
    assert suspect_offset(now + np.uint16(1000), before, few) == 0, "too few to judge"
    assert suspect_offset(now[:1] + np.uint16(1000), before[:1], EVERYWHERE) == 0, "one band"


def season(kind: str) -> np.ndarray:
    """What nature does to the field."""
    pixels = field(3).astype(float)
    land = np.s_[:, 8:, 8:]
    snow = np.array([8500, 8300, 8000, 7300, 7000, 900], float)[:, None, None]
    if kind == "snow":
        pixels[land] = 0.9 * snow + 0.1 * pixels[land]
    elif kind == "thin snow":
        cover = np.clip(0.12 + 0.05 * texture(np.random.default_rng(5), (SIZE, SIZE)), 0, 1)
        pixels = cover * snow + (1 - cover) * pixels
    elif kind == "harvest":
        pixels[land] += np.array([700, 900, 1300, -900, -300, 1900], float)[:, None, None]
    elif kind == "spring":
        pixels[3:5] += 1000
        pixels[0:3] -= 100
    elif kind == "haze":
        haze = np.array([1150, 950, 700, 300, 200, 60], float)[:, None, None]
        pixels = pixels * np.array([0.8, 0.82, 0.85, 0.9, 0.9, 0.97])[:, None, None] + haze
    elif kind == "flood":
        pixels[:] = np.array([700, 750, 700, 450, 400, 150], float)[:, None, None]
    return np.clip(pixels, 1, 10_000).astype(np.uint16)


@pytest.mark.parametrize("kind", ["snow", "thin snow", "harvest", "spring", "haze", "flood"])
@pytest.mark.parametrize("bands", [slice(0, 4), slice(0, 6)])
def test_nature_is_not_refused(kind: str, bands: slice) -> None:
    assert suspect_offset(season(kind)[bands], field(2)[bands], EVERYWHERE) == 0


def test_other_bands_may_deny_an_offset() -> None:
    now, before = field(1)[4:], field(2)[4:]
    assert denies_offset(now, before, EVERYWHERE, 1000)
    assert not denies_offset(now + np.uint16(1000), before, EVERYWHERE, 1000)
    assert not denies_offset(harmonize(now, -1000), before, EVERYWHERE, -1000)
    assert not denies_offset(now, before, ~EVERYWHERE, 1000), "nothing to see, nothing to say"


def test_pixels_refute_a_catalog_that_denies_an_offset() -> None:
    assert offset_is_gone(field()[2])
    assert not offset_is_gone(field()[2] + np.uint16(1000))
    assert not offset_is_gone(np.zeros((50, 50), np.uint16))
    bright = np.full((50, 50), 5000, np.uint16)  # snow tells nothing
    assert not offset_is_gone(bright)


def place(dates: int = 3, mask: str | None = None) -> xr.Dataset:
    groups = {"": TEN, "20": TWENTY[1:]}
    ds = dataset(dates, (SIZE, SIZE), groups=groups, mask=mask, cloudy=(), crs=True)
    for day in range(dates):
        pixels = field(day)
        for index, band in enumerate(TEN):
            ds[band].values[day] = pixels[index]
        for index, band in enumerate(TWENTY[1:], 4):
            ds[band].values[day] = pixels[index, ::2, ::2]
    return ds.assign(baseline=("time", ["05.09"] * dates))


def shifted(ds: xr.Dataset, offset: int) -> xr.Dataset:
    moved = ds.copy(deep=True)
    for band in (*TEN, *TWENTY[1:]):
        moved[band].values[:] = harmonize(moved[band].values, offset)
    return moved


@pytest.mark.parametrize(("start", "offset"), [("auto", 1000), ("background", -1000)])
def test_append_refuses_and_leaves_the_archive_alone(
    tmp_path: Path, start: str, offset: int
) -> None:
    path = tmp_path / "a.stvc"
    ds = place(4)
    stvc.encode(ds.isel(time=slice(0, 2)), path, reference=start)
    before = path.read_bytes()
    with pytest.raises(RadiometryError) as told:
        stvc.append(shifted(ds.isel(time=[2]), offset), path)
    assert str(told.value).startswith("frame 2021-03-14T10:40:21 (baseline 05.09, offset_dn")
    assert f"about {offset:+d} DN beside what {path} holds" in str(told.value)
    assert "--accept-offset" in str(told.value)
    assert RadiometryError.exit_code == ExitCode.RADIOMETRY
    assert path.read_bytes() == before
    assert stvc.append(ds.isel(time=[2]), path).frames_added == 1
    moved = shifted(ds.isel(time=[3]), offset)
    assert stvc.append(moved, path, accept_offset=True).frames_added == 1


def test_the_command_line_refuses_and_accepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ds = place(2)[list(TEN)].drop_vars("baseline", errors="ignore")
    ds.isel(time=[0]).to_netcdf(tmp_path / "a.nc")
    shifted_ten(ds.isel(time=[1])).to_netcdf(tmp_path / "b.nc")
    out = ["-o", str(tmp_path / "a.stvc")]
    assert run(["encode", "--source", "files", "--path", str(tmp_path / "a.nc"), *out]) == 0
    later = ["encode", "--source", "files", "--path", str(tmp_path / "b.nc"), *out]
    assert run(later) == ExitCode.RADIOMETRY == 76
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("stvc: error: frame ") and "--accept-offset" in told
    assert run([*later, "--accept-offset"]) == ExitCode.OK


def test_the_guard_sees_past_a_random_access_point(tmp_path: Path) -> None:
    """Frame 16 starts a chain of its own; what the archive knows is the frame before it."""
    path = tmp_path / "a.stvc"
    ds = place(17)[list(TEN)]
    stvc.encode(ds.isel(time=slice(0, 16)), path, reference="recent", quality=20)
    with pytest.raises(RadiometryError):
        stvc.append(shifted_ten(ds.isel(time=[16])), path)
    assert stvc.append(ds.isel(time=[16]), path).frames_added == 1


def shifted_ten(ds: xr.Dataset) -> xr.Dataset:
    return ds.assign({band: ds[band] + np.uint16(1000) for band in TEN})


def test_clouds_do_not_accuse(tmp_path: Path) -> None:
    path = tmp_path / "a.stvc"
    ds = place(3, mask="SCL")
    stvc.encode(ds.isel(time=slice(0, 2)), path)
    cloudy = shifted(ds.isel(time=[2]), 1000)
    cloudy["SCL"].values[:] = 9
    assert stvc.append(cloudy, path).frames_added == 1
