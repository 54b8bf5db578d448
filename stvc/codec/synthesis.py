"""From prediction and symbols to pixels: the decoder's arithmetic, which the encoder repeats."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stvc.codec.prediction import ReferenceCoefficients, predict
from stvc.codec.quantize import dequantize, step_size, token_steps
from stvc.codec.restoration import Scene, corrections, restore
from stvc.codec.spectral import MOST_BANDS, Klt
from stvc.codec.transform import BLOCK, I32, PARTS, blocks_of, inverse
from stvc.codec.turns import factors, turn_back
from stvc.codec.unit_plan import UnitPlan
from stvc.native import kernels


def predict_unit(refs: ReferenceCoefficients, plan: UnitPlan) -> I32:
    """Predict from a plan (shared by encoder and decoder)."""
    return predict(refs, plan.profiles, plan.offsets * step_size(plan.step_index))


def residual_of(symbols: I32, steps: npt.NDArray[np.int64], plan: UnitPlan) -> I32:
    """What (C, h, w, 64) symbols stand for, given the (h, w) steps of their tokens."""
    levels = dequantize(symbols, steps[None, :, :, None], plan.shrink)
    return levels if plan.turns is None else turn_back(levels, plan.turns)


def synthesize(
    predicted: I32,
    symbols: I32,
    importance: npt.NDArray[np.uint8],
    plan: UnitPlan,
    klt: Klt,
    concealed: npt.NDArray[np.bool_],
    unpredicted: bool,
) -> npt.NDArray[np.uint16]:
    """Decode a unit's pixels (shared by encoder and decoder, exact).

    Parameters
    ----------
    predicted, symbols : array, (C, h, w, 64) int32
    importance : array, (h, w) uint8
    plan : UnitPlan
    klt : Klt
    concealed : array, (H, W) bool
        Don't-care pixels, which show the prediction: the place without its clouds. What their
        blocks hold there is whatever was cheapest to code.
    unpredicted : bool
        Whether there was nothing to predict from.

    Returns
    -------
    array, (C, H, W) uint16
    """
    steps = token_steps(plan.step_index, importance)
    if not plan.strengths.any():
        return unrestored_pixels(predicted, symbols, steps, plan, klt, concealed)
    decoded = inverse(predicted + residual_of(symbols, steps, plan))
    scene = Scene(plan.step_index, klt.spread, importance, unpredicted)
    wanted = corrections(decoded, inverse(predicted), symbols, scene)
    decoded = restore(decoded, wanted, plan.strengths, int(step_size(plan.step_index)))
    return shown_pixels(decoded, predicted, klt, concealed)


def unrestored_pixels(
    predicted: I32,
    symbols: I32,
    steps: npt.NDArray[np.int64],
    plan: UnitPlan,
    klt: Klt,
    concealed: npt.NDArray[np.bool_],
    *,
    show: bool = True,
) -> npt.NDArray[np.uint16]:
    """Decode pixels of a unit that is not restored; arguments as for `synthesize`.

    Parameters
    ----------
    steps : array, (h, w) int64
        Of each token.
    show : bool
        False: what concealed pixels show is of no interest.
    """
    c, h, w, _ = predicted.shape
    if kernels is None or c > MOST_BANDS:
        decoded = inverse(predicted + residual_of(symbols, steps, plan))
        return shown_pixels(decoded, predicted, klt, concealed)
    out = np.empty((c, h * BLOCK, w * BLOCK), np.uint16)
    kernels.decode_unit(
        PARTS,
        klt.backward,
        (c, h, w),
        np.ascontiguousarray(predicted, np.int32),
        np.ascontiguousarray(symbols, np.int32),
        np.ascontiguousarray(steps, np.int64),
        plan.shrink,
        *factors(plan.turns),
        np.ascontiguousarray(concealed),
        show,
        out,
    )
    return out


def shown_pixels(
    decoded: I32, predicted: I32, klt: Klt, concealed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint16]:
    """Decoded components (C, H, W) to pixels."""
    pixels = klt.inverse(decoded)
    if kernels is not None and concealed.any():
        some = blocks_of(concealed[None])[0].any(-1)
        there = klt.inverse(inverse(predicted[:, some][:, :, None]))
        out = np.empty(pixels.shape, np.uint16)
        kernels.show(pixels, np.ascontiguousarray(concealed), pixels.shape, there, out)
        return out
    if concealed.any():
        _show_prediction(pixels, predicted, klt, concealed)
    return np.clip(pixels, 0, 65535, out=pixels).astype(np.uint16)


def _show_prediction(
    pixels: I32, predicted: I32, klt: Klt, concealed: npt.NDArray[np.bool_]
) -> None:
    """Replace concealed pixels (C, H, W) by their prediction; works on whole blocks."""
    flags = blocks_of(concealed[None])[0]
    some = flags.any(-1)
    there = klt.inverse(inverse(predicted[:, some][:, :, None]))
    # ^ the blocks one below the other: (C, 8 n, 8)
    y, x = np.nonzero(concealed)
    rank = np.cumsum(some).reshape(some.shape) - 1
    row = rank[y // BLOCK, x // BLOCK] * BLOCK + y % BLOCK
    pixels[:, y, x] = there[:, row, x % BLOCK]
