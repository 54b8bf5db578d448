"""What a STAC item says of a Sentinel-2 product: bands by asset name, baseline, and offset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stvc.bands import SENTINEL2, find_band
from stvc.errors import CorruptInputError, SourceError
from stvc.radiometry import SCALE, offset_of_baseline
from stvc.source._scenes import MASKS

_EARTH_SEARCH = {
    "rededge1": "B05",
    "rededge2": "B06",
    "rededge3": "B07",
    "rededge": "B05",
    "nir08": "B8A",
    "nir09": "B09",
}
_ASSET = re.compile(r"(?P<band>B\d{1,2}A?|SCL|CLP)(?:[_-](?P<gsd>\d{2})m)?", re.IGNORECASE)
_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_BASELINES = ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
_PRODUCTS = ("s2:product_uri", "s2:product_id", "sentinel:product_id", "product:id", "title")
_PRODUCT = re.compile(r"S2[A-D]_MSIL(?:1C|2A)_\d{8}T\d{6}_N\d{4}_R\d{3}_T\w{5}_\d{8}T\d{6}")
_RASTERS = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff")


def read_assets(assets: Mapping[str, str] | str | None) -> dict[str, str] | None:
    """Read an asset map, also as text.

    Parameters
    ----------
    assets : mapping of str to str, str, or None
        ``B04=red,B08=nir``.

    Returns
    -------
    dict of str to str, or None
        Band name to asset key.

    Raises
    ------
    SourceError
        If the text is not of that form.
    """
    if assets is None or not isinstance(assets, str):
        return None if assets is None else dict(assets)
    found = {}
    for part in assets.split(","):
        band, equals, key = part.partition("=")
        if not (band.strip() and equals and key.strip()):
            raise SourceError(f"assets {part!r} is not of the form BAND=KEY, as in B04=red,B08=nir")
        entry = find_band(band.strip())
        found[band.strip() if entry is None else entry.name] = key.strip()
    return found


def band_assets(
    assets: Mapping[str, Mapping[str, Any]], override: Mapping[str, str] | None
) -> dict[str, str]:
    """Find the asset of each band at its native resolution.

    Parameters
    ----------
    assets : mapping of str to mapping
        A STAC item's assets, as JSON.
    override : mapping of str to str, or None
        Band name to asset key; where given, no name is guessed.

    Returns
    -------
    dict of str to str
        Band name, or a name in `MASKS`, to asset key; in order of wavelength, masks last.

    Raises
    ------
    SourceError
        If an asset of `override` is not there.
    """
    if override is not None:
        gone = [key for key in override.values() if key not in assets]
        if gone:
            raise SourceError(
                f"it has no asset {', '.join(gone)}; its assets are {', '.join(assets)}"
            )
        return dict(override)
    found: dict[str, tuple[int, str]] = {}
    for key, asset in assets.items():
        rank = _rank(key, asset)
        if rank is not None:
            name, worth = rank
            if name not in found or worth > found[name][0]:
                found[name] = (worth, key)
    order = [band.name for band in SENTINEL2] + list(MASKS)
    return {name: found[name][1] for name in order if name in found}


def _rank(key: str, asset: Mapping[str, Any]) -> tuple[str, int] | None:
    """Tell an asset's band, and how much it is preferred to others of that band."""
    kind = str(asset.get("type", "")).lower()
    if kind and not kind.startswith(_RASTERS):
        return None
    roles = asset.get("roles") or []
    if {"thumbnail", "overview", "visual"} & set(roles):
        return None
    match = _ASSET.fullmatch(key)
    if match is None:
        bare = key.lower().removesuffix("-jp2")
        if bare in ("scl", "clp"):
            return bare.upper(), int(bare == key.lower())
        band = find_band(_EARTH_SEARCH.get(bare, bare))
        return None if band is None else (band.name, int(bare == key.lower()))
    name = match["band"].upper()
    if name in MASKS:
        return name, 2 - int(match["gsd"] == "60")
    band = find_band(name)
    if band is None:
        return None
    # ESA's 20 m versions of 10 m bands are averages: never what one wants.
    native = match["gsd"] is None or int(match["gsd"]) == band.gsd
    return band.name, 2 if native else -int(match["gsd"])


def product_id(item_id: str, properties: Mapping[str, Any]) -> str:
    """Find the product that an item describes: ESA's id if it is told, else the item's own."""
    for text in (*(str(properties.get(key, "")) for key in _PRODUCTS), item_id):
        match = _PRODUCT.search(text)
        if match is not None:
            return match[0]
    return item_id


def baseline_of(product: str, properties: Mapping[str, Any]) -> str:
    """Find the processing baseline.

    Parameters
    ----------
    product : str
        From `product_id`; what it says goes first, being part of the product's name.
    properties : mapping
        Of the item.

    Returns
    -------
    str
        ``05.09``; empty if it is not told.
    """
    named = re.search(r"_N(\d{2})(\d{2})_", product)
    if named is not None:
        return f"{named[1]}.{named[2]}"
    for key in _BASELINES:
        told = re.fullmatch(r"N?(\d{1,2})\.?(\d{2})", str(properties.get(key, "")).strip())
        if told is not None:
            return f"{int(told[1]):02d}.{told[2]}"
    return ""


def offset_in_pixels(baseline: str, properties: Mapping[str, Any], asset: Mapping[str, Any]) -> int:
    """Tell which offset is to be added to an asset's DN, on the word of its metadata.

    Parameters
    ----------
    baseline : str
        From `baseline_of`.
    properties : mapping
        Of the item.
    asset : mapping
        Of a band, as JSON.

    Returns
    -------
    int
        -1000 or 0. A baseline before 04.00 has none, whatever else is said. From then on it is
        there, unless the catalog says that it took it out.

    Raises
    ------
    SourceError
        If neither baseline nor asset tell.
    """
    declared = _declared_offset(asset)
    if baseline:
        try:
            offset = offset_of_baseline(baseline)
        except CorruptInputError as error:
            raise SourceError(str(error)) from error
        for key in _APPLIED:
            if offset and properties.get(key) is not None:
                return 0 if properties[key] in (True, "true", "True") else offset
        if offset and declared == 0:
            return 0
        return offset
    if declared is not None:
        return declared
    raise SourceError(
        "it tells neither its processing baseline nor an offset; say what is to be added to its DN "
        "with --dn-offset 0 or --dn-offset -1000"
    )


def _declared_offset(asset: Mapping[str, Any]) -> int | None:
    """Read an asset's own offset (raster extension 1 or 2), in DN.

    Tools that describe any GeoTIFF write scale 1 and offset 0, which says nothing of reflectance.
    """
    of_band = asset.get("raster:bands") or asset.get("bands") or [{}]
    first = of_band[0] if isinstance(of_band, list) and of_band else {}
    for holder in (first, asset):
        if not isinstance(holder, Mapping):
            continue
        for prefix in ("", "raster:"):
            scale, offset = holder.get(prefix + "scale"), holder.get(prefix + "offset")
            if isinstance(scale, (int, float)) and abs(scale * SCALE - 1) < 1e-6:
                return round(float(offset or 0) * SCALE)
    return None
