"""One verdict per use, from explicit limits.

=================== ============================================ =========== ===========
use                 measure (clear pixels)                       fit         with care
=================== ============================================ =========== ===========
NDVI monitoring     mean absolute NDVI error                     <= 0.010    <= 0.020
..                  absolute NDVI bias                           <= 0.002    <= 0.005
..                  95th percentile of the NDVI error            <= 0.030    <= 0.060
change detection    F1 of the changed pixels                     >= 0.95     >= 0.85
..                  mean difference of the largest drop, NDVI    <= 0.020    <= 0.040
classification      agreement of predictions                     >= 0.97     >= 0.93
..                  accuracy lost                                <= 0.01     <= 0.03
phenology           median shift of start, end and peak, days    <= 2.5      <= 5
..                  90th percentile of those shifts, days        <= 10       <= 20
..                  seasons lost                                 <= 0.02     <= 0.05
texture and edges   power ratio at 1/8 to 3/8 cycles per pixel   0.80-1.25   0.50-2.0
..                  lowest SSIM of a band                        >= 0.95     >= 0.90
radiometry          largest absolute band bias, DN               <= 5        <= 20
..                  largest band RMSE, DN                        <= 50       <= 100
=================== ============================================ =========== ===========

Why these: Sentinel-2 NDVI carries an uncertainty of about 0.02 to 0.03 from atmosphere and
calibration alone, and its reflectance 3 to 5 percent; half of the revisit time is 2.5 days. "Fit"
stays under half of what the sensor itself contributes, "with care" about level with it. Power
ratios count where the original holds at least 5 DN in the frequency band: what was resampled from
a coarser grid has no fine texture to lose. A use's verdict is that of its worst measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stvc.fidelity.bands import BandQuality
from stvc.fidelity.change import Change
from stvc.fidelity.classes import Classification
from stvc.fidelity.indices import IndexErrors
from stvc.fidelity.phenology import Phenology
from stvc.fidelity.texture import Spectrum

MIN_TEXTURE = 5.0
"""DN that the original must hold in a frequency band for its power ratio to count."""


class Level(StrEnum):
    """How far a use can rely on the decoded pixels."""

    fit = "fit"
    care = "with care"
    unfit = "unfit"
    untested = "not tested"


@dataclass(frozen=True)
class Reason:
    """One measure against its limits."""

    measure: str
    value: float
    fit: str
    """Limit for ``fit``, as text."""
    level: Level


@dataclass(frozen=True)
class Verdict:
    """Of one use."""

    use: str
    level: Level
    reasons: tuple[Reason, ...]
    why_not: str = ""
    """Why it was not tested."""

    @property
    def line(self) -> str:
        """One sentence for humans."""
        if self.level is Level.untested:
            return f"{self.use}: not tested ({self.why_not})"
        told = ", ".join(f"{r.measure} {r.value:.3g} (fit: {r.fit})" for r in self.reasons)
        return f"{self.use}: {self.level.value}; {told}"


_ORDER = (Level.fit, Level.care, Level.unfit)


def at_most(measure: str, value: float, fit: float, care: float) -> Reason:
    """Judge a measure that should be small."""
    level = Level.fit if value <= fit else Level.care if value <= care else Level.unfit
    return Reason(measure, value, f"<= {fit:g}", level)


def at_least(measure: str, value: float, fit: float, care: float) -> Reason:
    """Judge a measure that should be large."""
    level = Level.fit if value >= fit else Level.care if value >= care else Level.unfit
    return Reason(measure, value, f">= {fit:g}", level)


def worst(use: str, reasons: Sequence[Reason]) -> Verdict:
    """Give the verdict of the worst measure."""
    level = max((reason.level for reason in reasons), key=_ORDER.index)
    return Verdict(use, level, tuple(reasons))


def verdicts(
    bands: Sequence[BandQuality],
    indices: Sequence[IndexErrors],
    change: Change | str,
    classes: Classification | str,
    phenology: Phenology | str,
    spectra: Sequence[Spectrum] | str,
) -> list[Verdict]:
    """Judge every use; what could not be measured is told as such.

    Parameters
    ----------
    bands, indices, change, classes, phenology, spectra
        What the measuring functions returned; a sentence instead of a result says why there is
        none.
    """
    ndvi = next((row for row in indices if row.name == "NDVI"), None)
    return [
        _judge(
            "NDVI monitoring",
            ndvi or "no red and near infrared bands on one grid, or no clear pixel",
            _ndvi,
        ),
        _judge("change detection", change, _change),
        _judge("classification", classes, _classes),
        _judge("phenology", phenology, _phenology),
        _judge(
            "texture and edges", spectra if isinstance(spectra, str) else (bands, spectra), _texture
        ),
        _judge(
            "radiometry", [b for b in bands if b.clear.samples] or "no clear pixel", _radiometry
        ),
    ]


def _judge(use: str, result: object, measure: object) -> Verdict:
    if isinstance(result, str):
        return Verdict(use, Level.untested, (), result)
    return worst(use, list(measure(result)))  # type: ignore[operator]


def _ndvi(ndvi: IndexErrors) -> Iterator[Reason]:
    yield at_most("mean NDVI error", ndvi.mae, 0.010, 0.020)
    yield at_most("NDVI bias", abs(ndvi.bias), 0.002, 0.005)
    yield at_most("95th percentile of NDVI error", ndvi.p95, 0.030, 0.060)


def _change(change: Change) -> Iterator[Reason]:
    yield at_least("F1 of changed pixels", change.f1, 0.95, 0.85)
    yield at_most("difference of the largest drop", change.drop_mae, 0.020, 0.040)


def _classes(classes: Classification) -> Iterator[Reason]:
    yield at_least("agreement", classes.agreement, 0.97, 0.93)
    lost = max(0.0, classes.accuracy_original - classes.accuracy_decoded)
    yield at_most("accuracy lost", lost, 0.01, 0.03)


def _phenology(found: Phenology) -> Iterator[Reason]:
    shifts = (found.start, found.end, found.peak_date)
    yield at_most("median shift, days", max(s.median for s in shifts), 2.5, 5.0)
    yield at_most("90th percentile of shifts, days", max(s.p90 for s in shifts), 10.0, 20.0)
    yield at_most("seasons lost", found.lost, 0.02, 0.05)


def _texture(found: tuple[Sequence[BandQuality], Sequence[Spectrum]]) -> Iterator[Reason]:
    bands, spectra = found
    ratios = [
        ratio
        for s in spectra
        for ratio, rms in zip(s.ratio[1:3], s.original_rms[1:3], strict=True)
        if ratio is not None and rms >= MIN_TEXTURE
    ]
    if ratios:
        farthest = max(ratios, key=lambda r: max(r, 1 / r if r > 0 else float("inf")))
        deviation = max(farthest, 1 / farthest) if farthest > 0 else float("inf")
        level = at_most("", deviation, 1.25, 2.0).level
        yield Reason("power ratio farthest from 1", farthest, "0.8 to 1.25", level)
    similar = [row.ssim for row in bands if row.ssim is not None]
    if similar:
        yield at_least("lowest SSIM", min(similar), 0.95, 0.90)
    if not ratios and not similar:
        yield at_most("error", 0.0, 0.0, 0.0)


def _radiometry(bands: Sequence[BandQuality]) -> Iterator[Reason]:
    yield at_most("largest bias, DN", max(abs(b.clear.bias or 0.0) for b in bands), 5.0, 20.0)
    yield at_most("largest RMSE, DN", max(b.clear.rmse or 0.0 for b in bands), 50.0, 100.0)
