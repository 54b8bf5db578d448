"""A background as a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc import threads
from stvc.background.composite import Head, decode_background, head_of
from stvc.errors import BackgroundError
from stvc.export.rules import replacing
from stvc.model.weights import load_model
from stvc.types import GroupGrid

_RED_GREEN_BLUE = ("B04", "B03", "B02")
_SIDE = 512
"""Small places are enlarged to about this many pixels."""


def draw(payload: bytes, meta: dict[str, Any], path: Path) -> Path:
    """Draw a background in true color, or its first band in gray.

    Parameters
    ----------
    payload : bytes
        From `BackgroundCache.load`.
    meta : dict
        What the cache knows about it.
    path : Path
        The picture; replaced when whole. Ground that was never seen clear is black.

    Raises
    ------
    BackgroundError
        If the name of the file tells no picture format.
    CorruptError
        If the payload is damaged.
    """
    from PIL import Image

    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp"):
        raise BackgroundError(f"{path.name} is no picture's name; end it in .png")
    head = head_of(payload)
    grids = _grids(head, meta)
    with threads.fitting(grids):
        pixels = decode_background(payload, grids, load_model(meta.get("model"))).pixels
    chosen = next((g for g, grid in enumerate(grids) if set(_RED_GREEN_BLUE) <= set(grid.bands)), 0)
    bands = grids[chosen].bands
    colored = set(_RED_GREEN_BLUE) <= set(bands)
    rows = [bands.index(b) for b in _RED_GREEN_BLUE] if colored else [0, 0, 0]
    picture = Image.fromarray(_stretch(pixels[chosen][rows]))
    factor = max(1, _SIDE // max(picture.size))
    picture = picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.BOX
    )
    with replacing(path) as scratch:
        picture.save(scratch)
    return path


def _grids(head: Head, meta: dict[str, Any]) -> tuple[GroupGrid, ...]:
    """Grids of the right shape and pixel size; where they lie does not matter to the pixels."""
    named = meta.get("bands")
    grids = []
    for g, ((c, h, w), gsd) in enumerate(zip(head.shapes, head.gsd, strict=True)):
        size = gsd if math.isfinite(gsd) and gsd > 0 else 1.0
        bands = tuple(f"{g}.{k}" for k in range(c))
        if isinstance(named, list) and len(named) == len(head.shapes) and len(named[g]) == c:
            bands = tuple(str(name) for name in named[g])
        y, x = np.arange(h, dtype=np.float64) * -size, np.arange(w, dtype=np.float64) * size
        grids.append(GroupGrid(str(g), bands, y, x))
    return tuple(grids)


def _stretch(planes: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """(3, H, W) DN to (H, W, 3), from the 2nd to the 98th percentile of what was seen."""
    out = np.zeros((*planes.shape[1:], 3), np.uint8)
    for k, plane in enumerate(planes):
        seen = plane[plane > 0]
        low, high = np.percentile(seen, (2, 98)) if seen.size else (0.0, 1.0)
        scaled = (plane - low) / max(high - low, 1.0)
        out[..., k] = np.where(plane > 0, 255 * np.clip(scaled, 0, 1) ** 0.8, 0)
    return out
