"""Runs of the benchmark: sweeps, tables, the command line, and peers that fail."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from bench_scenes import cube_file, field, needs_images

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import bench
from bench_peers import cubes, images, measure, registry, report

__all__ = ["cube_file", "field"]


def test_a_failing_parameter_is_reported_and_the_rest_goes_on(field, monkeypatch):
    def encode(piece, bound, _step):
        if bound == 60:
            raise ValueError("bound too large")
        return (piece // 48 * 48 + 24).tobytes()

    raw = images.Pieces("plane", encode, lambda payload, shape: np.frombuffer(payload, np.uint16))
    monkeypatch.setitem(registry.CODECS, "raw", lambda: registry.Peer(raw, "image", (9, 24, 60)))
    rows, problems = measure.measure_codec(field, cubes.Cut(), "raw", measure.Plan((45.0,)))
    assert [row["parameter"] for row in rows] == [24]
    assert rows[0]["bytes"] == rows[0]["raw_bytes"] + 2 * 8  # the shapes of two groups
    assert problems == ["raw at 60: ValueError: bound too large"]


def _points(codec, pairs, **more):
    return [
        {
            "dataset": "field",
            "shape": "1x(1x2x2)",
            "codec": codec,
            "mode": "image",
            "bounded": False,
            "parameter": rate,
            "bpppb": rate,
            "psnr_clear": psnr,
            "sam_deg": 60 - psnr,
            "ndvi_mae": None,
            "max_error_clear": 10,
            "raw_bytes": 3e6,
            "encode_s": 1.5,
            "encode_cpu_s": 1.0,
            "decode_s": 0.5,
            "decode_cpu_s": 1.0,
            "peak_rss_mb": 50.0,
            "lossless": False,
        }
        | more
        for rate, psnr in pairs
    ]


@pytest.mark.parametrize(
    ("low", "high", "measured"),
    [
        (44, 46, {42, 45, 48}),
        (45, 45, {45}),
        (40, 46, {39, 42, 45, 48}),
        (50, 50, {45, 48, 51}),
        (20, 99, {54, 51, 48, 45, 42, 39, 36}),
    ],
)
def test_a_sweep_covers_the_range_and_no_more(low, high, measured):
    seen = set()

    def row(parameter):
        seen.add(parameter)
        return {"psnr_clear": float(parameter), "lossless": False}

    measure.walk((54, 51, 48, 45, 42, 39, 36), low, high, row)
    assert seen == measured


def test_the_table_says_what_the_rows_say():
    old = _points("old", [(1.0, 40.0), (2.0, 50.0), (3.0, 60.0)])
    new = _points("new", [(0.5, 40.0), (1.0, 50.0), (1.5, 60.0)])
    short = _points("short", [(1.5, 47.0), (1.8, 49.0)])
    table = report.markdown(old + new + short, (42, 50, 56), (), "old")
    cells = {
        line.split(" | ")[0][2:]: [c.strip(" |") for c in line.split(" | ")]
        for line in table.splitlines()
        if line.startswith("| ")
    }
    assert list(cells)[2:] == ["new", "old", "short"]  # cheapest at 50 dB first
    assert cells["new"][3] == "1.000"
    assert cells["new"][5:9] == ["-50.0 %", "10.000°", "-", "10"]
    assert cells["new"][9:12] == ["2 (3)", "6 (3)", "50"]
    assert cells["old"][5] == "+0.0 %"
    assert cells["short"][2:5] == ["-", "-", "-"]
    assert cells["short"][5].endswith("(47-49 dB)")


def test_a_broken_bound_is_called_out():
    honest = _points("honest", [(2.0, 70.0)], bounded=True, parameter=10, max_error_clear=10)
    liar = _points("liar", [(1.0, 60.0)], bounded=True, parameter=10, max_error_clear=11)
    table = report.markdown(honest + liar, (42, 56), (10,), "honest")
    assert "| honest | 2.000 |" in table
    assert "| liar | 1.000 BROKEN: 11 |" in table


@needs_images
def test_the_command_line_from_cube_to_json_and_plot(field, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = ["--cubes", str(field), "--dates", "2", "--psnr", "45,50"]
    first, second, picture = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "rd.png"
    assert bench.main([*run, "--codecs", "JPEGLS", "--bounds", "0,5", "--json", str(first)]) == 0
    capsys.readouterr()
    assert (
        bench.main(
            [
                *run,
                "--codecs",
                "jpeg2000",
                "--reference",
                "JPEG2000",
                "--with",
                str(first),
                "--json",
                str(second),
                "--plot",
                str(picture),
            ]
        )
        == 0
    )
    table = capsys.readouterr().out
    assert "| jpeg2000 | image |" in table
    assert "| jpegls | image |" in table
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = json.loads(second.read_text(), parse_constant=pytest.fail)["rows"]
    assert {row["codec"] for row in rows} == {"jpegls", "jpeg2000"}
    for row in rows:
        assert row["bpppb"] == pytest.approx(8 * row["bytes"] / (2 * (3 * 24 * 24 + 144)))
    assert [row["psnr_clear"] for row in rows if row["lossless"]] == [None]
    psnrs = [row["psnr_clear"] for row in rows if row["codec"] == "jpeg2000"]
    assert min(psnrs) <= 45
    assert max(psnrs) >= 50


def test_a_missing_peer_is_one_line(field, monkeypatch):
    def missing():
        raise ImportError("No module named 'imagecodecs'")

    monkeypatch.setitem(registry.CODECS, "lerc", missing)
    rows, problems = measure.measure_codec(field, cubes.Cut(), "lerc", measure.Plan((45.0,)))
    assert rows == []
    assert problems == ["lerc: not available, skipped (No module named 'imagecodecs')"]


def _die(*_):
    os._exit(3)


def test_a_codec_that_crashes_takes_nothing_with_it(field, monkeypatch):
    monkeypatch.setattr(measure, "measure_codec", _die)
    rows, problems = measure.measure_apart(field, cubes.Cut(), "lerc", measure.Plan((45.0,)))
    assert (rows, problems) == ([], ["lerc: its process died"])


@pytest.mark.parametrize(
    "arguments", [["--codecs", "stvc,zip"], ["--dates", "0"], ["--psnr", "45,x"], ["--group", "30"]]
)
def test_wrong_options_are_refused(field, arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(["--cubes", str(field), *arguments])
    assert stop.value.code == 2
    assert "error: argument" in capsys.readouterr().err


def test_a_missing_cube_is_one_line(capsys):
    assert bench.main(["--cubes", "nowhere.npz", "--codecs", "lerc"]) == 65
    error = capsys.readouterr().err
    assert error == "bench: nowhere.npz: no such cube file, nor a folder with any\n"
