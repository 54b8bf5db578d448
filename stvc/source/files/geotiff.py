"""GeoTIFFs: one per date, or per date and band, or per date and native grid."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.bands import find_band
from stvc.errors import SourceError
from stvc.radiometry import SCALE, offset_of_baseline
from stvc.source._rasters import grid_of, opened
from stvc.source._scenes import MASKS, Layer, Scene
from stvc.source.files.names import band_in, moment_in, tidy_band

if TYPE_CHECKING:
    import rasterio

EXTRA = "files"
"""The optional part of stvc that brings rasterio along."""

_STAMP = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)(?:[ T](\d\d:\d\d:\d\d))?")
_OWN = re.compile(r"stvc_|TIFFTAG_|AREA_OR_POINT|STATISTICS_|LAYER_TYPE|COMPRESSION|INTERLEAVE")
_BASELINE_TAGS = ("baseline", "processing_baseline", "PROCESSING_BASELINE")


def read_scene(
    path: Path,
    *,
    band_names: Sequence[str] | None,
    dn_offset: int | None,
    dates_from: str,
) -> Scene:
    """Read what one file says of itself.

    Parameters
    ----------
    path : Path
        A GeoTIFF, or anything else that GDAL reads as a raster.
    band_names : sequence of str or None
        Names of its bands in order; None = from the file.
    dn_offset : int or None
        DN to add; None = from the file.
    dates_from : {"auto", "tag", "name"}
        Where the date comes from.

    Returns
    -------
    Scene

    Raises
    ------
    SourceError
        If its date, a band, or its grid cannot be told.
    """
    with opened(str(path), EXTRA) as raster:
        tags = raster.tags()
        grid = grid_of(raster)
        names = _bands(path, raster, band_names)
        baseline = _baseline(path, tags)
        offset = dn_offset if dn_offset is not None else _offset_by_baseline(raster, tags, baseline)
        layers = {
            name: _layer(path, raster, index, name, grid, dn_offset)
            for index, name in enumerate(names, 1)
        }
    own = tags.get("TIFFTAG_SOFTWARE", "").startswith("stvc")
    return Scene(
        name=path.name,
        time=_moment(path, tags, dates_from),
        layers=layers,
        baseline="" if own else baseline,
        product_id="" if own else str(tags.get("product_id", "")),
        claimed_offset=offset,
        tags=_columns(tags) if own else {},
    )


def _moment(path: Path, tags: Mapping[str, str], dates_from: str) -> np.datetime64:
    stamp = _STAMP.match(tags.get("TIFFTAG_DATETIME", "").strip())
    of_tag = None
    if stamp is not None and stamp[1] != "0000":
        of_tag = np.datetime64(f"{stamp[1]}-{stamp[2]}-{stamp[3]}T{stamp[4] or '00:00:00'}", "s")
    of_name = moment_in(path.stem)
    if dates_from == "name":
        of_tag = None
    elif dates_from == "tag":
        of_name = None
    if of_tag is not None and of_name is not None:
        if of_tag.astype("datetime64[D]") != of_name.astype("datetime64[D]"):
            raise SourceError(
                f"{path}: its tag TIFFTAG_DATETIME says {of_tag}, its name {of_name}; say which "
                "is the date of the image with --dates-from name or --dates-from tag"
            )
        midnight = of_name == of_name.astype("datetime64[D]")
        return of_tag if midnight else of_name
    found = of_tag if of_tag is not None else of_name
    if found is None:
        where = {"tag": "tag TIFFTAG_DATETIME", "name": "name"}.get(dates_from, "tags nor its name")
        raise SourceError(
            f"{path}: neither its {where} tell the date"
            if dates_from == "auto"
            else f"{path}: its {where} does not tell the date"
        )
    return found


def _bands(
    path: Path, raster: rasterio.DatasetReader, band_names: Sequence[str] | None
) -> list[str]:
    count = raster.count
    told = [tidy_band(name) if name else None for name in raster.descriptions]
    if all(told) and len(set(told)) == count:
        return [str(name) for name in told]
    if band_names is not None and len(band_names) == count:
        return [tidy_band(name) for name in band_names]
    named = band_in(path.stem)
    if count == 1 and named is not None:
        return [named]
    wrong = f" ({len(band_names)} names are given)" if band_names is not None else ""
    raise SourceError(
        f"{path}: its {count} band{'' if count == 1 else 's'} carry no names{wrong}; give them in "
        "order with --band-names B02,B03,B04,B08"
    )


def _baseline(path: Path, tags: Mapping[str, str]) -> str:
    for key in _BASELINE_TAGS:
        told = re.fullmatch(r"N?(\d{1,2})\.?(\d{2})", tags.get(key, "").strip())
        if told is not None:
            return f"{int(told[1]):02d}.{told[2]}"
    named = re.search(r"_N(\d{2})(\d{2})_", path.name)
    return f"{named[1]}.{named[2]}" if named else ""


def _offset_by_baseline(
    raster: rasterio.DatasetReader, tags: Mapping[str, str], baseline: str
) -> int:
    """Tell the offset that a product's baseline implies, if nothing else in the file tells one."""
    settled = any(raster.offsets) or any(scale != 1 for scale in raster.scales)
    if not baseline or settled or {"harmonized", "offset_dn"} & set(tags):
        return 0
    return offset_of_baseline(baseline)


def _layer(
    path: Path,
    raster: rasterio.DatasetReader,
    index: int,
    name: str,
    grid: Any,
    dn_offset: int | None,
) -> Layer:
    scale, offset = raster.scales[index - 1], raster.offsets[index - 1]
    kind, nodata = np.dtype(raster.dtypes[index - 1]).kind, raster.nodatavals[index - 1]
    if nodata is None and kind in "iu":
        nodata = 0.0
    if name in MASKS:
        return Layer(str(path), grid, index, nodata=None)
    if find_band(name) is None:
        return Layer(
            str(path), grid, index, nodata=nodata
        )  # the unit of its DN is not ours to know
    if scale == 1 and offset == 0:
        factor = SCALE if kind == "f" else 1
        return Layer(str(path), grid, index, float(factor), 0.0, nodata)
    # What the file says is reflectance = scale * value + offset.
    shift = round(offset * SCALE, 6) if dn_offset is None else 0.0
    return Layer(str(path), grid, index, round(scale * SCALE, 9), shift, nodata)


def _columns(tags: Mapping[str, str]) -> dict[str, Any]:
    """Give back what stvc's own export wrote per date."""
    return {k: _value(text) for k, text in tags.items() if not _OWN.match(k) and text != "None"}


def _value(text: str) -> Any:
    """Undo ``str`` on a number or a truth value; other text stays text."""
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            if str(kind(text)) == text:
                return kind(text)
        except ValueError:
            continue
    return text
