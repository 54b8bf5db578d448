"""Train the fast entropy model (``--effort fast``) on cubes in a folder, and export it.

    python train/train_fast.py CUBES --out checkpoints/fast --minutes 15 [--exclude PLACE ...]
        [--resume | --warm MODEL.safetensors] [--export models/]

Samples come from the real encoder front end, as for the larger model (see train/README.md): a
loader process codes random windows, the trainer draws (unit, component) pairs from a pool.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing as mp
import os
import queue
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from cubes import load_cubes, samples
from export import write_model
from fast_qat import FastTwin, fast_tensors, load_fast_integers
from safetensors.torch import load_file

from stvc.codec.analysis import UnitAnalysis
from stvc.model.fast_architecture import EARLIER, LOW, MOVES, FastConfig
from stvc.model.fast_features import FastFeatures, fast_features, symbol_levels
from stvc.model.features import FrameSide

TOKENS_PER_BATCH = 2048
POOL = 2400
LEARNING_RATE = 3e-3
WARM_UP = 200


@dataclass(frozen=True)
class FastSample:
    """One coding unit as the fast model sees it."""

    size: tuple[int, int]
    features: FastFeatures
    symbols: npt.NDArray[np.int16]
    """(C, M, 64)."""
    name: str


def fast_sample_of(
    unit: UnitAnalysis, spread: npt.NDArray[np.uint8], frame: FrameSide, name: str
) -> FastSample:
    """Shape an analyzed unit for the fast model."""
    f = fast_features(
        unit.refs, unit.predicted, unit.steps, unit.importance, unit.plan.profiles, spread, frame
    )
    flat = unit.symbols.reshape(len(unit.symbols), -1, 64)[:, f.rows]
    return FastSample(f.grid, f, np.clip(flat, -32767, 32767).astype(np.int16), name)


def loader(folder: str, exclude: list[str], seed: int, out: mp.Queue) -> None:  # type: ignore[type-arg]
    """Put coding units into a queue for ever."""
    os.nice(5)
    torch.set_num_threads(1)
    for sample in samples(load_cubes(Path(folder), exclude), seed, shape=fast_sample_of):
        out.put(sample)


def assemble(batch: Sequence[tuple[FastSample, int]]) -> dict[str, torch.Tensor]:
    """Stack (unit, component) pairs of one size into tensors on the whole grid."""
    h, w = batch[0][0].size
    config = FastConfig()
    known = np.zeros((len(batch), h * w, config.known + 64 * EARLIER), np.uint8)
    symbols = np.zeros((len(batch), h * w, 64), np.int16)
    moves = np.zeros((len(batch), h * w, LOW, MOVES), np.int16)
    coded = np.zeros((len(batch), h * w, 1), np.float32)
    for i, (s, k) in enumerate(batch):
        rows = s.features.rows
        known[i, rows, : config.known] = s.features.known[k]
        for back in range(1, min(k, EARLIER) + 1):
            at = config.known + 64 * (back - 1)
            known[i, rows, at : at + 64] = symbol_levels(s.symbols[k - back])
        symbols[i, rows] = s.symbols[k]
        moves[i, rows] = s.features.moves[k]
        coded[i, rows] = 1
    return {
        "known": torch.from_numpy(known).float() / 16,
        "levels": torch.from_numpy(symbol_levels(symbols)).float() / 16,
        "symbols": torch.from_numpy(symbols).float(),
        "moves": torch.from_numpy(moves).float(),
        "coded": torch.from_numpy(coded),
    }


def bits_of(net: FastTwin, batch: dict[str, torch.Tensor], grid: tuple[int, int]) -> torch.Tensor:
    """(B, T, 64) bits of every symbol; 0 for tokens that are not coded."""
    location, scale = net(batch["known"], batch["levels"], batch["moves"], batch["coded"], grid)
    return net.bits(batch["symbols"], location, scale) * batch["coded"]


def options_of() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cubes", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--exclude", nargs="*", default=[], help="places kept for reporting")
    parser.add_argument("--validate", nargs="*", default=[], help="places watched")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--warm", type=Path, help="start from an exported model")
    parser.add_argument("--rate", type=float, default=LEARNING_RATE, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--total", type=float, help="minutes of the whole schedule, if in parts")
    parser.add_argument("--export", type=Path, help="write the integer model here at the end")
    parser.add_argument("--name", default="fast1")
    return parser.parse_args()


def main() -> None:
    """Train until the time is up."""
    options = options_of()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "checkpoint.pt"
    net = FastTwin(FastConfig())
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        net.product = torch.bfloat16
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=options.rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    step, spent, tokens = 0, 0.0, 0
    if options.warm:
        load_fast_integers(net, load_file(options.warm))
    if options.resume:
        saved = torch.load(path, weights_only=True)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent, tokens = saved["step"], saved["minutes"], saved["tokens"]
    units: mp.Queue[FastSample] = mp.Queue(64)
    hidden = options.exclude + options.validate
    process = mp.Process(
        target=loader, daemon=True, args=(str(options.cubes), hidden, options.seed + step, units)
    )
    process.start()
    watched = watched_units(options.cubes, options.exclude, options.validate)
    pool: dict[tuple[int, int], list[FastSample]] = defaultdict(list)
    rng = np.random.default_rng(options.seed + step + 1)
    total = (options.total or spent + options.minutes) * 60
    start = logged_at = time.time()
    sums = np.zeros(3)
    print(f"{sum(p.numel() for p in net.parameters())} parameters, {net.product}", flush=True)
    while time.time() - start < options.minutes * 60:
        fill(pool, units, rng)
        sizes = list(pool)
        worth = np.array([len(pool[s]) * s[0] * s[1] for s in sizes], float) ** 0.7
        size = sizes[rng.choice(len(sizes), p=worth / worth.sum())]
        batch = assemble(draw(pool[size], max(1, TOKENS_PER_BATCH // (size[0] * size[1])), rng))
        elapsed = spent * 60 + time.time() - start
        decay = 0.5 + 0.5 * math.cos(math.pi * min(1, elapsed / total))
        for group in optimizer.param_groups:
            group["lr"] = options.rate * max(min(1, (step + 1) / WARM_UP) * decay, 0.01)
        bits = bits_of(net, batch, size)
        coded = max(int(batch["coded"].sum()), 1)
        per_unit = bits.sum((1, 2)) / (64 * batch["coded"].sum((1, 2)).clamp_min(4))
        loss = bits.sum() / (64 * coded) + (per_unit + 0.02).log().mean() * 0.5
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)):
            optimizer.step()
        step, tokens = step + 1, tokens + coded
        sums += (float(bits.detach().sum()), 64 * coded, 1)
        if time.time() - logged_at > 60:
            row = {
                "step": step,
                "minutes": round(spent + (time.time() - start) / 60, 1),
                "bits": round(sums[0] / sums[1], 4),
                "tokens": tokens,
                "pool": sum(map(len, pool.values())),
                "watched": evaluate(net, watched),
            }
            print(json.dumps(row), flush=True)
            logged_at, sums = time.time(), np.zeros(3)
    process.terminate()
    minutes = spent + (time.time() - start) / 60
    state = {
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "minutes": minutes,
        "tokens": tokens,
    }
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)
    print(json.dumps({"step": step, "watched": evaluate(net, watched)}), flush=True)
    if options.export:
        about = {"minutes": round(minutes, 1), "steps": step, "tokens": tokens, "excluded": hidden}
        print(write_model(fast_tensors(net), net.config, options.export, options.name, about))


def fill(
    pool: dict[tuple[int, int], list[FastSample]],
    units: mp.Queue[FastSample],
    rng: np.random.Generator,
) -> None:
    """Move what the loader has made into the pool; wait only while the pool is small."""
    wait = sum(map(len, pool.values())) < 100
    for _ in range(60 if wait else 4):
        try:
            sample = units.get(timeout=60 if wait else 0.001)
        except queue.Empty:
            return
        mine = pool[sample.size]
        if not len(sample.features.rows):
            continue
        if len(mine) < POOL // 3:
            mine.append(sample)
        else:
            mine[int(rng.integers(len(mine)))] = sample


def draw(
    units: Sequence[FastSample], count: int, rng: np.random.Generator
) -> list[tuple[FastSample, int]]:
    """Choose (unit, component) pairs; the first two components carry most of the bits."""
    chosen = []
    for _ in range(count):
        s = units[int(rng.integers(len(units)))]
        c = len(s.symbols)
        chosen.append((s, int(rng.integers(c if rng.random() < 0.5 else min(c, 2)))))
    return chosen


def watched_units(folder: Path, exclude: list[str], validate: list[str]) -> list[FastSample]:
    """Take units of places that are watched, never trained on."""
    if not validate:
        return []
    places = [c for c in load_cubes(folder, exclude) if any(v in c.name for v in validate)]
    stream = samples(places, 1, (140, 240), fast_sample_of)
    return [next(stream) for _ in range(40)]


@torch.no_grad()
def evaluate(net: FastTwin, chosen: Sequence[FastSample]) -> float:
    """Bits per coefficient over whole units."""
    total, count = 0.0, 0
    for s in chosen:
        batch = assemble([(s, k) for k in range(len(s.symbols))])
        total += float(bits_of(net, batch, s.size).sum())
        count += int(batch["coded"].sum()) * 64
    return round(total / max(count, 1), 4)


if __name__ == "__main__":
    main()
