"""Value objects that travel through stvc: series of frames in, series of frames out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
F64 = npt.NDArray[np.float64]


class CloudMode(IntEnum):
    """What happens to ground that a cloud, shadow or nodata hides."""

    KEEP = 0
    """Coded like clear ground."""
    COARSE = 1
    """Coded with a coarser quantization step."""
    DROP = 2
    """Not coded: decodes to the prediction (the place without its clouds)."""


@dataclass(frozen=True)
class GroupGrid:
    """The bands that share one native grid."""

    suffix: str
    """Dimension suffix: ``""`` for ``y, x``, ``"20"`` for ``y20, x20``, and so on."""
    bands: tuple[str, ...]
    """Band names, in the order of the channel axis."""
    y: F64
    """(H,) pixel-center coordinates in the CRS (or plain indices if the dataset has none)."""
    x: F64
    """(W,) pixel-center coordinates."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return len(self.bands), len(self.y), len(self.x)

    @property
    def gsd(self) -> float:
        """Ground sampling distance in CRS units; 1 if it cannot be told."""
        return (
            float(abs(self.x[1] - self.x[0]))
            if len(self.x) > 1
            else (float(abs(self.y[1] - self.y[0])) if len(self.y) > 1 else 1.0)
        )


@dataclass(frozen=True)
class MaskGrid:
    """Where the mask classes live and what they mean."""

    kind: str
    """``"SCL"`` (scene classes), ``"mask"`` (true = cloud, shadow, nodata), ``"CLP"`` (cloud
    probability, 0 to 255) or ``"none"``; behind it the rule if it is not the usual one, as
    `stvc.masks.MaskRule` spells it."""
    suffix: str
    """Dimension suffix of the mask variable (ignored for ``"none"``)."""
    y: F64
    """(Hm,) coordinates."""
    x: F64
    """(Wm,) coordinates."""

    @property
    def variable(self) -> str:
        """Name of the mask's variable in a dataset: `kind` without its rule."""
        return self.kind.partition(";")[0]


@dataclass(frozen=True)
class Series:
    """A time series of one place, split into native-resolution band groups."""

    times: npt.NDArray[np.datetime64]
    """(T,) datetime64[s], strictly increasing."""
    grids: tuple[GroupGrid, ...]
    """One per band group."""
    pixels: tuple[U16, ...]
    """Per group: (T, C, H, W) uint16 DN; 0 = nodata."""
    mask: MaskGrid
    """The mask's grid and kind."""
    classes: U8
    """(T, Hm, Wm) mask classes, lossless; for ``kind == "none"`` (T, 0, 0)."""
    crs_wkt: str = ""
    """CRS as WKT2, empty if the dataset has none."""
    attrs: dict[str, Any] = field(default_factory=dict)
    """Dataset attributes (JSON values only)."""
    provenance: tuple[dict[str, Any], ...] = ()
    """Per frame: JSON values such as ``product_id``, ``baseline``; () or T long."""
    band_attrs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Per band: variable attributes (JSON values only)."""
