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
from stvc.native import kernels

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
    known = np.zeros((c, len(rows), 64 * PLANES + SIDE), np.uint8)
    moves = np.zeros((c, len(rows), LOW, MOVES), np.int16)
    gather = plain_inputs if kernels is None else native_inputs
    gather(refs, predicted, steps.reshape(-1), rows, known, moves)
    known[..., 64 * PLANES :] = _side(refs, flat, rows, profiles, spread, frame)
    return FastFeatures((h, w), rows, known, moves)


def plain_inputs(
    refs: ReferenceCoefficients,
    predicted: npt.NDArray[np.int32],
    steps: npt.NDArray[np.int64],
    rows: npt.NDArray[np.intp],
    known: U8,
    moves: I16,
) -> None:
    """Write what references say of tokens ``rows`` into both of `FastFeatures`' arrays."""
    c, h, w, _ = predicted.shape
    everything = len(rows) == h * w

    def coded(plane: npt.NDArray[np.int32], k: int) -> npt.NDArray[np.int32]:
        tokens = plane[k].reshape(h * w, 64)
        return np.asarray(tokens if everything else tokens[rows], np.int32)

    per_step = np.float32(8) / steps[rows].astype(np.float32)[:, None]
    for k in range(0 if refs.unpredicted else c):
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
    low_steps = steps[rows][None, :, None]
    low = [predicted, refs.recent, refs.background, refs.mean, refs.second, refs.average]
    about, *others = (np.asarray(p.reshape(c, h * w, 64)[..., :LOW][:, rows]) for p in low)
    for j, other in enumerate(others):
        moves[..., j] = in_steps(other - about, low_steps)


def native_inputs(
    refs: ReferenceCoefficients,
    predicted: npt.NDArray[np.int32],
    steps: npt.NDArray[np.int64],
    rows: npt.NDArray[np.intp],
    known: U8,
    moves: I16,
) -> None:
    """Do what `plain_inputs` does on a native kernel."""
    assert kernels is not None
    planes = refs.recent, refs.second, refs.average, refs.background
    kernels.unit_inputs(
        (len(predicted), len(steps), refs.unpredicted),
        np.ascontiguousarray(rows, np.int64),
        np.ascontiguousarray(steps, np.int64),
        np.ascontiguousarray(predicted),
        *(None if p is refs.mean else np.ascontiguousarray(p) for p in planes),
        np.ascontiguousarray(refs.mean[:, 0, 0]),
        known,
        moves,
    )


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
    side = np.zeros((c, 1, SIDE), np.int64)
    step = frame.step_index * 8 // STEP_OCTAVE
    side[..., 0] = step
    side[..., 1] = (spread.astype(np.int64) - step + 48)[:, None]
    for k in range(c):
        side[k, 0, 2 + min(k, 4)] = 64
    side[..., 7] = log2_units(c, 16)
    side[..., 12] = 0 if refs.has_background else 64
    side[..., 14] = log2_units(max(frame.gsd, 1))
    table = profiles_of(refs.generation)[profiles]
    for at, frequency in ((15, 0), (19, 40)):
        side[..., at : at + 4] = 32 + table[:, :, frequency][:, None] // 2
    side[..., 23] = 8 * abs(frame.shift[0])
    side[..., 24] = 8 * abs(frame.shift[1])
    side[..., 25] = 64 if refs.two_sided else 0
    side[..., 26] = (64 * (profiles == 0))[:, None]
    side[..., 27] = 64 * m // max(len(flat), 1)
    out = np.repeat(np.clip(side, 0, TOP).astype(np.uint8), m, 1)
    for position, age in ((8, refs.recent_age), (10, refs.second_age)):
        days = age.reshape(-1)[rows]
        out[..., position] = _AGES.take(days + 1, mode="clip")
        out[..., position + 1] = np.where(days < 0, 64, 0)
    out[..., 13] = np.minimum(flat[rows].astype(np.int64) * 16, TOP)
    return out


_AGES = np.minimum(log2_units(np.arange(1 << 16)), TOP).astype(np.uint8)
"""What ages of -1 days (none) and more read as; the last entry stands for all that are older."""
