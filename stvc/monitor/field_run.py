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
from stvc.monitor.records import frame_name, missing_entries
from stvc.monitor.refusals import Failed, Refusals, grid_of
from stvc.monitor.results import FieldResult, FieldTask
from stvc.monitor.state import read_state, remember
from stvc.monitor.window import batch_size, window
from stvc.monitor.writing import note_frames, write_frames
from stvc.source import Source, get_source
from stvc.versions import plan_append

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
        self.refusals = Refusals()
        self.done: list[Listed] = []
        self.failed: list[Failed] = []

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
        held, bands, grid = self._read_archive()
        self.refusals = Refusals(read_state(task.archive).refused)
        result.bytes_before = result.bytes_after
        start, end = window(held, task.settings, task.today)
        self._limit(source)
        try:
            listed = list_frames(source, aoi, start, end) if start is None or start <= end else []
            wanted = self._choose(held, listed, grid)
            if task.dry_run:
                self._plan(source, aoi, bands, wanted)
                return
            self._fetch_all(source, aoi, bands, wanted, listed)
        except BudgetError as error:
            raise _BudgetReached from error
        finally:
            spent = spent_by(source)
            result.requests, result.pu = spent.requests, spent.pu
            if not task.dry_run:
                self._settle()

    def _read_archive(self) -> tuple[tuple[FrameRecord, ...], list[str] | None, str]:
        """Frames on record, the bands to ask for, and the key of the grid."""
        path, result = self.task.archive, self.result
        chosen = self.task.settings.bands
        if not path.exists():
            known = None if chosen is None else list(chosen)
            return (), known, grid_of(None, self.task.settings)
        with ArchiveReader.open(path) as reader:
            result.bytes_after = reader.size
            note_frames(self.result, reader.frames)
            bands = [str(band) for grid in reader.header["grids"] for band in grid["bands"]]
            return reader.frames, bands, grid_of(reader.header, self.task.settings)

    def _choose(
        self, held: tuple[FrameRecord, ...], listed: list[Listed], grid: str
    ) -> list[Listed]:
        plan = plan_append(held, [frame.version for frame in listed])
        news = [frame for frame, use in zip(listed, plan, strict=True) if use is not None]
        if self.task.retry_refused:
            return news
        wanted = [frame for frame in news if not self.refusals.hold(frame, grid)]
        self.result.frames_refused = len(news) - len(wanted)
        return wanted

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
        tried = fruitless = 0
        for first in range(0, len(wanted), size):
            self._check_budget(source)
            batch, before = wanted[first : first + size], len(self.result.frames)
            tried += len(batch)
            lost += self._fetch(source, aoi, bands, batch, listed)
            fruitless = 0 if len(self.result.frames) > before else fruitless + 1
            if fruitless >= _FRUITLESS:
                break
        refused = [f.message for f in self.failed if f.error == RadiometryError.__name__]
        if refused:
            raise RadiometryError(refused[-1])
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
        self.failed += [
            Failed(frame, entry["error"] or "", entry["message"] or "the source delivered nothing")
            for frame, entry in zip([f for f in wanted if f.time not in got], missing, strict=True)
            if entry["error"] or not lost
        ]
        if got:
            chosen = choose_mask(frames, MaskChoice(**self.task.settings.mask))
            refused = write_frames(self.task, self.result, chosen)
            name = RadiometryError.__name__
            self.failed += [Failed(f, name, refused[f.time]) for f in wanted if f.time in refused]
            self.done += [f for f in wanted if f.time in got and f.time not in refused]
        if lost and all(loss.error == BudgetError.__name__ for loss in lost):
            raise _BudgetReached
        return lost

    def _settle(self) -> None:
        """Note which frames came, and which ones are not to be asked for again."""
        if not (self.refusals or self.failed):
            return
        header = None
        if self.task.archive.exists():
            with ArchiveReader.open(self.task.archive) as reader:
                header = reader.header
        fresh = self.refusals.settle(self.failed, self.done, grid_of(header, self.task.settings))
        self.result.refused = [refusal.told() for refusal in fresh]
        self.result.refusals = self.refusals.to_json()

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
