"""Views of a frame: true color, false color, NDVI, mask; whatever bands there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.bands import named_like
from stvc.errors import CorruptInputError
from stvc.masks import axis_spans, hidden, hidden_on_grid
from stvc.pictures.colors import RGB, class_table, colorize
from stvc.types import U16, GroupGrid, Series

Bool = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]

NDVI_RANGE = (-0.2, 1.0)
"""NDVI of the first and the last color; water and snow lie below, all at the first color."""
_GAMMA = 0.7
_LOW, _HIGH = 2.0, 99.0
# ^ Percentiles of the clear pixels: single roofs and shadows must not set the brightness.
_TELLING = 0.3
# ^ Clear share from which on a date has a say in the brightness of all.


class View(StrEnum):
    """What a picture shows of a frame."""

    true_color = "true-color"
    false_color = "false-color"
    ndvi = "ndvi"
    mask = "mask"


@dataclass(frozen=True)
class Recipe:
    """How a view is made from the bands that there are."""

    view: View
    bands: tuple[str, ...]
    """Red, green, blue of the picture; a single band is grey; (red, nir) of NDVI; () of a mask."""
    note: str
    """What the view lacks, for the user; empty if it is what its name says."""


def common_names(
    bands: Sequence[str], attrs: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, str]:
    """Map common names (``red``) to a dataset's band names.

    Parameters
    ----------
    bands : sequence of str
        Names as the dataset spells them.
    attrs : mapping, optional
        Attributes per band; a ``common_name`` in them goes before what the name suggests.
    """
    named: dict[str, str] = {}
    for band in bands:
        said = (attrs or {}).get(band, {}).get("common_name")
        if isinstance(said, str):
            named.setdefault(said.lower(), band)
    told = set(named.values())
    rest = [band for band in bands if band not in told]
    for common in ("red", "green", "blue", "nir", "nir08", "swir16", "swir22"):
        found = named_like(common, rest)
        if found is not None:
            named.setdefault(common, found)
    return named


def recipe(
    view: View,
    bands: Sequence[str],
    attrs: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    mask_kind: str = "none",
) -> Recipe:
    """Choose the bands of a view.

    Parameters
    ----------
    view : View
    bands : sequence of str
        All bands, those of the finest grid first.
    attrs : mapping, optional
        See `common_names`.
    mask_kind : str
        Kind of the archive's mask.

    Raises
    ------
    CorruptInputError
        If the view cannot be made: no red and near infrared, or no mask.
    """
    named = common_names(bands, attrs)
    nir = named.get("nir") or named.get("nir08")
    if view is View.mask:
        if mask_kind == "none":
            raise CorruptInputError("the archive has no mask; choose another view")
        return Recipe(view, (), "")
    if view is View.ndvi:
        red = named.get("red")
        if red is None or nir is None:
            lacking = " and ".join(
                name for name, band in (("red", red), ("near infrared", nir)) if band is None
            )
            raise CorruptInputError(
                f"no {lacking} band for NDVI among {', '.join(bands)}; choose another view"
            )
        return Recipe(view, (red, nir), "")
    wanted = (
        (nir, named.get("red"), named.get("green"))
        if view is View.false_color
        else (named.get("red"), named.get("green"), named.get("blue"))
    )
    found = tuple(band for band in wanted if band is not None)
    if len(found) == 3:
        return Recipe(view, found, "")
    shown = tuple(bands[:3]) if len(bands) >= 3 else tuple(bands[:1])
    lack = {
        View.true_color: "red, green and blue",
        View.false_color: "near infrared, red and green",
    }[view]
    how = "as red, green, blue" if len(shown) == 3 else "in grey"
    return Recipe(view, shown, f"no {lack} bands: shows {' '.join(shown)} {how}")


def finest(series: Series) -> GroupGrid:
    """Return the grid with most pixels, which pictures are drawn on."""
    return max(series.grids, key=lambda grid: grid.shape[1] * grid.shape[2])


def bands_finest_first(grids: Sequence[GroupGrid]) -> list[str]:
    """Name all bands, those of the finest grid first."""
    ordered = sorted(grids, key=lambda grid: -grid.shape[1] * grid.shape[2])
    return [band for grid in ordered for band in grid.bands]


def planes(series: Series, bands: Sequence[str], onto: GroupGrid) -> U16:
    """Bring bands to one grid, by the nearest pixel.

    Parameters
    ----------
    series : Series
        T frames.
    bands : sequence of str
        n names.
    onto : GroupGrid
        (H, W) pixels.

    Returns
    -------
    ndarray, (T, n, H, W) uint16
    """
    _, height, width = onto.shape
    out = np.empty((len(series.times), len(bands), height, width), np.uint16)
    for k, band in enumerate(bands):
        for grid, pixels in zip(series.grids, series.pixels, strict=True):
            if band in grid.bands:
                rows, columns = nearest(grid.y, onto.y), nearest(grid.x, onto.x)
                out[:, k] = pixels[:, grid.bands.index(band)][:, rows][:, :, columns]
    return out


def nearest(coarse: npt.NDArray[np.float64], fine: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """For each fine pixel center along an axis, the index of the coarse pixel that covers it."""
    return axis_spans(coarse, fine, None if len(fine) == 1 else abs(float(fine[1] - fine[0])))[0]


def hidden_pixels(series: Series, onto: GroupGrid, pixels: U16) -> Bool:
    """Tell which pixels do not show the ground: by the mask, or nodata in any of some bands.

    Parameters
    ----------
    series : Series
    onto : GroupGrid
        (H, W) pixels.
    pixels : ndarray, (T, n, H, W) uint16
        Bands on that grid.

    Returns
    -------
    ndarray, (T, H, W) bool
    """
    unclear = hidden_on_grid(hidden(series.classes, series.mask.kind), series.mask, onto)
    if pixels.shape[1] == 0:
        return np.asarray(unclear)
    return np.asarray(unclear | (pixels == 0).any(axis=1))


@dataclass(frozen=True)
class Stretch:
    """Limits between black and white, one pair for all dates: an animation must not flicker."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def fit(cls, pixels: U16, clear: Bool) -> Stretch:
        """Take the usual percentiles of a date's clear pixels.

        Parameters
        ----------
        pixels : ndarray, (T, n, H, W) uint16
        clear : ndarray, (T, H, W) bool

        Notes
        -----
        Limits are medians over dates of each date's percentiles, so that a few dates with snow do
        not darken the others. The channels keep part of their common span: stretched one by one,
        shadows turn blue.
        """
        share = clear.mean(axis=(1, 2))
        telling = np.flatnonzero(share >= min(_TELLING, float(share.max(initial=0))))
        telling = telling[:: max(1, len(telling) // 60)]
        low, high = [], []
        for t in telling:
            seen = (
                pixels[t][:, clear[t]] if clear[t].any() else pixels[t].reshape(len(pixels[t]), -1)
            )
            seen = seen[:, (seen > 0).all(axis=0)]
            if seen.shape[1]:
                a, b = np.percentile(seen[:, :: max(1, seen.shape[1] // 100_000)], (_LOW, _HIGH), 1)
                low.append(a)
                high.append(b)
        if not low:
            return cls((0.0,) * pixels.shape[1], (1.0,) * pixels.shape[1])
        dark = np.median(low, axis=0)
        span = np.maximum(np.median(high, axis=0) - dark, 1.0)
        span = np.sqrt(span * span.max())
        dark = np.maximum(dark - 0.06 * span, 0.0)
        return cls(tuple(map(float, dark)), tuple(map(float, dark + span)))

    def apply(self, pixels: npt.NDArray[Any]) -> RGB:
        """Turn (n, H, W) DN, n = 1 or 3, into (H, W, 3) uint8."""
        low = np.array(self.low, np.float32)[:, None, None]
        span = np.array(self.high, np.float32)[:, None, None] - low
        lit = np.clip((pixels.astype(np.float32) - low) / span, 0, 1) ** np.float32(_GAMMA)
        shown = np.rint(lit * 255).astype(np.uint8).transpose(1, 2, 0)
        return np.repeat(shown, 3, axis=2) if shown.shape[2] == 1 else shown


def ndvi_of(red: npt.NDArray[Any], nir: npt.NDArray[Any]) -> F32:
    """(nir - red) / (nir + red) of DN; NaN where either is nodata."""
    r, n = red.astype(np.float32), nir.astype(np.float32)
    known = (red > 0) & (nir > 0)
    ratio = (n - r) / np.where(known, n + r, np.float32(1))
    return np.where(known, ratio, np.float32(np.nan))


def render(recipe: Recipe, pixels: U16, stretch: Stretch | None) -> RGB:
    """Draw one frame of a color or NDVI view.

    Parameters
    ----------
    recipe : Recipe
    pixels : ndarray, (n, H, W) uint16
        The recipe's bands.
    stretch : Stretch or None
        Of color views.

    Returns
    -------
    ndarray, (H, W, 3) uint8
        Nodata is mid-grey.
    """
    if recipe.view is View.ndvi:
        return colorize(ndvi_of(*pixels), *NDVI_RANGE, "vegetation")
    if stretch is None:
        raise ValueError(f"a {recipe.view} view needs a stretch")
    nodata = (pixels == 0).all(axis=0)
    return np.where(nodata[..., None], np.uint8(128), stretch.apply(pixels))


def render_classes(classes: npt.NDArray[np.uint8], kind: str) -> RGB:
    """Draw (H, W) mask classes as (H, W, 3) uint8."""
    return class_table(mask_variable(kind))[classes]


def mask_variable(kind: str) -> str:
    """``SCL`` of ``SCL;hide=3,8-10``: the variable of a mask kind, without its rule."""
    return kind.partition(";")[0]


def classes_on(series: Series, frame: int, onto: GroupGrid) -> npt.NDArray[np.uint8]:
    """Bring one frame's mask classes to a grid, by the nearest pixel: (H, W) uint8."""
    rows, columns = nearest(series.mask.y, onto.y), nearest(series.mask.x, onto.x)
    return np.asarray(series.classes[frame][rows][:, columns])
