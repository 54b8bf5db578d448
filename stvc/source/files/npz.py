"""``.npz`` cubes: ``x`` (T, C, H, W), ``bands``, ``dates``, and what is known of place and mask."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc.errors import SourceError
from stvc.grid import GridSpec, spatial_ref_attrs
from stvc.source._lattice import canonical_crs

if TYPE_CHECKING:
    import xarray as xr

_PIXELS = ("x", "pixels", "bands_data", "arr_0")
_DATES = ("dates", "time", "times", "timestamps")
_MASKS = {"scl": "SCL", "SCL": "SCL", "mask": "mask", "clp": "CLP", "CLP": "CLP"}


def open_npz(path: Path, band_names: list[str] | None) -> xr.Dataset:
    """Open a cube.

    Parameters
    ----------
    path : Path
        Arrays: pixels (T, C, H, W) as ``x``; ``bands`` (C,) names; ``dates`` (T,); optionally
        ``scl`` or ``mask`` (T, H, W), and ``meta``, JSON with ``crs`` and either ``transform``
        (six numbers, as rasterio has them) or ``x0, y0, res`` (center of the first pixel).
    band_names : list of str or None
        Names of the bands, where the file has none.

    Returns
    -------
    xarray.Dataset
        Raw values.

    Raises
    ------
    SourceError
        If it is damaged, holds Python objects (which could run code), or lacks pixels or dates.
    """
    import xarray as xr

    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != "meta"}
            meta = json.loads(str(file["meta"])) if "meta" in file.files else {}
    except (OSError, TypeError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    meta = meta if isinstance(meta, dict) else {}
    pixels = next((arrays[name] for name in _PIXELS if name in arrays), None)
    if pixels is None or pixels.ndim != 4 or 0 in pixels.shape:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise SourceError(f"{path} has no pixels x (T, C, H, W); it has {shapes or 'nothing'}")
    count, channels, height, width = pixels.shape
    names = band_names or [str(name) for name in arrays.get("bands", [])]
    if len(names) != channels or len(set(names)) != channels:
        raise SourceError(
            f"{path}: {channels} bands and the names {', '.join(names) or '(none)'}; give them in "
            "order with --band-names B02,B03,B04,B08"
        )
    times = _times(path, arrays, count)
    y, x, crs = _axes(path, meta, height, width)
    coords: dict[str, Any] = {"time": times}
    if crs:
        coords |= {"y": y, "x": x, "spatial_ref": ((), 0, spatial_ref_attrs(crs, ()))}
    dims = ("time", "y", "x")
    variables: dict[str, Any] = {
        name: (dims, pixels[:, channel]) for channel, name in enumerate(names)
    }
    mask = next((name for name in _MASKS if name in arrays), None)
    if mask is not None:
        classes = arrays[mask]
        if classes.shape != (count, height, width):
            raise SourceError(
                f"{path}: {mask} has shape {classes.shape}, its pixels {pixels.shape}"
            )
        name = _MASKS[mask]
        variables[name] = (dims, classes != 0 if name == "mask" else classes)
    return xr.Dataset(variables, coords)


def _times(
    path: Path, arrays: dict[str, npt.NDArray[Any]], count: int
) -> npt.NDArray[np.datetime64]:
    key = next((name for name in _DATES if name in arrays), None)
    if key is None or arrays[key].shape != (count,):
        raise SourceError(f"{path} has no dates for its {count} frames; add an array dates (T,)")
    try:
        return arrays[key].astype("datetime64[ns]")
    except ValueError as error:
        raise SourceError(f"{path}: {key} holds {arrays[key][0]}, which is no date") from error


def _axes(
    path: Path, meta: dict[str, Any], height: int, width: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], str]:
    """Pixel centers and CRS; without both, pixels are counted from 0."""
    from pyproj.exceptions import CRSError

    try:
        crs = canonical_crs(str(meta.get("crs", "")))
        if "transform" in meta:
            a, b, left, d, e, top = (float(number) for number in list(meta["transform"])[:6])
            if b or d or a <= 0 or e != -a:
                raise ValueError(f"transform {meta['transform']}")
        else:
            a = float(meta["res"])
            left, top = float(meta["x0"]) - a / 2, float(meta["y0"]) + a / 2
        grid = GridSpec(crs, left, top, a, height, width)
        return grid.y, grid.x, crs
    except (KeyError, TypeError, ValueError, CRSError):
        # What meta says in words ("about 20 m, resampled") places nothing: no coordinates then.
        return np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64), ""
