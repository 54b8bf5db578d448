"""What a source of frames must do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from stvc.aoi import Aoi

if TYPE_CHECKING:
    import xarray as xr
    from shapely.geometry import MultiPolygon, Polygon

Times = npt.NDArray[np.datetime64]


class Source(Protocol):
    """A place that frames come from.

    A source that has not been asked for anything has read no file and opened no connection.
    """

    @property
    def name(self) -> str:
        """Name on the command line."""
        ...

    def ground(self) -> Polygon | MultiPolygon | None:
        """Return what the source covers, in WGS84; None = everything."""
        ...

    def dates(self, aoi: Aoi, start: date | None, end: date | None) -> Times:
        """List the frames of a place, without fetching any pixel.

        Parameters
        ----------
        aoi : Aoi
            The place.
        start, end : date or None
            First and last day, both included; None = no limit.

        Returns
        -------
        ndarray, (T,) datetime64[s]
            Strictly increasing; empty if there is none.

        Raises
        ------
        AoiError
            If the source does not cover the place.
        SourceError
            If the source cannot be read.
        """
        ...

    def fetch(
        self,
        aoi: Aoi,
        start: date | None,
        end: date | None,
        bands: Sequence[str] | None,
        exclude: Collection[np.datetime64],
    ) -> xr.Dataset:
        """Fetch the frames of a place on native grids.

        The grid is the bounding box of the place, snapped outwards to pixel edges and clipped to
        the source's ground; it does not depend on dates, so that later frames fit. Pixels of the
        box outside the polygon stay imaged.

        Parameters
        ----------
        aoi, start, end
            As in `dates`.
        bands : sequence of str or None
            Sentinel-2 band names; None = all that the source has.
        exclude : collection of datetime64
            Frames that the caller has already, compared by whole seconds.

        Returns
        -------
        xarray.Dataset
            As `stvc.dataset.series_from_dataset` wants it, with the polygon as GeoJSON text in
            ``attrs["aoi"]``. Its ``time`` has size 0 if `exclude` names all frames.

        Raises
        ------
        AoiError
            If the source does not cover the place.
        NoDataError
            If the source has no frame between `start` and `end`, excluded or not.
        SourceError
            If the source cannot be read, or has no such band.
        """
        ...
