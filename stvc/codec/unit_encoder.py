"""Encoder of one coding unit; the syntax and the decoder are in `stvc.codec.unit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.codec import predicted_unit, raw_unit
from stvc.codec.analysis import DEAD_ZONE, UnitAnalysis, analyze, finished
from stvc.codec.batches import write_batches
from stvc.codec.bound import encode_bound
from stvc.codec.budget import coarser_step
from stvc.codec.entropy import plain_batches, plain_scales
from stvc.codec.network_coding import Coding, code_unit, features_for, optimize
from stvc.codec.predictive_learning import Memories
from stvc.codec.quantize import SKIPPED
from stvc.codec.rangecoder import Writer
from stvc.codec.references import ReferenceState
from stvc.codec.unit import (
    BOUNDED,
    NETWORK,
    PLAIN,
    PREDICTED,
    RAW,
    UnitContext,
)
from stvc.codec.unit_plan import UnitPlan, write_plan
from stvc.errors import QualityError
from stvc.model.architecture import SCALES
from stvc.model.features import UnitFeatures

if TYPE_CHECKING:
    from stvc.model.weights import EntropyModel

U16 = npt.NDArray[np.uint16]

_PLAN_BITS = 160
"""What a plan, a flag byte and the end of the range coder's words take at most, or nearly."""
_SCALE_BITS = 6
_PREDICT_ONLY = 10
"""Bounds up to this (DN) are coded in the pixel domain without trying the lossy layer."""


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
    restored: bool = True,
    max_bytes: int | None = None,
    chosen: UnitPlan | None = None,
    analyzed: UnitAnalysis | None = None,
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
    restored : bool
        Whether the unit may be restored.
    max_bytes : int, optional
        Longest payload; the step grows until it fits. Not together with ``max_error``.
    chosen : UnitPlan, optional
        Whose prediction to use, instead of choosing one. Not together with ``max_bytes``.
    analyzed : UnitAnalysis, optional
        What analysis would find, if ``chosen`` is there and no levels are chosen.
    """
    if max_bytes is not None:
        return _encode_within(pixels, context, state, model, restored, max_bytes)
    predicted = None
    if max_error is not None and _is_predictable(context, state):
        networked = model.effort == "default"
        predicted = _encode_predicted(pixels, context, state, max_error, networked)
        if max_error <= _PREDICT_ONLY:
            return predicted
    how = _How(
        max_error, optimize and max_error is None, restored, chosen=chosen, analyzed=analyzed
    )
    unit = _encode_transformed(pixels, context, state, model, how)
    return predicted if predicted and len(predicted.payload) < len(unit.payload) else unit


@dataclass(frozen=True)
class _How:
    max_error: int | None = None
    optimize: bool = False
    restored: bool = True
    step_index: int | None = None
    """Instead of the archive's."""
    plain: bool = False
    """Without the network."""
    worthwhile: float = float("inf")
    """Bits above which levels are not optimized: they will not be used."""
    chosen: UnitPlan | None = None
    """What to predict from, if that is settled."""
    analyzed: UnitAnalysis | None = None
    """What `_analyzed` would find, if it is known."""


def _encode_within(
    pixels: U16,
    context: UnitContext,
    state: ReferenceState,
    model: EntropyModel,
    restored: bool,
    max_bytes: int,
) -> EncodedUnit:
    """Encode with a step that is coarse enough; the network runs twice at most."""
    how = _How(optimize=True, restored=restored, worthwhile=8.0 * max_bytes)
    first = _encode_transformed(pixels, context, state, model, how)
    if len(first.payload) <= max_bytes:
        return first

    def plain_bits(step_index: int) -> float:
        unit = _analyzed(pixels, context, state, _How(step_index=step_index))
        symbols = unit.symbols.reshape(len(pixels), -1, 64)
        scales, bits = plain_scales(symbols, unit.importance, model.models)
        return bits + _SCALE_BITS * scales.size + _PLAN_BITS

    saving = min(1.0, first.bits_network / max(first.bits_plain, 1.0))
    step = coarser_step(plain_bits, context.base_step, 8.0 * max_bytes, saving)
    how = _How(restored=restored, step_index=step)
    second = _encode_transformed(pixels, context, state, model, how)
    if len(second.payload) <= max_bytes:
        return second
    step = coarser_step(plain_bits, step, 8.0 * max_bytes, 1.0)
    how = _How(restored=restored, step_index=step, plain=True)
    third = _encode_transformed(pixels, context, state, model, how)
    if len(third.payload) > max_bytes:
        raise QualityError(
            f"no step makes a date fit: a tile of it takes {len(third.payload)} bytes at least, "
            f"{max_bytes} are left for it; allow more bytes per date"
        )
    return third


