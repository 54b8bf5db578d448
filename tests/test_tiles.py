"""Tiles of one large place, coded elsewhere: the archive is the same, byte for byte."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from monitor_farm import DAYS, Farm, kinds, make_farm
from monitor_source import run_scripted
from tile_workers import encode_there, wide_series

import stvc
from stvc.archive import ArchiveReader, Kind
from stvc.monitor import runner


def elsewhere(work: Any, jobs: Any) -> Iterator[Any]:
    """As far away as it gets within a process: through pickle, last tile first."""
    ready = {k: work(pickle.loads(pickle.dumps(job))) for k, job in reversed([*enumerate(jobs)])}
    assert len(ready) == 3
    return (pickle.loads(pickle.dumps(ready[k])) for k in range(len(jobs)))


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    made = wide_series(5)
    made["B04"][2, :, 200:] = 0  # half a date, across the edge of the tiles
    made["B08"][2, :, 200:] = 0
    return made


@pytest.mark.parametrize(
    "target", [{"quality": 30}, {"max_error": 12}, {"lossless": True}, {"psnr": 45}]
)
def test_the_bytes_do_not_depend_on_where(
    tmp_path: Path, ds: xr.Dataset, target: dict[str, Any]
) -> None:
    here, there = tmp_path / "here.stvc", tmp_path / "there.stvc"
    stvc.encode(ds.isel(time=[0, 1, 3]), here, reference="both", **target)
    stvc.encode(ds.isel(time=[0, 1, 3]), there, reference="both", spread=elsewhere, **target)
    assert here.read_bytes() == there.read_bytes()
    # A late date between two others, and one behind them.
    stvc.append(ds.isel(time=[2, 4]), here)
    stvc.append(ds.isel(time=[2, 4]), there, spread=elsewhere)
    assert here.read_bytes() == there.read_bytes()
    stvc.open(there).verify()
    with ArchiveReader.open(there) as reader:
        tiles = {(key.group, key.tile) for key in reader.units if key.kind is Kind.PIXELS}
    assert tiles == {(0, 0), (0, 1), (1, 0)}


def test_small_places_stay(tmp_path: Path, ds: xr.Dataset) -> None:
    def nobody(work: Any, jobs: Any) -> Any:
        raise AssertionError("was asked")

    small = ds.isel(x=slice(0, 16), x20=slice(0, 8), time=[0, 1])
    stvc.encode(small, tmp_path / "a.stvc", max_error=5, spread=nobody)
    assert stvc.open(tmp_path / "a.stvc").info()["frames"] == 2


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Any]:
    """A cluster of two single-threaded worker processes on this machine."""
    distributed = pytest.importorskip("distributed")
    os.environ["OMP_NUM_THREADS"] = "1"
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs="CRITICAL",
        death_timeout="300s",
    ) as cluster:
        yield cluster


def test_a_worker_that_dies_of_a_tile_does_not_matter(tmp_path: Path, scheduler: Any) -> None:
    import distributed

    here, there, marker = tmp_path / "here.stvc", tmp_path / "there.stvc", tmp_path / "died"
    whole = wide_series(5)
    stvc.encode(whole.isel(time=slice(0, 3)), here, max_error=40)
    stvc.append(whole.isel(time=slice(3, 5)), here)
    with distributed.Client(scheduler, set_as_default=False) as client:
        client.submit(encode_there, str(there), str(marker), pure=False).result(timeout=600)
    assert marker.exists()
    assert here.read_bytes() == there.read_bytes()


def test_a_monitored_place_is_shared_by_the_cluster(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    scheduler: Any,
) -> None:
    from stvc.monitor.cluster import Cluster

    address = scheduler.scheduler_address
    written = {}
    for name, executor in (("here", None), ("there", Cluster(address, run_scripted))):
        (tmp_path / name).mkdir()
        farm: Farm = make_farm(tmp_path / name, monkeypatch, capsys)
        farm.service.widen("east", 392)
        with monkeypatch.context() as patch:
            if executor is not None:
                patch.setattr(runner, "_executor", lambda options, chosen=executor: chosen)
            farm.run("--only", "east", today=DAYS[1])
            if executor is not None:
                again = Cluster(address, run_scripted)
                patch.setattr(runner, "_executor", lambda options, chosen=again: chosen)
            events = farm.run("--only", "east")
        (done,) = kinds(events, event="field_done")
        assert (done["frames_added"], done["frames_total"]) == (1, 3)
        written[name] = farm.bytes()
    assert written["here"] == written["there"]
    with ArchiveReader.open(tmp_path / "there" / "archives" / "east.stvc") as reader:
        assert {key.tile for key in reader.units if key.kind is Kind.PIXELS} == {0, 1}
