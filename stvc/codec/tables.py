"""Integer frequency tables of the symbol distribution, and their construction at export.

A symbol is coded relative to the whole part of its location with the table of (fraction of the
location, scale). Tables ship with the model as integers; `build_tables` runs once, at export.
Scales above `DIRECT_SCALES` are reduced: the low bits of the symbol are coded as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.model.architecture import LOCATION_BITS, SCALE_OCTAVE, SCALE_ZERO

FRACTIONS = 1 << LOCATION_BITS
DIRECT_SCALES = 34
"""Scale indices below this have tables of their own (up to 13.5 steps)."""
TOTAL = 1 << 16
_MAX_REACH = 220


@dataclass(frozen=True)
class Tables:
    """Frequencies of all tables in one array."""

    frequencies: npt.NDArray[np.int32]
    """Concatenated; each table sums to `TOTAL`, entries are at least 1, the last is the escape."""
    starts: npt.NDArray[np.int32]
    """(FRACTIONS * DIRECT_SCALES + 1,) offsets; table ``fraction * DIRECT_SCALES + scale``."""

    def reach(self, table: int) -> int:
        """Largest symbol magnitude that a table covers."""
        return (int(self.starts[table + 1] - self.starts[table]) - 2) // 2

    def frequencies_of(self, table: int) -> npt.NDArray[np.int32]:
        """(2 reach + 2,) frequencies of ``-reach .. reach`` and the escape."""
        return self.frequencies[self.starts[table] : self.starts[table + 1]]


def reach_of(scale: int) -> int:
    """Largest magnitude that the table of a scale index covers."""
    return int(min(np.ceil(10 * 2.0 ** ((scale - SCALE_ZERO) / SCALE_OCTAVE)) + 3, _MAX_REACH))


def build_tables(wide_weight: float, wide_ratio: float) -> Tables:
    """Quantize the trained mixture of two logistics to integers (floating point, at export)."""
    parts, starts = [], [0]
    for fraction in range(FRACTIONS):
        mean = (fraction - FRACTIONS // 2) / FRACTIONS
        for scale in range(DIRECT_SCALES):
            reach = reach_of(scale)
            width = 2.0 ** ((scale - SCALE_ZERO) / SCALE_OCTAVE)
            edges = np.arange(-reach, reach + 2) - 0.5 - mean
            mass = np.zeros(2 * reach + 1)
            for weight, w in ((1 - wide_weight, width), (wide_weight, width * wide_ratio)):
                mass += weight * np.diff(0.5 * (1 + np.tanh(edges / (2 * w))))
            mass = np.append(mass, max(1 - mass.sum(), 0))
            counts = np.maximum(np.floor(mass * (TOTAL - len(mass))), 0).astype(np.int64) + 1
            counts[mass.argmax()] += TOTAL - counts.sum()
            parts.append(counts.astype(np.int32))
            starts.append(starts[-1] + len(counts))
    return Tables(np.concatenate(parts), np.array(starts, np.int32))


def split_scale(
    scale: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (table scale, number of low bits coded as they are) for scale indices."""
    low_bits = np.maximum(-(-(scale - DIRECT_SCALES + 1) // SCALE_OCTAVE), 0)
    return scale - SCALE_OCTAVE * low_bits, low_bits
