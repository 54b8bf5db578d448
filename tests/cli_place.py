"""An empty directory with an area of interest, and a stand-in codec behind the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from fake_codec import FakeApi, FakeSource

import stvc
from stvc import cli

SQUARE = {
    "type": "Polygon",
    "coordinates": [[[14, 45], [14.01, 45], [14.01, 45.01], [14, 45.01], [14, 45]]],
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in an empty directory with an area of interest."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "field.geojson").write_text(json.dumps(SQUARE))
    return tmp_path


@pytest.fixture
def fake(place: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """Put the stand-in for the codec and a source of five dates in place."""
    api = FakeApi()
    monkeypatch.setitem(sys.modules, "stvc.api", api)
    monkeypatch.setattr(stvc, "api", api, raising=False)
    monkeypatch.setattr("stvc.source.get_source", lambda name: FakeSource())
    return api


def encode(*more: str) -> int:
    """Run ``stvc encode`` on the area in the working directory."""
    return cli.run(["encode", "--aoi", "field.geojson", *more])
