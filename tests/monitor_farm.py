"""A job of three fields with a scripted service, run by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monitor_source import Service, write_job

import stvc
from stvc import cli
from stvc.archive import ArchiveReader

IDS = ("east", "north", "west")
DAYS = ("2024-05-01", "2024-05-06", "2024-05-11")

_PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
import monitor_source
monitor_source.register()
{prelude}
from stvc.cli import main
main()
"""


class Farm:
    """Three fields, their service, and the command line."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.service = Service(folder / "service")
        self.toml = write_job(folder, IDS)
        self._capsys = capsys
        self.code = -1
        for name in IDS:
            for day in DAYS:
                self.service.publish(name, day)

    def run(self, *more: str, today: str = "2024-05-12") -> list[dict[str, Any]]:
        """Run the job; returns its events."""
        self._capsys.readouterr()
        self.code = cli.run(["monitor", "run", str(self.toml), "--today", today, *more])
        out, self.err = self._capsys.readouterr()
        return [json.loads(line) for line in out.splitlines()]

    def archive(self, name: str) -> Path:
        return self.folder / "archives" / f"{name}.stvc"

    def held(self, name: str, versions: str = "latest") -> list[tuple[str, str]]:
        """Day and product of each frame in an archive."""
        with stvc.open(self.archive(name)) as archive:
            assert archive.verify().ok
            order = archive.frame_order(versions)
        with ArchiveReader.open(self.archive(name)) as reader:
            frames = [reader.frames[k] for k in order]
        return [(str(np.datetime64(f.time, "s"))[:10], f.provenance["product_id"]) for f in frames]

    def bytes(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in (self.folder / "archives").glob("*.stvc")}

    def command(self, *more: str, prelude: str = "") -> subprocess.Popen[str]:
        """Start the job in a process of its own."""
        program = _PROGRAM.format(tests=str(Path(__file__).parent), prelude=prelude)
        arguments = ["monitor", "run", str(self.toml), "--today", "2024-05-12", *more]
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def events_of(process: subprocess.Popen[str]) -> tuple[list[dict[str, Any]], str]:
    """Wait for a job; returns its events, and what it said on stderr."""
    out, err = process.communicate(timeout=300)
    return [json.loads(line) for line in out.splitlines()], err


def kinds(events: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [e for e in events if all(e.get(key) == value for key, value in wanted.items())]


def make_farm(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Farm:
    """Make a farm whose source is the only one that there is."""
    import monitor_source

    monkeypatch.setattr("stvc.source._REGISTRY", {"scripted": ""})
    monitor_source.register()
    return Farm(folder, capsys)
