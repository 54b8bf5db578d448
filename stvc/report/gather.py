"""One walk through an archive: everything a report shows of each date, at the size it shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.errors import CorruptInputError
from stvc.fidelity.pairing import pair
from stvc.pictures.frame import north_up, shrink
from stvc.pictures.views import (
    Recipe,
    View,
    bands_finest_first,
    classes_on,
    finest,
    hidden_pixels,
    ndvi_of,
    nearest,
    planes,
    recipe,
)
from stvc.report.maps import Curve, Gathered, map_factor
from stvc.report.spent import TracedArchive
from stvc.types import F64, U8, GroupGrid, Series

F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]
Progress = Callable[[int, int, str], None]

MIN_CLEAR = 0.05
"""A date with a smaller clear share counts as clouded: its mean would be of a few pixels."""
_SPENT_BLOCK = 8


def gather(
    archive: TracedArchive,
    original: Series | None,
    *,
    budget: int,
    frames: list[tuple[int, Series]] | None = None,
    progress: Progress | None = None,
) -> Gathered:
    """Decode every date once and keep what is shown of it.

    Parameters
    ----------
    archive : TracedArchive
    original : Series, optional
        What was encoded; error maps are made of it.
    budget : int
        Bytes that the maps may take.
    frames : list, optional
        Gets (position in time, frame) of every date.
    progress : callable, optional
        Called with (done, total, what).

    Raises
    ------
    CorruptInputError
        If the archive is empty, or the original does not fit it.
    """
    order = archive.frame_order()
    if not order:
        raise CorruptInputError(f"{archive.path} holds no date; nothing to report")
    opened = archive._open_place(with_background=False)
    names = bands_finest_first(opened.place.grids)
    kind = opened.place.mask.kind
    onto = max(opened.place.grids, key=lambda g: g.shape[1] * g.shape[2])
    recipes = {
        view: recipe(view, names, opened.band_attrs) for view in (View.true_color, View.false_color)
    }
    if recipes[View.false_color].note:
        del recipes[View.false_color]  # the same bands as the other view, under a wrong name
    try:
        ndvi = recipe(View.ndvi, names, opened.band_attrs)
    except CorruptInputError:
        ndvi = None
    layers = len(recipes) + (ndvi is not None) + 2 * (original is not None) + 1
    factor = map_factor(onto, len(order), layers=layers, budget=budget)
    maker = _Maker(recipes, ndvi, kind, onto, factor, len(order), original)
    for done, (position, series) in enumerate(archive.stream()):
        maker.add(position, series, archive.spent(order[position]))
        if frames is not None:
            frames.append((position, series))
        if progress is not None:
            progress(done + 1, len(order), "decoding")
    return maker.finish(archive.times)


class _Maker:
    """Fills the arrays of `Gathered` date by date."""

    def __init__(
        self,
        recipes: dict[View, Recipe],
        ndvi: Recipe | None,
        mask_kind: str,
        onto: GroupGrid,
        factor: int,
        dates: int,
        original: Series | None,
    ) -> None:
        _, height, width = onto.shape
        small = (-(-height // factor), -(-width // factor))
        self.recipes, self.ndvi_recipe, self.mask_kind = recipes, ndvi, mask_kind
        self.onto, self.factor, self.original = onto, factor, original
        self.colors = {
            view: np.zeros((dates, len(r.bands), *small), np.uint16) for view, r in recipes.items()
        }
        self.ndvi = None if ndvi is None else np.full((dates, *small), np.nan, np.float32)
        self.classes = None if mask_kind == "none" else np.zeros((dates, *small), np.uint8)
        self.hidden = np.zeros((dates, *small), bool)
        self.block = max(_SPENT_BLOCK, factor)
        self.spent = np.zeros(
            (dates, -(-height // self.block), -(-width // self.block)), np.float32
        )
        self.curve = np.full((4, dates), np.nan)
        self.share = np.zeros(dates)
        with_original = original is not None
        self.error = np.full((dates, *small), np.nan, np.float32) if with_original else None
        first = next(iter(recipes.values()))
        self.before = (
            np.zeros((dates, len(first.bands), *small), np.uint16) if with_original else None
        )

    def add(self, t: int, series: Series, spent: tuple[F64, ...]) -> None:
        """Take one decoded date."""
        onto = finest(series)
        unclear = None
        for view, made in self.recipes.items():
            pixels = planes(series, made.bands, onto)
            if unclear is None:
                unclear = hidden_pixels(series, onto, pixels)[0]
            self.colors[view][t] = [self._small(plane) for plane in pixels[0]]
        assert unclear is not None
        clear = ~unclear
        self.hidden[t] = self._small(unclear)
        self.share[t] = clear.mean()
        if self.classes is not None:
            self.classes[t] = self._sampled(classes_on(series, 0, onto))
        value = self._value(series, onto)
        if self.ndvi is not None:
            self.ndvi[t] = self._small_with_gaps(value)
        known = clear & np.isfinite(value)
        if known.mean() >= MIN_CLEAR:
            seen = value[known].astype(np.float64)
            self.curve[:3, t] = seen.mean(), *np.percentile(seen, (10, 90))
        self._add_spent(t, series, onto, spent)
        if self.original is not None:
            self._add_original(t, series, onto, known)

    def _value(self, series: Series, onto: GroupGrid) -> F32:
        """What the curve shows, (H, W): NDVI, or reflectance of the first band."""
        if self.ndvi_recipe is not None:
            return ndvi_of(*planes(series, self.ndvi_recipe.bands, onto)[0])
        first = planes(series, onto.bands[:1], onto)[0, 0]
        return np.where(first > 0, first / np.float32(10_000), np.float32(np.nan))

    def _add_spent(self, t: int, series: Series, onto: GroupGrid, spent: tuple[F64, ...]) -> None:
        total = np.zeros(onto.shape[1:])
        for grid, bits in zip(series.grids, spent, strict=True):
            area = (onto.shape[1] * onto.shape[2]) / bits.size
            total += bits[nearest(grid.y, onto.y)][:, nearest(grid.x, onto.x)] / area
        self.spent[t] = shrink(north_up(total.astype(np.float32), onto), self.block)

    def _add_original(self, t: int, series: Series, onto: GroupGrid, known: Bool) -> None:
        if self.original is None or self.error is None or self.before is None:
            return
        rows = self.original.times == series.times[0]
        if not rows.any():
            days = self.original.times.astype("datetime64[D]")
            rows = days == series.times[0].astype("datetime64[D]")
        if int(rows.sum()) != 1:
            return
        both = pair(_only(self.original, int(np.flatnonzero(rows)[0])), series)
        squared, count = np.zeros(onto.shape[1:]), np.zeros(onto.shape[1:])
        for group in both.groups:
            miss = group.decoded[0].astype(np.float64) - group.original[0]
            at = nearest(group.grid.y, onto.y), nearest(group.grid.x, onto.x)
            for plane in miss**2:
                squared += np.where(group.clear[0], plane, 0.0)[at[0]][:, at[1]]
                count += group.clear[0][at[0]][:, at[1]]
        rms = np.sqrt(np.where(count > 0, squared / np.maximum(count, 1), np.nan))
        self.error[t] = self._small_with_gaps(rms.astype(np.float32))
        swapped = _with_pixels(series, both.groups)
        first = next(iter(self.recipes.values()))
        self.before[t] = [self._small(p) for p in planes(swapped, first.bands, onto)[0]]
        value = self._value(swapped, onto)
        seen = known & np.isfinite(value)
        if seen.mean() >= MIN_CLEAR:
            self.curve[3, t] = float(value[seen].mean())

    def _small(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return shrink(north_up(image, self.onto), self.factor)

    def _sampled(self, classes: U8) -> U8:
        turned = north_up(classes, self.onto)
        start = self.factor // 2
        edge = [(0, -n % self.factor) for n in turned.shape]
        return np.pad(turned, edge, mode="edge")[start :: self.factor, start :: self.factor]

    def _small_with_gaps(self, values: F32) -> F32:
        """Average what is known of each map pixel; NaN where nothing is."""
        known = np.isfinite(values)
        share = self._small(known.astype(np.float32))
        mean = self._small(np.where(known, values, 0).astype(np.float32))
        return np.where(share > 0, mean / np.maximum(share, 1e-6), np.float32(np.nan))

    def finish(self, times: npt.NDArray[np.datetime64]) -> Gathered:
        """Hand everything over."""
        name = "NDVI" if self.ndvi_recipe is not None else f"{self.onto.bands[0]} reflectance"
        mean, low, high, before = self.curve
        return Gathered(
            times=times,
            grid=self.onto,
            factor=self.factor,
            block=self.block,
            colors={view: (self.recipes[view], pixels) for view, pixels in self.colors.items()},
            ndvi=self.ndvi,
            classes=self.classes,
            mask_kind=self.mask_kind,
            hidden=self.hidden,
            spent=self.spent,
            curve=Curve(name, mean, low, high, before if self.original is not None else None),
            error=self.error,
            original=self.before,
            clear_share=self.share,
        )


def _only(series: Series, row: int) -> Series:
    from stvc.dataset import select_times

    return select_times(series, np.arange(len(series.times)) == row)


def _with_pixels(series: Series, groups: Any) -> Series:
    """The decoded frame with the original's pixels in place of its own, where there are any."""
    stacks = []
    for grid, pixels in zip(series.grids, series.pixels, strict=True):
        stack = pixels.copy()
        for group in groups:
            if group.grid.suffix == grid.suffix and group.grid.shape[1:] == grid.shape[1:]:
                for c, band in enumerate(group.bands):
                    stack[:, grid.bands.index(band)] = group.original[:, c]
        stacks.append(stack)
    return replace(series, pixels=tuple(stacks))
