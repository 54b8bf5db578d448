"""Refit a model's frequency tables to the symbols that it really codes.

    python train/symbol_tables.py CUBES --model ID --out models/ --name ct5 [--exclude PLACE ...]

Training shapes the distribution of symbols by two numbers, a mixture of two logistics; what
encoders choose is spread a little otherwise. Counts of random windows, on top of the old tables,
give new ones: a model with an id of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from cubes import Cube, load_cubes, samples
from export import write_model
from safetensors import safe_open

from stvc.codec.adaptation import entries
from stvc.codec.analysis import UnitAnalysis
from stvc.codec.network_coding import NetworkCoding, code_unit
from stvc.codec.quantize import SKIPPED
from stvc.codec.tables import DIRECT_SCALES, FRACTIONS, TOTAL, Tables
from stvc.model.features import FrameSide, unit_features
from stvc.model.weights import EntropyModel, load_model, model_folders

TRUST = 2000
"""Symbols that the old table of a scale counts for."""


class Counts:
    """How often each entry of each table is used.

    Parameters
    ----------
    model : EntropyModel
    """

    def __init__(self, model: EntropyModel) -> None:
        self.model = model
        self.found = np.zeros(len(model.models.tables.frequencies), np.int64)
        self.bits = 0.0

    def add(
        self, unit: UnitAnalysis, spread: npt.NDArray[np.uint8], frame: FrameSide, _: str
    ) -> None:
        """Take in an analyzed unit whose levels the model chose."""
        if (unit.importance == SKIPPED).all():
            return
        features = unit_features(
            unit.refs,
            unit.predicted,
            unit.steps,
            unit.importance,
            unit.plan.profiles,
            spread,
            frame,
        )
        coding = code_unit(unit, features, self.model)
        assert isinstance(coding, NetworkCoding)
        for batch in coding.batches:
            symbols, location, scale = (np.reshape(x, -1).astype(np.int64) for x in batch[:3])
            _, entry, _ = entries(symbols, location, scale, self.model.models)
            self.found += np.bincount(entry, minlength=len(self.found))

    def saved(self, tables: Tables) -> float:
        """Share of the bits of what was counted that other tables save."""
        before = -np.log2(self.model.models.tables.frequencies / TOTAL) @ self.found
        return float(1 + np.log2(tables.frequencies / TOTAL) @ self.found / before)


def refitted(tables: Tables, counts: npt.NDArray[np.int64]) -> Tables:
    """Blend tables with counts; those of opposite fractions, which are mirror images, together."""
    out = tables.frequencies.copy()
    for fraction in range(FRACTIONS):
        for scale in range(DIRECT_SCALES):
            table = fraction * DIRECT_SCALES + scale
            mine = slice(tables.starts[table], tables.starts[table + 1])
            seen = counts[mine].astype(np.float64)
            if fraction:
                other = (FRACTIONS - fraction) * DIRECT_SCALES + scale
                mirror = counts[tables.starts[other] : tables.starts[other + 1]]
                seen += np.append(mirror[-2::-1], mirror[-1])
            old = tables.frequencies[mine]
            share = (TRUST * old / TOTAL + seen) / (TRUST + seen.sum())
            new = np.maximum(np.floor(share * (TOTAL - len(old))), 0).astype(np.int32) + 1
            new[share.argmax()] += TOTAL - new.sum()
            out[mine] = new
    return replace(tables, frequencies=out)


def counted(model: EntropyModel, places: list[Cube], minutes: float, seed: int) -> Counts:
    """Code random windows of cubes for some minutes."""
    counts = Counts(model)
    start = time.time()
    for _ in samples(places, seed, shape=counts.add, levels_by=model):
        if time.time() - start > 60 * minutes:
            break
    return counts


def main() -> None:
    """Count, refit, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cubes", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--exclude", nargs="*", default=[], help="places kept for reporting")
    parser.add_argument("--validate", nargs="*", default=[], help="places watched, never used")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(options.model)
    places = load_cubes(options.cubes, options.exclude + options.validate)
    counts = counted(model, places, options.minutes, options.seed)
    tables = refitted(model.models.tables, counts.found)
    print(f"saves {counts.saved(tables):.4f} of {counts.found.sum()} symbols' bits")
    if options.validate:
        others = load_cubes(options.cubes, options.exclude)
        places = [c for c in others if any(word in c.name for word in options.validate)]
        watched = counted(model, places, options.minutes / 4, options.seed + 1)
        print(f"saves {watched.saved(tables):.4f} on watched places")
    (path,) = (
        folder / f"{options.model}.safetensors"
        for folder in model_folders()
        if (folder / f"{options.model}.safetensors").is_file()
    )
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        trained = json.loads(file.metadata().get("trained", "{}"))
    tensors["tables.frequencies"] = torch.from_numpy(tables.frequencies)
    config = model.large_network.config
    print(write_model(tensors, config, options.out, options.name, trained))


if __name__ == "__main__":
    main()
