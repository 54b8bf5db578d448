"""Looking for what a band was before JPEG 2000 cut it: encoders only.

Coefficients that lost a bit may have been one closer to zero, those that came back as 0 may have
been -1 or 1. Values that follow a rule are rare among all that these coefficients could be (four
conditions for every bit that was lost, or nearly so), so that simulated annealing finds most of
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stvc.codec import wavelet
from stvc.codec.half_precision import SPAN, masses
from stvc.codec.trace_gains import rule_gain
from stvc.codec.trace_rules import KNEES, RULES, ValueRule
from stvc.codec.truncation import (
    BLOCK,
    CUT,
    LEAST_SIDE,
    UNREFINED,
    Modes,
    Subband,
    Truncation,
    cut,
    second_subband,
    subbands,
    truncated,
)
from stvc.native import kernels

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_LEAST_SEEN = 3
"""Coefficients other than 0 that a block must have to tell whether it was cut."""
_CUT_SHARE = 0.6
"""Of odd ones among the second level's; half of them are odd by chance."""
BEYOND = 256
"""Values below 0 and above 65535 that prices are given for."""
_MISSED, _IMPOSSIBLE = 8, 2000
"""Prices of values that do not follow the rule, and of those that do not exist."""
MOST_DEARER = 64
_FIRST_HEAT, _LAST_HEAT = 0.8, 0.2
_SWEEPS, _COLD_SWEEPS = 200, 5
_PROBE_SWEEPS = 16


class Untruncated(NamedTuple):
    """What a band was, as far as it was found."""

    truncation: Truncation
    steps: int
    """As in `stvc.codec.trace_rules.BandTraces`."""
    values: I64
    """(H, W) DN, which `truncated` makes the band of."""


def untruncated(band: I64, phase: int, rules: Sequence[ValueRule]) -> Untruncated | None:
    """Look for values that follow a rule and that a band was cut from.

    Parameters
    ----------
    band : array, (H, W)
        DN.
    phase : int
        Of coefficients that show a trace.
    rules : sequence of ValueRule
        The first ones of `RULES`: those that may be told.

    Returns
    -------
    Untruncated, optional
        None if nothing was found; always, without native kernels.
    """
    if kernels is None or min(band.shape) < LEAST_SIDE:
        return None
    start = _Start.of(band, phase)
    if start is None:
        return None
    shown = np.ones(start.lost.shape, bool)
    probes = [rule_gain(_annealed(start, rule, _PROBE_SWEEPS), shown, rule) for rule in rules]
    values = _annealed(start, rules[int(np.argmax(probes))], _SWEEPS)
    if values.min() < 0 or values.max() > 65535:
        return None
    if not np.array_equal(truncated(values, start.truncation), band):
        return None
    best = int(np.argmax([rule_gain(values, shown, rule) for rule in rules]))
    # ^ what was found for one rule may follow another one even better
    return Untruncated(start.truncation, best + 1, values)


class _Start(NamedTuple):
    """Where the search begins."""

    truncation: Truncation
    made: I32
    """(H, W) coefficients of the finest level."""
    lost: Bool
    """(H, W) which of them were cut."""
    deeper: I32
    """(h, w) coefficients of the second level, or nothing."""
    deeper_lost: Bool

    @classmethod
    def of(cls, band: I64, phase: int) -> _Start | None:
        shape = (band.shape[0], band.shape[1])
        made = wavelet.forward(band, phase)
        lost = np.zeros(shape, bool)
        blocks = []
        for subband in subbands(shape, phase):
            found = _cut_blocks(made, subband)
            blocks.append(found)
            lost[subband.rows, subband.columns] = _lost(made, subband, found)
        if not lost.any():
            return None
        coarse = wavelet.low(made, phase)
        second = _second_phase(coarse, shape, phase)
        deeper, deeper_lost = np.zeros((0, 0), np.int64), np.zeros((0, 0), bool)
        if second is not None:
            deeper = wavelet.forward(coarse, second)
            deeper_lost = np.zeros(deeper.shape, bool)
            hh = second_subband(shape, phase, second)
            found = _cut_blocks(deeper, hh)
            blocks.append(found)
            deeper_lost[hh.rows, hh.columns] = _lost(deeper, hh, found)
        truncation = Truncation(phase, second, tuple(blocks))
        planes = (np.ascontiguousarray(plane, np.int32) for plane in (made, deeper))
        return cls(truncation, next(planes), lost, next(planes), deeper_lost)


