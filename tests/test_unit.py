"""Payloads of coding units: encoder and decoder agree, whatever the coder, reference or damage."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import scenes
from hypothesis import given, settings
from hypothesis import strategies as st

from stvc.codec import unit_encoder, unit_plan
from stvc.codec.analysis import UnitPlan
from stvc.codec.batches import write_batches
from stvc.codec.entropy import plain_batches
from stvc.codec.quantize import MAX_STEP_INDEX
from stvc.codec.rangecoder import Writer
from stvc.codec.references import ReferenceState
from stvc.codec.spectral import fit_klt
from stvc.codec.transform import pad_to_blocks
from stvc.codec.unit import NETWORK, PLAIN, PREDICTED, RAW, UnitContext, decode_unit
from stvc.codec.unit_encoder import encode_unit
from stvc.errors import CorruptError
from stvc.model.architecture import SCALES
from stvc.model.weights import EntropyModel, load_model

U16 = np.ndarray
DAY = 18_000


@pytest.fixture(scope="module")
def model() -> EntropyModel:
    return load_model()


@pytest.fixture(params=[NETWORK, PLAIN], ids=["network", "plain"])
def coder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Make the encoder choose one coder, whatever the model thinks of synthetic ground."""
    force(monkeypatch, request.param)
    return int(request.param)


def force(patch: pytest.MonkeyPatch, wanted: int) -> None:
    patch.setattr(unit_encoder, "cheaper_coder", lambda *_: wanted)


def context_for(pixels: U16, step_index: int = 190, **changes: object) -> UnitContext:
    """Context of an unpadded (C, H, W) image of which everything is visible."""
    c, h, w = pixels.shape
    hidden = np.ones((h + -h % 8, w + -w % 8), bool)
    hidden[:h, :w] = False
    klt = fit_klt(pixels.reshape(c, -1).T)
    base = UnitContext(klt, hidden, hidden, ~hidden, (h, w), DAY, 10, step_index, False)
    return replace(base, **changes)


def check(
    pixels: U16,
    context: UnitContext,
    state: ReferenceState,
    model: EntropyModel,
    max_error: int | None = None,
) -> tuple[unit_encoder.EncodedUnit, U16]:
    """Encode and decode one unit; returns it and the decoded pixels without padding."""
    padded = np.asarray(pad_to_blocks(pixels), np.uint16)
    encoded = encode_unit(padded, context, state, model, max_error=max_error)
    decoded, shift = decode_unit(encoded.payload, context, copy(state), model)
    np.testing.assert_array_equal(decoded, encoded.decoded)
    assert shift == encoded.shift
    if encoded.payload:
        assert encoded.payload[0] & 3 == encoded.coder
    h, w = context.size
    return encoded, decoded[:, :h, :w]


def states(context: UnitContext, pixels: U16, generation: int = 4) -> dict[str, ReferenceState]:
    """Every kind of reference state."""

    def fresh(background: np.ndarray | None = None) -> ReferenceState:
        shape = context.hidden.shape
        return ReferenceState(context.klt.mean, shape, background, generation=generation)

    earlier = np.asarray(pad_to_blocks(np.roll(pixels, 1, 2)), np.uint16)
    found = {"nothing": fresh(), "background": fresh(earlier.astype(np.int32))}
    for name, background in (("recent", None), ("both", earlier.astype(np.int32))):
        state = fresh(background)
        state.update(np.maximum(earlier, 8) - 7, context.hidden, DAY - 15, (0, 0))
        partly = context.hidden.copy()
        partly[:13] = True
        state.update(earlier, partly, DAY - 5, (3, -2))
        found[name] = state
    return found


@pytest.mark.parametrize("reference", ["nothing", "background", "recent", "both"])
def test_decoder_follows_encoder(model: EntropyModel, coder: int, reference: str) -> None:
    pixels = scenes.ground(1, 1, 3, (37, 44))[0]
    context = context_for(pixels)
    encoded, decoded = check(pixels, context, states(context, pixels)[reference], model)
    assert encoded.coder == coder
    assert np.sqrt(((decoded.astype(float) - pixels) ** 2).mean()) < 40


