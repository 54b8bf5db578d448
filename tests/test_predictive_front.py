"""The walk of the predictive coder in C: the same numbers as in numpy, and no cell outside."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_kernels import needs_kernels, plain

from stvc.codec import predictive, predictive_front_native, predictive_walk
from stvc.codec.predictive_front import Cells, Front
from stvc.codec.predictive_front_native import NativeFront
from stvc.codec.predictive_layout import layout_of
from stvc.native import kernels

pytestmark = needs_kernels


def frames(rng: np.random.Generator, count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Waves and noise, weak to wild, that differ a little from date to date."""
    y, x = np.mgrid[: shape[1], : shape[2]]
    waves = 2000 + 300 * np.sin(x / 3) + 200 * np.cos(y / 5)
    noise = rng.normal(0, rng.choice([3, 40, 3000]), (count, *shape)).cumsum(1)
    return (waves + noise).clip(0, 65535).astype(np.uint16)


def fronts(layout: Any, references: int, generation: int, max_error: int, memory: Any) -> Any:
    rng = np.random.default_rng(references)
    planes = [layout.planes(frame) for frame in frames(rng, 3, layout.shape)[:references]]
    first = np.full(layout.shape[0], 1000.0)
    networked = generation > 4
    for kind in (Front, NativeFront):
        cells = Cells(layout, planes, first)
        front = kind(cells, references, max_error, memory, generation, networked=networked)
        yield cells, front


