"""Train the integer network of the mask coder's kind 3, and print its numbers.

    python train/mask_network.py CUBES --exclude PLACES --out weights.txt

The network (`stvc.codec.mask_network`) corrects the votes of the frozen tables, which stay as they
are. It learns from the rasters of whole series, each seen as the coder sees it: with those of the
two frames that stvc links it to, for several choices of dates, and turned and flipped. As with the
tables, its numbers are part of the bit stream: others need a payload kind of their own.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import zstandard
from mask_rasters import read_rasters
from torch.nn import Parameter
from torch.nn import functional as F

from stvc.codec import mask_model, mask_network
from stvc.codec.mask_network import Seen
from stvc.codec.structure import Link, Planned, plan_frames
from stvc.masks import hidden
from stvc.types import U8

COPIES = 8
"""Of each place: all dates coded at once twice, some of them; one by one; without a date before."""
LARGE = 300_000
"""Pixels from which on half as many copies will do."""
BATCH, LEARNING_RATE, DECAY = 2048, 0.01, 1e-5
SURE, SHARE = 350, 0.12
"""Of pixels whose first choice leads by so many votes, only this share is looked at (and counts
more): nearly all of them are as they seem."""

Fields = dict[str, np.ndarray]


def linked(rasters: U8, classes: int, order: list[Planned]) -> Iterator[tuple[U8, U8, U8]]:
    """Give each raster with those that the coder predicts it from, as `FrameDecoder` does."""
    none = np.full(rasters.shape[1:], classes, np.uint8)
    done: list[tuple[U8, U8]] = []
    for position, link in order:
        found = [done[k] for k in link if k >= 0]
        past = found[0][0] if found else none
        second = found[1][0] if len(found) > 1 else found[0][1] if found else none
        done.append((rasters[position], past))
        yield rasters[position], past, second


def orders(rasters: U8, scene: bool, copy: int, rng: np.random.Generator) -> list[Planned]:
    """Choose dates and links as an encoder might."""
    chosen = np.arange(len(rasters))
    if copy:
        chosen = np.flatnonzero(rng.random(len(rasters)) < rng.uniform(0.5, 1))
    if copy % 4 == 3:
        return [Planned(int(k), Link()) for k in chosen]
    if copy % 4 == 2:
        return [Planned(int(k), Link(i - 1)) for i, k in enumerate(chosen)]
    clear = 1 - np.asarray(hidden(rasters[chosen], "SCL") if scene else rasters[chosen])
    shares = clear.reshape(len(chosen), -1).mean(axis=1).tolist()
    planned = plan_frames([], [], [86400 * 5 * int(k) for k in chosen], shares)
    return [Planned(int(chosen[p.position]), p.link) for p in planned]


def pixels_of(raster: U8, past: U8, second: U8, scene: bool) -> Iterator[Fields]:
    """Walk a raster as the coder does and give what the network sees at each step."""
    classes = 12 if scene else 2
    values = np.unique(raster)
    if len(values) < 2:
        return
    found: list[Fields] = []

    def note(network, votes, labels, seen, place):  # type: ignore[no-untyped-def]
        n = len(votes)
        wide = np.full((n, classes), -30000, np.int16)
        wide[:, labels] = votes.clip(-29000, 29000)
        rarity = np.zeros((n, classes), np.uint8)
        rarity[:, labels] = place.rarity
        whole = {"kind": place.kind, "octave": place.octave, "rough": place.rough}
        found.append(
            {"votes": wide, "rarity": rarity}
            | seen._asdict()
            | {k: np.full(n, v, np.uint8) for k, v in whole.items()}
        )
        return votes

    flat, places = raster.ravel(), []

    def code(table, positions):  # type: ignore[no-untyped-def]
        places.append(flat[positions])
        return np.searchsorted(values, flat[positions])

    before = None if past.min() == classes else past
    with_second = None if second.min() == classes else second
    # Tables of two values speak of the lower and the higher one: the rasters hold 0 and 1.
    with patch.object(mask_model, "refined", note), patch.object(mask_model, "load_network"):
        mask_model.walk(raster.shape, values, scene, before, code, True, with_second)
    for fields, label in zip(found, places[-len(found) :], strict=True):
        yield fields | {"label": label}


def examples(paths: list[Path], scene: bool, rng: np.random.Generator) -> Fields:
    """All pixels of some places."""
    parts: list[Fields] = []
    places = 0
    for path in paths:
        rasters = read_rasters(path, scene)
        if rasters is None:
            continue
        places += 1
        for copy in range(COPIES if rasters.size < LARGE else COPIES // 2):
            for raster, *others in linked(
                rasters, 12 if scene else 2, orders(rasters, scene, copy, rng)
            ):
                turned = [np.rot90(r, copy)[copy % 2 :] for r in (raster, *others)]
                turned = [np.ascontiguousarray(r[:, ::-1] if copy & 4 else r) for r in turned]
                for fields in pixels_of(*turned, scene):
                    sure = np.sort(fields["votes"], axis=1)[:, -2:]
                    gap = np.diff(sure.astype(np.int32), axis=1)[:, 0]
                    keep = (gap <= SURE) | (rng.random(len(gap)) < SHARE)
                    weight = np.where(gap > SURE, 1 / SHARE, 1).astype(np.float32)
                    parts.append({k: v[keep] for k, v in (fields | {"weight": weight}).items()})
    all_fields = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
    print(f"{places} places, {len(all_fields['label'])} pixels", file=sys.stderr, flush=True)
    return all_fields


class Trainable(torch.nn.Module):
    """Differentiable twin of `stvc.codec.mask_network.refined`; weights in nat."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        spread = {0: 0.2, 1: 0.2, 2: 0.1, 5: 0.01}
        self.weights = torch.nn.ParameterList(
            Parameter(torch.randn(shape) * spread.get(k, 0.0))
            for k, shape in enumerate(mask_network.shapes(classes))
        )

    def forward(self, fields: Fields) -> torch.Tensor:
        """Give (n, C) logits in nat."""
        counts, margin, common, place, label, out = self.weights
        seen = Seen(fields["around"], fields["past"], fields["second"])
        votes = fields["votes"].astype(np.int64)
        classes = votes.shape[1]

        def real(numbers: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.asarray(numbers, np.float32))

        told = mask_network.counts(seen, np.arange(classes)).T
        told = np.concatenate([told, fields["rarity"][..., None]], axis=2)
        shared = mask_network.commons(seen, classes)
        shared = np.concatenate([shared, fields["rough"][:, None]], axis=1)
        kind, octave = (torch.from_numpy(fields[k].astype(np.int64)) for k in ("kind", "octave"))
        hidden_ = real(told) @ counts + label
        hidden_ = hidden_ + real(mask_network.margins(votes) / 64)[..., None] * margin
        hidden_ = hidden_ + (real(shared) @ common + place[kind, octave])[:, None]
        gain = (torch.relu(hidden_) * out[kind][:, None]).sum(2)
        logits = real(votes / 64) + gain
        return logits.masked_fill(torch.from_numpy(fields["votes"] == -30000), -1e9)

    def integers(self) -> np.ndarray:
        """Round the weights to those of `Network`."""
        units = (8, 13, 8, 8, 8, 12)
        with torch.no_grad():
            flat = [
                w.double().numpy().ravel() * 2**u for w, u in zip(self.weights, units, strict=True)
            ]
        rounded = np.round(np.concatenate(flat))
        if np.abs(rounded).max() > 32767:
            raise SystemExit("a weight does not fit 16 bits: train with more decay")
        return rounded.astype("<i2")


