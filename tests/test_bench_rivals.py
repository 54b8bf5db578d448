"""The benchmark's learned rivals, its variants of stvc, its tables of speed and of all pixels."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import scenes
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "train"))

from bench_peers import cubes, learned, measure, registry, report
from rivals import coding, model, windows
from rivals import train as training

import stvc

KINDS = ("factorized", "hyperprior")
BANDS = np.array(["B02", "B03", "B04", "B08"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cubes: a cloudy series, one with another infrared, one to keep out, two of no use."""
    home = tmp_path_factory.mktemp("cubes")
    pixels = scenes.ground(1, 5, 4, (72, 80))
    mask = np.zeros((5, 72, 80), np.uint8)
    mask[1, :30] = 1
    mask[2] = 1
    np.savez(home / "field.npz", x=scenes.cover(pixels, mask == 1, 3), bands=BANDS, mask=mask)
    swapped = np.array(["B8A", "B04", "B03", "B02", "B11"])
    np.savez(home / "other.npz", x=pixels[:, [3, 2, 1, 0, 0]], bands=swapped)
    np.savez(home / "kept_out.npz", x=pixels, bands=BANDS)
    np.savez(home / "radar.npz", x=pixels.astype(np.float32), bands=BANDS)
    np.savez(home / "red.npz", x=pixels[:, :2], bands=BANDS[:2])
    return home


