"""What is asked of an archive's quality, checked, and turned into the codec's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stvc.errors import QualityError
from stvc.types import CloudMode

if TYPE_CHECKING:
    from stvc.codec.place import Settings

DEFAULT_QUALITY = 40.0
REFERENCES = ("auto", "none", "background", "recent", "both")
EFFORTS = ("default", "fast")


def quality_settings(
    quality: float | None,
    psnr: float | None,
    max_error: int | None,
    lossless: bool,
    clouds: str,
    reference: str,
    effort: str = "default",
    max_bytes: int | None = None,
) -> Settings:
    """Check quality arguments and turn them into `stvc.codec.place.Settings`.

    The effort is checked only: an archive tells it by the model that it names.

    Raises
    ------
    QualityError
        With the offending value.
    """
    from stvc.codec.place import Settings

    asked = [
        name
        for name, value in (
            ("quality", quality),
            ("psnr", psnr),
            ("max_error", max_error),
            ("lossless", lossless or None),
        )
        if value is not None
    ]
    if len(asked) > 1:
        raise QualityError(f"{' and '.join(asked)} contradict each other; give one of them")
    if clouds.upper() not in CloudMode.__members__:
        raise QualityError(f"clouds={clouds!r}; choose keep, coarse or drop")
    if reference not in REFERENCES:
        raise QualityError(f"reference={reference!r}; choose one of {', '.join(REFERENCES)}")
    if effort not in EFFORTS:
        raise QualityError(f"effort={effort!r}; choose one of {', '.join(EFFORTS)}")
    if quality is not None and not 0 <= quality <= 100:
        raise QualityError(f"quality={quality}; choose 0 (small) to 100 (fine)")
    if psnr is not None and not 15 <= psnr <= 90:
        raise QualityError(f"psnr={psnr}; choose 15 to 90 dB (peak 10000 DN), or lossless")
    if max_error is not None and not (float(max_error).is_integer() and 0 <= max_error < 1 << 15):
        raise QualityError(f"max_error={max_error}; choose a whole number of DN, 0 to 32767")
    if max_bytes is not None and (lossless or max_error is not None):
        raise QualityError("max_bytes cannot be promised beside lossless or max_error; drop one")
    if max_bytes is not None and not (float(max_bytes).is_integer() and max_bytes >= 64):
        raise QualityError(f"max_bytes={max_bytes}; choose a whole number of bytes, at least 64")
    bound = 0 if lossless else None if max_error is None else int(max_error)
    if bound is not None:
        index = step_index_of_bound(bound)
    else:
        index = step_index_of_quality(DEFAULT_QUALITY if quality is None else quality)
    return Settings(
        step_index=index,
        clouds=CloudMode[clouds.upper()],
        max_error=bound,
        max_bytes=None if max_bytes is None else int(max_bytes),
        lossless=lossless,
        recent=reference in ("auto", "recent", "both"),
        restored=effort == "default",
        quality=quality,
        psnr=psnr,
        reference=reference,
    )


def step_index_of_quality(quality: float) -> int:
    """Quality 0 to 100 to a step index: each 13 points halve the step; 40 is a step of 83 DN."""
    return round(300 - 2.4 * quality)


def step_index_of_bound(max_error: int) -> int:
    """Step of the lossy layer under a bound: 1.5 E, so that few pixels need a correction."""
    from stvc.codec.quantize import STEP_OCTAVE

    return round(STEP_OCTAVE * float(np.log2(max(1.5 * max_error, 3.0))))
