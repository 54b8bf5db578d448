"""The same bytes decode to the same pixels, however a machine does its arithmetic.

Each case is a process of its own, because threads, CPU level and oneDNN are settled at start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DRIVER = """
import hashlib, json, os, sys
sys.path.insert(0, sys.argv[1])
import scenes, torch
torch.set_num_threads(int(os.environ["TEST_THREADS"]))
if os.environ.get("TEST_ONEDNN") == "off":
    torch.backends.mkldnn.set_flags(False)
import stvc
from stvc import threads
from stvc.archive import ArchiveReader, Kind
from stvc.codec import unit_encoder
from stvc.codec.unit import NETWORK

folder, job = sys.argv[2:]
threads.SMALL = -1
# ^ no place is too small for two threads here
found = {}
groups = {"": ("B02", "B08"), "20": ("B11",)}
ds = scenes.dataset(3, (36, 44), groups=groups, mask="mask", cloudy=(1,), seed=21)
if job == "encode":
    stvc.encode(ds, f"{folder}/own.stvc", psnr=49)
    long = scenes.dataset(8, (24, 24), groups={"": ("B02", "B08")}, mask="mask", seed=22)
    stvc.encode(long, f"{folder}/background.stvc", quality=45, reference="both")
    stvc.encode(ds, f"{folder}/bounded.stvc", max_error=12)
    stvc.encode(ds, f"{folder}/fast.stvc", quality=60, effort="fast")
    unit_encoder.cheaper_coder = lambda *_: NETWORK
    # ^ the network codes every unit, whatever it is worth on synthetic ground
    stvc.encode(ds, f"{folder}/network.stvc", quality=60)
    with ArchiveReader.open(f"{folder}/network.stvc") as reader:
        for key in reader.units:
            assert key.kind is not Kind.PIXELS or reader.read(key)[0] & 3 == NETWORK
for name in ("own", "background", "bounded", "fast", "network"):
    path = f"{folder}/{name}.stvc"
    with stvc.open(path) as archive:
        report = archive.verify()
    assert report.ok, report.errors
    found[name] = report.sha256
    found[name + " file"] = hashlib.sha256(open(path, "rb").read()).hexdigest()
print(json.dumps(found))
"""


def run(folder: Path, job: str, threads: int = 1, **environment: str) -> dict[str, str]:
    """Run the driver in a fresh process; hashes of what it decoded."""
    full = {k: v for k, v in os.environ.items() if k not in ("ATEN_CPU_CAPABILITY",)}
    count = str(threads)
    full |= {"OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    full |= {"OMP_WAIT_POLICY": "PASSIVE"}
    # ^ threads that spin at barriers take minutes for seconds where the cores have other work
    full |= {"TEST_THREADS": count, "PYTHONPATH": str(TESTS.parent), **environment}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(TESTS), str(folder), job],
        env=full, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bitexact")


@pytest.fixture(scope="module")
def hashes(folder: Path) -> dict[str, str]:
    """Encode on one thread."""
    return run(folder, "encode")


@pytest.mark.parametrize(
    ("threads", "environment"),
    [
        (2, {}),
        (1, {"ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Nehalem"}),
        (1, {"ATEN_CPU_CAPABILITY": "avx2", "OPENBLAS_CORETYPE": "Haswell"}),
        (1, {"TEST_ONEDNN": "off"}),
        (1, {"DNNL_MAX_CPU_ISA": "AVX2"}),
        (2, {"STVC_ARITHMETIC": "int32"}),
        (1, {"STVC_ARITHMETIC": "float32"}),
        (1, {"STVC_NATIVE": "0"}),
    ],
    ids=[
        "two threads",
        "no vector units",
        "avx2",
        "no oneDNN",
        "oneDNN avx2",
        "int32",
        "float32",
        "numpy for native kernels",
    ],
)
def test_decodes_to_the_same_pixels(
    folder: Path, hashes: dict[str, str], threads: int, environment: dict[str, str]
) -> None:
    assert run(folder, "decode", threads, **environment) == hashes


def test_encodes_to_the_same_bytes_on_two_threads(hashes: dict[str, str], tmp_path: Path) -> None:
    assert run(tmp_path, "encode", 2) == hashes


def test_int32_arithmetic_encodes_to_the_same_bytes(hashes: dict[str, str], tmp_path: Path) -> None:
    assert run(tmp_path, "encode", 1, STVC_ARITHMETIC="int32") == hashes


def test_numpy_encodes_to_the_same_bytes(hashes: dict[str, str], tmp_path: Path) -> None:
    assert run(tmp_path, "encode", 1, STVC_NATIVE="0") == hashes


def test_different_pixels_have_different_hashes(hashes: dict[str, str]) -> None:
    assert len(set(hashes.values())) == len(hashes)


def test_what_a_program_has_set_in_torch_does_not_matter(tmp_path: Path) -> None:
    import scenes
    import torch

    import stvc
    from stvc.codec import unit_encoder
    from stvc.codec.unit import NETWORK

    ds = scenes.dataset(2, (24, 32), groups={"": ("B02", "B08")}, mask="mask", seed=23)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unit_encoder, "cheaper_coder", lambda *_: NETWORK)
        stvc.encode(ds, tmp_path / "plain.stvc", quality=55)
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                stvc.encode(ds, tmp_path / "hostile.stvc", quality=55)
                with stvc.open(tmp_path / "plain.stvc") as archive:
                    hostile = archive.verify().sha256
            assert torch.get_float32_matmul_precision() == "medium"
        finally:
            torch.set_float32_matmul_precision(before)
    assert (tmp_path / "hostile.stvc").read_bytes() == (tmp_path / "plain.stvc").read_bytes()
    with stvc.open(tmp_path / "plain.stvc") as archive:
        assert archive.verify().sha256 == hostile
