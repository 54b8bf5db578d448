"""One date of a dataset drawn with matplotlib: true color if it can be, hidden pixels veiled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.bands import named_like
from stvc.errors import CorruptInputError, StvcError
from stvc.indices import reflectance

if TYPE_CHECKING:
    import xarray as xr

_RECENT = 10
_COLORS = ("red", "green", "blue")


def draw_date(
    ds: xr.Dataset, time: Any = None, bands: Iterable[str] | None = None, ax: Any = None
) -> Any:
    """Draw one date; see `StvcAccessor.quicklook`.

    Raises
    ------
    StvcError
        If matplotlib is not installed.
    CorruptInputError
        If the dataset lacks the bands, or they lie on different grids.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise StvcError("pictures need matplotlib: pip install 'stvc[plot]'") from error
    frame = _choose(ds, time)
    names = _choose_bands(frame, bands)
    planes = [reflectance(frame[name]) for name in names]
    if len({plane.dims for plane in planes}) > 1:
        raise CorruptInputError(
            f"{', '.join(names)} lie on different grids; open with resolution=10"
        )
    clear = np.asarray(frame.stvc.clear(names[0]).values)
    pixels = np.stack([np.asarray(plane.values, np.float64) for plane in planes], axis=-1)
    shown = _stretch(pixels, clear)
    if len(names) == 1:
        shown = np.repeat(shown, 3, axis=-1)
    veil = np.where(clear, 0.0, 0.55)[..., None]
    shown = shown * (1 - veil) + 0.75 * veil
    if ax is None:
        _, ax = pyplot.subplots(figsize=(5, 5), layout="constrained")
    y, x = planes[0].dims
    ax.imshow(shown, interpolation="nearest", extent=_extent(frame, str(y), str(x)))
    when = str(frame["time"].values.astype("datetime64[m]")).replace("T", " ")
    ax.set_title(f"{when} UTC, {'/'.join(names)}, {clear.mean():.0%} clear")
    ax.set_xlabel(str(x))
    ax.set_ylabel(str(y))
    ax.ticklabel_format(useOffset=False, style="plain")
    return ax


def _choose(ds: xr.Dataset, time: Any) -> xr.Dataset:
    if "time" not in ds.dims:
        return ds
    if not ds.sizes["time"]:
        raise CorruptInputError("the dataset has no dates; nothing to draw")
    if time is not None:
        return ds.sel(time=np.datetime64(time, "ns"), method="nearest")
    late = ds.isel(time=slice(-_RECENT, None))
    share = late["clear_share"] if "clear_share" in late.coords else late.stvc.clear_fraction
    return late.isel(time=int(np.argmax(share.values)))


def _choose_bands(frame: xr.Dataset, bands: Iterable[str] | None) -> list[str]:
    held = frame.stvc.bands
    if bands is not None:
        names = [bands] if isinstance(bands, str) else list(bands)
        unknown = [name for name in names if name not in held]
        if unknown or len(names) not in (1, 3):
            raise CorruptInputError(
                f"bands={names}: give one or three of {', '.join(held) or 'no bands'}"
            )
        return names
    if not held:
        raise CorruptInputError("the dataset has no band; nothing to draw")
    named = [named_like(color, held) for color in _COLORS]
    if all(named) and len({frame[name].dims for name in named}) == 1:
        return [str(name) for name in named]
    return [held[0]]


def _stretch(pixels: np.ndarray[Any, Any], clear: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Scale to 0..1 by what is clear."""
    ground = pixels[clear] if clear.any() else pixels.reshape(-1, pixels.shape[-1])
    ground = ground[np.isfinite(ground).all(axis=1)]
    if not len(ground):
        return np.full(pixels.shape, 0.9)
    low, high = np.percentile(ground, (1, 99), axis=0)
    scaled = (pixels - low) / np.maximum(high - low, 1e-6)
    return np.asarray(np.clip(np.nan_to_num(scaled, nan=0.9), 0, 1) ** 0.8)


def _extent(frame: xr.Dataset, y: str, x: str) -> tuple[float, float, float, float]:
    rows, columns = frame[y].values.astype(float), frame[x].values.astype(float)

    def edges(axis: np.ndarray[Any, Any]) -> tuple[float, float]:
        half = (axis[-1] - axis[0]) / (2 * (len(axis) - 1)) if len(axis) > 1 else 0.5
        return float(axis[0] - half), float(axis[-1] + half)

    left, right = edges(columns)
    top, bottom = edges(rows)
    return left, right, bottom, top
