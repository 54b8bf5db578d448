"""Train the mask coder's integer tables and write them as a module like `stvc.codec.mask_tables`.

    python train/mask_tables.py CUBES --exclude PLACES --out new_mask_tables.py

One multinomial logistic regression per alphabet (scene classes, two values), each without and with
the previous raster's votes. Pixels are seen as the coder sees them: `replay` follows the lattice of
`stvc.codec.mask_model`, `VoteModel` is the differentiable twin of its votes. Tables are part of the
bit stream: new ones belong to a new payload kind and never replace those that archives need.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import math
import sys
import textwrap
from dataclasses import astuple, dataclass
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np
import torch
import zstandard
from torch.nn import Parameter
from torch.nn import functional as F

from stvc.codec import mask_model, mask_tables
from stvc.codec.mask_coder import encode_mask
from stvc.codec.mask_model import _NEAR, _RINGS, _ROUGH_SPACING, I64, _passes, _roughness
from stvc.masks import hidden
from stvc.types import U8

MODELS = ((True, False), (True, True), (False, False), (False, True))
"""(scene, previous) of each model, in the order in which `load_tables` expects them."""
KINDS = 4
"""Places in the lattice: two kinds of centers, two of sides; each has weights of its own."""
BATCH = 1024
"""Pixels per kind and iteration."""
LEARNING_RATE, LAST_LEARNING_RATE = 0.03, 0.0003
DECAY = 1e-5
"""Weight of the squared parameters; keeps those of contexts never seen at zero."""
VOTE_UNIT, SCALE_UNIT = 64, 256
"""Stored integers: votes in 1/64 nat and gates in 1/64, scales in 1/256."""
ORBIT = np.repeat(
    np.arange(len(mask_tables._ORBITS)), [len(orbit) for orbit in mask_tables._ORBITS]
)
"""(36,) which weights a neighbor uses: those at one distance share them."""


@dataclass(frozen=True)
class Series:
    """Rasters of one place that are worth coding, T of them."""

    place: str
    rasters: U8
    """(T, H, W) labels 0 to K - 1."""
    before: U8
    """(T, H, W) the raster of the date before each; K everywhere if there is none."""


@dataclass(frozen=True)
class Pixels:
    """What the coder knows about n pixels before it codes them, and what they are."""

    around: U8
    """(n, 36) labels of the lattice neighbors, K = unknown."""
    rarity: U8
    """(n, K) how rare each class was so far, in octaves, 0 to 8."""
    present: U8
    """(n, K) 1 = the class occurs in the raster; the payload tells so before any pixel."""
    rough: U8
    """(n,) roughness of the raster so far, 0 to 5."""
    past: U8
    """(n,) the previous raster's label here, K = none."""
    trust: U8
    """(n,) how well the previous raster fits the known neighbors, 0 to 8; 9 = nothing known."""
    label: U8
    """(n,) the pixel's own label: the target."""


def load_series(folder: Path, scene: bool, exclude: list[str]) -> tuple[list[Series], list[Series]]:
    """Read the masks of every ``.npz`` cube below a folder.

    Parameters
    ----------
    folder : Path
        Cubes with ``scl`` (scene classes) or ``mask`` (1 = hidden), uint8 (T, H, W).
    scene : bool
        Scene classes; otherwise two values: hidden or not, by ``scl`` where there is one.
    exclude : list of str
        Cubes whose path contains one of these are not trained on, but reported on.

    Returns
    -------
    (list of Series, list of Series)
        Those to train on and the excluded ones.
    """
    kept: tuple[list[Series], list[Series]] = ([], [])
    for path in sorted(folder.rglob("*.npz")):
        with np.load(path) as archive:
            if "scl" in archive.files:
                classes = archive["scl"].astype(np.uint8)
                if classes.max() >= _classes(scene=True):
                    raise SystemExit(f"{path}: scl holds {classes.max()}, want classes 0 to 11")
                rasters = classes if scene else hidden(classes, "SCL").astype(np.uint8)
            elif "mask" in archive.files and not scene:
                rasters = (archive["mask"] != 0).astype(np.uint8)
            else:
                continue
        half = rasters[:, ::2, ::2]  # a 20 m mask on the 10 m grid: the coder halves it, too
        whole = half.repeat(2, axis=1).repeat(2, axis=2)[:, : rasters.shape[1], : rasters.shape[2]]
        rasters = half if np.array_equal(whole, rasters) else rasters
        none = np.full_like(rasters[:1], _classes(scene))
        before = np.concatenate([none, rasters[:-1]])
        # Constant rasters cost a byte without any model. One like the date before is the outline
        # of a polygon or a granule rather than a cloud: once is enough.
        varied = rasters.max(axis=(1, 2)) != rasters.min(axis=(1, 2))
        varied &= (rasters != before).any(axis=(1, 2))
        if varied.any():
            excluded = any(word in str(path) for word in exclude)
            kept[excluded].append(Series(path.stem, rasters[varied], before[varied]))
    return kept


