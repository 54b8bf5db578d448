"""Errors per band, on clear pixels and on all: RMSE, PSNR, largest error, bias, SSIM; SAM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.fidelity.pairing import Pair, PairedGroup
from stvc.metrics import Distortion, sam_degrees
from stvc.types import U16

Bool = npt.NDArray[np.bool_]

SSIM_WINDOW = 11
"""Pixels per side of the Gaussian window (deviation 1.5), as in Wang et al. 2004."""
_BATCH = 1 << 22
# ^ Samples per call: bounds the memory of SSIM's intermediate planes.


@dataclass(frozen=True)
class Errors:
    """Of one band over one set of pixels."""

    samples: int
    rmse: float | None
    """DN."""
    psnr: float | None
    """dB, peak 10000 DN; infinite without error."""
    max_error: int
    """DN."""
    bias: float | None
    """Mean of decoded minus original, DN."""
    mae: float | None
    """Mean absolute error, DN."""


@dataclass(frozen=True)
class BandQuality:
    """One row of the table."""

    band: str
    gsd: float
    clear: Errors
    all: Errors
    """Over every pixel that has a value in the original."""
    ssim: float | None
    """Mean over windows that are wholly clear; None if there is none."""


@dataclass(frozen=True)
class GroupAngle:
    """Spectral angle over the bands of one grid."""

    bands: tuple[str, ...]
    clear: float | None
    """Degrees."""
    all: float | None


def band_table(pair: Pair) -> list[BandQuality]:
    """Measure every shared band."""
    rows = []
    for group in pair.groups:
        for c, band in enumerate(group.bands):
            before, after = group.original[:, c], group.decoded[:, c]
            rows.append(
                BandQuality(
                    band,
                    group.grid.gsd,
                    errors(before, after, group.clear),
                    errors(before, after, before > 0),
                    ssim(before, after, group.clear),
                )
            )
    return rows


def angles(pair: Pair) -> list[GroupAngle]:
    """Measure the spectral angle of every grid with at least two bands."""
    return [
        GroupAngle(
            group.bands,
            sam_degrees(group.original, group.decoded, group.clear),
            sam_degrees(group.original, group.decoded),
        )
        for group in pair.groups
        if len(group.bands) > 1
    ]


def errors(original: U16, decoded: U16, chosen: Bool) -> Errors:
    """Measure (T, H, W) DN over chosen pixels; integer sums, so exact."""
    squared, absolute, signed, count, largest = 0, 0, 0, 0, 0
    for before, after, pixels in zip(original, decoded, chosen, strict=True):
        miss = after[pixels].astype(np.int64) - before[pixels]
        if miss.size:
            squared += int((miss * miss).sum())
            absolute += int(np.abs(miss).sum())
            signed += int(miss.sum())
            count += miss.size
            largest = max(largest, int(np.abs(miss).max()))
    sums = Distortion(squared, count, largest)
    if not count:
        return Errors(0, None, None, 0, None, None)
    return Errors(count, sums.rmse, sums.psnr, largest, signed / count, absolute / count)


def overall(pair: Pair) -> Distortion:
    """Errors over the clear pixels of all bands, as the archive's own PSNR counts them."""
    total = Distortion()
    for group in pair.groups:
        for c in range(len(group.bands)):
            e = errors(group.original[:, c], group.decoded[:, c], group.clear)
            total += Distortion(round((e.rmse or 0.0) ** 2 * e.samples), e.samples, e.max_error)
    return total


def ssim(original: U16, decoded: U16, clear: Bool) -> float | None:
    """Mean structural similarity over the windows that lie wholly on clear pixels.

    Parameters
    ----------
    original, decoded : ndarray, (T, H, W) uint16
    clear : ndarray, (T, H, W) bool

    Returns
    -------
    float or None
        None if no window is wholly clear, or the original's clear pixels are all alike.

    Notes
    -----
    The dynamic range is that of the original's clear pixels (0.5th to 99.5th percentile), not
    10000: land fills a twentieth of that, and SSIM would call any blur perfect.

    References
    ----------
    Wang et al. 2004, IEEE TIP 13(4); computed by ``kornia.metrics.ssim``.
    """
    import torch
    from kornia.metrics import ssim as kornia_ssim

    inside = whole_windows(clear, SSIM_WINDOW)
    frames = np.flatnonzero(inside.any(axis=(1, 2)))
    if not len(frames):
        return None
    low, high = np.percentile(original[clear], (0.5, 99.5))
    if high <= low:
        return None
    total, count = 0.0, 0
    batch = max(1, _BATCH // original[0].size)
    for start in range(0, len(frames), batch):
        rows = frames[start : start + batch]
        a, b = (torch.from_numpy(x[rows].astype(np.float64))[:, None] for x in (original, decoded))
        values = kornia_ssim(a, b, SSIM_WINDOW, max_val=float(high - low))[:, 0].numpy()
        total += float(values[inside[rows]].sum())
        count += int(inside[rows].sum())
    return total / count


def whole_windows(clear: Bool, window: int) -> Bool:
    """(T, H, W): centers of windows that lie inside the image and are clear all over."""
    out = np.zeros_like(clear)
    _, height, width = clear.shape
    half = window // 2
    if height < window or width < window:
        return out
    sums = np.zeros((len(clear), height + 1, width + 1), np.int32)
    sums[:, 1:, 1:] = clear.cumsum(1, dtype=np.int32).cumsum(2, dtype=np.int32)
    inside = (
        sums[:, window:, window:]
        - sums[:, :-window, window:]
        - sums[:, window:, :-window]
        + sums[:, :-window, :-window]
    )
    out[:, half : height - half, half : width - half] = inside == window * window
    return out


def group_of(pair: Pair, bands: tuple[str, ...]) -> PairedGroup | None:
    """Find the grid that has all of some bands."""
    return next((g for g in pair.groups if set(bands) <= set(g.bands)), None)
