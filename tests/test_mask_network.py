"""The network that corrects mask votes: as the format tells, bounded, and worth its bytes."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import scenes
import xarray as xr
from test_format_pages import program
from test_mask_coder import check, scene

import stvc
from stvc.archive import ArchiveReader, Kind, UnitKey
from stvc.codec import mask_network
from stvc.codec.mask_coder import Earlier, decode_mask, encode_mask
from stvc.codec.mask_network import Place, Seen, load_network, refined
from stvc.errors import CorruptError
from stvc.header import open_place
from stvc.xarray_backend.lru import ByteCache
from stvc.xarray_backend.masks_of_frames import FrameMasks

REFINED = 3


@pytest.mark.parametrize("is_scene", [True, False])
def test_votes_are_corrected_as_told(is_scene: bool) -> None:
    corrected = program("masks.md", "mask_network.py")["corrected"]
    network, missing = load_network(is_scene), 12 if is_scene else 2
    weights = {name: array.tolist() for name, array in asdict(network).items()}
    rng = np.random.default_rng(3)
    for _ in range(30):
        labels = np.sort(rng.permutation(missing)[: rng.integers(2, missing + 1)])
        few = np.append(labels[: rng.integers(1, len(labels) + 1)], missing)
        seen = Seen(*(rng.choice(few, (4, n)).astype(np.uint8) for n in (36, 13, 9)))
        votes = rng.integers(-900, 900, (4, len(labels))) // rng.choice([1, 30, 900])
        rarity = rng.integers(0, 9, len(labels))
        kind, octave, rough = (int(rng.integers(n)) for n in (4, 5, 6))
        found = refined(network, votes, labels, seen, Place(kind, octave, rough, rarity))
        for k in range(4):
            around, past, second = (part[k].tolist() for part in seen)
            told = corrected(
                *(weights, missing, labels.tolist(), votes[k].tolist(), around, past, second),
                *(kind, octave, rough, rarity.tolist()),
            )
            assert found[k].tolist() == told


def test_weights_are_the_frozen_ones_and_fit_the_registers() -> None:
    digest = hashlib.sha256()
    for classes in (12, 2):
        network = load_network(classes == 12)
        arrays = [np.asarray(a, np.int64) for a in asdict(network).values()]
        assert [a.shape for a in arrays] == mask_network.shapes(classes)
        for array in arrays:
            digest.update(array.astype("<i2").tobytes())
        counts, margin, common, place, label, out = map(np.abs, arrays)
        most = np.array([4, 4, 4, 8, 4, 12, 8, 8, 1, 4, 4, 4, 1, 4, 4, 8]) @ counts
        most += np.array([4, 4, 4, 1, 1, 8, 8, 5]) @ common + (margin * 32 * 512 >> 16) + 1
        most += place.max(axis=(0, 1)) + label.max(axis=0)
        assert most.max() < 2**15
        assert (out @ most).max() < 2**31
    assert digest.hexdigest() == FROZEN


FROZEN = "7e95408365a810ea8373686918028fe2c1a2c5d41f1f9aed5e7264e0fa9eaf5f"


def test_a_second_raster_saves_bytes_from_generation_4_on() -> None:
    classes, ground = scene((64, 64), 1), scene((64, 64), 40)
    first, second = classes.copy(), classes.copy()
    first[:32], second[32:] = ground[:32], ground[32:]
    both = Earlier(first, second)
    new, old = check(classes, both), check(classes, both, 3)
    assert old == check(classes, first, 3)
    assert new[0] & 3 == REFINED
    assert len(new) < 0.8 * min(len(old), len(check(classes, first)))
    with pytest.raises(CorruptError, match="needs the mask before"):
        decode_mask(new, classes.shape)


@pytest.mark.parametrize(
    "values",
    [(0, 1), (0, 255), (3, 200), (4, 5), (0, 4), (1, 4, 9), (0, 1, 2, 3), tuple(range(12))],
)
@pytest.mark.parametrize("repeated", [False, True])
def test_all_alphabets(values: tuple[int, ...], repeated: bool) -> None:
    ranks = np.searchsorted([4, 5, 8, 9, 3], scene((40, 33), 6)) % len(values)
    classes = np.array(values, np.uint8)[ranks + (len(values) > 5) * 3]
    classes[0, : len(values)] = values
    if repeated:
        classes = classes.repeat(2, axis=0).repeat(2, axis=1)[:-1]
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, classes.shape, dtype=np.uint8)
    for earlier in (None, classes.copy(), Earlier(classes, noise), Earlier(noise, classes)):
        assert check(classes, earlier)[0] & 3 == REFINED or len(values) == 2


def test_generation_3_is_never_corrected() -> None:
    for seed in range(5):
        classes = scene((48, 40), seed)
        for previous in (None, scene((48, 40), seed + 1)):
            assert encode_mask(classes, previous, 3)[0] & 3 != REFINED


@pytest.mark.parametrize(
    "payload",
    [
        *(b"\x43\0\0", b"\x83\0\0", b"\x13\0\0\0", b"\x13\1\0\0", b"\x33\x10\x04\0\0"),
        *(b"\x33\xff", b"\x23\5\5\0\0", b"\x23\5", b"\x07\0\0"),
    ],
)
def test_heads_that_no_encoder_writes(payload: bytes) -> None:
    with pytest.raises(CorruptError):
        decode_mask(payload, (8, 8))


def test_second_rasters_must_fit() -> None:
    classes = scene((16, 16), 1)
    with pytest.raises(ValueError, match="previous raster is uint8 \\(15, 16\\)"):
        encode_mask(classes, Earlier(classes, classes[1:]))


@pytest.fixture
def cloudy() -> xr.Dataset:
    """Dates whose classes resemble each other."""
    ds = scenes.dataset(9, (48, 48), groups={"": ("B04",)}, mask="SCL")
    rng = np.random.default_rng(5)
    ground = scene((48, 48), 3)
    for k in range(9):
        noisy = np.where(rng.random((48, 48)) < 0.05, 5, ground)
        ds["SCL"][k] = np.roll(noisy, k // 3, axis=0)
    return ds


def kinds(path: Path) -> list[int]:
    """Kind of each frame's mask."""
    with ArchiveReader.open(path) as reader:
        keys = [UnitKey(Kind.MASK, frame, 0, 0) for frame in range(len(reader.frames))]
        return [reader.read(key)[0] & 3 for key in keys]


