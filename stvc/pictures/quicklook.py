"""Quick looks: one date, all dates as a contact sheet, or an animation."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc.errors import CorruptInputError
from stvc.export.rules import replacing
from stvc.pictures.frame import Clouds, Enlargement, compose, mark_hidden, north_up
from stvc.pictures.views import (
    Recipe,
    Stretch,
    View,
    bands_finest_first,
    classes_on,
    finest,
    hidden_pixels,
    planes,
    recipe,
    render,
    render_classes,
)
from stvc.types import GroupGrid, Series

if TYPE_CHECKING:
    from PIL.Image import Image

    from stvc.archive_view import Archive

ANIMATED = (".gif", ".webp")
STILL = (".png", ".jpg", ".jpeg")
_SHEET_WIDTH = 1600
_CLEAR_ENOUGH = 0.9
_MAX_TITLE = 80


@dataclass(frozen=True)
class Look:
    """What a quick look shows; the same for all its dates."""

    view: View = View.true_color
    clouds: Clouds = Clouds.hatch
    size: int | None = None
    """Longest side of each frame, picture pixels; None: 640, of animations 480."""
    frames_per_second: float = 3.0
    """Of animations."""


@dataclass(frozen=True)
class Drawn:
    """What was drawn."""

    path: Path
    times: tuple[str, ...]
    """Dates shown."""
    note: str
    """What the view lacks; empty if nothing."""


def default_time(archive: Archive) -> np.datetime64:
    """Choose the latest date that is at least 90 % clear, or else the clearest one.

    Raises
    ------
    CorruptInputError
        If the archive holds no date.
    """
    dates = archive.info()["dates"]
    if not dates:
        raise CorruptInputError(f"{archive.path} holds no date; nothing to draw")
    share = np.array([1.0 if d["clear_share"] is None else d["clear_share"] for d in dates])
    clear = np.flatnonzero(share >= _CLEAR_ENOUGH)
    chosen = dates[int(clear[-1]) if len(clear) else int(share.argmax())]
    return np.datetime64(chosen["time"].removesuffix("Z"), "s")


def quicklook(
    archive: Archive,
    path: Path,
    *,
    times: Sequence[np.datetime64] | npt.NDArray[np.datetime64] | None = None,
    look: Look | None = None,
) -> Drawn:
    """Draw an archive.

    Parameters
    ----------
    archive : Archive
    path : Path
        ``.png`` or ``.jpg``: one date, or a contact sheet of several; ``.gif`` or ``.webp``: one
        date, or an animation. Replaced whole or not at all.
    times : sequence of datetime64, optional
        Dates to draw; the latest clear one if not given.
    look : Look, optional

    Raises
    ------
    CorruptInputError
        If no date matches, or the view cannot be made of the archive's bands.
    ValueError
        If the suffix of `path` is unknown.
    """
    look = look or Look()
    if path.suffix.lower() not in ANIMATED + STILL:
        raise ValueError(f"cannot draw {path.suffix!r}; choose {', '.join(ANIMATED + STILL)}")
    chosen = [default_time(archive)] if times is None else list(times)
    made, series = _decode(archive, look.view, chosen)
    still = path.suffix.lower() in STILL
    if look.size is None:
        look = replace(look, size=640 if still or len(chosen) == 1 else 480)
    pages = _pages(series, made, look, sheet=still and len(series.times) > 1)
    with replacing(path) as scratch:
        _save(pages, scratch, look)
    return Drawn(path, tuple(str(time) for time in series.times), made.note)


def _decode(archive: Archive, view: View, times: Sequence[np.datetime64]) -> tuple[Recipe, Series]:
    """Decode what a view needs: its bands, or the cheapest group for a mask."""
    opened = archive._open_place(with_background=False)
    grids = opened.place.grids
    names = bands_finest_first(grids)
    made = recipe(view, names, opened.band_attrs, mask_kind=opened.place.mask.kind)
    needed = set(made.bands) or {names[0]}
    return made, archive.to_series(time=list(times), bands=[n for n in names if n in needed])


def _pages(series: Series, made: Recipe, look: Look, *, sheet: bool) -> list[Image]:
    onto = finest(series)
    pixels = planes(series, made.bands, onto)
    unclear = hidden_pixels(series, onto, pixels)
    colored = made.view in (View.true_color, View.false_color)
    stretch = Stretch.fit(pixels, ~unclear) if colored else None
    size = look.size or 640
    if sheet:
        columns = _columns(len(series.times), onto)
        size = min(size, max(120, _SHEET_WIDTH // columns - 8))
    scale = Enlargement.fit(onto.shape[1:], size)
    meters = _meters(series, onto)
    name = str(series.attrs.get("aoi_name") or series.attrs.get("title") or "")[:_MAX_TITLE]
    title = " · ".join(part for part in (name, _legend(made)) if part)
    pages = []
    for k, time in enumerate(series.times):
        if made.view is View.mask:
            image = render_classes(classes_on(series, k, onto), series.mask.kind)
        else:
            image = render(made, pixels[k], stretch)
        picture = scale.apply(north_up(image, onto))
        if made.view is not View.mask:
            covered = scale.apply(north_up(unclear[k], onto))
            picture = mark_hidden(picture, covered, look.clouds)
        share = 1 - float(unclear[k].mean())
        remark = f"{share:.0%} clear" if series.mask.kind != "none" else ""
        bar = None if meters is None else meters * scale.down / scale.up
        pages.append(compose(picture, _stamp(time), remark, bar, "" if sheet else title))
    return [_contact_sheet(pages, columns)] if sheet else pages


def _stamp(time: np.datetime64) -> str:
    return str(time.astype("datetime64[D]"))


def _legend(made: Recipe) -> str:
    named = {
        View.true_color: "true color",
        View.false_color: "false color (near infrared, red, green)",
        View.ndvi: "NDVI, -0.2 brown to 1 green",
        View.mask: "mask classes",
    }[made.view]
    return made.note or named


def _meters(series: Series, grid: GroupGrid) -> float | None:
    """Ground length of one pixel in m; None where it cannot be told."""
    if not series.crs_wkt:
        return None
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    with contextlib.suppress(CRSError):
        crs = CRS.from_wkt(series.crs_wkt)
        factor = float(crs.axis_info[0].unit_conversion_factor)
        if crs.is_projected:
            return grid.gsd * factor
        if crs.is_geographic and len(grid.y):
            latitude = np.radians(float(grid.y.mean()))
            return grid.gsd * 111_320.0 * float(np.cos(latitude))
    return None


def _columns(count: int, grid: GroupGrid) -> int:
    _, height, width = grid.shape
    # ^ a sheet about as wide as it is high, whatever the shape of the field
    return max(1, min(count, round(float(np.sqrt(count * (height + 0.1 * width) / width)))))


def _contact_sheet(pages: list[Image], columns: int) -> Image:
    from PIL import Image

    gap = 8
    width, height = pages[0].size
    rows = -(-len(pages) // columns)
    size = (columns * (width + gap) + gap, rows * (height + gap) + gap)
    sheet = Image.new("RGB", size, (255, 255, 255))
    for k, page in enumerate(pages):
        row, column = divmod(k, columns)
        sheet.paste(page, (gap + column * (width + gap), gap + row * (height + gap)))
    return sheet


def _save(pages: list[Image], path: Path, look: Look) -> None:
    suffix = path.suffix.lower()
    if len(pages) == 1:
        options: dict[str, Any] = {"quality": 90} if suffix in (".jpg", ".jpeg") else {}
        pages[0].save(path, **options)
        return
    from PIL import Image

    pause = round(1000 / look.frames_per_second)
    if suffix == ".webp":
        pages[0].save(
            path, save_all=True, append_images=pages[1:], duration=pause, loop=0, quality=85
        )
        return
    palette = _shared_palette(pages)
    indexed = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in pages]
    keep: dict[str, Any] = {"optimize": False, "disposal": 1}
    indexed[0].save(path, save_all=True, append_images=indexed[1:], duration=pause, loop=0, **keep)


def _shared_palette(pages: list[Image]) -> Image:
    """One palette for all frames: colors must not jump from date to date."""
    from PIL import Image

    chosen = pages[:: max(1, len(pages) // 24)]
    small = [page.resize((160, max(1, 160 * page.height // page.width))) for page in chosen]
    strip = Image.new("RGB", (160, sum(page.height for page in small)))
    top = 0
    for page in small:
        strip.paste(page, (0, top))
        top += page.height
    return strip.quantize(colors=255, method=Image.Quantize.MEDIANCUT)
