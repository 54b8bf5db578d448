"""The mask coder: exact for every raster, small for real ones, never larger than raw."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stvc.codec.mask_coder import Earlier, decode_mask, encode_mask
from stvc.codec.mask_tables import OFFSETS, load_tables
from stvc.errors import CorruptError

ZSTD_PAYLOAD = 0x12
SHAPES = [
    (1, 1),
    (1, 2),
    (2, 1),
    (1, 57),
    (33, 1),
    (2, 2),
    (3, 5),
    (17, 31),
    (32, 32),
    (64, 64),
    (65, 63),
]


def smooth_field(shape: tuple[int, int], seed: int, sigma: int = 5) -> np.ndarray:
    """Noise after three box filters: blobs with ragged edges, as clouds have."""
    field = np.random.default_rng(seed).normal(size=shape)
    for _ in range(3):
        for axis in (0, 1):
            field = sum(np.roll(field, k, axis) for k in range(-sigma // 2, sigma // 2 + 1))
    return field / field.std()


def scene(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Scene classes like a real one's: fields of 4 and 5 with noise, clouds of 8, 9 and 3."""
    rng = np.random.default_rng(seed)
    ground = np.where(smooth_field(shape, seed, 3) + rng.normal(0, 0.2, shape) > 0.3, 5, 4)
    cloud = smooth_field(shape, seed + 1, 9)
    classes = np.where(cloud > 0.9, 8, ground)
    classes = np.where(cloud > 1.3, 9, classes)
    return np.where(np.roll(cloud, 4, 0) > 1.1, np.where(classes < 8, 3, classes), classes).astype(
        np.uint8
    )


def check(
    classes: np.ndarray, previous: np.ndarray | Earlier | None = None, generation: int = 4
) -> bytes:
    payload = encode_mask(classes, previous, generation)
    found = decode_mask(payload, classes.shape, previous)
    assert found.dtype == np.uint8 and np.array_equal(found, classes)
    assert encode_mask(classes, previous, generation) == payload
    assert len(payload) <= classes.size + 1
    return payload


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "values", [(0, 1), (4, 5, 8), tuple(range(12)), (0, 255), (7, 250, 9), tuple(range(256))]
)
def test_noise_round_trips(shape: tuple[int, int], values: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(values) * 1000 + shape[0])
    classes = rng.choice(np.array(values, np.uint8), shape)
    previous = rng.choice(np.array(values, np.uint8), shape)
    check(classes)
    check(classes, previous)
    check(classes, rng.integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("shape", [*SHAPES, (0, 0), (0, 5), (3000, 2)])
@pytest.mark.parametrize("value", [0, 1, 4, 11, 12, 255])
def test_constant_rasters_cost_at_most_a_byte(shape: tuple[int, int], value: int) -> None:
    assert len(check(np.full(shape, value, np.uint8))) <= 1


rasters = st.tuples(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=24),
    st.sampled_from([1, 2, 11, 12, 255]),
).flatmap(
    lambda drawn: st.tuples(
        hnp.arrays(np.uint8, drawn[0], elements=st.integers(0, drawn[1])),
        st.none() | hnp.arrays(np.uint8, drawn[0], elements=st.integers(0, drawn[1])),
    )
)


@settings(deadline=None, max_examples=60)
@given(rasters)
def test_any_raster_round_trips(pair: tuple[np.ndarray, np.ndarray | None]) -> None:
    check(*pair)


@pytest.mark.parametrize("odd", [0, 1])
def test_repeated_raster_costs_as_much_as_the_small_one(odd: int) -> None:
    """A 20 m mask on the 10 m grid; an odd raster cuts the last pixels."""
    small = scene((32, 32), 3)
    large = small.repeat(2, axis=0).repeat(2, axis=1)[: 64 - odd, : 64 - odd]
    assert len(check(large)) == len(check(small))
    before = scene((32, 32), 9).repeat(2, axis=0).repeat(2, axis=1)[: 64 - odd, : 64 - odd]
    check(large, before)


def test_non_contiguous_input() -> None:
    wide = scene((64, 64), 5)
    assert encode_mask(wide[::2, ::3]) == encode_mask(np.ascontiguousarray(wide[::2, ::3]))
    check(wide.T, wide.T[::-1])


def test_boolean_cloud_mask_beats_zstd_by_a_third() -> None:
    zstd, ours = 0, 0
    for seed in range(8):
        mask = (smooth_field((64, 64), seed, 9) > 0.8).astype(np.uint8)
        compressor = zstandard.ZstdCompressor(level=19, write_content_size=False)
        zstd += len(compressor.compress(np.packbits(mask).tobytes()))
        ours += len(check(mask))
    assert ours < 0.67 * zstd


def test_scene_classes_beat_zstd_by_a_third() -> None:
    zstd, ours = 0, 0
    for seed in range(8):
        classes = scene((64, 64), seed)
        compressor = zstandard.ZstdCompressor(level=19, write_content_size=False)
        zstd += len(compressor.compress(classes.tobytes()))
        ours += len(check(classes))
    assert ours < 0.67 * zstd


def test_no_raster_costs_more_than_its_zstd_frame() -> None:
    """Periodic texture suits zstd more than the model, which takes over 15 times as much."""
    y, x = np.mgrid[:96, :80]
    texture = np.random.default_rng(4).choice(np.array([4, 5, 8], np.uint8), 97)
    for classes in (((7 * x + 3 * y) % 11 < 4).astype(np.uint8), texture[(x + 5 * y) % 97]):
        payload = check(classes)
        frame = zstandard.ZstdCompressor(level=19).compress(classes.tobytes())
        assert payload[0] == ZSTD_PAYLOAD and len(payload) == len(frame) + 1


