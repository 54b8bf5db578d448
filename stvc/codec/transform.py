"""Integer 8x8 block DCT: exact in float64, so every machine computes the same coefficients.

One token is one 8x8 block of one spectral component; its 64 coefficients are in zigzag order.
The orthonormal two-dimensional DCT-II is one 64x64 integer matrix (scale 2**18). Operands are
integers and every partial sum stays below 2**53, so a float64 matrix product is exact in any
order of summation, on any BLAS.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stvc.native import kernels

BLOCK = 8
COEFFICIENTS = BLOCK * BLOCK
FRACTION_BITS = 4
"""Coefficients are integers in units of 2**-4 DN."""

_SCALE_BITS = 18

I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]


def _zigzag() -> npt.NDArray[np.intp]:
    order = sorted(
        ((v, u) for v in range(BLOCK) for u in range(BLOCK)),
        key=lambda p: (p[0] + p[1], p[0] if (p[0] + p[1]) % 2 else p[1]),
    )
    return np.array([v * BLOCK + u for v, u in order])


ZIGZAG = _zigzag()
"""(64,) raster position of each zigzag position."""

RADIUS = np.hypot(ZIGZAG // BLOCK, ZIGZAG % BLOCK)
"""(64,) radial frequency of each zigzag position, 0 to 9.9."""


def _kernel() -> F64:
    n = np.arange(BLOCK)
    one = np.cos((2 * n[None] + 1) * n[:, None] * np.pi / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    one[0] /= np.sqrt(2)
    # ^ float cosines are rounded to integers once; the margin of every entry to a rounding
    #   boundary is checked by the tests, so that no libm can change the bit stream
    kernel: F64 = np.rint(np.kron(one, one)[ZIGZAG] * (1 << _SCALE_BITS))
    return kernel


KERNEL = _kernel()
"""(64, 64) float64 holding integers: rows are zigzag positions, columns raster pixels."""

_FORWARD = np.ascontiguousarray(KERNEL.T * 0.5**_SCALE_BITS)
_INVERSE = KERNEL * 0.5**_SCALE_BITS


def _parts() -> tuple[F64, F64, npt.NDArray[np.uint8]]:
    """The kernel as ``block_transform`` in kernels.h wants it: rows by their symmetries."""
    half = BLOCK // 2
    down, across = ZIGZAG // BLOCK % 2, ZIGZAG % BLOCK % 2
    order = np.lexsort((across, down)).astype(np.uint8)
    quarter = _INVERSE.reshape(COEFFICIENTS, BLOCK, BLOCK)[order, :half, :half]
    inverse = quarter.reshape(4, half * half, half * half)
    return np.ascontiguousarray(inverse.swapaxes(1, 2)), np.ascontiguousarray(inverse), order


PARTS = _parts()
"""The block transform of native kernels."""


def blocks_of(planes: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Cut (C, H, W) planes, H and W multiples of 8, into (C, H/8, W/8, 64) raster blocks."""
    c, height, width = planes.shape
    h, w = height // BLOCK, width // BLOCK
    cut = planes.reshape(c, h, BLOCK, w, BLOCK).swapaxes(2, 3)
    # ^ said in einops' words it takes longer to understand than to do
    return cut.reshape(c, h, w, COEFFICIENTS)


def planes_of(blocks: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Join (C, h, w, 64) raster blocks to (C, 8 h, 8 w) planes; inverse of `blocks_of`."""
    c, h, w, _ = blocks.shape
    joined = blocks.reshape(c, h, w, BLOCK, BLOCK).swapaxes(2, 3)
    return joined.reshape(c, h * BLOCK, w * BLOCK)


def pad_to_blocks(planes: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Repeat the last row and column of (..., H, W) until H and W are multiples of 8."""
    h, w = planes.shape[-2:]
    down, across = -h % BLOCK, -w % BLOCK
    if not (down or across):
        return planes
    out = np.empty((*planes.shape[:-2], h + down, w + across), planes.dtype)
    out[..., :h, :w] = planes
    out[..., :h, w:] = planes[..., -1:]
    out[..., h:, :] = out[..., h - 1 : h, :]
    return out


def forward(planes: npt.NDArray[np.generic]) -> I32:
    """Transform planes to coefficients.

    Parameters
    ----------
    planes : array, (C, H, W) integers, H and W multiples of 8
        Spectral components in units of 2**-4 DN, magnitude below 2**25.

    Returns
    -------
    array, (C, H/8, W/8, 64) int32
        Zigzag coefficients in units of 2**-4 DN (the transform is orthonormal).
    """
    if kernels is not None:
        return _transformed(planes, back=False)
    # A kernel divided by a power of two loses no bit, and spares a pass.
    out = blocks_of(planes).astype(np.float64, copy=False) @ _FORWARD
    out += 0.5
    return np.floor(out, out=out).astype(np.int32)


def inverse(coefficients: npt.NDArray[np.generic]) -> I32:
    """Transform (C, h, w, 64) zigzag coefficients to (C, 8 h, 8 w) int32 planes."""
    if kernels is not None:
        return _transformed(coefficients, back=True)
    blocks = coefficients.astype(np.float64, copy=False) @ _INVERSE
    blocks += 0.5
    return np.asarray(planes_of(np.floor(blocks, out=blocks).astype(np.int32)), np.int32)


def _transformed(x: npt.NDArray[np.generic], *, back: bool) -> I32:
    """Do `forward`, or `inverse`, on a native kernel."""
    assert kernels is not None
    c, h, w = x.shape[:3]
    shape = (c, h * BLOCK, w * BLOCK) if back else (c, h // BLOCK, w // BLOCK, COEFFICIENTS)
    out = np.empty(shape, np.int32)
    kernels.transform_blocks(
        PARTS, np.ascontiguousarray(x, np.int32), w * BLOCK if back else w, back, out
    )
    return out
