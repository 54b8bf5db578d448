"""How much this process has decoded through the lazy arrays: for tests, and for the curious."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class DecodeCounts:
    """Totals since the process began."""

    units: int = 0
    """Coding units (tile, date, band group) decoded."""
    samples: int = 0
    """Pixels times bands in them."""
    masks: int = 0
    """Masks decoded."""

    def __sub__(self, before: DecodeCounts) -> DecodeCounts:
        return DecodeCounts(
            self.units - before.units, self.samples - before.samples, self.masks - before.masks
        )


_guard = threading.Lock()
_total = DecodeCounts()


def decode_counts() -> DecodeCounts:
    """Give the totals; subtract two of them to learn what happened between."""
    return _total


def count(*, units: int = 0, samples: int = 0, masks: int = 0) -> None:
    """Add to the totals."""
    global _total
    with _guard:
        _total = replace(
            _total,
            units=_total.units + units,
            samples=_total.samples + samples,
            masks=_total.masks + masks,
        )
