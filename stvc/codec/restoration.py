"""In-loop restoration: what quantization left in a unit's components, guessed pixel by pixel.

A small integer network looks at the differences between a pixel and its neighbors, in the decoded
and in the predicted component, and says how far the pixel was probably moved. It stands behind the
quantizer and before everything that uses decoded pixels, so that references are restored too; the
encoder measures what it gains and switches it off, or weakens it, per component. Its weights belong
to the generation of the codec, not to the entropy model: a model decides how many bits a date
takes, never what it looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from stvc import config
from stvc.codec import restoration_native
from stvc.codec.integer_layers import LIMIT
from stvc.codec.quantize import SKIPPED, STEP_OCTAVE, step_size
from stvc.codec.restoration_network import layers
from stvc.codec.transform import BLOCK, I32

RESTORED = 3
"""Generation of the codec from which on units are restored."""
STRENGTH_ONE = 4
"""Strengths are quarters."""
STRENGTHS = 8
"""Strengths 0 (off) to 7 / 4."""
FEATURES = 48
"""Inputs of a pixel."""
UNIT_BITS = 5
"""Differences are in units of 2**-5 base step."""
OUTPUT_BITS = 8
"""Corrections come in units of 2**-8 base step."""
_NEAR = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
_FAR = ((0, 2), (2, 0), (0, -2), (-2, 0))
_REACH = 2
_BEYOND = 1 << 29
# ^ four times what pixels can ask for: only damaged payloads come here
_RECIPROCAL_BITS = 20
_CHUNK = 1 << 14
# ^ pixels whose features stay in a core's cache

I8 = npt.NDArray[np.int8]
I16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Scene:
    """What restoration knows of a unit besides its pixels."""

    step_index: int
    """Base step."""
    spread: npt.NDArray[np.uint8]
    """(C,), see `stvc.codec.spectral.Klt`."""
    importance: npt.NDArray[np.uint8]
    """(h, w)."""
    unpredicted: bool
    """Whether the unit had nothing to be predicted from."""


def _reciprocal(step: int) -> int:
    return (1 << (_RECIPROCAL_BITS + UNIT_BITS)) // step


def _in_units(planes: npt.NDArray[np.generic], step: int) -> I16:
    """Express planes (units of 2**-4 DN) in units of 2**-5 step, modulo 2**16.

    Differences of up to a thousand steps survive the modulus; no decoded picture has larger ones.
    """
    scaled = planes.astype(np.float64)
    scaled *= float(_reciprocal(step))
    # ^ exact: 26 bits times 25
    scaled += 1 << _RECIPROCAL_BITS >> 1
    scaled *= 2.0**-_RECIPROCAL_BITS
    np.clip(np.floor(scaled, out=scaled), -_BEYOND, _BEYOND, out=scaled)
    return scaled.astype(np.int32).astype(np.int16)


def _write_around(plane: I16, offsets: tuple[tuple[int, int], ...], out: I8) -> None:
    """Write neighbors minus the pixel itself; plane (H, W) to out (n, H, W). Edges repeat."""
    h, w = plane.shape
    r = _REACH
    padded = np.pad(plane, r, mode="edge")
    for k, (dy, dx) in enumerate(offsets):
        _write(padded[r + dy : r + dy + h, r + dx : r + dx + w], plane, out[k])


def _write(upper: I16, lower: I16, out: I8) -> None:
    """Write a difference, cut to int8."""
    difference = upper - lower
    np.minimum(difference, LIMIT, out=difference)
    np.maximum(difference, -LIMIT, out=difference)
    out[:] = difference


def _blocks(symbols: I32, scene: Scene) -> I8:
    """Features of whole blocks, (C, 9, h, w)."""
    c, h, w, _ = symbols.shape
    blocks = np.zeros((c, 9, h, w), np.int64)
    for k in range(3):
        blocks[np.minimum(np.arange(c), 2) == k, k] = 64
    fine = scene.step_index * 8 // STEP_OCTAVE
    blocks[:, 3] = fine - 40
    blocks[:, 4] = (scene.spread.astype(np.int64) - fine)[:, None, None]
    blocks[:, 5] = 64 if scene.unpredicted else 0
    size = np.abs(symbols)
    blocks[:, 6] = _LOG[(size > 0).sum(-1)]
    blocks[:, 7] = _LOG[(size > 1).sum(-1)]
    blocks[:, 8] = np.where(scene.importance == SKIPPED, 0, scene.importance).astype(np.int64) * 16
    return np.clip(blocks, -LIMIT, LIMIT).astype(np.int8)


@lru_cache(maxsize=8)
def _positions(height: int, width: int) -> I8:
    """One-hot distance from the nearest edge of the block, down and across: (8, H, W)."""
    out = np.zeros((8, height, width), np.int8)
    for k in range(BLOCK // 2):
        for at, length, axis in ((k, height, 1), (BLOCK // 2 + k, width, 0)):
            inside = np.arange(length) % BLOCK
            hot = np.where(np.minimum(inside, BLOCK - 1 - inside) == k, 64, 0)
            out[at] = np.expand_dims(hot, axis)
    out.setflags(write=False)
    return out


def _log_table() -> npt.NDArray[np.int64]:
    """``floor(16 log2(1 + n))`` for n = 0 to 64, from integers alone."""
    found = np.zeros(BLOCK * BLOCK + 1, np.int64)
    for n in range(1, len(found)):
        while 2 ** (found[n].item() + 1) <= (1 + n) ** 16:
            found[n] += 1
    return np.minimum(found, 96)


_LOG = _log_table()


def features(decoded: I32, predicted: I32, symbols: I32, scene: Scene) -> I8:
    """Inputs of the network.

    Parameters
    ----------
    decoded, predicted : array, (C, H, W) int32
        Components in units of 2**-4 DN.
    symbols : array, (C, h, w, 64) int32
    scene : Scene

    Returns
    -------
    array, (C, 48, H, W) int8
        Differences to the neighbors in the decoded component (12) and in the predicted one (8),
        decoded minus predicted, differences to the neighbors in the first component (8, zero for
        the first itself), position in the block (8), then what is known of the whole block.
    """
    step = int(step_size(scene.step_index))
    mine, expected = _in_units(decoded, step), _in_units(predicted, step)
    c, height, width = decoded.shape
    out = np.empty((c, FEATURES, height, width), np.int8)
    blocks = _blocks(symbols, scene)
    for k in range(c):
        _write_around(mine[k], _NEAR + _FAR, out[k, :12])
        _write_around(expected[k], _NEAR, out[k, 12:20])
        _write(mine[k], expected[k], out[k, 20])
        out[k, 21:29] = out[0, :8] if k else 0
    out[:, 29:37] = _positions(height, width)
    out[:, 37:46] = blocks.repeat(BLOCK, 2).repeat(BLOCK, 3)
    out[:, 46:] = 0
    return out


def corrections(decoded: I32, predicted: I32, symbols: I32, scene: Scene) -> I32:
    """Run the network.

    Parameters
    ----------
    decoded, predicted : array, (C, H, W) int32
        Components in units of 2**-4 DN.
    symbols : array, (C, h, w, 64) int32
    scene : Scene

    Returns
    -------
    array, (C, H, W) int32
        What to add at full strength, units of 2**-8 base step.
    """
    if restoration_native.LEVEL and config.arithmetic() == "fastest":
        reciprocal = _reciprocal(int(step_size(scene.step_index)))
        return restoration_native.corrections(
            decoded, predicted, _blocks(symbols, scene), reciprocal
        )
    import torch

    from stvc.model.arithmetic import exact_products

    planes = torch.from_numpy(features(decoded, predicted, symbols, scene)).flatten(2)
    out = torch.empty(len(planes), planes.shape[2], dtype=torch.int32)
    network = layers()
    with exact_products():
        for component, found in zip(planes, out, strict=True):
            for start in range(0, len(found), _CHUNK):
                part = slice(start, start + _CHUNK)
                found[part] = network(component[:, part].t().contiguous())
    return np.asarray(out.numpy().reshape(decoded.shape))


def restore(decoded: I32, corrections: I32, strengths: npt.NDArray[np.int64], step: int) -> I32:
    """Add corrections to components (C, H, W); both in units of 2**-4 DN afterwards."""
    factor = (strengths * step)[:, None, None]
    bits = OUTPUT_BITS + STRENGTH_ONE.bit_length() - 1
    return np.asarray(decoded + ((corrections * factor + (1 << bits >> 1)) >> bits), np.int32)


def choose_strengths(
    missing: npt.NDArray[np.float64], corrections: I32, step: int
) -> npt.NDArray[np.int64]:
    """Choose how strongly each component is restored (encoder only).

    Parameters
    ----------
    missing : array, (C, N) float64
        Original minus decoded on clear pixels, units of 2**-4 DN.
    corrections : array, (C, N) int32
        See `corrections`.
    step : int
        Base step, units of 2**-4 DN.

    Returns
    -------
    array, (C,) int64
        All `STRENGTH_ONE` or all 0 where naming each one is not worth its bits.
    """
    offered = corrections * (step * 2.0**-OUTPUT_BITS)
    gain, power = (missing * offered).sum(1), (offered * offered).sum(1)
    best = np.clip(np.rint(STRENGTH_ONE * gain / np.maximum(power, 1e-9)), 0, STRENGTHS - 1)

    def saved(strengths: npt.NDArray[np.float64]) -> float:
        s = strengths / STRENGTH_ONE
        return float((s * (2 * gain - s * power)).sum())

    one, off = np.full(len(gain), float(STRENGTH_ONE)), np.zeros(len(gain))
    bits = 3.0 * len(gain) + 1
    worth = 2 * np.log(2) / 12 * step * step * bits
    # ^ what a uniform quantizer makes of as many bits
    uniform = one if saved(one) > 0 else off
    chosen = best if saved(best) > saved(uniform) + worth else uniform
    return np.asarray(chosen, np.int64)
