"""All codecs by name: stvc, and the peers as pipelines of filling, spectral KLT and coder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench_peers import images, prepare, spectral, videos
from bench_peers.cubes import Cube
from bench_peers.learned import learned
from bench_peers.protocol import Codec, Encoded
from bench_peers.stvc_codec import stvc_codec
from stvc.types import U16


@dataclass(frozen=True)
class Peer:
    """A plain coder behind what a careful user would do first."""

    coder: images.Coder
    mode: str
    ladder: tuple[float, ...]
    bounded: bool = False
    klt: bool = False
    """Decorrelate the bands by a KLT of the clear pixels."""
    fill: Callable[[Any, Any], U16] | None = None
    """Replaces hidden pixels."""

    def encode(self, cube: Cube, parameter: float) -> Encoded:
        """See `Codec.encode`."""
        groups = list(cube.series.pixels)
        if self.fill is not None:
            groups = [
                self.fill(group, hidden) for group, hidden in zip(groups, cube.hidden, strict=True)
            ]
        transform = None
        if self.klt:
            transform, groups = spectral.forward(groups, cube, self.coder.bits)
        step = float(transform.step) if transform else 1.0
        return Encoded(
            tuple(self.coder.encode(group, parameter, step) for group in groups),
            tuple(group.shape for group in groups),
            transform,
        )

    def decode(self, encoded: Encoded) -> tuple[U16, ...]:
        """See `Codec.decode`."""
        groups = tuple(
            self.coder.decode(payloads, shape)
            for payloads, shape in zip(encoded.payloads, encoded.shapes, strict=True)
        )
        return encoded.transform.inverse(groups) if encoded.transform else groups


_PSNR = (63, 60, 57, 54, 51, 48, 45, 42, 39, 36, 33)
_BOUND = (2, 4, 8, 14, 24, 40, 65, 100, 150, 220, 320)
_DISTANCE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
_QP_INTER = (0, 4, 8, 13, 18, 24, 30)  # below 0, x265 crashes on inter frames
_QP_INTRA = (-8, -4, 0, 4, 8, 13, 18, 24, 30, 36)
_QP_VVC = (0, 3, 6, 10, 14, 19, 25)
_CRF = (1, 2, 4, 8, 14, 22, 32, 44)


def _image(coder: images.Coder, ladder: tuple[float, ...], **options: Any) -> Peer:
    return Peer(coder, "image", ladder, **options)


def _movie(encoder: str, intra: bool, ladder: tuple[float, ...], keep: bool = False) -> Peer:
    fill = prepare.inpaint_spatial if intra else prepare.fill_temporal
    return Peer(
        videos.video(encoder, intra),
        "append" if intra else "series",
        ladder,
        klt=True,
        fill=None if keep else fill,
    )


CODECS: dict[str, Callable[[], Codec]] = {
    "stvc": stvc_codec,
    "stvc-fast": lambda: stvc_codec(effort="fast"),
    "stvc-bounded": lambda: stvc_codec(bounded=True),
    "stvc-none": lambda: stvc_codec(reference="none"),
    "stvc-background": lambda: stvc_codec(reference="background"),
    "stvc-recent": lambda: stvc_codec(reference="recent"),
    "stvc-both": lambda: stvc_codec(reference="both"),
    "stvc-coarse": lambda: stvc_codec(clouds="coarse"),
    "stvc-keep": lambda: stvc_codec(clouds="keep"),
    "learned-factorized": lambda: learned("factorized"),
    "learned-hyperprior": lambda: learned("hyperprior"),
    "jpeg2000": lambda: _image(images.jpeg2000(False), _PSNR),
    "jpeg2000-klt": lambda: _image(images.jpeg2000(True), _PSNR, klt=True),
    "jpeg2000-klt-inpaint": lambda: _image(
        images.jpeg2000(True), _PSNR, klt=True, fill=prepare.inpaint_spatial
    ),
    "jpegxl": lambda: _image(images.jpegxl(), _DISTANCE),
    "jpegxl-lossless": lambda: _image(images.jpegxl_lossless(), (), bounded=True),
    "jpegls": lambda: _image(images.jpegls(), _BOUND, bounded=True),
    "lerc": lambda: _image(images.lerc(), _BOUND, bounded=True),
    "sz3": lambda: _image(images.sz3("plane"), _BOUND, bounded=True),
    "sz3-3d": lambda: Peer(images.sz3("band"), "series", _BOUND, bounded=True),
    "x265-klt-fill": lambda: _movie("libx265", False, _QP_INTER),
    "x265-klt-intra-inpaint": lambda: _movie("libx265", True, _QP_INTRA),
    "x265-klt": lambda: _movie("libx265", False, _QP_INTER, keep=True),
    "x265-klt-intra": lambda: _movie("libx265", True, _QP_INTRA, keep=True),
    "vvenc-klt-fill": lambda: _movie("libvvenc", False, _QP_VVC),
    "vvenc-klt-intra-inpaint": lambda: _movie("libvvenc", True, _QP_VVC),
    "av1-klt-fill": lambda: _movie("libaom-av1", False, _CRF),
    "av1-klt-intra-inpaint": lambda: _movie("libaom-av1", True, _CRF),
}
"""Builders by name; one that misses a package fails with an ImportError or RuntimeError."""
