"""Backgrounds that this process has decoded: a map server opens the same archives again and again.

To decode a background costs as much as a date. It is found by the hash of its coded form, so that
it never matters which archive it came from, or what happened to that one since.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from stvc.background.composite import Background, decode_background
from stvc.types import GroupGrid

if TYPE_CHECKING:
    from stvc.model.weights import EntropyModel

MAX_BYTES = 16 * 2**20
"""Of all of them together: a process must not grow with the places that it has seen."""

_Key = tuple[str, str, tuple[tuple[tuple[int, int, int], float], ...]]
_held: OrderedDict[_Key, Background] = OrderedDict()
_lock = threading.Lock()


def decoded_background(
    payload: bytes, grids: tuple[GroupGrid, ...], model: EntropyModel
) -> Background:
    """Decode a background, or recall it; its pixels are not to be written to.

    Parameters
    ----------
    payload : bytes
        The coded form.
    grids : tuple of GroupGrid
    model : EntropyModel

    Raises
    ------
    CorruptError
        If it does not fit the groups, or is damaged.
    """
    digest = hashlib.sha256(payload).hexdigest()
    key = (digest, model.model_id, tuple((g.shape, g.gsd) for g in grids))
    with _lock:
        found = _held.get(key)
        if found is not None:
            _held.move_to_end(key)
            return found
    made = decode_background(payload, grids, model)
    for image in made.pixels:
        image.flags.writeable = False
    with _lock:
        _held[key] = made
        while sum(map(_size, _held.values())) > MAX_BYTES:
            _held.popitem(last=False)
    return made


def _size(background: Background) -> int:
    return len(background.payload) + sum(image.nbytes for image in background.pixels)
