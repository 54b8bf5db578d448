"""Map layers of a page: one small image per date, and how a script is to color and read it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.masks import SCL_MEANINGS
from stvc.pictures.colors import RGB, class_table, table
from stvc.pictures.views import NDVI_RANGE, Stretch, View, mask_variable
from stvc.report.maps import Gathered

F32 = npt.NDArray[np.float32]

_COLOR_QUALITY = 82
_NDVI_STORED = (-0.5, 1.0)
"""NDVI of the byte values 1 and 255."""


@dataclass
class Layer:
    """One choice of the layer switch."""

    id: str
    name: str
    help: str
    """One sentence under the map."""
    kind: str
    """``picture`` (colors as they are), ``values`` (bytes to be colored), ``classes``."""
    images: list[str]
    """(T,) base64 WebP."""
    low: float = 0.0
    """Value of byte 1 (byte 0 is unknown)."""
    high: float = 0.0
    """Value of byte 255."""
    unit: str = ""
    digits: int = 0
    colors: str = ""
    """(256, 3) bytes, base64."""
    ends: tuple[str, str] = ("", "")
    """Labels of the legend's ends."""
    names: dict[int, str] = field(default_factory=dict)
    """Of classes."""
    first: int = 1
    """Byte of the value `low`; bytes below it are unknown."""
    step: float = 1.0
    """Map pixels per pixel of the images."""

    @property
    def size(self) -> int:
        """Bytes of all images as text."""
        return sum(map(len, self.images))

    def to_json(self) -> dict[str, Any]:
        """What the page's script reads."""
        return {**vars(self), "names": {str(k): v for k, v in self.names.items()}}


def layers(found: Gathered) -> list[Layer]:
    """Make every layer that the archive's bands, mask and original allow."""
    made = []
    clear = ~found.hidden
    for k, (view, (recipe, pixels)) in enumerate(found.colors.items()):
        stretch = Stretch.fit(pixels, clear)
        name = "True color" if view is View.true_color else "False color"
        if recipe.note:
            name = " ".join(recipe.bands)
        what = recipe.note or f"{', '.join(recipe.bands)} as red, green, blue"
        said = f"{what[0].upper()}{what[1:]}; one brightness for all dates."
        made.append(Layer(view.value, name, said, "picture", _pictures(pixels, stretch)))
        if k == 0 and found.original is not None:
            shown = _pictures(found.original, stretch)
            said = f"The original, before coding: {what}."
            made.append(Layer("original", "Original", said, "picture", shown))
    if found.ndvi is not None:
        made.append(_ndvi(found.ndvi))
    if found.classes is not None:
        made.append(_classes(found))
    made.append(_spent(found))
    if found.error is not None:
        made.append(_error(found.error))
    return made


def veils(found: Gathered) -> list[str]:
    """Hidden ground of every date, for the hatch: base64 WebP, white where hidden."""
    return [webp(np.where(h, np.uint8(255), np.uint8(0))) for h in found.hidden]


def _pictures(pixels: npt.NDArray[np.uint16], stretch: Stretch) -> list[str]:
    out = []
    for frame in pixels:
        nodata = (frame == 0).all(axis=0)[..., None]
        out.append(webp(np.where(nodata, np.uint8(128), stretch.apply(frame)), lossless=False))
    return out


def _ndvi(values: F32) -> Layer:
    low, high = _NDVI_STORED
    shown = np.clip(
        (np.linspace(low, high, 255) - NDVI_RANGE[0]) / (NDVI_RANGE[1] - NDVI_RANGE[0]), 0, 1
    )
    colors = np.zeros((256, 3), np.uint8)
    colors[1:] = table("vegetation")[np.rint(shown * 255).astype(np.intp)]
    return Layer(
        "ndvi",
        "NDVI",
        "Vegetation index, (near infrared - red) / (near infrared + red).",
        "values",
        [webp(encoded(v, low, high)) for v in values],
        low,
        high,
        digits=2,
        colors=_text(colors.tobytes()),
        ends=(f"{low:g}", f"{high:g}"),
    )


def _classes(found: Gathered) -> Layer:
    assert found.classes is not None
    variable = mask_variable(found.mask_kind)
    images = [webp(c) for c in found.classes]
    colors = _text(class_table(variable).tobytes())
    if variable == "CLP":
        said = "Cloud probability, kept without loss; it tells which ground was coded."
        ends = ("0 %", "100 %")
        return Layer(
            "mask", "Mask", said, "values", images, 0.0, 100.0, "%", 0, colors, ends, first=0
        )
    known = SCL_MEANINGS if variable == "SCL" else ("clear", "hidden")
    names = {
        int(k): known[k].replace("_", " ") if k < len(known) else f"class {k}"
        for k in np.unique(found.classes)
    }
    said = "Mask classes, kept without loss; they tell which ground was coded."
    return Layer("mask", "Mask", said, "classes", images, colors=colors, names=names)


def _spent(found: Gathered) -> Layer:
    positive = found.spent[found.spent > 0]
    top = float(np.percentile(positive, 99.5)) if positive.size else 1.0
    made = _values(
        "spent",
        "Bits spent",
        "Where the file's bytes went: bits per pixel, all bands together, by blocks of the codec.",
        found.spent,
        top,
        "depth",
        "bits per pixel",
        2,
    )
    made.step = found.block / found.factor
    return made


def _error(values: F32) -> Layer:
    known = values[np.isfinite(values)]
    top = max(1.0, float(np.percentile(known, 99.5))) if known.size else 1.0
    return _values(
        "error",
        "Error",
        "Root mean square over bands of decoded less original, in DN, on clear pixels; hidden "
        "ground is empty.",
        values,
        top,
        "heat",
        "DN",
        0,
    )


def _values(
    id: str, name: str, said: str, values: F32, top: float, colors: str, unit: str, digits: int
) -> Layer:
    lut = np.zeros((256, 3), np.uint8)
    lut[1:] = table(colors)[np.linspace(0, 255, 255).round().astype(np.intp)]
    return Layer(
        id,
        name,
        said,
        "values",
        [webp(encoded(v, 0.0, top)) for v in values],
        0.0,
        top,
        unit,
        digits,
        _text(lut.tobytes()),
        ("0", f"{top:.{digits}f} {unit} and more"),
    )


def encoded(values: F32, low: float, high: float) -> npt.NDArray[np.uint8]:
    """Values to bytes 1 to 255 between two limits; 0 where unknown."""
    known = np.isfinite(values)
    scaled = 1 + 254 * (np.where(known, values, low) - low) / max(high - low, 1e-9)
    return np.where(known, np.clip(np.rint(scaled), 1, 255), 0).astype(np.uint8)


def webp(image: RGB | npt.NDArray[np.uint8], *, lossless: bool = True) -> str:
    """Compress (H, W) or (H, W, 3) uint8 to base64 WebP."""
    from PIL import Image

    buffer = io.BytesIO()
    options: dict[str, Any] = (
        {"lossless": True, "quality": 70, "exact": True}
        if lossless
        else {"quality": _COLOR_QUALITY, "method": 4}
    )
    Image.fromarray(image).convert("RGB").save(buffer, "WEBP", **options)
    return _text(buffer.getvalue())


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
