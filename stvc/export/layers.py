"""Which variables go into one raster file, and where it lies on earth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.export.stream import MASKS
from stvc.types import F64

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Layer:
    """The variables of one date that go into one file."""

    label: str
    """``10m``, ``SCL``, ..., or a band's name: part of the file's name."""
    names: tuple[str, ...]
    """Variables, in their order in the file."""
    y: F64
    """(H,) pixel centers."""
    x: F64
    """(W,) pixel centers."""
    is_mask: bool

    def transform(self, ds: xr.Dataset) -> tuple[float, float, float, float, float, float]:
        """Give the north-up affine transform, as rasterio and STAC order it."""
        dy, dx = _steps(ds, self.y, self.x)
        top = float(self.y[-1]) if self.flipped(ds) else float(self.y[0])
        dy = -abs(dy)
        return dx, 0.0, float(self.x[0]) - dx / 2, 0.0, dy, top - dy / 2

    def flipped(self, ds: xr.Dataset) -> bool:
        """Whether rows run from south to north: most readers expect the other way.

        Without a CRS the first row is the top one.
        """
        return bool(crs_wkt(ds)) and _steps(ds, self.y, self.x)[0] > 0


def layers_of(ds: xr.Dataset, *, split: bool = False) -> list[Layer]:
    """Sort the variables of one date into files.

    Parameters
    ----------
    ds : xarray.Dataset
    split : bool
        One file per band, else one per native grid; the mask has its own in any case.
    """
    by_dims: dict[tuple[str, str], list[str]] = {}
    masks: list[tuple[str, tuple[str, str]]] = []
    for name, variable in ds.data_vars.items():
        if variable.ndim != 3:
            continue
        plane = (str(variable.dims[1]), str(variable.dims[2]))
        if name in MASKS or variable.dtype == np.bool_:  # `filled` too
            masks.append((str(name), plane))
        else:
            by_dims.setdefault(plane, []).append(str(name))
    metric = _is_metric(ds)
    layers: list[Layer] = []
    for plane, names in by_dims.items():
        y, x = _centers(ds, plane[0]), _centers(ds, plane[1])
        label = f"{abs(_steps(ds, y, x)[1]):g}m" if metric else f"grid{plane[0][1:]}"
        if any(label == other.label for other in layers):
            label += f"_{plane[0]}"
        files = [(name, (name,)) for name in names] if split else [(label, tuple(names))]
        layers += [Layer(label, held, y, x, is_mask=False) for label, held in files]
    for name, plane in masks:
        layers.append(
            Layer(name, (name,), _centers(ds, plane[0]), _centers(ds, plane[1]), is_mask=True)
        )
    return layers


def file_name(stem: str, time: np.datetime64, label: str) -> str:
    """Name the file of a date and a layer."""
    return f"{stem}_{stamp(time)}_{label}.tif"


def stamp(time: np.datetime64) -> str:
    """Write a time for file names: ``20200601``, or ``20200601T093015`` if it is not midnight."""
    text = str(time.astype("datetime64[s]"))
    return text.replace("-", "").replace(":", "").removesuffix("T000000")


def _centers(ds: xr.Dataset, axis: str) -> F64:
    # A dataset without CRS may have no coordinates: pixels count from 0 then.
    return np.asarray(ds[axis].values, dtype=np.float64)


def _steps(ds: xr.Dataset, y: F64, x: F64) -> tuple[float, float]:
    """Return the signed pixel sizes (dy, dx); an axis of one pixel takes the other axis's."""
    dy = float(y[-1] - y[0]) / (len(y) - 1) if len(y) > 1 else 0.0
    dx = float(x[-1] - x[0]) / (len(x) - 1) if len(x) > 1 else 0.0
    if dx == 0 and dy == 0:
        stored = str(_grid_mapping(ds).get("GeoTransform", "")).split()
        dx = abs(float(stored[1])) if len(stored) == 6 else 1.0
    dx = dx or abs(dy)
    return dy or -abs(dx), dx


def _grid_mapping(ds: xr.Dataset) -> dict[str, Any]:
    return dict(ds.coords["spatial_ref"].attrs) if "spatial_ref" in ds.coords else {}


def crs_wkt(ds: xr.Dataset) -> str:
    """Give a dataset's CRS as WKT; empty if it has none."""
    attrs = _grid_mapping(ds)
    return str(attrs.get("crs_wkt") or attrs.get("spatial_ref") or "")


def _is_metric(ds: xr.Dataset) -> bool:
    from pyproj import CRS

    wkt = crs_wkt(ds)
    if not wkt:
        return False
    crs = CRS.from_user_input(wkt)
    return crs.is_projected and crs.axis_info[0].unit_name in ("metre", "meter")
