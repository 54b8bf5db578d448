"""Ground as products show it, for tests of what lossless units know of products."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from stvc.codec.trace_rules import RULES, Tellable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from product_traces import (
    forward,
    in_half_precision,
    in_steps,
    inverse,
    through_jpeg2000,
    transformed,
)

__all__ = [
    "forward",
    "in_half_precision",
    "in_steps",
    "inverse",
    "through_jpeg2000",
    "transformed",
]

COUNTING, MAKING = Tellable(2, False), Tellable(len(RULES), False)


def texture(
    seed: int, shape: tuple[int, int], level: float = 1500, spread: float = 60, parts: int = 1
) -> np.ndarray:
    """Smooth ground with noise, in DN or parts of one."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    relief = level + 3 * spread * np.sin(y / 9) * np.cos(x / 7)
    ground = np.clip(relief + rng.normal(0, spread, shape), 1, 65535)
    return (ground * parts).astype(np.int64)
