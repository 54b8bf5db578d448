"""Prediction of a frame's coefficients from its references.

Each unit names, per spectral component, one row of `stvc.codec.profiles`: how strongly each
frequency follows each reference. The entropy model refines the rest; zero symbols mean 'as
predicted'.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stvc.codec.generations import NEWEST
from stvc.codec.prediction_native import native_prediction
from stvc.codec.profiles import WEIGHT_BITS, profiles_of
from stvc.codec.references import NEVER, ReferenceState
from stvc.codec.registration import warp, warp_blocks
from stvc.codec.spectral import Klt
from stvc.codec.transform import BLOCK, COEFFICIENTS, I32, blocks_of
from stvc.codec.turns import turn
from stvc.native import kernels


@dataclass(frozen=True)
class ReferenceCoefficients:
    """The references of one unit in the transform domain, all in units of 2**-4 DN."""

    mean: I32
    """(C, h, w, 64) of the constant mean."""
    recent: I32
    """(C, h, w, 64)."""
    second: I32
    """(C, h, w, 64)."""
    background: I32
    """(C, h, w, 64); equal to ``mean`` if there is none."""
    average: I32
    """(C, h, w, 64) of the running mean; equal to ``recent`` in generation 1."""
    recent_age: npt.NDArray[np.int32]
    """(h, w) mean age of the recent state in days; -1 where no pixel was ever clear."""
    second_age: npt.NDArray[np.int32]
    """(h, w)."""
    has_background: bool
    """Whether a background exists."""
    two_sided: bool = False
    """Whether ``second`` comes from the other side of the frame's date."""
    generation: int = NEWEST
    """Of the codec; decides about `profiles_of`."""

    @property
    def planes(self) -> tuple[I32, I32, I32, I32]:
        """What profiles weigh, in their order."""
        return self.recent, self.background, self.second, self.average

    @property
    def unpredicted(self) -> bool:
        """Whether there is nothing but the mean."""
        return not self.has_background and not bool((self.recent_age >= 0).any())


def turned_references(
    refs: ReferenceCoefficients, predicted: I32, turns: npt.NDArray[np.int64] | None
) -> tuple[ReferenceCoefficients, I32]:
    """References and prediction (C, h, w, 64) as components of turned residuals are compared."""
    if turns is None:
        return refs, predicted
    planes = (refs.mean, refs.recent, refs.second, refs.background, refs.average)
    found: dict[int, I32] = {}
    for plane in planes:
        if id(plane) not in found:  # several may be one
            found[id(plane)] = turn(plane, turns)
    mean, recent, second, background, average = (found[id(plane)] for plane in planes)
    now = replace(
        refs, mean=mean, recent=recent, second=second, background=background, average=average
    )
    return now, turn(predicted, turns)


def _block_age(days: npt.NDArray[np.int32], today: int, generation: int) -> npt.NDArray[np.int32]:
    if kernels is not None:
        found = np.empty((days.shape[0] // BLOCK, days.shape[1] // BLOCK), np.int32)
        given = np.ascontiguousarray(days)
        kernels.block_ages(given, days.shape, today, generation > 1, int(NEVER), found)
        return found
    blocks = blocks_of(days[None])[0].astype(np.int64)
    known = blocks > NEVER
    count = known.sum(-1)
    age = today - blocks
    age = age if generation == 1 else np.abs(age)
    total = np.where(known, np.clip(age, 0, 4000), 0).sum(-1)
    return np.where(count > 0, total // np.maximum(count, 1), -1).astype(np.int32)


def reference_coefficients(
    state: ReferenceState,
    klt: Klt,
    shift: tuple[int, int],
    day: int,
    tokens: npt.NDArray[np.intp] | None = None,
) -> ReferenceCoefficients:
    """Warp and transform all references of a unit (shared by encoder and decoder).

    With ``tokens`` only these of the planes, one beside the other: (C, 1, n, 64).
    """
    c = len(klt.mean)
    h, w = state.shape[0] // BLOCK, state.shape[1] // BLOCK
    grid = (h, w) if tokens is None else (1, len(tokens))
    mean = np.broadcast_to(klt.flat, (c, *grid, COEFFICIENTS))
    nothing = not bool((state.recent_day > NEVER).any())

    def seen(planes: I32) -> I32:
        moved = warp(planes, shift) if tokens is None else warp_blocks(planes, shift, tokens)
        return klt.coefficients(moved)

    background = mean if state.background is None else seen(state.background)
    recent = background if nothing else seen(state.recent)
    deeper = bool((state.second_day > NEVER).any())
    second = seen(state.second) if deeper else recent
    average = recent if nothing or state.generation == 1 else seen(state.average)
    return ReferenceCoefficients(
        mean=mean,
        recent=recent,
        second=second,
        background=background,
        average=average,
        recent_age=_block_age(state.recent_day, day, state.generation),
        second_age=_block_age(state.second_day, day, state.generation),
        has_background=state.background is not None,
        two_sided=state.two_sided,
        generation=state.generation,
    )


def predict(
    refs: ReferenceCoefficients, profiles: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]
) -> I32:
    """Predict all coefficients of a unit.

    Parameters
    ----------
    refs : ReferenceCoefficients
    profiles : array, (C,) int
        Row of `profiles_of` per component.
    offsets : array, (C,) int
        Added to every DC, units of 2**-4 DN (haze and illumination lift whole frames).

    Returns
    -------
    array, (C, h, w, 64) int32
        In units of 2**-4 DN.
    """
    if kernels is not None:
        return native_prediction(refs, profiles, offsets)
    one = 1 << WEIGHT_BITS
    weights = profiles_of(refs.generation)[profiles] / one
    predicted = np.empty(refs.mean.shape, np.int32)
    for k, (rows, offset) in enumerate(zip(weights, offsets, strict=True)):
        start = (1 - rows.sum(0)) * refs.mean[k, 0, 0] + 0.5
        # ^ exact: integers far below 2**53, divided by a power of two
        named = [(row, plane[k]) for row, plane in zip(rows, refs.planes, strict=True) if row.any()]
        if not named:
            predicted[k] = np.floor(start)
        else:
            (row, plane), *others = named
            total = row * plane
            for row, plane in others:
                total += row * plane
            total += start
            predicted[k] = np.floor(total, out=total)
        predicted[k, ..., 0] += offset
    return predicted
