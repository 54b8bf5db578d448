"""Network units of effort ``fast``, decoded by what the format pages say of them alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import scenes
import torch
from safetensors import safe_open
from test_format_pages import program
from test_unit import context_for, force, states

from stvc.codec.batches import Batch
from stvc.codec.entropy import decode_networks
from stvc.codec.fast_coder import fast_batches
from stvc.codec.profiles import profiles_of
from stvc.codec.readers import Readers, Told
from stvc.codec.transform import pad_to_blocks
from stvc.codec.unit import NETWORK, OpenUnit, open_unit, request_of
from stvc.codec.unit_encoder import encode_unit
from stvc.model.arithmetic import Arithmetic
from stvc.model.fast import FastNetwork
from stvc.model.fast_architecture import FastConfig
from stvc.model.fast_features import FastFeatures
from stvc.model.weights import PACKAGED, EntropyModel, model_for

PAGE = program("entropy.md", "fast.py")
GROUPS = ((0, 10), (10, 28), (28, 64))


@pytest.fixture(scope="module")
def model() -> EntropyModel:
    return model_for("fast")


@pytest.fixture(scope="module")
def tensors(model: EntropyModel) -> dict[str, Any]:
    with safe_open(PACKAGED / f"{model.model_id}.safetensors", "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def log(v: int, n: int) -> int:
    b = v.bit_length() - 1
    return b * n + (((v << 8) >> b) - 256) * n // 256


def sides(unit: OpenUnit, k: int) -> Any:
    """(tokens, 32) side numbers of a component."""
    refs, plan, context = unit.refs, unit.plan, unit.context
    coded = unit.importance.ravel() != 255
    out = np.zeros((coded.size, 32), int)
    out[:, 0] = plan.step_index // 4
    out[:, 1] = int(context.klt.spread[k]) - plan.step_index // 4 + 48
    out[:, 2 + min(k, 4)] = 64
    out[:, 7] = log(len(context.klt.mean), 16)
    for at, ages in ((8, refs.recent_age), (10, refs.second_age)):
        for token, age in enumerate(ages.ravel().tolist()):
            out[token, at : at + 2] = (0, 64) if age < 0 else (log(age + 1, 8), 0)
    out[:, 12] = 0 if refs.has_background else 64
    out[:, 13] = 16 * unit.importance.ravel().astype(int)
    out[:, 14] = log(context.gsd, 8)
    row = int(plan.profiles[k])
    for at, z in ((15, 0), (19, 40)):
        out[:, at : at + 4] = 32 + profiles_of(refs.generation)[row, :, z] // 2
    out[:, 23:25] = 8 * np.abs(plan.shift)
    out[:, 25] = 64 * refs.two_sided
    out[:, 26] = 64 * (row == 0)
    out[:, 27] = 64 * coded.sum() // coded.size
    return np.clip(out, 0, 127)


def inputs(unit: OpenUnit, k: int) -> tuple[Any, Any]:
    """Known inputs (coded, 288) and moves (coded, 5, 10) of a component."""
    refs = unit.refs
    coded = unit.importance.ravel() != 255
    names = ("mean", "recent", "second", "background", "average")
    planes = {name: getattr(refs, name)[k].reshape(-1, 64).astype(int) for name in names}
    planes["prediction"] = about = unit.predicted[k].reshape(-1, 64).astype(int)
    step = unit.steps.reshape(-1, 1)
    fourth = "background" if refs.has_background else "average"
    pairs = [("average", "mean"), ("recent", "second")]
    pairs += [("recent", "prediction"), (fourth, "prediction")]
    each = np.float32(8) / step.astype(np.float32)
    levels = [PAGE["level"]((planes[a] - planes[b]).astype(np.float32) * each) for a, b in pairs]
    if not refs.has_background and (refs.recent_age < 0).all():
        levels = [0 * plane for plane in levels]
    order = ("recent", "background", "mean", "second", "average")
    u = [((planes[o] - about) * (2**23 // step) + 2**19) >> 20 for o in order]
    moves = np.clip(np.stack(u, 1), -8191, 8191)[..., :10]
    return np.hstack([*levels, sides(unit, k)])[coded], moves[coded]


def decoded(tensors: dict[str, Any], coded: Any, known: list[tuple[Any, Any]], read: Any) -> Any:
    """Symbols (C, coded, 64); ``read(location, scale, component, low)`` reads those of a group."""
    found = np.zeros((len(known), coded.sum(), 64), int)
    for k, (features, moves) in enumerate(known):
        earlier = [found[k - back] if k >= back else 0 * found[k] for back in (1, 2)]
        walk = PAGE["component"](tensors, coded, features, moves, earlier)
        location, scale = next(walk)
        for low, high in GROUPS:
            found[k, :, low:high] = read(location, scale, k, low)
            if high < 64:
                location, scale = walk.send(found[k, :, low:high])
    return found


def opened(
    model: EntropyModel, patch: pytest.MonkeyPatch, reference: str, generation: int, index: int
) -> tuple[OpenUnit, OpenUnit]:
    """A payload of the network, opened twice: hidden tokens, coarser ones, padding."""
    force(patch, NETWORK)
    pixels = scenes.ground(3, 1, 4, (37, 44))[0]
    hidden = np.pad(np.zeros((37, 44), bool), ((0, 3), (0, 4)), constant_values=True)
    hidden[3:21, 5:30] = True
    plain = context_for(pixels, index)
    klt = replace(plain.klt, mean=plain.klt.mean + 300)
    context = replace(plain, klt=klt, hidden=hidden, unclear=hidden, required=~hidden)
    state = states(context, pixels, generation)[reference]
    state.two_sided = reference == "both"
    padded = np.asarray(pad_to_blocks(pixels), np.uint16)
    payload = encode_unit(padded, context, state, model).payload
    one, two = (open_unit(payload, context, state, model) for _ in range(2))
    assert isinstance(one, OpenUnit) and isinstance(two, OpenUnit)
    assert payload[0] & 3 == NETWORK
    assert {0, 1, 255} < set(one.importance.ravel().tolist())
    return one, two


@pytest.mark.parametrize(("generation", "index"), [(2, 150), (3, 90), (4, 90), (4, 150)])
@pytest.mark.parametrize("reference", ["nothing", "background", "recent", "both"])
def test_the_page_says_what_the_network_says(
    model: EntropyModel,
    tensors: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    reference: str,
    generation: int,
    index: int,
) -> None:
    unit, again = opened(model, monkeypatch, reference, generation, index)
    readers = Readers([unit.reader], model.models)
    told = []

    def read(location: Any, scale: Any, k: int, low: int) -> Any:
        told.append((location, scale))
        group = Told(location, scale, k, low, np.arange(len(scale)))
        return readers.group(0, group, unit.correction)

    coded = unit.importance != 255
    known = [inputs(unit, k) for k in range(len(unit.predicted))]
    symbols = decoded(tensors, coded, known, read)
    request = request_of(again, model)
    (expected,) = decode_networks(model, [request])
    np.testing.assert_array_equal(symbols, expected[:, coded.ravel()])
    assert symbols.any(axis=(1, 2)).all()
    features = cast("FastFeatures", request.features)
    for mine, *theirs in zip(known, features.known, features.moves.swapaxes(2, 3), strict=True):
        np.testing.assert_array_equal(mine[0], theirs[0])
        np.testing.assert_array_equal(mine[1], theirs[1])
    same(told, fast_batches(model.fast_network, features, expected))


def same(told: list[tuple[Any, Any]], batches: list[Batch]) -> None:
    for (location, scale), batch in zip(told, batches, strict=True):
        np.testing.assert_array_equal(location, batch.location)
        np.testing.assert_array_equal(scale, batch.scale)


@pytest.mark.parametrize("louder", [0, 3, 9])
def test_numbers_at_their_limits(tensors: dict[str, Any], louder: int) -> None:
    loud = {
        n: np.maximum(v - louder, 0) if n == "move.bits" or n[-6:] == "0.bits" else v
        for n, v in tensors.items()
    }
    given = {name: torch.from_numpy(values) for name, values in loud.items()}
    net = FastNetwork(given, FastConfig(), Arithmetic("int32"))
    rng = np.random.default_rng(louder)
    coded = rng.random((5, 7)) < 0.8
    rows = np.flatnonzero(coded)
    known = rng.integers(0, 128, (4, len(rows), 288)).astype(np.uint8)
    moves = rng.integers(-8191, 8192, (4, len(rows), 10, 5)).astype(np.int16)
    symbols = np.rint(rng.laplace(0, 300, (4, 35, 64))).astype(np.int32)
    told = []

    def read(location: Any, scale: Any, k: int, low: int) -> Any:
        told.append((location, scale))
        return symbols[k, rows, low : low + scale.shape[1]]

    decoded(loud, coded, list(zip(known, moves.swapaxes(2, 3), strict=True)), read)
    same(told, fast_batches(net, FastFeatures((5, 7), rows, known, moves), symbols))


def test_the_content_hash_counts_every_key(model: EntropyModel, tensors: dict[str, Any]) -> None:
    with safe_open(PACKAGED / f"{model.model_id}.safetensors", "np") as file:
        config = json.loads(file.metadata()["config"])
    assert config == {"kind": "fast", "generation": 2, "trunk": 128, "around": 32, "hidden": 96}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name, values in sorted(tensors.items()):
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode() + values.tobytes())
    assert model.model_id.endswith(digest.hexdigest()[:8])
