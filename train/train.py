"""Train the conditional transformer entropy model on cubes in a folder.

    python train/train.py CUBES --out checkpoints/run --minutes 60 [--exclude PLACE ...] [--resume]

A loader process codes random windows of the cubes with the real encoder front end and keeps a pool
of units; the trainer draws batches from it. A checkpoint (weights, optimizer, step, config, best
loss) is written every few minutes; ``--resume`` goes on from it. ``train/export.py`` turns one into
integer weights with a model id. See train/README.md.
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
from pathlib import Path

import numpy as np
import torch
from cubes import Sample, load_cubes, samples
from export import load_integers
from qat import ConditionalTransformer
from safetensors.torch import load_file

from stvc.model.architecture import (
    PREVIOUS_COMPONENTS,
    NetworkConfig,
    TokenLayout,
    token_layout,
)
from stvc.model.features import compand
from stvc.model.neighbors import neighbor_candidates
from stvc.model.weights import load_model

TOKENS_PER_BATCH = 2048
POOL = 2500
LEARNING_RATE = 2e-3
WARM_UP = 200


def loader(
    folder: str,
    exclude: list[str],
    seed: int,
    levels_by: str | None,
    out: mp.Queue,  # type: ignore[type-arg]
) -> None:
    """Put coding units into a queue for ever."""
    os.nice(5)
    torch.set_num_threads(1)
    model = load_model(levels_by) if levels_by else None
    for sample in samples(load_cubes(Path(folder), exclude), seed, levels_by=model):
        out.put(sample)


def assemble(batch: list[tuple[Sample, int]], layout: TokenLayout) -> dict[str, torch.Tensor]:
    """Stack (unit, component) pairs of one size into tensors in memory order."""
    n = batch[0][0].size[0] * batch[0][0].size[1]
    planes, moves = batch[0][0].context.shape[-1], batch[0][0].candidates.shape[-1]
    features = np.zeros((len(batch), n + 1, NetworkConfig().features), np.int8)
    symbols = np.zeros((len(batch), n + 1, 64), np.int16)
    candidates = np.zeros((len(batch), n + 1, 64, moves), np.int16)
    importance = np.full((len(batch), n + 1), 255, np.uint8)
    for i, (s, c) in enumerate(batch):
        features[i, :n, :planes] = s.context[c]
        for k in range(1, PREVIOUS_COMPONENTS + 1):
            if c >= k:
                at = planes + 64 * (k - 1)
                features[i, :n, at : at + 64] = compand(s.symbols[c - k].astype(np.int32) * 8)
        features[i, :n, -32:] = s.side[c]
        symbols[i, :n] = s.symbols[c]
        candidates[i, :n] = s.candidates[c]
        importance[i, :n] = s.importance
    place = layout.place
    ordered = symbols[:, place]
    valid = np.broadcast_to(place < n, (len(batch), len(place)))
    return {
        "features": torch.from_numpy(features[:, place]).float() / 16,
        "known": torch.from_numpy(compand(ordered.astype(np.int32) * 8)).float() / 16,
        "symbols": torch.from_numpy(ordered.astype(np.int32)),
        "candidates": torch.from_numpy(candidates[:, place]).float(),
        "importance": torch.from_numpy(importance[:, place]),
        "valid": torch.from_numpy(valid.astype(np.float32))[..., None],
    }


def bits_of(
    net: ConditionalTransformer, batch: dict[str, torch.Tensor], layout: TokenLayout
) -> torch.Tensor:
    """(B, tokens, 64) bits of every symbol; 0 for tokens that are not coded."""
    around = neighbor_candidates(batch["symbols"], batch["importance"], layout)
    location, scale = net(
        batch["features"],
        batch["known"],
        batch["candidates"],
        [a.float() for a in around],
        layout,
        batch["valid"],
    )
    coded = (batch["importance"] != 255)[..., None]
    return net.bits(batch["symbols"].float(), location, scale) * coded


def main() -> None:
    """Train until the time is up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cubes", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--exclude", nargs="*", default=[], help="places kept for reporting")
    parser.add_argument(
        "--validate", nargs="*", default=[], help="places watched, never trained on"
    )
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--warm", type=Path, help="start from an exported .safetensors model")
    parser.add_argument(
        "--levels-by", metavar="MODEL", help="installed model whose rates choose the levels"
    )
    parser.add_argument("--rate", type=float, default=LEARNING_RATE, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=NetworkConfig.width)
    parser.add_argument(
        "--trunk", type=int, default=NetworkConfig.trunk, help="layers before the first step"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--total", type=float, help="minutes of the whole schedule, if resumed in parts"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "checkpoint.pt"
    config = NetworkConfig(width=options.width, hidden=2 * options.width, trunk=options.trunk)
    net = ConditionalTransformer(config)
    product = torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32
    net.set_dtype(product)
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01
    )
    step, spent, tokens_seen = 0, 0.0, 0
    if options.warm:
        load_integers(net, load_file(options.warm))
    if options.resume:
        saved = torch.load(path, weights_only=True)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent, tokens_seen = saved["step"], saved["minutes"], saved["tokens"]
    units: mp.Queue[Sample] = mp.Queue(64)
    process = mp.Process(
        target=loader,
        daemon=True,
        args=(
            str(options.cubes),
            options.exclude + options.validate,
            options.seed + step,
            options.levels_by,
            units,
        ),
    )
    process.start()
    watched: list[Sample] = []
    if options.validate:
        places = [
            c
            for c in load_cubes(options.cubes, options.exclude)
            if any(v in c.name for v in options.validate)
        ]
        model = load_model(options.levels_by) if options.levels_by else None
        stream = samples(places, 1, (140, 240), levels_by=model)
        watched = [next(stream) for _ in range(48)]
    pool: dict[tuple[int, int], list[Sample]] = defaultdict(list)
    rng = np.random.default_rng(options.seed + step + 1)
    total = (options.total or spent + options.minutes) * 60
    start = time.time()
    saved_at = logged_at = start
    sums = np.zeros(3)
    log = (options.out / "log.jsonl").open("a")
    print(f"{sum(p.numel() for p in net.parameters())} parameters, {product}", flush=True)

    def save() -> None:
        state = {
            "net": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "minutes": spent + (time.time() - start) / 60,
            "tokens": tokens_seen,
            "config": vars(config),
            "exclude": options.exclude + options.validate,
        }
        torch.save(state, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)

    while time.time() - start < options.minutes * 60:
        wait = sum(map(len, pool.values())) < 150
        for _ in range(60 if wait else 4):
            try:
                sample = units.get(timeout=60 if wait else 0.001)
            except queue.Empty:
                break
            mine = pool[sample.size]
            if len(mine) < POOL // 3:
                mine.append(sample)
            else:
                mine[int(rng.integers(len(mine)))] = sample
        sizes = list(pool)
        worth = np.array([len(pool[s]) * s[0] * s[1] for s in sizes], float) ** 0.7
        size = sizes[rng.choice(len(sizes), p=worth / worth.sum())]
        layout = token_layout(*size)
        count = max(1, TOKENS_PER_BATCH // (size[0] * size[1]))
        chosen = []
        for _ in range(count):
            s = pool[size][int(rng.integers(len(pool[size])))]
            c = len(s.symbols)
            chosen.append(
                (s, int(rng.integers(c)) if rng.random() < 0.5 else int(rng.integers(min(c, 2))))
            )
            # ^ the first two components carry most of the bits
        batch = assemble(chosen, layout)
        elapsed = spent * 60 + time.time() - start
        rate = (
            options.rate
            * min(1, (step + 1) / WARM_UP)
            * (0.5 + 0.5 * math.cos(math.pi * min(1, elapsed / total)))
        )
        for group in optimizer.param_groups:
            group["lr"] = max(rate, options.rate * 0.01)
        bits = bits_of(net, batch, layout)
        coded = max(int((batch["importance"] != 255).sum()), 1)
        per_unit = bits.sum((1, 2)) / (64 * (batch["importance"] != 255).sum(1).clamp_min(4))
        # ^ half of the weight goes to relative savings, so that cheap units are learned as well
        loss = bits.sum() / (64 * coded) + (per_unit + 0.02).log().mean() * 0.5
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        if torch.isfinite(norm):
            optimizer.step()
        step += 1
        tokens_seen += coded
        sums += (float(bits.detach().sum()), 64 * coded, 1)
        now = time.time()
        if now - logged_at > 60:
            row = {
                "step": step,
                "minutes": round(spent + (now - start) / 60, 1),
                "bits": round(sums[0] / sums[1], 4),
                "rate": rate,
                "tokens": tokens_seen,
                "pool": sum(map(len, pool.values())),
                "per_s": round(sums[2] / (now - logged_at), 2),
            }
            if watched and step % 3 == 0:
                row["watched"] = round(evaluate(net, watched), 4)
            print(json.dumps(row), flush=True)
            log.write(json.dumps(row) + "\n")
            log.flush()
            logged_at, sums = time.time(), np.zeros(3)
        if now - saved_at > 240:
            save()
            saved_at = now
    save()
    process.terminate()
    if watched:
        print(json.dumps({"step": step, "watched": evaluate(net, watched)}), flush=True)


@torch.no_grad()
def evaluate(net: ConditionalTransformer, chosen: list[Sample]) -> float:
    """Bits per coefficient over whole units."""
    total, count = 0.0, 0
    for s in chosen:
        layout = token_layout(*s.size)
        batch = assemble([(s, c) for c in range(len(s.symbols))], layout)
        total += float(bits_of(net, batch, layout).sum())
        count += int((batch["importance"] != 255).sum()) * 64
    return total / max(count, 1)


if __name__ == "__main__":
    main()
