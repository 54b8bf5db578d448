"""xarray's ``engine="stvc"``: archives as lazy datasets, decoded unit by unit when touched."""

from __future__ import annotations

from stvc.xarray_backend.counts import DecodeCounts, decode_counts
from stvc.xarray_backend.entrypoint import StvcBackend
from stvc.xarray_backend.session import set_cache_size

__all__ = ["DecodeCounts", "StvcBackend", "decode_counts", "set_cache_size"]
