"""``effort="fast"``: a model of its own for whole archives, and units decoded side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scenes
import torch

import stvc
from stvc import threads
from stvc.codec.references import ReferenceState
from stvc.config import device
from stvc.errors import ConfigError, CorruptError, QualityError
from stvc.model.weights import default_model_id, installed, load_model

TEN = {"": ("B02", "B08")}


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("effort") / "fast.stvc"
    ds = scenes.dataset(4, (40, 48), groups=TEN, mask="mask", cloudy=(1,), seed=31)
    stvc.encode(ds.isel(time=slice(0, 3)), path, quality=55, effort="fast")
    return path


def test_both_models_are_installed() -> None:
    assert {default_model_id(), default_model_id("fast")} <= set(installed())


def test_the_archive_tells_its_effort(fast: Path) -> None:
    with stvc.open(fast) as archive:
        info = archive.info()
    assert info["model"] == default_model_id("fast")
    assert info["effort"] == "fast"


def test_appending_goes_on_with_the_archives_model(fast: Path, tmp_path: Path) -> None:
    path = tmp_path / "more.stvc"
    path.write_bytes(fast.read_bytes())
    ds = scenes.dataset(4, (40, 48), groups=TEN, mask="mask", cloudy=(1,), seed=31)
    assert stvc.append(ds, path).frames_added == 1
    with stvc.open(path) as archive:
        assert archive.info()["model"] == default_model_id("fast")
        assert archive.verify().ok
        assert archive.to_xarray().sizes["time"] == 4


def test_the_effort_does_not_decide_about_quality(tmp_path: Path) -> None:
    ds = scenes.dataset(3, (40, 48), groups=TEN, seed=32)
    found = [
        stvc.encode(ds, tmp_path / f"{effort}.stvc", psnr=45, effort=effort).psnr_clear
        for effort in ("default", "fast")
    ]
    assert found == pytest.approx([45, 45], abs=0.3)


@pytest.mark.parametrize("bound", [0, 15])
def test_bounds_hold(tmp_path: Path, bound: int) -> None:
    ds = scenes.dataset(3, (24, 32), groups=TEN, seed=33)
    stvc.encode(ds, tmp_path / "b.stvc", max_error=bound, effort="fast")
    decoded = stvc.open(tmp_path / "b.stvc").to_xarray()
    for band in TEN[""]:
        assert np.abs(decoded[band].values.astype(int) - ds[band].values).max() <= bound


def test_an_unknown_effort_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QualityError, match="effort='slow'"):
        stvc.encode(scenes.dataset(1, (16, 16)), tmp_path / "x.stvc", effort="slow")


def hashes_of(path: Path) -> str | None:
    with stvc.open(path) as archive:
        return archive.verify().sha256


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tiles at 10 m and one at 20 m."""
    path = tmp_path_factory.mktemp("tiled") / "tiled.stvc"
    groups = {"": ("B02", "B08"), "20": ("B11",)}
    ds = scenes.dataset(3, (392, 400), groups=groups, mask="mask", cloudy=(1,), seed=34)
    stvc.encode(ds, path, quality=30, effort="fast")
    return path


@pytest.mark.parametrize("count", ["2", "5"])
def test_units_decode_alike_side_by_side(
    tiled: Path, count: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STVC_THREADS", "1")
    alone = hashes_of(tiled)
    monkeypatch.setenv("STVC_THREADS", count)
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    assert hashes_of(tiled) == alone
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before


def test_damage_is_told_in_order_side_by_side(
    tiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stvc.codec import wave_decoder

    real = wave_decoder.open_unit
    broken = {1, 3}

    def fails(payload: bytes, context: object, state: ReferenceState, model: object) -> object:
        if state.shape == (136, 144) or (state.shape == (256, 144) and 1 in broken):
            raise CorruptError(f"no symbols for a tile of {state.shape}")
        return real(payload, context, state, model)  # type: ignore[arg-type]

    monkeypatch.setattr(wave_decoder, "open_unit", fails)
    told = []
    for count in ("1", "4"):
        monkeypatch.setenv("STVC_THREADS", count)
        with stvc.open(tiled, on_error="skip") as archive:
            archive.to_xarray()
            told.append(list(archive.damaged))
    assert told[0] == told[1]
    assert len(told[0]) == 2 * 3


def test_the_number_of_threads_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("0", "two", "-1"):
        monkeypatch.setenv("STVC_THREADS", wrong)
        with pytest.raises(ConfigError, match="STVC_THREADS"):
            threads.workers()


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:x", "cuda:99", "0"])
def test_an_unusable_device_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVC_DEVICE", name)
    with pytest.raises(ConfigError, match="STVC_DEVICE"):
        device()


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_archives_decode_alike_on_every_device(
    fast: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    expected = hashes_of(fast)
    monkeypatch.setenv("STVC_DEVICE", name)
    assert load_model(default_model_id("fast")).network.device == name
    assert hashes_of(fast) == expected
