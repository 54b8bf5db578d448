"""One field's work: what its source has, what its archive lacks, fetch and append that.

Everything follows from the archive and the source, under the archive's lock: it does not matter
which process does it, how often, or what happened to the one that tried before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

import stvc.api as api
from stvc.aoi import Aoi, parse_aoi
from stvc.archive import ArchiveReader, FrameRecord, lock
from stvc.cli.masking import mask_option
from stvc.errors import BudgetError, RadiometryError
from stvc.masks.choice import MaskChoice, choose_mask
from stvc.monitor.failures import failure_of
from stvc.monitor.listing import (
    Budgeted,
    Estimates,
    IncompleteError,
    Listed,
    Loss,
    fetch,
    list_frames,
    losses,
    spent_by,
)
from stvc.monitor.records import frame_entries, frame_name, missing_entries, superseded_entries
from stvc.monitor.results import FieldResult, FieldTask
from stvc.monitor.state import remember
from stvc.monitor.window import batch_size, window
from stvc.source import Source, get_source
from stvc.versions import plan_append

if TYPE_CHECKING:
    import xarray as xr

_KEPT_WARNINGS = 5
_FRUITLESS = 3
# ^ So many batches in a row that bring nothing, and the field is left to the next run.


class _BudgetReached(Exception):
    """The field's share of the run's budget is used up."""


def run_field(task: FieldTask) -> FieldResult:
    """Bring one field's archive up to date; never raises what belongs to this field alone.

    Parameters
    ----------
    task : FieldTask

    Returns
    -------
    FieldResult
        ``failed`` with the reason if anything went wrong; frames appended before stay appended.
    """
    began = time.perf_counter()
    result = FieldResult(task.id, str(task.archive))
    with _kept_warnings(result.warnings):
        try:
            _Work(task, result).run()
        except _BudgetReached:
            result.status, result.reason = "deferred", "budget"
        except Exception as error:
            result.status = "failed"
            result.failure = failure_of(error)
        result.seconds = round(time.perf_counter() - began, 3)
        if not task.dry_run:
            remember(task.archive, result, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    return result


class _Work:
    """The steps of one field."""

    def __init__(self, task: FieldTask, result: FieldResult) -> None:
        self.task = task
        self.result = result

    def run(self) -> None:
        """Do everything, filling the result."""
        task, settings = self.task, self.task.settings
        aoi = parse_aoi(_feature(task), f"field {task.id}", task.id)
        choice = MaskChoice(**settings.mask)
        mask = mask_option(settings.source, choice, None)
        source = get_source(settings.source, **{**mask, **settings.options})
        if not task.dry_run:
            task.archive.parent.mkdir(parents=True, exist_ok=True)
            with lock(task.archive, task.lock_timeout):
                self._bring_up_to_date(aoi, source)
        else:
            self._bring_up_to_date(aoi, source)

    def _bring_up_to_date(self, aoi: Aoi, source: Source) -> None:
        task, result = self.task, self.result
        held, bands = self._read_archive()
        result.bytes_before = result.bytes_after
        start, end = window(held, task.settings, task.today)
        self._limit(source)
        try:
            listed = list_frames(source, aoi, start, end) if start is None or start <= end else []
            wanted = self._choose(held, listed)
            if task.dry_run:
                self._plan(source, aoi, bands, wanted)
                return
            self._fetch_all(source, aoi, bands, wanted, listed)
        except BudgetError as error:
            raise _BudgetReached from error
        finally:
            spent = spent_by(source)
            result.requests, result.pu = spent.requests, spent.pu

    def _read_archive(self) -> tuple[tuple[FrameRecord, ...], list[str] | None]:
        """Frames on record, and the bands to ask for."""
        path, result = self.task.archive, self.result
        chosen = self.task.settings.bands
        if not path.exists():
            return (), None if chosen is None else list(chosen)
        with ArchiveReader.open(path) as reader:
            result.bytes_after = reader.size
            self._take_totals(reader.frames)
            bands = [str(band) for grid in reader.header["grids"] for band in grid["bands"]]
            return reader.frames, bands

    def _take_totals(self, frames: tuple[FrameRecord, ...]) -> None:
        self.result.frames_total = len(frames)
        last = max((frame.time for frame in frames), default=None)
        self.result.last_date = None if last is None else str(np.datetime64(last, "s"))

    def _choose(self, held: tuple[FrameRecord, ...], listed: list[Listed]) -> list[Listed]:
        plan = plan_append(held, [frame.version for frame in listed])
        return [frame for frame, use in zip(listed, plan, strict=True) if use is not None]

    def _plan(
        self, source: Source, aoi: Aoi, bands: list[str] | None, wanted: list[Listed]
    ) -> None:
        result = self.result
        result.status = "planned" if wanted else "unchanged"
        result.frames_planned = len(wanted)
        result.frames = [frame_name(int(f.time.astype(int)), f.provenance) for f in wanted]
        if isinstance(source, Estimates) and wanted:
            result.estimate = dict(source.estimate(aoi, bands, len(wanted)))

    def _fetch_all(
        self,
        source: Source,
        aoi: Aoi,
        bands: list[str] | None,
        wanted: list[Listed],
        listed: list[Listed],
    ) -> None:
        """Fetch batch by batch; a frame that cannot be had must not keep those behind it away."""
        size = self.task.settings.batch or batch_size(aoi, bands)
        lost: list[Loss] = []
        refused: RadiometryError | None = None
        tried = fruitless = 0
        for first in range(0, len(wanted), size):
            self._check_budget(source)
            batch, before = wanted[first : first + size], len(self.result.frames)
            tried += len(batch)
            try:
                lost += self._fetch(source, aoi, bands, batch, listed)
            except RadiometryError as error:
                refused = error
            fruitless = 0 if len(self.result.frames) > before else fruitless + 1
            if fruitless >= _FRUITLESS:
                break
        if refused is not None:
            raise refused
        if lost:
            raise IncompleteError(lost, tried)

    def _fetch(
        self,
        source: Source,
        aoi: Aoi,
        bands: list[str] | None,
        wanted: list[Listed],
        listed: list[Listed],
    ) -> list[Loss]:
        """Fetch some frames and write them; the archive is whole before and after."""
        asked = {frame.time for frame in wanted}
        first, last = (t.astype("datetime64[D]").astype(date) for t in (min(asked), max(asked)))
        exclude = [frame.time for frame in listed if frame.time not in asked]
        frames = fetch(source, aoi, first, last, bands, exclude)
        lost = losses(frames)
        got = set(frames["time"].values.astype("datetime64[s]"))
        missing = missing_entries(wanted, got, lost)
        self.result.missing += missing
        self.result.frames_missing += len(missing)
        if got:
            self._write(choose_mask(frames, MaskChoice(**self.task.settings.mask)))
        if lost and all(loss.error == BudgetError.__name__ for loss in lost):
            raise _BudgetReached
        return lost

    def _write(self, frames: xr.Dataset) -> None:
        """Encode or append, and tell of it."""
        task, result = self.task, self.result
        new = not task.archive.exists()
        before = 0
        if new:
            api.encode(
                frames,
                task.archive,
                external_background=task.settings.external_background,
                cache_dir=task.cache_dir,
                overwrite=False,
                **task.settings.encode_arguments(),
            )
        else:
            with ArchiveReader.open(task.archive) as reader:
                before = len(reader.frames)
        try:
            if not new:
                self._append(frames)
        finally:
            with ArchiveReader.open(task.archive) as reader:
                result.bytes_after = reader.size
                self._take_totals(reader.frames)
                result.frames += frame_entries(reader, before)
                result.superseded += superseded_entries(reader, before)
            if result.frames:
                result.status = "written" if result.bytes_before == 0 else "appended"

    def _append(self, frames: xr.Dataset) -> None:
        """Append all frames whose radiometry is plausible, then object to the others."""
        task = self.task
        more: dict[str, Any] = {
            "cache_dir": task.cache_dir,
            "accept_offset": task.settings.accept_offset,
        }
        try:
            api.append(frames, task.archive, **more)
        except RadiometryError as error:
            if frames.sizes["time"] == 1:
                raise
            refused = error
        else:
            return
        for row in range(frames.sizes["time"]):
            try:
                api.append(frames.isel(time=[row]), task.archive, **more)
            except RadiometryError as error:
                refused = error
        raise refused

    def _limit(self, source: Source) -> None:
        task = self.task
        if isinstance(source, Budgeted) and (task.max_requests, task.max_pu) != (None, None):
            source.limit(task.max_requests, task.max_pu)

    def _check_budget(self, source: Source) -> None:
        if self._over_budget(source):
            raise _BudgetReached

    def _over_budget(self, source: Source) -> bool:
        spent, task = spent_by(source), self.task
        return (
            task.max_requests is not None
            and spent.requests is not None
            and spent.requests >= task.max_requests
        ) or (task.max_pu is not None and spent.pu is not None and spent.pu >= task.max_pu)


def _feature(task: FieldTask) -> bytes:
    return (
        '{"type": "Feature", "properties": null, "geometry": ' + (task.geometry or "null") + "}"
    ).encode()


@contextmanager
def _kept_warnings(kept: list[str]) -> Iterator[None]:
    """Collect what stvc logs as warnings: the process at work may be on another machine."""

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if len(kept) < _KEPT_WARNINGS and text not in kept:
                kept.append(text)

    handler, log = Keep(logging.WARNING), logging.getLogger("stvc")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
