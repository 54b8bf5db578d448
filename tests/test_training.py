"""The training scripts: samples, learning, export, and how damaged models are met."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import scenes
import torch
from safetensors.torch import load_file, save_file
from training import SMALL, cubes, export, random_net, scale_weights, train

from stvc.codec.adaptation import BANDS, WEIGHTS
from stvc.codec.quantize import SKIPPED
from stvc.errors import ConfigError, ModelError
from stvc.model import weights
from stvc.model.architecture import SIDE_FEATURES, token_layout
from stvc.model.weights import load_model, model_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cube with clouds of a place, and one to be kept out."""
    home = tmp_path_factory.mktemp("cubes")
    pixels = scenes.ground(1, 7, 6, (40, 40))
    mask = np.stack([scenes.clouds(np.random.default_rng(k), (40, 40)) for k in range(7)])
    mask[::2] = False
    bands = np.array(["B02", "B03", "B04", "B08", "B05", "B11"])
    np.savez(home / "village.npz", x=pixels, bands=bands, mask=mask.astype(np.uint8))
    np.savez(home / "kept_out.npz", x=pixels[:, :4], bands=bands[:4])
    np.savez(home / "floats.npz", x=pixels[:, :4].astype(np.float32), bands=bands[:4])
    return home


@pytest.fixture(scope="module")
def units(folder: Path) -> list[cubes.Sample]:
    return list(islice(cubes.samples(cubes.load_cubes(folder, ["kept_out"]), 3), 24))


def test_cubes_are_split_into_native_groups(folder: Path) -> None:
    found = cubes.load_cubes(folder, ["kept_out"])
    assert [(c.name, c.gsd, c.pixels.shape) for c in found] == [
        ("village", 10, (7, 4, 40, 40)),
        ("village/20", 20, (7, 2, 20, 20)),
    ]
    assert len(cubes.load_cubes(folder, [])) == 3


def test_samples_look_like_coding_units(units: list[cubes.Sample]) -> None:
    for s in units:
        c, n = len(s.symbols), s.size[0] * s.size[1]
        assert s.context.shape == (c, n, 64 * SMALL.references)
        assert s.side.shape == (c, n, SIDE_FEATURES)
        assert s.candidates.shape == (c, n, 64, SMALL.candidates)
        assert s.symbols.shape == (c, n, 64)
        assert s.importance.shape == (n,)
        assert not s.symbols[:, s.importance == SKIPPED].any()
    assert any((s.importance == SKIPPED).any() for s in units)
    assert sum(int(np.count_nonzero(s.symbols)) for s in units) > 1000


def test_samples_are_reproducible(folder: Path, units: list[cubes.Sample]) -> None:
    again = islice(cubes.samples(cubes.load_cubes(folder, ["kept_out"]), 3), 4)
    for mine, theirs in zip(units, again, strict=False):
        np.testing.assert_array_equal(mine.symbols, theirs.symbols)
        np.testing.assert_array_equal(mine.context, theirs.context)


