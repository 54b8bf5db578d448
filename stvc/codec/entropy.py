"""Entropy coding of a unit's symbols: through the network, or through the plain coder beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from stvc.codec.adaptation import Correction
from stvc.codec.batches import Batch
from stvc.codec.costs import band_scales
from stvc.codec.fast_coder import decode_fast, fast_batches
from stvc.codec.quantize import SKIPPED
from stvc.codec.rangecoder import Models, Reader
from stvc.codec.readers import Readers, Told
from stvc.codec.transform import I32
from stvc.errors import CorruptError
from stvc.model.architecture import (
    GROUPS,
    PREVIOUS_COMPONENTS,
    SIDE_FEATURES,
    TokenLayout,
    token_layout,
)
from stvc.model.arithmetic import exact_products
from stvc.model.fast_features import FastFeatures
from stvc.model.features import UnitFeatures, compand

if TYPE_CHECKING:
    from stvc.model.network import Steps
    from stvc.model.weights import EntropyModel

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

PLAIN_BANDS: tuple[tuple[int, int], ...] = (
    (0, 1),
    (1, 3),
    (3, 6),
    (6, 10),
    (10, 15),
    (15, 28),
    (28, 45),
    (45, 64),
)
"""Zigzag ranges that share one scale in the plain coder."""


@dataclass(frozen=True)
class _Unit:
    """One unit's inputs in the network's memory order."""

    features: UnitFeatures
    layout: TokenLayout
    flat: U8
    """(tokens,) importance."""
    coded: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
    """Per phase: which of its tokens are coded."""

    @classmethod
    def of(cls, features: UnitFeatures, importance: U8) -> _Unit:
        layout = token_layout(*importance.shape)
        flat = np.append(importance.reshape(-1), SKIPPED).astype(np.uint8)[layout.place]
        half = layout.tokens // 2
        coded = (np.flatnonzero(flat[:half] != SKIPPED), np.flatnonzero(flat[half:] != SKIPPED))
        return cls(features, layout, flat, coded)

    def rows(self, phase: int) -> npt.NDArray[np.intp]:
        """Raster indices of the coded tokens of a phase."""
        return np.asarray(self.layout.place[self.coded[phase] + phase * (self.layout.tokens // 2)])


class _Part(NamedTuple):
    """One component of a unit, on its way through the network."""

    unit: _Unit
    component: int
    symbols: I32
    """(C, N, 64) of the unit; those of the components before this one must be there."""


def _start(model: EntropyModel, parts: Sequence[_Part]) -> Steps:
    """Begin a walk through some components, all in one batch; their units are of one shape."""
    import torch

    config = model.large_network.config
    layout = parts[0].unit.layout
    place, n = layout.place, parts[0].symbols.shape[1]
    rows = np.zeros((len(parts), n + 1, config.features), np.int8)
    moves = np.zeros((len(parts), n + 1, 64, config.candidates), np.int16)
    context = 64 * config.references
    for i, (unit, k, symbols) in enumerate(parts):
        features = unit.features
        rows[i, :n, :context] = features.context[k][:, :context]
        for back in range(1, min(k, PREVIOUS_COMPONENTS) + 1):
            at = context + 64 * (back - 1)
            rows[i, :n, at : at + 64] = compand(symbols[k - back].astype(np.int64) * 8)
        rows[i, :n, -SIDE_FEATURES:] = features.side[k]
        moves[i, :n] = features.candidates[k][..., : config.candidates]
    return model.large_network.steps(
        torch.from_numpy(rows[:, place]),
        torch.from_numpy(moves[:, place]),
        torch.from_numpy(np.stack([part.unit.flat for part in parts])),
        torch.from_numpy(place < n),
        layout,
    )


class Request(NamedTuple):
    """A unit whose symbols the network is to read."""

    reader: Reader
    features: UnitFeatures | FastFeatures
    importance: U8
    """(h, w)."""
    correction: Correction | None = None
    """Of its scales; None before generation 4."""


def network_batches(
    model: EntropyModel, features: UnitFeatures | FastFeatures, importance: U8, symbols: I32
) -> list[Batch]:
    """What the network says of every step, in coding order (encoder).

    The encoder knows all symbols, so all components go through the network at once; integers do
    not care about the size of a batch.
    """
    if isinstance(features, FastFeatures):
        return fast_batches(model.fast_network, features, symbols)
    import torch

    unit = _Unit.of(features, importance)
    parts = [_Part(unit, k, symbols) for k in range(len(symbols))]
    found: list[list[Batch]] = [[] for _ in parts]
    half = unit.layout.tokens // 2
    with exact_products():
        steps = _start(model, parts)
        step = next(steps)
        while True:
            g, p, location, scale = step
            mine = symbols[:, unit.rows(p), slice(*GROUPS[g])]
            where, wide = (
                x.cpu().numpy()[:, unit.coded[p]].astype(np.int64) for x in (location, scale)
            )
            for k in range(len(parts)):
                symbols_of_k = mine[k].astype(np.int64)
                found[k].append(Batch(symbols_of_k, where[k], wide[k], k, GROUPS[g][0]))
            full = np.zeros((len(parts), half, mine.shape[-1]), np.int32)
            full[:, unit.coded[p]] = mine
            try:
                step = steps.send(torch.from_numpy(full).to(location.device))
            except StopIteration:
                return [batch for component in found for batch in component]


def batch_places(importance: U8, components: int) -> list[I64]:
    """Where the symbols of each batch of `network_batches` lie in the flat (C, N, 64) array."""
    layout = token_layout(*importance.shape)
    flat = np.append(importance.reshape(-1), SKIPPED)[layout.place].reshape(2, -1)
    halves = layout.place.reshape(2, -1)
    rows = [halves[p][flat[p] != SKIPPED] for p in (0, 1)]
    return [
        ((k * importance.size + rows[p])[:, None] * 64 + np.arange(*group)).reshape(-1)
        for k in range(components)
        for group in GROUPS
        for p in (0, 1)
    ]


def decode_networks(model: EntropyModel, requests: Sequence[Request]) -> list[I32 | CorruptError]:
    """Read the symbols of some units of one shape, all in one batch.

    Parameters
    ----------
    model : EntropyModel
    requests : sequence of Request

    Returns
    -------
    list
        Per unit its symbols (C, N, 64); or what is wrong with its payload, which does not touch
        the others.
    """
    readers = Readers([one.reader for one in requests], model.models, model.listener)
    fast = [one.features for one in requests if isinstance(one.features, FastFeatures)]
    if fast:
        corrections = [one.correction for one in requests]
        tokens = requests[0].importance.size
        return decode_fast(readers, model.fast_network, fast, corrections, tokens)
    units = [
        _Unit.of(one.features, one.importance)
        for one in requests
        if isinstance(one.features, UnitFeatures)
    ]
    return _decode_large(model, readers, units, [one.correction for one in requests])


def _decode_large(
    model: EntropyModel,
    readers: Readers,
    units: Sequence[_Unit],
    corrections: Sequence[Correction | None],
) -> list[I32 | CorruptError]:
    import torch

    c, n, _ = units[0].features.context.shape
    symbols = [np.zeros((c, n, 64), np.int32) for _ in units]
    half = units[0].layout.tokens // 2
    with exact_products():
        for k in range(c):
            steps = _start(model, [_Part(*one) for one in zip(units, repeat(k), symbols)])
            step = next(steps)
            while True:
                g, p, location, scale = step
                band = slice(*GROUPS[g])
                width = band.stop - band.start
                places, widths = location.cpu().numpy(), scale.cpu().numpy()
                full = np.zeros((len(units), half, width), np.int32)
                for i, unit in enumerate(units):
                    chosen = unit.coded[p]
                    where, wide = places[i, chosen], widths[i, chosen]
                    rows = unit.rows(p)
                    told = Told(where, wide, k, band.start, rows)
                    mine = readers.group(i, told, corrections[i])
                    symbols[i][k, rows, band] = mine
                    full[i, chosen] = mine
                try:
                    step = steps.send(torch.from_numpy(full).to(location.device))
                except StopIteration:
                    break
    return readers.outcomes(symbols)


def plain_scales(
    symbols: I32, importance: U8, models: Models
) -> tuple[npt.NDArray[np.int64], float]:
    """Cheapest scale index per component and plain band, and the bits of all symbols with it.

    Parameters
    ----------
    symbols : array, (C, N, 64)
    importance : array, (h, w)
    """
    return band_scales(symbols, PLAIN_BANDS, models, importance.reshape(-1) == SKIPPED)


def plain_batches(symbols: I32, importance: U8, scales: npt.NDArray[np.int64]) -> list[Batch]:
    """All symbols of every component under the plain coder."""
    coded = importance.reshape(-1) != SKIPPED
    wide = _plain_row(scales)
    batches = []
    for k, component in enumerate(symbols):
        values = component[coded].astype(np.int64)
        scale = np.broadcast_to(wide[k], values.shape)
        batches.append(Batch(values, np.zeros(values.shape, np.int64), scale, k, 0))
    return batches


def decode_plain(
    reader: Reader, importance: U8, scales: npt.NDArray[np.int64], models: Models
) -> I32:
    """Read the symbols (C, N, 64) of a unit that the plain coder wrote."""
    coded = importance.reshape(-1) != SKIPPED
    wide = _plain_row(scales)
    symbols = np.zeros((len(scales), coded.size, 64), np.int32)
    for k in range(len(scales)):
        scale = np.broadcast_to(wide[k], (int(coded.sum()), 64)).reshape(-1)
        values = reader.symbols(np.zeros(scale.size, np.int64), scale, models)
        symbols[k, coded] = np.clip(values, -(1 << 24), 1 << 24).reshape(-1, 64)
    return symbols


def _plain_row(scales: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(C, 64) scale index of every coefficient from (C, bands)."""
    widths = [high - low for low, high in PLAIN_BANDS]
    return np.repeat(scales, widths, axis=1)
