"""Datasets of a few pixels, as the contract of `stvc.dataset` wants them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

WKT = (
    'ENGCRS["a test bench",EDATUM["its corner"],CS[Cartesian,2],AXIS["(E)",east],'
    'AXIS["(N)",north],LENGTHUNIT["metre",1]]'
)
TIMES = np.array(["2024-05-01", "2024-05-06T10:30:31", "2024-06-01"], dtype="datetime64[ns]")


def small(times: Any = TIMES, **extra: Any) -> xr.Dataset:
    """Two 10 m bands of 4 by 6 pixels, one 20 m band, all dates."""
    count = len(times)
    pixels = np.arange(count * 24, dtype=np.uint16).reshape(count, 4, 6)
    return xr.Dataset(
        {
            "B04": (("time", "y", "x"), pixels),
            "B11": (("time", "y20", "x20"), pixels[:, ::2, ::2]),
            "B08": (("time", "y", "x"), pixels + 1000),
            **extra,
        },
        coords={
            "time": times,
            "y": 5000.0 - 10 * np.arange(4),
            "x": 200.0 + 10 * np.arange(6),
            "y20": 4995.0 - 20 * np.arange(2),
            "x20": 205.0 + 20 * np.arange(3),
        },
    )
