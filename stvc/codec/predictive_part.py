"""Bands of a unit that are coded together, as they lie in the range-coded stream.

First values, then what is told of each band (by mixture or by a curve, which traces), then the
levels, step after step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.codec.predictive_decisions import read_levels, write_levels
from stvc.codec.predictive_layout import Layout
from stvc.codec.predictive_mixture import Mixture, level_bits, mixture_of, single
from stvc.codec.predictive_network import outputs
from stvc.codec.predictive_scales import BUCKETS, address_of, read_curves, write_curves
from stvc.codec.predictive_tables import OCTAVE, logistic_models
from stvc.codec.predictive_traces import Traces
from stvc.codec.predictive_walk import Bool, Step
from stvc.codec.rangecoder import Reader, Writer
from stvc.codec.trace_rules import BandTraces, Tellable, read_traces, write_traces
from stvc.codec.truncation import truncated
from stvc.model.architecture import SCALE_OCTAVE, SCALE_ZERO

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
CodedStep = tuple[Step, I64, Mixture | None]
"""Pixels of a step, their levels, and how these are distributed."""


@dataclass(frozen=True)
class BandCoding:
    """How the levels of C bands are coded."""

    by_mixture: Bool
    """(C,) which bands take mixtures of the pixel network."""
    curves: I64
    """(C, BUCKETS) of the other ones."""
    tellable: Tellable | None
    """What may be told of traces; None: nothing."""
    told: list[BandTraces]
    """Of each band, if traces may be told."""

    def traces(self, layout: Layout, hidden: Bool | None) -> Traces | None:
        """Counts to lean on, if any band shows a trace."""
        if not any(band.any for band in self.told):
            return None
        return Traces(layout, self.told, hidden)

    def ways(self, step: Step) -> Iterator[tuple[Bool, bool, bool]]:
        """Which of a step's pixels, whether by mixtures of the network, whether leaning."""
        told = self.told or [BandTraces()] * len(self.by_mixture)
        of_bands = {(bool(m), t.any) for m, t in zip(self.by_mixture, told, strict=True)}
        if len(of_bands) == 1:
            yield np.ones(len(step.band), bool), *of_bands.pop()
            return
        leans = np.array([band.any for band in told], bool)[step.band]
        mixed = self.by_mixture[step.band]
        for by_mixture in (True, False):
            for leaning in (True, False):
                chosen = (mixed == by_mixture) & (leans == leaning)
                if chosen.any():
                    yield chosen, by_mixture, leaning

    def write(self, writer: Writer, *, flagged: bool) -> None:
        """Tell it; ``flagged`` where bands may take mixtures."""
        if flagged:
            for flag in self.by_mixture.tolist():
                writer.flag(flag)
        if self.tellable is not None:
            write_traces(writer, self.told, self.tellable)
        write_curves(writer, self.curves[~self.by_mixture])

    @classmethod
    def read(
        cls,
        reader: Reader,
        shape: tuple[int, int, int],
        *,
        flagged: bool,
        tellable: Tellable | None,
    ) -> BandCoding:
        """Read it, of bands of a shape."""
        bands = shape[0]
        by_mixture = np.array([flagged and reader.flag() for _ in range(bands)], bool)
        told = []
        if tellable is not None:
            told = read_traces(reader, bands, shape[1:], tellable)
        curves = np.zeros((bands, BUCKETS), np.int64)
        curves[~by_mixture] = read_curves(reader, int(np.count_nonzero(~by_mixture)))
        return cls(by_mixture, curves, tellable, told)

    def cut(self, values: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
        """(C, H, W) bands of values that were told: cut, where the encoder said so."""
        for k, band in enumerate(self.told):
            if band.truncation is not None:
                values[k] = truncated(values[k].astype(np.int64), band.truncation)
        return values


@dataclass(frozen=True)
class Part:
    """Bands that are coded together, ready to be written."""

    first: I64
    """(C,) first values."""
    coding: BandCoding
    coded: list[CodedStep]
    source: I64
    """(size,) values of all cells."""
    traces: Traces | None

    def write(self, writer: Writer, pitch: int, *, flagged: bool) -> None:
        """Write it; ``flagged`` as for `BandCoding.write`."""
        writer.bits(self.first, 16)
        self.coding.write(writer, flagged=flagged)
        source = self.source.astype(np.float64)
        for step, levels, mixture in self.coded:
            for chosen, by_mixture, leans in self.coding.ways(step):
                asked, found = step.of(chosen), levels[chosen]
                leaning = None
                if leans and self.traces is not None:
                    leaning = self.traces.at(asked, source)
                if by_mixture and mixture is not None:
                    write_levels(writer, mixture.of(chosen), found, leaning)
                elif leaning is not None:
                    write_levels(writer, curve_mixture(asked, self.coding.curves), found, leaning)
                else:
                    address = address_of(asked, self.coding.curves, pitch)
                    writer.symbols(found, *address, logistic_models())


def read_step(
    reader: Reader,
    step: Step,
    pitch: int,
    coding: BandCoding,
    traces: Traces | None,
    generation: int,
) -> I64:
    """(n,) levels of a step's pixels."""
    levels = np.empty(len(step.cells), np.int64)
    for chosen, by_mixture, leans in coding.ways(step):
        asked, leaning = step.of(chosen), None
        if leans and traces is not None and asked.told is not None:
            leaning = traces.at(asked, asked.told)
        if by_mixture:
            levels[chosen] = read_levels(reader, mixture_at(asked, pitch, generation), leaning)
        elif leaning is not None:
            levels[chosen] = read_levels(reader, curve_mixture(asked, coding.curves), leaning)
        else:
            address = address_of(asked, coding.curves, pitch)
            levels[chosen] = reader.symbols(*address, logistic_models())
    return levels


def mixture_at(step: Step, pitch: int, generation: int) -> Mixture:
    """Distributions of a step's levels as the pixel network sees them."""
    assert step.seen is not None
    return mixture_of(step, outputs(step.seen, generation), pitch)


def curve_mixture(step: Step, curves: I64) -> Mixture:
    """One logistic distribution, that of the table which a curve names, of levels of 1 DN."""
    _, scale = address_of(step, curves, 1)
    return single(step, OCTAVE // SCALE_OCTAVE * (scale - SCALE_ZERO) + 3 * OCTAVE)
    # ^ 3 octaves from DN to 1/8 DN


def mixture_bits(coded: list[CodedStep], bands: int) -> F64:
    """(bands,) bits of all levels under their mixtures."""
    total = np.zeros(bands)
    for step, levels, mixture in coded:
        if mixture is not None:
            total += np.bincount(step.band, level_bits(mixture, levels), bands)
    return total
