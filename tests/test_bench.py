"""The benchmark: what it reads, how peers are prepared, and that its numbers are real."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import bench
from bench_peers import cubes, images, measure, prepare, registry, report, spectral, stvc_codec

from stvc.dataset import dataset_from_series
from stvc.errors import CorruptInputError
from stvc.metrics import distortion

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


def _field(dates=4, size=24, seed=3):
    """A scene (T, 4, H, W): smooth fields that green up, sensor noise, B11 repeated from 20 m."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size
    fields = 1000 + 600 * np.sin(5 * rows) * np.cos(4 * columns) + 300 * (rows > 0.4)
    season = 1 + 0.1 * np.arange(dates)[:, None, None, None]
    gain = np.array([0.5, 0.7, 2.2, 1.5])[None, :, None, None]
    x = fields * gain * season + rng.normal(0, 12, (dates, 4, size, size))
    x[:, 3] = x[:, 3, ::2, ::2].repeat(2, 1).repeat(2, 2)
    return np.rint(x).astype(np.uint16)


def _clouds(x):
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
    x = _field()
    mask = _clouds(x)
    dates = ["2024-05-01", "2024-05-06", "2024-05-11", "2024-05-16"]
    return cube_file(x=x, mask=mask, bands=np.array(BANDS), dates=np.array(dates))


# --- cubes


def test_repeated_20_m_bands_go_back_to_their_grid(field):
    cube = cubes.load_cube(field)
    x = np.load(field)["x"]
    assert [grid.bands for grid in cube.series.grids] == [("B02", "B04", "B08"), ("B11",)]
    assert [grid.gsd for grid in cube.series.grids] == [10, 20]
    assert np.array_equal(cube.series.pixels[0], x[:, :3])
    assert np.array_equal(cube.series.pixels[1], x[:, 3:, ::2, ::2])
    assert cube.samples == 4 * (3 * 24 * 24 + 12 * 12)
    # one hidden 10 m pixel hides the 20 m pixel around it
    assert np.array_equal(cube.hidden[1], cube.hidden[0].reshape(4, 12, 2, 12, 2).any((2, 4)))
    as_is = cubes.load_cube(field, cubes.Cut(native=False))
    assert as_is.shape == "4x(4x24x24)"


@pytest.mark.parametrize("change", ["one pixel differs", "a 10 m band", "an odd size"])
def test_other_bands_stay_where_they_are(cube_file, change):
    x, bands = _field(), list(BANDS)
    if change == "one pixel differs":
        x[3, 3, 23, 23] += 1
    elif change == "a 10 m band":
        bands[3] = "B03"
    else:
        x = x[..., :23]
    cube = cubes.load_cube(cube_file(x=x, bands=np.array(bands)))
    assert [len(grid.bands) for grid in cube.series.grids] == [4]
    assert np.array_equal(cube.series.pixels[0], x)


def test_netcdf_reads_like_npz(field, tmp_path):
    pytest.importorskip("netCDF4")
    cube = cubes.load_cube(field)
    path = tmp_path / "field.nc"
    ds = dataset_from_series(cube.series)
    ds["mask"] = ds["mask"].astype("u1")
    ds.to_netcdf(path)
    again = cubes.load_cube(path)
    assert again.series.grids[1].bands == ("B11",)
    for a, b in zip(
        cube.series.pixels + cube.hidden, again.series.pixels + again.hidden, strict=True
    ):
        assert np.array_equal(a, b)


def test_scene_classes_hide_clouds_and_shadows(cube_file):
    scl = np.full((4, 24, 24), 4, np.uint8)
    scl[0, :2, 0], scl[0, :2, 1], scl[0, :2, 2] = 9, 3, 11  # cloud, shadow, snow
    cube = cubes.load_cube(cube_file(x=_field(), scl=scl))
    assert cube.series.mask.kind == "SCL"
    assert cube.hidden[0].sum() == 4
    assert cube.hidden[0][0, 0].tolist()[:3] == [True, True, False]


def test_dates_are_sorted_and_made_up_where_unknown(cube_file):
    x = _field()
    day = np.timedelta64(86400, "s")
    known = cubes.load_cube(
        cube_file(x=x, dates=np.array(["2024-05-11", "2024-05-01", "2024-05-11", "2024-06-01"]))
    )
    assert np.array_equal(known.series.pixels[0], x[[1, 0, 2, 3]])
    assert np.diff(known.series.times).tolist() == [
        10 * day,
        np.timedelta64(1, "s"),
        21 * day - np.timedelta64(1, "s"),
    ]
    unknown = cubes.load_cube(cube_file(x=x))
    assert set(np.diff(unknown.series.times)) == {5 * day}
    seasons = cubes.load_cube(cube_file(x=x, dates=np.array([f"season{i}" for i in range(4)])))
    assert set(np.diff(seasons.series.times)) == {91 * day}


