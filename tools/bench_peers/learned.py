"""Learned image codecs, trained by us (``train/rivals``), as codecs to measure."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench_peers import prepare
from bench_peers.cubes import Bool, Cube
from bench_peers.protocol import Encoded
from stvc.types import U16

FOLDER_VARIABLE = "STVC_BENCH_RIVALS"
"""Environment variable that names the folder of trained rivals; ``bench.py --rivals`` sets it."""
_TRAIN = Path(__file__).resolve().parents[2] / "train"
_BANDS = 4


@dataclass(frozen=True)
class Learned:
    """An autoencoder, each date by itself, hidden pixels inpainted; the parameter is its gain."""

    net: Any
    """A `rivals.model.Rival`."""
    note: str
    """How it was trained, for the reader of a table."""
    mode: str = "append"
    """See `protocol.Codec`."""
    ladder: tuple[float, ...] = tuple(float(nominal) for nominal in range(58, 33, -2))
    """See `protocol.Codec`; nominal PSNRs."""
    bounded: bool = False
    """See `protocol.Codec`."""

    def encode(self, cube: Cube, parameter: float) -> Encoded:
        """Code the dates of all groups, which must have four bands; a ValueError if not."""
        from rivals.coding import encode_frame

        payloads = []
        for frames, hidden, grid in zip(
            cube.series.pixels, cube.hidden, cube.series.grids, strict=True
        ):
            if len(grid.bands) != _BANDS:
                raise ValueError(
                    f"trained for blue, green, red and infrared; here are {', '.join(grid.bands)}"
                )
            mean = _mean(frames, hidden)
            filled = prepare.inpaint_spatial(frames, hidden)
            streams = [encode_frame(self.net, frame, mean, parameter) for frame in filled]
            head = mean.tobytes() + np.float32(parameter).tobytes()
            payloads.append([head, *(part for date in streams for part in date)])
        return Encoded(tuple(payloads), tuple(group.shape for group in cube.series.pixels))

    def decode(self, encoded: Encoded) -> tuple[U16, ...]:
        """Decode from the bytes alone."""
        from rivals.coding import decode_frame

        groups = []
        parts = 2 if self.net.hyperprior else 1
        for (head, *streams), shape in zip(encoded.payloads, encoded.shapes, strict=True):
            *mean, nominal = np.frombuffer(head, np.float32)
            frames = [
                decode_frame(
                    self.net,
                    streams[at : at + parts],
                    np.array(mean, np.float32),
                    float(nominal),
                    (shape[2], shape[3]),
                )
                for at in range(0, len(streams), parts)
            ]
            groups.append(np.stack(frames))
        return tuple(groups)


def learned(kind: str) -> Learned:
    """Load a trained rival.

    Parameters
    ----------
    kind : {"factorized", "hyperprior"}

    Raises
    ------
    RuntimeError
        If it was not trained on this machine yet.
    """
    folder = Path(os.environ.get(FOLDER_VARIABLE) or _TRAIN.parent / "checkpoints" / "rivals")
    path = folder / f"{kind}.pt"
    if not path.is_file():
        raise RuntimeError(
            f"there is no {path}; train it: python train/rivals/train.py CUBES --kind {kind} "
            f"--out {folder}"
        )
    if str(_TRAIN) not in sys.path:
        sys.path.append(str(_TRAIN))
    from rivals.coding import load_rival

    net, state = load_rival(path)
    left_out = ", ".join(state["exclude"]) or "nothing"
    return Learned(
        net,
        f"trained by us for {state['minutes']:g} minutes on one core ({state['steps']} steps), "
        f"without {left_out}; each date by itself",
    )


def _mean(frames: U16, hidden: Bool) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Mean DN (C,) of the clear pixels."""
    pixels = np.moveaxis(frames, 1, -1)
    clear = pixels[~hidden] if (~hidden).any() else pixels.reshape(-1, pixels.shape[-1])
    return clear.mean(axis=0).astype(np.float32)
