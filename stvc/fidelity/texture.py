"""Texture: the radial power spectrum of the decoded copy over that of the original."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.fidelity.pairing import Pair

F64 = npt.NDArray[np.float64]

EDGES = (0.0, 0.125, 0.25, 0.375, 0.5)
"""Limits of the frequency bands, cycles per pixel."""
_SIDES = (32, 16, 8)
_MAX_PATCHES = 400


@dataclass(frozen=True)
class Spectrum:
    """Power ratios of one band."""

    band: str
    side: int
    """Pixels per side of the patches."""
    patches: int
    """Wholly clear patches over all dates."""
    ratio: tuple[float | None, ...]
    """Decoded power over the original's, per frequency band of `EDGES`; 1 = preserved, below 1 =
    smoothed; None where the original has no power."""
    original_rms: tuple[float, ...]
    """What the original holds in each frequency band, DN: bands that were resampled from a coarser
    grid hold next to nothing in the highest ones, and a ratio to nothing says nothing."""
    coherence_db: tuple[float | None, ...]
    """Original's power over the error's, per frequency band, dB; None without error."""


def spectra(pair: Pair) -> list[Spectrum] | str:
    """Measure every band on wholly clear patches; a sentence says why if there are none."""
    rows = []
    for group in pair.groups:
        side, corners = clear_patches(group.clear)
        if not corners:
            continue
        for c, band in enumerate(group.bands):
            power = np.zeros((3, len(EDGES) - 1))
            for t, y, x in corners:
                part = (t, c, slice(y, y + side), slice(x, x + side))
                before = group.original[part].astype(np.float64)
                after = group.decoded[part].astype(np.float64)
                power += [radial_power(p) for p in (before, after, after - before)]
            rows.append(_spectrum(band, side, len(corners), power))
    return rows or f"no wholly clear patch of {_SIDES[-1]} x {_SIDES[-1]} pixels"


def _spectrum(band: str, side: int, patches: int, power: F64) -> Spectrum:
    before, after, miss = power
    ratio = tuple(float(b / a) if a > 0 else None for a, b in zip(before, after, strict=True))
    level = tuple(
        float(10 * np.log10(a / e)) if a > 0 and e > 0 else None
        for a, e in zip(before, miss, strict=True)
    )
    # of the tapered patch: the taper's own energy is what a flat spectrum is scaled by
    energy = float((_taper(side) ** 2).sum() ** 2) * side**2 * patches
    rms = tuple(float(np.sqrt(a / energy)) for a in before)
    return Spectrum(band, side, patches, ratio, rms, level)


def clear_patches(
    clear: npt.NDArray[np.bool_],
) -> tuple[int, list[tuple[int, int, int]]]:
    """Choose wholly clear square patches that do not overlap.

    Parameters
    ----------
    clear : ndarray, (T, H, W) bool

    Returns
    -------
    (int, list of (date, row, column))
        The side, the largest of 32, 16, 8 that fits anywhere, and the corners.
    """
    dates, height, width = clear.shape
    for side in _SIDES:
        rows, columns = height // side, width // side
        cut = clear[:, : rows * side, : columns * side].reshape(dates, rows, side, columns, side)
        corners = [
            (int(t), int(y) * side, int(x) * side) for t, y, x in np.argwhere(cut.all(axis=(2, 4)))
        ]
        if corners:
            return side, corners[:: -(-len(corners) // _MAX_PATCHES)]
    return _SIDES[-1], []


def radial_power(patch: F64) -> F64:
    """Sum the power of a patch, its mean taken off and its edges tapered, per frequency band."""
    n = len(patch)
    taper = _taper(n)
    power = np.abs(np.fft.fft2((patch - patch.mean()) * taper[:, None] * taper)) ** 2
    fy, fx = np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)[None]
    radius = np.hypot(fy, fx)
    chosen = radius > 0
    return np.histogram(radius[chosen], bins=EDGES, weights=power[chosen])[0]


def _taper(side: int) -> F64:
    return np.hanning(side + 2)[1:-1]
