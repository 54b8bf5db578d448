"""Freeze the bit stream: write the golden archives that every later version must decode alike.

    python tools/make_golden.py [--out tests/golden/v8]

Run once per bit stream version, with the model that will ship; once more, into a folder beside it,
when encoders have come to choose otherwise (v4-2: another fit of the spectral transform, finer
registration, another model). The pictures come from integer arithmetic alone, so that the tests can
make them again on any machine and encode them again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from product_traces import in_half_precision, in_steps, through_jpeg2000, through_two_levels

import stvc
from stvc import archiving
from stvc.codec import predictive, unit_encoder
from stvc.codec.unit import NETWORK
from stvc.model.weights import default_model_id

HASHES = "sha256.json"


def integers(seed: int, shape: tuple[int, ...], below: int) -> npt.NDArray[np.int64]:
    """Pseudo-random integers straight from a bit generator, whose stream numpy never changes."""
    raw = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    return np.asarray((raw >> np.uint64(33)) % np.uint64(below), np.int64).reshape(shape)


def ground(seed: int, dates: int, bands: int, height: int, width: int) -> npt.NDArray[np.uint16]:
    """(T, C, H, W) DN of textured ground whose dates shift by half pixels."""
    rough = integers(seed, (2, height, width), 4096)
    field = np.zeros_like(rough)
    for reach, gain in ((1, 1), (2, 3), (5, 8)):
        smooth = rough
        for axis in (1, 2):
            smooth = sum(np.roll(smooth, k, axis) for k in range(-reach, reach + 1))
        field += gain * (smooth // (2 * reach + 1) ** 2)
    noise = integers(seed + 1, (dates, bands, height, width), 33)
    out = np.empty(noise.shape, np.int64)
    for t in range(dates):
        now = (field + np.roll(field, t % 3, 2)) // 2
        for c in range(bands):
            out[t, c] = (
                400 + 300 * c + (now[0] * (10 + t) + now[1] * (5 * c - 4)) // 128 + noise[t, c]
            )
    return np.clip(out, 1, 65535).astype(np.uint16)


def disc(height: int, width: int, y: int, x: int, radius: int) -> npt.NDArray[np.bool_]:
    """A round cloud."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 < radius * radius)


def times(count: int) -> npt.NDArray[Any]:
    """Acquisitions every five days."""
    days = np.arange(count) * np.timedelta64(5, "D")
    return (np.datetime64("2020-05-06T10:56:21") + days).astype("datetime64[ns]")


def two_groups() -> xr.Dataset:
    """Four dates, 10 m and 20 m, SCL on 20 m, one cloud, a strip without data."""
    fine, coarse = ground(1, 4, 4, 40, 48), ground(2, 4, 2, 20, 24)
    classes = np.where(integers(3, (4, 20, 24), 9) == 0, 5, 4).astype(np.uint8)
    classes[1][disc(20, 24, 8, 9, 6)] = 9
    classes[3, :, 20:] = 0
    cloud = classes[1] == 9
    coarse[1][:, cloud] = 7000
    fine[1][:, cloud.repeat(2, 0).repeat(2, 1)] = 7000
    coarse[3, :, :, 20:], fine[3, :, :, 40:] = 0, 0
    variables: dict[str, Any] = {
        band: (("time", "y", "x"), fine[:, c])
        for c, band in enumerate(("B02", "B03", "B04", "B08"))
    }
    variables |= {
        band: (("time", "y20", "x20"), coarse[:, c]) for c, band in enumerate(("B8A", "B11"))
    }
    variables["SCL"] = (("time", "y20", "x20"), classes)
    variables["product_id"] = ("time", [f"S2A_MSIL2A_{k}" for k in range(4)])
    coords: dict[str, Any] = {"time": times(4)}
    for suffix, gsd, (h, w) in (("", 10, (40, 48)), ("20", 20, (20, 24))):
        coords[f"y{suffix}"] = 5_600_000 - gsd * (np.arange(h) + 0.5)
        coords[f"x{suffix}"] = 600_000 + gsd * (np.arange(w) + 0.5)
    return xr.Dataset(variables, coords=coords)


def long_series() -> xr.Dataset:
    """Nine dates with a boolean mask, long enough for a historical background."""
    pixels = ground(4, 9, 2, 33, 29)
    mask = np.zeros((9, 33, 29), bool)
    for t in (2, 5, 6):
        mask[t] = disc(33, 29, 4 * t, 10 + t, 9)
        pixels[t][:, mask[t]] = 6500
    dims = ("time", "y", "x")
    variables = {"B04": (dims, pixels[:, 0]), "B08": (dims, pixels[:, 1]), "mask": (dims, mask)}
    return xr.Dataset(variables, coords={"time": times(9)})


