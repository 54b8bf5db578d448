"""Which profile each component of a unit is predicted with (encoder only)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stvc.codec.prediction import ReferenceCoefficients
from stvc.codec.profiles import WEIGHT_BITS, profiles_of
from stvc.codec.quantize import SKIPPED
from stvc.codec.transform import I32
from stvc.codec.unit_plan import MAX_OFFSET

_PROBES = 64
"""Tokens on which prediction choices are tried."""


def probed_tokens(importance: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Tokens on which choices are tried, spread evenly; clear ones if there are enough."""
    flat = importance.reshape(-1)
    best = np.flatnonzero(flat == 0)
    if len(best) < 8:
        best = np.flatnonzero(flat != SKIPPED)
    return best[:: max(1, len(best) // _PROBES)][:_PROBES]


def choose_prediction(
    target: I32, refs: ReferenceCoefficients, probes: npt.NDArray[np.intp], step: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]:
    """Pick profile and DC offset per component by the proxy cost ``sum log2(1 + |r| / step)``."""
    c = len(target)

    def probe(x: I32) -> npt.NDArray[np.float32]:
        return np.asarray(x.reshape(c, -1, 64)[:, probes], np.float32)

    mean = probe(refs.mean)
    wanted = probe(target) - mean
    references = [
        probe(plane) - mean for plane in (refs.recent, refs.background, refs.second, refs.average)
    ]
    profiles = np.zeros(c, np.int64)
    offsets = np.zeros(c, np.int64)
    total = 0.0
    weights = profiles_of(refs.generation).astype(np.float32) / (1 << WEIGHT_BITS)
    rows = weights[:1] if refs.unpredicted else weights
    for k in range(c):
        residual = np.repeat(wanted[k][None], len(rows), 0)
        for reference, weight in zip(references, rows.swapaxes(0, 1), strict=True):
            used = weight.any(1)
            residual[used] -= weight[used, None] * reference[k]
        lift = np.rint(np.median(residual[..., 0], axis=1) / step)
        lift = np.clip(np.where(np.abs(lift) < 2, 0, lift), -MAX_OFFSET, MAX_OFFSET)
        residual[..., 0] -= (lift * step)[:, None]
        cost = np.log2(1 + np.abs(residual) * np.float32(1 / step)).sum((1, 2))
        best = int(np.rint(cost).argmin())
        # ^ whole bits: rows that only differ by rounding must not depend on a CPU's log2
        profiles[k], offsets[k] = best, int(lift[best])
        total += float(cost[best])
    return profiles, offsets, total
