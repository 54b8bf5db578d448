"""How an archive shows itself in a notebook: one card, without scripts and without the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.console import byte_size, day

if TYPE_CHECKING:
    from jinja2 import Template

    from stvc.archive_view import Archive

_SIDE, _EDGE = 150.0, 8.0
_MAX_ROWS = 400
_MAX_POINTS = 2000


def archive_html(archive: Archive) -> str:
    """Write an archive as a card of HTML.

    Parameters
    ----------
    archive : Archive

    Returns
    -------
    str
        A fragment: outline of the field, timeline of clear shares, sizes and errors, and a table
        of dates behind a disclosure. Light and dark follow the notebook or the system. Everything
        that comes from the archive is escaped.
    """
    info = archive.info()
    dates = info["dates"]
    return _template().render(
        name=Path(str(archive.path)).name or str(archive.path),
        headline=_headline(info),
        outline=_outline(info, archive),
        facts=list(_facts(info)),
        bars=_bars(dates),
        timeline_label=_timeline_label(dates),
        first=day(info["first_date"]) if dates else "",
        last=day(info["last_date"]) if dates else "",
        warnings=info["warnings"],
        rows=[_row(date) for date in dates[-_MAX_ROWS:]],
        shown=f"{len(dates)} dates"
        if len(dates) <= _MAX_ROWS
        else f"the last {_MAX_ROWS} of {len(dates)} dates",
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("archive.html")


def _headline(info: dict[str, Any]) -> str:
    count = info["frames"]
    if not count:
        return "no dates"
    span = f"{day(info['first_date'])} to {day(info['last_date'])}"
    return (
        f"{count} date{'' if count == 1 else 's'}, {span}" if count > 1 else f"1 date, {span[:10]}"
    )


def _facts(info: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield (
        "size",
        f"{byte_size(info['bytes'])} for {byte_size(info['raw_bytes'])} of pixels "
        f"({info['ratio']:.0f}:1, {info['bits_per_sample']:.2f} bits per sample)",
    )
    if info["settings"].get("lossless"):
        yield "error", "none: lossless"
    elif info["rmse_clear"] is not None:
        psnr = "exact" if info["psnr_clear"] is None else f"{info['psnr_clear']:.1f} dB PSNR"
        yield (
            "error",
            f"{psnr}, {info['rmse_clear']:.0f} DN rms, at most {info['max_error_clear']} DN, "
            "on clear pixels",
        )
    if info["ndvi_mae_clear"] is not None:
        yield "NDVI error", f"{info['ndvi_mae_clear']:.4f} mean"
    for group in info["groups"]:
        _, height, width = group["shape"]
        size = f"{height} × {width} px"
        if info["crs"]:
            size += f" of {group['gsd']:g} m"
        yield ", ".join(group["bands"]), size
    share = info["mask"]["clear_share"]
    if share is not None:
        kind = info["mask"]["kind"]
        yield "clear", f"{share:.0%} of all pixels" + ("" if kind == "none" else f" (by {kind})")
    yield "CRS", info["crs"] or "none"
    if info.get("superseded"):
        yield "superseded", f"{len(info['superseded'])} older versions on record"
    yield "model", f"{info['model']}, format {info['format_version']}"


def _bars(dates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One bar per date at its place in time."""
    if not dates:
        return []
    times = np.array([d["time"] for d in dates], "datetime64[s]").astype(np.int64)
    span = max(int(times[-1] - times[0]), 1)
    width = float(np.clip(600 / len(dates), 0.8, 14))
    bars = []
    for time, date in zip(times, dates, strict=True):
        share = float(date["clear_share"] or 0.0)
        at = (time - times[0]) / span * (1000 - width) if len(dates) > 1 else 500 - width / 2
        bars.append(
            {
                "x": f"{at:.1f}",
                "width": f"{width:.1f}",
                "y": f"{62 - 58 * share:.1f}",
                "height": f"{58 * share:.1f}",
                "label": f"{day(date['time'])}: {share:.0%} clear, {byte_size(date['bytes'])}",
            }
        )
    return bars


def _timeline_label(dates: list[dict[str, Any]]) -> str:
    clear = sum(1 for d in dates if (d["clear_share"] or 0.0) >= 0.5)
    return f"Timeline of {len(dates)} dates; {clear} of them at least half clear"


def _row(date: dict[str, Any]) -> list[str]:
    def told(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    return [
        date["time"].replace("T", " ")[:16],
        told(date["clear_share"], ".0%"),
        byte_size(date["bytes"]),
        told(date["psnr_clear"], ".1f"),
        told(date["max_error_clear"], "d"),
        told(date["ndvi_mae_clear"], ".4f"),
    ]


def _outline(info: dict[str, Any], archive: Archive) -> dict[str, Any] | None:
    """The archive's box, and the area of interest inside it, fitted into a square."""
    west, south, east, north = info["bounds"]
    wide, high = east - west, north - south
    if not (np.isfinite([wide, high]).all() and wide > 0 and high > 0):
        return None
    scale = (_SIDE - 2 * _EDGE) / max(wide, high)
    left, top = (_SIDE - wide * scale) / 2, (_SIDE - high * scale) / 2

    def place(x: float, y: float) -> str:
        inside = min(max(left + (x - west) * scale, -_SIDE), 2 * _SIDE)
        below = min(max(top + (north - y) * scale, -_SIDE), 2 * _SIDE)
        return f"{inside:.1f} {below:.1f}"

    rings = list(_rings(archive))
    label = f"Outline of the place, {_length(wide, info)} wide and {_length(high, info)} high"
    return {
        "box": [f"{value:.1f}" for value in (left, top, wide * scale, high * scale)],
        "paths": ["M" + "L".join(place(x, y) for x, y in ring) + "Z" for ring in rings],
        "label": label,
    }


def _length(size: float, info: dict[str, Any]) -> str:
    if not info["crs"]:
        return f"{size:.0f} px"
    return f"{size / 1000:.2f} km" if size >= 1 else f"{size:.4f}°"


def _rings(archive: Archive) -> Iterator[list[tuple[float, float]]]:
    """Outer rings of the area of interest in the archive's CRS; nothing if it names none."""
    import shapely
    from pyproj import Transformer
    from pyproj.exceptions import ProjError

    opened = archive._open_place(with_background=False)
    area = opened.attrs.get("aoi")
    if area is None or not opened.crs:
        return
    try:
        shape = shapely.from_geojson(area if isinstance(area, str) else json.dumps(area))
        transformer = Transformer.from_crs("EPSG:4326", opened.crs, always_xy=True)
        for part in shapely.get_parts(shape)[:50]:
            ring = np.asarray(shapely.get_coordinates(shapely.get_exterior_ring(part)))
            ring = ring[:: max(1, len(ring) // _MAX_POINTS)]
            x, y = transformer.transform(*ring.T)
            if len(ring) >= 3 and np.isfinite([x, y]).all():
                yield list(zip(x.tolist(), y.tolist(), strict=True))
    except (shapely.errors.ShapelyError, ProjError, TypeError, ValueError):
        return  # the picture is a courtesy: an odd attribute must not hide the rest
