"""Measure what the documentation reports, and write it into its page.

    python tools/bench_page.py --data CUBES --page docs/benchmark.md

Rows are kept in out/bench/JOB.json, so that a second call measures only what has changed: stvc if
its default model is another one, rivals if they were trained anew, peers if their rows were
deleted. The tables go between the markers of the page. One thread; speed needs an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_peers.cubes import Cut, find_cubes
from bench_peers.learned import FOLDER_VARIABLE
from bench_peers.measure import Plan, Row, measure_apart
from bench_peers.page import (
    bounds_table,
    clouds_table,
    rates_table,
    references_table,
    speed_table,
)
from bench_peers.registry import CODECS
from bench_peers.stvc_codec import StvcCodec

SAMPLE, PORTUGAL, SEASONS = "sample", "gen_0_29SND_JAS2021.npz", "ssl4eo_0173706.npz"
LEARNED = ("learned-factorized", "learned-hyperprior")
PEERS = (
    "vvenc-klt-fill",
    "av1-klt-fill",
    "x265-klt-fill",
    "vvenc-klt-intra-inpaint",
    "av1-klt-intra-inpaint",
    "x265-klt-intra-inpaint",
    "jpeg2000-klt-inpaint",
    "jpeg2000",
    "lerc",
)
REFERENCES = ("stvc-both", "stvc-recent", "stvc-background", "stvc-none")
CLOUDS = ("stvc", "stvc-coarse", "stvc-keep", "x265-klt", "x265-klt-intra", "jpeg2000-klt")
SPEED = (
    "stvc",
    "stvc-fast",
    "x265-klt-fill",
    "x265-klt-intra-inpaint",
    "av1-klt-intra-inpaint",
    "jpeg2000",
)
BOUNDED = ("stvc-bounded", "jpegxl-lossless", "jpegls", "sz3", "sz3-3d", "lerc")
BOUNDS = (0, 5, 10, 25, 50)
FULL = (42.0, 45.0, 48.0, 50.0, 53.0, 56.0)
TWO = (45.0, 50.0)


@dataclass(frozen=True)
class Job:
    """One cube under some codecs."""

    name: str
    title: str
    """Of the cube, in tables."""
    cube: str
    """A file below the folder of cubes, or ``sample``."""
    cut: Cut
    codecs: tuple[str, ...]
    psnrs: tuple[float, ...]
    pixels: str = "clear"
    bounds: tuple[int, ...] = ()
    """DN; 0 is lossless."""

    @property
    def command(self) -> str:
        """The same by hand."""
        words = ["python tools/bench.py --cubes", self.cube]
        words += [f"--dates {self.cut.dates}"] if self.cut.dates else []
        words += [f"--crop {self.cut.crop}"] if self.cut.crop else []
        words += [f"--group {self.cut.group}"] if self.cut.group != "all" else []
        words += [f"--codecs {','.join(self.codecs)}"]
        words += [f"--psnr {','.join(f'{psnr:g}' for psnr in self.psnrs)}"]
        if self.bounds:
            words += [f"--bounds {','.join(map(str, self.bounds))}"]
        return " ".join(words + (["--pixels all"] if self.pixels == "all" else []))


_PLACES = (
    ("sample", "Romanian forest, 36 dates", SAMPLE, Cut(dates=36)),
    ("portugal", "Portugal, 30 dates", PORTUGAL, Cut()),
    ("seasons", "4 seasons, 10 m", SEASONS, Cut(group="10")),
)
_BOUNDED_PLACES = (
    ("sample", "Romanian forest, 12 dates", SAMPLE, Cut(dates=12)),
    ("portugal", "Portugal, 12 dates", PORTUGAL, Cut(dates=12)),
    ("seasons", "4 seasons, 10 m", SEASONS, Cut(group="10")),
    ("seasons-all", "4 seasons, all bands as they come, at 10 m", SEASONS, Cut(crop=128)),
)
_LONG = ("long", "Romanian forest, 140 dates, 48 x 48 px", SAMPLE, Cut(crop=48))

JOBS: dict[str, list[Job]] = {
    "references": [
        Job(f"references-{name}", *rest, REFERENCES, TWO) for name, *rest in (*_PLACES[:2], _LONG)
    ],
    "clouds": [Job(f"clouds-{name}", *rest, CLOUDS, TWO, "all") for name, *rest in _PLACES[:2]],
    "rates": [
        Job(f"rates-{name}", *rest, ("stvc", "stvc-fast", *LEARNED, *PEERS), FULL)
        for name, *rest in _PLACES
    ],
    "bounds": [
        Job(f"bounds-{name}", *rest, BOUNDED, (50.0,), bounds=BOUNDS)
        for name, *rest in _BOUNDED_PLACES
    ],
    "speed": [
        Job(f"speed-{name}", *rest, SPEED, (50.0,)) for name, *rest in (_PLACES[0], _PLACES[2])
    ],
}
TABLES = {
    "references": references_table,
    "clouds": clouds_table,
    "rates": rates_table,
    "bounds": bounds_table,
    "speed": speed_table,
}


def measured(job: Job, data: Path, kept: Path, *, only_kept: bool = False) -> list[Row]:
    """Rows of a job: those that are kept and still hold, and the others measured now."""
    path = kept / f"{job.name}.json"
    rows: list[Row] = json.loads(path.read_text()) if path.is_file() else []
    holds = {"model": shipped_models(), "note": _notes(job)}
    rows = [r for r in rows if all(r[key] in now for key, now in holds.items() if key in r)]
    if job.name.startswith("speed") and not {"stvc"} <= {row["codec"] for row in rows}:
        rows = []  # ratios of one run only
    done = {row["codec"] for row in rows}
    cube = find_cubes([job.cube if job.cube == SAMPLE else str(data / job.cube)])[0]
    for codec in job.codecs:
        if codec in done or only_kept:
            continue
        found, problems = measure_apart(
            cube, job.cut, codec, Plan(job.psnrs, job.bounds, job.pixels)
        )
        for line in problems:
            print(line, file=sys.stderr, flush=True)
        rows += found
        kept.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows, indent=1) + "\n")
    return [row for row in rows if row["codec"] in job.codecs]


def shipped_models() -> set[str]:
    """What stvc's rows are measured with now."""
    return {StvcCodec(options=(("effort", effort),)).model for effort in ("default", "fast")}