def _classes(scene: bool) -> int:
    return mask_tables.load_tables(scene, False).classes


def replay(series: Series, classes: int) -> list[list[Pixels]]:
    """Walk all rasters of a place at once, as `mask_model.walk` does one, and note what it sees.

    Parameters
    ----------
    series : Series
    classes : int
        K, number of labels.

    Returns
    -------
    list of list of Pixels
        For each kind of lattice step, its pixels; the first pixel of a raster is not modeled.
    """
    count, height, width = series.rasters.shape
    labels = np.arange(classes, dtype=np.uint8)
    present = (series.rasters.reshape(count, -1, 1) == labels).any(axis=1)
    unknown = np.full((count, 1), classes, np.uint8)  # what lies outside of the raster
    before = np.append(series.before.reshape(count, -1), unknown, axis=1)
    known = np.repeat(unknown, height * width + 1, axis=1)
    counts, rough = np.zeros((count, classes), np.int64), np.zeros((count, 2), np.int64)
    found: list[list[Pixels]] = [[] for _ in range(KINDS)]
    for steps in _passes(height, width):
        # Pixels of one pass do not see each other.
        scaled = (4 * counts[..., None] + 1) << np.arange(1, 9)
        rarity = (scaled <= 4 * (counts.sum(axis=1)[:, None, None] + 1)).sum(axis=2)
        state, started = np.array([_roughness(pair) for pair in rough]), counts.any()
        for step in steps:
            label = series.rasters[:, step.rows, step.columns]
            around = known[:, step.neighbors]
            near = around[..., :_NEAR]
            seen = near != classes
            if started:
                agree = ((before[:, step.neighbors[:, :_NEAR]] == near) & seen).sum(axis=2)
                total = seen.sum(axis=2)
                trust = np.where(total > 0, (8 * agree + total // 2) // np.maximum(total, 1), 9)
                past = before[:, step.rows * width + step.columns]
                found[step.kind].append(
                    Pixels(
                        around.reshape(-1, around.shape[2]),
                        rarity.astype(np.uint8).repeat(len(step.rows), axis=0),
                        present.astype(np.uint8).repeat(len(step.rows), axis=0),
                        state.astype(np.uint8).repeat(len(step.rows)),
                        past.ravel(),
                        trust.astype(np.uint8).ravel(),
                        label.ravel(),
                    )
                )
            known[:, step.rows * width + step.columns] = label
            counts += (label[..., None] == labels).sum(axis=1)
            if step.spacing <= _ROUGH_SPACING:
                first = np.take_along_axis(near, seen.argmax(axis=2)[..., None], axis=2)[..., 0]
                compared = first != classes
                rough[:, 0] += ((first != label) & compared).sum(axis=1)
                rough[:, 1] += compared.sum(axis=1)
    return found


class VoteModel(torch.nn.Module):
    """Differentiable twin of `mask_model._votes`; parameters in the order of `Tables`' fields.

    Parameters
    ----------
    classes : int
        K, number of labels.
    previous : bool
        Whether the previous raster votes.
    """

    def __init__(self, classes: int, previous: bool) -> None:
        super().__init__()
        self.classes, self.previous = classes, previous
        for field, shape in zip(
            mask_tables.Tables.__dataclass_fields__.keys() - {"classes"} and _FIELDS,
            mask_tables._shapes(classes),
            strict=True,
        ):
            self.register_parameter(field, Parameter(torch.zeros(shape)))
