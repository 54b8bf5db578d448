"""What bands of lossless units may say of how their values were made, from generation 6 on.

Two traces of earlier processing are known in the values of Sentinel-2 products. Level-2A values of
10 m bands were made in half precision (`stvc.codec.half_precision`): even from 1024 DN on,
multiples of 4 from 4096 on, some of these more often than others and some never. And products come
as JPEG 2000 at a limited rate, which shows in wavelet coefficients
(`stvc.codec.trace_coefficients`).

A third way leans on both: where an encoder finds the values that a band was cut from, it tells
those and what to cut (`stvc.codec.truncation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stvc.codec.half_precision import OFFSET
from stvc.codec.rangecoder import Reader, Writer
from stvc.codec.truncation import LEAST_SIDE, Truncation, read_truncation, write_truncation

Bool = npt.NDArray[np.bool_]

KNEES = (1024, 4096, 16384)
"""DN from which on values are multiples of 2, 4, 8."""
TRUNCATED, HALF_PRECISION = 7, 8
"""The first generations that tell what was cut from bands, and that know half precision."""
_PHASES = 4


class ValueRule(NamedTuple):
    """What values of a band look like."""

    shift: int
    """DN that were subtracted since: of products from processing baseline 04.00 on, the offset."""
    half: int | None
    """Which of `stvc.codec.half_precision.masses`; None: the two lowest bits are counted."""


RULES = (
    ValueRule(0, None),
    ValueRule(OFFSET, None),
    ValueRule(0, 0),
    ValueRule(OFFSET, 1),
    ValueRule(0, 1),
)
"""What bands are told to follow."""
COUNTED = 2
"""Rules known before generation 8."""


@dataclass(frozen=True)
class BandTraces:
    """What an encoder found in a band."""

    steps: int = 0
    """0: values follow no rule; else 1 + which of `RULES`."""
    phase: int | None = None
    """``2 y + x`` of the first even row and column of its transform; None: not looked for."""
    truncation: Truncation | None = None
    """What is cut from the values that are told, from generation 7 on."""

    @property
    def any(self) -> bool:
        """Whether there is something to lean on."""
        return self.steps > 0 or self.phase is not None


class Tellable(NamedTuple):
    """What may be told of the bands of a unit."""

    rules: int
    """How many of `RULES`."""
    truncations: bool

    @classmethod
    def of(cls, generation: int, shape: tuple[int, ...], hidden: Bool | None) -> Tellable:
        """Of (H, W) bands; no truncations where values are missing."""
        rules = len(RULES) if generation >= HALF_PRECISION else COUNTED
        whole = hidden is None or not hidden.any()
        return cls(rules, generation >= TRUNCATED and whole and min(shape) >= LEAST_SIDE)


def write_traces(writer: Writer, bands: Sequence[BandTraces], tellable: Tellable) -> None:
    """Tell what was found in bands."""
    for band in bands:
        writer.uniform(band.steps, tellable.rules + 1)
        writer.uniform(0 if band.phase is None else band.phase + 1, _PHASES + 1)
        if tellable.truncations:
            write_truncation(writer, band.truncation)


def read_traces(
    reader: Reader, count: int, shape: tuple[int, int], tellable: Tellable
) -> list[BandTraces]:
    """Read what `write_traces` wrote of (H, W) bands."""
    found = []
    for _ in range(count):
        steps, phase = reader.uniform(tellable.rules + 1), reader.uniform(_PHASES + 1)
        cut = read_truncation(reader, shape) if tellable.truncations else None
        found.append(BandTraces(steps, phase - 1 if phase else None, cut))
    return found
