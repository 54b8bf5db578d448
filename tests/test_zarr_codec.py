"""The Zarr codec: stores that xarray and zarr write and read, and what they refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr

from stvc.errors import CorruptError, CorruptInputError, QualityError
from stvc.model.weights import default_model_id

zarr = pytest.importorskip("zarr")

from stvc.zarr_codec import StvcCodec  # noqa: E402  (without zarr there is no such module)

CODED = {"serializer": StvcCodec(max_error=5), "compressors": None}


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    """Stand in for the entry point where the package is not installed anew."""
    zarr.registry.register_codec("stvc", StvcCodec)


def store(path: Path, array: np.ndarray, codec: StvcCodec, chunks: Any = None) -> Any:
    made = zarr.create_array(
        path,
        shape=array.shape,
        dtype=array.dtype,
        chunks=chunks or array.shape,
        serializer=codec,
        compressors=None,
    )
    made[...] = array
    return zarr.open_array(path, mode="r")


def test_xarray_writes_and_reads_it(tmp_path: Path) -> None:
    bands = ("B04", "B08")
    ds = scenes.dataset(3, (20, 26), mask="SCL", groups={"": bands}, crs=True)
    encoding = {name: {**CODED, "chunks": (2, 16, 16)} for name in bands}
    ds.to_zarr(tmp_path / "a.zarr", zarr_format=3, encoding=encoding, consolidated=False)
    with xr.open_zarr(tmp_path / "a.zarr", consolidated=False, chunks=None) as read:
        for name in bands:
            assert read[name].dtype == np.uint16
            assert read[name].encoding["chunks"] == (2, 16, 16)
            miss = np.abs(read[name].values.astype(int) - ds[name].values)
            assert 0 < miss.max() <= 5
        np.testing.assert_array_equal(read.SCL.values, ds.SCL.values)
        np.testing.assert_array_equal(read.B04[2, 14:18, 14:18], read.B04.values[2, 14:18, 14:18])


def test_reflectance_is_stored_as_dn(tmp_path: Path) -> None:
    ds = scenes.dataset(2, (16, 16))[["B04"]].astype(np.float32) / 10_000
    packing = {"dtype": "uint16", "scale_factor": 1e-4, "_FillValue": 0}
    encoding = {"B04": {**CODED, **packing}}
    ds.to_zarr(tmp_path / "a.zarr", zarr_format=3, encoding=encoding, consolidated=False)
    with xr.open_zarr(tmp_path / "a.zarr", consolidated=False, chunks=None) as read:
        assert np.abs(read.B04.values - ds.B04.values).max() < 5.01e-4
    with pytest.raises(CorruptInputError, match="holds uint16 .* not float32; of reflectance"):
        ds.to_zarr(tmp_path / "b.zarr", zarr_format=3, encoding={"B04": CODED}, consolidated=False)


def test_dates_are_appended_by_chunks(tmp_path: Path) -> None:
    ds = scenes.dataset(4, (16, 16))[["B04"]]
    where = {"zarr_format": 3, "consolidated": False}
    encoding = {"B04": {**CODED, "chunks": (2, 16, 16)}}
    ds.isel(time=slice(0, 2)).to_zarr(tmp_path / "a.zarr", encoding=encoding, **where)
    first = (tmp_path / "a.zarr/B04/c/0/0/0").read_bytes()
    ds.isel(time=slice(2, 4)).to_zarr(tmp_path / "a.zarr", append_dim="time", **where)
    assert (tmp_path / "a.zarr/B04/c/0/0/0").read_bytes() == first
    with xr.open_zarr(tmp_path / "a.zarr", consolidated=False, chunks=None) as read:
        assert np.abs(read.B04.values.astype(int) - ds.B04.values).max() <= 5


@pytest.mark.parametrize(
    ("axes", "order"),
    [
        (None, (0, 1, 2, 3)),
        (("time", "band", "y", "x"), (0, 1, 2, 3)),
        (("band", "time", "y", "x"), (1, 0, 2, 3)),
        (("y", "x", "band", "time"), (2, 3, 1, 0)),
    ],
)
def test_axes_may_stand_in_any_order(axes: Any, order: Any, tmp_path: Path) -> None:
    frames = scenes.ground(4, 2, 3, (16, 24))
    codec = StvcCodec(lossless=True, axes=axes)
    read = store(tmp_path / "a.zarr", frames.transpose(order), codec)
    np.testing.assert_array_equal(read[...].transpose(np.argsort(order)), frames)
    sizes = {len(p.read_bytes()) for p in (tmp_path / "a.zarr/c").rglob("*") if p.is_file()}
    plain = store(tmp_path / "b.zarr", frames, StvcCodec(lossless=True))
    assert sizes == {int(plain.nbytes_stored() - plain_metadata(tmp_path / "b.zarr"))}


def plain_metadata(path: Path) -> int:
    return (path / "zarr.json").stat().st_size


@pytest.mark.parametrize("shape", [(9, 17), (3, 9, 17), (2, 3, 9, 17), (1, 1)])
def test_two_to_four_axes_and_cut_chunks(shape: tuple[int, ...], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4000, shape, dtype=np.uint16)
    chunks = tuple(min(side, 8) for side in shape)
    read = store(tmp_path / "a.zarr", pixels, StvcCodec(lossless=True), chunks)
    np.testing.assert_array_equal(read[...], pixels)


def test_bands_against_time(tmp_path: Path) -> None:
    frames = scenes.ground(4, 1, 3, (32, 32))[0]
    both = [StvcCodec(quality=50, axes=(axis, "y", "x")) for axis in ("band", "time")]
    sizes = []
    for k, codec in enumerate(both):
        store(tmp_path / f"{k}.zarr", frames, codec)
        sizes.append((tmp_path / f"{k}.zarr/c/0/0/0").stat().st_size)
    assert sizes[0] != sizes[1]


def test_metadata_says_everything(tmp_path: Path) -> None:
    frames = scenes.ground(4, 1, 1, (16, 16))[:, 0]
    store(tmp_path / "a.zarr", frames, StvcCodec())
    (entry,) = json.loads((tmp_path / "a.zarr/zarr.json").read_text())["codecs"]
    assert entry == {
        "name": "stvc",
        "configuration": {
            "quality": 40.0,
            "axes": ["time", "y", "x"],
            "gsd": 10,
            "days": 5,
            "model": default_model_id(),
        },
    }
    codec = StvcCodec.from_dict(entry)
    assert codec.to_dict() == entry
    assert codec == StvcCodec(**entry["configuration"])
    assert hash(codec) == hash(StvcCodec(**entry["configuration"]))


def test_an_installed_stvc_reads_it_without_being_asked(tmp_path: Path) -> None:
    frames = scenes.ground(4, 2, 1, (16, 16))[:, 0]
    store(tmp_path / "a.zarr", frames, StvcCodec(lossless=True))
    program = (
        "import sys, zarr; from importlib.metadata import entry_points\n"
        "assert entry_points(group='zarr.codecs', name='stvc'), 'not installed'\n"
        "print(int(zarr.open_array(sys.argv[1], mode='r')[...].astype('u8').sum()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.zarr")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == frames.astype(np.uint64).sum()


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    frames = scenes.ground(4, 2, 1, (16, 16))[:, 0]
    read = store(tmp_path / "a.zarr", frames, StvcCodec(lossless=True))
    chunk = tmp_path / "a.zarr/c/0/0/0"
    coded = bytearray(chunk.read_bytes())
    coded[len(coded) // 2] ^= 4
    chunk.write_bytes(coded)
    with pytest.raises(CorruptError, match=r"chunk of \d+ bytes is damaged: checksum"):
        read[...]
    store(tmp_path / "b.zarr", frames[:1], StvcCodec(lossless=True))
    chunk.write_bytes((tmp_path / "b.zarr/c/0/0/0").read_bytes())
    with pytest.raises(CorruptError, match="belongs to another array"):
        read[...]


@pytest.mark.parametrize("dtype", ["int16", "uint8", "uint32", "float32", "bool"])
def test_other_types_are_refused(dtype: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptInputError, match=f"holds uint16 .* not {dtype}"):
        store(tmp_path / "a.zarr", np.zeros((8, 8), dtype), StvcCodec())


def test_other_axes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptInputError, match="an array of 1 axes with no axes"):
        store(tmp_path / "a.zarr", np.zeros(8, np.uint16), StvcCodec())
    with pytest.raises(CorruptInputError, match="an array of 5 axes"):
        store(tmp_path / "b.zarr", np.zeros((1,) * 5, np.uint16), StvcCodec())
    with pytest.raises(CorruptInputError, match="2 axes with axes="):
        store(tmp_path / "c.zarr", np.zeros((4, 4), np.uint16), StvcCodec(axes=("time", "y", "x")))


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ({"quality": 50, "lossless": True}, "contradict"),
        ({"quality": 101}, "quality=101"),
        ({"max_error": -1}, "max_error=-1"),
        ({"axes": ["y", "y", "x"]}, "each once"),
        ({"axes": ["time", "lat", "lon"]}, "name y and x"),
        ({"gsd": 0}, "gsd=0"),
        ({"days": 2.5}, "days=2.5"),
        ({"level": 3}, "level is unknown"),
    ],
)
def test_configurations_that_make_no_sense(configuration: dict[str, Any], said: str) -> None:
    with pytest.raises(QualityError, match=said):
        StvcCodec.from_dict({"name": "stvc", "configuration": configuration})


def test_chunks_are_small_beside_what_they_hold(tmp_path: Path) -> None:
    """A chunk costs at most 1 % more than the units of an archive of the same pixels."""
    import stvc

    frames = scenes.ground(4, 1, 4, (128, 128))
    bands = {name: (("time", "y", "x"), frames[:, k]) for k, name in enumerate(scenes.TEN)}
    ds = xr.Dataset(bands, {"time": scenes.times(1), **scenes.axes("", (128, 128))})
    stvc.encode(ds, tmp_path / "a.stvc", quality=50, clouds="keep")
    with stvc.open(tmp_path / "a.stvc") as archive:
        units = archive.info()["bytes_by_kind"]["pixels"]
    store(tmp_path / "a.zarr", frames, StvcCodec(quality=50))
    chunk = (tmp_path / "a.zarr/c/0/0/0/0").stat().st_size
    assert chunk < 1.01 * units
    assert chunk - units < 120
