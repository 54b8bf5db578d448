"""Train the pixel network of lossless and bounded units on cubes in a folder.

    python train/train_pixels.py CUBES --out checkpoints/pixels --collect 20 --minutes 30 \
        [--exclude PLACE ...] [--validate PLACE ...]

First random windows are coded by the real predictive coder, within all kinds of bounds; then a
network learns, from what a decoder knows around a pixel, how its level is distributed. The result
belongs to a generation of the codec and is frozen with it. See train/README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from cubes import Cube, load_cubes, planned, varied
from export import integer_linear
from qat import IntLinear, quantize
from safetensors.torch import save_file
from torch import Tensor, nn

from stvc.codec import predictive
from stvc.codec.generations import NEWEST
from stvc.codec.integer_layers import content_hash
from stvc.codec.predictive_context import FEATURES
from stvc.codec.predictive_mixture import OUTPUTS, PARTS
from stvc.codec.predictive_tables import EIGHTH, OCTAVE
from stvc.codec.predictive_walk import Step
from stvc.codec.references import ReferenceState, linked_state

BATCH = 4096
RATE = 2e-3
HIDDEN, LAYERS = 384, 3
BOUNDS = (0, 0, 0, 0, 0, 1, 2, 5, 10, 25, 50)
SIDES = (64, 96, 128)
_PRODUCT = torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32
# ^ holds 8-bit integers exactly
NAME = "pixels.safetensors"
"""What integer weights are written to."""
_FEW = 5000
"""Pixels kept of each unit."""
_REPEATED = 0.08
"""Share of windows some of whose bands come on a coarser grid."""
_SMALLEST = 2e-7
_START_SCALES = (-1.0, -0.3, 0.7)
_START_COPIES = -4.0


@dataclass
class Pixels:
    """What was known of N pixels, and what they were."""

    seen: npt.NDArray[np.int8]
    """(N, FEATURES)."""
    prediction: npt.NDArray[np.int32]
    scale: npt.NDArray[np.int32]
    copies: npt.NDArray[np.int32]
    """(N, 3) DN."""
    value: npt.NDArray[np.int32]
    """(N,) decoded DN."""
    pitch: npt.NDArray[np.int32]
    plain_bits: npt.NDArray[np.float32]
    """(N,) that a pixel of the unit took without the network, on the average."""


class PixelNetwork(nn.Module):
    """Float twin of the integer network."""

    def __init__(self, hidden: int = HIDDEN, layers: int = LAYERS) -> None:
        super().__init__()
        sizes = [FEATURES] + [hidden] * layers
        self.layers = nn.ModuleList(IntLinear(a, b, gain=1.4) for a, b in pairwise(sizes))
        self.layers.append(IntLinear(hidden, OUTPUTS, gain=0.1))
        with torch.no_grad():
            bias = self.layers[-1].bias
            bias[PARTS : 2 * PARTS] = torch.tensor(_START_SCALES)
            bias[3 * PARTS :] = _START_COPIES

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, FEATURES) inputs / 16 to (N, OUTPUTS)."""
        x = x.to(_PRODUCT)
        for layer in self.layers[:-1]:
            x = quantize(layer(x), _PRODUCT, positive=True)
        out: Tensor = self.layers[-1](x)
        return out


