"""Archives behind URLs: real fsspec clients against a loopback server that counts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import scenes
import xarray as xr
from closures import frames_for
from range_server import RangeServer, range_server

import stvc
from stvc.errors import CorruptError, SourceError, StvcError
from stvc.remote import RangeStream, is_url, open_stream
from stvc.xarray_backend import session

__all__ = ["range_server"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Big enough that reading it all would show: 18 dates of noise in two resolutions."""
    path = tmp_path_factory.mktemp("remote") / "field.stvc"
    groups = {"": ("B04", "B08"), "20": ("B8A",)}
    ds = scenes.dataset(18, (48, 48), groups=groups, mask="SCL", mask_suffix="20", crs=True)
    rng = np.random.default_rng(0)
    for band in ("B04", "B08", "B8A"):
        ds[band][:] = rng.integers(1, 65536, ds[band].shape).astype(np.uint16)
    stvc.encode(ds, path, lossless=True, reference="recent")
    assert path.stat().st_size > 150_000
    return path


@pytest.fixture
def url(archive: Path, range_server: RangeServer) -> str:
    range_server.files["/bucket/field.stvc"] = archive.read_bytes()
    return f"{range_server.url}/bucket/field.stvc"


def opened(where: str | Path, **options: Any) -> xr.Dataset:
    return xr.open_dataset(where, engine="stvc", mask_and_scale=False, **options)


def test_opening_takes_two_requests(url: str, archive: Path, range_server: RangeServer) -> None:
    ds = opened(url)
    assert dict(ds.sizes) == dict(opened(archive).sizes)
    assert [method for method, _, _ in range_server.asked] == ["HEAD", "GET"]
    assert range_server.gets == [16 * 1024]


def test_one_date_of_one_band_reads_no_more_than_it_is_predicted_from(
    url: str, archive: Path, range_server: RangeServer
) -> None:
    ds = opened(url)
    range_server.asked.clear()
    one = ds.B04.isel(time=17).values
    assert 1 <= len(range_server.gets) <= frames_for(archive, [17])
    assert sum(range_server.gets) < 0.2 * archive.stat().st_size
    np.testing.assert_array_equal(one, opened(archive).B04.isel(time=17))
    asked = len(range_server.gets)
    ds.B08.isel(time=17).load()
    ds.SCL.isel(time=17).load()
    assert len(range_server.gets) == asked  # all of it was there


def test_a_whole_band_reads_no_byte_twice(
    url: str, archive: Path, range_server: RangeServer
) -> None:
    ds = opened(url)
    np.testing.assert_array_equal(ds.B8A, opened(archive).B8A)
    assert len(range_server.gets) <= 3
    assert sum(range_server.gets) <= archive.stat().st_size + 16 * 1024
    stream = session._sessions[url].stream
    assert stream is not None
    assert stream.traffic.requests == len(range_server.gets)
    assert stream.traffic.bytes == sum(range_server.gets)


def test_one_tile_reads_its_own_bytes(tmp_path: Path, range_server: RangeServer) -> None:
    ds = scenes.dataset(1, (384, 384), groups={"": ("B04",)})
    ds["B04"][:] = np.random.default_rng(1).integers(1, 65536, ds.B04.shape).astype(np.uint16)
    stvc.encode(ds, tmp_path / "a.stvc", lossless=True)
    range_server.files["/a.stvc"] = (tmp_path / "a.stvc").read_bytes()
    found = opened(f"{range_server.url}/a.stvc")
    range_server.asked.clear()
    np.testing.assert_array_equal(found.B04[:, 260:, 300:], ds.B04[:, 260:, 300:])
    assert len(range_server.gets) == 1
    assert sum(range_server.gets) < 2 * 128 * 128 + 1024


def test_dask_reads_a_remote_archive(url: str, archive: Path) -> None:
    ds = opened(url, chunks={})
    np.testing.assert_array_equal(ds.B04.compute(), opened(archive).B04)


def test_the_archive_view_reads_remotely_too(
    url: str, archive: Path, range_server: RangeServer
) -> None:
    with stvc.open(url) as remote, stvc.open(archive) as local:
        assert repr(remote).startswith(f"<stvc.Archive {url} 18 dates")
        range_server.asked.clear()
        found = remote.to_xarray(time="2021-05-28", bands=["B8A"])  # frame 17
        assert len(range_server.gets) <= 2
        xr.testing.assert_identical(found, local.to_xarray(time="2021-05-28", bands=["B8A"]))
        assert remote.info() == {**local.info(), "path": url}
        assert remote.verify() == local.verify()


