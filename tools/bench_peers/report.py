"""Measured rows as Markdown tables and as a rate-distortion plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench_peers.measure import Row
from stvc.errors import QualityError
from stvc.metrics import RdCurve, bd_rate, common_span

Rows = list[Row]


def by_dataset(rows: Rows) -> dict[str, dict[str, Rows]]:
    """Group rows by dataset (and its cut) and codec, both in order of appearance."""
    grouped: dict[str, dict[str, Rows]] = {}
    for row in rows:
        codecs = grouped.setdefault(f"{row['dataset']} {row['shape']}", {})
        codecs.setdefault(row["codec"], []).append(row)
    return grouped


def curve(rows: Rows, key: str = "psnr_clear") -> RdCurve | None:
    """Rate over a PSNR; None if the rows are no curve."""
    try:
        return RdCurve.fit([row["bpppb"] for row in rows], [row[key] for row in rows])
    except QualityError:
        return None


def markdown(
    rows: Rows,
    psnrs: Sequence[float],
    bounds: Sequence[int],
    reference: str,
    *,
    pixels: str = "clear",
    speed_of: str | None = None,
) -> str:
    """Tabulate: per dataset the rates at PSNRs, then at error bounds; BD-rates of all datasets.

    Parameters
    ----------
    rows : list of dict
        Measured rows.
    psnrs : sequence of float
        Clear PSNRs, dB; BD-rates span from the lowest to the highest.
    bounds : sequence of int
        Error bounds, DN.
    reference : str
        Codec that BD-rates compare to.
    pixels : {"clear", "all"}
        Whose PSNR.
    speed_of : str, optional
        Codec that speeds compare to; without it there is no table of speeds.

    Returns
    -------
    str
        Markdown.
    """
    blocks = []
    for dataset, codecs in by_dataset(rows).items():
        blocks.append(_rate_table(dataset, codecs, psnrs, reference, pixels))
        if speed_of is not None:
            blocks.append(_speed_table(dataset, codecs, psnrs, speed_of))
        bounded = {
            name: found
            for name, points in codecs.items()
            if (found := [p for p in points if p["bounded"] and p["parameter"] in bounds])
        }
        if bounded:
            blocks.append(_bound_table(dataset, bounded, bounds))
    if len(by_dataset(rows)) > 1:
        blocks.append(_summary(rows, psnrs, reference, pixels))
    notes = {row["codec"]: row["note"] for row in rows if row.get("note")}
    if notes:
        blocks.append("\n".join(f"- `{codec}`: {note}." for codec, note in notes.items()))
    return "\n\n".join(blocks)


def _rate_table(
    dataset: str, codecs: dict[str, Rows], psnrs: Sequence[float], reference: str, pixels: str
) -> str:
    at, key = _middle(psnrs), f"psnr_{pixels}"
    header = [
        "codec",
        "mode",
        *(f"{psnr:g} dB" for psnr in psnrs),
        f"BD-rate to {reference}",
        "SAM",
        "NDVI error",
        "max error",
        "encode MB/s",
        "decode MB/s",
        "peak MB",
    ]
    table = [header]
    curves = {name: fit for name, rows in codecs.items() if (fit := curve(rows, key))}
    for name, fit in sorted(curves.items(), key=lambda item: item[1].rate_at(at) or np.inf):
        points = codecs[name]
        near = _nearest(points, at, key)
        table.append(
            [
                name,
                near["mode"],
                *(number(fit.rate_at(psnr), 3) for psnr in psnrs),
                _bd(curves.get(reference), fit, psnrs),
                number(_at(points, "sam_deg", at, key), 3, "°"),
                number(_at(points, "ndvi_mae", at, key), 4),
                number(_at(points, "max_error_clear", at, key), 0),
                _speed(near, "encode"),
                _speed(near, "decode"),
                f"{near['peak_rss_mb']:.0f}",
            ]
        )
    note = (
        f"Bits per sample at a PSNR on {pixels} pixels (peak 10000). SAM, NDVI error, max error "
        f"(on clear pixels): interpolated at {at:g} dB; speed near it, MB of uint16 per second "
        "(per CPU second)."
    )
    return f"### {dataset}\n\n{lines(table)}\n\n{note}"


def _speed_table(
    dataset: str, codecs: dict[str, Rows], psnrs: Sequence[float], speed_of: str
) -> str:
    """MB/s near the middle PSNR, on the clock and per CPU second, and ratios of the latter."""
    at = _middle(psnrs)
    near = {name: row for name, rows in codecs.items() if (row := _nearest(rows, at, "psnr_clear"))}
    ours = near.get(speed_of)
    ratios = [f"{side} / {speed_of}" for side in ("encode", "decode")]
    table = [["codec", "at", "encode MB/s", "decode MB/s", *ratios, "peak MB"]]
    for name, row in near.items():
        compared = [
            "-" if ours is None else f"{per_cpu(row, side) / per_cpu(ours, side):.2f}"
            for side in ("encode", "decode")
        ]
        speeds = [_speed(row, side) for side in ("encode", "decode")]
        psnr = f"{row['psnr_clear']:.1f} dB"
        table.append([name, psnr, *speeds, *compared, f"{row['peak_rss_mb']:.0f}"])
    note = (
        "MB of uint16 per second (per CPU second), masks and file included for stvc, start of the "
        "program for video codecs; ratios are of CPU seconds."
    )
    return f"### {dataset}, speed\n\n{lines(table)}\n\n{note}"


def _middle(psnrs: Sequence[float]) -> float:
    return min(psnrs, key=lambda psnr: abs(psnr - 50))


def _nearest(points: Rows, at: float, key: str) -> Row | None:
    """Row whose PSNR is nearest; None if none has any."""
    lossy = [p for p in points if p[key] is not None]
    return min(lossy, key=lambda p: abs(p[key] - at), default=None)


def per_cpu(row: Row, side: str) -> float:
    """MB of uint16 per CPU second of a side, ``"encode"`` or ``"decode"``."""
    return float(row["raw_bytes"] / 1e6 / max(row[side + "_cpu_s"], 0.01))


def _bound_table(dataset: str, codecs: dict[str, Rows], bounds: Sequence[int]) -> str:
    table = [["codec", *("lossless" if bound == 0 else f"±{bound}" for bound in bounds)]]
    for name, points in codecs.items():
        found = {point["parameter"]: point for point in points}
        table.append([name, *(_bounded(found.get(bound), bound) for bound in bounds)])
    return (
        f"### {dataset}, bounded error\n\n{lines(table)}\n\n"
        "Bits per sample with the largest error on clear pixels held to a bound, DN."
    )


def _bounded(row: Row | None, bound: int) -> str:
    if row is None:
        return "-"
    broken = row["max_error_clear"] > bound
    return f"{row['bpppb']:.3f}" + (f" BROKEN: {row['max_error_clear']}" if broken else "")


def _summary(rows: Rows, psnrs: Sequence[float], reference: str, pixels: str) -> str:
    grouped = by_dataset(rows)
    names = list(dict.fromkeys(row["codec"] for row in rows))
    table = [["codec", *(dataset.split()[0] for dataset in grouped)]]
    key = f"psnr_{pixels}"
    for name in names:
        cells = [
            _bd(curve(codecs.get(reference, []), key), curve(codecs.get(name, []), key), psnrs)
            for codecs in grouped.values()
        ]
        table.append([name, *cells])
    return f"### BD-rate to {reference}, {min(psnrs):g} to {max(psnrs):g} dB\n\n{lines(table)}"


def _bd(reference: RdCurve | None, test: RdCurve | None, psnrs: Sequence[float]) -> str:
    """Percent; with the range in brackets if the curves do not share nearly all of it."""
    if reference is None or test is None:
        return "-"
    low, high = min(psnrs), max(psnrs)
    value, span = bd_rate(reference, test, low, high), common_span(reference, test, low, high)
    if value is None or span is None:
        return "-"
    whole = span[0] - low < 0.5 and high - span[1] < 0.5
    return f"{value:+.1f} %" + ("" if whole else f" ({span[0]:.0f}-{span[1]:.0f} dB)")


def _at(points: Rows, column: str, psnr: float, key: str) -> float | None:
    """Interpolate a column at a PSNR; None outside the measured range."""
    known = sorted(
        (p[key], p[column]) for p in points if p[key] is not None and p[column] is not None
    )
    if not known or not known[0][0] - 0.1 <= psnr <= known[-1][0] + 0.1:
        return None
    return float(np.interp(psnr, *zip(*known, strict=True)))


def _speed(row: Row, side: str) -> str:
    return f"{row['raw_bytes'] / 1e6 / row[side + '_s']:.3g} ({per_cpu(row, side):.3g})"


def number(value: float | None, digits: int, unit: str = "") -> str:
    """Write a number, or a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def lines(table: list[list[str]]) -> str:
    """Write rows of cells, the header first, as a Markdown table."""
    rule = ["---"] * len(table[0])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (table[0], rule, *table[1:]))


