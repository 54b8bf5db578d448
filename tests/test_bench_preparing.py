"""What peers of the benchmark do before they code: filling under clouds, and the KLT."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from bench_scenes import BANDS, cube_file, field, smooth_scene
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from bench_peers import cubes, prepare, spectral

from stvc.metrics import distortion

__all__ = ["cube_file", "field"]


@given(hnp.arrays(np.uint16, (5, 2, 2, 3)), hnp.arrays(np.bool_, (5, 2, 3)))
def test_temporal_fill_is_the_last_clear_value(pixels, hidden):
    filled = prepare.fill_temporal(pixels, hidden)
    for i, j in np.ndindex(2, 3):
        clear = [t for t in range(5) if not hidden[t, i, j]]
        for t in range(5):
            before = [u for u in clear if u <= t]
            origin = before[-1] if before else clear[0] if clear else t
            assert filled[t, :, i, j].tolist() == pixels[origin, :, i, j].tolist()


@given(st.integers(1, 13), st.integers(1, 13), st.data())
def test_inpainting_stays_between_the_clear_pixels(height, width, draw):
    pixels = draw.draw(hnp.arrays(np.uint16, (2, 2, height, width)))
    hidden = draw.draw(hnp.arrays(np.bool_, (2, height, width)))
    filled = prepare.inpaint_spatial(pixels, hidden)
    for t in range(2):
        assert np.array_equal(filled[t][:, ~hidden[t]], pixels[t][:, ~hidden[t]])
        if (~hidden[t]).any():
            known = pixels[t][:, ~hidden[t]]
            assert (filled[t].min((1, 2)) >= known.min(1)).all()
            assert (filled[t].max((1, 2)) <= known.max(1)).all()


def test_inpainting_continues_a_slope_and_bridges_lost_dates():
    ramp = np.broadcast_to(100 * np.arange(32, dtype=np.uint16), (2, 1, 32, 32)).copy()
    hidden = np.zeros((2, 32, 32), bool)
    hidden[0, 12:20, 12:20] = hidden[1] = True
    filled = prepare.inpaint_spatial(
        np.where(hidden[:, None], 60000, ramp).astype(np.uint16), hidden
    )
    assert np.abs(filled[0].astype(int) - ramp[0]).max() < 300
    assert np.unique(filled[1]).size == 1
    assert abs(int(filled[1].max()) - 1550) < 10


def test_klt_decorrelates_each_native_resolution_by_itself(cube_file):
    x = smooth_scene(size=32)
    x[:, 3] += np.random.default_rng(1).integers(0, 9, x[:, 3].shape).astype(np.uint16)
    cube = cubes.load_cube(cube_file(x=x, bands=np.array(BANDS)))
    transform, (codes,) = spectral.forward(cube.series.pixels, cube, bits=16)
    basis = transform.bases[0].astype(float)
    assert np.allclose(basis.T @ basis, np.eye(4), atol=1e-5)
    is_20_m = np.abs(basis[3]) > 1e-6
    assert is_20_m.sum() == 1
    assert np.array_equal(np.abs(basis[:, is_20_m]).ravel(), [0, 0, 0, 1])
    ten = codes[:, ~is_20_m].transpose(1, 0, 2, 3).reshape(3, -1).astype(float)
    off = np.cov(ten) - np.diag(np.diag(np.cov(ten)))
    assert np.abs(off).max() < 1e-2 * np.cov(ten).max()
    assert transform.nbytes == 4 * (4 + 16 + 4) + 4


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_klt_is_exact_up_to_its_step(field, bits):
    cube = cubes.load_cube(field)
    transform, codes = spectral.forward(cube.series.pixels, cube, bits)
    assert max(int(group.max()) for group in codes) < 2**bits
    assert transform.step >= 1
    for original, decoded in zip(cube.series.pixels, transform.inverse(codes), strict=True):
        bound = transform.step / 2 * np.sqrt(original.shape[1]) + 0.6
        assert distortion(original, decoded).largest <= bound