@pytest.mark.parametrize("coarse", [False, True])
def test_hidden_pixels(model: EntropyModel, coder: int, coarse: bool) -> None:
    pixels = scenes.ground(2, 1, 3, (40, 40))[0]
    hidden = np.zeros((40, 40), bool)
    hidden[3:21, 5:30] = True
    pixels = scenes.cover(pixels[None], hidden[None], 1)[0]
    context = context_for(pixels, hidden=hidden, unclear=hidden, required=~hidden, coarse=coarse)
    encoded, decoded = check(pixels, context, states(context, pixels)["recent"], model)
    assert encoded.coder == coder
    miss = decoded.astype(float) - pixels
    assert np.sqrt((miss[:, ~hidden] ** 2).mean()) < 45
    whole = np.s_[:, 8:16, 8:24]
    # ^ blocks that are hidden altogether
    distance = np.sqrt((miss[whole] ** 2).mean())
    assert distance < 300 if coarse else distance > 1000


@pytest.mark.parametrize("generation", [1, 2, 3, 4])
@pytest.mark.parametrize("max_error", [0, 1, 5, 40, 900])
def test_bounds_hold_on_every_required_pixel(
    model: EntropyModel, coder: int, max_error: int, generation: int
) -> None:
    rng = np.random.default_rng(max_error)
    pixels = scenes.ground(3, 1, 2, (19, 26), noise=40)[0]
    pixels[:, rng.random((19, 26)) < 0.03] = 65535
    pixels[0, rng.random((19, 26)) < 0.03] = 0
    context = context_for(pixels, step_index=20 + max_error // 5)
    hidden = context.hidden.copy()
    hidden[:9, :12] = True
    context = replace(context, hidden=hidden, unclear=hidden, required=~hidden)
    state = states(context, pixels, generation)["both"]
    encoded, decoded = check(pixels, context, state, model, max_error)
    assert encoded.coder in (coder, RAW) or (generation > 1 and encoded.coder == PREDICTED)
    if generation > 1 and max_error <= 10:
        assert encoded.coder == PREDICTED
    required = context.required[:19, :26]
    miss = np.abs(decoded.astype(np.int64) - pixels)[:, required]
    assert miss.max() <= max_error


def test_noise_costs_no_more_than_it_is(model: EntropyModel) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (2, 16, 19)).astype(np.uint16)
    context = context_for(pixels, step_index=0)
    encoded, decoded = check(pixels, context, states(context, pixels)["nothing"], model, 0)
    assert encoded.coder == PREDICTED
    assert len(encoded.payload) <= 4 + pixels.nbytes
    np.testing.assert_array_equal(decoded, pixels)


def test_noise_is_stored_raw(model: EntropyModel) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (2, 16, 19)).astype(np.uint16)
    context = context_for(pixels, step_index=0)
    encoded, decoded = check(pixels, context, states(context, pixels, 1)["nothing"], model, 0)
    assert encoded.coder == RAW
    assert len(encoded.payload) == 2 + pixels.nbytes
    np.testing.assert_array_equal(decoded, pixels)


def test_raw_units_are_packed_if_that_helps(
    model: EntropyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.choice(np.array([0, 65535, 777], np.uint16), (2, 24, 24))
    context = context_for(pixels, step_index=0)
    encoded, decoded = check(pixels, context, states(context, pixels, 1)["nothing"], model, 0)
    assert encoded.coder == RAW
    assert len(encoded.payload) < pixels.nbytes // 3
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("reference", ["nothing", "background", "recent", "both"])
@pytest.mark.parametrize("max_error", [None, 10])
def test_a_unit_of_which_nothing_is_seen_is_empty(
    model: EntropyModel, reference: str, max_error: int | None
) -> None:
    pixels = scenes.ground(4, 1, 3, (24, 24))[0]
    context = context_for(pixels)
    state = states(context, pixels)[reference]
    everything = np.ones((24, 24), bool)
    context = replace(
        context, hidden=everything, unclear=everything, required=~everything, day=DAY + 3
    )
    encoded, decoded = check(pixels, context, state, model, max_error)
    assert encoded.payload == b""
    if reference == "nothing":
        expected = np.broadcast_to(context.klt.mean[:, None, None], decoded.shape)
    else:
        expected = state.recent
    assert np.abs(decoded.astype(int) - expected).max() <= 1


def test_padding_is_never_required(model: EntropyModel) -> None:
    pixels = scenes.ground(5, 1, 2, (9, 9))[0]
    context = context_for(pixels)
    assert context.required.sum() == 81
    tall = np.asarray(pad_to_blocks(pixels), np.uint16)
    other = tall.copy()
    other[:, 9:], other[:, :, 9:] = 60_000, 3
    state = states(context, pixels)["nothing"]
    payloads = [encode_unit(p, context, state, model, max_error=4).payload for p in (tall, other)]
    for payload in payloads:
        decoded, _ = decode_unit(payload, context, copy(state), model)
        assert np.abs(decoded[:, :9, :9].astype(int) - pixels).max() <= 4
    assert len(payloads[1]) < 1.1 * len(payloads[0]) + 8


def test_unknown_unit_types_are_refused(model: EntropyModel) -> None:
    pixels = scenes.ground(6, 1, 1, (8, 8))[0]
    context = context_for(pixels)
    state = states(context, pixels)["nothing"]
    for flags in (7, 8, 64, 255):
        with pytest.raises(CorruptError, match="unknown unit type"):
            decode_unit(bytes([flags]) + b"rest", context, state, model)


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"\0" * 200, b"\1", b"\1garbage", b"\1\x28\xb5\x2f\xfd\xa4" + b"\xff" * 9]
)
def test_damaged_raw_units_are_refused(model: EntropyModel, body: bytes) -> None:
    pixels = scenes.ground(6, 1, 1, (8, 8))[0]
    context = context_for(pixels)
    with pytest.raises(CorruptError, match="raw unit"):
        decode_unit(bytes([RAW]) + body, context, states(context, pixels)["nothing"], model)


