"""Achieved error of single dates, from an archive's index: nothing is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc.archive import Kind, UnitKey
from stvc.codec.frame_stats import FrameStats, mean_squared_error
from stvc.errors import CorruptInputError

if TYPE_CHECKING:
    from stvc.archive_view import Archive

F64 = npt.NDArray[np.float64]


def frame_errors(archive: Archive, times: Any, band: str) -> tuple[F64, F64]:
    """Look up the error of a band's resolution group on clear pixels, date by date.

    Parameters
    ----------
    archive : Archive
    times : array-like, (T,) datetime64
        Dates that the archive holds.
    band : str

    Returns
    -------
    rmse, largest : ndarray, (T,) float64
        In DN, over all bands of the group together; NaN where no pixel is clear.

    Raises
    ------
    CorruptInputError
        If the archive has no such band or date.
    """
    reader, place = archive._reader, archive._open_place(with_background=False).place
    group = next((g for g, grid in enumerate(place.grids) if band in grid.bands), None)
    if group is None:
        held = [b for grid in place.grids for b in grid.bands]
        raise CorruptInputError(f"{archive.path} has no band {band}; it has {', '.join(held)}")
    grid = place.grids[group]
    index_of = {reader.frames[k].time: k for k in archive.frame_order("all")}
    # ^ of two versions of one second the newer one stands later, and wins
    seconds = np.atleast_1d(times).astype("datetime64[s]").astype(np.int64)
    rmse, largest = np.full(len(seconds), np.nan), np.full(len(seconds), np.nan)
    for position, second in enumerate(seconds.tolist()):
        frame = index_of.get(second)
        if frame is None:
            raise CorruptInputError(
                f"{archive.path} has no date {np.datetime64(second, 's')}; errors are on record "
                "for its own dates only"
            )
        alone = FrameStats.unpack(reader.frames[frame].stats).clear_share
        square, count, worst = 0.0, 0.0, 0
        for tile in place.tiles(group):
            unit = reader.units.get(UnitKey(Kind.PIXELS, frame, group, tile.index))
            if unit is None or not unit.stats[1]:
                continue
            clear = unit.stats[2] or max(alone * len(grid.y) * len(grid.x), 1.0)
            square += mean_squared_error(unit.stats[1]) * clear
            count += clear
            worst = max(worst, unit.stats[0])
        if count:
            rmse[position], largest[position] = np.sqrt(square / count), worst
    return rmse, largest
