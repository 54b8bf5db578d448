"""The codecs of the benchmark: they keep their bounds, and no byte goes uncounted."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bench_scenes import BANDS, cube_file, field, needs_images, needs_sz3, needs_video, smooth_scene

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from bench_peers import cubes, measure, registry, stvc_codec

from stvc.dataset import dataset_from_series  # noqa: F401, before `stvc` is stood in for
from stvc.metrics import distortion

__all__ = ["cube_file", "field"]


@needs_images
@pytest.mark.parametrize(
    "name",
    [
        "jpegls",
        "lerc",
        pytest.param("sz3", marks=needs_sz3),
        pytest.param("sz3-3d", marks=needs_sz3),
    ],
)
@pytest.mark.parametrize("bound", [0, 3, 40])
def test_bounded_peers_keep_their_bound(field, name, bound):
    cube = cubes.load_cube(field)
    row = measure.measure_point(registry.CODECS[name](), cube, bound)
    assert row["bounded"]
    assert row["max_error_all"] <= bound
    assert row["lossless"] == (bound == 0)
    assert row["bytes"] < row["raw_bytes"]


@needs_images
@pytest.mark.parametrize("psnr", [42, 50, 58])
def test_jpeg2000_comes_near_the_psnr_it_is_asked_for(cube_file, psnr):
    cube = cubes.load_cube(cube_file(x=smooth_scene(dates=2, size=64)))
    row = measure.measure_point(registry.CODECS["jpeg2000"](), cube, psnr)
    assert abs(row["psnr_all"] - psnr) < 4  # OpenJPEG stops at the end of a coding pass
    assert row["psnr_clear"] == row["psnr_all"]
    assert row["rmse_clear"] == pytest.approx(10000 * 10 ** (-row["psnr_clear"] / 20))


@needs_images
@pytest.mark.parametrize("name", ["jpeg2000-klt-inpaint", "jpegxl", "jpegxl-lossless"])
def test_decoding_needs_nothing_but_the_counted_bytes(field, name):
    cube = cubes.load_cube(field)
    codec = registry.CODECS[name]()
    encoded = codec.encode(cube, 60 if name.startswith("jpeg2000") else 0.02)
    decoded = registry.CODECS[name]().decode(pickle.loads(pickle.dumps(encoded)))
    assert len(pickle.dumps(encoded)) < encoded.nbytes + 1500  # no stowaways
    for original, frames, hidden in zip(cube.series.pixels, decoded, cube.hidden, strict=True):
        assert frames.dtype == np.uint16
        assert distortion(original, frames, ~hidden).psnr > 50


@needs_images
def test_clouds_cost_less_once_they_are_inpainted(cube_file):
    x = smooth_scene(size=64)
    mask = np.zeros((4, 64, 64), np.uint8)
    mask[:, :40] = 1
    x[:, :, :40] = np.random.default_rng(0).integers(2000, 9000, (4, 1, 40, 64))
    cube = cubes.load_cube(cube_file(x=x, mask=mask))
    plain, aware = (
        measure.measure_point(registry.CODECS[name](), cube, 54)
        for name in ("jpeg2000-klt", "jpeg2000-klt-inpaint")
    )
    assert aware["bytes"] < 0.8 * plain["bytes"]
    assert aware["psnr_all"] < 30 < 50 < aware["psnr_clear"]


@needs_video
@pytest.mark.parametrize(
    "name",
    [f"{name}-klt-{how}" for name in ("x265", "av1", "vvenc") for how in ("fill", "intra-inpaint")],
)
def test_video_peers_decode_odd_sizes(cube_file, name):
    x = smooth_scene(dates=3, size=66)[..., :65]
    cube = cubes.load_cube(cube_file(x=x, bands=np.array(BANDS)))
    row = measure.measure_point(registry.CODECS[name](), cube, 4)
    assert row["psnr_all"] > 50
    assert row["bytes"] < row["raw_bytes"] / 4


def test_stvc_is_measured_by_its_file_alone(field, tmp_path, monkeypatch):
    """With a stand-in for the API that keeps pixels in a file, and a cache that must stay empty."""
    calls = []

    def encode(ds, path, *, cache_dir, **quality):
        calls.append(quality)
        assert not cache_dir.exists()
        Path(path).write_bytes(pickle.dumps(ds))

    def open_archive(path):
        assert not Path(os.environ["STVC_CACHE_DIR"]).exists()
        return SimpleNamespace(to_xarray=lambda: pickle.loads(Path(path).read_bytes()))

    monkeypatch.setitem(sys.modules, "stvc", SimpleNamespace(encode=encode, open=open_archive))
    cube = cubes.load_cube(field)
    before = os.environ.get("STVC_CACHE_DIR")
    for bounded, parameter in ((False, 48.0), (True, 5), (True, 0)):
        row = measure.measure_point(stvc_codec.StvcCodec(bounded), cube, parameter)
        assert row["lossless"]
        assert row["bytes"] > row["raw_bytes"]
    assert calls == [{"psnr": 48.0}, {"max_error": 5}, {"lossless": True}]
    assert os.environ.get("STVC_CACHE_DIR") == before
