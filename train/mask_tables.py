"""Train the mask coder's integer tables and write them as a module like `stvc.codec.mask_tables`.

    python train/mask_tables.py CUBES --exclude PLACES --out new_mask_tables.py

One multinomial logistic regression per alphabet (scene classes, two values), each without and with
the previous raster's votes. Pixels are seen as the coder sees them: `replay` follows the lattice of
`stvc.codec.mask_model`, `VoteModel` is the differentiable twin of its votes. Tables are part of the
bit stream: new ones belong to a new payload kind and never replace those that archives need.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import math
import sys
from dataclasses import astuple, dataclass
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np
import torch
import zstandard
from mask_rasters import read_rasters
from torch.nn import Parameter
from torch.nn import functional as F

from stvc.codec import mask_coder, mask_model, mask_tables
from stvc.codec.mask_coder import encode_mask
from stvc.codec.mask_lattice import passes
from stvc.codec.mask_model import _NEAR, _RINGS, _ROUGH_SPACING, _roughness
from stvc.codec.mask_tables import _ORBITS, _shapes, load_tables
from stvc.types import U8

MODELS = ((True, False), (True, True), (False, False), (False, True))
"""(scene, previous) of each model, in the order in which `load_tables` expects them."""
_NAMES = {True: "scene classes", False: "two values"}
KINDS = 4
"""Places in the lattice: two kinds of centers, two of sides; each has weights of its own."""
BATCH = 1024
"""Pixels per kind and iteration."""
LEARNING_RATE, LAST_LEARNING_RATE = 0.03, 0.0003
DECAY = 1e-5
"""Weight of the squared parameters; keeps those of contexts hardly ever seen small."""
VOTE_UNIT, SCALE_UNIT = 64, 256
"""Stored integers: votes in 1/64 nat and gates in 1/64, scales in 1/256."""
ORBIT = np.repeat(np.arange(len(_ORBITS)), [len(orbit) for orbit in _ORBITS])
"""(36,) which weights a neighbor uses: those at one distance share them."""


@dataclass(frozen=True)
class Series:
    """Rasters of one place that are worth coding, T of them."""

    place: str
    rasters: U8
    """(T, H, W) labels 0 to K - 1."""
    before: U8
    """(T, H, W) the raster of the date before each; K everywhere if there is none."""


@dataclass(frozen=True)
class Pixels:
    """What the coder knows about n pixels before it codes them, and what they are."""

    around: U8
    """(n, 36) labels of the lattice neighbors, K = unknown."""
    rarity: U8
    """(n, K) how rare each class was so far, in octaves, 0 to 8."""
    present: U8
    """(n, K) 1 = the class occurs in the raster; the payload tells so before any pixel."""
    rough: U8
    """(n,) roughness of the raster so far, 0 to 5."""
    past: U8
    """(n,) the previous raster's label here, K = none."""
    trust: U8
    """(n,) how well the previous raster fits the known neighbors, 0 to 8; 9 = nothing known."""
    label: U8
    """(n,) the pixel's own label: the target."""


def load_series(folder: Path, scene: bool, exclude: list[str]) -> tuple[list[Series], list[Series]]:
    """Read the masks of every ``.npz`` cube below a folder.

    Cubes hold ``scl`` (scene classes) or ``mask`` (1 = hidden), uint8 (T, H, W). Unless ``scene``,
    the labels are hidden or not, by ``scl`` where there is one. Returned are the series to train on
    and those whose path contains a word of ``exclude``.
    """
    kept: tuple[list[Series], list[Series]] = ([], [])
    for path in sorted(folder.rglob("*.npz")):
        rasters = read_rasters(path, scene)
        if rasters is None:
            continue
        none = np.full_like(rasters[:1], _classes(scene))
        before = np.concatenate([none, rasters[:-1]])
        # Constant rasters cost a byte without any model. One like the date before is the outline
        # of a polygon or a granule rather than a cloud: once is enough.
        varied = rasters.max(axis=(1, 2)) != rasters.min(axis=(1, 2))
        varied &= (rasters != before).any(axis=(1, 2))
        if varied.any():
            excluded = any(word in str(path) for word in exclude)
            kept[excluded].append(Series(path.stem, rasters[varied], before[varied]))
    return kept


def _classes(scene: bool) -> int:
    return load_tables(scene, False).classes


