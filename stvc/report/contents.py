"""The rows and numbers of a report, as text and JSON values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from stvc.bands import find_band
from stvc.console import byte_size, day, measured
from stvc.report.maps import Gathered
from stvc.types import Series


def dates(info: dict[str, Any], found: Gathered) -> list[dict[str, Any]]:
    """What the page's script knows of each date."""
    return [
        {
            "time": day(date["time"]),
            "at": int(time.astype("datetime64[s]").astype(np.int64)),
            "bytes": date["bytes"],
            "clear": round(float(share), 4),
            "psnr": date["psnr_clear"],
            "max": date["max_error_clear"],
        }
        for date, time, share in zip(info["dates"], found.times, found.clear_share, strict=True)
    ]


def curve(found: Gathered) -> dict[str, Any]:
    """Give the curve with gaps as null."""
    curve = found.curve

    def rounded(values: Any) -> list[float | None] | None:
        if values is None:
            return None
        return [round(float(v), 4) if np.isfinite(v) else None for v in values]

    return {
        "name": curve.name,
        "mean": rounded(curve.mean),
        "low": rounded(curve.low),
        "high": rounded(curve.high),
        "original": rounded(curve.original),
    }


def start(found: Gathered) -> int:
    """The date to open with: nearly all clear, and the greenest of the last year's."""
    clear = np.flatnonzero(found.clear_share >= 0.95)
    if not len(clear):
        return int(found.clear_share.argmax())
    year = found.times[clear] > found.times[clear[-1]] - np.timedelta64(366, "D")
    recent = clear[year]
    value = np.nan_to_num(found.curve.mean[recent], nan=-1.0)
    return int(recent[value.argmax()]) if found.ndvi is not None else int(clear[-1])


def facts(info: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, remark) of what everyone asks first."""
    first, last = day(info["first_date"]), day(info["last_date"])
    span = first[:10] if first == last else f"{first[:10]} to {last[:10]}"
    exact = info["rmse_clear"] == 0
    facts = [
        ("Dates", str(info["frames"]), _unbroken(span)),
        ("Size", byte_size(info["bytes"]), f"for {byte_size(info['raw_bytes'])} of pixels"),
        ("Ratio", f"{info['ratio']:.1f} : 1", f"{info['bits_per_sample']:.3f} bits per sample"),
        (
            "PSNR",
            "exact" if exact else measured(info["psnr_clear"], ".2f", "dB"),
            "clear pixels, peak 10000 DN",
        ),
        (
            "Largest error",
            measured(info["max_error_clear"], ".0f", "DN"),
            f"RMSE {measured(info['rmse_clear'], '.1f', 'DN')}, clear pixels",
        ),
    ]
    if info["ndvi_mae_clear"] is not None:
        facts.append(("NDVI error", f"{info['ndvi_mae_clear']:.4f}", "mean absolute, clear pixels"))
    return facts


def _unbroken(text: str) -> str:
    """Keep dates on one line: with hyphens that do not break."""
    return text.replace("-", "\u2011")


def bands(info: dict[str, Any]) -> list[tuple[str, ...]]:
    """(band, common name, wavelength, pixel size, image size)."""
    rows: list[tuple[str, ...]] = []
    for group in info["groups"]:
        _, height, width = group["shape"]
        for name in group["bands"]:
            known = find_band(name)
            wave = "" if known is None else f"{known.center_wavelength:g} nm"
            common = "" if known is None else known.common_name
            size = f"{group['gsd']:g} m" if info["crs"] else ""
            rows.append((name, common, wave, size, f"{width} × {height}"))
    return rows


def settings(info: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of how the archive was made."""
    from stvc.cli.info import summary_rows

    hidden = {"archive", "dates", "size", "ratio", "PSNR", "RMSE", "max error", "NDVI error"}
    hidden.add("warning")  # told at the top
    rows = [row for row in summary_rows(info) if row[0] not in hidden]
    bounds = ", ".join(f"{edge:.10g}" for edge in info["bounds"])
    return [*rows, ("bounds", bounds)] if info["crs"] else rows


def attrs(attrs: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of the dataset's attributes, long ones cut."""

    def short(value: Any) -> str:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        return text if len(text) <= 400 else text[:400] + " …"

    return [(str(name), short(value)) for name, value in attrs.items()]


def columns(timeline: Series) -> list[str]:
    """Names of the provenance columns that are not stvc's own."""
    names = dict.fromkeys(name for frame in timeline.provenance for name in frame)
    return [name for name in names if not name.startswith("__")]


def date_rows(info: dict[str, Any], timeline: Series) -> list[dict[str, Any]]:
    """Rows of the table of all dates, as text."""
    names = columns(timeline)
    records: Sequence[dict[str, Any]] = timeline.provenance or [{} for _ in info["dates"]]
    return [
        {
            "time": day(date["time"]),
            "clear": measured(date["clear_share"], ".0%"),
            "bytes": byte_size(date["bytes"]),
            "psnr": measured(date["psnr_clear"], ".2f"),
            "max": measured(date["max_error_clear"], ".0f"),
            "ndvi": measured(date.get("ndvi_mae_clear"), ".4f"),
            "provenance": [_cell(record.get(name)) for name in names],
        }
        for date, record in zip(info["dates"], records, strict=True)
    ]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, default=str)
