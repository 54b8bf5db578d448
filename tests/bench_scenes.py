"""Small scenes as cube files for the tests of the benchmark, and marks for its peers."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

needs_images = pytest.mark.skipif(
    not importlib.util.find_spec("imagecodecs"), reason="extra `bench` is not installed"
)

needs_sz3 = pytest.mark.skipif(
    not importlib.util.find_spec("pysz"), reason="extra `bench` is not installed"
)

needs_video = pytest.mark.skipif(
    not importlib.util.find_spec("imageio_ffmpeg"), reason="extra `bench` is not installed"
)

BANDS = ("B02", "B04", "B08", "B11")


def smooth_scene(dates=4, size=24, seed=3):
    """A scene (T, 4, H, W): smooth fields that green up, sensor noise, B11 repeated from 20 m."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size
    fields = 1000 + 600 * np.sin(5 * rows) * np.cos(4 * columns) + 300 * (rows > 0.4)
    season = 1 + 0.1 * np.arange(dates)[:, None, None, None]
    gain = np.array([0.5, 0.7, 2.2, 1.5])[None, :, None, None]
    x = fields * gain * season + rng.normal(0, 12, (dates, 4, size, size))
    x[:, 3] = x[:, 3, ::2, ::2].repeat(2, 1).repeat(2, 2)
    return np.rint(x).astype(np.uint16)


def add_clouds(x):
    """Cover a part of the second date and all of the third; returns the mask (T, H, W)."""
    mask = np.zeros((len(x), *x.shape[2:]), np.uint8)
    mask[1, 2:10, 4:15] = 1
    mask[2] = 1
    x[np.broadcast_to(mask[:, None] == 1, x.shape)] += 6000
    x[:, 3] = x[:, 3, ::2, ::2].repeat(2, 1).repeat(2, 2)
    return mask


@pytest.fixture
def cube_file(tmp_path):
    def write(name="field.npz", **arrays):
        path = tmp_path / name
        np.savez(path, **arrays)
        return path

    return write


@pytest.fixture
def field(cube_file):
    x = smooth_scene()
    mask = add_clouds(x)
    dates = ["2024-05-01", "2024-05-06", "2024-05-11", "2024-05-16"]
    return cube_file(x=x, mask=mask, bands=np.array(BANDS), dates=np.array(dates))
