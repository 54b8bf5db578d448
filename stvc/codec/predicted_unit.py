"""A coding unit in the pixel domain: the bound (2 bytes), the payload of `codec.predictive`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.codec import predictive
from stvc.codec.predictive_learning import Memories
from stvc.codec.references import ReferenceState
from stvc.errors import CorruptError

if TYPE_CHECKING:
    from stvc.codec.unit import UnitContext

U16 = npt.NDArray[np.uint16]

_MAX_BOUND = (1 << 16) - 1


def encode(
    pixels: U16, context: UnitContext, state: ReferenceState, max_error: int, *, networked: bool
) -> predictive.EncodedPixels:
    """Encode (C, H, W) padded pixels; every required one comes back within ``max_error`` DN.

    ``networked`` as for `stvc.codec.predictive.encode`.
    """
    h, w = context.size
    bound = min(max_error, _MAX_BOUND)
    coded = predictive.encode(
        pixels[:, :h, :w],
        _frames(context, state),
        hidden=context.hidden[:h, :w],
        unclear=context.unclear[:h, :w],
        max_error=bound,
        memory=state.memory,
        generation=state.generation,
        networked=networked,
    )
    payload = bound.to_bytes(2, "little") + coded.payload
    return replace(coded, payload=payload, decoded=_padded(coded.decoded, context.hidden.shape))


def decode(body: bytes, context: UnitContext, state: ReferenceState) -> tuple[U16, Memories]:
    """Decode to (C, H, W) padded pixels, and what the next date starts from.

    Raises
    ------
    CorruptError
        If the body cannot have been written by `encode`.
    """
    if len(body) < 2:
        raise CorruptError("a predicted unit ends before its bound; the payload is damaged")
    h, w = context.size
    pixels, memory = predictive.decode(
        body[2:],
        (len(context.klt.mean), h, w),
        _frames(context, state),
        hidden=context.hidden[:h, :w],
        unclear=context.unclear[:h, :w],
        max_error=int.from_bytes(body[:2], "little"),
        memory=state.memory,
        generation=state.generation,
    )
    return _padded(pixels, context.hidden.shape), memory


def _frames(context: UnitContext, state: ReferenceState) -> list[npt.NDArray[np.int32]]:
    h, w = context.size
    return [] if state.empty else [a[:, :h, :w] for a in (state.recent, state.second)]


def _padded(pixels: U16, shape: tuple[int, ...]) -> U16:
    _, h, w = pixels.shape
    return np.pad(pixels, [(0, 0), (0, shape[0] - h), (0, shape[1] - w)], mode="edge")
