"""Pairs of an original and a decoded copy, made by hand."""

from __future__ import annotations

import numpy as np

from stvc.fidelity.pairing import Pair, PairedGroup
from stvc.fidelity.profiles import Profiles
from stvc.types import GroupGrid


def made_pair(
    original: np.ndarray,
    decoded: np.ndarray,
    bands: tuple[str, ...],
    days: np.ndarray | None = None,
    clear: np.ndarray | None = None,
) -> Pair:
    """Pair of one group, (T, C, H, W)."""
    dates, _, height, width = original.shape
    days = 10 * np.arange(dates) if days is None else days
    grid = GroupGrid("", bands, 5e6 - 10.0 * np.arange(height), 4e5 + 10.0 * np.arange(width))
    seen = np.ones((dates, height, width), bool) if clear is None else clear
    group = PairedGroup(grid, original.astype(np.uint16), decoded.astype(np.uint16), seen)
    times = np.datetime64("2019-01-01", "s") + days * np.timedelta64(86400, "s")
    return Pair(times, (group,), {}, clear is not None)


def followed(
    values: np.ndarray, decoded: np.ndarray, days: np.ndarray, clear: np.ndarray | None = None
) -> Profiles:
    """NDVI profiles (T, P) of a row of pixels."""
    seen = np.ones(values.shape, bool) if clear is None else clear
    group = made_pair(np.ones((1, 1, 1, values.shape[1])), np.ones((1, 1, 1, values.shape[1])),
                      ("x",)).groups[0]  # fmt: skip
    at = np.arange(values.shape[1])
    return Profiles(
        "NDVI", days.astype(float), values, decoded, seen, 0 * at, at, group, ("n", "r")
    )
