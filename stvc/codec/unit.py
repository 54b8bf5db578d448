"""Payload of one coding unit (tile, date, band group): syntax and decoder.

byte 0: coder (bits 0-1: network, plain, raw, predicted), bit 2: a bounding layer follows
then, if predicted: the payload of `stvc.codec.predicted_unit`; if network or plain, range coded:
plan (see `stvc.codec.unit_plan`), widenings (network, from generation 4 on), symbols, bounding
layer. An empty payload means 'as
predicted': nothing of the unit was visible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.codec import predicted_unit, raw_unit
from stvc.codec.adaptation import ADAPTED, Correction, widened
from stvc.codec.bound import decode_bound
from stvc.codec.entropy import PLAIN_BANDS, Request, decode_networks, decode_plain
from stvc.codec.prediction import (
    ReferenceCoefficients,
    reference_coefficients,
    turned_references,
)
from stvc.codec.quantize import importance_class, token_steps
from stvc.codec.rangecoder import Reader
from stvc.codec.references import ReferenceState
from stvc.codec.spectral import Klt
from stvc.codec.synthesis import predict_unit, synthesize
from stvc.codec.transform import I32
from stvc.codec.unit_plan import UnitPlan, read_plan, resting_plan
from stvc.codec.widening import read_widening
from stvc.errors import CorruptError
from stvc.model.architecture import SCALES
from stvc.model.fast_features import FastFeatures, fast_features
from stvc.model.features import FrameSide, UnitFeatures, unit_features

if TYPE_CHECKING:
    from stvc.model.weights import EntropyModel

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]

NETWORK, PLAIN, RAW, PREDICTED = range(4)
BOUNDED = 4
_CODER_MASK = 3
_MAX_RESIDUAL = 1 << 27
# ^ units of 2**-4 DN: four times what 16-bit pixels of 16 bands can ask for, and small enough that
#   nothing overflows on the way back to pixels
_MAX_TURNED = _MAX_RESIDUAL * 2 // 5
# ^ six components that are turned add up to 6**0.5 times as much at most


@dataclass(frozen=True)
class UnitContext:
    """What encoder and decoder both know about a unit before its payload."""

    klt: Klt
    hidden: npt.NDArray[np.bool_]
    """(H, W) don't-care pixels, H and W multiples of 8; padding is hidden."""
    unclear: npt.NDArray[np.bool_]
    """(H, W) pixels that stay out of the recent state: clouds, even where they are coded."""
    required: npt.NDArray[np.bool_]
    """(H, W) pixels that a bound holds for; never padding."""
    size: tuple[int, int]
    """(height, width) without padding."""
    day: int
    gsd: int
    base_step: int
    """The archive's step index."""
    coarse: bool
    """``clouds="coarse"``."""


@dataclass(frozen=True)
class OpenUnit:
    """A unit whose header is read: what is left are its symbols and, after them, its pixels."""

    reader: Reader
    context: UnitContext
    plan: UnitPlan
    refs: ReferenceCoefficients
    predicted: I32
    steps: npt.NDArray[np.int64]
    importance: U8
    symbols: I32 | None
    """(C, N, 64) of the plain coder; None if the network has to read them (see `request_of`)."""
    bounded: bool
    correction: Correction | None
    """Of the network's scales; None before generation 4, and with the plain coder."""


Pixels = tuple[U16, tuple[int, int]]
"""(C, H, W) padded, and the registration shift."""


def decode_unit(
    payload: bytes, context: UnitContext, state: ReferenceState, model: EntropyModel
) -> Pixels:
    """Decode one unit; returns (pixels (C, H, W) padded, registration shift).

    Sets ``state.memory``; the caller updates the rest of the state. Several units that do not need
    each other are decoded faster together: `open_unit`, `decode_networks`, `close_unit`.

    Raises
    ------
    CorruptError
        If the payload cannot have been written by `encode_unit`.
    """
    unit = open_unit(payload, context, state, model)
    if not isinstance(unit, OpenUnit):
        return unit
    if unit.symbols is not None:
        return close_unit(unit, unit.symbols, model)
    (symbols,) = decode_networks(model, [request_of(unit, model)])
    if isinstance(symbols, CorruptError):
        raise symbols
    return close_unit(unit, symbols, model)


