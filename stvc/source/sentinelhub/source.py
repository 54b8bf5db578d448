"""The source itself: which dates, and their pixels on native grids."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.aoi import Aoi
from stvc.errors import ConfigError, NoDataError
from stvc.source.planning import FetchPlan
from stvc.source.protocol import Times
from stvc.source.sentinelhub.frames import provenance_of, to_dataset
from stvc.source.sentinelhub.layout import lay_out
from stvc.source.sentinelhub.usage import Limits, Usage

if TYPE_CHECKING:
    import xarray as xr

    from stvc.source.sentinelhub.catalog import Listing, Overpass
    from stvc.source.sentinelhub.download import Downloader

MASKS = {"scl": "SCL", "clp": "CLP"}
"""What may steer the bits: scene classes, or cloud probability (0 to 255)."""

ON_FRAME_ERROR = ("raise", "skip")


class SentinelHubSource:
    """Sentinel-2 L2A of any place, from Sentinel Hub or the Copernicus Data Space.

    Parameters
    ----------
    profile : str or None
        Profile of the package sentinelhub; None = ``SH_PROFILE``, the user's settings, or the
        default one. Credentials come from it or from ``SH_CLIENT_ID`` and ``SH_CLIENT_SECRET``.
    mask : str
        ``scl``: scene classes; ``clp``: cloud probability from 0 to 255 as variable ``CLP``, which
        knows no shadows (nodata is 255 in it).
    harmonized : bool
        True: DN without the baseline's offset, comparable through the years, and never negative.
        False: DN as ESA delivers them; each frame's offset is in ``offset_dn``.
    on_frame_error : str
        What `fetch` does about a frame that cannot be had: ``raise``, or ``skip`` it and name it in
        ``attrs["incomplete"]``.
    threads : int
        Requests under way at the same time.
    timeout_s, attempts, retry_wait_s, max_wait_s, max_requests, max_pu
        See `Limits`.

    Raises
    ------
    ConfigError
        If an option is out of its range. The profile is read when it is needed first.

    Notes
    -----
    A frame is one overpass: tiles and halves of a recording are merged. Its time is when the
    recording began, up to some minutes before the place was imaged, because that stays the same
    when another tile of the overpass is published later.
    """

    name = "sentinelhub"

    def __init__(
        self,
        profile: str | None = None,
        *,
        mask: str = "scl",
        harmonized: bool = True,
        on_frame_error: str = "raise",
        threads: int = 4,
        timeout_s: float = Limits.timeout_s,
        attempts: int = Limits.attempts,
        retry_wait_s: float = Limits.retry_wait_s,
        max_wait_s: float = Limits.max_wait_s,
        max_requests: int | None = None,
        max_pu: float | None = None,
    ) -> None:
        if mask not in MASKS:
            raise ConfigError(
                f"mask {mask!r} of source {self.name}; choose from {', '.join(MASKS)}"
            )
        if on_frame_error not in ON_FRAME_ERROR:
            raise ConfigError(
                f"on_frame_error {on_frame_error!r}; choose from {', '.join(ON_FRAME_ERROR)}"
            )
        if not 1 <= threads <= 32:
            raise ConfigError(f"threads={threads} of source {self.name}; want 1 to 32")
        limits = Limits(timeout_s, attempts, retry_wait_s, max_wait_s, max_requests, max_pu)
        limits.check()
        self._options: dict[str, Any] = {
            "profile": profile,
            "mask": mask,
            "harmonized": harmonized,
            "on_frame_error": on_frame_error,
            "threads": threads,
            **vars(limits),
        }
        self._profile = profile
        self._mask = mask
        self._harmonized = harmonized
        self._on_frame_error = on_frame_error
        self._threads = threads
        self._usage = Usage(limits)
        self._downloader: Downloader | None = None
        self._listing: Listing | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the options only: no credentials, connections or counters."""
        return partial(SentinelHubSource, **self._options), ()

    def ground(self) -> None:
        """Return None: Sentinel-2 images all land; see `Source.ground`."""

    def usage(self) -> dict[str, float | int]:
        """Return counters since the source was made.

        Returns
        -------
        dict
            ``requests`` (retries among them, logins not), ``retries``, ``logins``,
            ``bytes_received`` and ``pu_spent`` (processing units, as the service told).
        """
        return self._usage.report()

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._usage.requests

    @property
    def pu_spent(self) -> float:
        """Processing units spent so far."""
        return self._usage.pu_spent

    def limit(self, requests: int | None, pu: float | None) -> None:
        """Set the budgets anew: totals since the source was made; None = no limit.

        Raises
        ------
        ConfigError
            If one is negative.
        """
        self._usage.limit(requests, pu)

    def dates(self, aoi: Aoi, start: date | None, end: date | None) -> Times:
        """List the frames of a place; see `Source.dates`."""
        frames = self._list(aoi, start, end)
        return np.array([frame.time for frame in frames], dtype="datetime64[s]")

    def products(self, aoi: Aoi, start: date | None, end: date | None) -> list[dict[str, Any]]:
        """List the frames of a place with what they are made of.

        Returns
        -------
        list of dict
            ``time`` (datetime64[s]) and the frame's provenance, as `fetch` gives it.
        """
        return [
            {"time": frame.time, **self._provenance(frame)} for frame in self._list(aoi, start, end)
        ]

    def estimate(self, aoi: Aoi, bands: Sequence[str] | None, frames: int) -> dict[str, float]:
        """Tell what so many frames cost, without asking the service.

        Returns
        -------
        dict
            ``requests`` and ``pu``.
        """
        from stvc.source.sentinelhub.costs import estimate_frames

        return estimate_frames(lay_out(aoi, bands), MASKS[self._mask], frames)

    def plan(
        self,
        aoi: Aoi,
        start: date | None,
        end: date | None,
        bands: Sequence[str] | None,
        exclude: Collection[np.datetime64],
    ) -> FetchPlan:
        """Tell what `fetch` would fetch; see `stvc.source.planning.plan_fetch`."""
        from stvc.source.sentinelhub.costs import plan_frames

        wanted = _without(self._list(aoi, start, end), exclude)
        return plan_frames(lay_out(aoi, bands), MASKS[self._mask], wanted)

    def fetch(
        self,
        aoi: Aoi,
        start: date | None,
        end: date | None,
        bands: Sequence[str] | None,
        exclude: Collection[np.datetime64],
        *,
        on_frame_error: str | None = None,
    ) -> xr.Dataset:
        """Fetch frames; see `Source.fetch`.

        Parameters
        ----------
        aoi, start, end, bands, exclude
            As in `Source.fetch`.
        on_frame_error : str or None
            As the class takes it; None = what the class was given.

        Returns
        -------
        xarray.Dataset
            With ``product_id``, ``baseline``, ``orbit``, ``offset_dn``, ``harmonized``, ``source``
            and ``supersedes`` (outdated products) along time. If frames were skipped,
            ``attrs["incomplete"]`` is a JSON list of objects with ``time``, ``product_id`` and
            ``error``.

        Raises
        ------
        AoiError, NoDataError, SourceError
            As in `Source.fetch`.
        AuthError, QuotaError
            If the service or a budget refuses before the first frame is there, or any later one
            under ``raise``.
        UnavailableError
            If the service does not answer for a reason that may pass.
        """
        skip = (on_frame_error or self._on_frame_error) == "skip"
        layout = lay_out(aoi, bands)
        frames = self._list(aoi, start, end, reuse=True)
        if not frames:
            raise NoDataError(
                f"source {self.name} has no date of {aoi.name} from {start or 'its beginning'} to "
                f"{end or 'today'}; choose another --start or --end"
            )
        wanted = _without(frames, exclude)
        downloader = self._connect()
        pixels, losses = downloader.fetch_frames(
            wanted, layout, MASKS[self._mask], harmonized=self._harmonized, skip=skip
        )
        return to_dataset(
            aoi,
            layout,
            MASKS[self._mask],
            [
                (frame.time, got, self._provenance(frame))
                for frame, got in zip(wanted, pixels, strict=True)
                if got is not None
            ],
            losses,
        )

    def _list(
        self, aoi: Aoi, start: date | None, end: date | None, *, reuse: bool = False
    ) -> tuple[Overpass, ...]:
        """Ask the catalog; `reuse` takes what the last question brought, if it answers this one."""
        # Bands do not matter: the widest box that any band asks for.
        box = lay_out(aoi, None)
        place = f"{box.epsg} {box.bounds} {aoi.geojson}"
        known = self._listing
        if reuse and known is not None and known.holds(place, start, end):
            frames = known.frames
        else:
            from stvc.source.sentinelhub.catalog import Listing

            frames = self._connect().search(aoi, box, start, end)
            if not reuse:
                self._listing = Listing(place, start, end, frames, time.monotonic())
        first = None if start is None else np.datetime64(start, "s")
        stop = None if end is None else np.datetime64(end, "D") + np.timedelta64(1, "D")
        return tuple(
            frame
            for frame in frames
            if (first is None or frame.time >= first) and (stop is None or frame.time < stop)
        )

    def _connect(self) -> Downloader:
        if self._downloader is None:
            from stvc.service_config import service_config
            from stvc.source.sentinelhub.download import Downloader

            self._downloader = Downloader(service_config(self._profile), self._usage, self._threads)
        return self._downloader

    def _provenance(self, frame: Overpass) -> dict[str, Any]:
        return provenance_of(frame, harmonized=self._harmonized)


def _without(
    frames: Sequence[Overpass], exclude: Collection[np.datetime64]
) -> tuple[Overpass, ...]:
    had = {known.astype("datetime64[s]") for known in exclude}
    return tuple(frame for frame in frames if frame.time not in had)
