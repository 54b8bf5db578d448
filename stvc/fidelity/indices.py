"""Errors of vegetation and water indices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvc.fidelity.bands import group_of
from stvc.fidelity.pairing import Pair, PairedGroup
from stvc.pictures.views import common_names

F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_SCALE = 10_000.0


def _normalized(a: F64, b: F64) -> tuple[F64, F64]:
    return a - b, a + b


def _evi(nir: F64, red: F64, blue: F64) -> tuple[F64, F64]:
    return 2.5 * (nir - red), nir + 6 * red - 7.5 * blue + 1


@dataclass(frozen=True)
class Index:
    """A ratio of band sums."""

    name: str
    bands: tuple[str, ...]
    """Common names, in the order of the formula's arguments."""
    parts: Callable[..., tuple[F64, F64]]
    """Reflectances to (numerator, denominator)."""
    formula: str
    above: float = 0.0
    """The original's denominator must exceed this: EVI has poles where it nears 0."""


INDICES = (
    Index("NDVI", ("nir", "red"), _normalized, "(nir - red) / (nir + red)"),
    Index(
        "EVI",
        ("nir", "red", "blue"),
        _evi,
        "2.5 (nir - red) / (nir + 6 red - 7.5 blue + 1)",
        above=0.1,
    ),
    Index("NDWI", ("green", "nir"), _normalized, "(green - nir) / (green + nir), McFeeters 1996"),
    Index("NDMI", ("nir08", "swir16"), _normalized, "(nir - swir) / (nir + swir), Gao 1996"),
)
"""Rouse 1974, Huete 2002, McFeeters 1996, Gao 1996."""


@dataclass(frozen=True)
class IndexErrors:
    """Of one index over clear pixels."""

    name: str
    bands: tuple[str, ...]
    samples: int
    mae: float
    rmse: float
    bias: float
    """Mean of decoded minus original."""
    p95: float
    """95th percentile of the absolute error."""


def index_table(pair: Pair) -> list[IndexErrors]:
    """Measure every index whose bands stand on one grid, on clear pixels."""
    rows = []
    for index in INDICES:
        found = locate(pair, index)
        if found is None:
            continue
        group, bands = found
        misses = []
        for t in range(len(pair.times)):
            before, usable = values(index, group, bands, group.original[t])
            after, _ = values(index, group, bands, group.decoded[t])
            misses.append((after - before)[usable & group.clear[t]])
        miss = np.concatenate(misses)
        if miss.size:
            size = np.abs(miss)
            rows.append(
                IndexErrors(
                    index.name,
                    bands,
                    miss.size,
                    float(size.mean()),
                    float(np.sqrt((miss**2).mean())),
                    float(miss.mean()),
                    float(np.percentile(size, 95)),
                )
            )
    return rows


def locate(pair: Pair, index: Index) -> tuple[PairedGroup, tuple[str, ...]] | None:
    """Find the grid and the bands of an index; 20 m near infrared stands in for 10 m."""
    named = common_names(pair.bands, pair.band_attrs)
    for swap in ({}, {"nir": "nir08"}, {"nir08": "nir"}):
        wanted = [named.get(swap.get(name, name)) for name in index.bands]
        if all(band is not None for band in wanted):
            bands = tuple(band for band in wanted if band is not None)
            group = group_of(pair, bands)
            if group is not None:
                return group, bands
    return None


def values(
    index: Index, group: PairedGroup, bands: tuple[str, ...], frame: npt.NDArray[np.uint16]
) -> tuple[F64, Bool]:
    """Compute an index of one frame.

    Parameters
    ----------
    index : Index
    group : PairedGroup
        Whose bands the frame has.
    bands : tuple of str
        In the order of the index's arguments.
    frame : ndarray, (C, H, W) uint16

    Returns
    -------
    (ndarray (H, W) float64, ndarray (H, W) bool)
        Values, and where they mean something.
    """
    planes = [frame[group.bands.index(band)] / _SCALE for band in bands]
    above, below = index.parts(*planes)
    usable = below > index.above
    safe = np.where(below > 0, below, 1.0)
    # ^ a decoded pixel may fall under the limit where the original does not: it still has a value
    return above / safe, usable
