"""`mask_model.walk` on native kernels: the same frequencies, in a twentieth of the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.codec.mask_lattice import CHUNK
from stvc.codec.mask_model import F32, FREQUENCIES, I64, Ints, relabeled
from stvc.codec.mask_network import load_network
from stvc.codec.mask_tables import load_tables
from stvc.codec.mask_words import Interval
from stvc.native import kernels
from stvc.types import U8

About = tuple[tuple[int, int], U8, bool, U8 | None]
"""What `walk` takes first: shape, values, scene, previous."""


def walk(
    shape: tuple[int, int],
    values: U8,
    scene: bool,
    previous: U8 | None,
    code: Callable[[F32, I64], Ints],
    network: bool = False,
    second: U8 | None = None,
) -> U8:
    """Visit all pixels from coarse to fine; see `stvc.codec.mask_model.walk`."""
    symbols = np.zeros(shape, np.uint8)
    step = _started((shape, values, scene, previous), network, second, symbols)
    table, positions = np.empty((CHUNK, len(values)), np.float32), np.empty(CHUNK, np.int64)
    coded = np.empty(0, np.int32)
    while n := step.next(coded, table, positions):
        coded = np.ascontiguousarray(code(table[:n], positions[:n]), np.int32)
    return symbols


def encode(rank: U8, about: About, network: bool, second: U8 | None) -> tuple[bytes, Interval]:
    """Encode ranks (H * W,) of classes; see `stvc.codec.mask_coder.plain_encode`."""
    step = _started(about, network, second, np.zeros(about[0], np.uint8))
    words, *end = step.encode(rank)
    return np.frombuffer(words, np.uint32).astype(">u4").tobytes(), Interval(*end)


def _started(about: About, network: bool, second: U8 | None, symbols: U8) -> Any:
    """Begin a walk that leaves the ranks of classes in ``symbols``."""
    assert kernels is not None
    shape, values, scene, previous = about
    count = len(values)
    labels = tuple(values.tolist()) if scene else (0, 1)
    weights, classes = _weights(scene, previous is not None, labels)
    before, other = (
        None if r is None else np.ascontiguousarray(relabeled(r, values, scene, classes))
        for r in (previous, second if network else None)
    )
    corrections = _corrections(scene) if network else None
    return kernels.MaskWalk(
        *(weights, classes, count, FREQUENCIES, shape, CHUNK, before, symbols, corrections, other)
    )


@lru_cache(maxsize=2)
def _corrections(scene: bool) -> npt.NDArray[np.int16]:
    """All weights of the network in one array, as ``mask_network`` in kernels.h wants them."""
    packed = np.concatenate([part.ravel() for part in astuple(load_network(scene))])
    packed.setflags(write=False)
    return packed


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
