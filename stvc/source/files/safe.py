"""SAFE folders: Sentinel-2 L1C and L2A products as ESA ships them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from stvc.bands import SENTINEL2
from stvc.errors import SourceError
from stvc.grid import GridSpec
from stvc.radiometry import SCALE
from stvc.source._lattice import canonical_crs
from stvc.source._scenes import Layer, Scene
from stvc.source.files.names import moment_in

_MAX_XML = 20_000_000
_BAND_IDS = [b.name for b in SENTINEL2]
# ^ ESA counts bands by wavelength: 0 = B01, 7 = B08, 8 = B8A, 12 = B12.


def is_safe(path: Path) -> bool:
    """Tell whether a folder is a Sentinel-2 product."""
    return path.is_dir() and _product_file(path) is not None


def _product_file(path: Path) -> Path | None:
    found = sorted(path.glob("MTD_MSIL[12][AC].xml")) or sorted(path.glob("S2?_*_MTD_*.xml"))
    return found[0] if found else None


def read_scene(path: Path, dn_offset: int | None) -> Scene:
    """Read what a product's metadata say.

    Parameters
    ----------
    path : Path
        The ``.SAFE`` folder.
    dn_offset : int or None
        DN to add; None = what the metadata say, band by band.

    Returns
    -------
    Scene
        Bands at their native resolution, and SCL (of L2A) at 20 m.

    Raises
    ------
    SourceError
        If metadata or images are missing or damaged.
    """
    listing = _product_file(path)
    if listing is None:
        raise SourceError(f"{path} has no MTD_MSIL1C.xml or MTD_MSIL2A.xml; is it a SAFE folder?")
    product = _xml(listing)
    grids = _grids(path)
    quantification = _number(product, ("BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE"), listing)
    offsets = _offsets(product, listing)
    baseline = _text(product, "PROCESSING_BASELINE", listing)
    start = moment_in(_text(product, "PRODUCT_START_TIME", listing))
    if start is None:
        raise SourceError(f"{listing}: its PRODUCT_START_TIME is no time")
    layers: dict[str, Layer] = {}
    for band in SENTINEL2:
        image = _image(path, band.name, band.gsd)
        if image is not None:
            offset = offsets.get(band.name, 0.0) if dn_offset is None else float(dn_offset)
            scale = SCALE / quantification
            layers[band.name] = Layer(
                str(image), grids[band.gsd], 1, scale, round(offset * scale, 6)
            )
    if not layers:
        raise SourceError(f"{path} holds no band as JPEG 2000 under GRANULE/*/IMG_DATA")
    classes = _image(path, "SCL", 20)
    if classes is not None:
        layers["SCL"] = Layer(str(classes), grids[20], nodata=None)
    name = path.name.removesuffix(".SAFE")
    told = product.findtext(".//PRODUCT_URI") or name
    spacecraft = product.findtext(".//SPACECRAFT_NAME")
    return Scene(
        name=name,
        time=start,
        layers=layers,
        baseline=baseline,
        product_id=told.removesuffix(".SAFE"),
        tags={"platform": spacecraft.lower()} if spacecraft else {},
    )


def _xml(path: Path) -> ET.Element:
    try:
        if path.stat().st_size > _MAX_XML:
            raise SourceError(f"{path} has more than {_MAX_XML} bytes; ESA's have a tenth of that")
        text = path.read_bytes()
        if b"<!ENTITY" in text:  # what blows up parsers; ESA's have none
            raise SourceError(f"{path} declares XML entities, which no product of ESA does")
        root = ET.fromstring(text)
    except (OSError, ET.ParseError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    for element in root.iter():  # names differ by namespace from version to version
        element.tag = str(element.tag).rpartition("}")[2]
    return root


def _text(root: ET.Element, tag: str, path: Path) -> str:
    found = root.findtext(f".//{tag}")
    if not found:
        raise SourceError(f"{path} does not tell {tag}")
    return found.strip()


def _number(root: ET.Element, tags: tuple[str, ...], path: Path) -> float:
    for tag in tags:
        found = root.findtext(f".//{tag}")
        if found:
            try:
                number = float(found)
            except ValueError:
                number = 0.0
            if number > 0:
                return number
            raise SourceError(f"{path}: {tag} is {found!r}, want a positive number")
    raise SourceError(f"{path} does not tell {tags[0]}")


def _offsets(root: ET.Element, path: Path) -> dict[str, float]:
    """DN to add, per band; none before baseline 04.00, whose metadata do not speak of any."""
    found: dict[str, float] = {}
    for tag in ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET"):
        for element in root.iter(tag):
            try:
                found[_BAND_IDS[int(element.get("band_id", ""))]] = float(element.text or "")
            except (ValueError, IndexError):
                raise SourceError(
                    f"{path}: {tag} of band {element.get('band_id')} is {element.text!r}"
                ) from None
    return found


def _grids(path: Path) -> dict[int, GridSpec]:
    """Read the tile's grids from the granule's metadata, which costs no image."""
    granules = sorted(path.glob("GRANULE/*/MTD_TL.xml")) or sorted(path.glob("GRANULE/*/S2*.xml"))
    if len(granules) != 1:
        raise SourceError(
            f"{path} has {len(granules)} granules, want one; products of 2015 and 2016 with "
            "several must be split"
        )
    root = _xml(granules[0])
    crs = canonical_crs(_text(root, "HORIZONTAL_CS_CODE", granules[0]))
    grids: dict[int, GridSpec] = {}
    for size in root.iter("Size"):
        gsd = int(size.get("resolution", "0"))
        corner = root.find(f".//Geoposition[@resolution='{gsd}']")
        if corner is None:
            continue
        try:
            left, top = float(corner.findtext("ULX") or ""), float(corner.findtext("ULY") or "")
            rows, cols = int(size.findtext("NROWS") or ""), int(size.findtext("NCOLS") or "")
            grids[gsd] = GridSpec(crs, left, top, float(gsd), rows, cols)
        except ValueError:
            raise SourceError(f"{granules[0]} does not tell the {gsd} m grid") from None
    missing = {10, 20, 60} - set(grids)
    if missing:
        raise SourceError(f"{granules[0]} does not tell the grids of {sorted(missing)} m")
    return grids


def _image(path: Path, band: str, gsd: int) -> Path | None:
    """Find a band's image: L2A by resolution, L1C in one folder."""
    found = sorted(path.glob(f"GRANULE/*/IMG_DATA/R{gsd}m/*_{band}_{gsd}m.jp2"))
    found = found or sorted(path.glob(f"GRANULE/*/IMG_DATA/*_{band}.jp2"))
    return found[0] if found else None
