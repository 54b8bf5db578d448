"""Zarr v3 codec ``stvc``: the chunks of a uint16 array are stvc payloads.

``zarr`` finds it by its entry point: whoever has stvc installed reads such a store as any other.
It takes the place of the ``bytes`` codec, so there is nothing left for a compressor to do::

    ds.to_zarr("field.zarr", zarr_format=3,
               encoding={"B04": {"serializer": StvcCodec(quality=60), "compressors": None}})
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from stvc.errors import CorruptInputError, QualityError, StvcError

try:
    from zarr.abc.codec import ArrayBytesCodec
    from zarr.core.common import parse_named_configuration
except ImportError as missing:
    raise StvcError(
        "the Zarr codec needs zarr 3.1 or newer; install it with pip install 'stvc[zarr]'"
    ) from missing

if TYPE_CHECKING:
    from typing import Self

    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer
    from zarr.core.common import JSON

    from stvc.chunk import ChunkSettings

NAME = "stvc"
"""The codec's name in Zarr metadata."""

AXES = ("time", "band", "y", "x")
"""Axes that a chunk may have, in the codec's own order."""

_AXES_OF = {2: ("y", "x"), 3: ("time", "y", "x"), 4: AXES}
_one_at_a_time = threading.Lock()
# ^ The number of torch's threads is set for the whole process while a chunk is coded.