def test_resembling_previous_raster_saves_bytes() -> None:
    classes = scene((64, 64), 1)
    previous = classes.copy()
    previous[20:30, 10:40] = 9
    assert len(check(classes, previous)) < 0.5 * len(check(classes))
    unlike = scene((64, 64), 77)[::-1]
    assert len(check(classes, unlike)) <= len(check(classes))


def test_previous_raster_is_asked_for() -> None:
    classes = scene((64, 64), 1)
    payload = encode_mask(classes, classes)
    with pytest.raises(CorruptError, match="needs the mask before"):
        decode_mask(payload, (64, 64))


@pytest.mark.parametrize(
    "classes", [np.zeros((2, 2), np.uint16), np.zeros(4, np.uint8), np.zeros((1, 2, 2), np.uint8)]
)
def test_wrong_rasters_are_refused(classes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="want a \\(H, W\\) uint8 raster"):
        encode_mask(classes)
    with pytest.raises(ValueError, match="previous raster"):
        encode_mask(np.zeros((3, 3), np.uint8), classes)


def test_damaged_payloads_raise_or_decode_to_something() -> None:
    """The archive's checksum finds damage first; here only crashes and hangs are ruled out."""
    rng = np.random.default_rng(0)
    sources = [scene((32, 32), 2), (scene((32, 32), 3) > 6).astype(np.uint8)]
    sources.append(rng.integers(0, 256, (32, 32), dtype=np.uint8))
    sources.append(rng.integers(0, 20, (32, 32), dtype=np.uint8))
    refused = 0
    for classes in sources:
        payload = encode_mask(classes, None, int(rng.choice((3, 4))))
        for _ in range(60):
            damaged = bytearray(payload)
            damaged[int(rng.choice((0, 0, 1, 2, rng.integers(len(damaged)))))] = rng.integers(256)
            damaged = damaged[: int(rng.choice((2, 3, 9, len(damaged))))]
            try:
                assert decode_mask(bytes(damaged), (32, 32), classes).shape == (32, 32)
            except CorruptError:
                refused += 1
    assert refused > 50


def test_no_byte_at_the_end_is_needless() -> None:
    """What any decoder takes for the same raster: no shorter words, cut or rounded up."""

    def decodes(payload: bytes, raster: np.ndarray) -> bool:
        try:
            return np.array_equal(decode_mask(payload, raster.shape), raster)
        except CorruptError:
            return False

    shapes = [(1, 2), (2, 2), (3, 5), (40, 33)]
    rng = np.random.default_rng(5)
    rasters = [scene((40, 33), k) for k in range(15)]
    rasters += [rng.integers(0, 2, shapes[k % 4], dtype=np.uint8) for k in range(60)]
    for raster in rasters:
        payload = encode_mask(raster)
        assert decodes(payload, raster)
        if len(payload) > 2 and payload[0] & 3 != 2:
            cut = payload[:-1]
            assert not decodes(cut, raster)
            if cut[-1] < 255:
                assert not decodes(cut[:-1] + bytes([cut[-1] + 1]), raster)


def test_declared_size_does_not_allocate() -> None:
    bomb = b"\x12" + b"\x28\xb5\x2f\xfd\xe0" + (2**40).to_bytes(8, "little") + b"\x01\0\0"
    with pytest.raises(CorruptError):
        decode_mask(bomb, (8, 8))


def test_large_raster_in_bounded_steps() -> None:
    """Above the size whose walking plan is kept, and above one step per pass."""
    classes = scene((400, 500), 8)
    assert len(check(classes)) < 0.08 * classes.size


def test_tables_have_their_documented_shapes() -> None:
    assert OFFSETS.shape == (36, 2) and len({tuple(offset) for offset in OFFSETS.tolist()}) == 36
    for alphabet, classes in ((True, 12), (False, 2)):
        for previous in (False, True):
            tables = load_tables(alphabet, previous)
            assert tables.affinity.shape == (36, classes + 1, classes)
            assert tables.affinity_before.shape == (classes + 1, classes)
            assert tables.support.shape == (4, 5, 5, 5)
            assert tables.gate.shape == tables.repeat.shape == (4, 10)


@pytest.mark.parametrize("generation", [3, 4])
def test_payloads_are_frozen(generation: int) -> None:
    """Golden bytes: a change here is a change of the bit stream."""
    y, x = np.mgrid[:40, :40]
    disk = ((y - 17) ** 2 + (x - 23) ** 2 < 130).astype(np.uint8)
    fields = (4 + (y // 13 + x // 9) % 2 + 4 * disk).astype(np.uint8)
    digest = hashlib.sha256()
    kinds = []
    for classes, previous in (
        (disk, None),
        (fields, None),
        (disk, disk.T),
        (fields, fields[::-1]),
        (disk * 255, None),
        (np.where(disk, x * y % 7 // 5 + 8, fields).astype(np.uint8), None),
        *(((fields, Earlier(fields[::-1], fields[:, ::-1])),) if generation > 3 else ()),
    ):
        payload = check(classes, previous, generation)
        kinds.append(payload[0] & 3)
        assert kinds[-1] != 2, "a zstd frame would tie the golden value to a zstd release"
        digest.update(payload)
    assert (3 in kinds) == (generation > 3)
    assert digest.hexdigest() == GOLDEN[generation]


GOLDEN = {
    3: "05b3b32121bb17c36b823493e5a47b46a5426134395dff340801b3cdcf65b54e",
    4: "1a3d2a627bbe888492f6a519088dbd49f5727e9dfb2232a0684d6c3e0338ddeb",
}
