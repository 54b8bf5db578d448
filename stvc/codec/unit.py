"""Payload of one coding unit (tile, date, band group): syntax, encoder and decoder side by side.

byte 0: coder (bits 0-1: network, plain, raw, predicted), bit 2: a bounding layer follows
then, if predicted: the payload of `stvc.codec.predicted_unit`; if network or
plain, range coded: plan (step, shift, profiles, offsets, reconstruction points), symbols,
bounding layer. An empty payload means 'as predicted': nothing of the unit was visible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.codec import entropy, predicted_unit, raw_unit
from stvc.codec.analysis import (
    DEAD_ZONE,
    MAX_OFFSET,
    MAX_SHRINK,
    UnitAnalysis,
    UnitPlan,
    analyze,
    predict_unit,
    resting_plan,
    synthesize,
    with_levels,
)
from stvc.codec.bound import decode_bound, encode_bound
from stvc.codec.entropy import (
    PLAIN_BANDS,
    Batch,
    batch_bits,
    batch_places,
    decode_network,
    decode_plain,
    network_batches,
    plain_batches,
    plain_scales,
    write_batches,
)
from stvc.codec.levels import choose_levels
from stvc.codec.prediction import ReferenceCoefficients, reference_coefficients
from stvc.codec.predictive_learning import Memories
from stvc.codec.profiles import profiles_of
from stvc.codec.quantize import MAX_STEP_INDEX, SKIPPED, importance_class, token_steps
from stvc.codec.rangecoder import Reader, Writer
from stvc.codec.references import ReferenceState
from stvc.codec.registration import MAX_SHIFT
from stvc.codec.spectral import Klt
from stvc.errors import CorruptError
from stvc.model.architecture import SCALES
from stvc.model.features import FrameSide, UnitFeatures, unit_features

if TYPE_CHECKING:
    from stvc.model.weights import EntropyModel

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]

NETWORK, PLAIN, RAW, PREDICTED = range(4)
_CODER_MASK, _BOUNDED = 3, 4
_PREDICT_ONLY = 10
"""Bounds up to this (DN) are coded in the pixel domain without trying the lossy layer."""
_SAME_STEP = (1, 15)
_SHIFTED = (3, 1)
_LIFTED = (3, 1)
_MAX_RESIDUAL = 1 << 27
# ^ units of 2**-4 DN: four times what 16-bit pixels of 16 bands can ask for, and small enough that
#   nothing overflows on the way back to pixels


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
class EncodedUnit:
    """A payload and what the decoder will make of it."""

    payload: bytes
    decoded: U16
    """(C, H, W) padded."""
    shift: tuple[int, int]
    coder: int
    bits_network: float
    """Estimated bits under the network, and under the plain coder (0 if nothing was coded)."""
    bits_plain: float
    memory: Memories = ()
    """What `ReferenceState.memory` becomes."""


def encode_unit(
    pixels: U16,
    context: UnitContext,
    state: ReferenceState,
    model: EntropyModel,
    *,
    max_error: int | None = None,
    optimize: bool = True,
) -> EncodedUnit:
    """Encode one unit.

    Parameters
    ----------
    pixels : array, (C, H, W) uint16, padded to multiples of 8
    context : UnitContext
    state : ReferenceState
        Not changed.
    model : EntropyModel
    max_error : int, optional
        Bound on every required pixel, DN; 0 is lossless.
    optimize : bool
        Run the network twice: what it says of the first levels decides about the second.
    """
    predicted = None
    if max_error is not None and _is_predictable(context, state):
        predicted = _encode_predicted(pixels, context, state, max_error)
        if max_error <= _PREDICT_ONLY:
            return predicted
    unit = _encode_transformed(pixels, context, state, model, max_error, optimize)
    return predicted if predicted and len(predicted.payload) < len(unit.payload) else unit


def _is_predictable(context: UnitContext, state: ReferenceState) -> bool:
    return state.generation > 1 and not context.coarse and bool(context.required.any())


def _encode_predicted(
    pixels: U16, context: UnitContext, state: ReferenceState, max_error: int
) -> EncodedUnit:
    """Encode in the pixel domain, within a bound."""
    coded = predicted_unit.encode(pixels, context, state, max_error)
    payload = bytes([PREDICTED]) + coded.payload
    return EncodedUnit(payload, coded.decoded, (0, 0), PREDICTED, 0.0, 0.0, coded.memory)


def _encode_transformed(
    pixels: U16,
    context: UnitContext,
    state: ReferenceState,
    model: EntropyModel,
    max_error: int | None,
    optimize: bool,
) -> EncodedUnit:
    """Encode by transform and entropy model, with a bounding layer where a bound is asked for."""
    unit = analyze(
        pixels,
        context.hidden,
        state,
        context.klt,
        context.base_step,
        context.day,
        coarse=context.coarse,
        dead_zone=DEAD_ZONE if max_error is None else 0.5,
    )
    layer = (
        None
        if max_error is None
        else encode_bound(pixels, unit.decoded, unit.symbols, context.required, max_error)
    )
    decoded = unit.decoded if layer is None else layer.decoded
    if (unit.importance == SKIPPED).all() and (layer is None or layer.empty):
        return EncodedUnit(b"", unit.decoded, unit.plan.shift, PLAIN, 0.0, 0.0, state.memory)
    features = _features(unit.refs, unit.predicted, unit.steps, unit.importance, unit.plan, context)
    c = len(pixels)
    symbols = unit.symbols.reshape(c, -1, 64)
    network = network_batches(model, features, unit.importance, symbols)
    if max_error is None and optimize:
        unit, network = _optimized(unit, network, features, context, model)
        decoded, symbols = unit.decoded, unit.symbols.reshape(c, -1, 64)
    scales = plain_scales(symbols, unit.importance, model.models)
    plain = plain_batches(symbols, unit.importance, scales)
    bits = batch_bits(network, model.models), batch_bits(plain, model.models)
    coder = PLAIN if bits[1] + 6 * scales.size < bits[0] else NETWORK
    writer = Writer()
    _write_plan(writer, unit.plan, context, state)
    if coder == PLAIN:
        for scale in scales.reshape(-1):
            writer.uniform(int(scale), SCALES)
    write_batches(writer, plain if coder == PLAIN else network, model.models)
    if layer is not None:
        layer.write(writer, model.models)
    flags = coder | (_BOUNDED if layer is not None else 0)
    payload = bytes([flags]) + writer.getvalue()
    h, w = context.size
    raw_bytes = pixels[:, :h, :w].size * 2
    if len(payload) > raw_bytes // 2:
        raw = bytes([RAW]) + raw_unit.encode(pixels[:, :h, :w])
        if len(raw) < len(payload):
            return EncodedUnit(raw, pixels, (0, 0), RAW, *bits, state.memory)
    return EncodedUnit(payload, decoded, unit.plan.shift, coder, *bits, state.memory)


def _optimized(
    unit: UnitAnalysis,
    network: list[Batch],
    features: UnitFeatures,
    context: UnitContext,
    model: EntropyModel,
) -> tuple[UnitAnalysis, list[Batch]]:
    """Choose levels by the network's rates; the unit as it was if that saves nothing."""
    places = batch_places(unit.importance, len(unit.symbols))
    in_steps = (unit.residual / unit.steps[None, :, :, None]).reshape(-1)
    plain, location, scale = (np.concatenate(part) for part in zip(*network, strict=True))
    residual = in_steps[np.concatenate(places)]
    levels = choose_levels(residual, plain, location, scale, unit.plan.shrink, model.models)
    if levels is None:
        return unit, network
    flat = np.zeros(unit.symbols.size, np.int32)
    flat[np.concatenate(places)] = levels
    symbols = flat.reshape(unit.symbols.shape)
    again = network_batches(model, features, unit.importance, flat.reshape(len(symbols), -1, 64))
    if entropy.batch_bits(again, model.models) >= entropy.batch_bits(network, model.models):
        return unit, network
    hidden, coarse = context.hidden, context.coarse
    return with_levels(unit, symbols, context.klt, hidden, coarse=coarse), again


