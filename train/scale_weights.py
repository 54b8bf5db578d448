"""Fit how far a token's earlier coefficients move the scales of those that follow.

    PYTHONPATH=train python train/scale_weights.py CUBES --exclude PLACES --effort default

Codes random windows of the cubes with the real encoder front end and an installed model, and prints
`stvc.codec.adaptation.WEIGHTS` for its effort: the least squares solution of ``information *
(moved - score / information)**2`` over all coefficients, which is Newton's step on their code
length. The weights in use are part of the bit stream; others need a new generation. See
train/README.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from cubes import load_cubes, samples

from stvc.codec.adaptation import BANDS, PRIOR, entries, lessons
from stvc.codec.analysis import UnitAnalysis
from stvc.codec.entropy import network_batches
from stvc.codec.prediction import turned_references
from stvc.codec.quantize import SKIPPED
from stvc.codec.widening import choose_widening
from stvc.model.architecture import SCALES
from stvc.model.fast_features import fast_features
from stvc.model.features import FrameSide, unit_features
from stvc.model.weights import EntropyModel, model_for

_UNIT = 128
# ^ scores are differences between two scales up and down, in 1/64 bit


class Fit:
    """Sums of the least squares problem, one unknown per band.

    Parameters
    ----------
    model : EntropyModel
    """

    def __init__(self, model: EntropyModel) -> None:
        self.model = model
        self.power, self.moment = np.zeros(len(BANDS)), np.zeros(len(BANDS))

    def add(
        self, unit: UnitAnalysis, spread: npt.NDArray[np.uint8], frame: FrameSide, _: str
    ) -> None:
        """Take in an analyzed unit; units count alike, whatever their size."""
        gather, given = fast_features, (unit.refs, unit.predicted)
        if self.model.effort != "fast":
            gather, given = unit_features, turned_references(*given, unit.plan.turns)
        features = gather(
            *given,
            unit.steps,
            unit.importance,
            unit.plan.profiles,
            spread,
            frame,
        )
        c, models = len(unit.symbols), self.model.models
        batches = network_batches(
            self.model, features, unit.importance, unit.symbols.reshape(c, -1, 64)
        )
        groups = [(b.component, b.low, b.symbols, b.location, b.scale) for b in batches]
        wider = np.repeat(
            choose_widening(groups, c, models), [high - low for low, high in BANDS], axis=1
        )
        share = 1 / max(sum(b.symbols.size for b in batches), 1)
        learned = lessons(models)
        for k, low, symbols, location, scale in groups:
            columns = slice(low, low + scale.shape[1])
            base = np.clip(scale.astype(np.int64) + wider[k, columns], 0, SCALES - 1)
            table, entry, _ = entries(symbols.astype(np.int64), location, base, models)
            score = learned.scores[entry].astype(float)
            information = learned.information[table].astype(float)
            told = score.cumsum(1) - score
            told /= information.cumsum(1) - information + PRIOR
            power = (np.log(2) * information / _UNIT**2 * told**2).sum(0)
            moment = (score / _UNIT * told).sum(0)
            for band, (start, stop) in enumerate(BANDS):
                mine = slice(max(start - low, 0), max(stop - low, 0))
                self.power[band] += share * power[mine].sum()
                self.moment[band] += share * moment[mine].sum()

    def weights(self) -> npt.NDArray[np.int64]:
        """Weights by band; 0 where nothing comes earlier."""
        some = self.power > 0
        ratio = np.divide(self.moment, self.power, out=np.zeros(len(BANDS)), where=some)
        return np.rint(ratio).astype(np.int64)


def main() -> None:
    """Print the weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cubes", type=Path)
    parser.add_argument("--exclude", nargs="*", default=[], help="places kept for reporting")
    parser.add_argument("--effort", choices=("default", "fast"), default="default")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = model_for(options.effort)
    fit = Fit(model)
    levels_by = model if options.effort == "default" else None

    def take(unit: UnitAnalysis, spread: npt.NDArray[np.uint8], frame: FrameSide, name: str) -> int:
        if (unit.importance != SKIPPED).any():
            fit.add(unit, spread, frame, name)
        return 1

    stop, units = time.monotonic() + 60 * options.minutes, 0
    cubes = load_cubes(options.cubes, options.exclude)
    for count in samples(cubes, options.seed, (130, 250), take, levels_by):
        units += count
        if time.monotonic() > stop:
            break
    print(f"{options.effort}: {tuple(fit.weights().tolist())} from {units} units")


if __name__ == "__main__":
    main()
