"""The Sentinel-2 bands: names, native resolution, wavelength (the codec takes any band names)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Band:
    """One band of Sentinel-2's MSI."""

    name: str
    """ESA's name with two digits, ``B02``."""
    common_name: str
    """Name in the STAC electro-optical extension, ``blue``."""
    gsd: int
    """Native ground sampling distance in m: 10, 20 or 60."""
    center_wavelength: float
    """In nm, of Sentinel-2A."""


SENTINEL2 = (
    Band("B01", "coastal", 60, 442.7),
    Band("B02", "blue", 10, 492.4),
    Band("B03", "green", 10, 559.8),
    Band("B04", "red", 10, 664.6),
    Band("B05", "rededge071", 20, 704.1),
    Band("B06", "rededge075", 20, 740.5),
    Band("B07", "rededge078", 20, 782.8),
    Band("B08", "nir", 10, 832.8),
    Band("B8A", "nir08", 20, 864.7),
    Band("B09", "nir09", 60, 945.1),
    Band("B10", "cirrus", 60, 1373.5),
    Band("B11", "swir16", 20, 1613.7),
    Band("B12", "swir22", 20, 2202.4),
)
"""All bands, by wavelength, from ESA's table for Sentinel-2A."""

_BY_NAME = {band.name: band for band in SENTINEL2}
_BY_COMMON_NAME = {band.common_name: band for band in SENTINEL2}


def find_band(name: str) -> Band | None:
    """Look a Sentinel-2 band up by any of its names.

    Parameters
    ----------
    name : str
        ``B02``, ``B2``, ``b2`` or ``blue``.

    Returns
    -------
    Band or None
        None if it is not a Sentinel-2 band.
    """
    short = re.fullmatch(r"[Bb](\d{1,2})", name)
    tidy = f"B{int(short[1]):02d}" if short else name.upper()
    return _BY_NAME.get(tidy) or _BY_COMMON_NAME.get(name.lower())


def named_like(common_name: str, names: Sequence[str]) -> str | None:
    """Find the band with a common name among a dataset's band names.

    Parameters
    ----------
    common_name : str
        ``red``, ``nir``, ...
    names : sequence of str
        Band names as the dataset spells them, whatever the sensor.

    Returns
    -------
    str or None
        The name as it stands in `names`.
    """
    for name in names:
        band = find_band(name)
        if band is not None and band.common_name == common_name:
            return name
    return None
