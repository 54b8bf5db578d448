"""A mark for tests of the native kernels, and both sides of what they are compared with."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import pytest

from stvc import native


def _compiler() -> str | None:
    named = (sysconfig.get_config_var("CC") or "cc").split()[0]
    return shutil.which(named) or shutil.which("cc")


def _why_not() -> str:
    if native.kernels is not None:
        return ""
    if native.status == "switched off":
        return "STVC_NATIVE=0"
    return "" if _compiler() else "no C compiler here"


needs_compiler = pytest.mark.skipif(_compiler() is None, reason="no C compiler here")
needs_kernels = pytest.mark.skipif(bool(_why_not()), reason=_why_not() or "never")
"""Skips only where kernels cannot be: elsewhere they are missing by mistake, and tests fail."""


def plain(work: Callable[[], Any], *modules: Any) -> Any:
    """Do it without kernels."""
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(patch.object(module, "kernels", None))
        return work()
