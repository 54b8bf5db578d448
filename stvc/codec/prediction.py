"""Prediction of a frame's coefficients from its references.

Each unit names, per spectral component, one of `PROFILES`: how strongly each frequency follows
the recent state and the background. The entropy model refines the rest; zero symbols mean
'as predicted'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.codec.references import NEVER, ReferenceState
from stvc.codec.registration import warp
from stvc.codec.spectral import Klt
from stvc.codec.transform import BLOCK, COEFFICIENTS, I32, RADIUS, blocks_of, forward

WEIGHT_BITS = 6


def _profiles() -> npt.NDArray[np.int64]:
    """(32, 2, 64) weights of (recent, background) per zigzag frequency, in 1/64.

    Profile 0 is intra. Then low-pass shapes of four mixtures, then 'levels from the recent
    state, detail from the background'.
    """
    zero = np.zeros(COEFFICIENTS)
    one = np.ones(COEFFICIENTS)
    rows = [(zero, zero)]
    for cut in (np.inf, 6.0, 3.0, 1.5, 0.75):
        shape = one if np.isinf(cut) else 1 / (1 + (RADIUS / cut) ** 2)
        for mix in (1.0, 0.75, 0.5, 0.0):
            rows.append((shape * mix, shape * (1 - mix)))
    for split in (1.0, 2.0, 4.0):
        for detail in (1.0, 0.5):
            low = split > RADIUS
            rows.append((np.where(low, 1.0, 0.0), np.where(low, 0.0, detail)))
    dc = np.where(RADIUS == 0, 1.0, 0.0)
    rows += [
        (dc, zero),
        (dc / 2, dc / 2),
        (one * 0.875, zero),
        (one * 0.75, zero),
        (one * 0.5, zero),
    ]
    return np.asarray(np.rint(np.array(rows) * (1 << WEIGHT_BITS)), np.int64)


PROFILES = _profiles()


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
    recent_age: npt.NDArray[np.int32]
    """(h, w) mean age of the recent state in days; -1 where no pixel was ever clear."""
    second_age: npt.NDArray[np.int32]
    """(h, w)."""
    has_background: bool
    """Whether a background exists."""


def _block_age(days: npt.NDArray[np.int32], today: int) -> npt.NDArray[np.int32]:
    blocks = blocks_of(days[None])[0].astype(np.int64)
    known = blocks > NEVER
    count = known.sum(-1)
    total = np.where(known, np.clip(today - blocks, 0, 4000), 0).sum(-1)
    return np.where(count > 0, total // np.maximum(count, 1), -1).astype(np.int32)


def reference_coefficients(
    state: ReferenceState, klt: Klt, shift: tuple[int, int], day: int
) -> ReferenceCoefficients:
    """Warp and transform all references of a unit (shared by encoder and decoder)."""
    c = len(klt.mean)
    h, w = state.shape[0] // BLOCK, state.shape[1] // BLOCK
    flat = np.broadcast_to(klt.mean[:, None, None], (c, BLOCK, BLOCK))
    mean = np.broadcast_to(forward(klt.forward(flat)), (c, h, w, COEFFICIENTS))
    nothing = not bool((state.recent_day > NEVER).any())

    def turn(planes: I32) -> I32:
        return forward(klt.forward(warp(planes, shift)))

    background = mean if state.background is None else turn(state.background)
    recent = background if nothing else turn(state.recent)
    deeper = bool((state.second_day > NEVER).any())
    second = turn(state.second) if deeper else recent
    return ReferenceCoefficients(
        mean=mean,
        recent=recent,
        second=second,
        background=background,
        recent_age=_block_age(state.recent_day, day),
        second_age=_block_age(state.second_day, day),
        has_background=state.background is not None,
    )


def predict(
    refs: ReferenceCoefficients, profiles: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]
) -> I32:
    """Predict all coefficients of a unit.

    Parameters
    ----------
    refs : ReferenceCoefficients
    profiles : array, (C,) int
        Row of `PROFILES` per component.
    offsets : array, (C,) int
        Added to every DC, units of 2**-4 DN (haze and illumination lift whole frames).

    Returns
    -------
    array, (C, h, w, 64) int32
        In units of 2**-4 DN.
    """
    weights = PROFILES[profiles][:, :, None, None, :]
    mean = refs.mean.astype(np.int64)
    lifted = weights[:, 0] * (refs.recent - mean) + weights[:, 1] * (refs.background - mean)
    predicted = mean + ((lifted + (1 << WEIGHT_BITS >> 1)) >> WEIGHT_BITS)
    predicted[..., 0] += offsets[:, None, None]
    return predicted.astype(np.int32)
