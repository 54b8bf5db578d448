"""A decoder written from the format pages alone: one frame, one band, the plain coder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from safetensors.numpy import load_file
from test_format_pages import program

import stvc
from stvc.codec.unit import PLAIN as PLAIN_CODER
from stvc.model.weights import PACKAGED

BANDS = ((0, 1), (1, 3), (3, 6), (6, 10), (10, 15), (15, 28), (28, 45), (45, 64))
Ints = list[int]


class Symbols:
    """Integers, flags and batches of a range-coded payload (entropy.md)."""

    def __init__(self, payload: bytes, model: str) -> None:
        coder = program("entropy.md", "rangecoder.py")
        self.names = coder
        padded = payload + bytes(-len(payload) % 4)
        self.coder = coder["RangeDecoder"](np.frombuffer(padded, "<u4").tolist())
        tensors = load_file(PACKAGED / f"{model}.safetensors")
        self.frequencies = tensors["tables.frequencies"].tolist()
        self.starts = tensors["tables.starts"].tolist()

    def uniform(self, size: int) -> int:
        return int(self.coder.decode(self.names["uniform"](size)))

    def flag(self, *odds: int) -> int:
        return int(self.coder.decode(self.names["categorical"](list(odds))))

    def bits(self, amount: int, count: int) -> Ints:
        low = min(count, 12)
        found = [self.uniform(1 << low) for _ in range(amount)]
        more = self.bits(amount, count - low) if count > low else [0] * amount
        return [a | b << low for a, b in zip(found, more, strict=True)]

    def batch(self, scales: Ints) -> Ints:
        """Symbols at location 0."""
        low_bits = [max(math.ceil((s - 33) / 4), 0) for s in scales]
        fractions = [0 if n else 4 for n in low_bits]
        tables = [f * 34 + s - 4 * n for f, s, n in zip(fractions, scales, low_bits, strict=True)]
        high, reaches = [0] * len(scales), [0] * len(scales)
        for k in sorted(range(len(scales)), key=lambda k: tables[k]):
            start, stop = self.starts[tables[k] : tables[k] + 2]
            reaches[k] = (stop - start - 2) // 2
            row = self.names["categorical"](self.frequencies[start:stop])
            high[k] = self.coder.decode(row) - reaches[k]
        low = [0] * len(scales)
        for n in sorted(set(low_bits) - {0}):
            chosen = [k for k, m in enumerate(low_bits) if m == n]
            for k, value in zip(chosen, self.bits(len(chosen), n), strict=True):
                low[k] = value
        for k, reach in enumerate(reaches):
            if high[k] == reach + 1:
                length = self.uniform(24)
                excess = self.bits(1, length)[0] if length else 0
                high[k] = -(reach + excess) if self.flag(1, 1) else reach + excess
        return [h << n | v for h, n, v in zip(high, low_bits, low, strict=True)]


def step(index: int) -> int:
    mantissa, shift = round(2 ** (index % 32 / 32 + 16)), 12 - index // 32
    return (mantissa + (1 << shift >> 1)) >> shift if shift >= 0 else mantissa << -shift


def kernel() -> np.ndarray[Any, np.dtype[np.int64]]:
    """(64, 64) integers of the block transform (transform.md)."""
    one = [[math.cos((2 * n + 1) * k * math.pi / 16) / 2 for n in range(8)] for k in range(8)]
    one[0] = [value / math.sqrt(2) for value in one[0]]
    order = sorted(
        ((v, u) for v in range(8) for u in range(8)),
        key=lambda p: (sum(p), p[0] if sum(p) % 2 else p[1]),
    )
    rows = [[one[v][y] * one[u][x] for y in range(8) for x in range(8)] for v, u in order]
    return np.rint(np.array(rows) * 2**18).astype(np.int64)


def round_shift(x: Any, bits: int) -> Any:
    return (x + (1 << bits >> 1)) >> bits


def corrections(decoded: Any, expected: Any, symbols: Any, index: int, spread: int) -> Any:
    """Corrections of a component (H, W) that knows nothing, in 1/256 step (restoration.md)."""
    height, width = decoded.shape
    layers = load_file(Path(stvc.__file__).parent / "codec" / "restoration-1.safetensors")
    axial, diagonal = [(0, 1), (1, 0), (0, -1), (-1, 0)], [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    near = axial + diagonal
    far = [(2 * dy, 2 * dx) for dy, dx in axial]

    def u(x: Any) -> Any:
        return (x * (2**25 // step(index)) + 2**19) >> 20

    def signed(x: Any) -> Any:
        return (x + 2**15) % 2**16 - 2**15

    def around(x: Any, offsets: list[tuple[int, int]]) -> list[Any]:
        wide = np.pad(x, 2, mode="edge")
        return [signed(wide[2 + dy :, 2 + dx :][:height, :width] - x) for dy, dx in offsets]

    def per_token(values: Any) -> Any:
        return values.reshape(height // 8, width // 8).repeat(8, 0).repeat(8, 1)

    rows, columns = np.mgrid[:height, :width] % 8
    nearest = [np.minimum(x, 7 - x) for x in (rows, columns)]
    log = np.array([min(math.floor(16 * math.log2(1 + n) + 1e-9), 96) for n in range(65)])
    sizes = [log[(np.abs(symbols) > limit).sum(1)] for limit in (0, 1)]
    fine = index * 8 // 32
    inputs = [
        *around(u(decoded), near + far), *around(u(expected), near),
        signed(u(decoded) - u(expected)),
        *[0 * rows] * 8, *[64 * (x == k) for x in nearest for k in range(4)],
        0 * rows + 64, 0 * rows, 0 * rows, 0 * rows + fine - 40, 0 * rows + spread - fine,
        0 * rows + 64, *[per_token(n) for n in sizes], 0 * rows, 0 * rows, 0 * rows,
    ]  # fmt: skip
    x = np.clip(np.stack(inputs), -127, 127).reshape(48, -1)
    for k, finer in enumerate((0, 0, 2)):
        weight, bias, bits = (
            layers[f"{k}.{name}"].astype(np.int64) for name in ("weight", "bias", "bits")
        )
        bits = (bits - finer)[:, None]
        assert (bits >= 0).all()
        x = (weight @ x + bias[:, None] + (1 << bits >> 1)) >> bits
        x = x if finer else np.clip(x, 0, 127)
    return x.reshape(height, width)


def joined(blocks: Any, height: int, width: int) -> Any:
    """Tokens (N, 64) to a plane."""
    return blocks.reshape(height // 8, width // 8, 8, 8).swapaxes(1, 2).reshape(height, width)


def decode(path: Path) -> Any:
    """Pixels of an archive of one frame, one band, no mask, whose unit is plain."""
    dictionary = (Path(stvc.__file__).parent / "archive" / "dictionary-1.zdict").read_bytes()
    header, _, units = program("file.md", "reader.py")["read_archive"](path, dictionary)
    payload, _ = units[0, 0, 0, 0]
    assert payload[0] == 1, "the plain coder was wanted"
    read = Symbols(payload[1:], header["model"])
    index = header["settings"]["step_index"] if read.flag(1, 15) else read.uniform(449)
    offset = read.uniform(255) - 127 if read.flag(3, 1) else 0
    toward = [read.uniform(15) - 7 for _ in range(2)]
    strength = 4 * read.flag(1, 2) if read.flag(1, 2) else read.uniform(8)
    assert not read.flag(1, 1), "one component cannot be turned"
    scales = [read.uniform(56) for _ in BANDS]
    row = [s for s, (low, high) in zip(scales, BANDS, strict=True) for _ in range(low, high)]
    height, width = (header["grids"][0][axis][2] for axis in "yx")
    tokens = height * width // 64
    symbols = np.array(read.batch(row * tokens)).reshape(tokens, 64)

    (klt,) = header["klts"]
    matrix, mean = klt["matrix"][0], klt["mean"][0]
    basis = kernel()
    flat = np.full(64, round_shift(matrix * mean, 10))
    predicted = round_shift(basis @ flat, 18)
    predicted[0] += offset * step(index)
    inward = np.where(np.abs(symbols) == 1, toward[0], toward[1])
    size = ((32 * np.abs(symbols) - inward) * step(index) + 16) // 32
    blocks = round_shift((predicted + np.sign(symbols) * size) @ basis, 18)
    decoded = joined(blocks, height, width)
    expected = joined(np.tile(round_shift(predicted @ basis, 18), (tokens, 1)), height, width)
    moved = corrections(decoded, expected, symbols, index, klt["spread"][0])
    decoded = decoded + ((moved * strength * step(index) + 512) >> 10)
    return np.clip(round_shift(matrix * decoded, 18), 1, 65535)


@pytest.mark.parametrize(("seed", "quality"), [(1, 10), (2, 40), (3, 70)])
def test_pages_are_enough_to_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, quality: float
) -> None:
    # The plain coder shall win.
    monkeypatch.setattr("stvc.codec.unit_encoder.cheaper_coder", lambda *_: PLAIN_CODER)
    rng = np.random.default_rng(seed)
    pixels = rng.normal(3000, 900, (1, 16, 24)).clip(1, 60000).astype(np.uint16)
    pixels[0, 3, 5] = 60000
    ds = xr.Dataset(
        {"B04": (("time", "y", "x"), pixels)},
        {"time": [np.datetime64("2024-06-01", "s")], "y": np.arange(16) * -10.0,
         "x": np.arange(24) * 10.0},
    )  # fmt: skip
    path = tmp_path / "one.stvc"
    stvc.encode(ds, path, quality=quality)
    assert np.array_equal(decode(path), stvc.open(path).to_xarray().B04.values[0])