def plot(rows: Rows, path: Path, psnrs: Sequence[float]) -> None:
    """Draw rate over clear PSNR, one panel per dataset."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib import ticker

    grouped = by_dataset(rows)
    names = list(dict.fromkeys(row["codec"] for row in rows))
    figure, axes = plt.subplots(
        1,
        len(grouped),
        figsize=(6.5 * len(grouped), 5.5),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    for panel, (dataset, codecs) in zip(axes[0], grouped.items(), strict=True):
        for name, points in codecs.items():
            _draw(panel, curve(points), name, names.index(name))
        panel.set(
            xscale="log",
            title=dataset,
            xlabel="bits per sample",
            ylim=(min(psnrs) - 1, max(psnrs) + 1),
        )
        panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter(ticker.NullFormatter())
        panel.grid(alpha=0.3, which="both")
    axes[0][0].set_ylabel("PSNR on clear pixels, dB (peak 10000)")
    axes[0][0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw(panel: Any, fit: RdCurve | None, name: str, index: int) -> None:
    if fit is None:
        return
    smooth = np.linspace(*fit.span, 60)
    ours = name.startswith("stvc")
    color = "black" if ours else f"C{index % 10}"
    panel.plot(
        [fit.rate_at(psnr) for psnr in smooth],
        smooth,
        color=color,
        label=name,
        lw=2.2 if ours else 1.2,
        ls="-" if index < 10 else "--",
    )
    panel.plot(np.exp(fit.log_rate), fit.psnr, ".", color=color)
