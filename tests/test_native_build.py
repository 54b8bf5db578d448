"""Native kernels are optional: how they are built, found, refused, and done without."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from native_kernels import needs_compiler, needs_kernels

from stvc import native

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "v3"
DECODE = """
import sys
import stvc
from stvc import native
from stvc.codec import mask_coder, mask_model, rangecoder, rangecoder_numpy

with stvc.open(sys.argv[1]) as archive:
    report = archive.verify()
assert report.ok, report.errors
plain = mask_coder.walk is mask_model.walk, rangecoder.Reader is rangecoder_numpy.Reader
print(native.status, *plain, report.sha256, sep="|")
"""


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment,
        text=True,
        capture_output=True,
        timeout=600,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the build needs, elsewhere."""
    (tmp_path / "stvc").mkdir()
    shutil.copy(ROOT / "hatch_build.py", tmp_path)
    shutil.copytree(
        ROOT / "stvc" / "native",
        tmp_path / "stvc" / "native",
        ignore=shutil.ignore_patterns("*.so", "__pycache__"),
    )
    return tmp_path


@pytest.mark.parametrize("name", ["network", "fast", "bounded"])
def test_switched_off_it_decodes_alike(name: str) -> None:
    done = run("-c", DECODE, GOLDEN / f"{name}.stvc", STVC_NATIVE="0")
    assert done.returncode == 0, done.stderr
    digest = json.loads((GOLDEN / "sha256.json").read_text())[name]["decoded"]
    assert done.stdout.strip() == f"switched off|True|True|{digest}"


@needs_kernels
def test_switched_on_they_are_in_use() -> None:
    done = run("-c", DECODE, GOLDEN / "fast.stvc")
    assert done.stdout.startswith("in use|False|False|"), done.stdout + done.stderr


@needs_kernels
def test_stale_kernels_are_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "digest", lambda folder: "0" * 16)
    with caplog.at_level(logging.WARNING):
        assert native.load() == (None, "built from other sources")
    (record,) = caplog.records
    assert "install stvc again" in record.getMessage()


def test_any_change_of_a_source_changes_the_digest(checkout: Path) -> None:
    folder = checkout / "stvc" / "native"
    found = {native.digest(folder)}
    assert found == {native.digest(ROOT / "stvc" / "native")}
    sources = sorted(folder.glob("*.[ch]"))
    for source in sources:
        source.write_bytes(source.read_bytes() + b"\n")
        found.add(native.digest(folder))
    (folder / "new.h").touch()
    found.add(native.digest(folder))
    assert len(found) == len(sources) + 2


@needs_compiler
def test_build_in_a_checkout(checkout: Path) -> None:
    done = run(checkout / "hatch_build.py")
    assert (done.returncode, done.stderr) == (0, "")
    library = checkout / "stvc" / "native" / "_kernels.abi3.so"
    there = f"import sys; sys.path.insert(0, {str(library.parent)!r}); import _kernels as k"
    said = run("-c", f"{there}; print(k.SOURCES, k.MaskWalk, k.Decoder, k.Encoder)")
    assert said.stdout.startswith(native.digest(library.parent)), said.stderr


@pytest.mark.parametrize("compiler", ["/bin/false", "/nowhere/cc"])
def test_build_without_a_compiler(checkout: Path, compiler: str) -> None:
    """One line, no library, not even an old one."""
    library = checkout / "stvc" / "native" / "_kernels.abi3.so"
    library.write_bytes(b"old")
    done = run(checkout / "hatch_build.py", CC=compiler)
    assert done.returncode == 1
    assert not library.exists()
    (line,) = done.stderr.splitlines()
    assert line.startswith("stvc: no native kernels, it will run on numpy")
    assert compiler in line
    assert len(line) < 200


HOOK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from hatch_build import NativeKernels

hook = NativeKernels(sys.argv[1], {}, None, None, sys.argv[1], "wheel")
wanted = {"force_include": {}, "pure_python": True}
hook.initialize("standard", wanted)
files = [Path(name).exists() for name in wanted.pop("force_include")]
print(files, wanted["pure_python"], wanted.get("tag", "").split("-")[:2])
hook.finalize("standard", wanted, "")
"""


@needs_compiler
def test_wheels_are_of_a_platform_with_kernels_and_pure_without(checkout: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is only there while stvc is installed")
    done = run("-c", HOOK, checkout)
    assert done.stdout.strip() == "[True] False ['cp311', 'abi3']", done.stderr
    done = run("-c", HOOK, checkout, CC="/bin/false")
    assert done.stdout.strip() == "[] True ['']", done.stderr


def test_no_call_has_more_buffers_than_python_keeps_track_of() -> None:
    """Python's list of them has room for 8, or for all items outside of parentheses."""
    calls = re.compile(r'PyArg_ParseTuple\(\s*args,\s*((?:"[^"]*"\s*)+)')
    formats = [
        "".join(re.findall(r'"([^"]*)"', call)).partition(":")[0]
        for path in sorted((ROOT / "stvc" / "native").glob("*.c"))
        for call in calls.findall(path.read_text())
    ]
    assert len(formats) > 30
    for text in formats:
        outside = re.sub(r"\([^()]*\)", "T", text)
        items = sum(c.isalpha() for c in outside)
        assert len(re.findall(r"[swyz]\*", text)) <= max(8, items), text
