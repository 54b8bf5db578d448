"""What a report shows of each date, as arrays at the size on screen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.pictures.frame import shrink
from stvc.pictures.views import Recipe, View
from stvc.types import F64, U8, U16, GroupGrid

F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


@dataclass
class Curve:
    """A value over the clear pixels of each date; NaN on clouded dates."""

    name: str
    mean: F64
    """(T,)"""
    low: F64
    """(T,) 10th percentile."""
    high: F64
    """(T,) 90th percentile."""
    original: F64 | None = None
    """(T,) mean of the original, over the same pixels."""


@dataclass
class Gathered:
    """Per date, north up; (h, w) is the size on screen."""

    times: npt.NDArray[np.datetime64]
    grid: GroupGrid
    """The finest grid, whose pixels the maps average."""
    factor: int
    """Grid pixels per map pixel."""
    block: int
    """Grid pixels per pixel of `spent`."""
    colors: dict[View, tuple[Recipe, U16]]
    """Views in color: (T, n, h, w) DN."""
    ndvi: F32 | None
    """(T, h, w); NaN where nodata."""
    classes: U8 | None
    """(T, h, w)."""
    mask_kind: str
    """The archive's mask, ``none`` if it has none."""
    hidden: Bool
    """(T, h, w)."""
    spent: F32
    """(T, h', w') bits per pixel, all bands, on blocks."""
    curve: Curve
    error: F32 | None = None
    """(T, h, w) root mean square over bands of the error, DN; NaN where hidden."""
    original: U16 | None = None
    """(T, n, h, w) DN of the original, in the bands of the first color view."""
    clear_share: F64 = field(default_factory=lambda: np.zeros(0))
    """(T,) on the finest grid."""


def coarser(found: Gathered) -> Gathered:
    """Halve the size of all maps."""

    def mean(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        known = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        moved = np.moveaxis(np.where(known, values, 0), (-2, -1), (0, 1)).astype(np.float32)
        share = shrink(np.moveaxis(known, (-2, -1), (0, 1)).astype(np.float32), 2)
        halved = shrink(moved, 2) / np.maximum(share, 1e-6)
        halved = np.moveaxis(halved, (0, 1), (-2, -1))
        if values.dtype.kind == "f":
            gaps = np.moveaxis(share, (0, 1), (-2, -1)) == 0
            return np.asarray(np.where(gaps, np.nan, halved).astype(values.dtype))
        if values.dtype.kind == "b":
            return np.asarray(halved >= 0.5)
        return np.asarray(np.rint(halved).astype(values.dtype))

    return replace(
        found,
        factor=2 * found.factor,
        block=2 * found.block,
        colors={view: (made, mean(pixels)) for view, (made, pixels) in found.colors.items()},
        ndvi=None if found.ndvi is None else mean(found.ndvi),
        classes=None if found.classes is None else found.classes[:, ::2, ::2],
        hidden=mean(found.hidden),
        spent=mean(found.spent),
        error=None if found.error is None else mean(found.error),
        original=None if found.original is None else mean(found.original),
    )


def map_factor(grid: GroupGrid, dates: int, *, layers: int, budget: int) -> int:
    """Choose how many grid pixels make one map pixel, so that a page stays within a budget.

    Parameters
    ----------
    grid : GroupGrid
    dates, layers : int
        Images of the page.
    budget : int
        Bytes.
    """
    per_pixel = 0.45 * 4 / 3
    # ^ bytes per pixel and layer as measured on real series, times base64's third
    _, height, width = grid.shape
    room = budget / (per_pixel * max(dates, 1) * layers)
    factor = max(1.0, float(np.sqrt(height * width / room)), max(height, width) / 512)
    return int(np.ceil(factor - 1e-9))