@pytest.mark.parametrize("first", [9, 4, 1])
def test_masks_of_single_dates(tmp_path: Path, cloudy: xr.Dataset, first: int) -> None:
    """Both readers find the second raster, whichever date they are asked for."""
    path = tmp_path / "a.stvc"
    stvc.encode(cloudy.isel(time=slice(0, first)), path)
    for k in range(first, 9):
        stvc.append(cloudy.isel(time=[k]), path)
    assert kinds(path).count(REFINED) >= 8
    wanted = cloudy["SCL"].values
    for k in (5, 8, 2):
        with xr.open_dataset(path, engine="stvc") as lazy:
            np.testing.assert_array_equal(lazy["SCL"][k].values, wanted[k])
        with stvc.open(path) as archive:
            one = archive.to_xarray(time=cloudy["time"].values[k])
            np.testing.assert_array_equal(one["SCL"].values.squeeze(), wanted[k])
    with xr.open_dataset(path, engine="stvc") as lazy:
        np.testing.assert_array_equal(lazy["SCL"].values, wanted)


def test_a_cache_too_small_for_masks(tmp_path: Path, cloudy: xr.Dataset) -> None:
    """What the cache drops is decoded again."""
    path = tmp_path / "a.stvc"
    stvc.encode(cloudy, path)
    with ArchiveReader.open(path) as reader:
        place = open_place(reader).place
        masks = FrameMasks(reader, place, ByteCache(48 * 48 + 10))
        order = np.argsort([frame.time for frame in reader.frames])
        for k in (6, 1, 6, 8):
            found = masks.classes(int(order[k]), reader.read)
            np.testing.assert_array_equal(found, cloudy["SCL"].values[k])


def test_archives_of_generation_3_stay_readable_by_their_readers(
    tmp_path: Path,
) -> None:
    golden = Path(__file__).parent / "golden" / "v3" / "fast.stvc"
    path = tmp_path / "old.stvc"
    path.write_bytes(golden.read_bytes())
    with stvc.open(path) as archive:
        old = archive.to_xarray()
    later = old.isel(time=[1]).assign_coords(time=old["time"][-1:] + np.timedelta64(5, "D"))
    stvc.append(later, path)
    assert set(kinds(path)) == {0}
