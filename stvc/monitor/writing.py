"""Frames into a field's archive, and what its result tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import stvc.api as api
from stvc.archive import ArchiveReader, FrameRecord
from stvc.errors import RadiometryError
from stvc.monitor.records import frame_entries, superseded_entries
from stvc.monitor.results import FieldResult, FieldTask

if TYPE_CHECKING:
    import xarray as xr

    from stvc.codec.tile_job import Spread

Refused = dict[np.datetime64, str]
"""What the radiometry guard says of frames, by their times (datetime64[s])."""


def write_frames(task: FieldTask, result: FieldResult, frames: xr.Dataset) -> Refused:
    """Encode frames, or append them; the archive is whole before and after.

    Parameters
    ----------
    task : FieldTask
    result : FieldResult
        Told of what was written, also if anything goes wrong.
    frames : xarray.Dataset
        At least one.

    Returns
    -------
    dict
        Frames that are not in the archive, because their radiometry is not plausible.
    """
    new = not task.archive.exists()
    before = 0
    spread = _spread(task)
    if new:
        api.encode(
            frames,
            task.archive,
            external_background=task.settings.external_background,
            cache_dir=task.cache_dir,
            overwrite=False,
            spread=spread,
            **task.settings.encode_arguments(),
        )
    else:
        with ArchiveReader.open(task.archive) as reader:
            before = len(reader.frames)
    try:
        return {} if new else _append(task, frames, spread)
    finally:
        with ArchiveReader.open(task.archive) as reader:
            result.bytes_after = reader.size
            note_frames(result, reader.frames)
            result.frames += frame_entries(reader, before)
            result.superseded += superseded_entries(reader, before)
        if result.frames:
            result.status = "written" if result.bytes_before == 0 else "appended"


def note_frames(result: FieldResult, frames: tuple[FrameRecord, ...]) -> None:
    """Tell how many frames an archive has, and when the last one was taken."""
    result.frames_total = len(frames)
    last = max((frame.time for frame in frames), default=None)
    result.last_date = None if last is None else str(np.datetime64(last, "s"))


def _spread(task: FieldTask) -> Spread | None:
    if not task.spread_tiles:
        return None
    from stvc.monitor.cluster import on_workers

    return on_workers


def _append(task: FieldTask, frames: xr.Dataset, spread: Spread | None) -> Refused:
    """Append all frames whose radiometry is plausible; returns the others."""

    def refused(some: xr.Dataset) -> RadiometryError | None:
        try:
            api.append(
                some,
                task.archive,
                cache_dir=task.cache_dir,
                accept_offset=task.settings.accept_offset,
                spread=spread,
            )
        except RadiometryError as error:
            return error
        return None

    times = list(frames["time"].values.astype("datetime64[s]"))
    error = refused(frames)
    if error is None:
        return {}
    if len(times) == 1:
        return {times[0]: str(error)}
    alone = {time: refused(frames.isel(time=[row])) for row, time in enumerate(times)}
    return {time: str(error) for time, error in alone.items() if error is not None}
