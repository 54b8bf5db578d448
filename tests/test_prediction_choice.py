"""What a unit is predicted from: the walk down to a shift (encoder only)."""

from __future__ import annotations

import numpy as np
import pytest
import scenes
from native_kernels import plain

from stvc.codec import prediction_choice, registration
from stvc.codec.prediction import reference_coefficients
from stvc.codec.prediction_choice import choose_plan
from stvc.codec.quantize import step_size
from stvc.codec.references import ReferenceState
from stvc.codec.registration import MAX_SHIFT
from stvc.codec.spectral import Klt, fit_klt
from stvc.codec.transform import forward

SIDE, STEP_INDEX, DAY = 64, 180, 18_000
NOTHING_HIDDEN = np.zeros((SIDE, SIDE), bool)
IMPORTANCE = np.zeros((SIDE // 8, SIDE // 8), np.uint8)


def moved_pair(seed: int, shift: tuple[int, int]) -> tuple[np.ndarray, Klt, ReferenceState]:
    """A frame, and a state that holds it before it was moved by eighths of a pixel."""
    rng = np.random.default_rng(seed)
    textures = np.stack([scenes.texture(rng, (SIDE, SIDE)) for _ in range(2)])
    mixing = rng.normal(0, 1, (3, 2)) * (420, 150) + (300, 0)

    def frame(dy: float, dx: float) -> np.ndarray:
        planes = 1500 + np.tensordot(mixing, scenes.moved(textures, dy, dx), 1)
        planes += rng.normal(0, 4, planes.shape)
        return np.clip(np.rint(planes), 1, 9999).astype(np.uint16)

    before, now = frame(0, 0), frame(shift[0] / 8, shift[1] / 8)
    klt = fit_klt(before.reshape(3, -1).T)
    state = ReferenceState(klt.mean, (SIDE, SIDE))
    state.update(before, NOTHING_HIDDEN, DAY - 5, (0, 0))
    return now, klt, state


def chosen(now: np.ndarray, klt: Klt, state: ReferenceState) -> tuple[int, int]:
    components = klt.forward(now)
    given = components, forward(components), state, klt, STEP_INDEX, DAY, IMPORTANCE
    return choose_plan(*given, ~NOTHING_HIDDEN)[0]


def cost(now: np.ndarray, klt: Klt, state: ReferenceState, shift: tuple[int, int]) -> float:
    refs = reference_coefficients(state, klt, shift, DAY)
    probes = np.arange(IMPORTANCE.size)
    target = forward(klt.forward(now))
    return prediction_choice.choose_prediction(target, refs, probes, int(step_size(STEP_INDEX)))[2]


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-6, 5), (1, 0), (11, 7)])
@pytest.mark.parametrize("off", [(0, 0), (2, -1), (-3, 3)])
def test_a_shift_is_found_though_the_estimate_is_off(
    shift: tuple[int, int], off: tuple[int, int], monkeypatch
) -> None:
    now, klt, state = moved_pair(3, shift)
    estimate = shift[0] + off[0], shift[1] + off[1]
    monkeypatch.setattr(prediction_choice, "estimate_shift", lambda *_: estimate)
    found = chosen(now, klt, state)
    assert np.abs(np.subtract(found, shift)).max() <= 1
    assert cost(now, klt, state, found) <= cost(now, klt, state, estimate)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_chosen_costs_no_more_than_no_shift(seed: int) -> None:
    now, klt, state = moved_pair(seed, (seed, 2 - seed))
    found = chosen(now, klt, state)
    assert cost(now, klt, state, found) <= cost(now, klt, state, (0, 0))


def test_a_walk_stays_within_what_can_be_said(monkeypatch) -> None:
    now, klt, state = moved_pair(5, (MAX_SHIFT + 6, -MAX_SHIFT - 6))
    monkeypatch.setattr(prediction_choice, "estimate_shift", lambda *_: (MAX_SHIFT, -MAX_SHIFT))
    found = chosen(now, klt, state)
    assert np.abs(found).max() <= MAX_SHIFT


def test_a_place_that_does_not_move_keeps_no_shift(monkeypatch) -> None:
    now, klt, state = moved_pair(6, (0, 0))
    monkeypatch.setattr(prediction_choice, "estimate_shift", lambda *_: (5, 5))
    assert chosen(now, klt, state) == (0, 0)


@pytest.mark.parametrize("deeper", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_shifts_are_chosen_alike_without_kernels(
    deeper: bool, background: bool, monkeypatch
) -> None:
    now, klt, state = moved_pair(7, (4, -3))
    monkeypatch.setattr(prediction_choice, "estimate_shift", lambda *_: (2, -1))
    if background:
        older = ReferenceState(klt.mean, (SIDE, SIDE), background=state.recent.copy())
        older.update(state.recent, NOTHING_HIDDEN, DAY - 9, (1, 0))
        state = older
    if deeper:
        state.update(state.recent + 7, NOTHING_HIDDEN, DAY - 2, (0, 0))
    found = chosen(now, klt, state)
    assert found != (0, 0)
    assert plain(lambda: chosen(now, klt, state), prediction_choice, registration) == found
