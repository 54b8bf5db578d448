"""What pixels are predicted from: earlier neighbors, earlier bands, references."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_layout import BANDS_BACK, Layout

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

CAUSAL = tuple(
    zip(
        (0, -1, -1, -1, 0, -2, -1, -2, -2, 0, -2, -3, -2, -1, -3, -3),
        (-1, 0, -1, 1, -2, 0, -2, -1, 1, -3, -2, 0, 2, -3, -1, 1),
        strict=True,
    )
)
"""(rows, columns) to earlier pixels, the nearest first."""
CROSS = ((0, 0), (0, -1), (-1, 0), (0, 1), (1, 0))
_SQUARE = (*CROSS, (-1, -1), (-1, 1), (1, -1), (1, 1))
_RIM = tuple((dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if 2 in (abs(dy), abs(dx)))


class Features:
    """Gathers what pixels are predicted from.

    Rows of the result: own neighbors against their mean; per earlier band its neighborhood against
    its left pixel, and that pixel against the mean; then the same per reference, and there the
    earlier bands' centers.
    """

    def __init__(self, layout: Layout, references: int, generation: int) -> None:
        near = (*_SQUARE, *_RIM) if generation > 4 else _SQUARE
        offsets = [layout.offset(*o) for o in CAUSAL]
        self.groups: list[tuple[int, int]] = []
        for back in range(1, BANDS_BACK + 1):
            around = near if back < BANDS_BACK else CROSS
            self.groups.append((len(offsets), len(around)))
            offsets += [layout.offset(*o, back) for o in around]
        self.sizes = (len(CAUSAL) + len(near), len(offsets))
        for r in range(1, references + 1):
            around = _SQUARE if r < 3 else CROSS
            self.groups.append((len(offsets), len(around)))
            offsets += [r * layout.size + layout.offset(*o) for o in around]
        self.pairs = len(offsets)
        centers = [
            r * layout.size + layout.offset(0, 0, back)
            for r in range(1, min(references, 2) + 1)
            for back in range(1, BANDS_BACK + 1)
        ]
        self.count = self.pairs + len(centers)
        self.offsets = np.array([*offsets, *centers, *(k - 1 for k in centers)], np.int64)[:, None]

    def gather(self, values: F64, cells: I64, band_starts: I64) -> tuple[F64, F64, F64]:
        """Return ((K, n) features, (n,) own mean, (G, n) local slopes of self and references)."""
        around = values.take(self.offsets + cells)
        mean = np.floor((around[0] + around[1]) * 0.5)
        features = around[: self.count]
        west, north, corner, east = around[:4]
        slopes = [np.abs(north - corner) + np.abs(west - corner) + np.abs(north - east)]
        for k, (start, length) in enumerate(self.groups):
            group = features[start : start + length]
            left = group[1].copy()
            if k >= BANDS_BACK:
                slopes.append(np.abs(2 * group[0] - group[1] - group[2]))
            group -= left
            group[1] = left - mean
            if k < BANDS_BACK:
                group[1, : band_starts[min(k + 1, len(band_starts) - 1)]] = 0
        features[: len(CAUSAL)] -= mean
        features[self.pairs :] -= around[self.count :]
        return features, mean, np.stack(slopes)
