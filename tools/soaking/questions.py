"""What the service was asked, and whether any question was asked twice without reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pyproj import Transformer
from servers.sentinelhub_server import Asked

from soaking.season import Run, Season
from soaking.world import EPSG, Place, Version


class Question(NamedTuple):
    """One request for pixels."""

    run: int
    """Index of the run."""
    place: Place
    frame: tuple[str, Version]
    """Time, and the products that were listed on the day."""
    group: str
    """All that was asked: pixels, bands, time."""
    asked: Asked

    @property
    def answered(self) -> bool:
        """Whether a whole reply was sent; an expired token shows in the status alone."""
        return self.asked.status == 200 and self.asked.fault is None


class Questions:
    """Sorts a season's requests.

    Parameters
    ----------
    season : Season
    """

    def __init__(self, season: Season) -> None:
        self._world = season.world
        self._runs = season.runs
        self._to_meters = Transformer.from_crs(4326, EPSG, always_xy=True)
        self.findings: list[str] = []

    def check(self) -> dict[str, Any]:
        """Count requests, and look for repetitions.

        Returns
        -------
        dict
            For the report.
        """
        requests = [asked for run in self._runs for asked in run.requests]
        reasons: Counter[str] = Counter()
        for run in self._runs:
            self._check_catalog(run, reasons)
        self._check_process(reasons)
        return {
            "by_kind": dict(Counter(asked.kind for asked in requests)),
            "faults": dict(Counter(asked.fault for asked in requests if asked.fault)),
            "repeated": dict(reasons),
            "repeated_without_reason": len(self.findings),
        }

    def _check_catalog(self, run: Run, reasons: Counter[str]) -> None:
        """In one run, each field's listing is asked for once, and again only after a fault."""
        failed: dict[str, bool] = {}
        for asked in run.requests:
            if asked.kind == "other":
                self.findings.append(f"{run.day}: something else was asked for")
            if asked.kind != "catalog":
                continue
            west, south, east, north = asked.body["bbox"]
            place = self._place(*self._to_meters.transform((west + east) / 2, (south + north) / 2))
            if place.id in failed and "next" not in asked.body:
                if not failed[place.id]:
                    self.findings.append(f"{place.id} {run.day}: listed twice without a fault")
                reasons["catalog: a fault"] += 1
            failed[place.id] = asked.status != 200 or asked.fault is not None

    def _check_process(self, reasons: Counter[str]) -> None:
        history: dict[tuple[str, tuple[str, Version]], list[Question]] = defaultdict(list)
        for question in self._questions():
            history[question.place.id, question.frame].append(question)
        for of_frame in history.values():
            before: dict[str, Question] = {}
            for question in of_frame:
                earlier = before.get(question.group)
                if earlier is not None:
                    reason = self._reason(earlier, question, of_frame)
                    if reason is None:
                        self.findings.append(
                            f"{question.place.id} {question.frame[0]}: asked for on "
                            f"{self._runs[earlier.run].day} and {self._runs[question.run].day}"
                        )
                    else:
                        reasons[f"process: {reason}"] += 1
                before[question.group] = question

    def _reason(self, earlier: Question, again: Question, of_frame: list[Question]) -> str | None:
        """Why a question was asked once more; None if there is no reason."""
        if not earlier.answered:
            return "a fault"
        if earlier.run == again.run:
            return None
        if earlier.place.id in self._runs[earlier.run].begun:
            return "killed"
        latest = {q.group: q for q in of_frame if q.run == earlier.run}
        if any(not question.answered for question in latest.values()):
            return "the rest of the frame failed"
        groups = {q.group for q in of_frame}
        # A refusal ends the run: what was not asked for any more is missing too.
        refused = any(a.status in (401, 403) for a in self._runs[earlier.run].requests)
        return "the rest was refused" if groups > set(latest) and refused else None

    def _questions(self) -> list[Question]:
        found = []
        for number, run in enumerate(self._runs):
            for asked in run.requests:
                if asked.kind != "process":
                    continue
                left, bottom, right, top = asked.body["input"]["bounds"]["bbox"]
                place = self._place((left + right) / 2, (bottom + top) / 2)
                frame = self._frame(place, run, asked)
                if frame is not None:
                    found.append(Question(number, place, frame, asked.key, asked))
        return found

    def _frame(self, place: Place, run: Run, asked: Asked) -> tuple[str, Version] | None:
        span = asked.body["input"]["data"][0]["dataFilter"]["timeRange"]
        first, last = (datetime.fromisoformat(span[k]).astimezone(UTC) for k in ("from", "to"))
        passes = [p for p in self._world.passes_of(place) if p.holds(first, last)]
        if len(passes) != 1 or not passes[0].version(place, run.day):
            self.findings.append(f"{place.id} {run.day}: pixels of {first} are not listed")
            return None
        return str(passes[0].time), passes[0].version(place, run.day)

    def _place(self, x: float, y: float) -> Place:
        place = self._world.place_at(x, y)
        if place is None:
            raise ValueError(f"nobody monitors anything at {x:.0f}, {y:.0f}")
        return place
