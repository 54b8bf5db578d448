"""Small synthetic places for the codec tests: textured ground that shifts, changes and clouds over.

Everything follows from a seed. Nothing here is realistic in detail; what matters is that bands and
dates resemble each other, that dates are shifted by fractions of a pixel, and that clouds move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

Bool = npt.NDArray[np.bool_]
U16 = npt.NDArray[np.uint16]

TEN = ("B02", "B03", "B04", "B08")
TWENTY = ("B05", "B8A", "B11")
SIXTY = ("B01",)
WEST, NORTH = 600_000.0, 5_600_000.0


def texture(
    rng: np.random.Generator, shape: tuple[int, int], slope: float = 1.4
) -> npt.NDArray[Any]:
    """Correlated field (H, W) of mean 0 and deviation 1 whose amplitude falls with frequency."""
    h, w = shape
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]
    radius = np.hypot(fy, fx) + 1.0 / max(h, w, 2)
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) / radius**slope, s=shape)
    return np.asarray((field - field.mean()) / (field.std() or 1.0))


def moved(field: npt.NDArray[Any], dy: float, dx: float) -> npt.NDArray[Any]:
    """Translate a field (..., H, W) by fractions of a pixel, wrapping around."""
    h, w = field.shape[-2:]
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]
    phase = np.exp(2j * np.pi * (fy * dy + fx * dx))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(field) * phase, s=(h, w)))


def clouds(rng: np.random.Generator, shape: tuple[int, int]) -> Bool:
    """One to three elliptic clouds on an (H, W) grid."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    out = np.zeros(shape, bool)
    for _ in range(int(rng.integers(1, 4))):
        cy, cx = rng.uniform(0, 1, 2) * shape
        ry, rx = rng.uniform(0.12, 0.4, 2) * shape
        out |= ((y - cy) / max(ry, 0.6)) ** 2 + ((x - cx) / max(rx, 0.6)) ** 2 < 1
    return out


def ground(
    seed: int, dates: int, bands: int, shape: tuple[int, int], *, noise: float = 10.0
) -> U16:
    """(T, C, H, W) DN of a cloudless place that changes slowly and shifts by up to 0.6 pixel."""
    rng = np.random.default_rng(seed)
    sources = np.stack([texture(rng, shape) for _ in range(3)])
    mixing = rng.normal(0, 1, (bands, 3)) * (420, 150, 60) + (300, 0, 0)
    level = rng.uniform(500, 2600, bands)
    out = np.empty((dates, bands, *shape), np.uint16)
    for t in range(dates):
        season = 1 + 0.25 * np.sin(2 * np.pi * t / 9 + np.arange(3))
        dy, dx = rng.uniform(-0.6, 0.6, 2) if t else (0.0, 0.0)
        now = moved(sources * season[:, None, None], dy, dx)
        planes = level[:, None, None] + np.tensordot(mixing, now, 1)
        planes = planes + rng.normal(0, noise, planes.shape)
        out[t] = np.clip(np.rint(planes), 1, 10_000)
    return out


def cover(pixels: U16, hidden: Bool, seed: int) -> U16:
    """Paint bright, featureless clouds over (T, C, H, W) where (T, H, W) is true."""
    rng = np.random.default_rng(seed)
    bright = rng.normal(6000, 250, (len(pixels), 1, *pixels.shape[2:]))
    return np.where(hidden[:, None], np.clip(bright, 1, 20_000), pixels).astype(np.uint16)


def axes(suffix: str, shape: tuple[int, int]) -> dict[str, tuple[str, npt.NDArray[Any]]]:
    """Pixel centers of a north-up grid; the suffix is the ground sampling distance."""
    gsd = float(suffix or 10)
    y, x = NORTH - gsd * (np.arange(shape[0]) + 0.5), WEST + gsd * (np.arange(shape[1]) + 0.5)
    return {f"y{suffix}": (f"y{suffix}", y), f"x{suffix}": (f"x{suffix}", x)}


def times(count: int, first: str = "2021-03-04T10:40:21") -> npt.NDArray[Any]:
    """Acquisitions every five days."""
    return (np.datetime64(first, "s") + np.arange(count) * np.timedelta64(5, "D")).astype(
        "datetime64[ns]"
    )