def test_a_crop_keeps_to_the_edges_of_coarse_pixels(field):
    cube = cubes.load_cube(field, cubes.Cut(dates=2, crop=9))
    x = np.load(field)["x"]
    assert cube.shape == "2x(3x10x10+1x5x5)"
    assert np.array_equal(cube.series.pixels[0], x[:2, :3, 6:16, 6:16])
    assert np.array_equal(cube.series.pixels[1], x[:2, 3:, 6:16:2, 6:16:2])
    assert cube.hidden[0].shape == (2, 10, 10)
    assert cube.series.grids[1].x[0] == (cube.series.grids[0].x[0] + cube.series.grids[0].x[1]) / 2


def test_a_group_is_chosen_by_native_resolution(field):
    assert cubes.load_cube(field, cubes.Cut(group="20")).shape == "4x(1x12x12)"
    with pytest.raises(CorruptInputError, match="nothing is left"):
        cubes.load_cube(field, cubes.Cut(group="60"))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.zeros(3)}, "x is not a file"),
        ({"x": np.zeros((2, 3, 4, 4), np.float32)}, "float32"),
        ({"x": np.zeros((3, 4, 4), np.uint16)}, "expected uint16"),
    ],
)
def test_what_is_no_cube_is_named(cube_file, arrays, words):
    with pytest.raises(CorruptInputError, match=words):
        cubes.load_cube(cube_file(**arrays))