def _is_predictable(context: UnitContext, state: ReferenceState) -> bool:
    return state.generation > 1 and not context.coarse and bool(context.required.any())


def _encode_predicted(
    pixels: U16, context: UnitContext, state: ReferenceState, max_error: int, networked: bool
) -> EncodedUnit:
    """Encode in the pixel domain, within a bound."""
    coded = predicted_unit.encode(pixels, context, state, max_error, networked=networked)
    payload = bytes([PREDICTED]) + coded.payload
    return EncodedUnit(payload, coded.decoded, (0, 0), PREDICTED, 0.0, 0.0, coded.memory)


def _analyzed(pixels: U16, context: UnitContext, state: ReferenceState, how: _How) -> UnitAnalysis:
    if how.analyzed is not None:
        return how.analyzed
    return analyze(
        pixels,
        context.hidden,
        state,
        context.klt,
        context.base_step if how.step_index is None else how.step_index,
        context.day,
        coarse=context.coarse,
        dead_zone=DEAD_ZONE if how.max_error is None else 0.5,
        finish=False,
        chosen=how.chosen,
    )


def _encode_transformed(
    pixels: U16, context: UnitContext, state: ReferenceState, model: EntropyModel, how: _How
) -> EncodedUnit:
    """Encode by transform and entropy model, with a bounding layer where a bound is asked for."""
    unit = _analyzed(pixels, context, state, how)
    twice = how.optimize and model.effort == "default"
    if not twice:
        unit = finish_unit(unit, context, how.restored)
    layer = (
        None
        if how.max_error is None
        else encode_bound(pixels, unit.decoded, unit.symbols, context.required, how.max_error)
    )
    decoded = unit.decoded if layer is None else layer.decoded
    if (unit.importance == SKIPPED).all() and (layer is None or layer.empty):
        return EncodedUnit(b"", unit.decoded, unit.plan.shift, PLAIN, 0.0, 0.0, state.memory)
    c = len(pixels)
    coding: Coding | None = None
    network_bits: float | None = None
    if not how.plain:
        features = features_for(unit, context, model)
        coding = code_unit(unit, features, model)
        if twice and isinstance(features, UnitFeatures):
            network_bits = coding.bits(model.models)
            if network_bits <= how.worthwhile:
                unit, coding, network_bits = optimize(unit, coding, network_bits, features, model)
            unit = finish_unit(unit, context, how.restored)
            decoded = unit.decoded
    symbols = unit.symbols.reshape(c, -1, 64)
    scales, plain_bits = plain_scales(symbols, unit.importance, model.models)
    writer = Writer()
    write_plan(writer, unit.plan, context, state)
    written = coding is not None and model.effort == "fast"
    if coding is None:
        network_bits = 0.0
    elif written:
        # What it takes is known as soon as it is written, which is faster than adding up bits.
        coding.write(writer, model.models)
        network_bits = 8.0 * len(writer.getvalue())
    elif network_bits is None:
        network_bits = coding.bits(model.models)
    bits = network_bits, plain_bits
    coder = PLAIN if coding is None else cheaper_coder(*bits, scales.size)
    if coding is None or coder == PLAIN:
        writer = Writer()
        write_plan(writer, unit.plan, context, state)
        for scale in scales.reshape(-1):
            writer.uniform(int(scale), SCALES)
        write_batches(writer, plain_batches(symbols, unit.importance, scales), model.models)
    elif not written:
        coding.write(writer, model.models)
    if layer is not None:
        layer.write(writer, model.models)
    flags = coder | (BOUNDED if layer is not None else 0)
    payload = bytes([flags]) + writer.getvalue()
    h, w = context.size
    raw_bytes = pixels[:, :h, :w].size * 2
    if len(payload) > raw_bytes // 2:
        raw = bytes([RAW]) + raw_unit.encode(pixels[:, :h, :w])
        if len(raw) < len(payload):
            return EncodedUnit(raw, pixels, (0, 0), RAW, *bits, state.memory)
    return EncodedUnit(payload, decoded, unit.plan.shift, coder, *bits, state.memory)


def cheaper_coder(network_bits: float, plain_bits: float, scales: int) -> int:
    """Choose between the network and the plain coder, which names its scales besides."""
    return PLAIN if plain_bits + _SCALE_BITS * scales < network_bits else NETWORK


def finish_unit(
    unit: UnitAnalysis, context: UnitContext, restored: bool, *, show: bool = True
) -> UnitAnalysis:
    """Decode an analyzed unit as `encode_unit` will; one of which nothing is visible is done.

    ``show`` as for `finished`.
    """
    if (unit.importance == SKIPPED).all():
        return unit
    coarse = context.coarse
    return finished(unit, context.klt, context.hidden, coarse=coarse, restored=restored, show=show)
