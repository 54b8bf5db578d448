"""All measures of one archive against its original."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from stvc.fidelity.bands import BandQuality, GroupAngle, angles, band_table, overall
from stvc.fidelity.change import Change, change
from stvc.fidelity.classes import Classification, Labels, classification
from stvc.fidelity.indices import IndexErrors, index_table
from stvc.fidelity.pairing import Pair, pair
from stvc.fidelity.phenology import Phenology, phenology
from stvc.fidelity.profiles import profiles
from stvc.fidelity.texture import EDGES, Spectrum, spectra
from stvc.fidelity.verdicts import Verdict, verdicts
from stvc.types import Series

Progress = Callable[[int, int, str], None]

_STEPS = ("errors per band", "indices", "phenology", "change", "classification", "spectra")


@dataclass(frozen=True)
class Fidelity:
    """Everything that ``stvc compare`` tells; a string in place of a result says why it lacks."""

    dates: int
    first: str
    last: str
    has_mask: bool
    clear_share: float
    psnr_clear: float | None
    """Over the clear pixels of all shared bands, dB, peak 10000; infinite without error."""
    bands: list[BandQuality]
    angles: list[GroupAngle]
    indices: list[IndexErrors]
    phenology: Phenology | str
    change: Change | str
    classification: Classification | str
    spectra: list[Spectrum] | str
    verdicts: list[Verdict]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values; ``{"skipped": why}`` in place of what could not be measured."""
        found: dict[str, Any] = asdict(self)
        for name, value in found.items():
            if name in ("phenology", "change", "classification", "spectra") and isinstance(
                value, str
            ):
                found[name] = {"skipped": value}
        found["spectrum_edges"] = list(EDGES)
        found["exact"] = all(row.clear.max_error == 0 for row in self.bands)
        return found


def measure(
    original: Series,
    decoded: Series,
    *,
    labels: Labels | None = None,
    progress: Progress | None = None,
) -> Fidelity:
    """Measure how faithful decoded frames are.

    Parameters
    ----------
    original, decoded : Series
        See `stvc.fidelity.pairing.pair`.
    labels : ndarray, (H, W) integers, optional
        Classes of the pixels, for the classifier.
    progress : callable, optional
        Called with (done, total, what).

    Raises
    ------
    CorruptInputError
        If the two cannot be aligned.
    """
    return measure_pair(pair(original, decoded), labels=labels, progress=progress)


def measure_pair(
    both: Pair, *, labels: Labels | None = None, progress: Progress | None = None
) -> Fidelity:
    """Measure an aligned pair; see `measure`."""

    def told(step: int) -> None:
        if progress is not None:
            progress(step, len(_STEPS), _STEPS[min(step, len(_STEPS) - 1)])

    told(0)
    bands = band_table(both)
    told(1)
    indices = index_table(both)
    followed = profiles(both)
    told(2)
    seasons = phenology(followed)
    told(3)
    changes = change(followed)
    told(4)
    classes = classification(followed, labels)
    told(5)
    power = spectra(both)
    told(6)
    shares = [float(group.clear.mean()) for group in both.groups]
    first, last = (str(t.astype("datetime64[D]")) for t in (both.times[0], both.times[-1]))
    return Fidelity(
        dates=len(both.times),
        first=first,
        last=last,
        has_mask=both.has_mask,
        clear_share=sum(shares) / len(shares),
        psnr_clear=overall(both).psnr,
        bands=bands,
        angles=angles(both),
        indices=indices,
        phenology=seasons,
        change=changes,
        classification=classes,
        spectra=power,
        verdicts=verdicts(bands, indices, changes, classes, seasons, power),
        notes=both.notes,
    )
