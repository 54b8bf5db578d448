"""A unit's symbols under the entropy model, and the levels that it makes worthwhile (encoder)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from stvc.codec.adaptation import ADAPTED, widened
from stvc.codec.analysis import UnitAnalysis, with_levels
from stvc.codec.batches import Batch, batch_bits, corrected_batches, write_batches
from stvc.codec.entropy import batch_places, network_batches
from stvc.codec.fast_coding import code_fast
from stvc.codec.levels import choose_levels
from stvc.codec.rangecoder import Writer
from stvc.codec.unit import UnitContext, features_of
from stvc.codec.widening import choose_widening, widening_bits, write_widening
from stvc.model.fast_features import FastFeatures
from stvc.model.features import UnitFeatures
from stvc.native import kernels

if TYPE_CHECKING:
    from stvc.codec.rangecoder import Models
    from stvc.model.weights import EntropyModel

I64 = npt.NDArray[np.int64]
Features = UnitFeatures | FastFeatures


class Coding(Protocol):
    """What the network makes of a unit's symbols."""

    def bits(self, models: Models) -> float:
        """Code length, about."""
        ...

    def write(self, writer: Writer, models: Models) -> None:
        """Range-code it."""
        ...


@dataclass(frozen=True)
class NetworkCoding:
    """A `Coding` of batches."""

    batches: Sequence[Batch]
    """In coding order, under the scales that they are coded with."""
    widening: I64 | None
    """(C, bands) see `stvc.codec.widening`; None before generation 4."""

    def bits(self, models: Models) -> float:
        """Code length, about."""
        side = 0.0 if self.widening is None else widening_bits(self.widening)
        return batch_bits(self.batches, models) + side

    def write(self, writer: Writer, models: Models) -> None:
        """Range-code it."""
        if self.widening is not None:
            write_widening(writer, self.widening)
        write_batches(writer, self.batches, models, by_columns=self.widening is not None)


def features_for(unit: UnitAnalysis, context: UnitContext, model: EntropyModel) -> Features:
    """Inputs of the model for an analyzed unit."""
    return features_of(
        model, unit.refs, unit.predicted, unit.steps, unit.importance, unit.plan, context
    )


def code_unit(unit: UnitAnalysis, features: Features, model: EntropyModel) -> Coding:
    """Let the network tell of a unit's symbols, and correct its scales by them."""
    c = len(unit.symbols)
    symbols = unit.symbols.reshape(c, -1, 64)
    native = kernels is not None and unit.refs.generation >= ADAPTED
    if native and isinstance(features, FastFeatures):
        return code_fast(symbols, features, model)
    batches = network_batches(model, features, unit.importance, symbols)
    if unit.refs.generation < ADAPTED:
        return NetworkCoding(batches, None)
    groups = [(b.component, b.low, b.symbols, b.location, b.scale) for b in batches]
    widening = choose_widening(groups, c, model.models)
    correction = widened(widening, model.effort)
    return NetworkCoding(corrected_batches(batches, correction, model.models), widening)


def optimized(unit: UnitAnalysis, context: UnitContext, model: EntropyModel) -> UnitAnalysis:
    """Choose a unit's levels by the network's rates, as `encode_unit` does; not yet `finished`."""
    features = features_for(unit, context, model)
    assert isinstance(features, UnitFeatures)
    coding = code_unit(unit, features, model)
    return optimize(unit, coding, coding.bits(model.models), features, model)[0]


def optimize(
    unit: UnitAnalysis,
    coding: Coding,
    bits: float,
    features: UnitFeatures,
    model: EntropyModel,
) -> tuple[UnitAnalysis, Coding, float]:
    """Choose levels by the network's rates; the unit as it was if that saves nothing.

    The unit's coding and its ``bits`` come along.
    """
    assert isinstance(coding, NetworkCoding)
    places = np.concatenate(batch_places(unit.importance, len(unit.symbols)))
    in_steps = (unit.residual / unit.steps[None, :, :, None]).reshape(-1)
    plain, location, scale = (
        np.concatenate([np.reshape(part, -1) for part in parts]).astype(np.int64)
        for parts in zip(*(batch[:3] for batch in coding.batches), strict=True)
    )
    shrink, leniency = unit.plan.shrink, unit.plan.leniency
    levels = choose_levels(in_steps[places], plain, location, scale, shrink, model.models, leniency)
    if levels is None:
        return unit, coding, bits
    flat = np.zeros(unit.symbols.size, np.int32)
    flat[places] = levels
    chosen = with_levels(unit, flat.reshape(unit.symbols.shape))
    again = code_unit(chosen, features, model)
    fewer = again.bits(model.models)
    return (unit, coding, bits) if fewer >= bits else (chosen, again, fewer)