def one_band() -> xr.Dataset:
    """Three dates of one band with extreme values."""
    pixels = ground(5, 3, 1, 30, 37)
    pixels[1, 0, 3:6, 4:9], pixels[2, 0, 20:, :5] = 65535, 0
    return xr.Dataset({"B04": (("time", "y", "x"), pixels[:, 0])}, coords={"time": times(3)})


def long_strip() -> xr.Dataset:
    """Two dates of one band, longer than two tiles by a little."""
    pixels = ground(9, 2, 1, 9, 530)
    return xr.Dataset({"B08": (("time", "y", "x"), pixels[:, 0])}, coords={"time": times(2)})


def products() -> xr.Dataset:
    """Three dates as products hold them: values in steps, the last band through JPEG 2000."""
    pixels = in_steps(ground(6, 3, 3, 56, 61).astype(np.int64) * 2)
    for t, dropped in enumerate(((1, 0, 0), (2, 1, 1), (1, 1, 0))):
        pixels[t, 2] = through_jpeg2000(pixels[t, 2], dropped, t)
    cloud = disc(56, 61, 20, 30, 9)
    pixels[1][:, cloud] = 12000
    mask = np.zeros((3, 56, 61), bool)
    mask[1] = cloud
    dims = ("time", "y", "x")
    variables: dict[str, Any] = {
        band: (dims, np.clip(pixels[:, c], 1, 65535).astype(np.uint16))
        for c, band in enumerate(("B03", "B04", "B08"))
    }
    variables["mask"] = (dims, mask)
    return xr.Dataset(variables, coords={"time": times(3)})


def cut_products() -> xr.Dataset:
    """Two dates of one band in steps, of which JPEG 2000 cut one or two levels."""
    pixels = in_steps(ground(10, 2, 1, 64, 72)[:, 0].astype(np.int64) * 2)
    pixels[0] = through_two_levels(pixels[0], 1, 2)
    pixels[1] = through_jpeg2000(pixels[1], (1, 0, 0), 3)
    values = np.clip(pixels, 1, 65535).astype(np.uint16)
    return xr.Dataset({"B08": (("time", "y", "x"), values)}, coords={"time": times(2)})


def half_precision_products() -> xr.Dataset:
    """Two dates, the first made with an offset, in half precision; one band keeps the offset."""
    raw = ground(11, 2, 4, 56, 60).astype(np.int64) * 30 + integers(12, (2, 4, 56, 60), 64)
    raw[:, 3] += 64 * 1400
    pixels = np.stack([in_half_precision(raw[0], 1000), in_half_precision(raw[1])])
    pixels[0, 1:] -= 1000
    pixels[0, 3] = through_jpeg2000(pixels[0, 3], (1, 0, 0), 2)
    pixels[1, 2, 5:9, 20:30] = 3001 + integers(13, (4, 10), 60)
    dims = ("time", "y", "x")
    variables: dict[str, Any] = {
        band: (dims, np.clip(pixels[:, c], 1, 65535).astype(np.uint16))
        for c, band in enumerate(("B02", "B03", "B04", "B08"))
    }
    return xr.Dataset(variables, coords={"time": times(2)})


def half_cut_products() -> xr.Dataset:
    """One date in half precision; JPEG 2000 cut two bits of one side; a pixel has no data."""
    raw = ground(14, 1, 1, 72, 128)[0, 0].astype(np.int64) * 40 + integers(15, (72, 128), 64)
    raw += 64 * 1800
    pixels = in_half_precision(raw)
    pixels[:, :32] = through_jpeg2000(pixels, (2, 0, 0), 1)[:, :32]
    values = np.clip(pixels, 1, 65535).astype(np.uint16)[None]
    values[0, 60, 100] = 0
    return xr.Dataset({"B08": (("time", "y", "x"), values)}, coords={"time": times(1)})


def seasons() -> xr.Dataset:
    """Four dates, each with another spectrum, one cloud."""
    first, second = ground(7, 2, 1, 48, 56)[:, 0].astype(np.int64)
    weights = ((9, 2, 1, 14), (3, 8, 12, 2), (6, 6, 2, 9), (2, 12, 7, 5))
    noise = integers(8, (4, 4, 48, 56), 41)
    pixels = np.empty((4, 4, 48, 56), np.uint16)
    for t, mix in enumerate(weights):
        for c, weight in enumerate(mix):
            now = 600 + 200 * c + (first * weight + second * (14 - weight)) // 8 + noise[t, c]
            pixels[t, c] = np.clip(now, 1, 65535)
    mask = np.zeros((4, 48, 56), bool)
    mask[2] = disc(48, 56, 12, 40, 10)
    pixels[2][:, mask[2]] = 8000
    dims = ("time", "y", "x")
    variables: dict[str, Any] = {
        band: (dims, pixels[:, c]) for c, band in enumerate(("B02", "B03", "B04", "B08"))
    }
    variables["mask"] = (dims, mask)
    return xr.Dataset(variables, coords={"time": times(4)})