def decode_unit(
    payload: bytes, context: UnitContext, state: ReferenceState, model: EntropyModel
) -> tuple[U16, tuple[int, int]]:
    """Decode one unit; returns (pixels (C, H, W) padded, registration shift).

    Sets ``state.memory``; the caller updates the rest of the state.

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
        steps = token_steps(plan.step_index, importance)
        return synthesize(
            predicted,
            np.zeros_like(predicted),
            steps,
            plan.shrink,
            context.klt,
            np.zeros_like(context.hidden),
        ), plan.shift
    flags = payload[0]
    coder = flags & _CODER_MASK
    if flags > (_CODER_MASK | _BOUNDED) or (coder == PREDICTED and flags != PREDICTED):
        raise CorruptError(f"unknown unit type {flags}; the payload is damaged")
    if coder == PREDICTED:
        decoded, state.memory = predicted_unit.decode(payload[1:], context, state)
        return decoded, (0, 0)
    if coder == RAW:
        return raw_unit.decode(payload[1:], (c, *context.size), context.hidden.shape), (0, 0)
    reader = Reader(payload[1:])
    plan = _read_plan(reader, context, state)
    refs = reference_coefficients(state, context.klt, plan.shift, context.day)
    predicted = predict_unit(refs, plan)
    steps = token_steps(plan.step_index, importance)
    if coder == PLAIN:
        scales = np.array([reader.uniform(SCALES) for _ in range(c * len(PLAIN_BANDS))], np.int64)
        symbols = decode_plain(reader, importance, scales.reshape(c, -1), model.models)
    else:
        features = _features(refs, predicted, steps, importance, plan, context)
        symbols = decode_network(reader, model, features, importance)
    shaped = symbols.reshape(predicted.shape)
    if (np.abs(shaped.astype(np.int64)) * steps[None, :, :, None]).max() > _MAX_RESIDUAL:
        raise CorruptError(
            "a residual is beyond what 16-bit pixels can need; the payload is damaged"
        )
    concealed = np.zeros_like(context.hidden) if context.coarse else context.hidden
    decoded = synthesize(predicted, shaped, steps, plan.shrink, context.klt, concealed)
    if flags & _BOUNDED:
        decoded = decode_bound(reader, decoded, shaped, context.required, model.models)
    return decoded, plan.shift


def _features(
    refs: ReferenceCoefficients,
    predicted: npt.NDArray[np.int32],
    steps: npt.NDArray[np.int64],
    importance: U8,
    plan: UnitPlan,
    context: UnitContext,
) -> UnitFeatures:
    side = FrameSide(context.day, context.gsd, plan.shift, plan.step_index)
    return unit_features(
        refs, predicted, steps, importance, plan.profiles, context.klt.spread, side
    )


def _write_plan(
    writer: Writer, plan: UnitPlan, context: UnitContext, state: ReferenceState
) -> None:
    same = plan.step_index == context.base_step
    writer.flag(same, _SAME_STEP)
    if not same:
        writer.uniform(plan.step_index, MAX_STEP_INDEX + 1)
    if not state.empty:
        moved = plan.shift != (0, 0)
        writer.flag(moved, _SHIFTED)
        if moved:
            for axis in plan.shift:
                writer.uniform(axis + MAX_SHIFT, 2 * MAX_SHIFT + 1)
        for profile in plan.profiles.tolist():
            writer.uniform(profile, len(profiles_of(state.generation)))
    for offset in plan.offsets.tolist():
        writer.flag(offset != 0, _LIFTED)
        if offset:
            writer.uniform(offset + MAX_OFFSET, 2 * MAX_OFFSET + 1)
    for shrink in plan.shrink:
        writer.uniform(shrink + MAX_SHRINK, 2 * MAX_SHRINK + 1)


def _read_plan(reader: Reader, context: UnitContext, state: ReferenceState) -> UnitPlan:
    c = len(context.klt.mean)
    step_index = (
        context.base_step if reader.flag(_SAME_STEP) else reader.uniform(MAX_STEP_INDEX + 1)
    )
    shift, profiles = (0, 0), np.zeros(c, np.int64)
    if not state.empty:
        if reader.flag(_SHIFTED):
            dy, dx = (reader.uniform(2 * MAX_SHIFT + 1) - MAX_SHIFT for _ in range(2))
            shift = (dy, dx)
        rows = len(profiles_of(state.generation))
        profiles = np.array([reader.uniform(rows) for _ in range(c)], np.int64)
    offsets = np.array(
        [
            reader.uniform(2 * MAX_OFFSET + 1) - MAX_OFFSET if reader.flag(_LIFTED) else 0
            for _ in range(c)
        ],
        np.int64,
    )
    first, more = (reader.uniform(2 * MAX_SHRINK + 1) - MAX_SHRINK for _ in range(2))
    return UnitPlan(step_index, shift, profiles, offsets, (first, more))