@pytest.mark.parametrize("generation", [2, 3, 5])
@pytest.mark.parametrize("references", [0, 1, 2, 3])
@pytest.mark.parametrize("max_error", [0, 5, 65535])
def test_c_and_numpy_foresee_and_learn_alike(
    generation: int, references: int, max_error: int
) -> None:
    rng = np.random.default_rng(generation)
    memory = None
    for shape in ((1, 40, 30), (3, 19, 45), (2, 1, 9)):
        layout = layout_of(shape, generation)
        if memory is not None and shape[0] != len(memory.moment):
            memory = None
        (cells, front), (native_cells, native) = fronts(
            layout, references, generation, max_error, memory
        )
        pixels = layout.planes(frames(rng, 1, shape)[0])
        for step in range(len(layout.starts) - 1):
            span = slice(layout.starts[step], layout.starts[step + 1])
            n = span.stop - span.start
            if not n:
                continue
            flagged, shown = rng.random(n) < 0.2, rng.random(n) < rng.choice([0.5, 1])
            wanted, found = front.foresee(step, flagged), native.foresee(step, flagged)
            for name in ("prediction", "scale", "each", "correction"):
                np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
            np.testing.assert_array_equal(native.fill(), front.fill())
            told = np.where(shown, pixels[layout.cells[span]], front.fill())
            front.learn(told, shown)
            native.learn(told, shown)
        for name in ("values", "errors", "signed", "missed", "scales"):
            np.testing.assert_array_equal(getattr(native_cells, name), getattr(cells, name))
        memory = front.memory()
        for name, value in vars(native.memory()).items():
            np.testing.assert_array_equal(value, getattr(memory, name))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 6),
    st.tuples(st.integers(1, 6), st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 3),
    st.sampled_from([0, 5]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 999),
)
def test_series_are_the_same_bytes(
    generation: int,
    shape: tuple[int, int, int],
    references: int,
    max_error: int,
    networked: bool,
    hide: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    series = frames(rng, references + 2, shape)
    hidden = rng.random(shape[1:]) < 0.2 if hide else None
    unclear = rng.random(shape[1:]) < 0.1

    def coded() -> list[tuple[bytes, bytes]]:
        memory: Any = ()
        known: list[np.ndarray] = []
        found = []
        for pixels in series:
            settings = {"hidden": hidden, "unclear": unclear, "max_error": max_error}
            settings |= {"memory": memory, "generation": generation}
            encoded = predictive.encode(pixels, known[:references], networked=networked, **settings)
            decoded, memory = predictive.decode(
                encoded.payload, pixels.shape, known[:references], **settings
            )
            np.testing.assert_array_equal(decoded, encoded.decoded)
            known.insert(0, decoded)
            found.append((encoded.payload, decoded.tobytes()))
        return found

    assert coded() == plain(coded, predictive_walk)


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """What a `PixelWalk` is made of."""
    assert kernels is not None
    given: list[tuple[Any, ...]] = []
    recorder = SimpleNamespace(
        walk_room=kernels.walk_room, PixelWalk=lambda *arguments: given.append(arguments)
    )
    with monkeypatch.context() as patch:
        patch.setattr(predictive_front_native, "kernels", recorder)
        cells = Cells(layout_of((2, 12, 15), 5), [], np.zeros(2))
        NativeFront(cells, 0, 0, None, 5, networked=True)
    return given[0]


def test_arrays_of_other_sizes_are_refused(arguments: tuple[Any, ...]) -> None:
    assert kernels is not None
    kernels.PixelWalk(*arguments)
    for k, array in enumerate(arguments[1:], 1):
        shorter = array.reshape(-1)[:-1].copy()
        with pytest.raises(ValueError, match="outside|aligned"):
            kernels.PixelWalk(*arguments[:k], shorter, *arguments[k + 1 :])


@pytest.mark.parametrize(
    ("position", "value"),
    [
        *((0, value) for value in (0, 3, 1 << 40)),
        *((1, value) for value in (-1, 13)),
        (2, 1 << 21),
        *((3, value) for value in (-1, 1, 4)),
        *((4, value) for value in (15, 129)),
        *((5, value) for value in (15, 1000)),
        *((6, value) for value in (-1, 1 << 16)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    arguments: tuple[Any, ...], position: int, value: int
) -> None:
    assert kernels is not None
    shape = list(arguments[0])
    shape[position] = value
    with pytest.raises(ValueError, match="outside|aligned"):
        kernels.PixelWalk(tuple(shape), *arguments[1:])


@pytest.mark.parametrize("which", range(1, 9))
@pytest.mark.parametrize("value", [-1, -(1 << 62), 1 << 62, 1 << 20])
def test_indexes_outside_are_refused(arguments: tuple[Any, ...], which: int, value: int) -> None:
    """Cells, where steps, bands and margins begin, margins, offsets, groups."""
    assert kernels is not None
    array = arguments[which]
    for at in (0, array.size // 2, array.size - 1):
        wrong = array.copy()
        wrong.reshape(-1)[at] = value
        if which == 7 and value == -1:
            continue  # an offset like others
        with pytest.raises(ValueError, match="outside"):
            kernels.PixelWalk(*arguments[:which], wrong, *arguments[which + 1 :])


def test_steps_are_taken_one_by_one(arguments: tuple[Any, ...]) -> None:
    assert kernels is not None
    walk = kernels.PixelWalk(*arguments)
    n = 1
    given = np.ones(n, bool), np.empty(n, np.int64), np.empty(n, np.int64), np.empty((4, n))
    for step in (-1, 1 << 40, 39 + 7):
        with pytest.raises(ValueError, match="outside|aligned"):
            walk.foresee(step, *given, np.empty(n))
    with pytest.raises(ValueError, match="outside|aligned"):
        walk.learn(np.empty(n), np.ones(n, bool))
    with pytest.raises(ValueError, match="outside"):
        walk.fill(np.empty(0))
    for k in range(4):
        wrong = [*given, np.empty(n)]
        wrong[k] = np.repeat(wrong[k], 2)
        with pytest.raises(ValueError, match="aligned"):
            walk.foresee(0, *wrong)
    walk.foresee(0, *given, np.empty(n))
    with pytest.raises(ValueError, match="aligned"):
        walk.learn(np.empty(n), np.ones(2, bool))
    with pytest.raises(ValueError, match="aligned"):
        walk.fill(np.empty(2))
    walk.learn(np.zeros(n), np.ones(n, bool))
    with pytest.raises(ValueError, match="outside|aligned"):
        walk.learn(np.zeros(n), np.ones(n, bool))
