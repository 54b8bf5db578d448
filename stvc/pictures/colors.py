"""Color tables: of values (256 steps) and of mask classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]

_ANCHORS = {
    # bare ground to water's edge in browns, then greens: equal steps of lightness, so that it
    # reads in grey and by people who do not see red and green apart
    "vegetation": (
        (0.00, "#5b4a3f"),
        (0.17, "#a98b68"),
        (0.33, "#e8d9b5"),
        (0.50, "#cfdd8e"),
        (0.67, "#86b85a"),
        (0.83, "#2f8244"),
        (1.00, "#06402c"),
    ),
    "heat": (
        (0.0, "#0b0724"),
        (0.2, "#420a68"),
        (0.4, "#932667"),
        (0.6, "#dd513a"),
        (0.8, "#fca50a"),
        (1.0, "#fcffa4"),
    ),
    "depth": (
        (0.0, "#440154"),
        (0.2, "#414487"),
        (0.4, "#2a788e"),
        (0.6, "#22a884"),
        (0.8, "#7ad151"),
        (1.0, "#fde725"),
    ),
}

SCL_COLORS = (
    "#000000",
    "#d7263d",
    "#3a3f47",
    "#6b4a2f",
    "#3f9b4f",
    "#e2c15a",
    "#2f6fd0",
    "#8c8c8c",
    "#bfc3c9",
    "#f4f5f7",
    "#86d3ea",
    "#e28ee8",
)
"""Of scene classes 0 to 11, near to the colors that ESA's toolbox uses."""

MASK_COLORS = ("#3f9b4f", "#d9dce1")
"""Of a boolean mask: clear, hidden."""


def from_hex(color: str) -> tuple[int, int, int]:
    """Read ``#rrggbb``."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def table(name: str) -> RGB:
    """Return a color table.

    Parameters
    ----------
    name : {"vegetation", "heat", "depth"}

    Returns
    -------
    ndarray, (256, 3) uint8
    """
    anchors = _ANCHORS[name]
    at = np.array([position for position, _ in anchors])
    colors = np.array([from_hex(color) for _, color in anchors], np.float64)
    steps = np.linspace(0, 1, 256)
    return np.stack([np.interp(steps, at, c) for c in colors.T], axis=1).round().astype(np.uint8)


def class_table(variable: str) -> RGB:
    """Return the colors of a mask variable's values.

    Parameters
    ----------
    variable : {"SCL", "mask", "CLP"}
        Scene classes (unknown ones are magenta), hidden or not, cloud probability 0 to 255.

    Returns
    -------
    ndarray, (256, 3) uint8
    """
    if variable == "CLP":
        return table("heat")
    colors = SCL_COLORS if variable == "SCL" else MASK_COLORS
    rest = (255, 0, 255) if variable == "SCL" else from_hex(colors[-1])
    filled = np.full((256, 3), rest, np.uint8)
    filled[: len(colors)] = [from_hex(color) for color in colors]
    return filled


def colorize(values: npt.NDArray[np.floating], low: float, high: float, name: str) -> RGB:
    """Color values between two limits.

    Parameters
    ----------
    values : ndarray, (H, W) float
        NaN comes out mid-grey.
    low, high : float
        Values of the first and of the last color.
    name : str
        See `table`.

    Returns
    -------
    ndarray, (H, W, 3) uint8
    """
    known = np.isfinite(values)
    scaled = (np.where(known, values, low) - low) / max(high - low, 1e-12)
    index = np.clip(np.rint(scaled * 255), 0, 255).astype(np.intp)
    return np.where(known[..., None], table(name)[index], np.uint8(128))
