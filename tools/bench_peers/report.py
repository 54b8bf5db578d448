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


def curve(rows: Rows) -> RdCurve | None:
    """Rate over clear PSNR; None if the rows are no curve."""
    try:
        return RdCurve.fit([row["bpppb"] for row in rows], [row["psnr_clear"] for row in rows])
    except QualityError:
        return None


def markdown(rows: Rows, psnrs: Sequence[float], bounds: Sequence[int], reference: str) -> str:
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

    Returns
    -------
    str
        Markdown.
    """
    blocks = []
    for dataset, codecs in by_dataset(rows).items():
        blocks.append(_rate_table(dataset, codecs, psnrs, reference))
        bounded = {
            name: found
            for name, points in codecs.items()
            if (found := [p for p in points if p["bounded"] and p["parameter"] in bounds])
        }
        if bounded:
            blocks.append(_bound_table(dataset, bounded, bounds))
    if len(by_dataset(rows)) > 1:
        blocks.append(_summary(rows, psnrs, reference))
    return "\n\n".join(blocks)


def _rate_table(
    dataset: str, codecs: dict[str, Rows], psnrs: Sequence[float], reference: str
) -> str:
    at = min(psnrs, key=lambda psnr: abs(psnr - 50))
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
    curves = {name: fit for name, rows in codecs.items() if (fit := curve(rows))}
    for name, fit in sorted(curves.items(), key=lambda item: item[1].rate_at(at) or np.inf):
        points = codecs[name]
        near = min(
            (p for p in points if p["psnr_clear"] is not None),
            key=lambda p: abs(p["psnr_clear"] - at),
        )
        table.append(
            [
                name,
                near["mode"],
                *(_number(fit.rate_at(psnr), 3) for psnr in psnrs),
                _bd(curves.get(reference), fit, psnrs),
                _number(_at(points, "sam_deg", at), 3, "°"),
                _number(_at(points, "ndvi_mae", at), 4),
                _number(_at(points, "max_error_clear", at), 0),
                _speed(near, "encode"),
                _speed(near, "decode"),
                f"{near['peak_rss_mb']:.0f}",
            ]
        )
    note = (
        f"Bits per sample at a PSNR on clear pixels (peak 10000). SAM, NDVI error, max error: "
        f"interpolated at {at:g} dB; speed near it, MB of uint16 per second (per CPU second)."
    )
    return f"### {dataset}\n\n{_lines(table)}\n\n{note}"


def _bound_table(dataset: str, codecs: dict[str, Rows], bounds: Sequence[int]) -> str:
    table = [["codec", *("lossless" if bound == 0 else f"±{bound}" for bound in bounds)]]
    for name, points in codecs.items():
        found = {point["parameter"]: point for point in points}
        table.append([name, *(_bounded(found.get(bound), bound) for bound in bounds)])
    return (
        f"### {dataset}, bounded error\n\n{_lines(table)}\n\n"
        "Bits per sample with the largest error on clear pixels held to a bound, DN."
    )


def _bounded(row: Row | None, bound: int) -> str:
    if row is None:
        return "-"
    broken = row["max_error_clear"] > bound
    return f"{row['bpppb']:.3f}" + (f" BROKEN: {row['max_error_clear']}" if broken else "")


def _summary(rows: Rows, psnrs: Sequence[float], reference: str) -> str:
    grouped = by_dataset(rows)
    names = list(dict.fromkeys(row["codec"] for row in rows))
    table = [["codec", *(dataset.split()[0] for dataset in grouped)]]
    for name in names:
        cells = [
            _bd(curve(codecs.get(reference, [])), curve(codecs.get(name, [])), psnrs)
            for codecs in grouped.values()
        ]
        table.append([name, *cells])
    return f"### BD-rate to {reference}, {min(psnrs):g} to {max(psnrs):g} dB\n\n{_lines(table)}"


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


def _at(points: Rows, key: str, psnr: float) -> float | None:
    """Interpolate a column at a PSNR; None outside the measured range."""
    known = sorted(
        (p["psnr_clear"], p[key])
        for p in points
        if p["psnr_clear"] is not None and p[key] is not None
    )
    if not known or not known[0][0] - 0.1 <= psnr <= known[-1][0] + 0.1:
        return None
    return float(np.interp(psnr, *zip(*known, strict=True)))


def _speed(row: Row, side: str) -> str:
    megabytes = row["raw_bytes"] / 1e6
    return f"{megabytes / row[side + '_s']:.3g} ({megabytes / max(row[side + '_cpu_s'], 0.01):.3g})"


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def _lines(table: list[list[str]]) -> str:
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
