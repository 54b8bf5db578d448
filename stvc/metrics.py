"""Distortion and rate measures: PSNR, spectral angle, NDVI error, Bjontegaard rates.

Everything is computed from decoded uint16 arrays. Frames have shape (..., C, H, W); ``clear`` has
shape (..., H, W), true where the ground is seen, or is None for "everywhere".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc._ndvi import NdviError
from stvc.errors import CorruptInputError, QualityError
from stvc.types import F64, U16

PEAK = 10000.0
"""DN of reflectance 1: the peak of every PSNR in this project."""

Clear = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Distortion:
    """Exact error sums over a set of samples; sets of groups or frames add up with ``+``."""

    squared: int = 0
    """Sum of squared errors, DN squared."""
    samples: int = 0
    """Number of samples."""
    largest: int = 0
    """Largest absolute error, DN."""

    def __add__(self, other: Distortion) -> Distortion:
        """Join two disjoint sets of samples."""
        return Distortion(
            self.squared + other.squared,
            self.samples + other.samples,
            max(self.largest, other.largest),
        )

    @property
    def rmse(self) -> float | None:
        """Root mean squared error, DN; None over no samples."""
        return float(np.sqrt(self.squared / self.samples)) if self.samples else None

    @property
    def psnr(self) -> float | None:
        """PSNR in dB against ``PEAK``; infinite without error, None over no samples."""
        if not self.samples:
            return None
        if not self.squared:
            return float("inf")
        return float(10 * np.log10(PEAK * PEAK * self.samples / self.squared))


def distortion(original: U16, decoded: U16, clear: Clear | None = None) -> Distortion:
    """Sum up the errors of decoded frames.

    Parameters
    ----------
    original, decoded : ndarray, (..., C, H, W) uint16
        Frames in DN.
    clear : ndarray, (..., H, W) bool, optional
        Which pixels count.

    Returns
    -------
    Distortion
        Exact integer sums.

    Raises
    ------
    CorruptInputError
        If the shapes do not fit each other.
    """
    total = Distortion()
    for before, after, seen in _frames(original, decoded, clear):
        error = np.abs(after.astype(np.int64) - before.astype(np.int64))[:, seen]
        if error.size:
            total += Distortion(int((error * error).sum()), error.size, int(error.max()))
    return total


def sam_degrees(original: U16, decoded: U16, clear: Clear | None = None) -> float | None:
    """Mean spectral angle between original and decoded pixel vectors.

    Pixels whose original bands are all 0 (nodata) do not count; a pixel that decodes to all 0 is
    at 90 degrees. Shapes, errors: see `distortion`.

    Returns
    -------
    float or None
        Degrees; None if no pixel counts, or with a single band (which has no angle).

    References
    ----------
    Kruse et al. 1993, Remote Sens. Environ. 44; the angle by Kahan's half-angle formula, which
    is exactly 0 for equal vectors, where arccos is not.
    """
    if original.ndim >= 3 and original.shape[-3] < 2:
        return None
    angle_sum, count = 0.0, 0
    for before, after, seen in _frames(original, decoded, clear):
        a, b = before[:, seen].astype(np.float64), after[:, seen].astype(np.float64)
        norm_a, norm_b = np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0)
        valid = norm_a > 0
        black = valid & (norm_b == 0)
        both = valid & ~black
        u, v = a[:, both] / norm_a[both], b[:, both] / norm_b[both]
        half = np.arctan2(np.linalg.norm(u - v, axis=0), np.linalg.norm(u + v, axis=0))
        angle_sum += float(np.degrees(2 * half).sum()) + 90.0 * int(black.sum())
        count += int(valid.sum())
    return angle_sum / count if count else None


def ndvi_mae(
    original: U16, decoded: U16, red: int, nir: int, clear: Clear | None = None
) -> float | None:
    """Mean absolute error of NDVI = (nir - red) / (nir + red).

    Parameters
    ----------
    original, decoded, clear
        See `distortion`.
    red, nir : int
        Positions of the two bands on the channel axis.

    Returns
    -------
    float or None
        None if no pixel has an original NDVI; a pixel that decodes to nir + red = 0 has NDVI 0.
    """
    total = NdviError()
    for before, after, seen in _frames(original, decoded, clear):
        total.add(before, after, red, nir, seen)
    return total.mean


def bits_per_sample(n_bytes: int, n_samples: int) -> float:
    """Rate in bits per pixel per band: all bytes of a file over the samples it stands for."""
    if n_samples < 1:
        raise CorruptInputError(f"bits per sample of {n_samples} samples is undefined")
    return 8.0 * n_bytes / n_samples


@dataclass(frozen=True)
class RdCurve:
    """A codec's rate over PSNR: log rate is a monotone cubic (PCHIP) of PSNR between the points."""

    psnr: F64
    """(N,) dB, strictly increasing."""
    log_rate: F64
    """(N,) natural logarithm of the rate, strictly increasing."""
    cubic: F64
    """(N-1, 4) polynomial of ``log_rate`` on each interval, powers 0..3 of (psnr - left end)."""

    @classmethod
    def fit(cls, rates: Sequence[float], psnrs: Sequence[float | None]) -> RdCurve:
        """Fit the Pareto front of measured points; points without finite PSNR are left out.

        Raises
        ------
        QualityError
            If fewer than two points remain: a single point is no curve.
        """
        front: list[tuple[float, float]] = []
        pairs = zip(rates, psnrs, strict=True)
        points = [(r, -p) for r, p in pairs if r > 0 and p is not None and np.isfinite(p)]
        for rate, negative in sorted(points):  # of equal rates, the best PSNR comes first
            if not front or (-negative > front[-1][1] + 1e-6 and rate > front[-1][0]):
                front.append((rate, -negative))
        if len(front) < 2:
            raise QualityError(
                f"a rate-distortion curve needs two points of different PSNR, "
                f"got {len(front)}; measure more parameters"
            )
        x = np.array([psnr for _, psnr in front])
        y = np.log([rate for rate, _ in front])
        return cls(x, y, _pchip(x, y))

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest measured PSNR, dB."""
        return float(self.psnr[0]), float(self.psnr[-1])

    def rate_at(self, psnr: float, tolerance: float = 0.1) -> float | None:
        """Rate at a PSNR; None if it lies more than ``tolerance`` dB outside the measured span.

        Inside the tolerance the end cubic goes on: a codec asked for 56 dB that lands at
        55.98 dB has been measured at 56 dB for all purposes.
        """
        low, high = self.span
        if not low - tolerance <= psnr <= high + tolerance:
            return None
        i = int(np.clip(np.searchsorted(self.psnr, psnr) - 1, 0, len(self.cubic) - 1))
        powers = (psnr - self.psnr[i]) ** np.arange(4)
        return float(np.exp(powers @ self.cubic[i]))

    def mean_log_rate(self, low: float, high: float) -> float:
        """Mean of the log rate over a PSNR range inside the span (exact integral of the cubics)."""
        left = np.clip(low, self.psnr[:-1], self.psnr[1:]) - self.psnr[:-1]
        right = np.clip(high, self.psnr[:-1], self.psnr[1:]) - self.psnr[:-1]
        order = np.arange(1, 5)
        gained = (right[:, None] ** order - left[:, None] ** order) / order
        return float((gained * self.cubic).sum() / (high - low))


def common_span(
    reference: RdCurve, test: RdCurve, low: float, high: float
) -> tuple[float, float] | None:
    """PSNR range inside [low, high] that both curves cover; None if it is under 0.5 dB."""
    start = max(low, reference.span[0], test.span[0])
    stop = min(high, reference.span[1], test.span[1])
    return (start, stop) if stop - start >= 0.5 else None


def bd_rate(
    reference: RdCurve, test: RdCurve, low: float = 42.0, high: float = 56.0
) -> float | None:
    """Bjontegaard delta rate over the PSNR range that both curves cover inside [low, high].

    Parameters
    ----------
    reference, test : RdCurve
        Curves to compare.
    low, high : float
        dB.

    Returns
    -------
    float or None
        Percent; -20 means that ``test`` needs 20 % fewer bits at equal PSNR. None if the curves
        share less than 0.5 dB.

    References
    ----------
    Bjontegaard 2001, VCEG-M33; piecewise cubic form of JVET-H0030.
    """
    span = common_span(reference, test, low, high)
    if span is None:
        return None
    return float(100 * np.expm1(test.mean_log_rate(*span) - reference.mean_log_rate(*span)))


def _frames(original: U16, decoded: U16, clear: Clear | None) -> Iterator[tuple[U16, U16, Clear]]:
    """Yield (C, H, W) pairs and their (H, W) clear pixels, one frame at a time to bound memory."""
    if original.ndim < 3 or original.shape != decoded.shape:
        raise CorruptInputError(
            f"original {original.shape} and decoded {decoded.shape} must have "
            "the same shape (..., C, H, W)"
        )
    pixels = original.shape[:-3] + original.shape[-2:]
    if clear is not None and clear.shape != pixels:
        raise CorruptInputError(
            f"clear mask {clear.shape} does not fit frames {original.shape}: expected {pixels}"
        )
    everywhere = np.ones(original.shape[-2:], bool)
    for at in np.ndindex(original.shape[:-3]):
        yield original[at], decoded[at], everywhere if clear is None else clear[at].astype(bool)


def _pchip(x: F64, y: F64) -> F64:
    """Monotone cubic interpolation: (N-1, 4) coefficients.

    Interior slopes are the weighted harmonic means of Fritsch and Butland 1984, end slopes the
    shape-preserving three-point rule: what SciPy and the JVET spreadsheets use.
    """
    h, delta = np.diff(x), np.diff(y) / np.diff(x)
    slope = np.empty_like(y)
    if len(x) == 2:
        slope[:] = delta[0]
    else:
        w1, w2 = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
        # y grows strictly (the Pareto front sees to it), so that no delta is 0.
        slope[1:-1] = (w1 + w2) / (w1 / delta[:-1] + w2 / delta[1:])
        for end, h0, h1, d0, d1 in (
            (0, h[0], h[1], delta[0], delta[1]),
            (-1, h[-1], h[-2], delta[-1], delta[-2]),
        ):
            slope[end] = np.clip(((2 * h0 + h1) * d0 - h0 * d1) / (h0 + h1), 0.0, 3 * d0)
    second = (3 * delta - 2 * slope[:-1] - slope[1:]) / h
    third = (slope[:-1] + slope[1:] - 2 * delta) / h**2
    return np.stack([y[:-1], slope[:-1], second, third], axis=1)