@dataclass(frozen=True)
class StvcCodec(ArrayBytesCodec):
    """Codes the chunks of uint16 arrays: frames in time, bands against bands, blocks in space.

    Parameters
    ----------
    quality : float, optional
        0 (small) to 100 (fine), as `stvc.encode` has it; 40 if nothing else is asked for.
    max_error : int, optional
        Largest error of every pixel, DN.
    lossless : bool
        Keep every pixel.
    axes : sequence of str, optional
        What the array's axes are: ``y`` and ``x``, and ``time`` and ``band`` or one of them, in any
        order. If not given: (y, x), (time, y, x) or (time, band, y, x), by their number. Bands
        along an axis are decorrelated; an array per band is coded band by band.
    gsd : int
        Pixel size in m. Hints such as this decide about size only, never about pixels.
    days : int
        Days from one frame to the next, a hint.
    model : str, optional
        Entropy model for new chunks; this stvc's default if not given. Every chunk names its own.

    Notes
    -----
    0 is nodata: it comes back as 0, and nothing else does. A chunk is coded by itself: the longer
    it is in time, the more its frames profit from each other, and the more is decoded at once.
    """

    is_fixed_size = False

    quality: float | None = None
    max_error: int | None = None
    lossless: bool = False
    axes: tuple[str, ...] | None = None
    gsd: int = 10
    days: int = 5
    model: str | None = None

    def __init__(
        self,
        *,
        quality: float | None = None,
        max_error: int | None = None,
        lossless: bool = False,
        axes: Sequence[str] | None = None,
        gsd: int = 10,
        days: int = 5,
        model: str | None = None,
    ) -> None:
        given = {
            "quality": quality,
            "max_error": max_error,
            "lossless": lossless,
            "axes": None if axes is None else tuple(axes),
            "gsd": gsd,
            "days": days,
            "model": model,
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        """Raise QualityError if the configuration contradicts itself."""
        self._step()
        axes = self.axes
        if axes is not None and (
            len(set(axes)) != len(axes) or not {"y", "x"} <= set(axes) <= set(AXES)
        ):
            raise QualityError(
                f"axes={list(axes)}; name y and x, and time and band or one of them, each once"
            )
        for name, value in (("gsd", self.gsd), ("days", self.days)):
            if type(value) is not int or not 1 <= value <= 100_000:
                raise QualityError(f"{name}={value!r}; choose a whole number from 1 to 100000")

    def _step(self) -> tuple[int, int | None]:
        """Return the step index and the bound."""
        from stvc.quality import quality_settings

        asked = quality_settings(
            self.quality, None, self.max_error, self.lossless, "keep", "recent"
        )
        return asked.step_index, asked.max_error

    def _settings(self) -> ChunkSettings:
        from stvc.chunk import ChunkSettings

        step_index, bound = self._step()
        return ChunkSettings(step_index, bound, self.gsd, self.days, self.model)

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Build the codec from its entry in an array's metadata.

        Parameters
        ----------
        data : dict
            ``{"name": "stvc", "configuration": {...}}``.
        """
        _, configuration = parse_named_configuration(data, NAME, require_configuration=False)
        given: dict[str, Any] = dict(configuration or {})
        unknown = sorted(set(given) - set(cls.__dataclass_fields__))
        if unknown:
            raise QualityError(
                f"codec {NAME}: {', '.join(unknown)} is unknown to this stvc; install a newer one"
            )
        return cls(**given)

    def to_dict(self) -> dict[str, JSON]:
        """Return the codec's entry for an array's metadata."""
        full: dict[str, JSON] = {
            "quality": self.quality,
            "max_error": self.max_error,
            "lossless": self.lossless or None,
            "axes": None if self.axes is None else list(self.axes),
            "gsd": self.gsd,
            "days": self.days,
            "model": self.model,
        }
        return {"name": NAME, "configuration": {k: v for k, v in full.items() if v is not None}}

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Settle what was left open, so that the metadata says all of it."""
        from stvc.model.weights import default_model_id
        from stvc.quality import DEFAULT_QUALITY

        _check_dtype(array_spec.dtype.to_native_dtype())
        evolved = replace(
            self,
            axes=self._axes(len(array_spec.shape)),
            model=self.model or default_model_id(),
        )
        if self.quality is None and self.max_error is None and not self.lossless:
            evolved = replace(evolved, quality=DEFAULT_QUALITY)
        return evolved

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse arrays that the codec cannot hold.

        Raises
        ------
        CorruptInputError
            If the dtype is not uint16, or there are not as many axes as `axes` names.
        """
        _check_dtype(dtype.to_native_dtype())
        self._axes(len(shape))

    def _axes(self, count: int) -> tuple[str, ...]:
        axes = _AXES_OF.get(count) if self.axes is None else self.axes
        if axes is None or len(axes) != count:
            named = f"axes={list(axes)}" if axes else "no axes"
            raise CorruptInputError(
                f"an array of {count} axes with {named}: codec {NAME} takes (y, x), (time, y, x) "
                "and (time, band, y, x); name others with axes="
            )
        return axes

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Refuse: the size depends on the pixels."""
        raise NotImplementedError(f"chunks of codec {NAME} have no fixed size")

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        payload = await asyncio.to_thread(self._encode, chunk_array.as_numpy_array())
        return chunk_spec.prototype.buffer.from_bytes(payload)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        pixels = await asyncio.to_thread(self._decode, chunk_bytes.to_bytes(), chunk_spec.shape)
        dtype = chunk_spec.dtype.to_native_dtype()
        return chunk_spec.prototype.nd_buffer.from_numpy_array(pixels.astype(dtype, copy=False))

    def _encode(self, array: np.ndarray[Any, Any]) -> bytes:
        from stvc.chunk import encode_chunk

        _check_dtype(array.dtype)
        axes = self._axes(array.ndim)
        turned = array.transpose([axes.index(name) for name in AXES if name in axes])
        missing = tuple(k for k, name in enumerate(AXES) if name not in axes)
        frames = np.ascontiguousarray(np.expand_dims(turned, missing), np.uint16)
        with _one_at_a_time:
            return encode_chunk(frames, self._settings())

    def _decode(self, payload: bytes, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        from stvc.chunk import Shape, decode_chunk

        axes = self._axes(len(shape))
        size = dict(zip(axes, shape, strict=True))
        with _one_at_a_time:
            frames = decode_chunk(payload, cast(Shape, tuple(size.get(name, 1) for name in AXES)))
        held = [name for name in AXES if name in axes]
        packed = frames.reshape([size[name] for name in held])
        return np.ascontiguousarray(packed.transpose([held.index(name) for name in axes]))


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.kind != "u" or dtype.itemsize != 2:
        raise CorruptInputError(
            f"codec {NAME} holds uint16 (DN, 0 = nodata), not {dtype}; of reflectance: "
            "encoding={'dtype': 'uint16', 'scale_factor': 1e-4, '_FillValue': 0}"
        )
