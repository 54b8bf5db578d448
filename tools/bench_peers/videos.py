"""Video coders through ffmpeg, one video per component.

x265 and libaom-av1 take 12 bits, gray; vvenc takes 10 bits and wants color planes, which stay at
their middle.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from stvc.types import U16

_BLOCK = 8  # these codecs want sides that are multiples of it
_PLAIN, _COLORED = "gray12le", "yuv420p10le"
_CONTAINERS = {"libx265": "hevc", "libaom-av1": "obu", "libvvenc": "vvc"}  # the barest there are
_BITS = {"libvvenc": 10}
_MIDDLE = 512  # of color planes


@dataclass(frozen=True)
class Video:
    """One encoder of the ffmpeg binary; codes each component as a video over the dates."""

    encoder: str
    """A key of `_CONTAINERS`; the parameter is its constant qp or crf."""
    intra: bool
    """Every date alone, so that dates can be appended; otherwise the series as one GOP."""
    bits: int = 12
    """See `images.Coder`."""

    def encode(self, frames: U16, parameter: float, step: float) -> list[bytes]:
        """See `images.Coder.encode`."""
        height, width = frames.shape[-2:]
        pad = [(0, 0), (0, -height % _BLOCK), (0, -width % _BLOCK)]
        videos = [np.pad(component, pad, mode="edge") for component in frames.swapaxes(0, 1)]
        size = f"{width + pad[2][1]}x{height + pad[1][1]}"
        options = {"libx265": self._x265, "libaom-av1": self._av1, "libvvenc": self._vvc}
        return _each(
            lambda video: _ffmpeg(
                [
                    "-f",
                    "rawvideo",
                    "-pix_fmt",
                    self._pixels,
                    "-s",
                    size,
                    "-r",
                    "25",
                    "-i",
                    "pipe:0",
                    "-c:v",
                    self.encoder,
                    *options[self.encoder](int(parameter)),
                    "-pix_fmt",
                    self._pixels,
                    "-f",
                    _CONTAINERS[self.encoder],
                    "pipe:1",
                ],
                self._raw(video),
            ),
            videos,
        )

    def decode(self, payloads: list[bytes], shape: tuple[int, ...]) -> U16:
        """See `images.Coder.decode`."""
        count, _, height, width = shape
        padded = (count, height + -height % _BLOCK, width + -width % _BLOCK)
        raw = _each(
            lambda payload: _ffmpeg(
                [
                    "-f",
                    _CONTAINERS[self.encoder],
                    "-i",
                    "pipe:0",
                    "-fps_mode",
                    "passthrough",
                    "-f",
                    "rawvideo",
                    "-pix_fmt",
                    self._pixels,
                    "pipe:1",
                ],
                payload,
            ),
            payloads,
        )
        lit = padded[1] * padded[2]
        videos = [
            np.frombuffer(video, "<u2").reshape(count, -1)[:, :lit].reshape(padded) for video in raw
        ]
        return np.stack(videos, axis=1)[..., :height, :width].astype(np.uint16)

    @property
    def _pixels(self) -> str:
        return _PLAIN if self.bits == 12 else _COLORED

    def _raw(self, video: U16) -> bytes:
        """(T, H, W) levels as ffmpeg reads them."""
        planes = video.reshape(len(video), -1).astype("<u2")
        if self._pixels == _COLORED:
            planes = np.pad(planes, [(0, 0), (0, planes.shape[1] // 2)], constant_values=_MIDDLE)
        return planes.tobytes()

    def _x265(self, qp: int) -> list[str]:
        # ipratio = pbratio = 1: PSNR counts every date alike. info=0: no banner in the stream.
        interval = "keyint=1" if self.intra else "keyint=9999:min-keyint=9999"
        return [
            "-preset",
            "medium",
            "-tune",
            "psnr",
            "-x265-params",
            f"qp={qp}:ipratio=1:pbratio=1:scenecut=0:{interval}:info=0:log-level=none:"
            f"pools={_threads()}:frame-threads=1",
        ]

    def _av1(self, crf: int) -> list[str]:
        usage = ["-usage", "allintra"] if self.intra else ["-g", "9999"]
        return [
            "-crf",
            str(crf),
            "-b:v",
            "0",
            "-cpu-used",
            "4",
            "-row-mt",
            "1",
            "-threads",
            str(_threads()),
            *usage,
        ]

    def _vvc(self, qp: int) -> list[str]:
        # no perceptual adaptation (qpa): PSNR counts every pixel alike
        interval = "intraperiod=1:gopsize=1" if self.intra else "intraperiod=9999"
        return [
            "-preset",
            "medium",
            "-qp",
            str(qp),
            "-qpa",
            "0",
            "-threads",
            str(_threads()),
            "-vvenc-params",
            f"verbosity=0:refreshsec=0:{interval}",
        ]


def video(encoder: str, intra: bool) -> Video:
    """Build a coder, or fail if this ffmpeg has not the encoder.

    Raises
    ------
    ImportError
        If the package ``imageio-ffmpeg`` is missing.
    RuntimeError
        If its binary does not run or lacks the encoder.
    """
    if f" {encoder} " not in _ffmpeg(["-encoders"], b"").decode():
        raise RuntimeError(f"{_executable()} has no {encoder}")
    return Video(encoder, intra, _BITS.get(encoder, 12))


@cache
def _executable() -> str:
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _threads() -> int:
    """How many threads this measurement may use: what OpenMP libraries go by as well."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def _each(code: Callable[[Any], bytes], streams: Iterable[Any]) -> list[bytes]:
    """Run independent streams side by side, as many as there are threads."""
    with ThreadPoolExecutor(_threads()) as pool:
        return list(pool.map(code, streams))


def _ffmpeg(arguments: list[str], stream: bytes) -> bytes:
    """Pipe a stream through ffmpeg; its last words are the error message."""
    run = subprocess.run(
        [_executable(), "-v", "error", "-hide_banner", *arguments],
        input=stream,
        capture_output=True,
        check=False,
    )
    if run.returncode or not run.stdout:
        words = run.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
        raise RuntimeError(f"ffmpeg ended with {run.returncode}: {words[0]}")
    return run.stdout
