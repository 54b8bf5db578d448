"""Image and array coders: JPEG 2000, JPEG XL, JPEG-LS, LERC and SZ3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from stvc.metrics import PEAK
from stvc.types import U16


class Coder(Protocol):
    """Codes one band group; knows nothing of masks, spectra or other groups."""

    bits: int
    """Largest code that it takes is ``2**bits - 1``."""

    def encode(self, frames: U16, parameter: float, step: float) -> list[bytes]:
        """Code (T, C, H, W); ``step`` is the DN that one code stands for."""

    def decode(self, payloads: list[bytes], shape: tuple[int, ...]) -> U16:
        """Decode to ``shape`` = (T, C, H, W)."""


@dataclass(frozen=True)
class Pieces:
    """A coder for arrays of two or three axes, applied to the pieces of a band group."""

    axes: str
    """A piece is a ``"plane"`` (H, W), a ``"date"`` (C, H, W) or a ``"band"`` (T, H, W)."""
    encode_piece: Callable[[Any, float, float], bytes]
    """Called with the piece, the parameter and the step."""
    decode_piece: Callable[[bytes, tuple[int, ...]], Any]
    """Called with a payload and the shape of the piece."""
    bits: int = 16
    """See `Coder`."""

    def encode(self, frames: U16, parameter: float, step: float) -> list[bytes]:
        """See `Coder.encode`."""
        return [
            bytes(self.encode_piece(np.ascontiguousarray(piece), parameter, step))
            for piece in self._split(frames)
        ]

    def decode(self, payloads: list[bytes], shape: tuple[int, ...]) -> U16:
        """See `Coder.decode`."""
        frames = np.empty(shape, np.uint16)
        for piece, payload in zip(self._split(frames), payloads, strict=True):
            decoded = np.asarray(self.decode_piece(payload, piece.shape)).reshape(piece.shape)
            piece[...] = np.rint(decoded).clip(0, 65535)
        return frames

    def _split(self, frames: U16) -> list[U16]:
        """Give views of the pieces."""
        if self.axes == "plane":
            return [plane for date in frames for plane in date]
        return list(frames) if self.axes == "date" else list(frames.swapaxes(0, 1))


def jpeg2000(components: bool) -> Coder:
    """OpenJPEG, 9/7 wavelet; the parameter is the PSNR (peak 10000 DN) it is asked for.

    With ``components``, the bands of a date are one image and share its bits; otherwise each
    band is an image.
    """
    import imagecodecs

    planar = True if components else None

    def encode(piece: U16, psnr: float, step: float) -> bytes:
        level = psnr + 20 * np.log10(65535 * step / PEAK)  # OpenJPEG counts from a peak of 65535
        return imagecodecs.jpeg2k_encode(
            piece, level=level, planar=planar, reversible=False, mct=False
        )

    return Pieces(
        "date" if components else "plane",
        encode,
        lambda payload, _: imagecodecs.jpeg2k_decode(payload, planar=planar),
    )


def jpegxl_lossless() -> Coder:
    """Libjxl, effort 5, the bands of a date as one image with extra channels; no parameter."""
    import imagecodecs

    def encode(piece: U16, _parameter: float, _step: float) -> bytes:
        return imagecodecs.jpegxl_encode(
            piece, lossless=True, effort=5, planar=True, photometric="gray"
        )

    return Pieces("date", encode, lambda payload, _: imagecodecs.jpegxl_decode(payload))


@dataclass(frozen=True)
class JpegXl:
    """Libjxl VarDCT, effort 7, each band an image; the parameter is the Butteraugli distance."""

    bits: int = 16
    """See `Coder`."""

    def encode(self, frames: U16, parameter: float, step: float) -> list[bytes]:
        """Stretch to the full range first, which the distance is relative to."""
        import imagecodecs

        gain = np.float32(65535 / max(1, int(frames.max())))
        stretched = np.rint(frames * gain).clip(0, 65535).astype(np.uint16)
        return [
            gain.tobytes(),
            *(
                bytes(
                    imagecodecs.jpegxl_encode(
                        np.ascontiguousarray(plane), distance=parameter, effort=7
                    )
                )
                for date in stretched
                for plane in date
            ),
        ]

    def decode(self, payloads: list[bytes], shape: tuple[int, ...]) -> U16:
        """See `Coder.decode`."""
        import imagecodecs

        gain = np.frombuffer(payloads[0], np.float32)[0]
        planes = np.stack([imagecodecs.jpegxl_decode(payload) for payload in payloads[1:]])
        return np.rint(planes.reshape(shape) / gain).astype(np.uint16)


def jpegxl() -> Coder:
    """See `JpegXl`."""
    import imagecodecs  # noqa: F401 - fails here, not at the first frame, if it is missing

    return JpegXl()


def jpegls() -> Coder:
    """CharLS, each band an image; the parameter is the largest error, 0 = lossless."""
    import imagecodecs

    def encode(piece: U16, bound: float, _step: float) -> bytes:
        return imagecodecs.jpegls_encode(piece, level=int(bound))

    return Pieces("plane", encode, lambda payload, _: imagecodecs.jpegls_decode(payload))


def lerc() -> Coder:
    """LERC + Zstandard, the bands of a date as one raster; the parameter is the largest error."""
    import imagecodecs

    def encode(piece: U16, bound: float, _step: float) -> bytes:
        return imagecodecs.lerc_encode(piece, level=bound, planar=True, compression="zstd")

    return Pieces("date", encode, lambda payload, _: imagecodecs.lerc_decode(payload))


def sz3(axes: str) -> Coder:
    """SZ3 on float32, absolute bound; the parameter is the largest error, 0 = lossless."""
    from pysz import sz, szConfig, szErrorBoundMode

    def encode(piece: U16, bound: float, _step: float) -> bytes:
        config = szConfig(*piece.shape)
        config.errorBoundMode = szErrorBoundMode.ABS
        config.absErrorBound = max(float(bound), 0.49)  # rounded away again: exact
        return sz.compress(piece.astype(np.float32), config)[0].tobytes()

    return Pieces(
        axes,
        encode,
        lambda payload, shape: sz.decompress(np.frombuffer(payload, np.uint8), np.float32, shape)[
            0
        ],
    )
