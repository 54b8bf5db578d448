"""Training samples of the rivals: random windows of the same cubes, clouds inpainted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bench_peers.prepare import inpaint_spatial

from rivals.model import BANDS, normalized

_INFRARED = ("B08", "B8A", "B8A_or_B08")
_SIDES = (128, 64)
_PIXELS = 8 * 64 * 64
_MIN_CLEAR = 0.3


@dataclass(frozen=True)
class Place:
    """Frames that are fit to learn from."""

    name: str
    frames: np.ndarray
    """(T, 4, H, W) uint16: blue, green, red, near infrared; hidden pixels inpainted."""
    means: np.ndarray
    """(T, 4) DN that is subtracted from a frame: of its series, or of itself."""


def load_places(folder: Path, exclude: list[str]) -> list[Place]:
    """Read the cubes below a folder that have the four bands, but for excluded words in paths."""
    places = []
    for path in sorted(folder.rglob("*.npz")):
        if any(word in str(path) for word in exclude):
            continue
        with np.load(path, allow_pickle=True) as file:
            bands = [str(band) for band in file["bands"]]
            infrared = next((band for band in _INFRARED if band in bands), None)
            wanted = ["B02", "B03", "B04", infrared]
            if file["x"].dtype != np.uint16 or not set(wanted) <= set(bands):
                continue
            x = np.ascontiguousarray(file["x"][:, [bands.index(band) for band in wanted]])
            hidden = (x == 0).all(1)
            if "mask" in file.files:
                hidden |= file["mask"] != 0
        kept = (~hidden).mean((1, 2)) >= _MIN_CLEAR
        if not kept.any():
            continue
        x, hidden = x[kept], hidden[kept]
        frames = inpaint_spatial(x, hidden)
        means = frames.mean((2, 3))
        if "chips" not in path.parts:
            means = np.broadcast_to(means.mean(0), means.shape)
        places.append(Place(path.stem, frames, means))
    return places


class Windows:
    """Draws batches for ever."""

    def __init__(self, places: list[Place], seed: int) -> None:
        if not places:
            raise ValueError("no cube with B02, B03, B04 and B08 or B8A to learn from")
        self._places = places
        self._rng = np.random.default_rng(seed)
        weight = np.array([p.frames[:, 0].size for p in places]) ** 0.4
        self._weight = weight / weight.sum()

    def batch(self) -> torch.Tensor:
        """(B, 4, side, side) normalized frames of some places."""
        side = int(self._rng.choice(_SIDES, p=(0.4, 0.6)))
        count = max(1, _PIXELS // side**2)
        return torch.cat([self._window(side) for _ in range(count)])

    def _window(self, side: int) -> torch.Tensor:
        rng = self._rng
        place = self._places[rng.choice(len(self._places), p=self._weight)]
        frame = int(rng.integers(len(place.frames)))
        pixels = place.frames[frame]
        height, width = pixels.shape[1:]
        pad = [(0, 0), (0, max(0, side - height)), (0, max(0, side - width))]
        pixels = np.pad(pixels, pad, mode="reflect")
        row = int(rng.integers(pixels.shape[1] - side + 1))
        column = int(rng.integers(pixels.shape[2] - side + 1))
        window = pixels[:, row : row + side, column : column + side]
        window = np.rot90(window, int(rng.integers(4)), (1, 2))
        if rng.random() < 0.5:
            window = window[:, :, ::-1]
        assert window.shape == (BANDS, side, side)
        return normalized(np.ascontiguousarray(window)[None], place.means[frame])