def _scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two dates of two bands with a bright disc, one pixel hidden."""
    y, x = np.mgrid[:height, :width]
    disc = (y - height // 2) ** 2 + (x - width // 2) ** 2 < 49
    pixels = np.full((2, 2, height, width), 1000, np.uint16)
    pixels[:, :, disc] = 3000
    hidden = np.zeros((2, height, width), bool)
    hidden[1, 10, 20] = True
    return pixels, hidden


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
def test_a_cube_on_its_own_grid_stays_what_it_is(kernel: str) -> None:
    pixels, hidden = _scene(30, 44)
    same, covered = cubes.reprojected(pixels, hidden, 0.0, 1.0, np.zeros((2, 2)), kernel)
    assert (same.dtype, covered.dtype) == (np.uint16, bool)
    np.testing.assert_array_equal(same, pixels)
    np.testing.assert_array_equal(covered[0], hidden[0])
    assert covered[1, 10, 20]


def test_a_disc_stays_a_disc_on_another_grid() -> None:
    pixels, hidden = _scene(40, 72)
    shifts = np.array([[0.0, 0.0], [3.0, -2.0]])
    moved, covered = cubes.reprojected(pixels, hidden, 1.0, 1.4, shifts, "bilinear")
    centers = []
    for frame in moved[:, 0]:
        y, x = np.nonzero(frame > 2000)
        assert len(y) == pytest.approx(148 * 1.4**2, rel=0.06)
        assert np.ptp(y) == pytest.approx(np.ptp(x), abs=1)
        centers.append((x.mean(), y.mean()))
    away = np.subtract(*centers[::-1])
    assert np.hypot(*away) == pytest.approx(1.4 * np.hypot(3, 2), abs=0.5)
    assert not covered[0].any()
    assert covered[1].sum() >= 2


def test_varied_cubes_keep_their_shape(folder: Path) -> None:
    rng = np.random.default_rng(5)
    found = cubes.load_cubes(folder, [])
    seen = set()
    for _ in range(60):
        cube = found[rng.integers(len(found))]
        other = cubes.varied(cube, found[0], rng)
        dates, bands, *size = other.pixels.shape
        assert other.pixels.dtype == np.uint16
        assert other.hidden.shape == (dates, *size)
        assert bands == cube.pixels.shape[1]
        assert 1 <= other.gsd <= 60
        seen.add(other.gsd)
    assert len(seen) > 4


@pytest.mark.parametrize("effort", ["default", "fast"])
def test_weights_of_scales_are_fitted_per_band(folder: Path, effort: str) -> None:
    fit = scale_weights.Fit(model_for(effort))
    found = cubes.samples(cubes.load_cubes(folder, ["kept_out"]), 3, (130, 180), fit.add)
    list(islice(found, 4))
    assert (fit.power[1:] > 0).all()
    weights = fit.weights()
    assert weights.shape == (len(BANDS),) == np.shape(WEIGHTS[effort])
    assert weights[0] == WEIGHTS[effort][0] == 0  # nothing comes before the lowest one
    assert weights[1:].max() > 0


def test_training_lowers_the_loss(units: list[cubes.Sample]) -> None:
    net = random_net(0).train()
    size = units[0].size
    layout = token_layout(*size)
    batch = train.assemble(
        [(s, c) for s in units if s.size == size for c in range(min(2, len(s.symbols)))][:6], layout
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        bits = train.bits_of(net, batch, layout)
        assert not bits[batch["importance"] == SKIPPED].any()
        loss = bits.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.97 * losses[0]


def test_all_parameters_learn(units: list[cubes.Sample]) -> None:
    net = random_net(1).train()
    for rich in sorted(units, key=lambda s: -np.count_nonzero(s.symbols))[:3]:
        layout = token_layout(*rich.size)
        train.bits_of(net, train.assemble([(rich, 0)], layout), layout).sum().backward()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in still if not name.startswith("steps.4.embed")] == []
    # ^ nothing is coded after the last group


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model made by the script itself from a checkpoint."""
    home = tmp_path_factory.mktemp("model")
    saved = {
        "net": random_net(2).state_dict(),
        "config": vars(SMALL),
        "minutes": 1.5,
        "step": 10,
        "tokens": 1000,
        "exclude": ["nothing"],
    }
    torch.save(saved, home / "checkpoint.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["export", str(home / "checkpoint.pt"), str(home), "--name", "t"])
        export.main()
    (path,) = home.glob("*.safetensors")
    return path


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STVC_MODEL_DIR", str(tmp_path))
    weights._load.cache_clear()
    return tmp_path


def test_exported_models_load_and_code(
    exported: Path, own_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import stvc

    (own_models / exported.name).write_bytes(exported.read_bytes())
    model = load_model(exported.stem)
    assert model.model_id == exported.stem
    assert exported.stem in weights.installed()
    assert "1.5" in model.notes["trained"]
    monkeypatch.setattr(weights, "default_model_id", lambda effort="default": exported.stem)
    ds = scenes.dataset(2, (16, 24), groups={"": ("B02", "B08")})
    stvc.encode(ds, own_models / "a.stvc", max_error=9)
    with stvc.open(own_models / "a.stvc") as archive:
        assert archive.info()["model"] == exported.stem
        decoded = archive.to_xarray()
    for band in ("B02", "B08"):
        assert np.abs(decoded[band].values.astype(int) - ds[band].values).max() <= 9
    (own_models / exported.name).unlink()
    weights._load.cache_clear()
    with pytest.raises(ModelError, match=exported.stem):
        stvc.open(own_models / "a.stvc").to_xarray()


def test_a_missing_model_is_named(own_models: Path) -> None:
    with pytest.raises(ModelError, match=r"'nowhere-12345678' is not installed .*STVC_MODEL_DIR"):
        load_model("nowhere-12345678")


@pytest.mark.parametrize("position", [3, 0.3, 0.5, -1])
def test_a_damaged_model_is_named(exported: Path, own_models: Path, position: float) -> None:
    block = bytearray(exported.read_bytes())
    block[int(position * len(block)) if isinstance(position, float) else position] ^= 0x10
    (own_models / exported.name).write_bytes(block)
    with pytest.raises(ModelError, match=str(own_models / exported.name)):
        load_model(exported.stem)


@pytest.mark.parametrize("keep", [0, 7, 500, -100])
def test_a_cut_model_is_named(exported: Path, own_models: Path, keep: int) -> None:
    (own_models / exported.name).write_bytes(exported.read_bytes()[:keep])
    with pytest.raises(ModelError, match=str(own_models / exported.name)):
        load_model(exported.stem)


def test_another_content_under_the_same_name_is_refused(exported: Path, own_models: Path) -> None:
    from safetensors import safe_open

    tensors = load_file(exported)
    with safe_open(exported, "pt") as file:
        notes = dict(file.metadata())
    tensors["embed.bias"] = tensors["embed.bias"] + 1
    save_file(tensors, own_models / exported.name, notes)
    with pytest.raises(ModelError, match="content hash"):
        load_model(exported.stem)


def test_rows_that_could_overflow_are_refused() -> None:
    net = random_net(3)
    with torch.no_grad():
        net.embed.weight.fill_(127.0)
        net.embed.bias.fill_(1e6)
    with pytest.raises(SystemExit, match=r"2\*\*23"):
        export.integer_tensors(net)


def test_an_unknown_arithmetic_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVC_ARITHMETIC", "float16")
    with pytest.raises(ConfigError, match="float16"):
        load_model()


def test_training_goes_on_from_exported_integers() -> None:
    before = export.integer_tensors(random_net(31))
    net = random_net(32)
    export.load_integers(net, before)
    after = export.integer_tensors(net)
    assert after.keys() == before.keys()
    for name, values in before.items():
        assert torch.equal(after[name], values), name
