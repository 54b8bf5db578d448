"""Masks of training cubes, as the scripts for the mask coder read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stvc.masks import hidden
from stvc.types import U8

SCENE_CLASSES = 12


def read_rasters(path: Path, scene: bool) -> U8 | None:
    """Read the labels (T, H, W) of a cube; None if it has no masks of this alphabet."""
    with np.load(path) as archive:
        if "scl" in archive.files:
            classes = archive["scl"]
            if classes.max() >= SCENE_CLASSES:
                raise SystemExit(f"{path}: scl holds {classes.max()}, want classes 0 to 11")
            rasters = (classes if scene else hidden(classes, "SCL")).astype(np.uint8)
        elif "mask" in archive.files and not scene:
            rasters = (archive["mask"] != 0).astype(np.uint8)
        else:
            return None
    half = rasters[:, ::2, ::2]  # a 20 m mask on the 10 m grid: the coder halves it, too
    whole = half.repeat(2, axis=1).repeat(2, axis=2)[:, : rasters.shape[1], : rasters.shape[2]]
    return half if np.array_equal(whole, rasters) else rasters
