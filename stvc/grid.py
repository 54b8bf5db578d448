"""North-up pixel grids: centers, edges, snapped windows, and the CRS as xarray carries it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stvc.errors import CorruptInputError
from stvc.types import F64, GroupGrid

_EDGE = 1e-6
# ^ In pixels. An AOI drawn along pixel edges must not grow by a pixel from rounding in PROJ.


class Window(NamedTuple):
    """A rectangle of pixels; ``stop`` is one past the last."""

    row: int
    row_stop: int
    col: int
    col_stop: int

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.row_stop - self.row, self.col_stop - self.col

    def scaled(self, factor: int) -> Window:
        """Return the same ground on a grid whose pixels are `factor` times as large.

        Parameters
        ----------
        factor : int
            Must divide all four edges.

        Returns
        -------
        Window
        """
        if any(edge % factor for edge in self):
            raise ValueError(f"{self} does not lie on every {factor}th pixel edge")
        return Window(*(edge // factor for edge in self))


@dataclass(frozen=True)
class GridSpec:
    """A north-up grid of square pixels."""

    crs: str
    """CRS as WKT or ``EPSG:...``."""
    left: float
    """Outer edge of the first column, in CRS units."""
    top: float
    """Outer edge of the first row."""
    gsd: float
    """Pixel size, positive."""
    height: int
    """Rows."""
    width: int
    """Columns."""

    @classmethod
    def from_centers(cls, crs: str, y: F64, x: F64) -> GridSpec:
        """Build a grid from pixel-center coordinates, as xarray has them.

        Parameters
        ----------
        crs : str
            CRS as WKT or ``EPSG:...``.
        y : ndarray, (H,) float64
            Falling, evenly spaced.
        x : ndarray, (W,) float64
            Rising, evenly spaced as `y` is.

        Returns
        -------
        GridSpec

        Raises
        ------
        CorruptInputError
            If pixels are not square, evenly spaced and north-up, or fewer than two by two.
        """
        if len(y) < 2 or len(x) < 2:
            raise CorruptInputError(
                f"a grid of {len(y)} by {len(x)} pixels does not tell its pixel size; give 2 by 2"
            )
        # Nine digits: centers in the millions of meters do not carry more into their differences.
        gsd = float(f"{float(x[-1] - x[0]) / (len(x) - 1):.9g}")
        spec = cls(crs, float(x[0]) - gsd / 2, float(y[0]) + gsd / 2, gsd, len(y), len(x))
        if gsd <= 0 or max(np.abs(spec.y - y).max(), np.abs(spec.x - x).max()) > 0.01 * gsd:
            raise CorruptInputError(
                f"pixels are not square, evenly spaced and north-up (x starts {x[0]:g}, {x[1]:g}; "
                f"y starts {y[0]:g}, {y[1]:g}); reproject to a regular grid"
            )
        return spec

    @property
    def y(self) -> F64:
        """(H,) pixel-center coordinates."""
        return self.top - self.gsd * (np.arange(self.height, dtype=np.float64) + 0.5)

    @property
    def x(self) -> F64:
        """(W,) pixel-center coordinates."""
        return self.left + self.gsd * (np.arange(self.width, dtype=np.float64) + 0.5)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Outer edges: left, bottom, right, top."""
        return (
            self.left,
            self.top - self.gsd * self.height,
            self.left + self.gsd * self.width,
            self.top,
        )

    def snap(self, bounds: Sequence[float], multiple: int = 1) -> Window | None:
        """Find the smallest window that covers some bounds.

        Parameters
        ----------
        bounds : sequence of float
            Left, bottom, right, top in CRS units.
        multiple : int
            Window edges lie on every `multiple`-th pixel edge, so that coarser grids nest in it.

        Returns
        -------
        Window or None
            Clipped to the grid; None if the bounds miss it.
        """
        left, bottom, right, top = bounds
        block = self.gsd * multiple
        rows = self.height // multiple * multiple
        cols = self.width // multiple * multiple
        window = Window(
            row=max(0, math.floor((self.top - top) / block + _EDGE) * multiple),
            row_stop=min(rows, math.ceil((self.top - bottom) / block - _EDGE) * multiple),
            col=max(0, math.floor((left - self.left) / block + _EDGE) * multiple),
            col_stop=min(cols, math.ceil((right - self.left) / block - _EDGE) * multiple),
        )
        return window if min(window.shape) > 0 else None

    def crop(self, window: Window) -> GridSpec:
        """Cut a window out of the grid.

        Parameters
        ----------
        window : Window
            Inside the grid.

        Returns
        -------
        GridSpec
        """
        height, width = window.shape
        return GridSpec(
            self.crs,
            self.left + self.gsd * window.col,
            self.top - self.gsd * window.row,
            self.gsd,
            height,
            width,
        )

    def nests_in(self, coarse: GridSpec) -> int:
        """Tell how many of this grid's pixels make one pixel of a coarser grid.

        Parameters
        ----------
        coarse : GridSpec
            Grid of the same CRS.

        Returns
        -------
        int
            Whole factor per axis, 0 if the two grids do not share origin, edges and ground.
        """
        factor = round(coarse.gsd / self.gsd)
        slack = 0.01 * self.gsd
        same = (
            factor >= 1
            and abs(coarse.gsd - factor * self.gsd) * max(coarse.height, coarse.width) < slack
            and abs(coarse.left - self.left) < slack
            and abs(coarse.top - self.top) < slack
            and (coarse.height * factor, coarse.width * factor) == (self.height, self.width)
        )
        return factor if same else 0


