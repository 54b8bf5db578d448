"""Versions of a place's background: a frame is predicted from the one that its index falls to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

U16 = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Versions:
    """Several backgrounds of one place."""

    first_frames: tuple[int, ...]
    """Index of the first frame of each; 0 first, rising."""
    pixels: tuple[tuple[U16, ...], ...]
    """Per version and group (C, H, W) DN."""

    def followed_by(self, first_frame: int, pixels: tuple[U16, ...]) -> Versions:
        """The same with one more."""
        return Versions((*self.first_frames, first_frame), (*self.pixels, pixels))


Backgrounds = tuple[U16, ...] | Versions
"""Per group (C, H, W) DN, for all frames; or several such."""


def at_frame(backgrounds: Backgrounds | None, frame: int, group: int) -> U16 | None:
    """Choose the background of a frame and band group.

    Parameters
    ----------
    backgrounds : tuple of array, Versions or None
    frame : int
        Index in the archive.
    group : int

    Returns
    -------
    array or None
        (C, H, W) DN.
    """
    if backgrounds is None:
        return None
    if isinstance(backgrounds, Versions):
        return backgrounds.pixels[version_at(backgrounds.first_frames, frame)][group]
    return backgrounds[group]


def version_at(first_frames: Sequence[int], frame: int) -> int:
    """Number of the version that a frame falls to."""
    return max(k for k, first in enumerate(first_frames) if first <= frame)
