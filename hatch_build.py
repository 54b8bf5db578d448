"""Build hook: compile the native kernels (``stvc/native``) while stvc is installed.

They are optional. Without a C compiler, or where it fails, one line says so and the installation
goes on: stvc runs on numpy then, slower, with the same bits. ``python hatch_build.py`` (``make
native``) compiles them in a checkout, beside their sources.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
FOLDER = ROOT / "stvc" / "native"
LIBRARY = "_kernels.abi3.so"
OLDEST = (3, 11)
"""The extension uses what this Python's limited interface has, and runs on all later ones."""


def _digest() -> str:
    """What `stvc.native.digest.digest` says of the sources, without importing stvc."""
    return str(runpy.run_path(str(FOLDER / "digest.py"))["digest"](FOLDER))


def compile_kernels(target: Path) -> None:
    """Compile the extension module into a file, or raise whatever went wrong."""
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    hexversion = "0x{:02X}{:02X}0000".format(*OLDEST)
    extension = Extension(
        "stvc.native._kernels",
        [os.path.relpath(path, ROOT) for path in sorted(FOLDER.glob("*.c"))],
        depends=[os.path.relpath(path, ROOT) for path in sorted(FOLDER.glob("*.h"))],
        define_macros=[("Py_LIMITED_API", hexversion), ("STVC_SOURCES", f'"{_digest()}"')],
        extra_compile_args=[
            "-O3",
            "-g0",
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-fvisibility=hidden",
            "-ffp-contract=off",
        ],
        py_limited_api=True,
    )
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(ROOT)
        try:
            command = build_ext(Distribution({"name": "stvc", "ext_modules": [extension]}))
            command.build_lib, command.build_temp = f"{scratch}/lib", f"{scratch}/temp"
            command.ensure_finalized()
            command.run()
        finally:
            os.chdir(here)
        (built,) = Path(scratch, "lib").rglob("_kernels*")
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        beside.write_bytes(built.read_bytes())
        beside.chmod(0o755)
        beside.replace(target)
        # ^ a process that runs the old file keeps it


def try_to_compile(target: Path) -> bool:
    """Compile the extension module; if that fails, say so in one line and leave no old one."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            compile_kernels(target)
    except Exception as problem:
        target.unlink(missing_ok=True)
        reason = re.sub(r"\bCommand '\[(.+?),.*\]'", r"\1", " ".join(str(problem).split()))
        # ^ the compiler's name says enough, and what it found wrong is printed above
        reason = reason or type(problem).__name__
        print(
            f"stvc: no native kernels, it will run on numpy (slower, the same bits): {reason}",
            file=sys.stderr,
        )
        return False
    return True


def _platform() -> str:
    """Platform of a wheel that was built here and promises nothing about other systems."""
    from packaging.tags import sys_tags

    names = (tag.platform for tag in sys_tags())
    return next(name for name in names if not name.startswith(("manylinux", "musllinux")))


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # `make native` needs setuptools only
    pass
else:

    class NativeKernels(BuildHookInterface[Any]):
        """Adds the extension module to wheels; editable installations have it in the checkout."""

        PLUGIN_NAME = "custom"

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Compile before a wheel is put together."""
            if version == "editable":
                try_to_compile(FOLDER / LIBRARY)
                return
            self._scratch = tempfile.TemporaryDirectory()
            target = Path(self._scratch.name, LIBRARY)
            if try_to_compile(target):
                build_data["force_include"][str(target)] = f"stvc/native/{LIBRARY}"
                build_data["pure_python"] = False
                build_data["tag"] = f"cp{OLDEST[0]}{OLDEST[1]}-abi3-{_platform()}"

        def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
            """Clean up."""
            if version != "editable":
                self._scratch.cleanup()


if __name__ == "__main__":
    sys.exit(not try_to_compile(FOLDER / LIBRARY))
