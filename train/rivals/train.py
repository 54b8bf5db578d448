"""Train a rival on cubes in a folder, for a number of minutes of one core.

    python train/rivals/train.py CUBES --kind hyperprior --out checkpoints/rivals --exclude PLACES

Minutes are processor time, of all runs that `--resume` each other. The result is OUT/KIND.pt:
weights, minutes, steps and places left out. `tools/bench.py --rivals OUT` measures it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from rivals.model import NOMINAL, SCALE_DN, Rival, slope_of
from rivals.windows import Windows, load_places

KINDS = ("factorized", "hyperprior")
LEARNING_RATE = 1e-3
WARM_UP = 100


def losses(net: Rival, x: torch.Tensor, nominal: torch.Tensor, *, bfloat16: bool) -> torch.Tensor:
    """Per window (B, 3): Lagrangian in bits per sample, bits per sample, squared error in DN^2."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        decoded, bits = net(x, nominal)
    squared = (decoded.float() - x).square().mean((1, 2, 3)) * SCALE_DN**2
    rate = bits / x[0].numel()
    return torch.stack([rate + slope_of(nominal) * squared, rate, squared], 1)


def save(
    options: argparse.Namespace,
    net: Rival,
    optimizer: torch.optim.Optimizer,
    seconds: float,
    steps: int,
) -> None:
    """Write the model as it is, with what a table must say about it, and what going on needs."""
    state = {
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "kind": options.kind,
        "minutes": round(seconds / 60, 1),
        "steps": steps,
        "exclude": options.exclude,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.kind}.pt"
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def main(arguments: list[str] | None = None) -> int:
    """Train until the time is up, then write the model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cubes", type=Path)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--minutes", type=float, default=25, help="of processor time")
    parser.add_argument("--exclude", nargs="*", default=[], help="words in paths to leave out")
    parser.add_argument("--rate", type=float, default=LEARNING_RATE, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--float32", action="store_true", help="no bfloat16 products")
    parser.add_argument("--resume", action="store_true", help="go on with the model in --out")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    windows = Windows(load_places(options.cubes, options.exclude), options.seed)
    net = Rival(options.kind == "hyperprior").to(memory_format=torch.channels_last)
    net.start_from(windows.batch())
    optimizer = torch.optim.Adam(net.parameters(), lr=options.rate)
    bfloat16 = not options.float32 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    began, logged, step = time.process_time(), time.process_time(), 0
    if options.resume:
        known = torch.load(options.out / f"{options.kind}.pt", weights_only=True)
        if known["exclude"] != options.exclude:
            parser.error(f"--exclude was {' '.join(known['exclude'])} when it was begun")
        net.load_state_dict(known["net"])
        optimizer.load_state_dict(known["optimizer"])
        began, step = began - 60 * known["minutes"], known["steps"]
        windows = Windows(load_places(options.cubes, options.exclude), options.seed + step)
        # ^ other windows than the first time
    sums: list[torch.Tensor] = []
    while (spent := time.process_time() - began) < 60 * options.minutes:
        share = spent / (60 * options.minutes)
        rate = min(1, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = options.rate * max(rate, 0.01)
        x = windows.batch().contiguous(memory_format=torch.channels_last)
        nominal = torch.empty(len(x)).uniform_(NOMINAL[0], NOMINAL[-1])
        terms = losses(net, x, nominal, bfloat16=bfloat16)
        # Every rate counts alike: a percent of the Lagrangian, not a bit.
        loss = (terms[:, 0] / (0.3 + terms[:, 0].detach())).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        if torch.isfinite(norm):
            optimizer.step()
        step += 1
        sums.append(
            torch.stack([terms[:, 0].detach().log().mean(), terms[:, 1].detach().mean(), norm])
        )
        if time.process_time() - logged > 20:
            mean = torch.stack(sums).mean(0)
            row = {
                "minutes": round((time.process_time() - began) / 60, 2),
                "step": step,
                "log_loss": round(float(mean[0]), 4),
                "bits": round(float(mean[1]), 4),
                "gradient": round(float(mean[2]), 3),
            }
            print(json.dumps(row), flush=True)
            sums, logged = [], time.process_time()
            # Whoever stops it, or looks on, has a model that says how long it was trained.
            save(options, net, optimizer, time.process_time() - began, step)
    save(options, net, optimizer, time.process_time() - began, step)
    print(f"{options.out / options.kind}.pt: {step} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
