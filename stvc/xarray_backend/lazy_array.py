"""Arrays that decode what is indexed: they hold where to read, and nothing that was read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

from stvc.xarray_backend.resample import SAME, AxisMap
from stvc.xarray_backend.session import Source, session_of

Read = Callable[[list[int], slice, slice], npt.NDArray[Any]]
Key = tuple[int | slice | npt.NDArray[np.integer[Any]], ...]


@dataclass(frozen=True)
class Layer:
    """What an array shows of an archive."""

    kind: str
    """``"band"``, ``"classes"``, ``"mask"`` (boolean classes) or ``"filled"``."""
    frames: tuple[int, ...]
    """T indices in the file, in the order of the time axis."""
    group: int = 0
    """Band group, of bands and ``filled``."""
    channel: int = 0
    """Position in the group, of bands."""
    fill: bool | None = None
    """What hidden pixels hold; see `TileDecoder.band`."""
    rows: AxisMap = SAME
    """From the array's rows to those of the archive's grid."""
    columns: AxisMap = SAME


class ArchiveArray(BackendArray):
    """A (time, y, x) variable of an archive.

    Parameters
    ----------
    source : Source
    layer : Layer
    shape : (int, int, int)
        (T, H, W) of the array; H and W differ from the archive's grid if the layer resamples.
    native : (int, int)
        (H, W) of the archive's grid.
    """

    def __init__(
        self, source: Source, layer: Layer, shape: tuple[int, int, int], native: tuple[int, int]
    ) -> None:
        self.source = source
        self.layer = layer
        self.shape = shape
        self.native = native
        kinds = {"band": np.uint16, "classes": np.uint8, "mask": np.bool_, "filled": np.bool_}
        self.dtype = np.dtype(kinds[layer.kind])

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._outer
        )

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, self.source.__dask_tokenize__(), self.layer, self.shape

    def _outer(self, key: Key) -> npt.NDArray[Any]:
        """Read an outer selection: per axis an integer, a slice or an array of integers."""
        picked = [
            np.arange(length)[part]
            if isinstance(part, slice)
            else np.atleast_1d(part) % length
            if length
            else np.atleast_1d(part)
            for part, length in zip(key, self.shape, strict=True)
        ]
        scalar = tuple(0 if isinstance(part, (int, np.integer)) else slice(None) for part in key)
        if not all(len(axis) for axis in picked):
            return np.empty([len(axis) for axis in picked], self.dtype)[scalar]
        times, rows, columns = picked
        unique, back = np.unique(times, return_inverse=True)
        frames = [self.layer.frames[int(k)] for k in unique]
        block = self._read(frames, rows, columns)
        return (
            block[back][scalar]
            if len(times) != len(unique) or np.any(back != np.arange(len(back)))
            else block[scalar]
        )

    def _read(
        self, frames: list[int], rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
    ) -> npt.NDArray[Any]:
        layer = self.layer
        span_y = layer.rows.span(rows, self.native[0])
        span_x = layer.columns.span(columns, self.native[1])
        block = self._box(frames, span_y, span_x)
        block = layer.rows.apply(block, rows, span_y, axis=1)
        return layer.columns.apply(block, columns, span_x, axis=2)

    def _box(self, frames: list[int], rows: slice, columns: slice) -> npt.NDArray[Any]:
        decoder = session_of(self.source).decoder
        layer = self.layer
        if layer.kind == "band":
            return decoder.band(layer.group, layer.channel, frames, rows, columns, layer.fill)
        if layer.kind == "filled":
            return decoder.unseen(layer.group, frames, rows, columns)
        classes = decoder.classes(frames)[:, rows, columns]
        return classes if layer.kind == "classes" else classes.astype(np.bool_)
