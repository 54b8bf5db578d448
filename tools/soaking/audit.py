"""What must hold after a season: archives, log, state and world tell the same story."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

import stvc
from soaking.pixels import largest_error
from soaking.season import ENDS, Season
from soaking.world import Place, Version
from stvc.archive import ArchiveReader
from stvc.errors import StvcError
from stvc.versions import superseded


@dataclass(frozen=True)
class Held:
    """One frame of an archive."""

    time: np.datetime64
    version: Version
    gone: bool
    """Whether a newer version took its place."""
    late: bool
    """Whether a later frame was there before."""

    @property
    def key(self) -> tuple[str, Version]:
        """Tells it from all other frames of its place."""
        return str(self.time), self.version


class Audit:
    """Checks a season that is over; `findings` names all that does not add up.

    Parameters
    ----------
    season : Season
    """

    def __init__(self, season: Season) -> None:
        self.season = season
        self.world = season.world
        self.runs = season.runs
        self.findings: list[str] = []
        self.held = {place.id: self._read(place) for place in self.world.places}

    def check(self) -> dict[str, Any]:
        """Check everything.

        Returns
        -------
        dict
            Figures by subject, for the report.
        """
        return {
            "archives": self.archives(),
            "pixels": self.pixels(),
            "events": self.events(),
            "state": self.state(),
            "rest": self.rest(),
        }

    def archives(self) -> dict[str, Any]:
        """Every archive holds what it should, and nothing else."""
        totals: Counter[str] = Counter()
        last = self.runs[-1].day
        for place in self.world.places:
            held = self.held[place.id]
            shown = {frame.time: frame.version for frame in held if not frame.gone}
            expected = self.world.expected(place, last)
            missing = [t for t, version in expected.items() if shown.get(t) != version]
            surplus = [t for t in shown if t not in expected]
            self._object(missing, f"{place.id}: dates that are missing or of another version")
            self._object(surplus, f"{place.id}: dates that should not be there")
            keys = Counter(frame.key for frame in held)
            self._object([k for k, n in keys.items() if n > 1], f"{place.id}: frames held twice")
            must, may = self._versions(place)
            self._object(must - set(keys), f"{place.id}: versions that were lost")
            self._object(set(keys) - may, f"{place.id}: versions that were never listed")
            errors = self._verify(place) if held else ()
            self._object(errors, f"{place.id}: does not verify")
            totals["dates_expected"] += len(expected)
            totals["dates_held"] += len(shown)
            totals["superseded_versions"] += len(held) - len(shown)
            totals["late_frames"] += sum(frame.late for frame in held)
            totals["verified"] += bool(held and not errors)
            totals["bytes"] += self._size(place)
        return dict(totals)

    def pixels(self) -> dict[str, Any]:
        """Lossless archives are exact, bounded ones within their bound on clear ground."""
        checked = 0
        for place in self.world.places:
            if "quality" in place.target or not self.held[place.id]:
                continue
            try:
                with stvc.open(self.season.archive(place.id)) as archive:
                    series = archive.to_xarray()
            except StvcError as error:
                self.findings.append(f"{place.id}: does not decode: {error}")
                continue
            versions = {f.time: f.version for f in self.held[place.id] if not f.gone}
            for row, time in enumerate(series["time"].values.astype("datetime64[s]")):
                scenes = [self.world.scenes[name] for name in sorted(versions[time])]
                for band in (*place.bands, "SCL"):
                    worst = largest_error(place, series, row, band, scenes)
                    if worst > (0 if band == "SCL" else place.target.get("max_error", 0)):
                        self.findings.append(f"{place.id} {time} {band}: off by {worst} DN")
                    checked += 1
        return {"images_compared": checked}

    def events(self) -> dict[str, Any]:
        """The log tells of every frame once, but for what a SIGKILL silenced."""
        told: dict[str, Counter[tuple[str, Version]]] = defaultdict(Counter)
        named: Counter[str] = Counter()
        failures: Counter[str] = Counter()
        in_flight: Counter[str] = Counter()
        sizes: dict[str, int | None] = {}
        for run in self.runs:
            for event in run.events:
                named[event["event"]] += 1
                if event["event"] == "frame_appended":
                    told[event["field"]][_told_key(event)] += 1
                elif event["event"] == "field_failed":
                    failures[event["error"]] += 1
                    if event["message"].startswith("unexpected "):
                        self.findings.append(f"{event['field']} {run.day}: {event['message']}")
                if event["event"] in ENDS and event["requests"] is not None:
                    before = sizes.get(event["field"], 0)
                    if before is not None and event["bytes_before"] != before:
                        self.findings.append(
                            f"{event['field']} {run.day}: begins with {event['bytes_before']} "
                            f"bytes, ended with {before}"
                        )
                    sizes[event["field"]] = event["bytes_after"]
            for name in run.begun:
                sizes[name] = None  # nobody told how far it came
                in_flight[name] += 1
            self._check_totals(run)
        silenced = 0
        for place in self.world.places:
            keys = {frame.key for frame in self.held[place.id]}
            lies = [k for k, n in told[place.id].items() if n > 1 or k not in keys]
            self._object(lies, f"{place.id}: frames told twice, or told but not held")
            untold = keys - set(told[place.id])
            silenced += len(untold)
            if untold and not in_flight[place.id]:
                self._object(untold, f"{place.id}: frames that no event told of")
            if sizes.get(place.id, 0) not in (self._size(place), None):
                self.findings.append(f"{place.id}: the log's last size is not that of the archive")
        return {
            "lines": sum(named.values()),
            "torn_lines": sum(run.torn for run in self.runs),
            "by_event": dict(named),
            "failures": dict(failures),
            "frames_told": sum(sum(counts.values()) for counts in told.values()),
            "frames_held": sum(len(held) for held in self.held.values()),
            "frames_silenced_by_kills": silenced,
            "fields_in_flight_at_kills": sum(in_flight.values()),
        }

    def state(self) -> dict[str, Any]:
        """``stvc monitor status`` works, and agrees with the archives."""
        status = self.season.status()
        rows = {row["field"]: row for row in status["fields"]}
        if "error" in status:
            self.findings.append(f"monitor status: {status['error']}")
        for place in self.world.places:
            row, held = rows.get(place.id, {}), self.held[place.id]
            shown = sum(not frame.gone for frame in held)
            wanted = {
                "frames": shown,
                "superseded": len(held) - shown,
                "bytes": self._size(place),
                "failures": 0,
                "last_error": None,
                "readable": True,
            }
            wrong = {key: row.get(key) for key in wanted if row.get(key) != wanted[key]}
            self._object(wrong.items(), f"{place.id}: monitor status tells otherwise")
        return {"fields": len(rows)}

    def rest(self) -> dict[str, Any]:
        """The last runs: one without faults makes all whole, one more changes nothing."""
        last, idle = self.runs[-2:]
        for run in (last, idle):
            if run.code or len(run.done) != len(self.world.places):
                self.findings.append(f"the {run.purpose} run returned {run.code} without a fault")
        self._object([a for a in idle.requests if a.kind == "process"], "fetched by the idle run")
        news = [e for e in idle.events if e["event"] == "frame_appended"]
        self._object(news, "appended by the idle run")
        known = {f"{p.id}.stvc{tail}" for p in self.world.places for tail in ("", ".lock")}
        paths = (self.season.folder / "archives").iterdir()
        left = [p.name for p in paths if p.name not in {*known, ".stvc-monitor"}]
        self._object(left, "files left behind among the archives")
        return {"frames_fetched_by_the_last_run": _total(last, "frames_added")}

    def _check_totals(self, run: Any) -> None:
        """A run's sums are those of its fields, its requests those that the server saw."""
        if run.killed:
            return
        ends = [e for e in run.events if e["event"] in ENDS]
        names = [e["field"] for e in ends]
        twice = [name for name, count in Counter(names).items() if count > 1]
        self._object(twice, f"{run.day}: fields ended twice")
        (total,) = [e for e in run.events if e["event"] == "run_done"]
        told = Counter((e["event"], e["field"]) for e in run.events if "field" in e)
        kinds = {"appended": "added", "superseded": "superseded", "missing": "missing"}
        wrong = [
            f"{e['field']} {kind}"
            for e in ends
            for kind, name in kinds.items()
            if e[f"frames_{name}"] != told[f"frame_{kind}", e["field"]]
        ]
        self._object(wrong, f"{run.day}: frames told one by one are not those of the sum")
        sums = {key: sum(e[key] or 0 for e in ends) for key in ("frames_added", "requests")}
        sums["bytes_added"] = sum(e["bytes_after"] - e["bytes_before"] for e in ends)
        sums["fields"] = len(self.world.places)
        for key, value in sums.items():
            if (total[key] or 0) != value:
                self.findings.append(f"{run.day}: run_done tells {key}={total[key]}, not {value}")
        seen = sum(asked.kind in ("catalog", "process") for asked in run.requests)
        if seen != sums["requests"]:
            self.findings.append(
                f"{run.day}: {sums['requests']} requests told, {seen} reached the server"
            )
        if total["exit_code"] != run.code:
            self.findings.append(f"{run.day}: returned {run.code}, told {total['exit_code']}")

    def _versions(self, place: Place) -> tuple[set[Any], set[Any]]:
        """Versions that some run must have recorded, and all that any run could have."""
        must, may = set(), set()
        for run in self.runs:
            listed = {(str(t), v) for t, v in self.world.expected(place, run.day).items()}
            may |= listed
            if place.id in run.done:
                must |= listed
        return must, may

    def _read(self, place: Place) -> list[Held]:
        path = self.season.archive(place.id)
        if not path.exists():
            return []
        try:
            opened = ArchiveReader.open(path)
        except StvcError as error:
            self.findings.append(f"{place.id}: cannot be opened: {error}")
            return []
        with opened as reader:
            gone = superseded(reader.frames)
            times = [frame.time for frame in reader.frames]
            return [
                Held(
                    np.datetime64(frame.time, "s"),
                    frozenset(frame.provenance["product_id"].split(",")),
                    index in gone,
                    frame.time < max(times[:index], default=frame.time),
                )
                for index, frame in enumerate(reader.frames)
            ]

    def _verify(self, place: Place) -> tuple[str, ...]:
        with stvc.open(self.season.archive(place.id)) as archive:
            return archive.verify().errors

    def _size(self, place: Place) -> int:
        path = self.season.archive(place.id)
        return path.stat().st_size if path.exists() else 0

    def _object(self, things: Any, what: str) -> None:
        found = [str(thing)[:200] for thing in things]
        if found:
            more = "" if len(found) <= 3 else f" and {len(found) - 3} more"
            self.findings.append(f"{what}: {'; '.join(found[:3])}{more}")


def _told_key(event: dict[str, Any]) -> tuple[str, Version]:
    return event["time"], frozenset(event["product_id"].split(","))


def _total(run: Any, key: str) -> int:
    return int(next(e[key] for e in run.events if e["event"] == "run_done"))