def train(model: Trainable, fields: Fields, iterations: int) -> None:
    """Fit a model by Adam on random pixels."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    rng = np.random.default_rng(0)
    for iteration in range(iterations):
        for group in optimizer.param_groups:
            rise = min(1, (iteration + 1) / 200)
            group["lr"] = LEARNING_RATE * rise * (0.02 + 0.98 * (1 - iteration / iterations))
        chosen = rng.integers(0, len(fields["label"]), BATCH)
        some = {k: v[chosen] for k, v in fields.items()}
        weight, target = (torch.from_numpy(some[k]) for k in ("weight", "label"))
        losses = F.cross_entropy(model(some), target.long(), reduction="none")
        loss = (losses * weight).sum() / weight.sum()
        if iteration % max(1, iterations // 10) == 0 or iteration == iterations - 1:
            print(
                f"  {iteration}: {loss.item() / math.log(2):.3f} bits", file=sys.stderr, flush=True
            )
        decay = sum((weight**2).sum() for weight in model.parameters())
        optimizer.zero_grad()
        (loss + DECAY * decay).backward()
        optimizer.step()


def main() -> None:
    """Train both networks and write their numbers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cubes", type=Path)
    parser.add_argument("--out", type=Path, help="text file to write; printed if not given")
    parser.add_argument("--exclude", nargs="*", default=[], help="places kept for reporting")
    parser.add_argument("--iterations", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    paths = sorted(args.cubes.rglob("*.npz"))
    paths = [path for path in paths if not any(word in str(path) for word in args.exclude)]
    numbers = []
    for scene in (True, False):
        torch.manual_seed(args.seed)
        rng = np.random.default_rng(args.seed)
        model = Trainable(12 if scene else 2)
        train(model, examples(paths, scene, rng), args.iterations)
        numbers.append(model.integers())
    planes = np.concatenate(numbers).view(np.uint8).reshape(-1, 2).T.tobytes()
    text = base64.b85encode(zstandard.ZstdCompressor(level=19).compress(planes)).decode()
    lines = "\n".join(f'    "{text[start : start + 92]}"' for start in range(0, len(text), 92))
    text = f'_WEIGHTS_SHA256 = "{hashlib.sha256(planes).hexdigest()}"\n_WEIGHTS = (\n{lines}\n)\n'
    if args.out:
        args.out.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
