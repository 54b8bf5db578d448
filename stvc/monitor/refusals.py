"""Frames that are not asked for again: refused by the radiometry guard, or failed run after run.

They are kept in the field's state file. Without it, they are asked for once more, refused once
more, and on record again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from stvc.errors import (
    AuthError,
    BudgetError,
    QuotaError,
    RadiometryError,
    UnavailableError,
)
from stvc.monitor.listing import Listed
from stvc.monitor.records import frame_name
from stvc.monitor.settings import FieldSettings
from stvc.versions import Version, version_of

GIVE_UP_AFTER = 5
"""Runs in which a frame must fail, for reasons that do not pass, before it is left alone."""

_PASSING = frozenset(
    error.__name__ for error in (UnavailableError, QuotaError, BudgetError, AuthError)
)
_MOST, _LONGEST = 200, 300

Key = tuple[str, frozenset[str], tuple[int, ...]]


class Failed(NamedTuple):
    """A frame that a run could not get."""

    frame: Listed
    error: str
    """Class name; empty if the source gave no reason."""
    message: str


@dataclass(frozen=True)
class Refusal:
    """A frame that failed."""

    time: str
    """ISO time of the frame, UTC."""
    product_id: str
    baseline: str
    grid: str
    """Hash of the archive's grid, and of the settings that decide what a frame holds."""
    error: str
    """Class name."""
    message: str
    at: str
    """ISO time of the last failure, UTC."""
    runs: int = 1
    """How many runs it failed in."""

    @property
    def final(self) -> bool:
        """Whether it is left alone now: the guard's word stands, other failures must repeat."""
        return self.error == RadiometryError.__name__ or self.runs >= GIVE_UP_AFTER

    @property
    def key(self) -> Key:
        """Grid, products and baseline."""
        named = {"product_id": self.product_id, "baseline": self.baseline}
        return self.grid, *version_of(0, named).key

    def told(self) -> dict[str, Any]:
        """Keys of the event and of the status."""
        known = {key: value for key, value in asdict(self).items() if value or key == "message"}
        return {key: value for key, value in known.items() if key != "grid"}


class Refusals:
    """What a field's earlier runs could not get.

    Parameters
    ----------
    stored : iterable of mapping
        From the state file, believed as far as it makes sense.
    """

    def __init__(self, stored: Iterable[Any] = ()) -> None:
        self._known: dict[Key, Refusal] = {}
        for entry in stored:
            refusal = _read(entry)
            if refusal is not None:
                self._known[refusal.key] = refusal

    def __bool__(self) -> bool:
        return bool(self._known)

    def final(self) -> list[Refusal]:
        """Those that are left alone, by time."""
        return sorted((r for r in self._known.values() if r.final), key=lambda r: r.time)

    def hold(self, frame: Listed, grid: str) -> bool:
        """Whether a frame is left alone; one without a name never is: nobody could tell a new one.

        Parameters
        ----------
        frame : Listed
        grid : str
            From `grid_of`.
        """
        refusal = self._known.get(_key(frame.version, grid))
        return frame.version.named and refusal is not None and refusal.final

    def settle(self, failed: Iterable[Failed], done: Iterable[Listed], grid: str) -> list[Refusal]:
        """Enter what a run brought.

        Parameters
        ----------
        failed : iterable of Failed
        done : iterable of Listed
            Frames that arrived.
        grid : str
            From `grid_of`.

        Returns
        -------
        list of Refusal
            Those that are left alone from now on.
        """
        for frame in done:
            self._known.pop(_key(frame.version, grid), None)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        fresh = []
        for frame, error, message in failed:
            if error in _PASSING or not frame.version.named:
                continue
            name = frame_name(frame.version.time, frame.provenance)
            made = Refusal(
                name["time"],
                str(name.get("product_id", "")),
                str(name.get("baseline", "")),
                grid,
                error,
                message[:_LONGEST],
                now,
            )
            before = self._known.get(made.key)
            if before is not None:
                made = replace(made, runs=before.runs + 1)
            self._known[made.key] = made
            if made.final:
                fresh.append(made)
        return fresh

    def to_json(self) -> list[dict[str, Any]]:
        """For the state file: the newest ones, should there be very many."""
        newest = sorted(self._known.values(), key=lambda r: (r.at, r.time))[-_MOST:]
        return [asdict(refusal) for refusal in newest]


def grid_of(header: Mapping[str, Any] | None, settings: FieldSettings) -> str:
    """Name what a frame's fate depends on beside its products.

    Parameters
    ----------
    header : mapping or None
        Of the archive; None if there is none yet.
    settings : FieldSettings
        A field that takes offsets, or corrects them, asks anew.

    Returns
    -------
    str
    """
    place = None if header is None else [header.get("crs"), header.get("grids")]
    asked = [settings.source, dict(settings.options), dict(settings.mask), settings.accept_offset]
    text = json.dumps([place, asked], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _key(version: Version, grid: str) -> Key:
    return grid, *version.key


def _read(entry: Any) -> Refusal | None:
    """Read one that was stored; None if it is none."""
    if not isinstance(entry, dict):
        return None
    texts = {
        name: entry[name]
        for name in Refusal.__dataclass_fields__
        if name != "runs" and isinstance(entry.get(name), str)
    }
    runs = entry.get("runs")
    whole = len(texts) == len(Refusal.__dataclass_fields__) - 1
    return Refusal(**texts, runs=runs) if whole and type(runs) is int else None
