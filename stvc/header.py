"""What an archive's header says, and the place that it opens to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc import threads
from stvc.archive import ArchiveReader, Kind, UnitKey
from stvc.background.composite import decode_background
from stvc.codec.place import Place, Settings, axis_from_header, axis_to_header
from stvc.codec.spectral import Klt
from stvc.errors import CorruptError, VersionError
from stvc.model.weights import load_model
from stvc.types import GroupGrid, MaskGrid, Series

if TYPE_CHECKING:
    from stvc.model.weights import EntropyModel

FORMAT_VERSION = 1
"""Version of the bit stream; see CHANGELOG, *Bitstream*."""
MAX_PIXELS = 1 << 31
"""Most samples of one frame that a header may declare."""

U16 = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class OpenPlace:
    """An archive's place, ready to decode."""

    place: Place
    backgrounds: tuple[U16, ...] | None
    model: EntropyModel
    crs: str
    attrs: dict[str, Any]
    band_attrs: dict[str, dict[str, Any]]


def place_key(series: Series) -> str:
    """Name of a place for the background cache: sha256 over CRS, grids and bands."""
    parts = [
        series.crs_wkt,
        [[list(g.bands), g.suffix, axis_to_header(g.y), axis_to_header(g.x)] for g in series.grids],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def header_of(series: Series, place: Place, model_id: str, blob: bytes | None) -> dict[str, Any]:
    """JSON header of a new archive."""
    header: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "model": model_id,
        "crs": _short_crs(series.crs_wkt),
        "grids": [
            {
                "suffix": g.suffix,
                "bands": list(g.bands),
                "y": axis_to_header(g.y),
                "x": axis_to_header(g.x),
            }
            for g in place.grids
        ],
        "mask": {
            "kind": place.mask.kind,
            "suffix": place.mask.suffix,
            "y": axis_to_header(place.mask.y),
            "x": axis_to_header(place.mask.x),
        },
        "settings": place.settings.to_header(),
        "attrs": series.attrs,
        "band_attrs": series.band_attrs,
    }
    if blob is None:
        header["klts"] = [k.to_header() for k in place.klts]
    else:
        header["background"] = hashlib.sha256(blob).hexdigest()
    return header


def open_place(reader: ArchiveReader, *, with_background: bool = True) -> OpenPlace:
    """Read an archive's header, model and background.

    Raises
    ------
    CorruptError, VersionError, ModelError
    """
    header = reader.header
    if header.get("format") != FORMAT_VERSION:
        raise VersionError(
            f"{reader.name}: bit stream version {header.get('format')!r}, this stvc reads "
            f"{FORMAT_VERSION}; install a newer stvc"
        )
    try:
        grids = tuple(
            GroupGrid(
                str(g["suffix"]),
                tuple(map(str, g["bands"])),
                axis_from_header(g["y"]),
                axis_from_header(g["x"]),
            )
            for g in header["grids"]
        )
        m = header["mask"]
        mask = MaskGrid(
            str(m["kind"]), str(m["suffix"]), axis_from_header(m["y"]), axis_from_header(m["x"])
        )
        klts = tuple(Klt.from_header(k) for k in header.get("klts", ()))
        settings = Settings.from_header(header["settings"])
        model_id = str(header["model"])
        crs, attrs, band_attrs = (
            str(header["crs"]),
            dict(header["attrs"]),
            dict(header["band_attrs"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptError(
            f"{reader.name}: its header is unusable ({error!r}); copy or encode it again"
        ) from None
    if sum(int(np.prod(g.shape, dtype=object)) for g in grids) > MAX_PIXELS:
        raise CorruptError(
            f"{reader.name}: its header declares more than {MAX_PIXELS} samples per frame"
        )
    model = load_model(model_id)
    backgrounds = None
    if "background" in header:
        if with_background:
            key = UnitKey(Kind.BACKGROUND, 0, 0, 0)
            blob = reader.read(key)
            if hashlib.sha256(blob).hexdigest() != header["background"]:
                raise CorruptError(
                    f"{reader.describe(key)}: it is not the background that the header names"
                )
            with threads.fitting(grids):
                background = decode_background(blob, grids, model)
            klts, backgrounds = background.klts, background.pixels
    elif len(klts) != len(grids) or any(
        len(k.mean) != len(g.bands) for k, g in zip(klts, grids, strict=True)
    ):
        raise CorruptError(
            f"{reader.name}: its header lacks spectral transforms; copy or encode it again"
        )
    return OpenPlace(
        Place(grids, mask, klts, settings), backgrounds, model, long_crs(crs), attrs, band_attrs
    )


def _short_crs(wkt: str) -> str:
    """``EPSG:code`` if that means the same CRS, else the WKT itself."""
    if not wkt:
        return ""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        crs = CRS.from_wkt(wkt)
        code = crs.to_authority(min_confidence=100)
        if code is not None and CRS.from_authority(*code) == crs:
            return ":".join(code)
    except CRSError:
        pass
    return wkt


def long_crs(text: str) -> str:
    """WKT of what `_short_crs` left."""
    if not text or "[" in text:
        return text
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return str(CRS.from_user_input(text).to_wkt())
    except CRSError:
        raise CorruptError(
            f"archive header: CRS {text!r} is unknown; copy or encode it again"
        ) from None


def samples_of(grids: tuple[GroupGrid, ...]) -> int:
    """Samples of one frame over all groups."""
    return sum(int(np.prod(g.shape)) for g in grids)
