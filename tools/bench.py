"""Measure stvc beside the codecs a user would pick instead, on any Sentinel-2 cube.

    python tools/bench.py --cubes sample --dates 36 --json out.json --plot rd.png
    python tools/bench.py --cubes cube.npz --codecs stvc,jpeg2000 --with out.json

Cubes: .npz (x uint16 (T, C, H, W); optionally mask or scl (T, H, W), bands, dates), NetCDF (a
variable per band; optionally SCL or mask), folders of both, or `sample` (the package nrt's series).

Rates: for stvc the bytes of its file, masks and all; for the others their payloads and whatever
else their decoder needs, without mask and without framing. Distortions: from decoded uint16 arrays.
The peers need the extra `bench`: pip install 'stvc[bench]'. One that is missing is skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_peers.cubes import Cut, find_cubes
from bench_peers.learned import FOLDER_VARIABLE
from bench_peers.measure import Plan, Row, measure_apart
from bench_peers.registry import CODECS
from bench_peers.report import markdown, plot

from stvc.errors import StvcError

DEFAULT_CODECS = (
    "stvc,jpeg2000,jpeg2000-klt-inpaint,jpegxl,jpegls,lerc,sz3,x265-klt-fill,"
    "x265-klt-intra-inpaint,av1-klt-fill,av1-klt-intra-inpaint"
)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cubes", nargs="+", required=True, metavar="PATH")
    parser.add_argument(
        "--codecs",
        type=_codecs,
        default=_codecs(DEFAULT_CODECS),
        metavar="A,B",
        help="of: " + ", ".join(CODECS),
    )
    parser.add_argument("--dates", type=_positive, metavar="N", help="the first N dates only")
    parser.add_argument("--crop", type=_positive, metavar="N", help="the central N x N pixels only")
    parser.add_argument(
        "--group",
        choices=("10", "20", "60", "all"),
        default="all",
        help="bands of that native resolution only",
    )
    parser.add_argument(
        "--as-is",
        action="store_true",
        help="keep 20 m bands that are pixel repetitions on the 10 m grid there",
    )
    parser.add_argument(
        "--psnr",
        type=_list_of(float),
        default=(42, 45, 48, 50, 53, 56),
        metavar="A,B",
        help="PSNRs on clear pixels to report, dB",
    )
    parser.add_argument(
        "--bounds",
        type=_list_of(int),
        default=(),
        metavar="A,B",
        help="error bounds for the bounded codecs, DN; 0 = lossless",
    )
    parser.add_argument(
        "--reference",
        default="jpeg2000",
        type=str.lower,
        metavar="CODEC",
        help="what BD-rates compare to",
    )
    parser.add_argument(
        "--pixels",
        choices=("clear", "all"),
        default="clear",
        help="whose PSNR is reported; `all` is for stvc-keep and the peers that fill nothing",
    )
    parser.add_argument(
        "--speed",
        type=str.lower,
        metavar="CODEC",
        help="add a table of speeds, as ratios to a codec of the same run",
    )
    parser.add_argument(
        "--rivals",
        type=Path,
        metavar="DIR",
        help="what train/rivals/train.py wrote, for learned-*; default: checkpoints/rivals",
    )
    parser.add_argument("--threads", type=_positive, default=1, metavar="N")
    parser.add_argument(
        "--with",
        dest="earlier",
        action="append",
        type=Path,
        default=[],
        metavar="JSON",
        help="rows of an earlier run, for codecs not run now",
    )
    parser.add_argument("--json", type=Path, metavar="JSON", help="write all rows")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the rate-distortion curves")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the tables; 0 if anything was measured."""
    options = parse(arguments)
    # Before any codec starts: they and their libraries read it in their own processes.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if options.rivals is not None:
        os.environ[FOLDER_VARIABLE] = str(options.rivals.resolve())
    cut = Cut(options.dates, options.crop, options.group, not options.as_is)
    plan = Plan(options.psnr, options.bounds, options.pixels)
    rows: list[Row] = []
    problems: list[str] = []
    try:
        for path in find_cubes(options.cubes):
            for codec in options.codecs:
                found, wrong = measure_apart(path, cut, codec, plan)
                rows += found
                for line in wrong:
                    print(line, file=sys.stderr, flush=True)
                problems += [f"{path.stem}: {line}" for line in wrong]
    except StvcError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    rows += earlier_rows(options.earlier, rows)
    print(
        markdown(
            rows,
            options.psnr,
            options.bounds,
            options.reference,
            pixels=options.pixels,
            speed_of=options.speed,
        )
    )
    if problems:
        print("\nNot measured:\n" + "\n".join(f"- {line}" for line in problems))
    if options.json:
        about = {
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "threads": options.threads,
            "python": platform.python_version(),
            "load": os.getloadavg(),
        }
        options.json.write_text(
            json.dumps({"about": about, "rows": rows, "problems": problems}, indent=1) + "\n"
        )
    if options.plot:
        plot(rows, options.plot, options.psnr)
    return 0 if rows else 1


def earlier_rows(paths: list[Path], rows: list[Row]) -> list[Row]:
    """Rows of earlier runs on the datasets of ``rows``, for codecs that were not run now."""
    datasets = {(row["dataset"], row["shape"]) for row in rows}
    done = {(row["dataset"], row["shape"], row["codec"]) for row in rows}
    return [
        row
        for path in paths
        for row in json.loads(path.read_text())["rows"]
        if (row["dataset"], row["shape"]) in datasets
        and (row["dataset"], row["shape"], row["codec"]) not in done
    ]


def _codecs(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.lower().split(",")))
    unknown = [name for name in names if name not in CODECS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown codec {unknown[0]!r}: choose of " + ", ".join(CODECS)
        )
    return names


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _list_of(kind: type) -> Callable[[str], tuple[Any, ...]]:
    def convert(text: str) -> tuple[Any, ...]:
        try:
            return tuple(sorted({kind(part) for part in text.split(",")}))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers") from None

    return convert


if __name__ == "__main__":
    sys.exit(main())