@pytest.fixture(scope="module", params=KINDS)
def trained(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Seconds of training: enough for a file, not for a codec."""
    out = tmp_path_factory.mktemp("rivals")
    threads = torch.get_num_threads()
    words = [str(folder), "--kind", request.param, "--out", str(out), "--minutes", "0.03"]
    assert training.main([*words, "--exclude", "kept_out"]) == 0
    torch.set_num_threads(threads)
    return out / f"{request.param}.pt"


def test_training_goes_on(
    trained: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, before = coding.load_rival(trained)
    shutil.copy(trained, tmp_path)
    words = [str(folder), "--kind", trained.stem, "--out", str(tmp_path), "--resume"]
    threads = torch.get_num_threads()
    try:
        minutes = str(before["minutes"] + 0.12)
        assert training.main([*words, "--minutes", minutes, "--exclude", "kept_out"]) == 0
        _, after = coding.load_rival(tmp_path / trained.name)
        assert after["steps"] > before["steps"]
        assert after["minutes"] >= before["minutes"] + 0.1
        with pytest.raises(SystemExit):
            training.main([*words, "--exclude", "other"])
    finally:
        torch.set_num_threads(threads)
    assert "--exclude was kept_out" in capsys.readouterr().err


def test_the_start_is_an_orthonormal_transform() -> None:
    torch.manual_seed(0)
    net = model.Rival(hyperprior=False)
    x = torch.randn(1, 4, 32, 40) * 0.2
    with torch.no_grad():
        latents = net.analysis(x)
        assert latents.shape == (1, model.LATENTS, 4, 5)
        assert float(latents.square().sum()) == pytest.approx(float(x.square().sum()), rel=0.02)
        assert float((net.synthesis(latents) - x).abs().max()) < 0.02


def test_windows_come_from_the_four_bands_of_places_not_excluded(folder: Path) -> None:
    places = windows.load_places(folder, ["kept_out"])
    assert [(p.name, p.frames.shape) for p in places] == [
        ("field", (4, 4, 72, 80)),  # less the date without clear pixels
        ("other", (5, 4, 72, 80)),
    ]
    with np.load(folder / "kept_out.npz") as cube:
        assert np.array_equal(places[1].frames, cube["x"])
        assert np.array_equal(places[0].frames[0], cube["x"][0])
    assert places[0].frames[1].max() < 6000  # the cloud is inpainted
    batch = windows.Windows(places, 0).batch()
    assert batch.dtype == torch.float32
    assert batch.numel() == 4 * 8 * 64 * 64
    with pytest.raises(ValueError, match="no cube with B02"):
        windows.Windows([], 0)


@pytest.mark.parametrize("size", [(72, 80), (33, 17), (1, 1)])
def test_bytes_hold_the_latents(trained: Path, folder: Path, size: tuple[int, int]) -> None:
    net, state = coding.load_rival(trained)
    assert state["exclude"] == ["kept_out"]
    assert state["steps"] > 0
    with np.load(folder / "kept_out.npz") as cube:
        frame = cube["x"][0][:, : size[0], : size[1]]
    mean = frame.mean((1, 2)).astype(np.float32)
    fine, coarse = (coding.encode_frame(net, frame, mean, nominal) for nominal in (58.0, 34.0))
    assert sum(map(len, fine)) > sum(map(len, coarse))
    # another reader of the file, that has nothing but bytes
    again, _ = coding.load_rival(trained)
    decoded = coding.decode_frame(again, fine, mean, 58.0, size)
    assert decoded.shape == frame.shape
    assert decoded.dtype == np.uint16
    with torch.no_grad():
        x = model.normalized(frame[None], mean)
        pad = (0, -size[1] % net.multiple, 0, -size[0] % net.multiple)
        x = torch.nn.functional.pad(x, pad, mode="replicate")
        direct, bits = net(x, torch.tensor([58.0]))
    shown = direct[0, :, : size[0], : size[1]].numpy() * model.SCALE_DN + mean[:, None, None]
    assert np.abs(decoded - shown.clip(0, 65535)).max() < 1
    # estimated with noise, of a few symbols: near, not equal
    assert 8 * sum(map(len, fine)) < 1.2 * float(bits) + 400


def test_damage_is_no_silent_success(trained: Path, folder: Path) -> None:
    net, _ = coding.load_rival(trained)
    with np.load(folder / "kept_out.npz") as cube:
        frame = cube["x"][0]
    mean = frame.mean((1, 2)).astype(np.float32)
    streams = coding.encode_frame(net, frame, mean, 50.0)
    whole = coding.decode_frame(net, streams, mean, 50.0, frame.shape[1:])
    flipped = bytearray(streams[-1])
    flipped[9] ^= 0x55
    try:
        other = coding.decode_frame(net, [*streams[:-1], bytes(flipped)], mean, 50.0, (72, 80))
    except (AssertionError, ValueError):
        return
    assert not np.array_equal(whole, other)  # the pixels really come from the bytes


def test_a_rival_is_measured_like_any_peer(
    trained: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(learned.FOLDER_VARIABLE, str(trained.parent))
    name = f"learned-{trained.stem}"
    plan = measure.Plan((45.0,))
    rows, problems = measure.measure_codec(folder / "field.npz", cubes.Cut(dates=3), name, plan)
    assert problems == []
    assert {row["mode"] for row in rows} == {"append"}
    assert all("on one core" in row["note"] and "kept_out" in row["note"] for row in rows)
    rates = {row["parameter"]: row["bytes"] for row in rows}
    assert sorted(rates.values()) == [rates[nominal] for nominal in sorted(rates)]
    assert f"- `{name}`: trained by us" in report.markdown(rows, (45.0,), (), "jpeg2000")
    rows, problems = measure.measure_codec(folder / "other.npz", cubes.Cut(), name, plan)
    assert rows == []
    assert len(problems) == 1
    assert "trained for blue, green, red and infrared" in problems[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_rival_that_was_not_trained_is_skipped_with_the_command(
    kind: str, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(learned.FOLDER_VARIABLE, str(tmp_path))
    rows, problems = measure.measure_codec(
        folder / "field.npz", cubes.Cut(), f"learned-{kind}", measure.Plan((45.0,))
    )
    assert rows == []
    assert len(problems) == 1
    assert "skipped" in problems[0]
    assert f"train/rivals/train.py CUBES --kind {kind} --out {tmp_path}" in problems[0]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("stvc", {}),
        ("stvc-none", {"reference": "none"}),
        ("stvc-background", {"reference": "background"}),
        ("stvc-recent", {"reference": "recent"}),
        ("stvc-both", {"reference": "both"}),
        ("stvc-coarse", {"clouds": "coarse"}),
        ("stvc-keep", {"clouds": "keep"}),
    ],
)
def test_variants_of_stvc_ask_for_what_they_say(
    name: str, asked: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def encode(ds: object, path: Path, *, cache_dir: Path, **options: object) -> None:
        calls.append(options)
        path.write_bytes(b"archive")

    codec = registry.CODECS[name]()
    monkeypatch.setattr(stvc, "encode", encode)
    encoded = codec.encode(cubes.load_cube(folder / "field.npz", cubes.Cut(dates=1)), 50.0)
    assert encoded.nbytes == len(b"archive")
    assert calls == [{"psnr": 50.0, **asked}]


def _row(codec: str, psnr: float, psnr_all: float, seconds: float) -> measure.Row:
    return {
        "dataset": "field",
        "shape": "1x(1x2x2)",
        "codec": codec,
        "mode": "append",
        "bounded": False,
        "parameter": psnr,
        "bpppb": psnr / 50,
        "psnr_clear": psnr,
        "psnr_all": psnr_all,
        "sam_deg": None,
        "ndvi_mae": None,
        "max_error_clear": 9,
        "raw_bytes": 3e6,
        "encode_s": 2 * seconds,
        "encode_cpu_s": seconds,
        "decode_s": seconds,
        "decode_cpu_s": seconds / 2,
        "peak_rss_mb": 50.0,
        "lossless": False,
    }


def test_the_speed_table_has_ratios_of_one_run() -> None:
    rows = [_row(name, at, at, s) for name, s in (("slow", 4), ("fast", 1)) for at in (45, 50)]
    lines = report.markdown(rows, (45, 50), (), "slow", speed_of="fast").splitlines()
    slow = next(line for line in lines if line.startswith("| slow | 50.0 dB"))
    assert slow == "| slow | 50.0 dB | 0.375 (0.75) | 0.75 (1.5) | 0.25 | 0.25 | 50 |"
    absent = report.markdown(rows, (45, 50), (), "slow", speed_of="x265-klt")
    assert "| slow | 50.0 dB | 0.375 (0.75) | 0.75 (1.5) | - | - | 50 |" in absent


def test_rates_may_be_told_at_the_psnr_of_all_pixels() -> None:
    rows = [_row("keep", at, at - 5, 1) for at in (45, 50, 55)]
    rows += [_row("drop", at, 20 + at / 50, 1) for at in (45, 50, 55)]
    table = report.markdown(rows, (45, 50), (), "keep", pixels="all")
    assert "| keep | append | 1.000 | 1.100 |" in table
    assert "| drop | append | - | - |" in table
    assert "PSNR on all pixels" in table
