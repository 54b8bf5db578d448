"""Native kernels: the hot loops in C, never needed, the same bits.

The C files here become one extension module, ``_kernels``, when stvc is installed where there is a
C compiler (``hatch_build.py``). Modules that have a native twin ask once for `kernels`; where it is
None, they run on numpy.
"""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from types import ModuleType

from stvc import config
from stvc.native.digest import digest

_log = logging.getLogger(__name__)


def load() -> tuple[ModuleType | None, str]:
    """Find the extension module.

    Returns
    -------
    tuple of (module or None, str)
        None, and why, if it is switched off, was not built, or was built from other sources.
    """
    if not config.native():
        return None, "switched off"
    try:
        found = importlib.import_module("stvc.native._kernels")
    except ModuleNotFoundError:
        return None, "not built"
    except ImportError as error:
        return None, f"cannot be loaded: {error}"
    if digest(Path(__file__).parent) != found.SOURCES:
        _log.warning(
            "the native kernels were built from other sources and are not used: install stvc again"
        )
        return None, "built from other sources"
    return found, "in use"


kernels, status = load()
"""The extension module, or None; and what became of it, in a few words."""
