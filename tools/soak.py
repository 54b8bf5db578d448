"""Play a year of scheduled monitoring, with everything that goes wrong, and see whether it adds up.

    python tools/soak.py --in-process       (200 fields, 365 days: half an hour of one core)
    python tools/soak.py --fields 50 --days 60 --kills 10 --seed 1 --keep /tmp/soak

Without --in-process every run is a process of its own, which costs some seconds each.

A Sentinel Hub on the loopback interface releases products day by day: late ones, reprocessed ones,
halves of an overpass. `stvc monitor run` is started every day; a share of all requests fails, some
days the quota runs out, and some runs are ended by SIGKILL at a random instant. At the end every
archive must verify and hold exactly the dates and versions that it should, with the right pixels;
log, state and archives must agree; and nothing may have been asked for twice without reason.
Exit code 1 if anything does not add up.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT / "tools"), str(_ROOT / "tests")]

FIRST = date(2023, 3, 1)


def soak(
    folder: Path,
    *,
    fields: int,
    days: int,
    every: int = 1,
    kills: int,
    fault_rate: float = 0.1,
    seed: int = 0,
    in_process: bool = False,
    workers: int = 1,
    note: Any = lambda text: None,
) -> dict[str, Any]:
    """Play a season and audit it.

    Parameters
    ----------
    folder : Path
        For the job and its archives; empty.
    fields, days : int
    every : int
        Days between runs.
    kills : int
        Runs that are ended by SIGKILL.
    fault_rate : float
        Share of requests that fail.
    seed : int
        Of places, products, faults and kills; not of when exactly a kill strikes.
    in_process : bool
        Whether runs that are not to be killed take place in this process: faster.
    workers : int
        Processes of the other runs.
    note : callable
        Told how it goes on.

    Returns
    -------
    dict
        The report; ``findings`` is empty if all adds up.
    """
    from soaking.season import Season
    from soaking.world import World

    began = time.perf_counter()
    season = Season(
        World(fields, FIRST, days, seed),
        folder,
        every=every,
        kills=kills,
        rate=fault_rate,
        seed=seed,
        in_process=in_process,
        workers=workers,
    )
    season.play(note)
    played = time.perf_counter()
    report = audit(season)
    if report["killed"] != kills:
        report["findings"].append(f"{report['killed']} runs were killed, not {kills}")
    return {
        "schema": 1,
        "fields": fields,
        "days": days,
        "every": every,
        "workers": workers,
        "fault_rate": fault_rate,
        "seed": seed,
        "seconds_played": round(played - began, 1),
        "seconds_audited": round(time.perf_counter() - played, 1),
        **report,
    }


def audit(season: Any) -> dict[str, Any]:
    """Audit a season that was played.

    Parameters
    ----------
    season : soaking.season.Season

    Returns
    -------
    dict
        Figures by subject, and ``findings``.
    """
    from soaking.audit import Audit
    from soaking.questions import Questions

    books, questions = Audit(season), Questions(season)
    figures = {**books.check(), "requests": questions.check()}
    return {
        "passes": len(season.world.passes),
        "runs": len(season.runs),
        "killed": sum(run.killed for run in season.runs),
        "kills_too_late": season.missed,
        "exit_codes": {str(k): n for k, n in Counter(r.code for r in season.runs).items()},
        **figures,
        "findings": [*books.findings, *questions.findings],
    }


def _print(report: dict[str, Any]) -> None:
    for key, value in report.items():
        if key == "findings":
            continue
        if not isinstance(value, dict):
            print(f"{key:<18}{value}")
            continue
        print(key)
        for name, figure in value.items():
            print(f"  {name:<32}{json.dumps(figure) if isinstance(figure, dict) else figure}")
    for finding in report["findings"]:
        print(f"FINDING {finding}")
    print("all adds up" if not report["findings"] else f"{len(report['findings'])} findings")


def main() -> int:
    """Run the soak and print its report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--every", type=int, default=1, help="days between runs")
    parser.add_argument("--kills", type=int, default=20, help="runs ended by SIGKILL")
    parser.add_argument("--fault-rate", type=float, default=0.1, help="share of failing requests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--in-process", action="store_true", help="only killed runs get a process")
    parser.add_argument("--workers", type=int, default=1, help="processes of a run")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave job and archives here")
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args())
    keep, as_json = options.pop("keep"), options.pop("json")
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            parser.error(f"--keep {keep}: is not empty")
    with TemporaryDirectory() if keep is None else nullcontext(keep) as folder:
        report = soak(
            Path(folder), note=lambda text: print(text, file=sys.stderr, flush=True), **options
        )
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    return 1 if report["findings"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
