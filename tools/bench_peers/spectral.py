"""Spectral KLT in front of a coder that codes one band at a time, and the rounding to its bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench_peers.cubes import Bool, Cube, nominal_gsd
from stvc.types import U16, GroupGrid

F32 = npt.NDArray[np.float32]

_MIN_FIT = 1000  # clear pixels; below, hidden ones take part in the statistics too
_MAX_FIT = 200_000


@dataclass(frozen=True)
class Spectral:
    """Per band group an orthonormal rotation; one quantization step for all components.

    All arrays are side information that a decoder needs: their bytes are part of the rate.
    """

    means: tuple[F32, ...]
    """Per group: (C,) mean of the clear pixels, DN."""
    bases: tuple[F32, ...]
    """Per group: (C, C), one component per column, by falling variance."""
    lows: tuple[F32, ...]
    """Per group: (C,) smallest component value, DN: coefficients are coded from 0 up."""
    step: np.float32
    """Step between neighboring codes, DN; equal for all, which minimizes the squared error."""

    @property
    def nbytes(self) -> int:
        """Size of the side information."""
        arrays = (*self.means, *self.bases, *self.lows)
        return sum(array.nbytes for array in arrays) + self.step.nbytes

    def inverse(self, codes: Sequence[U16]) -> tuple[U16, ...]:
        """Turn decoded codes (T, C, H, W) back into DN."""
        frames = []
        for code, mean, basis, low in zip(codes, self.means, self.bases, self.lows, strict=True):
            components = np.moveaxis(code, 1, -1).astype(np.float32) * self.step + low
            frames.append(to_dn(np.moveaxis(components @ basis.T + mean, -1, 1)))
        return tuple(frames)


def forward(pixels: Sequence[U16], cube: Cube, bits: int) -> tuple[Spectral, list[U16]]:
    """Fit a KLT on clear pixels, one per native resolution, and quantize its components.

    Bands of one grid whose native resolutions differ (20 m bands interpolated to 10 m) are not
    mixed: a KLT across them costs a third more bits, since smooth bands stop being smooth.

    Parameters
    ----------
    pixels : sequence of ndarray, (T, C, H, W) uint16
        Frames per group, hidden pixels already replaced.
    cube : Cube
        Names the bands and the hidden pixels.
    bits : int
        Bits of a code; the step is 1 DN if the range allows, else as small as fits.

    Returns
    -------
    Spectral, list of ndarray (T, C, H, W) uint16
        The transform and its codes, ``0 <= code < 2**bits``.
    """
    means, bases, lows, components = [], [], [], []
    for frames, hidden, grid in zip(pixels, cube.hidden, cube.series.grids, strict=True):
        mean, basis = _fit(frames, hidden, grid)
        rotated = (np.moveaxis(frames, 1, -1).astype(np.float32) - mean) @ basis
        means.append(mean)
        bases.append(basis)
        lows.append(rotated.min(axis=(0, 1, 2)))
        components.append(rotated - lows[-1])
    largest = max(float(group.max()) for group in components)
    step = np.float32(max(1.0, largest / (2**bits - 1)))
    codes = [
        np.moveaxis(np.rint(group / step).clip(0, 2**bits - 1).astype(np.uint16), -1, 1)
        for group in components
    ]
    return Spectral(tuple(means), tuple(bases), tuple(lows), step), codes


def to_dn(values: npt.NDArray[np.floating]) -> U16:
    """Round to uint16, without wrapping."""
    return np.rint(values).clip(0, 65535).astype(np.uint16)


def _fit(frames: U16, hidden: Bool, grid: GroupGrid) -> tuple[F32, F32]:
    clear = ~hidden
    if clear.sum() < _MIN_FIT:
        clear = np.ones_like(hidden)
    pixels = np.moveaxis(frames, 1, -1)[clear]
    pixels = pixels[:: -(-len(pixels) // _MAX_FIT)].astype(np.float64)
    covariance = np.atleast_2d(np.cov(pixels.T))
    # On a 20 m grid, bands of 10 m and 20 m have the same detail.
    gsd = np.array([max(nominal_gsd(band) or 0, grid.gsd) for band in grid.bands])
    values, vectors = np.linalg.eigh(covariance * (gsd[:, None] == gsd))
    order = np.argsort(values)[::-1]
    return pixels.mean(axis=0).astype(np.float32), vectors[:, order].astype(np.float32)
