"""The monitor on stac and files: reprocessed products supersede, nothing is read twice."""

from __future__ import annotations

import io
import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from servers.places import area
from servers.safe_products import write_safe
from servers.stac_products import Product, item_of, write_rasters
from servers.stac_server import StacServer

import stvc
from stvc.archive import ArchiveReader
from stvc.exit_codes import ExitCode
from stvc.monitor.events import EventLog
from stvc.monitor.fields import read_job
from stvc.monitor.runner import RunOptions, run

FIRST, SECOND = Product("2021-06-01"), Product("2021-06-06")
AGAIN = Product("2021-06-01", baseline="05.00", offset=1000)


class Job:
    """One field, whose source is described by a few lines of TOML."""

    def __init__(self, folder: Path, source: str, options: str) -> None:
        self.path = folder / "fields.toml"
        self.archive = folder / "archives" / "field.stvc"
        geometry = json.loads(area().geojson)
        ring = geometry.get("geometry", geometry)["coordinates"]
        self.path.write_text(
            f'[defaults]\nsource = "{source}"\nbands = ["B04", "B08"]\nstart = 2021-06-01\n'
            f'[sources.{source}]\n{options}\n[[fields]]\nid = "field"\n'
            f'geometry = {{type = "Polygon", coordinates = {json.dumps(ring)}}}\n'
        )
        self.code = -1

    def run(self, today: str, **options: Any) -> list[dict[str, Any]]:
        stream = io.StringIO()
        chosen = RunOptions(today=date.fromisoformat(today), **options)
        self.code = run(read_job(self.path), chosen, EventLog(stream))
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    def held(self, versions: str = "latest") -> list[str]:
        """Products of each frame; the archive must verify."""
        with stvc.open(self.archive) as archive:
            assert archive.verify().ok
            order = archive.frame_order(versions)
        with ArchiveReader.open(self.archive) as reader:
            return [reader.frames[k].provenance["product_id"] for k in order]


def only(events: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [e for e in events if e["event"] == event]


def check_reprocessed(job: Job, publish: Any) -> list[dict[str, Any]]:
    """Three days of a job: a first date, a second one, and the first again from a newer baseline.

    Returns the events of a run after that, which must find nothing.
    """
    publish(FIRST)
    job.run("2021-06-02")
    publish(SECOND)
    job.run("2021-06-07")
    assert (job.code, job.held()) == (ExitCode.OK, [FIRST.name, SECOND.name])
    publish(AGAIN)
    events = job.run("2021-06-08")
    (gone,) = only(events, "frame_superseded")
    assert (gone["product_id"], gone["baseline"]) == (FIRST.name, "02.14")
    assert (gone["by"]["product_id"], gone["by"]["baseline"]) == (AGAIN.name, "05.00")
    assert job.held() == [AGAIN.name, SECOND.name]
    assert sorted(job.held("all")) == sorted([FIRST.name, SECOND.name, AGAIN.name])
    return job.run("2021-06-08")


def test_a_reprocessed_item_supersedes(tmp_path: Path) -> None:
    with StacServer(tmp_path) as files:
        job = Job(tmp_path, "stac", f'stac_url = "{files.api}"')

        def publish(product: Product) -> None:
            write_rasters(product, tmp_path)
            files.items.append(item_of(product, files.url))

        check_reprocessed(job, publish)
        files.requests.clear()
        (done,) = only(job.run("2021-06-08"), "field_done")
        assert done["status"] == "unchanged"
        assert not [path for _, path in files.requests if path.endswith(".tif")]


def test_a_reprocessed_safe_folder_supersedes(tmp_path: Path) -> None:
    folder = tmp_path / "products"
    job = Job(tmp_path, "files", f'path = "{folder}"')
    (done,) = only(check_reprocessed(job, lambda p: write_safe(p, folder)), "field_done")
    assert done["status"] == "unchanged"
    # The older version may be cleared away: the newer one is on record.
    shutil.rmtree(next(folder.glob(f"{FIRST.name}*")))
    assert only(job.run("2021-06-08"), "field_done")[0]["status"] == "unchanged"
    assert job.held() == [AGAIN.name, SECOND.name]


def test_one_bad_date_of_a_catalog_keeps_no_other_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.05")
    with StacServer(tmp_path) as files:
        job = Job(tmp_path, "stac", f'stac_url = "{files.api}"')
        for product in (FIRST, SECOND):
            write_rasters(product, tmp_path)
            files.items.append(item_of(product, files.url))
        files.faults[f"{FIRST.name}_B04.tif"] = [404] * 99
        events = job.run("2021-06-07")
        (missing,) = only(events, "frame_missing")
        assert (missing["product_id"], missing["time"]) == (FIRST.name, "2021-06-01T10:50:31")
        assert "B04.tif" in missing["message"]
        assert job.held() == [SECOND.name]
        files.faults.clear()
        job.run("2021-06-07")
        assert job.held() == [FIRST.name, SECOND.name]
