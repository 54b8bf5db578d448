"""Lazy arrays under dask, in other processes and in large archives: what is decoded, and where."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from pathlib import Path

import dask
import numpy as np
import pytest
import scenes
import xarray as xr
from closures import frames_for

import stvc
from stvc.archive import ArchiveReader, FrameRecord, write_archive
from stvc.xarray_backend import decode_counts, session
from stvc.xarray_backend.lru import ByteCache
from stvc.xarray_backend.quiet import settled

CHAINS = 64


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tiles of two dates."""
    path = tmp_path_factory.mktemp("tiled") / "tiles.stvc"
    ds = scenes.dataset(2, (392, 392), groups={"": ("B04",)}, mask="mask")
    stvc.encode(ds, path, quality=5)
    return path


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two chains of dates."""
    path = tmp_path_factory.mktemp("series") / "series.stvc"
    ds = scenes.dataset(18, (8, 8), groups={"": ("B04", "B08")}, mask="SCL")
    stvc.encode(ds, path, reference="recent")
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1024 dates: the units of one chain of noise, which is stored raw, over and over."""
    folder = tmp_path_factory.mktemp("large")
    ds = scenes.dataset(16, (8, 8), groups={"": ("B04", "B08")})
    noise = np.random.default_rng(0).integers(1, 65536, (2, 16, 8, 8)).astype(np.uint16)
    ds["B04"][:], ds["B08"][:] = noise
    stvc.encode(ds, folder / "chain.stvc", lossless=True)
    with ArchiveReader.open(folder / "chain.stvc") as reader:
        frames, units = [], []
        for k in range(CHAINS):
            days = 80 * 86400 * k
            frames += [FrameRecord(f.time + days, {}, f.stats) for f in reader.frames]
            for key, unit in reader.units.items():
                moved = key._replace(frame=key.frame + 16 * k)
                units.append((moved, reader.read(key), unit.stats))
        write_archive(folder / "large.stvc", reader.header, frames, units)
    return folder / "large.stvc"


def whole(path: Path) -> xr.Dataset:
    with stvc.open(path) as archive:
        return archive.to_xarray()


def test_one_date_of_a_large_archive_decodes_under_two_percent(large: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    before = decode_counts()
    ds = xr.open_dataset(large, engine="stvc")
    dearest = max(range(640, 656), key=lambda k: frames_for(large, [k]))
    ds.B04.isel(time=dearest).plot()
    pyplot.close("all")
    spent = decode_counts() - before
    assert spent.units == frames_for(large, [dearest])
    assert spent.samples < 0.02 * ds.B04.size * 2
    np.testing.assert_array_equal(
        xr.open_dataset(large, engine="stvc", mask_and_scale=False).B04[16 * 40 + 3],
        whole(large.with_name("chain.stvc")).B04[3],
    )


def test_only_the_tiles_of_a_box_are_decoded(tiled: Path) -> None:
    want = whole(tiled).B04
    ds = xr.open_dataset(tiled, engine="stvc", mask_and_scale=False)
    before = decode_counts()
    corner = ds.B04.isel(time=1, y=slice(0, 200), x=slice(100, 256))
    np.testing.assert_array_equal(corner, want.isel(time=1, y=slice(0, 200), x=slice(100, 256)))
    assert (decode_counts() - before).units == 2  # one tile, two dates of its chain
    np.testing.assert_array_equal(ds.B04[:, 250:260, 250:260], want[:, 250:260, 250:260])
    assert (decode_counts() - before).units == 4 * 2  # all four tiles, the first remembered


def test_walking_along_time_decodes_every_unit_once(series: Path) -> None:
    ds = xr.open_dataset(series, engine="stvc", mask_and_scale=False, cache=False)
    want = whole(series)
    before = decode_counts()
    for k in range(18):
        np.testing.assert_array_equal(ds.B04[k], want.B04[k])
    assert (decode_counts() - before).units == 18
    for k in reversed(range(18)):  # remembered
        np.testing.assert_array_equal(ds.B08[k], want.B08[k])
    assert (decode_counts() - before).units == 18


def test_a_tiny_cache_costs_time_and_nothing_else(
    series: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_cache_bytes", 1)
    ds = xr.open_dataset(series, engine="stvc", mask_and_scale=False, cache=False)
    ds.close()
    for k in (3, 1, 16):
        np.testing.assert_array_equal(ds.B04[k], whole(series).B04[k])
    ds.close()


def test_chunks_follow_key_frames_and_tiles(tiled: Path, series: Path) -> None:
    ds = xr.open_dataset(tiled, engine="stvc", chunks={})
    assert ds.B04.chunks == ((2,), (256, 136), (256, 136))
    assert ds.mask.chunks == ((2,), (392,), (392,))
    ds = xr.open_dataset(series, engine="stvc", chunks={})
    assert ds.B04.chunks == ((16, 2), (8,), (8,))


@pytest.mark.parametrize(
    ("width", "chunks"),
    [(264, (264,)), (383, (383,)), (384, (256, 128)), (600, (256, 344)), (700, (256, 256, 188))],
)
def test_a_narrow_rest_is_no_chunk(tmp_path: Path, width: int, chunks: tuple[int, ...]) -> None:
    ds = scenes.dataset(1, (8, width), groups={"": ("B04",)})
    stvc.encode(ds, tmp_path / "a.stvc", quality=5)
    found = xr.open_dataset(tmp_path / "a.stvc", engine="stvc", chunks={}, mask_and_scale=False)
    assert found.B04.chunks == ((1,), (8,), chunks)
    before = decode_counts()
    last = found.B04[:, :, -1].compute()
    assert (decode_counts() - before).units == 1
    np.testing.assert_array_equal(last, whole(tmp_path / "a.stvc").B04[:, :, -1])


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_dask_in_this_process(tiled: Path, scheduler: str) -> None:
    ds = xr.open_dataset(tiled, engine="stvc", chunks={}, mask_and_scale=False)
    ds.close()  # forget what other tests decoded
    before = decode_counts()
    with dask.config.set(scheduler=scheduler, num_workers=4):
        loaded = ds.load()
    assert (decode_counts() - before).units == 4 * 2
    want = whole(tiled)
    np.testing.assert_array_equal(loaded.B04, want.B04)
    np.testing.assert_array_equal(loaded.mask, want.mask)


def test_dask_in_other_processes(series: Path) -> None:
    ds = xr.open_dataset(series, engine="stvc", chunks={}, mask_and_scale=False)
    before = decode_counts()
    with dask.config.set(scheduler="processes", num_workers=1):
        mean = ds[["B04", "B08"]].mean("time").compute()
    assert (decode_counts() - before).units == 0
    np.testing.assert_allclose(mean.B04, whole(series).B04.mean("time"))


def test_dask_distributed(series: Path) -> None:
    from distributed import Client, LocalCluster

    want = whole(series)
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster),
    ):  # fmt: skip
        ds = xr.open_dataset(series, engine="stvc", chunks={}, mask_and_scale=False)
        found = ds[["B04", "SCL"]].compute()
    np.testing.assert_array_equal(found.B04, want.B04)
    np.testing.assert_array_equal(found.SCL, want.SCL)


