"""Train the in-loop restoration network on cubes in a folder.

    python train/train_restoration.py CUBES --out checkpoints/restoration --minutes 8 \
        --collect 9 [--exclude PLACE ...] [--validate PLACE ...]

First random windows are coded by the real encoder, levels chosen by an entropy model's rates and
all; then a small network learns to guess, from what a decoder sees around a pixel, how far
quantization moved it. The result belongs to a generation of the codec and is frozen with it: a
better one is a new generation. See train/README.md.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import cubes
import numpy as np
import numpy.typing as npt
import torch
from export import integer_linear
from qat import IntLinear, quantize
from safetensors.torch import save_file
from torch import Tensor, nn

from stvc.codec.analysis import UnitAnalysis, analyze, finished
from stvc.codec.integer_layers import content_hash
from stvc.codec.network_coding import optimized
from stvc.codec.quantize import SKIPPED, step_size
from stvc.codec.restoration import (
    FEATURES,
    OUTPUT_BITS,
    STRENGTH_ONE,
    STRENGTHS,
    Scene,
    features,
)
from stvc.codec.synthesis import residual_of
from stvc.codec.transform import inverse
from stvc.codec.unit import UnitContext
from stvc.model.weights import load_model

BATCH = 4096
RATE = 3e-3
PIXELS_PER_UNIT = 400
_RESIDUAL_UNIT = 64


@dataclass
class Pixels:
    """Random clear pixels of coded units."""

    inputs: npt.NDArray[np.int8]
    """(N, 48)."""
    wanted: npt.NDArray[np.float32]
    """(N,) original minus decoded, in base steps."""
    origin: npt.NDArray[np.int64]
    """(N,) which component of which unit."""


class Restoration(nn.Module):
    """Float twin of `stvc.codec.restoration`."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                IntLinear(FEATURES, first, gain=0.7),
                IntLinear(first, second, gain=1.4),
                IntLinear(second, 1, gain=0.1),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 48) inputs / 16 to (N,) corrections in base steps."""
        for layer in self.layers[:-1]:
            x = quantize(layer(x), torch.float32, positive=True)
        return self.layers[-1](x)[:, 0] * (_RESIDUAL_UNIT / (1 << OUTPUT_BITS))


def collect(
    folder: Path, minutes: float, exclude: list[str], only: list[str], seed: int, model_id: str
) -> Pixels:
    """Code random windows for some minutes and keep pixels of every unit."""
    model = load_model(model_id)
    rng = np.random.default_rng(seed)
    found: list[tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]] = []

    def watched(  # type: ignore[no-untyped-def]
        pixels, hidden, state, klt, step, day, *, coarse=False, register=True, finish=True
    ):
        unit = analyze(
            pixels, hidden, state, klt, step, day, coarse=coarse, register=register, finish=False
        )
        if not (unit.importance == SKIPPED).all():
            size = pixels.shape[1:]
            context = UnitContext(klt, hidden, hidden, ~hidden, size, day, 10, step, coarse)
            if rng.random() < 0.8:
                unit = optimized(unit, context, model)
            found.extend(_pixels_of(unit, pixels, context, state.empty, rng))
        return finished(unit, klt, hidden, coarse=coarse)

    cubes.analyze = watched  # type: ignore[attr-defined]
    places = cubes.load_cubes(folder, exclude)
    if only:
        places = [c for c in places if any(word in c.name for word in only)]
    start = time.time()
    for _ in cubes.samples(places, seed):
        if time.time() - start > 60 * minutes:
            break
    return Pixels(
        np.concatenate([x for x, _ in found]),
        np.concatenate([y for _, y in found]),
        np.repeat(np.arange(len(found)), [len(y) for _, y in found]),
    )


def _pixels_of(
    unit: UnitAnalysis,
    pixels: npt.NDArray[np.uint16],
    context: UnitContext,
    empty: bool,
    rng: np.random.Generator,
) -> list[tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]]:
    plan, klt = unit.plan, context.klt
    levels = residual_of(unit.symbols, unit.steps, plan)
    decoded, expected = inverse(unit.predicted + levels), inverse(unit.predicted)
    scene = Scene(plan.step_index, klt.spread, unit.importance, empty)
    inputs = features(decoded, expected, unit.symbols, scene)
    wanted = (klt.forward(pixels) - decoded) / int(step_size(plan.step_index))
    clear = np.flatnonzero(~context.hidden)
    out = []
    for k in range(min(len(pixels), 5)):
        chosen = rng.choice(clear, min(len(clear), PIXELS_PER_UNIT), replace=False)
        out.append(
            (
                inputs[k].reshape(FEATURES, -1)[:, chosen].T,
                wanted[k].reshape(-1)[chosen].astype(np.float32),
            )
        )
    return out


@torch.no_grad()
def gain(net: Restoration, pixels: Pixels) -> float:
    """Mean gain over units, dB, at the best strength of each."""
    offered = torch.cat(
        [
            net(torch.from_numpy(pixels.inputs[at : at + 65536]).float() / 16)
            for at in range(0, len(pixels.inputs), 65536)
        ]
    ).numpy()
    count = int(pixels.origin.max()) + 1
    error, product, power = (
        np.bincount(pixels.origin, x, count)
        for x in (pixels.wanted**2, pixels.wanted * offered, offered**2)
    )
    best = np.rint(STRENGTH_ONE * product / np.maximum(power, 1e-9))
    strength = np.clip(best, 0, STRENGTHS - 1) / STRENGTH_ONE
    left = np.minimum(error - 2 * strength * product + strength**2 * power, error)
    return float(np.mean(10 * np.log10(np.maximum(error, 1e-3) / np.maximum(left, 1e-3))))


def fit(net: Restoration, pixels: Pixels, watched: Pixels | None, minutes: float) -> None:
    """Minimize squared errors, every unit's relative to its own mean."""
    count = int(pixels.origin.max()) + 1
    mean = np.bincount(pixels.origin, pixels.wanted**2, count) / np.bincount(
        pixels.origin, minlength=count
    )
    weight = np.minimum(1 / np.maximum(mean, 1e-3), 100)[pixels.origin].astype(np.float32)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-3)
    rng = np.random.default_rng(0)
    start, step = time.time(), 0
    while (elapsed := time.time() - start) < 60 * minutes:
        for group in optimizer.param_groups:
            cosine = 0.5 + 0.5 * math.cos(math.pi * elapsed / (60 * minutes))
            group["lr"] = RATE * min(1, (step + 1) / 200) * cosine + 1e-5
        chosen = rng.integers(0, len(weight), BATCH)
        inputs = torch.from_numpy(pixels.inputs[chosen]).float() / 16
        miss = net(inputs) - torch.from_numpy(pixels.wanted[chosen])
        loss = (miss * miss * torch.from_numpy(weight[chosen])).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        step += 1
        if step % 1000 == 0 and watched is not None:
            print(f"step {step}: {gain(net, watched):.3f} dB on watched places", flush=True)