PIXELS = scenes.ground(7, 1, 2, (16, 16))[0]
CONTEXT = context_for(PIXELS)


@settings(max_examples=30)
@given(
    st.sampled_from([NETWORK, PLAIN, NETWORK | 4, PLAIN | 4, PREDICTED]),
    st.binary(max_size=90),
    st.sampled_from(["nothing", "both"]),
)
def test_any_bytes_decode_to_something_or_are_refused(
    model: EntropyModel, flags: int, body: bytes, reference: str
) -> None:
    """Warnings are errors here: no overflow on the way, whatever the symbols say."""
    state = states(CONTEXT, PIXELS)[reference]
    try:
        decoded, _ = decode_unit(bytes([flags]) + body, CONTEXT, state, model)
    except CorruptError:
        return
    assert decoded.shape == (2, 16, 16)
    assert decoded.dtype == np.uint16


@pytest.mark.parametrize("size", [40_000, 1 << 22])
@pytest.mark.parametrize("step_index", [0, 200, MAX_STEP_INDEX])
def test_absurd_symbols_are_garbage_or_refused(
    model: EntropyModel, size: int, step_index: int
) -> None:
    writer = Writer()
    state = states(CONTEXT, PIXELS)["nothing"]
    zeros = np.zeros(2, np.int64)
    plan = UnitPlan(step_index, (0, 0), zeros, zeros, (0, 0), zeros + 4)
    unit_plan.write_plan(writer, plan, CONTEXT, state)
    scales = np.full((2, 8), SCALES - 1)
    for scale in scales.reshape(-1):
        writer.uniform(int(scale), SCALES)
    signs = np.random.default_rng(0).choice([-1, 1], (2, 4, 64))
    importance = np.zeros((2, 2), np.uint8)
    write_batches(writer, plain_batches(signs * size, importance, scales), model.models)
    payload = bytes([PLAIN]) + writer.getvalue()
    if size << step_index // 32 << 4 > 1 << 27:
        with pytest.raises(CorruptError, match="beyond"):
            decode_unit(payload, CONTEXT, state, model)
    else:
        assert decode_unit(payload, CONTEXT, state, model)[0].shape == PIXELS.shape


@pytest.mark.parametrize(
    ("max_error", "generation"), [(None, 2), (None, 3), (None, 4), (3, 1), (3, 2), (3, 3), (3, 4)]
)
def test_flipped_bits_decode_or_are_refused(
    model: EntropyModel, coder: int, max_error: int | None, generation: int
) -> None:
    state = states(CONTEXT, PIXELS, generation)["both"]
    encoded, _ = check(PIXELS, CONTEXT, state, model, max_error)
    changed = 0
    for bit in range(8, 8 * len(encoded.payload), 8 * len(encoded.payload) // 12):
        payload = bytearray(encoded.payload)
        payload[bit // 8] ^= 1 << bit % 8
        try:
            decoded, _ = decode_unit(bytes(payload), CONTEXT, copy(state), model)
        except CorruptError:
            changed += 1
            continue
        changed += not np.array_equal(decoded, encoded.decoded)
    assert changed
