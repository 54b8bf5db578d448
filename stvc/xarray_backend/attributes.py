"""Attributes of lazy datasets: CF where CF has words, and only values that every writer takes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc import __version__
from stvc.bands import find_band
from stvc.codec.frame_stats import FrameStats, mean_squared_error
from stvc.masks import SCL_MEANINGS, MaskRule
from stvc.radiometry import NODATA, SCALE, reflectance_scale
from stvc.types import MaskGrid

if TYPE_CHECKING:
    from stvc.archive import ArchiveReader
    from stvc.codec.place import Place

QUANTIZATION = "quantization_info"
"""Variable that describes the lossy step, after CF 1.12, section 8.4."""
_PACKING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "valid_range")


def plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Turn attributes into what NetCDF and Zarr both store: strings, numbers, 1-D arrays.

    Parameters
    ----------
    attrs : mapping
        JSON values. None is left out; what has no other form becomes its JSON text.
    """
    found = {str(key): _plain(value) for key, value in attrs.items()}
    return {key: value for key, value in found.items() if value is not None}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 1 << 63 else str(value)
    if isinstance(value, list) and value:
        if all(isinstance(v, str) for v in value) and len(value) > 1:
            return value
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value):
            return np.array(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def band_attrs(band: str, stored: Mapping[str, Any], *, surface: bool) -> dict[str, Any]:
    """Attributes of a band's DN.

    Parameters
    ----------
    band : str
    stored : mapping
        The band's own attributes: they win.
    surface : bool
        Whether this is a surface product (it has scene classes).

    Returns
    -------
    dict
        With ``scale_factor`` where a DN is known to be worth 1e-4 of reflectance, and
        ``_FillValue``.
    """
    attrs: dict[str, Any] = {}
    known = find_band(band)
    if known is not None:
        attrs["long_name"] = f"{known.common_name}, {known.center_wavelength:g} nm"
        attrs["common_name"] = known.common_name
        if surface:
            attrs["standard_name"] = "surface_bidirectional_reflectance"
        attrs["radiation_wavelength"] = known.center_wavelength
        attrs["radiation_wavelength_unit"] = "nm"
    own = plain(stored)
    if not any(name in own for name in ("scale_factor", "add_offset")):
        scale = reflectance_scale(band)
        if scale != 1:
            # xarray unpacks to the type of the scale: float32 holds any DN, at half the memory.
            attrs |= {"units": "1", "scale_factor": np.float32(scale)}
    # DN 0 is nodata to the codec, whatever another file used.
    own = {key: value for key, value in own.items() if key not in _PACKING[2:]}
    return {**attrs, **own, "_FillValue": np.uint16(NODATA)}


def mask_attrs(mask: MaskGrid, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of the mask: what each value means."""
    attrs: dict[str, Any]
    if mask.variable == "SCL":
        attrs = {
            "long_name": "scene classification",
            "standard_name": "quality_flag",
            "flag_values": np.arange(len(SCL_MEANINGS), dtype=np.uint8),
            "flag_meanings": " ".join(SCL_MEANINGS),
        }
    elif mask.variable == "CLP":
        attrs = {"long_name": "cloud probability in 1/255", "units": "1"}
    elif mask.variable == "OCM":
        attrs = {"long_name": "OmniCloudMask classes", "standard_name": "quality_flag"}
    else:
        attrs = {
            "long_name": "cloud, shadow or no data",
            "standard_name": "quality_flag",
            "flag_values": np.array([0, 1], np.int8),
            "flag_meanings": "clear hidden",
        }
    own = plain({**stored, **MaskRule.parse(mask.kind).attrs})
    return {**attrs, **{key: value for key, value in own.items() if key not in _PACKING}}


def axis_attrs(crs: str, axis: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a pixel-center coordinate ("y" or "x"), as rioxarray writes them."""
    attrs: dict[str, Any] = {}
    if crs:
        from pyproj import CRS

        known = CRS.from_user_input(crs)
        if known.is_geographic:
            name, direction = ("latitude", "north") if axis == "y" else ("longitude", "east")
            attrs = {
                "axis": axis.upper(),
                "long_name": name,
                "standard_name": name,
                "units": f"degrees_{direction}",
            }
        else:
            unit = known.axis_info[0].unit_name if known.axis_info else "metre"
            attrs = {
                "axis": axis.upper(),
                "long_name": f"{axis} coordinate of projection",
                "standard_name": f"projection_{axis}_coordinate",
                "units": unit,
            }
    return {**attrs, **plain(stored)}


class Achieved:
    """The error that the index has on record, over some frames' clear pixels.

    Parameters
    ----------
    reader : ArchiveReader
    place : Place
    frames : sequence of int
        Indices in the file.
    """

    def __init__(self, reader: ArchiveReader, place: Place, frames: tuple[int, ...]) -> None:
        self._square = [0.0] * len(place.grids)
        self._count = [0.0] * len(place.grids)
        self._largest = [0] * len(place.grids)
        wanted = set(frames)
        shares = {k: FrameStats.unpack(reader.frames[k].stats).clear_share for k in wanted}
        for key, unit in reader.units.items():
            if key.kind != 0 or key.frame not in wanted or not unit.stats[1]:
                continue
            grid = place.grids[key.group]
            clear = unit.stats[2] or shares[key.frame] * len(grid.y) * len(grid.x)
            self._square[key.group] += mean_squared_error(unit.stats[1]) * clear
            self._count[key.group] += clear
            self._largest[key.group] = max(self._largest[key.group], unit.stats[0])

    def attrs(self, group: int) -> dict[str, Any]:
        """Attributes for the bands of a group; empty if no pixel was clear."""
        if not self._count[group]:
            return {}
        square = self._square[group] / self._count[group]
        attrs: dict[str, Any] = {
            "stvc_max_abs_error": self._largest[group],
            "stvc_rmse": round(math.sqrt(square), 4),
        }
        if square:
            attrs["stvc_psnr"] = round(10 * math.log10(SCALE**2 / square), 3)
        return attrs


def quantization_attrs(reader: ArchiveReader, place: Place) -> dict[str, Any]:
    """Attributes of the `QUANTIZATION` variable: what was lost, how, and where that is said."""
    settings = place.settings
    return {
        "algorithm": "stvc",
        "implementation": f"stvc version {__version__} (decoder)",
        "stvc_format_version": str(reader.header["format"]),
        "stvc_model": str(reader.header["model"]),
        "stvc_settings": json.dumps(settings.to_header()),
        "stvc_error_unit": "DN: the packed value; times scale_factor it is in the variable's units",
        "stvc_error_scope": "measured by the encoder over clear pixels, all bands of one resolution"
        " together",
        "comment": "lossless: every decoded value is the original"
        if settings.lossless
        else "lossy: stvc_max_abs_error, stvc_rmse and stvc_psnr (peak 10000 DN) on each band",
    }