def open_unit(
    payload: bytes, context: UnitContext, state: ReferenceState, model: EntropyModel
) -> OpenUnit | Pixels:
    """Read a unit as far as it goes without the network; arguments as for `decode_unit`.

    Raises
    ------
    CorruptError
        If the payload cannot have been written by `encode_unit`.
    """
    c = len(context.klt.mean)
    importance = importance_class(context.hidden, context.coarse)
    if not payload:
        plan = resting_plan(state, context.base_step)
        refs = reference_coefficients(state, context.klt, plan.shift, context.day)
        predicted = predict_unit(refs, plan)
        nothing, shown = np.zeros_like(predicted), np.zeros_like(context.hidden)
        pixels = synthesize(
            predicted, nothing, importance, plan, context.klt, shown, refs.unpredicted
        )
        return pixels, plan.shift
    flags = payload[0]
    coder = flags & _CODER_MASK
    if flags > (_CODER_MASK | BOUNDED) or (coder == PREDICTED and flags != PREDICTED):
        raise CorruptError(f"unknown unit type {flags}; the payload is damaged")
    if coder == PREDICTED:
        decoded, state.memory = predicted_unit.decode(payload[1:], context, state)
        return decoded, (0, 0)
    if coder == RAW:
        return raw_unit.decode(payload[1:], (c, *context.size), context.hidden.shape), (0, 0)
    reader = Reader(payload[1:])
    plan = read_plan(reader, context, state)
    refs = reference_coefficients(state, context.klt, plan.shift, context.day)
    predicted = predict_unit(refs, plan)
    steps = token_steps(plan.step_index, importance)
    symbols, correction = None, None
    if coder == NETWORK and state.generation >= ADAPTED:
        correction = widened(read_widening(reader, c), model.effort)
    if coder == PLAIN:
        scales = np.array([reader.uniform(SCALES) for _ in range(c * len(PLAIN_BANDS))], np.int64)
        symbols = decode_plain(reader, importance, scales.reshape(c, -1), model.models)
    bounded = bool(flags & BOUNDED)
    known = (reader, context, plan, refs, predicted, steps, importance)
    return OpenUnit(*known, symbols, bounded, correction)


def request_of(unit: OpenUnit, model: EntropyModel) -> Request:
    """Ask for a unit's symbols (see `stvc.codec.entropy.decode_networks`)."""
    features = features_of(
        model, unit.refs, unit.predicted, unit.steps, unit.importance, unit.plan, unit.context
    )
    return Request(unit.reader, features, unit.importance, unit.correction)


def close_unit(unit: OpenUnit, symbols: I32, model: EntropyModel) -> Pixels:
    """Decode the pixels of an open unit from its symbols (C, N, 64).

    Raises
    ------
    CorruptError
        If no encoder writes such symbols.
    """
    plan, context = unit.plan, unit.context
    shaped = symbols.reshape(unit.predicted.shape)
    most = _MAX_RESIDUAL if plan.turns is None else _MAX_TURNED
    if (np.abs(shaped.astype(np.int64)) * unit.steps[None, :, :, None]).max() > most:
        raise CorruptError(
            "a residual is beyond what 16-bit pixels can need; the payload is damaged"
        )
    concealed = np.zeros_like(context.hidden) if context.coarse else context.hidden
    decoded = synthesize(
        unit.predicted,
        shaped,
        unit.importance,
        plan,
        context.klt,
        concealed,
        unit.refs.unpredicted,
    )
    if unit.bounded:
        decoded = decode_bound(unit.reader, decoded, shaped, context.required, model.models)
    return decoded, plan.shift


def features_of(
    model: EntropyModel,
    refs: ReferenceCoefficients,
    predicted: npt.NDArray[np.int32],
    steps: npt.NDArray[np.int64],
    importance: U8,
    plan: UnitPlan,
    context: UnitContext,
) -> UnitFeatures | FastFeatures:
    """Inputs of the model, from what encoder and decoder both know."""
    side = FrameSide(context.day, context.gsd, plan.shift, plan.step_index)
    if model.effort == "fast":
        return fast_features(
            refs, predicted, steps, importance, plan.profiles, context.klt.spread, side
        )
    refs, predicted = turned_references(refs, predicted, plan.turns)
    return unit_features(
        refs, predicted, steps, importance, plan.profiles, context.klt.spread, side
    )
