"""``stvc config``, and ``stvc encode --dry-run``."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from servers.places import TILE, area
from servers.sentinelhub_scenes import scene
from servers.sentinelhub_server import SentinelHubServer

from stvc.cli import run
from stvc.config import config_path
from stvc.service_config import CDSE_URL, TOKEN_URLS, profiles_path, service_config
from stvc.source import _REGISTRY
from stvc.source.sample import SampleSource

SECRET = "Zq8-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("SH_"):
            monkeypatch.delenv(name)
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "field.geojson").write_text(area().geojson)


def test_init_writes_addresses_only_and_makes_the_profile_the_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["config", "init", "--cdse"]) == 0
    profiles = tomllib.loads(profiles_path().read_text())
    assert profiles == {"cdse": {"sh_base_url": CDSE_URL, "sh_token_url": TOKEN_URLS[CDSE_URL]}}
    assert tomllib.loads(config_path().read_text()) == {"sentinelhub": {"profile": "cdse"}}
    assert service_config().base_url == CDSE_URL
    captured = capsys.readouterr()
    assert captured.out == "" and "SH_CLIENT_ID" in captured.err
    before = profiles_path().stat().st_mtime_ns
    assert run(["config", "init", "--cdse", "--json"]) == 0
    assert profiles_path().stat().st_mtime_ns == before
    assert json.loads(capsys.readouterr().out)["profile"] == "cdse"


def test_init_keeps_what_is_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text('# mine\n[default-profile]\nsh_client_id = "a" # why\n')
    profiles_path().parent.mkdir(parents=True)
    profiles_path().symlink_to(real)
    config_path().parent.mkdir(parents=True)
    config_path().write_text('# kept\n[monitor]\nx = 1\n[sentinelhub]\nprofile = "other"\n')
    flags = ["config", "init", "--cdse", "--client-id", "sh-1", "--client-secret-file"]
    assert run([*flags, str(tmp_path / "secret")]) == 0
    assert real.read_text().startswith("# mine\n") and "# why" in real.read_text()
    assert profiles_path().is_symlink() and stat.S_IMODE(real.stat().st_mode) == 0o600
    assert service_config("cdse").client_secret == SECRET
    assert 'profile = "other"' in config_path().read_text()  # their choice stays
    assert run(["config", "init", "--cdse"]) == 78
    told = capsys.readouterr()
    assert "sh_client_id, sh_client_secret" in told.err and SECRET not in told.err + told.out
    monkeypatch.setattr(sys, "stdin", io.StringIO("another-secret\n"))
    assert run([*flags, "-", "--overwrite"]) == 0
    assert service_config("cdse").client_secret == "another-secret"
    assert tomllib.loads(real.read_text())["default-profile"] == {"sh_client_id": "a"}
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".tmp"]


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ([], 2, "give one of --cdse and --sentinel-hub"),
        (["--cdse", "--sentinel-hub"], 2, "give one"),
        (["--cdse", "--client-id", "x"], 2, "come together"),
        (["--cdse", "--profile", "a]\n[b"], 2, "no profile name"),
        (["--cdse", "--client-id", "x", "--client-secret-file", "empty"], 78, "no client secret"),
        (["--cdse", "--client-id", "x", "--client-secret-file", "gone"], 66, "gone"),
    ],
)
def test_init_of_no_use(
    flags: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").write_text("")
    assert run(["config", "init", *flags]) == code
    assert message in capsys.readouterr().err
    assert not profiles_path().exists() and not config_path().exists()


def test_show_and_paths_mask_credentials(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--client-id", "sh-client-0123456789abcdef", "--client-secret-file"]
    assert run(["config", "init", "--cdse", *flags, str(tmp_path / "secret")]) == 0
    for command in (["show"], ["show", "--json"], ["paths"], ["paths", "--json"]):
        assert run(["config", *command]) == 0
    told = capsys.readouterr().out
    assert SECRET not in told and "0123456789abcdef" not in told and "********cdef" in told
    assert str(profiles_path()) in told and "STVC_CACHE_DIR" in told
    assert run(["config", "show", "--sh-profile", "nope"]) == 78
    monkeypatch.setenv("STVC_CONFIG", str(tmp_path / "mine.toml"))
    assert run(["config", "init", "--cdse"]) == 78  # the profile is there, with credentials
    assert run(["config", "init", "--sentinel-hub", "-q"]) == 0
    assert tomllib.loads((tmp_path / "mine.toml").read_text())["sentinelhub"]["profile"] == (
        "sentinel-hub"
    )


class Bare:
    """A source with what the protocol asks for, and nothing more."""

    name = "bare"

    def __init__(self) -> None:
        self._sample = SampleSource()
        self.ground, self.dates = self._sample.ground, self._sample.dates
        self.fetch = self._sample.fetch


def dry_run(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["encode", *flags, "--dry-run", "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_dry_run_of_the_service(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "f.stvc"
    place = ["--aoi", str(tmp_path / "field.geojson"), "-o", str(out), "--bands", "B02,B11"]
    place += ["--source", "sentinelhub"]
    with SentinelHubServer([scene(d, TILE) for d in ("2023-05-01", "2023-05-06")]) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        facts = dry_run(capsys, *place)
        assert facts["dates"] == ["2023-05-01T10:40:21", "2023-05-06T10:40:21"]
        assert facts["requests"] == 4 and 0 < facts["processing_units"] < 1
        assert (facts["height"], facts["width"]) == (44, 40)
        assert facts["raw_megabytes"] == pytest.approx(2 * (44 * 40 * 2 + 22 * 20 * 3) / 1e6)
        assert server.count("process") == 0 and not out.exists()
        assert run(["encode", *place, "--dry-run"]) == 0
        told = capsys.readouterr()
        assert told.out == "2023-05-01T10:40:21\n2023-05-06T10:40:21\n"
        assert "2 dates of source sentinelhub, 40 by 44 pixels of 10 m" in told.err
        assert "4 requests, about 0.0" in told.err
        assert run(["encode", *place, "--max-requests", "2"]) == 77
        assert "--max-requests" in capsys.readouterr().err
        assert server.count("process") <= 1 and not out.exists()  # the catalog took the other one
        assert run(["encode", *place, "--sh-profile", "nope"]) == 78


def test_dry_run_of_the_sample_and_of_sources_that_do_not_plan(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = str(Path(__file__).parents[1] / "examples" / "field.geojson")
    place = ["--aoi", field, "--end", "2015-12-31", "-o", str(tmp_path / "x.stvc")]
    exact = dry_run(capsys, *place)
    assert len(exact["dates"]) == 3 and exact["requests"] == 0
    assert exact["height"] == 96 and exact["raw_megabytes"] == pytest.approx(0.255744)
    monkeypatch.setitem(_REGISTRY, "bare", "test_config_command:Bare")
    place += ["--source", "bare"]
    rough = dry_run(capsys, *place, "--bands", "B02,B03,B04,B08,B8A,B11")
    assert rough["dates"] == exact["dates"] and rough["estimated_from_outline"]
    assert rough["raw_megabytes"] == pytest.approx(exact["raw_megabytes"], rel=0.15)
    assert rough["requests"] is None and rough["processing_units"] is None
    assert dry_run(capsys, *place)["raw_megabytes"] is None
