"""Frames on their way into an export: one date at a time, so that memory holds one date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc.errors import CorruptInputError
from stvc.masks import VARIABLES

if TYPE_CHECKING:
    import xarray as xr

    from stvc.archive_view import Archive

Times = npt.NDArray[np.datetime64]
Pixels = npt.NDArray[Any]
Progress = Callable[[int, int, str], None]

CHUNK_BYTES = 1 << 20
"""About what a chunk holds before compression."""
CHUNK_SIDE = 512
"""Most pixels along a chunk's side."""

MASKS = VARIABLES
"""Variables that are masks, not bands."""


@dataclass(frozen=True)
class FrameStream:
    """A selection of an archive's frames, to be walked once."""

    columns: xr.Dataset
    """``time`` and all that stands along it alone, of all T dates; the attributes of the whole."""
    frames: Iterable[tuple[int, xr.Dataset]]
    """(position, dataset of one date); positions count 0 to T - 1 in the order of time, and dates
    that were appended late come late."""
    info: Mapping[str, Any]
    """What ``Archive.info()`` returns."""

    @property
    def count(self) -> int:
        """T."""
        return int(self.columns.sizes["time"])

    @classmethod
    def of_dataset(cls, ds: xr.Dataset, info: Mapping[str, Any]) -> FrameStream:
        """Walk a decoded dataset.

        Parameters
        ----------
        ds : xarray.Dataset
            What ``Archive.to_xarray()`` returns.
        info : mapping
            What ``Archive.info()`` returns.
        """
        beside = [name for name, v in ds.variables.items() if v.dims != ("time",)]
        every = ((k, ds.isel(time=[k])) for k in range(ds.sizes["time"]))
        return cls(ds.drop_vars(beside), every, info)

    @classmethod
    def of_archive(
        cls, archive: Archive, times: Times | None = None, bands: Sequence[str] | None = None
    ) -> FrameStream:
        """Decode an archive date by date.

        Parameters
        ----------
        archive : Archive
        times : ndarray of datetime64, optional
            The dates wanted, as `frames_between` gives them; all if not given.
        bands : sequence of str, optional
            All if not given.
        """
        from stvc.dataset import dataset_from_series

        def frames() -> Iterator[tuple[int, xr.Dataset]]:
            for position, series in archive.stream(time=times, bands=bands):
                yield position, dataset_from_series(series)

        columns = dataset_from_series(archive.timeline(time=times))
        return cls(columns.drop_vars("spatial_ref", errors="ignore"), frames(), archive.info())


def frames_between(times: Sequence[str], first: date | None, last: date | None) -> Times:
    """Choose frames by day.

    Parameters
    ----------
    times : sequence of str
        ISO times of the frames, UTC.
    first, last : date or None
        Both days inclusive; None leaves that end open.

    Returns
    -------
    ndarray, (n,) datetime64[s]
        The times of the chosen frames, in the given order.
    """
    every = np.array([time.removesuffix("Z") for time in times], dtype="datetime64[s]")
    days = every.astype("datetime64[D]")
    chosen = np.ones(len(every), dtype=bool)
    if first is not None:
        chosen &= days >= np.datetime64(first, "D")
    if last is not None:
        chosen &= days <= np.datetime64(last, "D")
    return every[chosen]


def runs(
    stream: FrameStream, progress: Progress | None = None
) -> Iterator[tuple[slice, xr.Dataset, dict[str, Pixels]]]:
    """Gather frames that stand beside each other, so that chunks are written once.

    Parameters
    ----------
    stream : FrameStream
    progress : callable, optional
        Called with (done, total, what) when a run has been dealt with: the next is asked for.

    Yields
    ------
    slice, xarray.Dataset, dict of str to ndarray
        Positions of the run; one frame of it; pixels and classes by variable, (n, H, W).

    Raises
    ------
    CorruptInputError
        If there is no frame.
    """
    done = 0
    for where, frame, block in _gathered(stream):
        yield where, frame, block
        done += where.stop - where.start
        if progress is not None:
            progress(done, stream.count, "exporting")


def _gathered(stream: FrameStream) -> Iterator[tuple[slice, xr.Dataset, dict[str, Pixels]]]:
    held: list[xr.Dataset] = []
    start = length = 0
    for position, one in stream.frames:
        length = length or run_length(one, stream.count)
        if held and (position != start + len(held) or position % length == 0):
            yield _gather(start, held)
            held = []
        if not held:
            start = position
        held.append(one)
    if not held:
        raise CorruptInputError("no dates to export")
    yield _gather(start, held)


def _gather(start: int, held: list[xr.Dataset]) -> tuple[slice, xr.Dataset, dict[str, Pixels]]:
    names = [name for name, v in held[0].data_vars.items() if v.ndim == 3]
    block = {str(name): np.concatenate([one[name].values for one in held]) for name in names}
    return slice(start, start + len(held)), held[0], block


def run_length(frame: xr.Dataset, dates: int) -> int:
    """Give the dates of a chunk of the largest variable: one, where frames are large."""
    return max(
        chunks_of(dates, v.shape[1:], v.dtype.itemsize)[0]
        for v in frame.data_vars.values()
        if v.ndim == 3
    )


def chunks_of(dates: int, plane: tuple[int, ...], itemsize: int) -> tuple[int, int, int]:
    """Choose chunks (time, y, x) of about `CHUNK_BYTES`: small fields get many dates into one."""
    rows, columns = (min(side, CHUNK_SIDE) for side in plane)
    length = max(1, CHUNK_BYTES // (rows * columns * itemsize))
    return min(dates, length), rows, columns
