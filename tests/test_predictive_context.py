"""What the pixel network sees: alike in C and numpy, and only what was told before."""

from __future__ import annotations

import numpy as np
import pytest
from native_kernels import needs_kernels

from stvc.codec import predictive_context
from stvc.codec.predictive_context import FEATURES, ContextGatherer
from stvc.codec.predictive_layout import Layout, layout_of

SHAPE = (7, 20, 17)
NAMES = (
    "values", "missed", "scales", "cells", "unclear", "each", "correction", "prediction", "scale",
)  # fmt: skip


def step_of(rng: np.random.Generator, layout: Layout, references: int) -> dict[str, np.ndarray]:
    step = int(rng.integers(0, len(layout.starts) - 1))
    cells = layout.cells[layout.starts[step] : layout.starts[step + 1]]
    n = len(cells)
    arrays = (
        rng.integers(0, 65536, layout.size * (1 + references)).astype(np.float64),
        rng.integers(-16384, 16385, layout.size).astype(np.float64),
        rng.integers(0, 200, layout.size).astype(np.float64),
        cells,
        rng.random(n) < 0.5,
        rng.integers(0, 65535 * 8, (4, n)).astype(np.float64),
        rng.integers(-99, 99, n).astype(np.float64),
        rng.integers(0, 65535 * 8, n),
        rng.integers(-20, 340, n),
    )
    return dict(zip(NAMES, arrays, strict=True))


@needs_kernels
@pytest.mark.parametrize("references", [0, 1, 2, 3])
@pytest.mark.parametrize("pitch", [1, 11])
def test_c_and_numpy_gather_alike(
    references: int, pitch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(references)
    layout = layout_of(SHAPE, 5)
    for _ in range(20):
        step = step_of(rng, layout, references)
        gatherer = ContextGatherer(layout, references, pitch)
        found = gatherer.gather(**step)
        with monkeypatch.context() as patch:
            patch.setattr(predictive_context, "kernels", None)
            wanted = gatherer.gather(**step)
        assert found.shape == (len(step["cells"]), FEATURES)
        np.testing.assert_array_equal(found, wanted)


def test_inputs_know_only_what_was_told() -> None:
    rng = np.random.default_rng(1)
    layout = layout_of(SHAPE, 5)
    step = step_of(rng, layout, 1)
    order = np.full(layout.size, -1)
    order[layout.cells] = np.repeat(np.arange(len(layout.starts) - 1), np.diff(layout.starts))
    now = order[step["cells"]].min()
    gatherer = ContextGatherer(layout, 1, 1)
    before = gatherer.gather(**step)
    later = np.flatnonzero(order >= now)
    for name in ("values", "missed", "scales"):
        step[name] = step[name].copy()
        step[name][later] += 17
    np.testing.assert_array_equal(gatherer.gather(**step), before)


def test_brighter_ground_looks_the_same() -> None:
    rng = np.random.default_rng(2)
    layout = layout_of(SHAPE, 5)
    step = step_of(rng, layout, 2)
    step["values"] = np.minimum(step["values"], 30000)
    # ^ the empty planes before the first band stay empty
    seen = step["cells"] // layout.plane > 5
    gatherer = ContextGatherer(layout, 2, 1)
    before = gatherer.gather(**step)
    brighter = {
        "values": step["values"] + 1000,
        "each": step["each"] + 8000,
        "prediction": step["prediction"] + 8000,
    }
    np.testing.assert_array_equal(gatherer.gather(**(step | brighter))[seen], before[seen])


@needs_kernels
def test_kernels_refuse_cells_outside() -> None:
    layout = layout_of(SHAPE, 5)
    step = step_of(np.random.default_rng(3), layout, 1)
    gatherer = ContextGatherer(layout, 1, 1)
    for name, wrong in (
        ("cells", np.full(len(step["cells"]), layout.size)),
        ("cells", np.full(len(step["cells"]), -1)),
        ("cells", np.zeros(len(step["cells"]), np.int64)),
        ("values", step["values"][: layout.size]),
        ("missed", step["missed"][:50]),
        ("each", step["each"][:3]),
        ("unclear", step["unclear"][:-1]),
    ):
        with pytest.raises(ValueError, match="outside|aligned"):
            gatherer.gather(**(step | {name: wrong}))
