"""Spectral indices of datasets, and how far the codec's error can move NDVI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.bands import find_band, named_like
from stvc.errors import CorruptInputError, StvcError
from stvc.radiometry import SCALE

if TYPE_CHECKING:
    import xarray as xr

Bands = Mapping[str, "xr.DataArray"]

_RED, _NIR, _GREEN, _BLUE = "red", "nir", "green", "blue"
_STAND_IN = {"nir": "nir08"}
# ^ common name to the one that serves where it is missing: B8A for B08


def _ndvi(b: Bands) -> xr.DataArray:
    return _ratio(b[_NIR], b[_RED])


def _ndwi(b: Bands) -> xr.DataArray:
    return _ratio(b[_GREEN], b[_NIR])


def _evi(b: Bands) -> xr.DataArray:
    bottom = b[_NIR] + 6 * b[_RED] - 7.5 * b[_BLUE] + 1
    return (2.5 * (b[_NIR] - b[_RED]) / bottom).where(bottom > 0.05)
    # ^ bright water and clouds bring the denominator near 0, where the index means nothing


OWN: dict[str, tuple[tuple[str, ...], Callable[[Bands], xr.DataArray], str]] = {
    "NDVI": ((_NIR, _RED), _ndvi, "normalized difference vegetation index"),
    "NDWI": ((_GREEN, _NIR), _ndwi, "normalized difference water index (McFeeters)"),
    "EVI": ((_NIR, _RED, _BLUE), _evi, "enhanced vegetation index"),
}
"""Indices that need no other package: bands, formula on reflectance, long name."""

_SPYNDEX = {
    "A": "coastal", "B": "blue", "G": "green", "R": "red", "RE1": "rededge071",
    "RE2": "rededge075", "RE3": "rededge078", "N": "nir", "N2": "nir08", "WV": "nir09",
    "S1": "swir16", "S2": "swir22",
}  # fmt: skip


def spectral_index(ds: xr.Dataset, name: str, **constants: float) -> xr.DataArray:
    """Compute a spectral index of a dataset, lazily if the dataset is lazy.

    Parameters
    ----------
    ds : xarray.Dataset
        Reflectance (NaN = nodata), or DN (uint16, 0 = nodata): these are scaled first. All bands
        of an index must share their dims; open with ``resolution=10`` to combine grids.
    name : str
        ``NDVI``, ``NDWI``, ``EVI``, or any name that spyndex knows.
    **constants
        For spyndex: ``L=0.5`` and the like; its defaults otherwise.

    Returns
    -------
    xarray.DataArray, float32
        NaN where a band has nodata or the formula has no value.

    Raises
    ------
    CorruptInputError
        If a band is missing, bands lie on different grids, or there is no such index.
    StvcError
        If the index needs spyndex and that is not installed.
    """
    own = OWN.get(name.upper())
    if own is not None and not constants:
        needed, formula, long_name = own
        index = formula(bands_of(ds, name.upper(), needed))
        return _named(index, name.upper(), long_name)
    return _by_spyndex(ds, name, constants)


def bands_of(ds: xr.Dataset, index: str, common_names: tuple[str, ...]) -> dict[str, xr.DataArray]:
    """Find bands by common name and bring them to reflectance.

    Raises
    ------
    CorruptInputError
        If one is missing, or they do not share a grid.
    """
    held = [str(name) for name, v in ds.data_vars.items() if v.dtype.kind in "uif"]
    found: dict[str, xr.DataArray] = {}
    for common in common_names:
        name = named_like(common, held) or named_like(_STAND_IN.get(common, common), held)
        if name is None:
            raise CorruptInputError(
                f"{index} needs the bands {', '.join(common_names)}; no {common} among "
                f"{', '.join(held) or 'no variables'}"
            )
        found[common] = reflectance(ds[name])
    dims = {common: band.dims for common, band in found.items()}
    if len(set(dims.values())) > 1:
        raise CorruptInputError(
            f"{index}: its bands lie on different grids ({dims}); open the archive with "
            'resolution=10, or another of its pixel sizes: xr.open_dataset(path, engine="stvc", '
            "resolution=10)"
        )
    return found


def reflectance(band: xr.DataArray) -> xr.DataArray:
    """Bring a band to float32 reflectance: DN are scaled, 0 becomes NaN; floats stay."""
    if band.dtype.kind == "f":
        return band
    scale = float(band.attrs.get("scale_factor", 1 / SCALE))
    offset = float(band.attrs.get("add_offset", 0.0))
    return band.where(band != 0).astype(np.float32) * np.float32(scale) + np.float32(offset)


def _ratio(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
    total = a + b
    return (a - b) / total.where(total > 0)


def _named(index: xr.DataArray, name: str, long_name: str) -> xr.DataArray:
    index = index.astype(np.float32).rename(name.lower())
    index.attrs = {"long_name": long_name, "units": "1"}
    index.encoding = {}
    return index


def _by_spyndex(ds: xr.Dataset, name: str, constants: Mapping[str, float]) -> xr.DataArray:
    try:
        import spyndex
    except ImportError as error:
        raise StvcError(
            f"index {name}: stvc itself knows {', '.join(OWN)}; all others need spyndex: "
            "pip install 'stvc[indices]'"
        ) from error
    known: Any = spyndex.indices
    match = next((key for key in known if key.lower() == name.lower()), None)
    if match is None:
        raise CorruptInputError(
            f"there is no index {name!r}; see https://github.com/awesome-spectral-indices"
        )
    entry = known[match]
    common = {symbol: _SPYNDEX[symbol] for symbol in entry.bands if symbol in _SPYNDEX}
    rest = [symbol for symbol in entry.bands if symbol not in _SPYNDEX]
    values: dict[str, Any] = {}
    for symbol in rest:
        default = spyndex.constants[symbol].default if symbol in spyndex.constants else None
        value = constants.get(symbol, default)
        if value is None:
            raise CorruptInputError(f"index {match} needs {symbol}, which is no Sentinel-2 band")
        values[symbol] = value
    bands = bands_of(ds, match, tuple(dict.fromkeys(common.values())))
    values |= {symbol: bands[color] for symbol, color in common.items()}
    index = spyndex.computeIndex(index=[match], params=values)
    return _named(index.where(np.isfinite(index)), match, str(entry.long_name))


def ndvi_error(nir: xr.DataArray, red: xr.DataArray, rmse: xr.DataArray) -> xr.DataArray:
    """Propagate the bands' error to NDVI, to first order.

    Parameters
    ----------
    nir, red : DataArray
        Reflectance n and r.
    rmse : DataArray
        Error s of both bands, one standard deviation, reflectance; broadcast over time.

    Returns
    -------
    DataArray, float32
        ``2 s sqrt(n**2 + r**2) / (n + r)**2``: errors of the two bands taken as independent and of
        the same size.
    """
    total = (nir + red).where(nir + red > 0)
    return (2 * rmse * np.hypot(nir, red) / total**2).astype(np.float32)


def ndvi_bound(nir: xr.DataArray, red: xr.DataArray, largest: xr.DataArray) -> xr.DataArray:
    """Largest distance to the original's NDVI if no band is off by more than ``largest``.

    NDVI rises with near infrared and falls with red, so the two far corners tell.

    Returns
    -------
    DataArray, float32
        Up to 2, which says that nothing is known.
    """
    now = _ratio(nir, red)
    low_nir, low_red = (nir - largest).clip(min=0), (red - largest).clip(min=0)
    up = _ratio(nir + largest, low_red) - now
    down = now - _ratio(low_nir, red + largest)
    wider: xr.DataArray = up.where(up > down, down).where(largest != 0, 0.0)  # exact is exact
    return wider.where(np.isfinite(now)).astype(np.float32)


def band_of(ds: xr.Dataset, common_name: str) -> str | None:
    """Name of the variable with a common name, the usual stand-in included."""
    held = [str(name) for name in ds.data_vars if find_band(str(name)) is not None]
    return named_like(common_name, held) or named_like(_STAND_IN.get(common_name, ""), held)
