"""Looking for traces of earlier processing in the values of a unit: encoders only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_traces import RULES, BandTraces, Tellable, completed
from stvc.codec.rangecoder import Writer
from stvc.codec.trace_gains import phase_gains, rule_gain
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
    told = []
    for k, band in enumerate(values):
        found = _found(band, shown, usable, tellable)
        if tellable.truncations and found.phase is not None:
            values[k], found = _before_cut(band, found, shown, usable, tellable)
        told.append(found)
    return values, told


def _found(band: I64, shown: Bool, usable: Bool, tellable: Tellable) -> BandTraces:
    rules = RULES[: tellable.rules]
    steps = int(np.argmax([_LEAST_GAIN] + [rule_gain(band, shown, rule) for rule in rules]))
    gains = phase_gains(band, usable)
    best, second = np.argsort(-gains)[:2].tolist()
    # ^ calm bands show odd coefficients at every phase, for other reasons
    traced = gains[best] - gains[second] > _LEAST_GAIN
    return BandTraces(steps, best if traced else None)


def _before_cut(
    band: I64, traces: BandTraces, shown: Bool, usable: Bool, tellable: Tellable
) -> tuple[I64, BandTraces]:
    """Put a band that was cut back to values that follow a rule, where that saves bits."""
    assert traces.phase is not None
    found = untruncated(band, traces.phase, tellable)
    if found is None:
        return band, traces
    told = Writer()
    write_truncation(told, found.truncation)
    gain = rule_gain(found.values, shown, RULES[found.steps - 1]) - 8 * len(told.getvalue())
    gain -= float(phase_gains(band, usable)[traces.phase])
    if traces.steps:
        gain -= rule_gain(band, shown, RULES[traces.steps - 1])
    if gain <= _LEAST_GAIN:
        return band, traces
    return found.values, BandTraces(found.steps, None, found.truncation)
