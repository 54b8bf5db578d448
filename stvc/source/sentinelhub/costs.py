"""What frames take before they are asked for: requests, processing units, bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stvc.source.planning import FetchPlan
from stvc.source.sentinelhub.catalog import Overpass
from stvc.source.sentinelhub.download import tiles_of
from stvc.source.sentinelhub.layout import Layout
from stvc.source.sentinelhub.process import Tile, tile_cost


def estimate_frames(layout: Layout, mask: str, frames: int) -> dict[str, float]:
    """Tell what so many frames cost, whichever they are.

    Parameters
    ----------
    layout : Layout
    mask : str
        Its variable: ``SCL`` or ``CLP``.
    frames : int

    Returns
    -------
    dict
        ``requests`` and ``pu``.
    """
    tiles = _tiles(layout, mask)
    return {
        "requests": frames * len(tiles),
        "pu": round(frames * sum(tile_cost(tile) for tile in tiles), 4),
    }


def plan_frames(layout: Layout, mask: str, frames: Sequence[Overpass]) -> FetchPlan:
    """Tell what fetching frames would take; see `stvc.source.planning.plan_fetch`.

    Parameters
    ----------
    layout : Layout
    mask : str
        Its variable: ``SCL`` or ``CLP``.
    frames : sequence of Overpass
    """
    tiles = _tiles(layout, mask)
    finest = layout.groups[0].spec
    a_frame = sum(g.spec.height * g.spec.width * 2 * len(g.bands) for g in layout.groups)
    a_frame += layout.mask.height * layout.mask.width
    return FetchPlan(
        times=np.array([frame.time for frame in frames], dtype="datetime64[s]"),
        height=finest.height,
        width=finest.width,
        gsd=finest.gsd,
        raw_bytes=a_frame * len(frames),
        requests=len(frames) * len(tiles),
        processing_units=sum(tile_cost(tile, frame) for frame in frames for tile in tiles),
    )


def _tiles(layout: Layout, mask: str) -> list[Tile]:
    return [tile for group in layout.groups for _, tile in tiles_of(layout, group, mask)]
