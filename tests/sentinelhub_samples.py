"""Fixtures and oracles that the tests of the source sentinelhub share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from servers.sentinelhub_answers import mosaic
from servers.sentinelhub_scenes import Scene
from servers.sentinelhub_server import SentinelHubServer

from stvc.source.sentinelhub import SentinelHubSource

FAST: dict[str, Any] = {"retry_wait_s": 0.01, "timeout_s": 60.0}
"""Options that keep waits short; the time-out is generous, machines are busy."""


def connect(
    server: SentinelHubServer, patch: pytest.MonkeyPatch, **options: Any
) -> SentinelHubSource:
    """A source that asks the server."""
    for name, value in server.environment().items():
        patch.setenv(name, value)
    patch.delenv("SH_PROFILE", raising=False)
    return SentinelHubSource(**{**FAST, **options})


def truth(
    ds: xr.Dataset, band: str, scenes: Sequence[Scene], epsg: int = 32631, *, harmonize: bool = True
) -> npt.NDArray[Any]:
    """What a band of one frame of a dataset must hold: (H, W), first scene first, 0 = nodata."""
    dims = ds[band].dims
    layers = mosaic(
        scenes, [band], ds[dims[2]].values, ds[dims[1]].values, epsg, harmonize=harmonize
    )
    imaged, values = layers["dataMask"], layers[band]
    if band.startswith("B"):
        values = np.maximum(values, 1)
    return np.where(imaged, values, 0)
