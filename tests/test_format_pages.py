"""The format specification against the code: its readers and its tables are executed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import constriction
import numpy as np
import pytest
from archive_samples import write_sample

from stvc.archive import ArchiveReader, write_archive
from stvc.archive.layout import HEAD_SIZES, LOCATOR_OFFSET, MAJORS
from stvc.codec import profiles
from stvc.codec.predictive_features import CAUSAL
from stvc.codec.quantize import step_size
from stvc.codec.registration import FILTERS
from stvc.codec.transform import RADIUS, ZIGZAG
from stvc.codec.turns import BANDS, MOST, factors

ROOT = Path(__file__).parents[1]
FORMAT = ROOT / "docs" / "format"
ARCHIVES = sorted((Path(__file__).parent / "golden").glob("*/*.stvc"))


def program(page: str, title: str) -> dict[str, Any]:
    """Run a program that a page prints; returns its names."""
    text = (FORMAT / page).read_text()
    found = re.search(rf'^```python title="{title}"\n(.*?)^```', text, re.MULTILINE | re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(compile(found[1], title, "exec"), names)
    return names


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: f"{path.parent.name}-{path.stem}")
@pytest.mark.parametrize("major", [None, 1, 2])
def test_printed_reader_reads_archives(path: Path, major: int | None, tmp_path: Path) -> None:
    if major is not None:
        path = rewritten(path, tmp_path / "other.stvc", major)
    check_printed_reader(path)


@pytest.mark.parametrize("frames", [0, 1, 40, 700])
@pytest.mark.parametrize("major", MAJORS)
def test_printed_reader_reads_any_tables(frames: int, major: int, tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    write_sample(path, 0, frames, major)
    check_printed_reader(path)


def rewritten(path: Path, target: Path, major: int) -> Path:
    with ArchiveReader.open(path) as reader:
        units = [(key, reader.read(key), info.stats) for key, info in reader.units.items()]
        write_archive(target, reader.header, reader.frames, units, major=major)
    return target


def check_printed_reader(path: Path) -> None:
    dictionary = (ROOT / "stvc/archive/dictionary-1.zdict").read_bytes()
    header, frames, units = program("file.md", "reader.py")["read_archive"](path, dictionary)
    with ArchiveReader.open(path) as reader:
        assert header == reader.header
        assert [tuple(f["stats"]) for f in frames] == [f.stats for f in reader.frames]
        assert [f["time"] for f in frames] == [f.time for f in reader.frames]
        provenance = [f.get("provenance", {}) for f in frames]
        assert provenance == [f.provenance for f in reader.frames]
        assert list(units) == [tuple(key) for key in reader.units]
        for key, info in reader.units.items():
            assert units[tuple(key)] == (reader.read(key), info.stats)


def test_the_head_has_the_size_and_offset_that_are_told() -> None:
    text = (FORMAT / "file.md").read_text()
    assert HEAD_SIZES == {1: 441, 2: 268} and LOCATOR_OFFSET == 126
    assert "268 bytes in major version 2, 441 in 1" in text
    assert "at offset 126" in text


def test_printed_range_decoder_reads_what_constriction_writes() -> None:
    names = program("entropy.md", "rangecoder.py")
    models = constriction.stream.model
    rng = np.random.default_rng(7)
    for _ in range(60):
        encoder = constriction.stream.queue.RangeEncoder()
        told = []
        for _ in range(int(rng.integers(0, 60))):
            size = int(rng.integers(2, 4097))
            if rng.random() < 0.5:
                symbol = int(rng.integers(size))
                encoder.encode(symbol, models.Uniform(size))
                told.append((names["uniform"](size), symbol))
            else:
                counts = rng.integers(1, 14, size % 400 + 2)
                counts[int(rng.integers(len(counts)))] += 65536 - counts.sum()
                symbol = int(rng.integers(len(counts)))
                table = models.Categorical(counts.astype(np.float64), perfect=False)
                encoder.encode(symbol, table)
                told.append((names["categorical"](counts.tolist()), symbol))
        decoder = names["RangeDecoder"](encoder.get_compressed().tolist())
        assert [decoder.decode(left) for left, _ in told] == [symbol for _, symbol in told]


def test_edges_of_mask_frequencies_are_float32_as_told() -> None:
    decoder_of = program("entropy.md", "rangecoder.py")["RangeDecoder"]
    family = constriction.stream.model.Categorical(perfect=False)
    rng = np.random.default_rng(8)
    table = rng.integers(1, 2**20, (2000, 7)).astype(np.float32)
    symbols = rng.integers(0, 7, len(table)).astype(np.int32)
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(symbols, family, table)
    decoder = decoder_of(encoder.get_compressed().tolist())
    found = []
    for row in table:
        scale = np.float32(2**24 - 7) / np.float32(row.sum())
        below = np.concatenate([[0], row.cumsum()[:-1]]).astype(np.float32)
        edges = [int(np.float32(c * scale)) + k for k, c in enumerate(below)]
        found.append(decoder.decode([*edges, 2**24]))
    assert found == symbols.tolist()


def numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"-?\d+", text.replace("−", "-"))]


def test_taps() -> None:
    text = (FORMAT / "transform.md").read_text()
    rows = re.findall(r"^\| (\d) \| (.+) \|$", text, re.MULTILINE)
    assert {int(k): numbers(taps) for k, taps in rows} == {
        k: row.tolist() for k, row in enumerate(FILTERS) if k
    }


def test_profiles_of_generation_2() -> None:
    text = (FORMAT / "transform.md").read_text()
    soft, split = re.findall(r"^```text\n(\d{4} .*?)^```", text, re.MULTILINE | re.DOTALL)
    rows = [np.zeros((4, 64))]
    radius = np.rint(RADIUS**2)
    for mix, cut in re.findall(r"(\d{4}) ([\d.]+)", soft):
        weights = np.array([int(d) / 4 for d in mix])[:, None]
        pass_low = 1 / (1 + radius / float(cut) ** 2) if float(cut) else np.ones(64)
        rows.append(weights * pass_low)
    for low, high, limit, gain in re.findall(r"(\d{4}) (\d{4}) (\d) (\d)", split):
        below, above = (np.array([int(d) / 4 for d in mix])[:, None] for mix in (low, high))
        rows.append(np.where(radius < int(limit) ** 2, below, above * int(gain) / 4))
    assert np.array_equal(np.rint(np.array(rows) * 64), profiles.profiles_of(2))


def test_profiles_of_generation_1() -> None:
    zero, one = np.zeros(64), np.ones(64)
    rows = [(zero, zero)]
    for cut in (np.inf, 6, 3, 1.5, 0.75):
        w = 1 / (1 + (RADIUS / cut) ** 2)
        rows += [(w * mix, w * (1 - mix)) for mix in (1, 0.75, 0.5, 0)]
    for limit in (1, 2, 4):
        low = limit > RADIUS
        rows += [(1.0 * low, np.where(low, 0, detail)) for detail in (1, 0.5)]
    dc = 1.0 * (RADIUS == 0)
    rows += [(dc, zero), (dc / 2, dc / 2)]
    rows += [(one * share, zero) for share in (0.875, 0.75, 0.5)]
    table = profiles.profiles_of(1)
    assert np.array_equal(np.rint(np.array(rows) * 64), table[:, :2])
    assert not table[:, 2:].any()


def test_steps_and_zigzag() -> None:
    index = np.arange(449)
    mantissa = [round(2 ** (i % 32 / 32 + 16)) for i in index.tolist()]
    shifts = [12 - i // 32 for i in index.tolist()]
    told = [
        (m + (1 << s >> 1)) >> s if s >= 0 else m << -s
        for m, s in zip(mantissa, shifts, strict=True)
    ]
    assert step_size(index).tolist() == told
    assert [(int(p) // 8, int(p) % 8) for p in ZIGZAG[:7]] == [
        (0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3),
    ]  # fmt: skip


def test_neighbors_of_the_predictive_coder() -> None:
    text = (FORMAT / "predictive.md").read_text()
    listed = text.partition("1. 16 earlier pixels at (dy, dx):")[2].partition("; each less")[0]
    found = numbers(listed)
    assert list(zip(found[::2], found[1::2], strict=True)) == list(CAUSAL)


def test_printed_angles_are_those_of_turns() -> None:
    page = (FORMAT / "transform.md").read_text()
    for name, column in (("cosine", 0), ("sine", 1)):
        printed = re.search(rf"^{name} +=((?: \d+)+)$", page, re.MULTILINE)
        assert printed is not None
        angles = np.arange(MOST + 1)[:, None].repeat(len(BANDS), 1)
        found = factors(angles)[column][:, 0]
        assert [int(x) for x in printed[1].split()] == found.tolist()