def bits_of(outputs: Tensor, pixels: Pixels, chosen: npt.NDArray[np.int64]) -> Tensor:
    """(n,) bits of the levels; the float twin of `stvc.codec.predictive_mixture`."""
    prediction, value, pitch, copies, rank = (
        torch.from_numpy(a[chosen])
        for a in (pixels.prediction, pixels.value, pixels.pitch, pixels.copies, pixels.scale)
    )
    whole = torch.div(prediction + EIGHTH // 2, EIGHTH, rounding_mode="floor")
    level = torch.div(value - whole + pitch // 2, pitch, rounding_mode="floor")
    half = (pitch // 2)[:, None]
    copied = torch.div(copies - whole[:, None] + half, pitch[:, None], rounding_mode="floor")
    octaves = rank.float()[:, None] / OCTAVE
    width = pitch.float()[:, None] * EIGHTH
    moved = (prediction - whole * EIGHTH).float()[:, None] + outputs[:, :PARTS] * octaves.exp2()
    inverse = (-octaves - outputs[:, PARTS : 2 * PARTS]).exp2().clamp(2.0**-20, 1) * width
    share = torch.log_softmax(outputs[:, 2 * PARTS :], -1).exp()
    below = -(level.float()[:, None] - moved / width).abs()
    mass = torch.sigmoid((below + 0.5) * inverse) - torch.sigmoid((below - 0.5) * inverse)
    total = (share[:, :PARTS] * mass).sum(1)
    total = total + (share[:, PARTS:] * (copied == level[:, None])).sum(1)
    return -torch.log2(total.clamp_min(0) + _SMALLEST)


Seen = list[tuple[Step, npt.NDArray[np.int64]]]
"""What was known of the pixels of each step, and their values."""


@contextmanager
def recorded() -> Iterator[Seen]:
    """Stand between the predictive coder and its walk, and keep what passes."""
    seen: Seen = []
    walk = predictive.walk

    def recording_walk(*args: Any, **_: Any) -> Any:
        *first, code, generation = args

        def recording(step: Step) -> npt.NDArray[np.int64]:
            found: npt.NDArray[np.int64] = code(step)
            seen.append((step, found))
            return found

        return walk(*first, recording, generation, networked=True)

    predictive.walk = recording_walk
    try:
        yield seen
    finally:
        predictive.walk = walk


def collect(cubes: list[Cube], seed: int, minutes: float) -> Pixels:
    """Code random windows and keep some pixels of each unit."""
    rng = np.random.default_rng(seed)
    weight = np.array(
        [
            (2.0 if c.series and len(c.pixels) > 3 else 0.8)
            * (0.6 if c.resampled else 1)
            * (c.pixels[0, 0].size * len(c.pixels)) ** 0.25
            for c in cubes
        ]
    )
    weight /= weight.sum()
    parts, start = [], time.time()
    with recorded() as seen:
        while time.time() - start < 60 * minutes:
            cube, clouds = (cubes[rng.choice(len(cubes), p=weight)] for _ in range(2))
            cube = varied(cube, clouds, rng)
            if rng.random() < _REPEATED:
                cube = _repeated(cube, rng)
            for bound, payload_bits in _coded(cube, rng, seen):
                count = sum(len(found) for _, found in seen)
                parts.append(
                    pixels_of(seen, bound, payload_bits / count, rng.permutation(count)[:_FEW])
                )
    return joined(parts)


def pixels_of(
    seen: Seen, bound: int, plain_bits: float, some: npt.NDArray[np.int64] | slice
) -> Pixels:
    """Gather some pixels of a unit."""
    steps = [step for step, _ in seen]
    value = np.concatenate([found for _, found in seen])[some].astype(np.int32)
    return Pixels(
        np.concatenate([s.seen for s in steps if s.seen is not None])[some],
        np.concatenate([s.prediction for s in steps])[some].astype(np.int32),
        np.concatenate([s.scale for s in steps])[some].astype(np.int32),
        np.concatenate([s.copies.T for s in steps if s.copies is not None])[some].astype(np.int32),
        value,
        np.full(len(value), 2 * bound + 1, np.int32),
        np.full(len(value), plain_bits, np.float32),
    )


def joined(parts: list[Pixels]) -> Pixels:
    """All pixels in one."""
    return Pixels(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Pixels)))


def _repeated(cube: Cube, rng: np.random.Generator) -> Cube:
    """Some bands on a coarser grid, each pixel of it repeated, as some products come."""
    times = int(rng.choice([2, 3, 6]))
    rows, columns = (
        (np.arange(size) + int(rng.integers(times))) // times for size in cube.pixels.shape[2:]
    )
    some = rng.random(cube.pixels.shape[1]) < 0.6
    pixels = cube.pixels.copy()
    pixels[:, some] = cube.pixels[:, some][:, :, rows][:, :, :, columns]
    return replace(cube, pixels=pixels)


def _coded(cube: Cube, rng: np.random.Generator, seen: Seen) -> Iterator[tuple[int, float]]:
    """Code a window frame by frame: (bound, bits) of each frame, its pixels in ``seen``."""
    t, c, height, width = cube.pixels.shape
    side = min(int(rng.choice(SIDES)), height, width)
    y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    stride = int(rng.choice([1, 1, 2])) if t > 12 else 1
    length = min(t, int(rng.integers(3, 9))) if cube.series else 1
    start = int(rng.integers(max(1, t - (length - 1) * stride)))
    times = np.arange(start, t, stride)[:length]
    bands = np.arange(c)
    if rng.random() < 0.25:
        bands = np.sort(rng.permutation(c)[: int(rng.integers(1, c + 1))])
    turn, flip = int(rng.integers(4)), 1 - 2 * int(rng.integers(2))

    def view(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        part = np.rot90(planes[..., y : y + side, x : x + side], turn, (-2, -1))
        return np.ascontiguousarray(part[..., ::flip])

    pixels, clouds = view(cube.pixels[times][:, bands]), view(cube.hidden[times])
    bound, dropped = int(rng.choice(BOUNDS)), bool(rng.random() < 0.25)
    mean = pixels.mean((0, 2, 3)).astype(np.int32)
    fresh, states = ReferenceState(mean, (side, side), generation=NEWEST), []
    gap = int(rng.choice([2, 5, 5, 10, 30])) * stride
    for k, link in planned(rng, [float(1 - h.mean()) for h in clouds]):
        ends = [states[i] if i >= 0 else None for i in link]
        state = linked_state(fresh, *ends, k * gap)
        states.append(state)
        seen.clear()
        coded = predictive.encode(
            pixels[k],
            () if state.empty else (state.recent, state.second),
            hidden=clouds[k] if dropped else None,
            unclear=clouds[k],
            max_error=bound,
            memory=state.memory,
            generation=NEWEST,
        )
        if seen:
            yield bound, 8.0 * len(coded.payload)
        state.memory = coded.memory
        state.update(coded.decoded.astype(np.int32), clouds[k], k * gap, (0, 0))


def fit(
    net: PixelNetwork,
    pixels: Pixels,
    watched: Pixels | None,
    minutes: float,
    rate: float,
    kept: Path,
) -> None:
    """Minimize the bits; weights are kept in a file at every eighth of the time."""
    optimizer = torch.optim.AdamW(net.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.01)
    rng, start, step, total, told = np.random.default_rng(0), time.time(), 0, 0.0, 0
    while (spent := (time.time() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * spent))
        chosen = rng.integers(0, len(pixels.value), BATCH)
        loss = bits_of(net(_inputs(pixels, chosen)), pixels, chosen).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if not nn.utils.clip_grad_norm_(net.parameters(), 1.0).isfinite():
            continue
            # ^ a batch whose levels lie where the curves have no slope teaches nothing
        optimizer.step()
        step, total = step + 1, total + loss.item()
        if spent >= (told + 1) / 8:
            row = {"step": step, "bits": round(total / step, 4)}
            if watched is not None:
                row |= evaluate(net, watched)
            print(json.dumps(row), flush=True)
            torch.save(net.state_dict(), kept)
            told, step, total = told + 1, 0, 0.0


def _inputs(pixels: Pixels, chosen: npt.NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(pixels.seen[chosen]).float() / 16


@torch.no_grad()
def evaluate(net: PixelNetwork, pixels: Pixels) -> dict[str, float]:
    """Bits of a pixel without loss and within bounds, and what that is of the plain coder's."""
    found = {}
    for name, some in (("lossless", pixels.pitch == 1), ("bounded", pixels.pitch > 1)):
        if not some.any():
            continue
        parts = np.array_split(np.flatnonzero(some), max(1, int(some.sum()) // 16384))
        bits = np.concatenate([bits_of(net(_inputs(pixels, p)), pixels, p).numpy() for p in parts])
        found[name] = round(float(bits.mean()), 4)
        found[f"{name}_ratio"] = round(float(bits.mean() / pixels.plain_bits[some].mean()), 4)
    return found


def main() -> None:
    """Collect, fit, write integer weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cubes", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--collect", type=float, default=20, help="minutes of coding")
    parser.add_argument("--minutes", type=float, default=30, help="minutes of fitting")
    parser.add_argument("--exclude", nargs="*", default=[], help="places kept for reporting")
    parser.add_argument("--validate", nargs="*", default=[], help="places watched")
    parser.add_argument("--rate", type=float, default=RATE, help="learning rate")
    parser.add_argument("--warm", type=Path, help="checkpoint to go on from, as wide or narrower")
    parser.add_argument("--hidden", type=int, default=HIDDEN, help="units of each hidden layer")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    every = load_cubes(options.cubes, options.exclude)
    watched = None
    if options.validate:
        places = [c for c in every if any(v in c.name for v in options.validate)]
        watched = collect(places, 1, 0.7)
    if options.collect:
        learned = [c for c in every if not any(v in c.name for v in options.validate)]
        pixels = collect(learned, options.seed + 2, options.collect)
        kept = options.out / f"pixels-{options.seed}.npz"
        np.savez(kept, **{f.name: getattr(pixels, f.name) for f in fields(Pixels)})
        del pixels
    pixels = loaded(sorted(options.out.glob("pixels-*.npz")))
    print(f"{len(pixels.value)} pixels", flush=True)
    net = PixelNetwork(options.hidden)
    if options.warm:
        take_over(net, torch.load(options.warm, weights_only=True))
    kept = options.out / f"checkpoint-{options.seed}.pt"
    fit(net, pixels, watched, options.minutes, options.rate, kept)
    write(net, options.out)


@torch.no_grad()
def take_over(net: PixelNetwork, known: dict[str, Tensor]) -> None:
    """Begin with the weights of a network that may be narrower: new units begin unheard."""
    for name, parameter in net.named_parameters():
        part = tuple(slice(0, size) for size in known[name].shape)
        if parameter.ndim == 2:
            parameter[: part[0].stop, part[1].stop :] = 0
        if name.startswith(f"layers.{len(net.layers) - 1}."):
            parameter.zero_()
        parameter[part] = known[name]


def loaded(paths: list[Path]) -> Pixels:
    """All pixels of several collections, one array of one of them in memory besides the result."""
    sizes = []
    for path in paths:
        with np.load(path) as archive:
            sizes.append(len(archive["value"]))
    bounds = np.cumsum([0, *sizes])
    columns = []
    for field in fields(Pixels):
        column: npt.NDArray[Any] | None = None
        for path, (start, stop) in zip(paths, pairwise(bounds.tolist()), strict=True):
            with np.load(path) as archive:
                found = archive[field.name]
            if column is None:
                column = np.empty((bounds[-1], *found.shape[1:]), found.dtype)
            column[start:stop] = found
            del found
        columns.append(column)
    return Pixels(*columns)


def write(net: PixelNetwork, folder: Path) -> None:
    """Write integer weights, and say their hash."""
    tensors = {
        f"{k}.{part}": tensor
        for k, layer in enumerate(net.layers)
        for part, tensor in integer_linear(layer).items()
    }
    path = folder / NAME
    save_file(tensors, path)
    print(path, content_hash(tensors))


if __name__ == "__main__":
    main()
