"""`mask_model.walk` on native kernels: the same frequencies, in a twentieth of the time."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from stvc.codec.mask_model import CHUNK, F32, FREQUENCIES, I64, Ints, relabeled
from stvc.codec.mask_tables import load_tables
from stvc.native import kernels
from stvc.types import U8


def walk(
    shape: tuple[int, int],
    values: U8,
    scene: bool,
    previous: U8 | None,
    code: Callable[[F32, I64], Ints],
) -> U8:
    """Visit all pixels from coarse to fine; see `stvc.codec.mask_model.walk`."""
    assert kernels is not None
    count = len(values)
    labels = tuple(values.tolist()) if scene else (0, 1)
    weights, classes = _weights(scene, previous is not None, labels)
    before = None
    if previous is not None:
        before = np.ascontiguousarray(relabeled(previous, values, scene, classes))
    symbols = np.zeros(shape, np.uint8)
    step = kernels.MaskWalk(weights, classes, count, FREQUENCIES, shape, CHUNK, before, symbols)
    table, positions = np.empty((CHUNK, count), np.float32), np.empty(CHUNK, np.int64)
    coded = np.empty(0, np.int32)
    while n := step.next(coded, table, positions):
        coded = np.ascontiguousarray(code(table[:n], positions[:n]), np.int32)
    return symbols


@lru_cache(maxsize=64)
def _weights(
    scene: bool, previous: bool, labels: tuple[int, ...]
) -> tuple[npt.NDArray[np.int16], int]:
    """All weights of some classes in one array, as ``mask_weights`` in kernels.h wants them."""
    tables = load_tables(scene, previous)
    lanes = 8 if len(labels) <= 8 else 16
    most = np.abs(tables.affinity.astype(np.int64)).max(axis=(1, 2)).sum()
    assert most < 2**15, "sums over the neighbors are made in 16 bits"

    def padded(weights: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        chosen = weights[..., list(labels)]
        return np.pad(chosen, [(0, 0)] * (chosen.ndim - 1) + [(0, lanes - len(labels))])

    parts = [padded(tables.affinity), padded(tables.affinity_before), padded(tables.bias)]
    parts += [tables.support, tables.rarity, tables.scale, tables.repeat, tables.gate]
    parts.append(np.pad(np.array(labels, np.int16), (0, lanes - len(labels))))
    packed = np.concatenate([part.ravel() for part in parts]).astype(np.int16)
    packed.setflags(write=False)
    return packed, tables.classes
