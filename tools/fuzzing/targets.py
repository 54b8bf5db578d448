"""What is attacked: where inputs come from, how they are broken, what users do with them."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fuzzing.mutations import mutate_aoi, mutate_archive, mutate_payload, mutate_toml
from stvc.archive import ArchiveReader
from stvc.errors import AoiError, StvcError

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
FIELD = ROOT / "examples" / "field.geojson"


def use_archive(block: bytes, scratch: Path) -> None:
    """Do with an archive what users do."""
    import stvc

    path = scratch / "hostile.stvc"
    path.write_bytes(block)
    with stvc.open(path, on_error="skip", cache_dir=scratch / "cache") as archive:
        info = archive.info()
        archive.to_xarray(bands=info["groups"][0]["bands"][:1])
        archive.verify()


def use_index(block: bytes, scratch: Path) -> None:
    """Open a container and read all of its units, without decoding."""
    with ArchiveReader.open(io.BytesIO(block)) as reader:
        for key in reader.units:
            reader.describe(key)
            try:
                reader.read(key)
            except StvcError:
                continue


def use_aoi(block: bytes, scratch: Path) -> None:
    """Read an area of interest, and place it."""
    from stvc.aoi import parse_aoi

    aoi = parse_aoi(block, "fuzz", "area")
    assert aoi.geometry.is_valid
    assert aoi.geometry.area > 0
    assert len(aoi.name) <= 80
    json.loads(aoi.geojson)
    try:
        aoi.bounds_in("EPSG:32634")
    except AoiError:
        return


def use_toml(block: bytes, scratch: Path) -> None:
    """Read a monitor's file of fields."""
    from stvc.monitor.fields import read_job

    path = scratch / "fields.toml"
    path.write_bytes(block)
    for shapes in FIELD.parent.glob("*.geojson"):
        (scratch / shapes.name).write_bytes(shapes.read_bytes())
    read_job(path)


@dataclass(frozen=True)
class Target:
    """Something to attack."""

    seeds: Callable[[], list[bytes]]
    mutate: Callable[[bytes, random.Random], bytes]
    use: Callable[[bytes, Path], None]


def _goldens() -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDEN.glob("*/*.stvc"))]


@cache
def tiny_archives() -> tuple[bytes, ...]:
    """Archives of a hundred pixels: they take a tenth of the time of the golden ones."""
    import numpy as np
    import xarray as xr

    import stvc

    rng = np.random.default_rng(1)
    dims = ("time", "y", "x")
    times = np.array(["2021-03-04", "2021-03-09", "2021-03-14"], "datetime64[ns]")
    axes = {"y": 5.6e6 - 10.0 * np.arange(12), "x": 6e5 + 10.0 * np.arange(9)}
    pixels = rng.normal(2000, 300, (3, 2, 12, 9)).clip(1, 9999).astype(np.uint16)
    bands = {"B04": (dims, pixels[:, 0]), "B08": (dims, pixels[:, 1])}
    plain = xr.Dataset(bands, {"time": times, **axes})
    classes = rng.choice([4, 4, 5, 9], (3, 12, 9)).astype(np.uint8)
    named = plain.assign(SCL=(dims, classes), product_id=("time", ["a", "b", "c"]))
    holes = named.copy(deep=True)
    holes["B04"].values[:, :3], holes["B08"].values[:, :3] = 0, 0
    wanted: list[tuple[xr.Dataset, dict[str, Any]]] = [
        (plain, {"max_error": 9}),
        (plain.assign(mask=(dims, classes == 9)), {"lossless": True}),
        (named, {"reference": "both"}),
        (named, {"clouds": "coarse"}),
        (holes, {"clouds": "keep"}),
    ]
    made = []
    with TemporaryDirectory() as scratch:
        for k, (ds, options) in enumerate(wanted):
            path = Path(scratch) / f"{k}.stvc"
            stvc.encode(ds, path, **options)
            made.append(path.read_bytes())
    return tuple(made)


def _archives() -> list[bytes]:
    return [*tiny_archives(), *_goldens()]


def _tomls() -> list[bytes]:
    found = [path.read_bytes() for path in sorted((ROOT / "examples").rglob("*.toml"))]
    fields = b'[[fields]]\nid = "a"\nfile = "field.geojson"\n[defaults]\nlook_back = "15d"\n'
    return [block for block in (*found, fields) if b"[[fields]]" in block]


TARGETS = {
    "archive": Target(_archives, mutate_archive, use_archive),
    "payload": Target(_archives, mutate_payload, use_archive),
    "index": Target(_archives, mutate_archive, use_index),
    "aoi": Target(lambda: [FIELD.read_bytes()], mutate_aoi, use_aoi),
    "toml": Target(_tomls, mutate_toml, use_toml),
}
