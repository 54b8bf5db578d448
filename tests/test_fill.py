"""Don't-care filling: clear pixels stay, hidden ones cost little."""

from __future__ import annotations

import numpy as np
import pytest
import scenes

from stvc.codec.fill import fill_hidden
from stvc.codec.transform import KERNEL, blocks_of


def blocks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Residual blocks (2, N, 64) of textured ground, and cloud masks (N, 64)."""
    rng = np.random.default_rng(seed)
    planes = np.stack([600 * scenes.texture(rng, (48, 48), 1.8) for _ in range(2)])
    hidden = blocks_of(np.stack([scenes.clouds(rng, (48, 48))]))[0].reshape(-1, 64)
    partly = hidden.any(-1) & ~hidden.all(-1)
    return blocks_of(planes).reshape(2, -1, 64)[:, partly].astype(np.float64), hidden[partly]


def cost(residual: np.ndarray, step: float) -> int:
    """Number of coefficients that quantize to something."""
    return int((np.abs(residual.astype(np.float64) @ (KERNEL.T / 2.0**18)) > 0.64 * step).sum())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("step", [60.0, 250.0])
def test_filling_saves_symbols_and_keeps_clear_pixels(seed: int, step: float) -> None:
    residual, hidden = blocks(seed)
    assert len(hidden)
    filled = fill_hidden(residual, hidden, np.full(len(hidden), step, np.float64))
    assert filled.dtype == np.float64
    np.testing.assert_array_equal(filled[:, ~hidden], residual[:, ~hidden])
    level = np.where(hidden, 0, residual).sum(-1) / (~hidden).sum(-1)
    by_mean = np.where(hidden, level[..., None], residual)
    assert cost(filled, step) < cost(by_mean, step)
    assert cost(filled, step) < cost(np.where(hidden, 5000, residual), step)


def test_what_clouds_look_like_does_not_matter() -> None:
    residual, hidden = blocks(7)
    steps = np.full(len(hidden), 100, np.float64)
    other = np.where(hidden, np.float64(4e4), residual)
    np.testing.assert_array_equal(
        fill_hidden(residual, hidden, steps), fill_hidden(other, hidden, steps)
    )


def test_all_hidden_and_all_clear() -> None:
    residual, _ = blocks(8)
    n = residual.shape[1]
    steps = np.full(n, 100, np.float64)
    everything, nothing = np.ones((n, 64), bool), np.zeros((n, 64), bool)
    assert not fill_hidden(residual, everything, steps).any()
    np.testing.assert_array_equal(fill_hidden(residual, nothing, steps), residual)
