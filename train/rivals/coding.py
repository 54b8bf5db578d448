"""A rival's latents as bytes and back: real range coding, one payload per date."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import constriction
import numpy as np
import torch
from torch.nn import functional

from rivals.model import SCALE_DN, Density, Rival, normalized

_HEAD = struct.Struct("<hh")
_LIMIT = 32767
I32 = np.ndarray[Any, np.dtype[np.int32]]


def load_rival(path: Path) -> tuple[Rival, dict[str, Any]]:
    """Read what `train.py` wrote: the network, and how it was trained."""
    state = torch.load(path, weights_only=True)
    net = Rival(state["kind"] == "hyperprior")
    net.load_state_dict(state.pop("net"))
    state.pop("optimizer", None)
    return net.eval(), state


def _bounds(symbols: I32) -> tuple[int, int]:
    """Smallest range of two integers or more that holds the symbols."""
    low = int(symbols.min())
    return low, max(int(symbols.max()), low + 1)


def _tables(density: Density, gain: torch.Tensor, low: int, high: int) -> list[Any]:
    """Per channel a categorical model of the integers ``low`` to ``high``."""
    edges = torch.arange(low, high + 2, dtype=torch.float32) - 0.5
    cumulative = torch.sigmoid(density.logits(edges / gain.reshape(-1, 1))).double().numpy()
    mass = np.maximum(np.diff(cumulative, axis=1), 1e-9)
    return [constriction.stream.model.Categorical(row / row.sum(), perfect=False) for row in mass]


def _integers(values: torch.Tensor) -> I32:
    return values.round().clamp(-_LIMIT, _LIMIT)[0].numpy().astype(np.int32)


def _pack(symbols: I32, encoder: Any) -> bytes:
    """Four bytes of range, then the coder's words without the trailing zero bytes."""
    words: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return _HEAD.pack(*_bounds(symbols)) + words


def _words(stream: bytes) -> Any:
    return np.frombuffer(stream, "<u4").astype(np.uint32)


def _encode_factorized(density: Density, gain: torch.Tensor, symbols: I32) -> bytes:
    encoder = constriction.stream.queue.RangeEncoder()
    models = _tables(density, gain, *_bounds(symbols))
    for channel, model in zip(symbols, models, strict=True):
        encoder.encode(np.ascontiguousarray(channel.reshape(-1) - _bounds(symbols)[0]), model)
    return _pack(symbols, encoder)


def _decode_factorized(
    density: Density, gain: torch.Tensor, stream: bytes, shape: tuple[int, int]
) -> torch.Tensor:
    low, high = _HEAD.unpack_from(stream)
    decoder = constriction.stream.queue.RangeDecoder(_words(stream[_HEAD.size :]))
    count = shape[0] * shape[1]
    planes = [decoder.decode(model, count) + low for model in _tables(density, gain, low, high)]
    return torch.from_numpy(np.stack(planes).reshape(1, -1, *shape)).float()


def _normal(sigma: torch.Tensor, low: int, high: int) -> tuple[Any, Any, Any]:
    deviations = sigma[0].reshape(-1).double().numpy()
    family = constriction.stream.model.QuantizedGaussian(low, high)
    return family, np.zeros_like(deviations), deviations


@torch.no_grad()
def encode_frame(net: Rival, frame: np.ndarray, mean: np.ndarray, nominal: float) -> list[bytes]:
    """Code one date.

    Parameters
    ----------
    net : Rival
    frame : ndarray, (4, H, W) uint16
        Hidden pixels already replaced.
    mean : ndarray, (4,) float32
        DN that is subtracted; the decoder gets it as well.
    nominal : float
        Which gain, see `rivals.model.NOMINAL`.

    Returns
    -------
    list of bytes
        One stream, or with a hyperprior two.
    """
    x = normalized(frame[None], mean)
    height, width = x.shape[2:]
    x = functional.pad(x, (0, -width % net.multiple, 0, -height % net.multiple), mode="replicate")
    latents = net.analysis(x)
    gain, _ = net.gains(torch.tensor([nominal]))
    if not net.hyperprior:
        return [_encode_factorized(net.density, gain, _integers(latents * gain))]
    hyper_gain, hyper_inverse = net.hyper_gains(torch.tensor([nominal]))
    hyper = _integers(net.hyper_analysis(latents * net.middle) * hyper_gain)
    mean_of, sigma = net.normal_of(torch.from_numpy(hyper).float()[None] * hyper_inverse, gain)
    symbols = _integers(latents * gain - mean_of)
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(symbols.reshape(-1), *_normal(sigma, *_bounds(symbols)))
    return [_encode_factorized(net.density, hyper_gain, hyper), _pack(symbols, encoder)]


@torch.no_grad()
def decode_frame(
    net: Rival, streams: list[bytes], mean: np.ndarray, nominal: float, size: tuple[int, int]
) -> np.ndarray:
    """Decode one date to (4, H, W) uint16, from its bytes and what `encode_frame` was given."""
    height, width = size
    across = [-(-side // net.multiple) * net.multiple // 8 for side in size]
    gain, inverse = net.gains(torch.tensor([nominal]))
    if net.hyperprior:
        hyper_gain, hyper_inverse = net.hyper_gains(torch.tensor([nominal]))
        coarse = (across[0] // 4, across[1] // 4)
        hyper = _decode_factorized(net.density, hyper_gain, streams[0], coarse)
        mean_of, sigma = net.normal_of(hyper * hyper_inverse, gain)
        low, high = _HEAD.unpack_from(streams[1])
        decoder = constriction.stream.queue.RangeDecoder(_words(streams[1][_HEAD.size :]))
        symbols = decoder.decode(*_normal(sigma, low, high)).reshape(mean_of.shape)
        latents = torch.from_numpy(symbols).float() + mean_of
    else:
        latents = _decode_factorized(net.density, gain, streams[0], (across[0], across[1]))
    decoded = net.synthesis(latents * inverse)[0, :, :height, :width].numpy() * SCALE_DN
    shifted = decoded + mean[:, None, None]
    rounded: np.ndarray = np.rint(shifted).clip(0, 65535).astype(np.uint16)
    return rounded
