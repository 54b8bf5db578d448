"""An original beside its decoded copy: clear pixels, errors, and NDVI curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.bands import named_like
from stvc.dataset import series_from_dataset
from stvc.errors import CorruptInputError
from stvc.masks import hidden, hidden_on_grid
from stvc.types import Series

if TYPE_CHECKING:
    import xarray as xr

F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

MIN_CLEAR = 0.05
"""A date with a smaller clear share counts as clouded: its mean would be of a few pixels."""


@dataclass(frozen=True)
class Comparison:
    """An original and its decoded copy on the grid of the group that is drawn."""

    original: npt.NDArray[np.uint16]
    """(T, C, H, W) DN."""
    decoded: npt.NDArray[np.uint16]
    """(T, C, H, W) DN."""
    clear: Bool
    """(T, H, W); false under clouds, shadows and nodata."""
    bands: tuple[str, ...]
    """C names."""
    times: npt.NDArray[np.datetime64]
    """(T,)."""

    @property
    def clear_share(self) -> F32:
        """(T,) in [0, 1]."""
        share: F32 = self.clear.mean(axis=(1, 2), dtype=np.float32)
        return share

    def error(self, frame: int) -> F32:
        """Return the root mean square over bands of one frame's error: (H, W) DN, NaN if hidden."""
        difference = self.decoded[frame].astype(np.float32) - self.original[frame]
        rms = np.sqrt(np.mean(difference**2, axis=0))
        return np.where(self.clear[frame], rms, np.float32(np.nan))

    def index_curve(self, pixels: npt.NDArray[np.uint16]) -> tuple[F32, str]:
        """Average NDVI over the clear pixels of every date, or the first band if there is none.

        Parameters
        ----------
        pixels : ndarray, (T, C, H, W) uint16
            `original` or `decoded`.

        Returns
        -------
        (ndarray (T,) float32, str)
            The curve, NaN on clouded dates, and what it shows.
        """
        red = named_like("red", self.bands)
        nir = named_like("nir", self.bands) or named_like("nir08", self.bands)
        if red is None or nir is None:
            values, what = pixels[:, 0].astype(np.float32), f"{self.bands[0]} (DN)"
        else:
            r = pixels[:, self.bands.index(red)].astype(np.float32)
            n = pixels[:, self.bands.index(nir)].astype(np.float32)
            values, what = (n - r) / np.maximum(n + r, 1), "NDVI"
        weight = self.clear.astype(np.float32)
        total = weight.sum(axis=(1, 2))
        mean = (values * weight).sum(axis=(1, 2)) / np.maximum(total, 1)
        return np.where(self.clear_share >= MIN_CLEAR, mean, np.float32(np.nan)), what


def compare(original: xr.Dataset, decoded: xr.Dataset) -> Comparison:
    """Bring the finest band group of both datasets together, on the dates that both have.

    Parameters
    ----------
    original, decoded : xarray.Dataset
        What was encoded, and what ``Archive.to_xarray()`` returns.

    Returns
    -------
    Comparison

    Raises
    ------
    CorruptInputError
        If they share no date, or the finest group has other bands or another shape.
    """
    ours, theirs = series_from_dataset(decoded), series_from_dataset(original)
    group = max(range(len(ours.grids)), key=lambda g: ours.grids[g].shape[1:])
    grid = ours.grids[group]
    twin = next((g for g, other in enumerate(theirs.grids) if other.suffix == grid.suffix), None)
    _, of_ours, of_theirs = np.intersect1d(ours.times, theirs.times, return_indices=True)
    if twin is None or theirs.grids[twin].shape[1:] != grid.shape[1:] or len(of_ours) == 0:
        raise CorruptInputError(
            "the original does not show the place and dates of the archive; "
            "read it with the same area of interest"
        )
    channels = [theirs.grids[twin].bands.index(band) for band in grid.bands]
    return Comparison(
        original=theirs.pixels[twin][of_theirs][:, channels],
        decoded=ours.pixels[group][of_ours],
        clear=_clear(ours, group)[of_ours] & (theirs.pixels[twin][of_theirs] > 0).all(axis=1),
        bands=grid.bands,
        times=ours.times[of_ours],
    )


def _clear(series: Series, group: int) -> Bool:
    grid = series.grids[group]
    if series.mask.kind == "none":
        return np.ones((len(series.times), *grid.shape[1:]), dtype=bool)
    unclear = hidden(series.classes, series.mask.kind)
    return ~np.asarray(hidden_on_grid(unclear, series.mask, grid), dtype=bool)
