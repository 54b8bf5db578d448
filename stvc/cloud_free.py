"""The place without its clouds: hidden pixels as the codec predicts them, marked as such.

What a hidden pixel decodes to depends on how the archive was encoded. With ``clouds="drop"`` (the
default) it was never coded, and decodes to the prediction already; otherwise it holds the cloud,
coarsely or exactly. Here every hidden pixel becomes the prediction (or nodata), and a mask says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.dataset import dataset_from_series
from stvc.xarray_backend.tile_decoder import TileDecoder

if TYPE_CHECKING:
    import xarray as xr

    from stvc.archive_view import Archive
    from stvc.walker import Progress

FILLED = "filled"
"""Boolean variable, true = prediction; with the dimension suffix of its grid: ``filled20``."""

_CACHE = 64 << 20


def cloud_free(
    archive: Archive,
    *,
    fill: bool,
    time: Any = None,
    bands: Sequence[str] | None = None,
    versions: str = "latest",
    progress: Progress | None = None,
) -> xr.Dataset:
    """Decode with hidden pixels filled, or turned into nodata.

    Parameters
    ----------
    archive : Archive
    fill : bool
        True: the codec's own prediction stands under clouds, and variables `FILLED` mark where.
        False: DN 0 stands there.
    time, bands, versions, progress
        As of `Archive.to_xarray`.

    Raises
    ------
    CorruptError
        If a unit that is needed is damaged, with ``on_error="skip"`` too: nothing can be predicted
        from what is lost.
    """
    chosen = archive._choose(time, bands, versions)
    series = archive.to_series(time=time, bands=bands, versions=versions, progress=progress)
    opened = archive._open_place()
    decoder = TileDecoder(archive._reader, opened, _CACHE, ahead=archive.is_remote)
    pixels, marks = [], {}
    for position, (group, channels) in enumerate(zip(chosen.groups, chosen.bands, strict=True)):
        grid = opened.place.grids[group]
        whole = slice(0, len(grid.y)), slice(0, len(grid.x))
        unseen = decoder.unseen(group, chosen.frames, *whole)
        shown = series.pixels[position]
        if not fill:
            shown = np.where(unseen[:, None], np.uint16(0), shown)
        elif not decoder.predicts_hidden:
            shown = decoder.bands(group, channels, chosen.frames, *whole, fill=True)
        pixels.append(shown)
        if fill:
            marks[FILLED + grid.suffix] = (("time", "y" + grid.suffix, "x" + grid.suffix), unseen)
    ds = dataset_from_series(replace(series, pixels=tuple(pixels)))
    for name, variable in marks.items():
        ds[name] = variable
        ds[name].attrs["long_name"] = "pixel is the codec's prediction, not an observation"
        if opened.crs:
            ds[name].encoding["grid_mapping"] = "spatial_ref"
    return ds
