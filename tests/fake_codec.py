"""A stand-in for `stvc.api` and a source: exact and instant, to test what stands around them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import xarray as xr
from pyproj import CRS

from stvc.errors import CorruptError, NoDataError

WKT = CRS.from_epsg(32633).to_wkt()
GROUPS = {"": ("B02", "B04", "B08"), "20": ("B11",)}
DAYS = ("2020-01-01", "2020-01-11", "2020-01-21T09:30:15", "2020-01-31", "2020-02-10")


def make_series(
    times: Any, bands: Any = ("B02", "B04", "B08", "B11"), size: int = 8, mask: str | None = "SCL"
) -> xr.Dataset:
    """Make frames whose every pixel tells its date, band and place."""
    times = np.array(times, "datetime64[ns]")
    coords: dict[str, Any] = {"time": times}
    variables: dict[str, Any] = {}
    for suffix, names in GROUPS.items():
        step, n = (20.0, size // 2) if suffix else (10.0, size)
        coords["y" + suffix] = 5_000_000.0 - step * (np.arange(n) + 0.5)
        coords["x" + suffix] = 400_000.0 + step * (np.arange(n) + 0.5)
        dims = ("time", "y" + suffix, "x" + suffix)
        ramp = np.arange(n)[:, None] * 10 + np.arange(n)
        for number, band in enumerate(names):
            if band in bands:
                days = (times - np.datetime64("2020-01-01")) // np.timedelta64(1, "D")
                variables[band] = (
                    dims,
                    (1000 + 500 * number + days[:, None, None] + ramp).astype(np.uint16),
                )
    if mask:
        classes = np.full((len(times), size, size), 4, np.uint8)
        classes[:, :2] = 9
        values = classes if mask == "SCL" else classes == 9
        variables[mask] = (("time", "y", "x"), values)
    products = [f"S2A_{t}" for t in times.astype("M8[D]")]
    variables["product_id"] = ("time", np.array(products, object))
    coords["spatial_ref"] = ((), np.int64(0), {"crs_wkt": WKT, "spatial_ref": WKT})
    return xr.Dataset(variables, coords=coords, attrs={"place": "nowhere", "nested": {"a": None}})


def make_info(ds: xr.Dataset, path: Any, settings: dict[str, Any], size: int) -> dict[str, Any]:
    """Describe frames as `Archive.info` does."""
    times = [str(t) for t in ds.time.values.astype("datetime64[s]")]
    groups = []
    for suffix, names in GROUPS.items():
        held = [band for band in names if band in ds]
        if held:
            shape = [len(held), ds.sizes["y" + suffix], ds.sizes["x" + suffix]]
            groups.append(
                {"bands": held, "suffix": suffix, "gsd": 20.0 if suffix else 10.0, "shape": shape}
            )
    frames = [
        {
            "time": t,
            "bytes": 100 + i,
            "clear_share": 0.75,
            "psnr_clear": 46.5,
            "max_error_clear": 40.0,
        }
        for i, t in enumerate(times)
    ]
    return {
        "path": str(path),
        "format_version": "1.0",
        "model": "fake-0",
        "learned_gain": 0.125,
        "bytes": size,
        "raw_bytes": 100 * size,
        "ratio": 100.0,
        "bits_per_sample": 0.16,
        "frames": len(times),
        "first_date": times[0],
        "last_date": times[-1],
        "crs": WKT,
        "bounds": [400000.0, 4999920.0, 400080.0, 5000000.0],
        "groups": groups,
        "settings": settings,
        "psnr_clear": 46.5,
        "rmse_clear": 47.3,
        "max_error_clear": 40.0,
        "ndvi_mae_clear": 0.0021,
        "mask": {"kind": "SCL", "clear_share": 0.75},
        "bytes_by_kind": {"pixels": 300, "mask": 50, "background": 0, "container": 70},
        "background": {"sha256": "ab" * 32, "external": False, "bytes": 1234},
        "dates": frames,
        "warnings": [],
    }


@dataclass
class FakeArchive:
    """Archives of the stand-in are JSON files that list dates, bands and settings."""

    path: Path
    on_error: str
    damaged: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        text = self.path.read_text()
        if not text.startswith("{"):
            raise CorruptError(f"{self.path}: not an stvc archive")
        self.held = json.loads(text)
        if self.held.get("damaged") and self.on_error == "skip":
            self.damaged = ("frame 1 of 2020-01-11, group 0, tile 0",)

    def __enter__(self) -> FakeArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def to_xarray(self, *, time: Any = None, bands: Any = None, **_: Any) -> xr.Dataset:
        if self.held.get("damaged") and self.on_error == "raise":
            raise CorruptError(f"{self.path}: frame 1 of 2020-01-11, group 0, tile 0: checksum")
        times = np.array(self.held["times"], "datetime64[s]")
        if time is not None:
            assert np.isin(time, times).all()
            times = np.asarray(time)
        return make_series(times, bands or self.held["bands"])

    def info(self) -> dict[str, Any]:
        ds = make_series(self.held["times"], self.held["bands"])
        return make_info(ds, self.path, self.held["settings"], self.path.stat().st_size)

    def verify(self) -> SimpleNamespace:
        errors = ("frame 1 of 2020-01-11:\ngroup 0, tile 0: checksum",) * bool(
            self.held.get("damaged")
        )
        return SimpleNamespace(
            ok=not errors, units_checked=8, frames_checked=4, errors=errors, sha256="0" * 64
        )


class FakeApi:
    """`stvc.api` with the same signatures; `calls` says what was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def encode(self, ds: xr.Dataset, path: Path, *, progress: Any = None, **arguments: Any) -> Any:
        self.calls.append(("encode", arguments))
        settings = {
            key: arguments[key]
            for key in ("quality", "psnr", "max_error", "lossless", "clouds", "reference")
        }
        bands = [band for band in ds.data_vars if str(band).startswith("B")]
        times = [str(t) for t in ds.time.values.astype("datetime64[s]")]
        return self._write(path, {"times": times, "bands": bands, "settings": settings}, len(times))

    def append(self, ds: xr.Dataset, path: Path, *, progress: Any = None, **_: Any) -> Any:
        self.calls.append(("append", {"times": ds.time.values}))
        held = json.loads(path.read_text())
        new = [str(t) for t in ds.time.values.astype("datetime64[s]")]
        new = [t for t in new if t not in held["times"]]
        if not new:
            size = path.stat().st_size
            return SimpleNamespace(
                path=path,
                frames_added=0,
                frames_total=len(held["times"]),
                bytes_before=size,
                bytes_after=size,
                psnr_clear=None,
                seconds=0.0,
            )
        held["times"] += new
        return self._write(path, held, len(new))

    def open(self, path: Path, *, on_error: str = "raise", cache_dir: Any = None) -> FakeArchive:
        return FakeArchive(Path(path), on_error)

    def _write(self, path: Path, held: dict[str, Any], added: int) -> Any:
        before = path.stat().st_size if path.exists() else 0
        path.write_text(json.dumps(held))
        return SimpleNamespace(
            path=path,
            frames_added=added,
            frames_total=len(held["times"]),
            bytes_before=before,
            bytes_after=path.stat().st_size,
            psnr_clear=46.5,
            seconds=1.25,
        )


class FakeSource:
    """Frames of `DAYS` for any area of interest."""

    name = "fake"

    def __init__(self, *, empty: str = "raise") -> None:
        self.empty = empty

    def fetch(
        self, aoi: Any, start: date | None, end: date | None, bands: Any, exclude: Any
    ) -> xr.Dataset:
        known = {np.datetime64(t, "s") for t in exclude}
        times = [
            t
            for t in np.array(DAYS, "datetime64[s]")
            if t not in known
            and (start is None or t.astype("M8[D]") >= np.datetime64(start))
            and (end is None or t.astype("M8[D]") <= np.datetime64(end))
        ]
        if not times and self.empty == "raise":
            raise NoDataError("source fake has nothing there")
        return make_series(times, bands or ("B02", "B04", "B08", "B11"))

    def ground(self) -> None:
        return None
