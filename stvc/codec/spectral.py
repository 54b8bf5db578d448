"""Integer Karhunen-Loeve transform over the bands of one native-resolution group."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.codec.spectral_fit import rotation
from stvc.codec.transform import BLOCK, COEFFICIENTS, F64, FRACTION_BITS, I32, PARTS, forward
from stvc.native import kernels

_SCALE_BITS = 14
MOST_BANDS = 64
"""Of native kernels."""
_MAX_JOINT = 16
"""Bands beyond this count are decorrelated in runs of 16: the matrix stays small in the header."""


@dataclass(frozen=True)
class Klt:
    """A spectral transform as it stands in an archive header."""

    matrix: npt.NDArray[np.int16]
    """(C, C) rows are components, the most expensive first inside each run, scale 2**14."""
    mean: npt.NDArray[np.int32]
    """(C,) mean DN per band: what is predicted when nothing is known."""
    spread: npt.NDArray[np.uint8]
    """(C,) ``8 log2(standard deviation in DN)`` per component: a prior for the entropy model."""

    @cached_property
    def _onward(self) -> F64:
        return np.asarray(self.matrix * 0.5 ** (_SCALE_BITS - FRACTION_BITS), np.float64)

    @cached_property
    def backward(self) -> F64:
        """(C, C) float64: what mixes components to bands."""
        return np.ascontiguousarray(self.matrix.T * 0.5 ** (_SCALE_BITS + FRACTION_BITS))
        # ^ a matrix divided by a power of two loses no bit, and spares a pass

    @cached_property
    def flat(self) -> I32:
        """(C, 1, 1, 64) coefficients of the constant mean."""
        c = len(self.mean)
        return self.coefficients(np.broadcast_to(self.mean[:, None, None], (c, BLOCK, BLOCK)))

    def forward(self, planes: npt.NDArray[np.generic]) -> I32:
        """(C, H, W) DN to (C, H, W) components in units of 2**-4 DN, exact."""
        return _mixed(self._onward, planes)

    def inverse(self, planes: npt.NDArray[np.generic]) -> I32:
        """(C, H, W) components in units of 2**-4 DN to (C, H, W) int32 DN (not clipped), exact."""
        return _mixed(self.backward, planes)

    def coefficients(self, planes: npt.NDArray[np.generic], mixed: I32 | None = None) -> I32:
        """(C, H, W) DN to (C, H/8, W/8, 64) coefficients of their components.

        The components are left in ``mixed`` (C, H, W), if it is given.
        """
        if kernels is None or len(planes) > MOST_BANDS:
            components = self.forward(planes)
            if mixed is not None:
                mixed[...] = components
            return forward(components)
        c, height, width = planes.shape
        kind = np.uint16 if planes.dtype == np.uint16 else np.int32
        out = np.empty((c, height // BLOCK, width // BLOCK, COEFFICIENTS), np.int32)
        kernels.forward_unit(
            PARTS,
            self._onward,
            planes.shape,
            np.ascontiguousarray(planes, kind),
            mixed,
            out,
        )
        return out

    def to_header(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "matrix": self.matrix.ravel().tolist(),
            "mean": self.mean.tolist(),
            "spread": self.spread.tolist(),
        }

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> Klt:
        """Inverse of `to_header`."""
        mean = np.array(header["mean"], np.int32)
        matrix = np.array(header["matrix"], np.int16).reshape(len(mean), len(mean))
        return cls(matrix, mean, np.array(header["spread"], np.uint8))


def _mixed(matrix: npt.NDArray[np.floating], planes: npt.NDArray[np.generic]) -> I32:
    """Mix planes (C, H, W) by integers over a power of two, rounded half up."""
    c, h, w = planes.shape
    if kernels is not None and c <= MOST_BANDS:
        kind = np.uint16 if planes.dtype == np.uint16 else np.int32
        out = np.empty((c, h, w), np.int32)
        given = np.ascontiguousarray(planes, kind)
        kernels.mix_bands(np.ascontiguousarray(matrix, np.float64), given, out, c)
        return out
    x = matrix @ planes.reshape(c, h * w).astype(np.float64)
    x += 0.5
    return np.asarray(np.floor(x, out=x), np.int32).reshape(c, h, w)


def fit_klt(
    samples: npt.NDArray[np.generic],
    patches: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None,
) -> Klt:
    """Fit the transform to clear pixels.

    Parameters
    ----------
    samples : array, (N, C) DN of clear pixels; N may be 0.
    patches : (array, array), optional
        What `stvc.codec.spectral_fit.patches_of` found in the image. Without it, or if it is
        empty, the components are those of the samples' covariance.

    Notes
    -----
    Encoder only: the eigenvectors are rounded to integers and travel in the header. Their sign
    is fixed (largest entry positive), so that encoding is deterministic.
    """
    n, c = samples.shape
    if patches is not None and not patches[1].any():
        patches = None
    if n == 0 and patches is None:
        return Klt(
            np.eye(c, dtype=np.int16) << _SCALE_BITS,
            np.zeros(c, np.int32),
            np.full(c, 64, np.uint8),
        )
    x = samples.astype(np.float64)
    mean = np.ones(n) @ x / max(n, 1)
    # ^ whole numbers: their sum is exact in any order, and a product takes a tenth of the time
    x -= mean
    covariance = x.T @ x / max(n, 1)
    if not n and patches is not None:
        covariance = np.average(patches[0], 0, patches[1])
    vectors = np.zeros((c, c))
    for lo in range(0, c, _MAX_JOINT):
        run = slice(lo, min(lo + _MAX_JOINT, c))
        if patches is not None:
            basis = rotation(patches[0][:, run, run], patches[1])
        else:
            basis = np.linalg.eigh(covariance[run, run])[1][:, ::-1].T
            # ^ eigh sorts ascending
        basis *= np.sign(basis[np.arange(len(basis)), np.abs(basis).argmax(1)])[:, None]
        vectors[run, run] = basis
    matrix = np.rint(vectors * (1 << _SCALE_BITS)).astype(np.int16)
    variance = np.einsum("ij,jk,ik->i", vectors, covariance, vectors)
    spread = np.clip(np.rint(4 * np.log2(np.maximum(variance, 1.0))), 0, 255)
    return Klt(matrix, np.rint(mean).astype(np.int32), spread.astype(np.uint8))
