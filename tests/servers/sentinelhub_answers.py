"""What the loopback Sentinel Hub answers: catalog features, and the pixels of Process requests."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from pyproj import Transformer
from servers.sentinelhub_scenes import Scene

DTYPES = {"UINT8": np.uint8, "UINT16": np.uint16}


def feature_of(scene: Scene) -> dict[str, Any]:
    """A catalog feature, with the keys that the real one has."""
    ring = _ring(scene)
    lon, lat = zip(*ring, strict=True)
    platform = f"sentinel-{scene.product_id[1:3].lower()}"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": scene.product_id,
        "bbox": [min(lon), min(lat), max(lon), max(lat)],
        "geometry": {"type": "MultiPolygon", "coordinates": [[ring]]},
        "properties": {
            "datetime": scene.sensed.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "platform": platform,
            "instruments": ["msi"],
            "constellation": "sentinel-2",
            "gsd": 10,
            "eo:cloud_cover": 12.5,
            "proj:epsg": scene.epsg,
        },
        "links": [],
        "assets": {},
    }


def in_box(scene: Scene, box: Sequence[float]) -> bool:
    """Whether a scene's box in WGS84 meets another one."""
    lon, lat = zip(*_ring(scene), strict=True)
    west, south, east, north = box
    return min(lon) < east and max(lon) > west and min(lat) < north and max(lat) > south


def answer_process(
    body: Mapping[str, Any], scenes: Sequence[Scene]
) -> tuple[int, bytes | dict[str, Any], dict[str, str]]:
    """Answer a Process request: status, body, headers."""
    output, given = body["output"], body["input"]
    width, height = output["width"], output["height"]
    if not (1 <= width <= 2500 and 1 <= height <= 2500):
        message = f"{width} by {height} pixels; at most 2500 a side are allowed"
        return 400, {"error": {"status": 400, "message": message}}, {}
    source = given["data"][0]
    span = source["dataFilter"]["timeRange"]
    first, last = (datetime.fromisoformat(span[key]).astimezone(UTC) for key in ("from", "to"))
    harmonize = source["processing"].get("harmonizeValues", True)
    script = Script(body["evalscript"])
    found = script.choose(
        sorted(
            (scene for scene in scenes if first <= scene.sensed <= last),
            key=lambda scene: (scene.sensed, scene.product_id),
            reverse=True,
        )
    )
    left, bottom, right, top = given["bounds"]["bbox"]
    epsg = int(given["bounds"]["properties"]["crs"].rsplit("/", 1)[1])
    x = left + (np.arange(width) + 0.5) * (right - left) / width
    y = top - (np.arange(height) + 0.5) * (top - bottom) / height
    layers = mosaic(found, script.bands + script.mask, x, y, epsg, harmonize=harmonize)
    imaged = layers.pop("dataMask")
    images = {
        "dataMask": imaged.astype(np.uint8)[..., None],
        "bands": _stacked(layers, script.bands, np.uint16),
        "mask": _stacked(layers, script.mask, np.uint8),
    }
    files = {}
    for response in output["responses"]:
        name = response["identifier"]
        if name == "userdata":
            told = {"products": [scene.product_id for scene in found]}
            files["userdata.json"] = json.dumps(told).encode()
        elif images[name] is None:
            return 400, {"error": {"message": f"output {name} is not set up"}}, {}
        else:
            files[f"{name}.tif"] = _tiff(images[name])
    bands = len(script.bands) + len(script.mask)
    samples = max(len(found), 1) if script.mosaicking == "TILE" else 1
    spent = max(max(width * height / 512**2, 0.01) * bands / 3 * samples, 0.001)
    headers = {"X-ProcessingUnits-Spent": f"{spent:.6f}"}
    if len(files) == 1:  # one response comes as it is, several as a tar
        return 200, next(iter(files.values())), {**headers, "Content-Type": "image/tiff"}
    return 200, _tar(files), {**headers, "Content-Type": "application/tar"}


class Script:
    """What an evalscript of ours asks for."""

    def __init__(self, text: str) -> None:
        self.bands: list[str] = self._constant(text, "BANDS")
        self.mask: list[str] = self._constant(text, "MASK")
        self.wanted: list[str] = self._constant(text, "WANTED")
        found = re.search(r'mosaicking: "(\w+)"', text)
        assert found is not None
        self.mosaicking = found[1]

    @staticmethod
    def _constant(text: str, name: str) -> list[str]:
        found = re.search(rf"^const {name} = (.*);$", text, re.MULTILINE)
        assert found is not None
        return list(json.loads(found[1]))

    def choose(self, scenes: Sequence[Scene]) -> list[Scene]:
        """The scenes that count, most important first."""
        if self.mosaicking == "SIMPLE":
            return list(scenes)
        known = [scene for scene in scenes if scene.product_id.removesuffix(".SAFE") in self.wanted]
        known.sort(key=lambda scene: self.wanted.index(scene.product_id.removesuffix(".SAFE")))
        return known or list(scenes)


def mosaic(
    scenes: Sequence[Scene],
    bands: Sequence[str],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    epsg: int,
    *,
    harmonize: bool = True,
) -> dict[str, npt.NDArray[Any]]:
    """Per band (H, W) of the first scene with data, 0 where there is none; and ``dataMask``."""
    across, down = np.meshgrid(x, y)
    filled = np.zeros(across.shape, np.bool_)
    layers: dict[str, npt.NDArray[Any]] = {band: np.zeros(across.shape, np.int64) for band in bands}
    for scene in scenes:
        east, north = across, down
        if epsg != scene.epsg:
            to_scene = Transformer.from_crs(epsg, scene.epsg, always_xy=True)
            east, north = to_scene.transform(across, down)
        left, bottom, right, top = scene.bounds
        inside = (east >= left) & (east < right) & (north > bottom) & (north <= top) & ~filled
        for band in bands:
            values, known = scene.imagery.read(band, east, north)
            inside &= known
            if harmonize and band.startswith("B") and scene.baseline >= 400:
                values = np.maximum(values - 1000, 0)
            layers[band] = np.where(inside, values, layers[band])
        filled |= inside
    return {**layers, "dataMask": filled}


def _stacked(layers: Mapping[str, Any], names: Sequence[str], dtype: Any) -> Any:
    return np.stack([layers[name] for name in names], -1).astype(dtype) if names else None


def _tiff(pixels: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        pixels if pixels.shape[-1] > 1 else pixels[..., 0],
        compression="deflate",
        photometric="minisblack",
        planarconfig="contig" if pixels.shape[-1] > 1 else None,
        rowsperstrip=64,
        metadata=None,
    )
    return file.getvalue()


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _ring(scene: Scene) -> list[tuple[float, float]]:
    return list(_corners(scene.bounds, scene.epsg))


@lru_cache(maxsize=4096)
def _corners(bounds: tuple[float, float, float, float], epsg: int) -> list[tuple[float, float]]:
    left, bottom, right, top = bounds
    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    corners = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    return [to_degrees.transform(x, y) for x, y in corners]