def _cut_blocks(made: I64, subband: Subband) -> Modes:
    """Modes of blocks whose coefficients all look as if they had been cut so."""
    part = made[subband.rows, subband.columns]
    h, w = subband.blocks
    edge = ((0, h * BLOCK - part.shape[0]), (0, w * BLOCK - part.shape[1]))

    def counted(flags: Bool) -> I64:
        tiled = np.pad(flags & subband.usable, edge).reshape(h, BLOCK, w, BLOCK)
        return np.asarray(tiled.sum((1, 3)), np.int64)

    found = np.zeros((h, w), np.uint8)
    for mode, least in ((UNREFINED, np.abs(part) > 1), (CUT, part != 0)):
        intact = counted(part != cut(part, mode))
        found[(intact == 0) & (counted(least) >= _LEAST_SEEN)] = mode
    return found


def _lost(made: I64, subband: Subband, blocks: Modes) -> Bool:
    """(h, w) coefficients that may have been something else."""
    modes = subband.spread(blocks)
    small = np.abs(made[subband.rows, subband.columns]) < 2
    return np.asarray((modes == CUT) | ((modes == UNREFINED) & ~small), bool)


def _second_phase(coarse: I64, shape: tuple[int, int], phase: int) -> int | None:
    """Phase of the second level whose HH coefficients look cut, if one does."""
    shares = []
    for second in range(4):
        subband = second_subband(shape, phase, second)
        made = wavelet.forward(coarse, second)[subband.rows, subband.columns]
        seen = made[subband.usable & (made != 0)]
        shares.append(float((seen & 1).mean()) if len(seen) >= _LEAST_SEEN else 0.0)
    best = int(np.argmax(shares))
    return best if shares[best] > _CUT_SHARE else None


def _annealed(start: _Start, rule: ValueRule, sweeps: int) -> I64:
    """(H, W) values that are cut to the same ones."""
    assert kernels is not None
    values = np.empty(start.made.shape, np.int32)
    phase, second = start.truncation.phase, start.truncation.second or 0
    kernels.untruncate(
        (*start.made.shape, phase >> 1, phase & 1),
        (*start.deeper.shape, second >> 1, second & 1),
        start.made,
        start.lost,
        start.deeper,
        start.deeper_lost,
        _prices(rule),
        _odds(sweeps),
        values,
    )
    return values.astype(np.int64)


@lru_cache(maxsize=len(RULES))
def _prices(rule: ValueRule) -> npt.NDArray[np.int16]:
    """Of values from `BEYOND` below 0 to `BEYOND` above 65535."""
    value = np.arange(-BEYOND, 65536 + BEYOND)
    if rule.half is None:
        step = np.searchsorted(np.array(KNEES), value + rule.shift, side="right")
        follows = (value + rule.shift) & ((1 << step) - 1) == 0
    else:
        mass = np.diff(masses()[rule.half])
        follows = mass[np.clip(value + rule.shift, 0, SPAN - 1)] > 0
    prices = np.where(follows, 0, _MISSED)
    prices[(value < 0) | (value > 65535)] = _IMPOSSIBLE
    return prices.astype(np.int16)


@lru_cache(maxsize=4)
def _odds(sweeps: int) -> npt.NDArray[np.uint32]:
    """(sweeps, MOST_DEARER) odds, in 2**-32, of taking what is so much dearer."""
    heat = np.linspace(_FIRST_HEAT, _LAST_HEAT, sweeps) * _MISSED
    odds = np.exp(-np.arange(MOST_DEARER) / heat[:, None])
    found = np.zeros((sweeps + _COLD_SWEEPS, MOST_DEARER), np.uint32)
    found[:sweeps] = np.rint(odds * 65535).astype(np.uint32) << 16
    # ^ coarse on purpose: the same on every machine
    return found
