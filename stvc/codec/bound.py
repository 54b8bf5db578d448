"""Bounding layer: pixel corrections that bring every required pixel within a maximum error.

After the lossy layer, ``q = round((x - y) / (2 E + 1))`` per pixel; ``y + q (2 E + 1)`` is within E
of x. E = 0 is lossless. Corrections are coded per band with one scale for each activity class of
their token (how much the lossy layer had to code there).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.codec.rangecoder import Models, Reader, Writer
from stvc.codec.transform import BLOCK, I32
from stvc.model.architecture import SCALES

U16 = npt.NDArray[np.uint16]
I64 = npt.NDArray[np.int64]

_ACTIVITY_LIMITS = (1, 8, 32, 96, 256)
_MAX_ERROR = 1 << 16


@dataclass(frozen=True)
class BoundLayer:
    """Corrections of one unit."""

    max_error: int
    corrections: tuple[tuple[I64, ...], ...]
    """Per band, per activity class: corrections in raster order."""
    decoded: U16
    """(C, H, W) after correction."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to bound."""
        return all(len(group) == 0 for band in self.corrections for group in band)

    def write(self, writer: Writer, models: Models) -> None:
        """Range-code the layer."""
        from stvc.codec.costs import best_scale

        writer.uniform(self.max_error, _MAX_ERROR)
        for band in self.corrections:
            for values in band:
                if not len(values):
                    continue
                scale = best_scale(values, models)
                writer.uniform(scale, SCALES)
                writer.symbols(values, np.zeros_like(values), np.full_like(values, scale), models)


def _activity(symbols: I32) -> npt.NDArray[np.intp]:
    """(H, W) activity class of every pixel's token."""
    effort = np.minimum(np.abs(symbols), 255).sum((0, 3))
    classes = np.searchsorted(_ACTIVITY_LIMITS, effort, side="right")
    return np.asarray(classes.repeat(BLOCK, 0).repeat(BLOCK, 1), np.intp)


def _groups(symbols: I32, required: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
    classes = _activity(symbols)
    return [(classes == k) & required for k in range(len(_ACTIVITY_LIMITS) + 1)]


def encode_bound(
    pixels: U16, decoded: U16, symbols: I32, required: npt.NDArray[np.bool_], max_error: int
) -> BoundLayer:
    """Find the corrections of a unit.

    Parameters
    ----------
    pixels, decoded : array, (C, H, W) uint16
    symbols : array, (C, h, w, 64)
        Of the lossy layer.
    required : array, (H, W) bool
    max_error : int
        E, DN.
    """
    pitch = 2 * max_error + 1
    error = pixels.astype(np.int64) - decoded
    q = np.where(required, (error + max_error) // pitch, 0)
    groups = _groups(symbols, required)
    corrections = tuple(tuple(band[g] for g in groups) for band in q)
    corrected = np.clip(decoded + q * pitch, 0, 65535).astype(np.uint16)
    return BoundLayer(max_error, corrections, corrected)


def decode_bound(
    reader: Reader, decoded: U16, symbols: I32, required: npt.NDArray[np.bool_], models: Models
) -> U16:
    """Read and apply the layer."""
    pitch = 2 * reader.uniform(_MAX_ERROR) + 1
    groups = _groups(symbols, required)
    out = decoded.astype(np.int64)
    for band in out:
        for group in groups:
            count = int(group.sum())
            if count:
                scale = np.full(count, reader.uniform(SCALES), np.int64)
                band[group] += reader.symbols(np.zeros(count, np.int64), scale, models) * pitch
    return np.clip(out, 0, 65535).astype(np.uint16)
