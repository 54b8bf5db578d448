"""One framed picture: pixels enlarged crisply, hidden ground marked, date and scale bar below."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc.grid import is_index
from stvc.pictures.colors import RGB
from stvc.types import GroupGrid

if TYPE_CHECKING:
    from PIL.Image import Image

Bool = npt.NDArray[np.bool_]

_PAPER, _INK, _FAINT = (255, 255, 255), (26, 29, 33), (110, 116, 124)
_VEIL = (226, 229, 233)


class Clouds(StrEnum):
    """How hidden ground is drawn."""

    hatch = "hatch"
    """As the archive decodes it, under thin stripes."""
    hide = "hide"
    """Pale and flat."""
    show = "show"
    """As the archive decodes it: clouds, or the predicted ground where clouds were dropped."""


@dataclass(frozen=True)
class Enlargement:
    """Whole-number scale between pixels of the grid and pixels of the picture."""

    up: int
    """Picture pixels per grid pixel."""
    down: int
    """Grid pixels per picture pixel; one of the two is 1."""

    @classmethod
    def fit(cls, shape: tuple[int, int], size: int) -> Enlargement:
        """Choose the largest picture whose longer side is at most `size`."""
        longest = max(shape)
        if longest <= size:
            return cls(max(1, size // longest), 1)
        return cls(1, -(-longest // size))

    def apply(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Scale (H, W, ...) uint8 or bool; averages when it shrinks, repeats when it grows."""
        if self.down == 1:
            return image.repeat(self.up, 0).repeat(self.up, 1)
        return shrink(image, self.down)


def shrink(image: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """Average `factor` x `factor` blocks of (H, W, ...) values; bool: at least half of a block.

    Blocks that stand over the edge average what they cover.
    """
    if factor == 1:
        return image
    h, w = image.shape[:2]
    pad = [(0, -h % factor), (0, -w % factor)] + [(0, 0)] * (image.ndim - 2)
    padded = np.pad(image, pad, mode="edge")
    blocks = padded.reshape(
        padded.shape[0] // factor, factor, padded.shape[1] // factor, factor, *image.shape[2:]
    )
    mean = blocks.mean(axis=(1, 3), dtype=np.float32)
    if image.dtype == np.bool_:
        return np.asarray(mean >= 0.5)
    if image.dtype.kind == "u":
        return np.asarray(np.rint(mean).astype(image.dtype))
    return np.asarray(mean.astype(image.dtype))


def north_up(image: npt.NDArray[Any], grid: GroupGrid) -> npt.NDArray[Any]:
    """Turn (H, W, ...) so that north is up and east is right, where coordinates tell."""
    if len(grid.y) > 1 and grid.y[1] > grid.y[0] and not is_index(grid.y):
        image = image[::-1]
    if len(grid.x) > 1 and grid.x[1] < grid.x[0]:
        image = image[:, ::-1]
    return image


def mark_hidden(picture: RGB, unclear: Bool, clouds: Clouds, pitch: int = 9) -> RGB:
    """Draw over hidden ground.

    Parameters
    ----------
    picture : ndarray, (H, W, 3) uint8
        At its final scale.
    unclear : ndarray, (H, W) bool
        At the same scale.
    clouds : Clouds
    pitch : int
        Distance of the stripes, in pixels.
    """
    if clouds is Clouds.show or not unclear.any():
        return picture
    if clouds is Clouds.hide:
        return np.where(unclear[..., None], np.array(_VEIL, np.uint8), picture)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    along = (x + y) % pitch
    bright = unclear & (along < 2)
    dark = unclear & (along == 2)
    # ^ a dark edge beside each bright stripe keeps the hatch visible on snow and on forest
    striped = picture.astype(np.float32)
    striped[bright] = 0.2 * striped[bright] + 0.8 * 255
    striped[dark] *= 0.55
    return striped.astype(np.uint8)


def compose(
    picture: RGB, left: str, right: str, meters_per_pixel: float | None, note: str = ""
) -> Image:
    """Put a caption and a scale bar under a picture.

    Parameters
    ----------
    picture : ndarray, (H, W, 3) uint8
        At its final scale.
    left, right : str
        The date, and a remark beside it.
    meters_per_pixel : float or None
        Of the picture; None draws no scale bar.
    note : str
        A second line.
    """
    from PIL import Image, ImageDraw, ImageFont

    large, small = ImageFont.load_default(17), ImageFont.load_default(12)
    width = max(picture.shape[1], 280)
    lines = 48 if note else 32
    page = Image.new("RGB", (width, picture.shape[0] + lines), _PAPER)
    page.paste(Image.fromarray(picture), ((width - picture.shape[1]) // 2, 0))
    draw = ImageDraw.Draw(page)
    top = picture.shape[0] + 7
    draw.text((8, top), left, fill=_INK, font=large)
    beside = 8 + draw.textlength(left, font=large) + 10
    bar = None if meters_per_pixel is None else scale_bar(meters_per_pixel, width // 3)
    free = width - 8
    if bar is not None:
        length, label = bar
        start = width - 8 - length
        name = draw.textlength(label, font=small)
        draw.rectangle((start, top + 14, start + length, top + 16), fill=_INK)
        for end in (start, start + length - 1):
            draw.rectangle((end, top + 10, end + 1, top + 16), fill=_INK)
        draw.text((start + (length - name) / 2, top - 4), label, fill=_INK, font=small)
        free = min(start, start + (length - name) / 2) - 8
    if beside + draw.textlength(right, font=small) <= free:
        draw.text((beside, top + 4), right, fill=_FAINT, font=small)
    if note:
        draw.text((8, top + 23), note, fill=_FAINT, font=small)
    return page


def scale_bar(meters_per_pixel: float, longest: int) -> tuple[int, str] | None:
    """Choose a round length: (picture pixels, label); None if none fits in `longest` pixels."""
    room = longest * meters_per_pixel
    if not (room > 0 and math.isfinite(room)):
        return None
    power = 10.0 ** math.floor(math.log10(room))
    length = next(step * power for step in (5, 2, 1) if step * power <= room)
    pixels = round(length / meters_per_pixel)
    if pixels < 12:
        return None
    return pixels, f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
