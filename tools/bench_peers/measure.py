"""Run a codec over a cube: one row of numbers per parameter, always from really decoded pixels."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench_peers.cubes import Cube, Cut, load_cube
from bench_peers.protocol import Codec
from bench_peers.registry import CODECS
from stvc.bands import named_like
from stvc.errors import CorruptInputError
from stvc.metrics import Distortion, bits_per_sample, distortion, ndvi_mae, sam_degrees
from stvc.types import U16

Row = dict[str, Any]

_LEAST_S, _MOST_TIMES = 0.5, 8
# ^ decoding that takes less wall time is timed several times over, but not more often


@dataclass(frozen=True)
class Plan:
    """What to measure of each codec."""

    psnrs: tuple[float, ...]
    """Clear PSNRs that are reported, dB; sweeps go on until they cover them."""
    bounds: tuple[int, ...] = ()
    """Largest errors at which bounded codecs are measured besides, DN."""
    pixels: str = "clear"
    """Whose PSNR sweeps must cover: ``"clear"`` or ``"all"``."""


def measure_apart(path: Path, cut: Cut, name: str, plan: Plan) -> tuple[list[Row], list[str]]:
    """Run `measure_codec` in a process of its own: its memory is its own, and so are its crashes.

    Returns
    -------
    list of dict, list of str
        The rows, and what went wrong, one line each.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measure_codec, path, cut, name, plan).result()
        except BrokenProcessPool:
            return [], [f"{name}: its process died"]


def measure_codec(path: Path, cut: Cut, name: str, plan: Plan) -> tuple[list[Row], list[str]]:
    """Sweep one codec over one cube; see `measure_apart`."""
    try:
        codec = CODECS[name]()
    except (ImportError, RuntimeError) as error:
        return [], [f"{name}: not available, skipped ({error})"]
    cube = load_cube(path, cut)
    if not any((~hidden).any() for hidden in cube.hidden):
        raise CorruptInputError(f"{path}: no clear pixel is left to measure on with {cut}")
    _warm_up(codec, load_cube(path, replace(cut, dates=1, crop=32)))
    rows: dict[float, Row] = {}
    problems: list[str] = []

    def measure(parameter: float) -> Row | None:
        if parameter not in rows:
            try:
                row = measure_point(codec, cube, parameter)
            except Exception as error:
                line = f"{name} at {parameter:g}: {type(error).__name__}: {error}"
                if line not in problems:
                    problems.append(line)
                return None
            about = {"dataset": cube.name, "shape": cube.shape, "codec": name}
            rows[parameter] = about | row | _remarks(codec)
            print(_progress(rows[parameter]), file=sys.stderr, flush=True)
        return rows[parameter]

    if getattr(codec, "exact_psnr", False):
        for psnr in plan.psnrs:
            measure(psnr)
    elif codec.ladder:
        walk(codec.ladder, min(plan.psnrs), max(plan.psnrs), measure, f"psnr_{plan.pixels}")
    for bound in plan.bounds if codec.bounded else ():
        if codec.ladder or not bound or name.startswith("stvc"):
            measure(bound)
    return list(rows.values()), problems