def test_pickles_hold_a_path_and_no_pixels(large: Path) -> None:
    ds = xr.open_dataset(large, engine="stvc", mask_and_scale=False)
    fresh = len(pickle.dumps(ds))
    ds.B04.isel(time=20).load()
    used = pickle.dumps(ds)
    assert len(used) <= fresh + 100
    assert len(used) < 60_000
    again = pickle.loads(used)
    np.testing.assert_array_equal(again.B04[20], ds.B04[20])


def _read_in_child(path: str, queue: multiprocessing.Queue[int]) -> None:
    with xr.open_dataset(path, engine="stvc", mask_and_scale=False) as ds:
        queue.put(int(ds.SCL.astype(int).sum()))


def test_a_forked_process_has_its_own_file(series: Path) -> None:
    ds = xr.open_dataset(series, engine="stvc", mask_and_scale=False)
    want = int(ds.SCL.astype(int).sum())
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[int] = context.Queue()
    child = context.Process(target=_read_in_child, args=(str(series), queue))
    child.start()
    try:
        assert queue.get(timeout=120) == want
        child.join(120)
        assert child.exitcode == 0
    finally:
        child.kill()


def test_threads_put_back_what_the_user_had_set() -> None:
    import torch

    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    inside, leave = threading.Barrier(3), threading.Barrier(3)

    threads: list[int] = []

    def decode() -> None:
        with settled(single=True):
            threads.append(torch.get_num_threads())
            inside.wait(60)
            leave.wait(60)

    torch.set_float32_matmul_precision("medium")
    try:
        workers = [threading.Thread(target=decode) for _ in range(2)]
        for worker in workers:
            worker.start()
        inside.wait(60)
        assert torch.get_float32_matmul_precision() == "highest"
        assert 1 in threads
        # ^ of the thread that came first: OpenMP counts threads by thread
        leave.wait(60)
        for worker in workers:
            worker.join(60)
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.get_num_threads() == before[0]
    finally:
        torch.set_float32_matmul_precision(before[1])


def test_a_cache_forgets_what_was_used_longest_ago() -> None:
    cache: ByteCache[str] = ByteCache(10)
    cache.put("a", "A", 4)
    cache.put("b", "B", 4)
    assert cache.get("a") == "A"
    cache.put("c", "C", 4)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("A", None, "C")
    cache.put("a", "AA", 9)
    assert (len(cache), cache.get("a")) == (1, "AA")
    cache.put("huge", "H", 11)
    assert (len(cache), cache.get("huge")) == (1, None)