def test_memory(archive: Path) -> None:
    with fsspec.open("memory://folder/field.stvc", "wb") as file:
        file.write(archive.read_bytes())
    ds = opened("memory://folder/field.stvc")
    np.testing.assert_array_equal(ds.B8A[3], opened(archive).B8A[3])
    assert xr.open_datatree("memory://folder/field.stvc", engine="stvc").children


def test_a_cached_download(url: str, archive: Path, tmp_path: Path) -> None:
    options = {"simplecache": {"cache_storage": str(tmp_path / "cache")}}
    ds = opened(f"simplecache::{url}", storage_options=options)
    np.testing.assert_array_equal(ds.B8A[3], opened(archive).B8A[3])
    assert [path.stat().st_size for path in (tmp_path / "cache").iterdir()] == [
        archive.stat().st_size
    ]


def test_s3(url: str, archive: Path, range_server: RangeServer) -> None:
    options = {"anon": True, "endpoint_url": range_server.url}
    ds = opened("s3://bucket/field.stvc", storage_options=options)
    np.testing.assert_array_equal(ds.B04[17], opened(archive).B04[17])
    assert len(range_server.gets) <= 1 + frames_for(archive, [17])
    assert sum(range_server.gets) < 0.3 * archive.stat().st_size


def test_a_server_without_ranges_is_read_once(
    url: str, archive: Path, range_server: RangeServer
) -> None:
    range_server.ranges = False
    ds = opened(url)
    np.testing.assert_array_equal(ds.B04, opened(archive).B04)
    assert range_server.gets == [archive.stat().st_size]


def test_fill_and_accessor_find_the_remote_archive(url: str) -> None:
    ds = opened(url)
    assert ds.stvc.info()["frames"] == 18
    filled = ds.isel(time=[1]).stvc.fill()
    assert filled.filled.dtype == bool


def test_what_can_go_wrong_is_told(
    url: str, archive: Path, range_server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match="no such remote file"):
        opened(f"{range_server.url}/missing.stvc")
    ds = opened(url)
    range_server.status = 503
    with pytest.raises(SourceError, match="field.stvc cannot be read"):
        ds.B04[17].load()
    with pytest.raises(SourceError, match="the server answered 503"):
        opened(f"{range_server.url}/bucket/field.stvc")
    range_server.status = None
    np.testing.assert_array_equal(ds.B04[17], opened(archive).B04[17])  # nothing was spoilt
    with pytest.raises(StvcError, match="nonsense://"):
        stvc.open("nonsense://x/y.stvc")
    range_server.files["/bucket/field.stvc"] = b"hello"
    with pytest.raises(CorruptError, match="http://127"):
        opened(url)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(StvcError, match=r"pip install 'stvc\[remote\]'"):
        open_stream("s3://never-seen/field.stvc")


def test_a_file_that_shrinks_is_noticed(url: str, range_server: RangeServer) -> None:
    ds = opened(url)
    range_server.files["/bucket/field.stvc"] = range_server.files["/bucket/field.stvc"][:20_000]
    with pytest.raises((SourceError, CorruptError), match="field.stvc"):
        ds.B04[17].load()


def test_streams_seek_like_files() -> None:
    with fsspec.open("memory://bytes", "wb") as file:
        file.write(bytes(range(100)))
    stream = open_stream("memory://bytes")
    assert isinstance(stream, RangeStream)
    assert stream.seek(0, 2) == 100
    assert stream.read(5) == b""
    assert (stream.seek(-3, 1), stream.read(), stream.tell()) == (97, b"abc", 100)
    assert stream.seek(10) == 10
    assert stream.read(2) == bytes([10, 11])
    assert stream.traffic.requests == 2


@pytest.mark.parametrize(
    ("location", "remote"),
    [
        ("s3://a/b", True),
        ("simplecache::https://a", True),
        ("file:///a", True),
        ("/a/b.stvc", False),
        ("a::b", False),
        ("C:/a", False),
        (Path("s3://a"), False),
        (None, False),
    ],
)
def test_what_is_a_url(location: object, remote: bool) -> None:
    assert is_url(location) == remote
