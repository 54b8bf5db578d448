"""Decoded pixels against those that the products have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from servers.sentinelhub_answers import mosaic
from servers.sentinelhub_scenes import Scene

from soaking.world import EPSG, Place


def largest_error(place: Place, series: Any, row: int, band: str, scenes: Sequence[Scene]) -> int:
    """Compare one band of one date.

    Parameters
    ----------
    place : Place
    series : xarray.Dataset
        Decoded.
    row : int
        Along time.
    band : str
        Or ``SCL``, which is always exact.
    scenes : sequence of Scene
        What the date is made of.

    Returns
    -------
    int
        Largest difference in DN, on clear ground only unless the archive is lossless.
    """
    image = series[band]
    y, x = (image[dim].values for dim in image.dims[1:])
    truth = mosaic(scenes, [band], x, y, EPSG)
    wanted = np.where(truth["dataMask"], np.maximum(truth[band], 1), 0)
    off = np.abs(image.values[row].astype(np.int64) - wanted)
    if band != "SCL" and "lossless" not in place.target:
        # What the archive holds as classes is checked too: it may be relied on here.
        off[~_clear(series["SCL"].values[row], off.shape)] = 0
    return int(off.max(initial=0))


def _clear(classes: Any, shape: tuple[int, ...]) -> Any:
    """Where pixels of a finer or coarser grid lie wholly on clear ground."""
    clear = np.isin(classes, (4, 5))
    if shape[0] >= clear.shape[0]:
        return clear.repeat(shape[0] // clear.shape[0], 0).repeat(shape[1] // clear.shape[1], 1)
    rows, cols = (clear.shape[axis] // shape[axis] for axis in (0, 1))
    return clear.reshape(shape[0], rows, shape[1], cols).all((1, 3))
