"""Zarr v3: a folder with one array per band, readable by xarray with or without stvc."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.export.cf import pixel_attributes, skeleton, time_encoding
from stvc.export.rules import ask_for_extra, replacing_folder
from stvc.export.stream import FrameStream, Pixels, Progress, chunks_of, runs

if TYPE_CHECKING:
    import xarray as xr

_MARK = "zarr.json"


def stream_zarr(
    stream: FrameStream, path: Path, *, physical: bool = True, progress: Progress | None = None
) -> Path:
    """Write frames as one Zarr v3 store, a few dates at a time.

    Parameters
    ----------
    stream : FrameStream
    path : Path
        A folder; replaced when whole if it is a Zarr store, refused if it is anything else.
    physical : bool
        Give bands the ``scale_factor`` and ``_FillValue`` with which readers see reflectance.
    progress : callable, optional
        Called with (done, total, what).

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    StvcError
        If zarr is not installed.
    CorruptInputError
        If `path` is there and is no Zarr store.
    """
    try:
        import zarr
    except ImportError as missing:
        ask_for_extra("Zarr", missing, "zarr")
    group: Any = None
    with replacing_folder(path, _MARK) as scratch, warnings.catch_warnings():
        # Consolidated metadata is not in the specification yet; a reader that does not know it
        # finds the metadata array by array.
        warnings.filterwarnings("ignore", category=_zarr_warning())
        for where, frame, block in runs(stream, progress):
            if group is None:
                _write_around(skeleton(stream, frame), scratch)
                group = zarr.open_group(scratch, mode="r+", zarr_format=3)
                for name, pixels in block.items():
                    _define(group, name, frame, pixels, stream.count, physical=physical)
            for name, pixels in block.items():
                group[name][where] = pixels
        # One request instead of one per array: a map client opens the store over the network.
        zarr.consolidate_metadata(scratch, zarr_format=3)
    return path


def _write_around(ds: xr.Dataset, path: Path) -> None:
    """Write everything but the pixels."""
    encoding = {"time": time_encoding(ds)}
    for name, variable in ds.variables.items():
        if variable.dtype.kind == "U":
            ds[name] = variable.astype(object)  # strings of any length: other readers know them
    ds.to_zarr(path, mode="w-", zarr_format=3, consolidated=False, encoding=encoding)


def _define(
    group: Any, name: str, frame: xr.Dataset, pixels: Pixels, dates: int, *, physical: bool
) -> None:
    """Make an empty array (time, y, x)."""
    from zarr.codecs import BloscCodec

    attrs = {
        key: item.tolist() if isinstance(item, (np.ndarray, np.generic)) else item
        for key, item in pixel_attributes(name, frame, physical=physical).items()
    }
    group.create_array(
        name,
        shape=(dates, *pixels.shape[1:]),
        dtype=pixels.dtype,
        chunks=chunks_of(dates, pixels.shape[1:], pixels.dtype.itemsize),
        compressors=BloscCodec(
            cname="zstd", clevel=5, shuffle="shuffle", typesize=pixels.dtype.itemsize
        ),
        dimension_names=[str(dim) for dim in frame[name].dims],
        attributes=attrs,
    )


def _zarr_warning() -> type[Warning]:
    from zarr.errors import ZarrUserWarning

    return ZarrUserWarning