def test_cubes_are_found_in_folders_and_packages(field, tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("no cube")
    assert cubes.find_cubes([str(tmp_path)]) == [field]
    assert cubes.find_cubes([str(field), str(tmp_path)]) == [field, field]
    with pytest.raises(CorruptInputError, match="nowhere"):
        cubes.find_cubes(["nowhere"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CorruptInputError, match="pip install"):
        cubes.find_cubes(["sample"])


# --- what peers do before they code


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
    x = _field(size=32)
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


# --- codecs


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
    cube = cubes.load_cube(cube_file(x=_field(dates=2, size=64)))
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
    x = _field(size=64)
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
    "name", ["x265-klt-fill", "x265-klt-intra-inpaint", "av1-klt-fill", "av1-klt-intra-inpaint"]
)
def test_video_peers_decode_odd_sizes(cube_file, name):
    x = _field(dates=3, size=66)[..., :65]
    cube = cubes.load_cube(cube_file(x=x, bands=np.array(BANDS)))
    row = measure.measure_point(registry.CODECS[name](), cube, 4)
    assert row["psnr_all"] > 50
    assert row["bytes"] < row["raw_bytes"] / 4


def test_a_failing_parameter_is_reported_and_the_rest_goes_on(field, monkeypatch):
    def encode(piece, bound, _step):
        if bound == 60:
            raise ValueError("bound too large")
        return (piece // 48 * 48 + 24).tobytes()

    raw = images.Pieces("plane", encode, lambda payload, shape: np.frombuffer(payload, np.uint16))
    monkeypatch.setitem(registry.CODECS, "raw", lambda: registry.Peer(raw, "image", (9, 24, 60)))
    rows, problems = measure.measure_codec(field, cubes.Cut(), "raw", measure.Plan((45.0,)))
    assert [row["parameter"] for row in rows] == [24]
    assert rows[0]["bytes"] == rows[0]["raw_bytes"] + 2 * 8  # the shapes of two groups
    assert problems == ["raw at 60: ValueError: bound too large"]


# --- stvc itself


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


# --- sweeps, tables, command line


def _points(codec, pairs, **more):
    return [
        {
            "dataset": "field",
            "shape": "1x(1x2x2)",
            "codec": codec,
            "mode": "image",
            "bounded": False,
            "parameter": rate,
            "bpppb": rate,
            "psnr_clear": psnr,
            "sam_deg": 60 - psnr,
            "ndvi_mae": None,
            "max_error_clear": 10,
            "raw_bytes": 3e6,
            "encode_s": 1.5,
            "encode_cpu_s": 1.0,
            "decode_s": 0.5,
            "decode_cpu_s": 1.0,
            "peak_rss_mb": 50.0,
            "lossless": False,
        }
        | more
        for rate, psnr in pairs
    ]


@pytest.mark.parametrize(
    ("low", "high", "measured"),
    [
        (44, 46, {42, 45, 48}),
        (45, 45, {45}),
        (40, 46, {39, 42, 45, 48}),
        (50, 50, {45, 48, 51}),
        (20, 99, {54, 51, 48, 45, 42, 39, 36}),
    ],
)
def test_a_sweep_covers_the_range_and_no_more(low, high, measured):
    seen = set()

    def row(parameter):
        seen.add(parameter)
        return {"psnr_clear": float(parameter), "lossless": False}

    measure.walk((54, 51, 48, 45, 42, 39, 36), low, high, row)
    assert seen == measured


def test_the_table_says_what_the_rows_say():
    old = _points("old", [(1.0, 40.0), (2.0, 50.0), (3.0, 60.0)])
    new = _points("new", [(0.5, 40.0), (1.0, 50.0), (1.5, 60.0)])
    short = _points("short", [(1.5, 47.0), (1.8, 49.0)])
    table = report.markdown(old + new + short, (42, 50, 56), (), "old")
    cells = {
        line.split(" | ")[0][2:]: [c.strip(" |") for c in line.split(" | ")]
        for line in table.splitlines()
        if line.startswith("| ")
    }
    assert list(cells)[2:] == ["new", "old", "short"]  # cheapest at 50 dB first
    assert cells["new"][3] == "1.000"
    assert cells["new"][5:9] == ["-50.0 %", "10.000°", "-", "10"]
    assert cells["new"][9:12] == ["2 (3)", "6 (3)", "50"]
    assert cells["old"][5] == "+0.0 %"
    assert cells["short"][2:5] == ["-", "-", "-"]
    assert cells["short"][5].endswith("(47-49 dB)")


def test_a_broken_bound_is_called_out():
    honest = _points("honest", [(2.0, 70.0)], bounded=True, parameter=10, max_error_clear=10)
    liar = _points("liar", [(1.0, 60.0)], bounded=True, parameter=10, max_error_clear=11)
    table = report.markdown(honest + liar, (42, 56), (10,), "honest")
    assert "| honest | 2.000 |" in table
    assert "| liar | 1.000 BROKEN: 11 |" in table


@needs_images
def test_the_command_line_from_cube_to_json_and_plot(field, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = ["--cubes", str(field), "--dates", "2", "--psnr", "45,50"]
    first, second, picture = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "rd.png"
    assert bench.main([*run, "--codecs", "JPEGLS", "--bounds", "0,5", "--json", str(first)]) == 0
    capsys.readouterr()
    assert (
        bench.main(
            [
                *run,
                "--codecs",
                "jpeg2000",
                "--reference",
                "JPEG2000",
                "--with",
                str(first),
                "--json",
                str(second),
                "--plot",
                str(picture),
            ]
        )
        == 0
    )
    table = capsys.readouterr().out
    assert "| jpeg2000 | image |" in table
    assert "| jpegls | image |" in table
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = json.loads(second.read_text(), parse_constant=pytest.fail)["rows"]
    assert {row["codec"] for row in rows} == {"jpegls", "jpeg2000"}
    for row in rows:
        assert row["bpppb"] == pytest.approx(8 * row["bytes"] / (2 * (3 * 24 * 24 + 144)))
    assert [row["psnr_clear"] for row in rows if row["lossless"]] == [None]
    psnrs = [row["psnr_clear"] for row in rows if row["codec"] == "jpeg2000"]
    assert min(psnrs) <= 45
    assert max(psnrs) >= 50


def test_a_missing_peer_is_one_line(field, monkeypatch):
    def missing():
        raise ImportError("No module named 'imagecodecs'")

    monkeypatch.setitem(registry.CODECS, "lerc", missing)
    rows, problems = measure.measure_codec(field, cubes.Cut(), "lerc", measure.Plan((45.0,)))
    assert rows == []
    assert problems == ["lerc: not available, skipped (No module named 'imagecodecs')"]


def _die(*_):
    os._exit(3)


def test_a_codec_that_crashes_takes_nothing_with_it(field, monkeypatch):
    monkeypatch.setattr(measure, "measure_codec", _die)
    rows, problems = measure.measure_apart(field, cubes.Cut(), "lerc", measure.Plan((45.0,)))
    assert (rows, problems) == ([], ["lerc: its process died"])


@pytest.mark.parametrize(
    "arguments", [["--codecs", "stvc,zip"], ["--dates", "0"], ["--psnr", "45,x"], ["--group", "30"]]
)
def test_wrong_options_are_refused(field, arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(["--cubes", str(field), *arguments])
    assert stop.value.code == 2
    assert "error: argument" in capsys.readouterr().err


def test_a_missing_cube_is_one_line(capsys):
    assert bench.main(["--cubes", "nowhere.npz", "--codecs", "lerc"]) == 65
    error = capsys.readouterr().err
    assert error == "bench: nowhere.npz: no such cube file, nor a folder with any\n"
