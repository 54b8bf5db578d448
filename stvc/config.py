"""Environment variables: ``STVC_CACHE_DIR``, ``STVC_MODEL_DIR``, ``STVC_ARITHMETIC``."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Folder of cached historical backgrounds: ``STVC_CACHE_DIR`` or the user's cache folder."""
    mine = os.environ.get("STVC_CACHE_DIR")
    if mine:
        return Path(mine) / "backgrounds"
    from stvc.background.cache import default_cache_dir

    return default_cache_dir()


def model_dir() -> Path | None:
    """Folder with models of the user's own (``STVC_MODEL_DIR``), searched before the package's."""
    mine = os.environ.get("STVC_MODEL_DIR")
    return Path(mine) if mine else None


def arithmetic() -> str:
    """How integers are multiplied: ``STVC_ARITHMETIC``, ``float32`` (default) or ``int32``.

    Both give the same bits; the choice is there to prove it.
    """
    return os.environ.get("STVC_ARITHMETIC") or "float32"