def replay(series: Series, classes: int) -> list[list[Pixels]]:
    """Walk all rasters of a place at once, as `mask_model.walk` does one, and note what it sees.

    Returns the pixels of each kind of lattice step; the first one of a raster is not modeled.
    """
    count, height, width = series.rasters.shape
    labels = np.arange(classes, dtype=np.uint8)
    present = (series.rasters.reshape(count, -1, 1) == labels).any(axis=1)
    unknown = np.full((count, 1), classes, np.uint8)  # what lies outside of the raster
    before = np.append(series.before.reshape(count, -1), unknown, axis=1)
    known = np.repeat(unknown, height * width + 1, axis=1)
    counts, rough = np.zeros((count, classes), np.int64), np.zeros((count, 2), np.int64)
    found: list[list[Pixels]] = [[] for _ in range(KINDS)]
    for steps in passes(height, width):
        # Pixels of one pass do not see each other.
        scaled = (4 * counts[..., None] + 1) << np.arange(1, 9)
        rarity = (scaled <= 4 * (counts.sum(axis=1)[:, None, None] + 1)).sum(axis=2)
        state, started = np.array([_roughness(pair) for pair in rough]), counts.any()
        for step in steps:
            label = series.rasters[:, step.rows, step.columns]
            around = known[:, step.neighbors]
            near = around[..., :_NEAR]
            seen = near != classes
            if started:
                agree = ((before[:, step.neighbors[:, :_NEAR]] == near) & seen).sum(axis=2)
                total = seen.sum(axis=2)
                trust = np.where(total > 0, (8 * agree + total // 2) // np.maximum(total, 1), 9)
                past = before[:, step.rows * width + step.columns]
                same = [a.repeat(len(step.rows), axis=0) for a in (rarity, present, state)]
                fields = around.reshape(-1, len(ORBIT)), *same, past.ravel(), trust.ravel()
                found[step.kind].append(
                    Pixels(*(f.astype(np.uint8) for f in fields), label.ravel())
                )
            known[:, step.rows * width + step.columns] = label
            counts += (label[..., None] == labels).sum(axis=1)
            if step.spacing <= _ROUGH_SPACING:
                first = np.take_along_axis(near, seen.argmax(axis=2)[..., None], axis=2)[..., 0]
                compared = first != classes
                rough[:, 0] += ((first != label) & compared).sum(axis=1)
                rough[:, 1] += compared.sum(axis=1)
    return found


class VoteModel(torch.nn.Module):
    """Differentiable twin of `mask_model._votes` for K classes, with a previous raster or without.

    Parameters are in nat, but ``scale`` is a logarithm and ``gate`` a logit.
    """

    def __init__(self, classes: int, previous: bool) -> None:
        super().__init__()
        self.classes, self.previous = classes, previous
        weights = [Parameter(torch.zeros(shape)) for shape in _shapes(classes)]
        self.affinity, self.affinity_before, self.bias, self.support = weights[:4]
        self.rarity, self.scale, self.repeat, self.gate = weights[4:]

    def forward(self, kind: int, *pixels: torch.Tensor) -> torch.Tensor:
        """Give (n, K) logits in nat for the fields of `Pixels` but the last."""
        around, rarity, present, rough, past, trust = pixels
        labels = torch.arange(self.classes)
        rows = torch.from_numpy(ORBIT) * (self.classes + 1) + around
        votes = F.embedding_bag(rows, self.affinity.reshape(-1, self.classes), mode="sum")
        votes = votes + self.bias[kind]
        same = around[:, :_RINGS, None] == labels
        rings = same.reshape(len(around), 3, _RINGS // 3, self.classes).sum(2)
        votes = votes + self.support[kind][rings[:, 0], rings[:, 1], rings[:, 2]]
        votes = votes + self.rarity[kind][rarity]
        if self.previous:
            gain = self.affinity_before[past] * torch.sigmoid(self.gate[kind][trust])[:, None]
            gain = gain + (past[:, None] == labels) * self.repeat[kind][trust][:, None]
            votes = votes + gain * (past != self.classes)[:, None]
        votes = votes * torch.exp(self.scale[kind][rough])[:, None]
        return votes.masked_fill(present == 0, -1e9)

    def integers(self) -> bytes:
        """Round the weights to those of `Tables`: low bytes, then high bytes."""
        with torch.no_grad():
            scale, gate = torch.exp(self.scale) * (SCALE_UNIT / VOTE_UNIT), torch.sigmoid(self.gate)
            weights = [self.affinity, self.affinity_before, self.bias, self.support]
            weights += [self.rarity, scale, self.repeat, gate * self.previous]
            flat = torch.cat([weight.double().flatten() for weight in weights]).numpy()
        rounded = np.round(flat * VOTE_UNIT).clip(-32768, 32767).astype("<i2")
        return rounded.view(np.uint8).reshape(-1, 2).T.tobytes()


def train(model: VoteModel, pixels: list[list[torch.Tensor]], iterations: int) -> None:
    """Fit a model by Adam on random pixels; ``pixels`` are the fields of `Pixels` by kind."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for iteration in range(iterations):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - iteration / iterations) + LAST_LEARNING_RATE
        loss = torch.zeros(())
        for kind, fields in enumerate(pixels):
            pick = torch.randint(0, len(fields[0]), (BATCH,))
            *seen, label = (field[pick].long() for field in fields)
            loss = loss + F.cross_entropy(model(kind, *seen), label) / KINDS
        if iteration % max(1, iterations // 10) == 0 or iteration == iterations - 1:
            bits = loss.item() / math.log(2)
            print(f"  iteration {iteration}: {bits:.3f} bits per pixel", file=sys.stderr)
        decay = sum((weight**2).sum() for weight in model.parameters())
        optimizer.zero_grad()
        # As if the kinds' losses were summed: what the decay was tuned for.
        (KINDS * loss + DECAY * decay).backward()
        optimizer.step()


def module_text(weights: bytes) -> str:
    """Put the integers of all `MODELS` into the source of the present tables' module."""
    head, _, _ = Path(mask_tables.__file__).read_text().partition("_WEIGHTS_SHA256 = ")
    text = base64.b85encode(zstandard.ZstdCompressor(level=19).compress(weights)).decode()
    lines = "\n".join(f'    "{text[start : start + 92]}"' for start in range(0, len(text), 92))
    digest = hashlib.sha256(weights).hexdigest()
    return f'{head}_WEIGHTS_SHA256 = "{digest}"\n_WEIGHTS = (\n{lines}\n)\n'


def report(text: str, excluded: list[Series]) -> None:
    """Print what the real coder with new tables needs for rasters that they never saw."""
    module = ModuleType("new_mask_tables")
    sys.modules[module.__name__] = module
    exec(compile(text, module.__name__, "exec"), module.__dict__)
    zstd = zstandard.ZstdCompressor(level=19, write_content_size=False)
    with (
        patch.object(mask_model, "load_tables", module.load_tables),
        patch.object(mask_coder, "walk", mask_model.walk),
    ):
        for series in excluded:
            sizes = np.zeros(3)
            for raster, before in zip(series.rasters, series.before, strict=True):
                forms = [raster] if raster.max() > 1 else [raster, np.packbits(raster)]
                peer = min(len(zstd.compress(form.tobytes())) for form in forms)
                sizes += *(len(encode_mask(raster, b, 3)) for b in (None, before)), peer
            alone, after, peer = sizes / len(series.rasters)
            note = f"{alone:.1f} bytes per raster, {after:.1f} knowing the date before"
            print(f"  {series.place}: {note}, {peer:.1f} as zstd-19", file=sys.stderr)


def main() -> None:
    """Train all four models, write the module, report on the excluded places."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cubes", type=Path)
    parser.add_argument("--out", type=Path, help="module to write; printed if not given")
    parser.add_argument("--exclude", nargs="*", default=[], help="places kept for reporting")
    parser.add_argument("--iterations", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.out and args.out.resolve() == Path(mask_tables.__file__).resolve():
        parser.error("archives need the present tables: write a new module, for a new payload kind")
    torch.set_num_threads(args.threads)
    loaded = {scene: load_series(args.cubes, scene, args.exclude) for scene in (True, False)}
    for scene, (training, _) in loaded.items():
        if not training:
            parser.error(f"no cube to train on has {'`scl`' if scene else '`scl` or `mask`'}")
    weights = b""
    for scene, previous in MODELS:
        torch.manual_seed(args.seed)
        model = VoteModel(_classes(scene), previous)
        found = [replay(series, model.classes) for series in loaded[scene][0]]
        pixels = []
        for kind in range(KINDS):
            parts = [astuple(part) for kinds in found for part in kinds[kind]]
            pixels.append([torch.from_numpy(np.concatenate(f)) for f in zip(*parts, strict=True)])
        count = f"{len(found)} places, {sum(len(fields[0]) for fields in pixels)} pixels"
        print(f"{_NAMES[scene]}{', date before' * previous}: {count}", file=sys.stderr)
        train(model, pixels, args.iterations)
        weights += model.integers()
    text = module_text(weights)
    if args.out:
        args.out.write_text(text)
    else:
        print(text, end="")
    for scene, (_, excluded) in loaded.items():
        print(f"{_NAMES[scene]}, places not trained on:", file=sys.stderr)
        report(text, excluded)


if __name__ == "__main__":
    main()
