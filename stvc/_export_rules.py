"""What all exports share: what they claim, how they replace files, and what they need installed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from stvc.errors import StvcError


def claims(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reader of an export must know of its exactness, as NetCDF-safe attributes."""
    claims = {
        "stvc_format_version": str(info["format_version"]),
        "stvc_model": str(info["model"]),
        "stvc_settings": json.dumps(info["settings"], default=str),
        "stvc_psnr_clear": info["psnr_clear"],
        "stvc_max_error_clear": info["max_error_clear"],
    }
    return {name: value for name, value in claims.items() if value is not None}


def ask_for_export_extra(what: str, cause: Exception | None) -> NoReturn:
    raise StvcError(
        f"writing {what} needs an optional package; install it with pip install 'stvc[export]'"
    ) from cause


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a scratch path beside `path` that takes its place if all goes well, and goes if not."""
    scratch = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
