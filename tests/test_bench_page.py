"""The benchmark page: what is kept, what is measured anew, and how the tables read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import bench
import bench_page
from bench_peers import page
from bench_peers.cubes import Cut

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmark.md"


def _row(codec: str, asked: float, bits: float, **more: object) -> dict:
    return {
        "dataset": "field",
        "shape": "1x(1x2x2)",
        "codec": codec,
        "mode": "append",
        "parameter": asked,
        "bpppb": bits,
        "psnr_clear": asked,
        "psnr_all": asked - 1,
        "raw_bytes": 3e6,
        "encode_s": 2.0,
        "encode_cpu_s": 1.0,
        "decode_s": 1.0,
        "decode_cpu_s": 0.5,
    } | more


def _curve(codec: str, scale: float, **more: object) -> list[dict]:
    return [_row(codec, at, scale * at / 50, **more) for at in (42.0, 45.0, 50.0, 56.0)]


def _cells(table: str, first: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_rates_side_by_side() -> None:
    rows = _curve("stvc", 1.0, model="ct9") + _curve("jpeg2000", 2.0, mode="series", note="old")
    table = page.rates_table([("here", rows), ("there", _curve("stvc", 3.0, model="ct9"))])
    assert _cells(table, "`stvc`")[1:5] == ["append", "0.900 / 1.000", "+0.0 %", "56.0 dB"]
    assert _cells(table, "`jpeg2000`")[1:5] == [
        "all at once",
        "1.800 / 2.000",
        "-50.0 %",
        "56.0 dB",
    ]
    assert _cells(table, "`jpeg2000`")[5:] == ["-", "-", "-"]
    assert _cells(table, "`stvc`")[5:7] == ["2.700 / 3.000", "+0.0 %"]
    assert table.endswith("- stvc with its model `ct9`.\n- `jpeg2000`: old.")


def test_references_against_none() -> None:
    rows = _curve("stvc-both", 1.0) + _curve("stvc-none", 1.25)
    table = page.references_table([("here", rows)])
    assert _cells(table, "both")[1:] == ["0.900 / 1.000", "-20.0 % / -20.0 %"]
    assert _cells(table, "none")[1:] == ["1.125 / 1.250", "+0.0 % / +0.0 %"]


def test_kept_clouds_are_compared_at_the_psnr_of_all_pixels() -> None:
    rows = _curve("stvc", 1.0, psnr_all=20.0) + _curve("stvc-keep", 1.5) + _curve("x265-klt", 2.0)
    table = page.clouds_table([("here", rows)])
    assert "| `--clouds drop` | 50 dB | 1.000 | 50.00 dB | 20.00 dB |" in table
    assert "| `--clouds keep` | 50 dB | 1.500 | 50.00 dB | 49.00 dB |" in table
    assert _cells(table, "`x265-klt`")[1:] == ["1.680", "1.800", "2.000", "2.240"]


def test_speed_ratios_are_of_cpu_seconds() -> None:
    rows = [_row("stvc", 50, 1.0), _row("x265-klt-fill", 50, 1.0, encode_cpu_s=0.25)]
    table = page.speed_table([("here", rows)])
    assert _cells(table, "`stvc`")[1:] == ["1.5, 3", "3, 6", "0.25 1.00, - -"]


def test_the_page_is_filled_between_its_markers() -> None:
    text = PAGE.read_text()
    for section in bench_page.JOBS:
        filled = bench_page.fill_page(text, section, r"| a \1 |")
        assert f"<!-- BEGIN {section} -->\n| a \\1 |\n<!-- END {section} -->" in filled
        assert bench_page.fill_page(filled, section, r"| a \1 |") == filled
    with pytest.raises(ValueError, match="no section <!-- BEGIN else -->"):
        bench_page.fill_page(text, "else", "")


def test_the_commands_on_the_page_are_ones_that_bench_takes() -> None:
    for jobs in bench_page.JOBS.values():
        for job in jobs:
            options = bench.parse(job.command.split()[2:])
            assert options.codecs == job.codecs
            assert options.psnr == job.psnrs
            assert (options.dates, options.crop, options.group) == (
                job.cut.dates,
                job.cut.crop,
                job.cut.group,
            )
            assert options.pixels == job.pixels
            assert options.bounds == job.bounds


def test_only_rows_that_hold_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = bench_page.Job("rates-x", "x", "x.npz", Cut(), ("stvc", "lerc", "jpegls"), (45.0,))
    (tmp_path / "x.npz").write_bytes(b"")
    asked: list[str] = []

    def measure(path: Path, cut: Cut, codec: str, plan: object) -> tuple[list[dict], list[str]]:
        asked.append(codec)
        if codec == "jpegls":
            return [], ["jpegls: not available, skipped"]
        return [_row(codec, 45, 1.0, **({"model": "new"} if codec == "stvc" else {}))], []

    monkeypatch.setattr(bench_page, "measure_apart", measure)
    monkeypatch.setattr(bench_page, "shipped_models", lambda: {"new"})
    kept = tmp_path / "kept"
    kept.mkdir()
    old = [_row("stvc", 45, 2.0, model="old"), _row("lerc", 45, 3.0), _row("sz3", 45, 3.0)]
    (kept / "rates-x.json").write_text(json.dumps(old))
    rows = bench_page.measured(job, tmp_path, kept)
    assert {row["codec"]: row["bpppb"] for row in rows} == {"stvc": 1.0, "lerc": 3.0}
    assert asked == ["stvc", "jpegls"]
    bench_page.measured(job, tmp_path, kept)
    assert asked == ["stvc", "jpegls", "jpegls"]  # what was missing is tried again, nothing else


def test_speeds_are_never_of_two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = bench_page.Job("speed-x", "x", "x.npz", Cut(), ("stvc", "lerc"), (50.0,))
    (tmp_path / "x.npz").write_bytes(b"")
    asked: list[str] = []

    def measure(path: Path, cut: Cut, codec: str, plan: object) -> tuple[list[dict], list[str]]:
        asked.append(codec)
        return [_row(codec, 50, 1.0)], []

    monkeypatch.setattr(bench_page, "measure_apart", measure)
    (tmp_path / "speed-x.json").write_text(
        json.dumps([_row("stvc", 50, 2.0, model="old"), _row("lerc", 50, 3.0)])
    )
    bench_page.measured(job, tmp_path, tmp_path)
    assert asked == ["stvc", "lerc"]


def test_bounds_are_compared_with_the_best_that_keeps_them() -> None:
    rows = [
        _row("stvc-bounded", 0, 3.0, max_error_clear=0),
        _row("stvc-bounded", 5, 1.0, max_error_clear=5),
        _row("jpegxl-lossless", 0, 4.0, max_error_clear=0),
        _row("jpegls", 0, 5.0, max_error_clear=0),
        _row("jpegls", 5, 2.0, max_error_clear=5),
        _row("sz3", 5, 0.5, max_error_clear=6),
    ]
    table = page.bounds_table([("field", rows)])
    assert table.splitlines()[0] == "| field | lossless | ±5 DN |"
    assert _cells(table, "`jpegxl-lossless`")[1:] == ["4.000", "-"]
    assert "sz3" not in table
    assert _cells(table, "stvc against the best other")[1:] == ["-25.0 %", "-50.0 %"]
