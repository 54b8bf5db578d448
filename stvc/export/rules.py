"""What all exports share: what they claim, how they replace files, and what they need installed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from stvc.errors import CorruptInputError, StvcError


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


def ask_for_extra(what: str, cause: Exception | None, extra: str = "export") -> NoReturn:
    """Say which optional package a format needs."""
    raise StvcError(
        f"writing {what} needs an optional package; install it with pip install 'stvc[{extra}]'"
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


@contextlib.contextmanager
def replacing_folder(path: Path, mark: str) -> Iterator[Path]:
    """Give a scratch folder beside `path` that takes its place if all goes well.

    Parameters
    ----------
    path : Path
        Where the folder is to stand.
    mark : str
        Name of a file that tells such a folder from others.

    Raises
    ------
    CorruptInputError
        If `path` is there and is neither empty nor such a folder: it is not ours to delete.
    """
    if path.exists() and not (path / mark).is_file() and (path.is_file() or any(path.iterdir())):
        raise CorruptInputError(
            f"{path} is there and holds no {mark}, so it is something else; "
            "name another output, or move it away"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    old = path.with_name(f".{path.stem}.{os.getpid()}.old{path.suffix}")
    try:
        yield scratch
        if path.exists():
            path.rename(old)  # two renames: a folder cannot replace one that is not empty
        scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(old, ignore_errors=True)