def is_index(centers: F64) -> bool:
    """Tell whether an axis has no coordinates of its own, but counts pixels from 0.

    Parameters
    ----------
    centers : ndarray, (N,) float64
        Pixel centers.

    Returns
    -------
    bool
    """
    return np.array_equal(centers, np.arange(len(centers)))


def crs_wkt_of(attrs: Mapping[Any, Any]) -> str:
    """Read the CRS from the attributes of a grid mapping variable.

    Parameters
    ----------
    attrs : mapping
        With ``crs_wkt`` or ``spatial_ref`` (WKT or ``EPSG:...``), or CF parameters alone.

    Returns
    -------
    str
        WKT, unchanged where the attributes hold WKT; empty if they hold no CRS.

    Raises
    ------
    CorruptInputError
        If PROJ does not understand it.
    """
    text = attrs.get("crs_wkt") or attrs.get("spatial_ref") or ""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    if not text and "grid_mapping_name" not in attrs:
        return ""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        if not text:
            return str(CRS.from_cf(dict(attrs)).to_wkt())
        crs = CRS.from_user_input(text)
    except (CRSError, KeyError, TypeError, ValueError) as error:
        shown = text[:60] or str(attrs["grid_mapping_name"])
        raise CorruptInputError(
            f"spatial_ref holds {shown!r}, which is no CRS that PROJ understands; "
            "write one with pyproj: CRS(...).to_wkt()"
        ) from error
    return text if "[" in text else str(crs.to_wkt())


def spatial_ref_attrs(crs: str, grids: Sequence[GroupGrid]) -> dict[str, Any]:
    """Make the attributes of a ``spatial_ref`` coordinate, as rioxarray writes them.

    Parameters
    ----------
    crs : str
        CRS as WKT or ``EPSG:...``.
    grids : sequence of GroupGrid
        The dataset's band groups.

    Returns
    -------
    dict
        ``crs_wkt``, ``spatial_ref``, CF parameters, and ``GeoTransform`` if all bands share one
        grid: with several, readers must take each band's from its coordinates.
    """
    attrs: dict[str, Any] = {}
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    # CF parameters are a courtesy to readers without WKT; not every CRS has them.
    with contextlib.suppress(CRSError, KeyError, TypeError, ValueError):
        attrs |= CRS.from_user_input(crs).to_cf()
    attrs |= {"crs_wkt": crs, "spatial_ref": crs}
    if len(grids) == 1 and max(len(grids[0].y), len(grids[0].x)) > 1:
        step_x, step_y = _step(grids[0].x), _step(grids[0].y)
        step_x, step_y = step_x or abs(step_y), step_y or -abs(step_x)
        left, top = float(grids[0].x[0]) - step_x / 2, float(grids[0].y[0]) - step_y / 2
        attrs["GeoTransform"] = f"{left!r} {step_x!r} 0.0 {top!r} 0.0 {step_y!r}"
    return attrs


def _step(centers: F64) -> float:
    """Signed spacing of pixel centers, 0 if there is one only."""
    return float(centers[-1] - centers[0]) / (len(centers) - 1) if len(centers) > 1 else 0.0