def _notes(job: Job) -> set[str]:
    """How the rivals of a job are trained now; of one that is not, kept rows do not hold either."""
    notes = set()
    for name in {*LEARNED} & {*job.codecs}:
        with suppress(RuntimeError):
            notes.add(CODECS[name]().note)
    return notes


def fill_page(text: str, name: str, table: str) -> str:
    """Replace what stands between the markers of a section; a ValueError if there are none."""
    begin, end = f"<!-- BEGIN {name} -->", f"<!-- END {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the page has no section {begin} ... {end}")
    return pattern.sub(lambda _: f"{begin}\n{table}\n{end}", text, count=1)


def main(arguments: list[str] | None = None) -> int:
    """Measure section by section; the page is written after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of cubes")
    parser.add_argument("--page", type=Path, default=Path("docs/benchmark.md"), metavar="MD")
    parser.add_argument("--kept", type=Path, default=Path("out/bench"), metavar="DIR")
    parser.add_argument("--rivals", type=Path, metavar="DIR", help="see tools/bench.py")
    parser.add_argument("--only-kept", action="store_true", help="measure nothing, write the page")
    parser.add_argument("--sections", nargs="*", choices=tuple(JOBS), default=tuple(JOBS))
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    if options.rivals is not None:
        os.environ[FOLDER_VARIABLE] = str(options.rivals.resolve())
    unknown = {codec for jobs in JOBS.values() for job in jobs for codec in job.codecs} - {*CODECS}
    if unknown:
        raise ValueError(f"no such codec: {', '.join(sorted(unknown))}")
    for section in options.sections:
        found = [
            (job.title, measured(job, options.data, options.kept, only_kept=options.only_kept))
            for job in JOBS[section]
        ]
        commands = "\n".join(job.command for job in JOBS[section])
        body = f"{TABLES[section](found)}\n\n```text\n{commands}\n```"
        options.page.write_text(fill_page(options.page.read_text(), section, body))
    return 0


if __name__ == "__main__":
    sys.exit(main())
