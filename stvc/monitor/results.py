"""What goes to the process that does a field's work, and what comes back: small and plain."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from stvc.monitor.settings import FieldSettings

DONE = ("written", "appended", "unchanged", "planned")
"""Outcomes of a field that is up to date, or would be."""


@dataclass(frozen=True)
class FieldTask:
    """One field's work."""

    id: str
    geometry: str
    """GeoJSON text."""
    settings: FieldSettings
    archive: Path
    cache_dir: Path
    today: date
    """Nothing later is asked for."""
    lock_timeout: float
    """Seconds to wait for another writer."""
    dry_run: bool = False
    """List only."""
    retry_refused: bool = False
    """Ask for frames again that were refused."""
    spread_tiles: bool = False
    """Let the cluster that works on the field also share the tiles of a large place."""
    max_requests: int | None = None
    """Most requests for this field; None = no limit."""
    max_pu: float | None = None
    """Most processing units for this field."""


@dataclass(frozen=True)
class Failure:
    """Why a field is not up to date."""

    error: str
    """Class name."""
    message: str
    exit_code: int
    """As the command line would return it for this field alone."""

    @property
    def temporary(self) -> bool:
        """Whether the next run may fare better without anybody doing anything."""
        return self.exit_code == 75

    def to_json(self) -> dict[str, Any]:
        """Keys of the event and of the state file."""
        return {
            "error": self.error,
            "message": self.message,
            "exit_code": self.exit_code,
            "temporary": self.temporary,
        }


@dataclass
class FieldResult:
    """What became of a field; filled as the work goes on, so that failures keep what was done."""

    id: str
    path: str
    status: str = "unchanged"
    """One of `DONE`, ``failed`` or ``deferred``."""
    reason: str | None = None
    """Why it is deferred: ``budget`` or ``stopped``."""
    failure: Failure | None = None
    frames: list[dict[str, Any]] = field(default_factory=list)
    """Per appended (or planned) frame: time, bytes, clear_share, late, product_id, baseline."""
    superseded: list[dict[str, Any]] = field(default_factory=list)
    """Per superseded frame: the same keys, and ``by``."""
    missing: list[dict[str, Any]] = field(default_factory=list)
    """Per frame that was listed but not delivered: time, product_id, baseline, error, message."""
    refused: list[dict[str, Any]] = field(default_factory=list)
    """Per frame that is not asked for again from now on: `Refusal.told`."""
    refusals: list[dict[str, Any]] | None = None
    """For the state file; None = as it was."""
    frames_planned: int = 0
    frames_missing: int = 0
    frames_refused: int = 0
    """Listed, but not asked for."""
    frames_total: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    last_date: str | None = None
    requests: int | None = None
    pu: float | None = None
    estimate: dict[str, float] | None = None
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    @property
    def frames_added(self) -> int:
        """Frames written to the archive."""
        return 0 if self.status == "planned" else len(self.frames)

    def absorb(self, earlier: FieldResult) -> None:
        """Add what an earlier attempt in the same run did before it ran out of budget."""
        self.frames = earlier.frames + self.frames
        self.superseded = earlier.superseded + self.superseded
        self.missing = earlier.missing + self.missing
        self.refused = earlier.refused + self.refused
        self.frames_missing += earlier.frames_missing
        self.bytes_before = earlier.bytes_before
        self.seconds = round(self.seconds + earlier.seconds, 3)
        if earlier.requests is not None:
            self.requests = earlier.requests + (self.requests or 0)
        if earlier.pu is not None:
            self.pu = earlier.pu + (self.pu or 0.0)
        if self.status in DONE and self.frames:
            self.status = "written" if earlier.bytes_before == 0 else "appended"

    def forget_frames(self) -> None:
        """Drop the lists of frames once they are told: a run must not grow with its fields."""
        self.frames, self.superseded, self.missing, self.refused = [], [], [], []
        self.refusals = None

    def summary(self) -> dict[str, Any]:
        """Keys of the events that end a field."""
        return {
            "path": self.path,
            "frames_added": self.frames_added,
            "frames_superseded": len(self.superseded),
            "frames_planned": self.frames_planned,
            "frames_missing": self.frames_missing,
            "frames_refused": self.frames_refused,
            "frames_total": self.frames_total,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "last_date": self.last_date,
            "requests": self.requests,
            "pu": self.pu,
            "estimate": self.estimate,
            "seconds": self.seconds,
            "warnings": self.warnings,
        }