def export(net: Restoration, path: Path) -> str:
    """Write integer weights; returns the hash that `stvc.codec.restoration` must name."""
    tensors = {
        f"{k}.{name}": value.contiguous()
        for k, layer in enumerate(net.layers)
        for name, value in integer_linear(layer).items()
    }
    save_file(tensors, path)
    return content_hash(tensors)


def main() -> None:
    """Collect, fit, export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cubes", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--collect", type=float, default=9, help="minutes of coding windows")
    parser.add_argument("--minutes", type=float, default=8, help="minutes of fitting")
    parser.add_argument("--exclude", nargs="*", default=[], help="places kept for reporting")
    parser.add_argument(
        "--validate", nargs="*", default=[], help="places watched, never trained on"
    )
    parser.add_argument("--model", default="ct2-94d22ca2", help="chooses the levels")
    parser.add_argument("--hidden", type=int, nargs=2, default=(48, 32))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    hidden = options.exclude + options.validate
    pixels = collect(options.cubes, options.collect, hidden, [], options.seed + 1, options.model)
    watched = None
    if options.validate:
        watched = collect(
            options.cubes,
            options.collect / 5,
            options.exclude,
            options.validate,
            options.seed + 2,
            options.model,
        )
    print(f"{len(pixels.wanted)} pixels of {int(pixels.origin[-1]) + 1} components", flush=True)
    net = Restoration(*options.hidden)
    fit(net, pixels, watched, options.minutes)
    print("sha256", export(net, options.out / "restoration.safetensors"))


if __name__ == "__main__":
    main()
