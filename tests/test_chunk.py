"""Self-contained chunks: what comes back, what they cost, and what damage does to them."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import scenes

from stvc.chunk import ChunkSettings, decode_chunk, encode_chunk, read_head
from stvc.chunk_head import MAGIC, varint
from stvc.errors import (
    CorruptError,
    CorruptInputError,
    ModelError,
    StvcError,
    TooLargeError,
    VersionError,
)
from stvc.model.weights import default_model_id
from stvc.quality import quality_settings

FINE = ChunkSettings(150)
LOSSLESS = ChunkSettings(150, 0)


def sealed(body: bytes) -> bytes:
    """Put a valid checksum behind what an attacker wrote."""
    return body + struct.pack("<I", google_crc32c.value(body))


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return scenes.ground(3, 3, 4, (40, 24))


@pytest.mark.parametrize("bound", [0, 7, 200])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 1, 9, 17), (1, 5, 8, 3)])
def test_a_bound_holds_for_every_shape(bound: int, shape: tuple[int, int, int, int]) -> None:
    pixels = scenes.ground(1, *shape[:2], shape[2:])
    step = quality_settings(None, None, bound, False, "keep", "recent").step_index
    decoded = decode_chunk(encode_chunk(pixels, ChunkSettings(step, bound)), shape)
    assert decoded.dtype == np.uint16
    assert np.abs(decoded.astype(int) - pixels).max() <= bound


def test_zeros_come_back_and_none_comes_anew(frames: np.ndarray) -> None:
    holes = frames.copy()
    holes[1, :, 5:20, 3:9] = 0  # nodata in every band
    holes[2, 1, 30:33] = 0  # a dropped line of one band
    holes[0, :, 0, 0] = 1  # what a coarse step could turn into 0
    for settings in (ChunkSettings(300), ChunkSettings(200, 20), LOSSLESS):
        decoded = decode_chunk(encode_chunk(holes, settings))
        np.testing.assert_array_equal(decoded == 0, holes == 0)
    nothing = np.zeros((2, 3, 10, 10), np.uint16)
    assert len(encode_chunk(nothing, FINE)) < 120
    np.testing.assert_array_equal(decode_chunk(encode_chunk(nothing, FINE)), nothing)


def test_extremes_survive_without_loss() -> None:
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 65536, (2, 3, 16, 16), dtype=np.uint16)
    noise[0, 0, 0] = 65535
    coded = encode_chunk(noise, LOSSLESS)
    np.testing.assert_array_equal(decode_chunk(coded), noise)
    assert len(coded) < noise.nbytes + 1000


def test_many_bands() -> None:
    pixels = scenes.ground(2, 1, 20, (8, 8))
    np.testing.assert_array_equal(decode_chunk(encode_chunk(pixels, LOSSLESS)), pixels)


def test_tiles_beyond_one() -> None:
    pixels = scenes.ground(2, 2, 1, (20, 300))
    coded = encode_chunk(pixels, ChunkSettings(250, 60))
    assert np.abs(decode_chunk(coded).astype(int) - pixels).max() <= 60


def test_frames_help_each_other(frames: np.ndarray) -> None:
    together = len(encode_chunk(frames, FINE))
    apart = sum(len(encode_chunk(frames[t : t + 1], FINE)) for t in range(len(frames)))
    assert together < 0.9 * apart


def test_a_chunk_says_what_it_is(frames: np.ndarray) -> None:
    settings = ChunkSettings(210, 12, gsd=20, days=3)
    coded = encode_chunk(frames, settings)
    head = read_head(coded)
    assert head.shape == frames.shape
    assert head.settings == ChunkSettings(210, 12, 20, 3, default_model_id())
    assert head.size < 80  # of 4 bands: 44 for the spectral transform, 12 for the model's id


def test_the_same_bytes_in_another_process(frames: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", frames)
    program = (
        "import sys, numpy as np, torch; torch.set_num_threads(2)\n"
        "from stvc.chunk import ChunkSettings, encode_chunk\n"
        "frames = np.load(sys.argv[1]).astype('>u2').astype(np.uint16)\n"
        "sys.stdout.buffer.write(encode_chunk(frames, ChunkSettings(150)))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "frames.npy")]
    again = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300).stdout
    assert again == encode_chunk(frames, FINE)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 1, 4, 4), np.int16),
        np.zeros((1, 1, 4, 4), np.float32),
        np.zeros((4, 4), np.uint16),
        np.zeros((1, 0, 4, 4), np.uint16),
    ],
)
def test_what_is_no_stack_of_frames_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(CorruptInputError, match="uint16 array"):
        encode_chunk(pixels, FINE)


# ---------------------------------------------------------------- damage


def test_every_flipped_byte_is_noticed(frames: np.ndarray) -> None:
    coded = encode_chunk(frames[:1, :1], FINE)
    for position in range(len(coded)):
        broken = bytearray(coded)
        broken[position] ^= 1 << position % 8
        with pytest.raises(StvcError) as caught:
            decode_chunk(bytes(broken))
        assert isinstance(caught.value, CorruptError | VersionError)


def test_every_truncation_is_noticed(frames: np.ndarray) -> None:
    coded = encode_chunk(frames[:1, :1], FINE)
    for size in range(len(coded)):
        with pytest.raises(CorruptError):
            decode_chunk(coded[:size])
    for size in (*range(2, 40), len(coded) // 2, len(coded) - 5):
        with pytest.raises(CorruptError):
            # With a checksum that fits, the parser has to notice.
            decode_chunk(sealed(coded[:size]), (1, 1, 40, 24))
    with pytest.raises(CorruptError, match="behind its end"):
        decode_chunk(sealed(coded[:-4] + b"\0"))


def test_forged_heads(frames: np.ndarray) -> None:
    coded = encode_chunk(frames[:1, :1], FINE)
    model = default_model_id().encode()
    with pytest.raises(VersionError, match="version 9"):
        decode_chunk(sealed(bytes([MAGIC, 9]) + coded[2:-4]))
    with pytest.raises(VersionError, match="bit stream version 99"):
        decode_chunk(sealed(coded[:2] + b"\x63" + coded[3:-4]))
    with pytest.raises(ModelError, match="xx1-3966319a"):
        decode_chunk(sealed(coded[:-4].replace(model, b"xx1-3966319a")))
    with pytest.raises(CorruptError, match="no stvc chunk"):
        decode_chunk(b"\x02\x01" + coded[2:])
    start = coded[:2] + varint(1) + varint(len(model)) + model
    for shape in ((1, 1, 1 << 16, 1 << 16), (1 << 30, 1, 1, 1), (1, 0, 8, 8)):
        with pytest.raises(TooLargeError, match="samples"):
            decode_chunk(sealed(start + b"".join(map(varint, shape)) + bytes(60)))
    with pytest.raises(CorruptError, match="1 x 1 x 40 x 24 samples .* 2 x 1 x 40 x 24 are"):
        decode_chunk(coded, (2, 1, 40, 24))
