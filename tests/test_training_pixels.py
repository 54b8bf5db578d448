"""Training the pixel network: what it learns from is what the coder asks, and rates are real."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import scenes
import torch
from safetensors.torch import load_file
from training import train_pixels

from stvc.codec import integer_layers, predictive, predictive_network
from stvc.codec.predictive import LEARNED, NETWORKED
from stvc.codec.predictive_context import FEATURES
from stvc.codec.predictive_mixture import OUTPUTS


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> train_pixels.Pixels:
    home = tmp_path_factory.mktemp("cubes")
    x = scenes.ground(1, 7, 4, (64, 64))
    mask = np.stack([scenes.clouds(np.random.default_rng(k), (64, 64)) for k in range(7)])
    bands = np.array(["B02", "B03", "B04", "B08"])
    np.savez(home / "village.npz", x=x, bands=bands, mask=mask.astype(np.uint8))
    cubes = train_pixels.load_cubes(home, [])
    return train_pixels.collect(cubes, 3, 0.08)


def test_collected_pixels_are_those_of_units(pixels: train_pixels.Pixels) -> None:
    n = len(pixels.value)
    assert n > 1000
    assert pixels.seen.shape == (n, FEATURES)
    assert pixels.copies.shape == (n, 3)
    assert set(np.unique(pixels.pitch)) <= {2 * bound + 1 for bound in train_pixels.BOUNDS}
    assert np.median(np.abs(pixels.value - pixels.prediction / 8)) < 60
    assert predictive.walk.__module__ == "stvc.codec.predictive_walk"


def test_collections_are_joined(pixels: train_pixels.Pixels, tmp_path: Path) -> None:
    paths = [tmp_path / f"pixels-{k}.npz" for k in range(2)]
    for k, path in enumerate(paths):
        names = [f.name for f in fields(train_pixels.Pixels)]
        np.savez(path, **{n: getattr(pixels, n)[k * 40 : k * 40 + 50] for n in names})
    found = train_pixels.loaded(paths)
    np.testing.assert_array_equal(found.value[:50], pixels.value[:50])
    np.testing.assert_array_equal(found.seen[50:], pixels.seen[40:90])


def test_a_wider_network_begins_as_the_narrower_one(pixels: train_pixels.Pixels) -> None:
    torch.manual_seed(2)
    narrow, wide = train_pixels.PixelNetwork(16, 3), train_pixels.PixelNetwork(24, 3)
    train_pixels.take_over(wide, narrow.state_dict())
    seen = torch.from_numpy(pixels.seen[:200]).float() / 16
    with torch.no_grad():
        torch.testing.assert_close(wide(seen), narrow(seen))
        hidden = wide.layers[0](seen.to(train_pixels._PRODUCT))
    assert hidden[:, 16:].any()  # units that are not heard yet, but can learn to speak


def test_training_lowers_the_bits(pixels: train_pixels.Pixels, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = train_pixels.PixelNetwork(32, 1)
    some = np.arange(min(2000, len(pixels.value)))

    def bits() -> float:
        with torch.no_grad():
            out = net(torch.from_numpy(pixels.seen[some]).float() / 16)
            return float(train_pixels.bits_of(out, pixels, some).mean())

    before = bits()
    train_pixels.fit(net, pixels, pixels, 0.2, 1e-2, tmp_path / "kept.pt")
    assert bits() < before - 0.02


def test_written_weights_take_the_bits_that_training_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    net = train_pixels.PixelNetwork()
    train_pixels.write(net, tmp_path)
    tensors = load_file(tmp_path / train_pixels.NAME)
    layers = integer_layers.layers(tensors)
    monkeypatch.setattr(
        predictive_network, "_layers", lambda _: lambda seen: layers(torch.from_numpy(seen)).numpy()
    )
    monkeypatch.setattr(predictive, "_cheaper", lambda plain, _: plain >= 0)
    frames = scenes.ground(4, 2, 4, (64, 64))
    with train_pixels.recorded() as seen:
        coded = predictive.encode(
            frames[1],
            [frames[0].astype(np.int32)],
            generation=NETWORKED,
            networked=True,
        )
        found = train_pixels.pixels_of(seen, 0, 0.0, slice(None))
    assert coded.payload[0] == LEARNED
    every = np.arange(len(found.value))
    with torch.no_grad():
        out = net(torch.from_numpy(found.seen).float() / 16)
        told = float(train_pixels.bits_of(out, found, every).sum())
    assert out.shape[1] == OUTPUTS
    assert 8 * len(coded.payload) == pytest.approx(told, rel=0.005)