def _warm_up(codec: Codec, crop: Cube) -> None:
    """Let a codec load its libraries and models before the clock starts."""
    with suppress(Exception):  # the measurement itself will say what is wrong
        parameter = codec.ladder[len(codec.ladder) // 2] if codec.ladder else 45.0
        codec.decode(codec.encode(crop, 8 if codec.bounded else parameter))


def _remarks(codec: Codec) -> Row:
    """What a reader must know about a codec, if anything: a note, the model that it uses."""
    found = {key: getattr(codec, key, None) for key in ("note", "model")}
    return {key: value for key, value in found.items() if value}


def walk(
    ladder: Sequence[float],
    low: float,
    high: float,
    measure: Callable[[float], Row | None],
    key: str = "psnr_clear",
) -> None:
    """Measure a ladder of parameters (fine to coarse) outwards until [low, high] dB is covered.

    Parameters
    ----------
    ladder : sequence of float
        Parameters; PSNR falls along it.
    low, high : float
        Clear PSNR to cover, dB.
    measure : callable
        Measures a parameter; None if it failed, which ends the walk on that side.
    key : str
        Column of the PSNR that counts.
    """
    start = len(ladder) // 2
    for parameters, covered in (
        (ladder[start::-1], lambda psnr: psnr >= high),
        (ladder[start:], lambda psnr: psnr <= low),
    ):
        for parameter in parameters:
            row = measure(parameter)
            if row is None or covered(float("inf") if row[key] is None else row[key]):
                break


def measure_point(codec: Codec, cube: Cube, parameter: float) -> Row:
    """Encode, decode and compare once.

    Returns
    -------
    dict
        One row: rate, distortions on clear pixels and on all, times, memory. JSON values only;
        an infinite PSNR is None, and ``lossless`` is true.

    Raises
    ------
    CorruptInputError
        If the decoded arrays have other shapes than the cube.
    """
    encoded, encode_s, encode_cpu_s = _timed(lambda: codec.encode(cube, parameter))
    decoded, decode_s, decode_cpu_s = _timed(lambda: codec.decode(encoded), _MOST_TIMES)
    everywhere, clear = Distortion(), Distortion()
    for original, frames, hidden in zip(cube.series.pixels, decoded, cube.hidden, strict=True):
        everywhere += distortion(original, frames)
        clear += distortion(original, frames, ~hidden)
    return {
        "mode": codec.mode,
        "bounded": codec.bounded,
        "parameter": parameter,
        "bytes": encoded.nbytes,
        "bpppb": bits_per_sample(encoded.nbytes, cube.samples),
        "lossless": everywhere.squared == 0,
        "psnr_clear": clear.psnr if clear.squared else None,
        "psnr_all": everywhere.psnr if everywhere.squared else None,
        "rmse_clear": clear.rmse,
        "max_error_clear": clear.largest,
        "max_error_all": everywhere.largest,
        "sam_deg": _sam(cube, decoded),
        "ndvi_mae": _ndvi(cube, decoded),
        "encode_s": encode_s,
        "decode_s": decode_s,
        "encode_cpu_s": encode_cpu_s,
        "decode_cpu_s": decode_cpu_s,
        "raw_bytes": 2 * cube.samples,
        "peak_rss_mb": _peak_rss_mb(),
    }


def _sam(cube: Cube, decoded: tuple[U16, ...]) -> float | None:
    """Spectral angle on clear pixels: the pixel-weighted mean over groups of two bands and more."""
    total, count = 0.0, 0
    for original, frames, hidden in zip(cube.series.pixels, decoded, cube.hidden, strict=True):
        angle = sam_degrees(original, frames, ~hidden)
        if angle is not None:
            total += angle * int((~hidden).sum())
            count += int((~hidden).sum())
    return total / count if count else None


def _ndvi(cube: Cube, decoded: tuple[U16, ...]) -> float | None:
    """NDVI error on clear pixels, from red and B08, or else B8A, where they share a grid."""
    for infrared in ("nir", "nir08"):
        for i, grid in enumerate(cube.series.grids):
            red, nir = named_like("red", grid.bands), named_like(infrared, grid.bands)
            if red and nir:
                return ndvi_mae(
                    cube.series.pixels[i],
                    decoded[i],
                    grid.bands.index(red),
                    grid.bands.index(nir),
                    ~cube.hidden[i],
                )
    return None


def _timed(action: Callable[[], Any], most_times: int = 1) -> tuple[Any, float, float]:
    """Give the result, wall seconds, CPU seconds of this process and its finished children.

    What is short may be done again: the system counts processor time in hundredths of a second.
    """
    cpu, wall = sum(os.times()[:4]), time.perf_counter()
    count, spent = 0, 0.0
    while spent < _LEAST_S and count < most_times:
        result = action()
        count, spent = count + 1, time.perf_counter() - wall
    return result, spent / count, (sum(os.times()[:4]) - cpu) / count


def _peak_rss_mb() -> float:
    """Peak memory of the largest process so far: this one, or an ffmpeg that it started."""
    return (
        max(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        / 1024
    )


def _progress(row: Row) -> str:
    psnr = "lossless" if row["psnr_clear"] is None else f"{row['psnr_clear']:.2f} dB"
    seconds = f"{row['encode_s']:.1f} + {row['decode_s']:.1f} s"
    return (
        f"{row['dataset']} {row['codec']} {row['parameter']:g}: {row['bpppb']:.3f} bpppb, "
        f"{psnr}, max {row['max_error_clear']}, {seconds}"
    )
