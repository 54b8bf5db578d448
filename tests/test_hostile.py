"""Archives made to harm: absurd headers, bombs, payloads behind right checksums, odd files."""

from __future__ import annotations

import os
import resource
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes

import stvc
from stvc.archive import ArchiveReader, FrameRecord, Kind
from stvc.archive.columns import deflate, write_varint
from stvc.archive.layout import Locator, build_head, crc
from stvc.cli import run
from stvc.errors import (
    BitstreamError,
    CorruptError,
    CorruptInputError,
    LockedError,
    StvcError,
    TooLargeError,
    VersionError,
)
from stvc.exit_codes import ExitCode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from fuzzing.mutations import Parts

MEGABYTE = 1024  # of ru_maxrss, which counts kilobytes


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("hostile") / "a.stvc"
    ds = scenes.dataset(3, (16, 16), mask="SCL", groups={"": ("B04", "B08")})
    stvc.encode(ds, path, reference="both")
    stvc.open(path).to_xarray()
    # ^ what is loaded once counts for no test's memory
    return path.read_bytes()


@pytest.fixture
def bounded() -> Iterator[None]:
    """Fail if a file of some kilobytes takes 300 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * MEGABYTE


def use(path: Path) -> None:
    with stvc.open(path) as archive:
        archive.info()
        archive.to_xarray()
        assert archive.verify().ok


def long_axis(count: object) -> list[object]:
    return [0, 10, count]


def set_axis(header: dict[str, Any], axis: object) -> None:
    header["grids"][0]["y"] = header["grids"][0]["x"] = axis


def many_grids(header: dict[str, Any]) -> None:
    grid = {"suffix": "", "bands": ["a"], "y": [0, 1, 1 << 24], "x": [0, 1, 1]}
    header["grids"] = [{**grid, "suffix": str(k), "bands": [f"b{k}"]} for k in range(100)]


def wide_mask(header: dict[str, Any]) -> None:
    header["mask"] |= {"y": [0, 1, 1 << 17], "x": [0, 1, 1 << 17]}


HEADERS: dict[str, tuple[Callable[[dict[str, Any]], object], type[StvcError]]] = {
    "axis of 2**24 squared": (lambda h: set_axis(h, long_axis(1 << 24)), TooLargeError),
    "axis of 2**60": (lambda h: set_axis(h, long_axis(1 << 60)), TooLargeError),
    "axis of 1e9": (lambda h: set_axis(h, long_axis(1e9)), CorruptError),
    "axis of -1": (lambda h: set_axis(h, long_axis(-1)), CorruptError),
    "axis of 0": (lambda h: set_axis(h, long_axis(0)), CorruptError),
    "axis of NaN": (lambda h: set_axis(h, ["values", 0.0, float("nan")]), CorruptError),
    "axis to infinity": (lambda h: set_axis(h, [float("inf"), 1, 9]), CorruptError),
    "axis that stands": (lambda h: set_axis(h, [0, 0, 16]), CorruptError),
    "axis of words": (lambda h: set_axis(h, ["values", "a", "b"]), CorruptError),
    "long axes in many grids": (many_grids, TooLargeError),
    "mask of 2**34": (wide_mask, TooLargeError),
    "mask kind": (lambda h: h["mask"].update(kind="SCLX"), VersionError),
    "no mask pixels": (lambda h: h["mask"].update(y=["values"]), CorruptError),
    "no bands": (lambda h: h["grids"][0].update(bands=[]), CorruptError),
    "bands twice": (lambda h: h["grids"][0].update(bands=["B04", "B04"]), CorruptError),
    "no grids": (lambda h: h.update(grids=[]), CorruptError),
    "key interval 0": (lambda h: h["settings"].update(key_interval=0), CorruptError),
    "key interval 0.5": (lambda h: h["settings"].update(key_interval=1.5), CorruptError),
    "step index": (lambda h: h["settings"].update(step_index=1 << 40), CorruptError),
    "bound": (lambda h: h["settings"].update(max_error=-3), CorruptError),
    "model path": (lambda h: h.update(model="../../etc/passwd"), CorruptError),
    "model name": (lambda h: h.update(model="a" * 5000), CorruptError),
    "CRS": (lambda h: h.update(crs="EPSG:999999"), CorruptError),
    "attributes": (lambda h: h.update(attrs=[1]), CorruptError),
    "band attributes": (lambda h: h.update(band_attrs={"B04": 7}), CorruptError),
    "format": (lambda h: h.update(format=[1, "from-the-future"]), VersionError),
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.usefixtures("bounded")
def test_headers(name: str, block: bytes, tmp_path: Path) -> None:
    parts = Parts.of(block)
    change, error = HEADERS[name]
    change(parts.header)
    path = tmp_path / "a.stvc"
    path.write_bytes(parts.join())
    with pytest.raises(error, match=r"a\.stvc|archive header"):
        use(path)
    assert run(["info", str(path)]) == ExitCode.CORRUPT


KLTS: dict[str, dict[str, Any]] = {
    "mean beyond int32": {"mean": [2**40, 0]},
    "mean beyond 16 bits": {"mean": [2**30, 0]},
    "negative mean": {"mean": [-5, 0]},
    "matrix of gain 2": {"matrix": [32767, 32767, 0, 16384]},
    "matrix beyond int16": {"matrix": [2**20, 0, 0, 1]},
    "matrix of another size": {"matrix": [16384]},
    "spread beyond uint8": {"spread": [256, 1]},
    "spread of another size": {"spread": [1]},
    "words": {"mean": ["a", "b"]},
    "three bands": {"mean": [1, 1, 1], "spread": [1, 1, 1], "matrix": [0] * 9},
}


@pytest.mark.parametrize("name", KLTS)
def test_spectral_transforms(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.stvc"
    stvc.encode(scenes.dataset(1, (8, 8), groups={"": ("B04", "B08")}), path)
    parts = Parts.of(path.read_bytes())
    parts.header["klts"][0] |= KLTS[name]
    path.write_bytes(parts.join())
    with pytest.raises(CorruptError, match="header is unusable"):
        use(path)


FRAMES: dict[str, dict[str, Any]] = {
    "year 20000": {"time": 2**40},
    "year -20000": {"time": -(2**40)},
    "column time": {"provenance": {"time": 1}},
    "column of a band": {"provenance": {"B04": [1, 2]}},
    "column y": {"provenance": {"y": "x"}},
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames(name: str, block: bytes, tmp_path: Path) -> None:
    parts = Parts.of(block)
    record = {"time": parts.frames[1].time, "stats": parts.frames[1].stats} | FRAMES[name]
    parts.frames[1] = FrameRecord(**record)
    path = tmp_path / "a.stvc"
    path.write_bytes(parts.join())
    with pytest.raises(CorruptError):
        use(path)


def test_absurd_errors_on_record_are_only_told(block: bytes, tmp_path: Path) -> None:
    parts = Parts.of(block)
    parts.units = [(key, payload, (2**59,) * 3) for key, payload, _ in parts.units]
    path = tmp_path / "a.stvc"
    path.write_bytes(parts.join())
    use(path)


def container(header: bytes, body: bytes) -> bytes:
    """An archive of two blobs with right checksums and no payload."""
    frame = deflate(header)
    blobs = frame + crc(frame), body + crc(body)
    return build_head(Locator(len(blobs[0]), len(blobs[1]), 0, 1)) + b"".join(blobs)


def counted(units: int, frames: int) -> bytes:
    """An index of some hundred bytes that declares empty units and frames at will."""
    rising, zero = bytes((16, 2)), bytes((0, 0))
    columns = [zero, zero, zero, rising, zero, zero, zero, zero] if units else []
    table = [rising, *[zero] * 5] if frames else []
    return write_varint(units) + write_varint(frames) + b"".join(columns + table)


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize(("units", "frames"), [(3_000_000, 1), (0, 3_000_000), (10**12, 1)])
def test_indexes_that_swell(units: int, frames: int, tmp_path: Path) -> None:
    path = tmp_path / "a.stvc"
    path.write_bytes(container(b"{}", counted(units, frames)))
    with pytest.raises(TooLargeError, match="index of"):
        ArchiveReader.open(path)


def test_many_empty_units_are_no_attack(tmp_path: Path) -> None:
    """All cloud, on a whole Sentinel-2 tile: the limits leave that alone."""
    path = tmp_path / "a.stvc"
    path.write_bytes(container(b"{}", counted(60_000, 1)))
    with ArchiveReader.open(path) as reader:
        assert len(reader.units) == 60_000


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize(
    ("header", "error"),
    [
        (b'{"a":[' + b"[]," * 5_000_000 + b"[]]}", TooLargeError),
        (b'{"a":"' + bytes(2**29), TooLargeError),
        (b'{"a":' + b"[" * 100_000, CorruptError),
        (b'{"a":' + b"9" * 5000 + b"}", CorruptError),
    ],
    ids=["many", "long", "deep", "digits"],
)
def test_header_bombs(header: bytes, error: type[BitstreamError], tmp_path: Path) -> None:
    path = tmp_path / "a.stvc"
    path.write_bytes(container(header, counted(0, 0)))
    assert path.stat().st_size < 100_000
    with pytest.raises(error, match="header of"):
        ArchiveReader.open(path)


def test_a_decoding_that_cannot_fit_is_refused_beforehand(block: bytes, tmp_path: Path) -> None:
    parts = Parts.of(block)
    stretched = [0, 10, 1 << 15]
    parts.header["grids"][0] |= {"y": stretched, "x": stretched}
    first = parts.frames[0].time
    parts.frames = [FrameRecord(first + 86400 * k) for k in range(20_000)]
    path = tmp_path / "a.stvc"
    path.write_bytes(parts.join())
    with stvc.open(path) as archive, pytest.raises(TooLargeError, match="choose fewer dates"):
        archive.to_xarray()


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("first", [0, 1, 2, 4, 5, 6])
def test_payloads_behind_right_checksums(first: int, block: bytes, tmp_path: Path) -> None:
    """Arbitrary pixels or a named error; the escape codes of the entropy coder end as well."""
    rng = np.random.default_rng(first)
    for body in (b"", b"\xff" * 3000, bytes(9), rng.bytes(700), b"\1" + deflate(bytes(1 << 24))):
        parts = Parts.of(block)
        for k, (key, _, stats) in enumerate(parts.units):
            if key.kind is Kind.PIXELS:
                parts.units[k] = (key, bytes([first]) + body, stats)
        path = tmp_path / "a.stvc"
        path.write_bytes(parts.join())
        with stvc.open(path, on_error="skip") as archive:
            decoded = archive.to_xarray()
        assert decoded["B04"].shape == (3, 16, 16)


@pytest.mark.parametrize("kind", [Kind.MASK, Kind.BACKGROUND])
def test_other_payloads_behind_right_checksums(kind: Kind, block: bytes, tmp_path: Path) -> None:
    import hashlib

    rng = np.random.default_rng(9)
    for k in range(12):
        parts = Parts.of(block)
        payload = struct.pack("<I", 2**31) if k == 0 else rng.bytes(int(rng.integers(1, 90)))
        parts.units = [(u, payload if u.kind is kind else p, s) for u, p, s in parts.units]
        if kind is Kind.BACKGROUND:
            parts.header["background"] = hashlib.sha256(payload).hexdigest()
        path = tmp_path / "a.stvc"
        path.write_bytes(parts.join())
        try:
            use(path)
        except CorruptError:
            continue
        assert kind is Kind.MASK


def test_what_is_no_file_is_neither_read_nor_replaced(tmp_path: Path) -> None:
    ds = scenes.field_of(1)
    pipe = tmp_path / "pipe.stvc"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/null")):
        with pytest.raises(CorruptInputError, match="not a file"):
            stvc.open(path)
        with pytest.raises(CorruptInputError, match="not a file"):
            stvc.append(ds, path)
    for path in (pipe, tmp_path):
        with pytest.raises(CorruptInputError, match="not a file"):
            stvc.encode(ds, path)
    assert pipe.is_fifo()


def test_a_lock_file_that_is_a_link_empties_nothing(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "a.stvc.lock").symlink_to(victim)
    with pytest.raises(LockedError, match="is a link"):
        stvc.encode(scenes.field_of(1), tmp_path / "a.stvc")
    assert victim.read_text() == "precious"


def test_names_cannot_drive_the_terminal_or_the_file_system(
    block: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = Parts.of(block)
    parts.header["grids"][0]["bands"] = ["\x1b[2Jgone", "B08"]
    parts.header["grids"][0]["suffix"] = "/../../../../../tmp/evil"
    path = tmp_path / "a.stvc"
    path.write_bytes(parts.join())
    assert run(["info", str(path)]) == ExitCode.OK
    assert "\x1b[2J" not in capsys.readouterr().out
    out = tmp_path / "out"
    run(["decode", str(path), "-o", str(out), "--format", "geotiff"])
    assert "\x1b[2J" not in capsys.readouterr().err
    written = {p.parent for p in tmp_path.rglob("*.tif")}
    assert written <= {out}


def test_symbolic_links_to_archives_are_followed(tmp_path: Path) -> None:
    real, link = tmp_path / "real.stvc", tmp_path / "link.stvc"
    stvc.encode(scenes.field_of(1), real)
    link.symlink_to(real)
    stvc.append(scenes.field_of(2), link)
    assert link.is_symlink() and stvc.open(real).to_xarray().sizes["time"] == 2
