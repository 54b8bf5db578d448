"""What `stvc info` tells about an archive: sizes, settings and achieved errors from its index."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.archive import ArchiveReader, FrameRecord, Kind, UnitKey
from stvc.codec.frame_stats import FrameStats, mean_squared_error
from stvc.header import is_external, read_format, read_hashes, samples_of
from stvc.learned_gain import far_from_model, known_gain
from stvc.versions import BASELINE_KEYS, PRODUCT_KEYS, superseded

if TYPE_CHECKING:
    from stvc.header import OpenPlace


def describe(reader: ArchiveReader, opened: OpenPlace, path: Path | str) -> dict[str, Any]:
    """Report on an archive without decoding anything (JSON values only)."""
    place = opened.place
    grids = place.grids
    samples = samples_of(grids)
    stored = len(reader.frames)
    raw = 2 * samples * stored
    gone = superseded(reader.frames)
    outdated: list[dict[str, Any]] = []
    masks: Counter[int] = Counter()
    for key, entry_ in reader.units.items():
        if key.kind == Kind.MASK:
            masks[key.frame] += entry_.length
    kinds = {
        kind: sum(i.length for k, i in reader.units.items() if k.kind == kind) for kind in Kind
    }
    total = _Errors()
    dates: list[dict[str, Any]] = []
    shares: list[float] = []
    ndvi_sum, ndvi_weight = 0.0, 0.0
    for index in sorted(range(stored), key=lambda k: reader.frames[k].time):
        record = reader.frames[index]
        stats = FrameStats.unpack(record.stats)
        mine = _Errors()
        size = masks[index]
        for g, grid in enumerate(grids):
            for tile in place.tiles(g):
                unit = reader.units.get(UnitKey(Kind.PIXELS, index, g, tile.index))
                if unit is not None:
                    alone = stats.clear_share * len(grid.y) * len(grid.x)
                    mine.add(unit.stats, len(grid.bands), alone)
                    size += unit.length
        entry = {
            "time": _iso(record.time),
            "bytes": size,
            "clear_share": stats.clear_share,
            "psnr_clear": mine.psnr,
            "max_error_clear": mine.largest,
            "ndvi_mae_clear": stats.ndvi,
        }
        if index in gone:
            newer = reader.frames[gone[index]]
            outdated.append(
                {
                    **entry,
                    **_product(record),
                    "superseded_by": {"time": _iso(newer.time), **_product(newer)},
                }
            )
            continue
        total.merge(mine)
        shares.append(stats.clear_share)
        dates.append(entry)
        if stats.ndvi is not None:
            ndvi_sum += stats.ndvi * stats.clear_share
            ndvi_weight += stats.clear_share
    gain = known_gain(reader.header.get("learned_gain"))
    if gain == 0 and place.settings.max_error is not None:
        gain = None  # as stvc up to 0.1 noted that neither coder had been asked
    far = far_from_model(gain) if total.count else None
    grid = grids[0]
    version, features = read_format(reader.header, reader.name)
    return {
        "path": str(path),
        "format_version": version,
        "features": sorted(features),
        "model": reader.header["model"],
        "effort": opened.model.effort,
        "learned_gain": gain,
        "bytes": reader.size,
        "raw_bytes": raw,
        "ratio": raw / reader.size if reader.size else 0.0,
        "bits_per_sample": 8 * reader.size / max(samples * stored, 1),
        "frames": len(dates),
        "first_date": dates[0]["time"] if dates else None,
        "last_date": dates[-1]["time"] if dates else None,
        "crs": reader.header["crs"]
        if "[" not in str(reader.header["crs"])
        else _crs_name(opened.crs),
        "bounds": _bounds(grid.y, grid.x),
        "groups": [
            {"bands": list(g.bands), "suffix": g.suffix, "gsd": g.gsd, "shape": list(g.shape)}
            for g in grids
        ],
        "settings": place.settings.to_header(),
        "psnr_clear": total.psnr,
        "rmse_clear": total.rmse,
        "max_error_clear": total.largest,
        "ndvi_mae_clear": ndvi_sum / ndvi_weight if ndvi_weight else None,
        "mask": {
            "kind": place.mask.kind,
            "clear_share": float(np.mean(shares)) if shares else None,
        },
        "bytes_by_kind": {
            "pixels": kinds[Kind.PIXELS],
            "mask": kinds[Kind.MASK],
            "background": kinds[Kind.BACKGROUND],
            "container": reader.overhead_bytes,
        },
        "background": {
            "sha256": reader.header["background"],
            "bytes": kinds[Kind.BACKGROUND],
            "external": is_external(reader),
            **_versions(reader),
        }
        if "background" in reader.header
        else None,
        "dates": dates,
        "superseded": outdated,
        "warnings": [] if far is None else [far],
    }


def _versions(reader: ArchiveReader) -> dict[str, Any]:
    """Which background predicts from which frame on, if there are several."""
    hashes = read_hashes(reader.header)
    if len(hashes) < 2:
        return {}
    units = [reader.units.get(UnitKey(Kind.BACKGROUND, k, 0, 0)) for k in range(len(hashes))]
    return {
        "versions": [
            {"sha256": known, "first_frame": first, "bytes": 0 if unit is None else unit.length}
            for (first, known), unit in zip(hashes, units, strict=True)
        ]
    }


class _Errors:
    """Sums achieved errors over units."""

    def __init__(self) -> None:
        self.square, self.count, self.largest = 0.0, 0.0, 0

    def add(self, stats: tuple[int, int, int], bands: int, clear_if_alone: float) -> None:
        clear = (stats[2] or clear_if_alone) if stats[1] else 0
        self.square += mean_squared_error(stats[1]) * clear * bands
        self.count += clear * bands
        self.largest = max(self.largest, stats[0])

    def merge(self, other: _Errors) -> None:
        self.square += other.square
        self.count += other.count
        self.largest = max(self.largest, other.largest)

    @property
    def rmse(self) -> float | None:
        return float(np.sqrt(self.square / self.count)) if self.count else None

    @property
    def psnr(self) -> float | None:
        return None if not self.square else float(10 * np.log10(1e8 * self.count / self.square))


def _product(record: FrameRecord) -> dict[str, Any]:
    """Product and baseline of a frame, as far as they are on record."""
    held = record.provenance
    return {key: held[key] for key in (*PRODUCT_KEYS, *BASELINE_KEYS) if held.get(key)}


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _bounds(y: np.ndarray[Any, Any], x: np.ndarray[Any, Any]) -> list[float]:
    """[west, south, east, north] of the pixel edges."""

    def edges(axis: np.ndarray[Any, Any]) -> tuple[float, float]:
        half = abs(float(axis[1] - axis[0])) / 2 if len(axis) > 1 else 0.5
        return float(axis.min()) - half, float(axis.max()) + half

    (west, east), (south, north) = edges(x), edges(y)
    return [west, south, east, north]


def _crs_name(wkt: str) -> str:
    found = re.search(r'\["([^"]+)"', wkt)
    return found.group(1) if found else "custom"