def dataset(
    dates: int = 4,
    shape: tuple[int, int] = (32, 32),
    *,
    seed: int = 0,
    groups: Mapping[str, Sequence[str]] | None = None,
    mask: str | None = None,
    mask_suffix: str = "",
    cloudy: Sequence[int] = (1, 3),
    crs: bool = False,
    noise: float = 10.0,
) -> xr.Dataset:
    """Build a dataset as `stvc.encode` wants it.

    Parameters
    ----------
    dates, shape
        Number of dates; (H, W) of the 10 m grid. Coarser grids are large enough to cover it.
    groups
        Bands per dimension suffix; four 10 m bands if not given.
    mask
        ``"SCL"``, ``"mask"`` or None: no mask and no clouds.
    mask_suffix
        Grid of the mask.
    cloudy
        Dates with clouds; the others are clear.
    crs
        Whether there is a ``spatial_ref``.
    """
    groups = {"": TEN} if groups is None else groups
    rng = np.random.default_rng(seed + 1000)
    fine = np.zeros((dates, *shape), bool)
    for t in cloudy if mask else ():
        if t < dates:
            fine[t] = clouds(rng, shape)

    def sized(suffix: str) -> tuple[int, int]:
        ratio = int(suffix or 10) // 10
        return -(-shape[0] // ratio), -(-shape[1] // ratio)

    def seen_by(suffix: str) -> Bool:
        ratio = int(suffix or 10) // 10
        return fine[:, ::ratio, ::ratio]

    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {"time": ("time", times(dates))}
    for g, (suffix, bands) in enumerate(groups.items()):
        pixels = ground(seed + g, dates, len(bands), sized(suffix), noise=noise)
        pixels = cover(pixels, seen_by(suffix), seed + 50 + g)
        coords |= axes(suffix, sized(suffix))
        for c, band in enumerate(bands):
            variables[band] = (("time", f"y{suffix}", f"x{suffix}"), pixels[:, c])
    if mask is not None:
        hidden = seen_by(mask_suffix)
        coords |= axes(mask_suffix, sized(mask_suffix))
        clear = np.where(rng.random(hidden.shape) < 0.1, 5, 4)
        values = hidden if mask == "mask" else np.where(hidden, 9, clear).astype(np.uint8)
        variables[mask] = (("time", f"y{mask_suffix}", f"x{mask_suffix}"), values)
    ds = xr.Dataset(variables, coords=coords, attrs={"title": "synthetic"})
    if crs:
        from stvc.crs import long_crs
        from stvc.grid import spatial_ref_attrs
        from stvc.types import GroupGrid

        grids = tuple(
            GroupGrid(s, tuple(b), coords[f"y{s}"][1], coords[f"x{s}"][1])
            for s, b in groups.items()
        )
        ds.coords["spatial_ref"] = (
            (),
            np.int64(0),
            spatial_ref_attrs(long_crs("EPSG:32631"), grids),
        )
    return ds


def bands_of(ds: xr.Dataset) -> list[str]:
    """Names of the band variables."""
    return [str(name) for name, v in ds.data_vars.items() if v.ndim == 3 and v.dtype == np.uint16]


def hidden_on(ds: xr.Dataset, band: str) -> Bool:
    """(T, H, W): pixels of a band that its dataset's mask hides (same or coarser mask grid)."""
    height, width = ds[band].shape[1:]
    if "mask" in ds:
        flags = ds["mask"].values
    elif "SCL" in ds:
        flags = np.isin(ds["SCL"].values, (0, 1, 3, 8, 9, 10))
    else:
        return np.zeros(ds[band].shape, bool)
    ratio = max(1, round(height / flags.shape[1]))
    if flags.shape[1] <= height:
        return np.asarray(flags.repeat(ratio, 1).repeat(ratio, 2)[:, :height, :width])
    step = -(-flags.shape[1] // height)
    pad = [(0, 0), (0, height * step - flags.shape[1]), (0, width * step - flags.shape[2])]
    cut = np.pad(flags, pad).reshape(len(flags), height, step, width, step)
    return np.asarray(cut.any((2, 4)))


def field_of(dates: int) -> xr.Dataset:
    """One band, 16 x 16 pixels, no clouds: the least that an archive can grow by."""
    pixels = ground(5, dates, 1, (16, 16))[:, 0]
    times = np.datetime64("2020-01-03", "ns") + 5 * np.arange(dates) * np.timedelta64(1, "D")
    axes = {"y": NORTH - 10.0 * np.arange(16), "x": WEST + 10.0 * np.arange(16)}
    return xr.Dataset({"B04": (("time", "y", "x"), pixels)}, {"time": times, **axes})