RECIPES: dict[str, tuple[Callable[[], xr.Dataset], dict[str, Any]]] = {
    "two_groups": (two_groups, {"quality": 50}),
    "network": (two_groups, {"quality": 50}),
    "bounded": (long_series, {"max_error": 12, "reference": "both"}),
    "background": (long_series, {"quality": 45, "clouds": "coarse", "reference": "both"}),
    "lossless": (one_band, {"lossless": True}),
    "between": (long_series, {"quality": 45}),
    "fast": (two_groups, {"quality": 50, "effort": "fast"}),
    "tight": (two_groups, {"quality": 70, "max_bytes": 1500}),
    "appended": (long_series, {"quality": 45}),
    "learned": (two_groups, {"lossless": True}),
    "learned_bounded": (long_series, {"max_error": 3}),
    "predicted": (two_groups, {"lossless": True, "effort": "fast"}),
    "turned": (seasons, {"quality": 60}),
    "turned_fast": (seasons, {"quality": 60, "effort": "fast"}),
    "traced": (products, {"lossless": True}),
    "traced_fast": (products, {"lossless": True, "effort": "fast"}),
    "tiles": (long_strip, {"quality": 30}),
    "cut": (cut_products, {"lossless": True}),
    "half": (half_precision_products, {"lossless": True}),
    "half_fast": (half_precision_products, {"lossless": True, "effort": "fast"}),
    "half_cut": (half_cut_products, {"lossless": True}),
}
NETWORK_EVERYWHERE = ("network", "between", "turned", "turned_fast")
LEARNED_EVERYWHERE = ("learned", "learned_bounded", "traced", "cut", "half")
SEARCHED = ("cut", "traced", "traced_fast", "half", "half_fast")
"""Archives that encoders without native kernels write in another way."""
APPENDED = ([1], [7, 8])
"""Dates that are not encoded but appended: a late one, then the last."""


@contextmanager
def network_everywhere() -> Iterator[None]:
    """Let the network code every unit, even where the plain coder would be cheaper."""
    choose, gain = unit_encoder.cheaper_coder, archiving.learned_gain
    unit_encoder.cheaper_coder = lambda *_: NETWORK
    archiving.learned_gain = lambda _, plain: gain(0.0, plain)  # so the first archives say
    try:
        yield
    finally:
        unit_encoder.cheaper_coder, archiving.learned_gain = choose, gain


@contextmanager
def learned_everywhere() -> Iterator[None]:
    """Let the pixel network code all bands of units in the pixel domain."""
    choose = predictive._cheaper
    predictive._cheaper = lambda plain, _: plain >= 0
    try:
        yield
    finally:
        predictive._cheaper = choose


def encode(name: str, path: Path) -> None:
    """Write one golden archive."""
    make, options = RECIPES[name]
    ds = make()
    if name in LEARNED_EVERYWHERE:
        with learned_everywhere():
            stvc.encode(ds, path, **options)
        return
    if name in NETWORK_EVERYWHERE:
        with network_everywhere():
            stvc.encode(ds, path, **options)
        return
    if name != "appended":
        stvc.encode(ds, path, **options)
        return
    late = [k for part in APPENDED for k in part]
    first = [k for k in range(ds.sizes["time"]) if k not in late]
    stvc.encode(ds.isel(time=first), path, **options)
    for part in APPENDED:
        stvc.append(ds.isel(time=part), path, accept_offset=True)


def hashes_of(path: Path) -> dict[str, str]:
    """What the test compares: decoded pixels, file bytes, and the model that it takes."""
    with stvc.open(path) as archive:
        report = archive.verify()
        if not report.ok:
            raise SystemExit(f"{path}: {report.errors}")
        model = archive.info()["model"]
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"decoded": report.sha256, "file": whole, "model": model}


def main() -> None:
    """Write the archives and their hashes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    home = Path(__file__).parents[1] / "tests" / "golden" / "v8"
    parser.add_argument("--out", type=Path, default=home)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in RECIPES:
        path = options.out / f"{name}.stvc"
        with TemporaryDirectory() as scratch:
            encode(name, Path(scratch) / path.name)
            path.write_bytes((Path(scratch) / path.name).read_bytes())
            # ^ the lock file stays behind
        found[name] = hashes_of(path)
        print(name, path.stat().st_size, found[name]["decoded"][:16])
    (options.out / HASHES).write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    print(f"{len(found)} archives under model {default_model_id()} in {options.out}")


if __name__ == "__main__":
    main()
