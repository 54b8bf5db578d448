"""From archives to files that other tools read: COG, GeoTIFF, NetCDF and Zarr, date by date."""

from __future__ import annotations

from stvc.export.netcdf import stream_netcdf, write_netcdf
from stvc.export.rasters import RasterForm, stream_rasters, write_geotiffs
from stvc.export.stream import FrameStream, frames_between
from stvc.export.zarr_store import stream_zarr

__all__ = [
    "FrameStream",
    "RasterForm",
    "frames_between",
    "stream_netcdf",
    "stream_rasters",
    "stream_zarr",
    "write_geotiffs",
    "write_netcdf",
]
