"""Names of the things inside an archive: kinds, unit keys, index entries and frame records."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, NamedTuple


class Kind(IntEnum):
    """What a coding unit holds."""

    PIXELS = 0
    """Samples of one band group of one tile at one date."""
    MASK = 1
    """Lossless mask classes of one date."""
    BACKGROUND = 2
    """A version of the place's historical background."""


class UnitKey(NamedTuple):
    """Address of one coding unit."""

    kind: Kind
    frame: int
    """Frame index; for ``Kind.BACKGROUND`` the background's version number."""
    group: int
    """Band group index."""
    tile: int
    """Tile index."""


@dataclass(frozen=True, slots=True)
class UnitInfo:
    """Where a unit's payload lies and how it is checked."""

    offset: int
    """First byte, counted from the start of the payload region."""
    length: int
    """Bytes."""
    crc32c: int
    """CRC-32C of the payload bytes."""
    stats: tuple[int, int, int]
    """Three small non-negative integers; their meaning is the codec's."""


@dataclass(frozen=True)
class FrameRecord:
    """One acquisition date, apart from its pixels."""

    time: int
    """Seconds since 1970-01-01 UTC."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """JSON values, such as ``product_id`` and ``baseline``."""
    stats: tuple[int, ...] = ()
    """At most four small integers; their meaning is the codec's."""


def date_text(time: int) -> str:
    """Write seconds since 1970 as an ISO date and time in UTC, for messages.

    Parameters
    ----------
    time : int
        Seconds since 1970-01-01 UTC.

    Returns
    -------
    str
        For example ``2018-05-07T10:50:31Z``; the number itself when no calendar reaches it.
    """
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time)
    except OverflowError:
        return f"{time} s"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
