"""Integer inputs of the fast entropy model, computed alike by encoder, decoder and training.

Everything is a magnitude on a logarithmic scale: eight units per octave of ``1 + 8 |x|``, x in
steps. It is read off the bits of a float32 that elementwise operations made: each of them is
rounded as IEEE 754 says, so that every machine finds the same bits (there is no sum whose order
could matter).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.codec.prediction import ReferenceCoefficients
from stvc.codec.profiles import profiles_of
from stvc.codec.quantize import SKIPPED, STEP_OCTAVE
from stvc.model.fast_architecture import LOW, MOVES, PLANES, SIDE, TOP
from stvc.model.features import FrameSide, in_steps, log2_units

I16 = npt.NDArray[np.int16]
U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

_MANTISSA = 20
# ^ bits of a float32 below eight units per octave
_ONE = 127 << 3
# ^ what 1.0 reads as then
_LARGEST = 511


@dataclass(frozen=True)
class FastFeatures:
    """Inputs for all components of one unit; only tokens that are coded."""

    grid: tuple[int, int]
    """(h, w) tokens."""
    rows: npt.NDArray[np.intp]
    """(M,) raster indices of the coded tokens."""
    known: U8
    """(C, M, 64 * PLANES + SIDE) 0 to 127: magnitudes of what the references say, and scalars."""
    moves: I16
    """(C, M, LOW, MOVES) corrections of the lowest coefficients' locations in 1/8 step: recent,
    background, mean, second reference, running mean, minus prediction."""


def _levels(x: F32, out: U8) -> None:
    """Read 8 log2(1 + 8 |x|) off the bits of ``8 x``; ``x`` is overwritten."""
    np.abs(x, out=x)
    x += np.float32(1)
    bits = x.view(np.int32)
    bits >>= _MANTISSA
    bits -= _ONE
    np.minimum(bits, TOP, out=bits)
    out[...] = bits


def _symbol_levels() -> U8:
    table = np.empty(_LARGEST + 1, np.uint8)
    _levels(np.arange(_LARGEST + 1, dtype=np.float32) * np.float32(8), table)
    return table


SYMBOL_LEVELS = _symbol_levels()


def symbol_levels(symbols: npt.NDArray[np.generic]) -> U8:
    """Magnitudes of symbols as the model hears them."""
    return np.asarray(SYMBOL_LEVELS.take(np.abs(symbols), mode="clip"))


def fast_features(
    refs: ReferenceCoefficients,
    predicted: npt.NDArray[np.int32],
    steps: npt.NDArray[np.int64],
    importance: U8,
    profiles: npt.NDArray[np.int64],
    spread: U8,
    frame: FrameSide,
) -> FastFeatures:
    """Gather the fast model's inputs; arguments as for `stvc.model.features.unit_features`."""
    c, h, w, _ = predicted.shape
    flat = importance.reshape(-1)
    rows = np.flatnonzero(flat != SKIPPED)
    m, everything = len(rows), len(rows) == h * w
    known = np.zeros((c, m, 64 * PLANES + SIDE), np.uint8)

    def coded(plane: npt.NDArray[np.int32], k: int) -> npt.NDArray[np.int32]:
        tokens = plane[k].reshape(h * w, 64)
        return np.asarray(tokens if everything else tokens[rows], np.int32)

    per_step = np.float32(8) / steps.reshape(-1)[rows].astype(np.float32)[:, None]
    blank = not refs.has_background and not bool((refs.recent_age >= 0).any())
    for k in range(0 if blank else c):
        mean = refs.mean[k, 0, 0]
        about = coded(predicted, k)
        recent, second = coded(refs.recent, k), coded(refs.second, k)
        average = coded(refs.average, k)
        fourth = coded(refs.background, k) if refs.has_background else average
        pairs = ((average, mean), (recent, second), (recent, about), (fourth, about))
        for j, (a, b) in enumerate(pairs):
            if a is b:
                continue
            x = (a - b).astype(np.float32)
            x *= per_step
            _levels(x, known[k, :, 64 * j : 64 * (j + 1)])
    known[..., 64 * PLANES :] = _side(refs, flat, rows, profiles, spread, frame)
    moves = np.zeros((c, m, LOW, MOVES), np.int16)
    low_steps = steps.reshape(-1)[rows][None, :, None]
    low = [predicted, refs.recent, refs.background, refs.mean, refs.second, refs.average]
    about, *others = (np.asarray(p.reshape(c, h * w, 64)[..., :LOW][:, rows]) for p in low)
    for j, other in enumerate(others):
        moves[..., j] = in_steps(other - about, low_steps)
    return FastFeatures((h, w), rows, known, moves)


def _side(
    refs: ReferenceCoefficients,
    flat: U8,
    rows: npt.NDArray[np.intp],
    profiles: npt.NDArray[np.int64],
    spread: U8,
    frame: FrameSide,
) -> U8:
    """(C, M, SIDE) scalars."""
    c, m = len(profiles), len(rows)
    side = np.zeros((c, m, SIDE), np.int64)
    step = frame.step_index * 8 // STEP_OCTAVE
    side[..., 0] = step
    side[..., 1] = (spread.astype(np.int64) - step + 48)[:, None]
    for k in range(c):
        side[k, :, 2 + min(k, 4)] = 64
    side[..., 7] = log2_units(c, 16)
    for position, age in ((8, refs.recent_age), (10, refs.second_age)):
        days = age.reshape(-1)[rows].astype(np.int64)
        side[..., position] = log2_units(days + 1) * (days >= 0)
        side[..., position + 1] = np.where(days < 0, 64, 0)
    side[..., 12] = 0 if refs.has_background else 64
    side[..., 13] = flat[rows].astype(np.int64) * 16
    side[..., 14] = log2_units(max(frame.gsd, 1))
    table = profiles_of(refs.generation)[profiles]
    for at, frequency in ((15, 0), (19, 40)):
        side[..., at : at + 4] = 32 + table[:, :, frequency][:, None] // 2
    side[..., 23] = 8 * abs(frame.shift[0])
    side[..., 24] = 8 * abs(frame.shift[1])
    side[..., 25] = 64 if refs.two_sided else 0
    side[..., 26] = (64 * (profiles == 0))[:, None]
    side[..., 27] = 64 * m // max(len(flat), 1)
    return np.clip(side, 0, TOP).astype(np.uint8)
