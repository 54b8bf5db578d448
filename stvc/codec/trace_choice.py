"""Looking for traces of earlier processing in the values of a unit: encoders only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stvc.codec.rangecoder import Writer
from stvc.codec.trace_coefficients import completed
from stvc.codec.trace_gains import phase_gains, rule_gain
from stvc.codec.trace_rules import RULES, BandTraces, Tellable, ValueRule
from stvc.codec.truncation import write_truncation
from stvc.codec.truncation_search import untruncated

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_LEAST_GAIN = 48.0
"""Bits; less may be chance, or what learning costs."""


def find_traces(
    values: I64, hidden: Bool | None, tellable: Tellable
) -> tuple[I64, list[BandTraces]]:
    """Look for traces in bands.

    Parameters
    ----------
    values : array, (C, H, W)
    hidden : array, (H, W) bool, optional
        Pixels that are not looked at.
    tellable : Tellable

    Returns
    -------
    array, (C, H, W)
        Values to tell: of bands that were cut, where it saves bits, those that they were cut from.
    list of BandTraces
        What is to be told of them.
    """
    values = values.copy()
    shown = np.ones(values.shape[1:], bool) if hidden is None else ~hidden
    usable = completed(shown)
    rules = RULES[: tellable.rules]
    told = []
    for k, band in enumerate(values):
        found, saved = _found(band, shown, usable, rules)
        if tellable.truncations and found.phase is not None:
            values[k], found = _before_cut(band, found, saved, rules)
        told.append(found)
    return values, told


def _found(
    band: I64, shown: Bool, usable: Bool, rules: Sequence[ValueRule]
) -> tuple[BandTraces, float]:
    """Traces of an (H, W) band, and the bits that they save."""
    of_rules = np.array([_LEAST_GAIN] + [rule_gain(band, shown, rule) for rule in rules])
    steps = int(np.argmax(of_rules))
    gains = phase_gains(band, usable)
    best, second = np.argsort(-gains)[:2].tolist()
    # ^ calm bands show odd coefficients at every phase, for other reasons
    traced = gains[best] - gains[second] > _LEAST_GAIN
    saved = (of_rules[steps] if steps else 0.0) + (gains[best] if traced else 0.0)
    return BandTraces(steps, best if traced else None), float(saved)


def _before_cut(
    band: I64, traces: BandTraces, saved: float, rules: Sequence[ValueRule]
) -> tuple[I64, BandTraces]:
    """Put a band that was cut back to values that follow a rule, if that saves more bits."""
    assert traces.phase is not None
    found = untruncated(band, traces.phase, rules)
    if found is None:
        return band, traces
    told = Writer()
    write_truncation(told, found.truncation)
    everywhere = np.ones(band.shape, bool)
    gain = rule_gain(found.values, everywhere, rules[found.steps - 1]) - 8 * len(told.getvalue())
    if gain - saved <= _LEAST_GAIN:
        return band, traces
    return found.values, BandTraces(found.steps, None, found.truncation)
