"""The NDVI error of decoded pixels, summed up part by part."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stvc.types import F64, U16

Bool = npt.NDArray[np.bool_]


class NdviError:
    """Sums the NDVI error over images, or over the tiles of one; see `stvc.metrics.ndvi_mae`."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, original: U16, decoded: U16, red: int, nir: int, seen: Bool) -> None:
        """Count an image in.

        Parameters
        ----------
        original, decoded : array, (C, H, W) uint16
        red, nir : int
            Positions of the two bands.
        seen : array, (H, W) bool
            Pixels that count.
        """
        a, b = original[:, seen].astype(np.float64), decoded[:, seen].astype(np.float64)
        valid = a[nir] + a[red] > 0
        error = np.abs(_ndvi(a, red, nir) - _ndvi(b, red, nir))[valid]
        self._sum += float(error.sum())
        self._count += error.size

    @property
    def mean(self) -> float | None:
        """Mean absolute error; None if no pixel has an original NDVI."""
        return self._sum / self._count if self._count else None


def _ndvi(bands: F64, red: int, nir: int) -> F64:
    total = bands[nir] + bands[red]
    ratio: F64 = (bands[nir] - bands[red]) / np.where(total > 0, total, 1.0)
    return ratio
