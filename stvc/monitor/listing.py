"""What a source can tell before and after it fetches; all of it beyond dates is optional."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from stvc.aoi import Aoi
from stvc.errors import NoDataError, SourceError, UnavailableError
from stvc.source.protocol import Source
from stvc.versions import BASELINE_KEYS, PRODUCT_KEYS, Version, version_of

if TYPE_CHECKING:
    import xarray as xr


@runtime_checkable
class ListsProducts(Protocol):
    """A source that knows which products its frames are made of; only then are new ones noticed."""

    def products(
        self, aoi: Aoi, start: date | None, end: date | None
    ) -> Sequence[Mapping[str, Any]]:
        """List frames as `Source.dates` does, with product and baseline.

        Returns
        -------
        sequence of mapping
            ``time`` (datetime64, as in `Source.dates`), ``product_id`` and ``baseline``, spelled as
            the frames' variables will be.
        """
        ...


@runtime_checkable
class Metered(Protocol):
    """A source that counts what it asked of a service."""

    def usage(self) -> Mapping[str, float]:
        """Return ``requests`` and ``pu_spent`` since the source was made."""
        ...


@runtime_checkable
class Budgeted(Protocol):
    """A source that keeps within a budget by itself."""

    def limit(self, requests: int | None, pu: float | None) -> None:
        """Refuse, with QuotaError, every request beyond these totals."""
        ...


@runtime_checkable
class Estimates(Protocol):
    """A source that knows the price of frames before it fetches them."""

    def estimate(self, aoi: Aoi, bands: Sequence[str] | None, frames: int) -> Mapping[str, float]:
        """Return ``requests`` and ``pu`` for that many frames of a place."""
        ...


@dataclass(frozen=True)
class Listed:
    """A frame that a source has."""

    time: np.datetime64
    """datetime64[s]."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """``product_id`` and ``baseline`` if the source tells them."""

    @property
    def version(self) -> Version:
        """As `stvc.versions` compares it."""
        return version_of(int(self.time.astype(np.int64)), self.provenance)


def list_frames(source: Source, aoi: Aoi, start: date | None, end: date | None) -> list[Listed]:
    """List a place's frames, in order of time, without fetching a pixel.

    Parameters
    ----------
    source : Source
    aoi : Aoi
    start, end : date or None
        First and last day, both included.

    Returns
    -------
    list of Listed
        Empty if the source has none.
    """
    try:
        if isinstance(source, ListsProducts):
            rows = source.products(aoi, start, end)
            found = [
                Listed(
                    np.datetime64(row["time"], "s"),
                    {k: row[k] for k in (*PRODUCT_KEYS, *BASELINE_KEYS) if row.get(k)},
                )
                for row in rows
            ]
        else:
            found = [Listed(time.astype("datetime64[s]")) for time in source.dates(aoi, start, end)]
    except NoDataError:
        return []
    return sorted(found, key=lambda frame: frame.time)


@dataclass(frozen=True)
class Spent:
    """What a service was asked for."""

    requests: int | None = None
    """None if the source does not count."""
    pu: float | None = None
    """Processing units."""


def spent_by(source: object) -> Spent:
    """Read a source's meter."""
    if not isinstance(source, Metered):
        return Spent()
    read = source.usage()
    return Spent(int(read.get("requests", 0)), round(float(read.get("pu_spent", 0.0)), 4))


@dataclass(frozen=True)
class Loss:
    """A frame that a source could not deliver though it has it."""

    time: str
    """ISO."""
    error: str
    """Class name."""
    message: str


class IncompleteError(SourceError):
    """Some frames could not be fetched; the others are appended, and the next run tries again.

    Parameters
    ----------
    lost : sequence of Loss
        At least one.
    asked : int
        How many frames were asked for.
    """

    def __init__(self, lost: Sequence[Loss], asked: int) -> None:
        first = lost[0]
        super().__init__(
            f"{len(lost)} of {asked} dates could not be fetched; {first.time}: {first.error}: "
            f"{first.message}"
        )
        temporary = all(loss.error == UnavailableError.__name__ for loss in lost)
        self.exit_code = UnavailableError.exit_code if temporary else SourceError.exit_code


def fetch(
    source: Source,
    aoi: Aoi,
    start: date | None,
    end: date | None,
    bands: Sequence[str] | None,
    exclude: Sequence[np.datetime64],
) -> xr.Dataset:
    """Fetch frames; of a source that can go on without one that fails, take the others.

    See `Source.fetch`; `losses` tells what is missing.
    """
    more = {}
    if "on_frame_error" in signature(source.fetch).parameters:
        more["on_frame_error"] = "skip"
    return source.fetch(aoi, start, end, bands, exclude, **more)


def losses(frames: xr.Dataset) -> list[Loss]:
    """Take the list of lost frames out of a dataset's attributes: it is no property of the place.

    Parameters
    ----------
    frames : xarray.Dataset
        From `fetch`; loses the attribute ``incomplete``.

    Returns
    -------
    list of Loss
    """
    text = frames.attrs.pop("incomplete", None)
    lost = []
    for entry in json.loads(text) if text else ():
        error, _, message = str(entry["error"]).partition(": ")
        lost.append(Loss(str(entry["time"]), error, message))
    return lost
