"""Where requests go and who sees the credentials: nowhere else, and nobody."""

from __future__ import annotations

import logging
import os
import pickle
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sentinelhub import CRS, BBox, DataCollection, MimeType, SentinelHubRequest, SHConfig
from sentinelhub_samples import connect
from servers.places import TILE, area
from servers.sentinelhub_scenes import scene
from servers.sentinelhub_server import Faults, SentinelHubServer

from stvc.errors import ConfigError, SourceError, StvcError
from stvc.service_config import (
    CDSE_URL,
    MAIN_URL,
    TOKEN_URLS,
    ServiceConfig,
    profiles_path,
    service_config,
)
from stvc.source.sentinelhub.process import collection

ONE = [scene("2023-05-01", TILE)]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SH_"):
            monkeypatch.delenv(name)


def write_profiles(text: str) -> None:
    profiles_path().parent.mkdir(parents=True, exist_ok=True)
    profiles_path().write_text(text)


def test_no_request_leaves_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: set[str] = set()
    connect_socket, create, look_up = (
        socket.socket.connect,
        socket.create_connection,
        socket.getaddrinfo,
    )

    def refuse(host: Any) -> None:
        reached.add(str(host))
        if host != "127.0.0.1":
            raise AssertionError(f"something asked for {host}")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        refuse(address[0])
        connect_socket(self, address)

    def guarded_create(address: Any, *args: Any, **kwargs: Any) -> socket.socket:
        refuse(address[0])
        return create(address, *args, **kwargs)

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        refuse(host)
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "create_connection", guarded_create)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)
    with SentinelHubServer(ONE) as server:
        source = connect(server, monkeypatch)
        assert source.fetch(area(), None, None, None, ()).sizes["time"] == 1
        assert server.count("process") == 3
    assert reached == {"127.0.0.1"}


def test_the_shipped_collection_would_have_gone_elsewhere() -> None:
    def address(of: DataCollection) -> str:
        request = SentinelHubRequest(
            evalscript="",
            input_data=[SentinelHubRequest.input_data(of)],
            responses=[SentinelHubRequest.output_response("default", MimeType.TIFF)],
            bbox=BBox((0, 0, 10, 10), crs=CRS(32631)),
            size=(1, 1),
            config=config,
        )
        return str(request.download_list[0].url)

    for base in ("http://127.0.0.1:9", CDSE_URL, MAIN_URL):
        config = SHConfig(use_defaults=True, sh_base_url=base)
        assert address(collection(config)) == f"{base}/api/v1/process"
        assert address(DataCollection.SENTINEL2_L2A) == f"{MAIN_URL}/api/v1/process"


def test_no_file_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelHubServer(ONE) as server:
        connect(server, monkeypatch).fetch(area(), None, None, ["B02"], ())
    home = Path(os.environ["XDG_CONFIG_HOME"])
    assert not home.exists() or not list(home.rglob("*"))


@pytest.mark.parametrize("fault", ["echo", "forbidden", "error", "truncate", "drop", "redirect"])
def test_credentials_are_in_no_log_error_or_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    import traceback

    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("stvc"), "propagate", True)
    faults = Faults(script={"process": [fault] * 9})
    with SentinelHubServer(ONE, faults=faults) as server:
        source = connect(server, monkeypatch, attempts=2)
        with pytest.raises(SourceError) as caught:
            source.fetch(area(), None, None, ["B02"], ())
        told = "".join(traceback.format_exception(caught.value)) + repr(source) + caplog.text
        tokens = server.tokens
    assert tokens and len(caplog.text) > 200
    for secret in (server.client_secret, server.client_id, *tokens):
        assert secret not in told
    if fault == "echo":
        assert "Bearer ***" in str(caught.value)


@pytest.mark.parametrize("kind", ["token", "process"])
def test_the_command_line_with_debugging_on_keeps_them_too(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "field.geojson"
    place.write_text(area().geojson)
    faults = Faults(script={kind: ["echo"] * 9})
    with SentinelHubServer(ONE, faults=faults) as server:
        ran = subprocess.run(
            [
                *(sys.executable, "-c", "from stvc.cli import main; main()", "encode", "-vv"),
                *("--aoi", place, "--source", "sentinelhub", "-o", tmp_path / "f.stvc"),
            ],
            env={**os.environ, **server.environment(), "STVC_DEBUG": "1", "PYTHONDEVMODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        tokens = list(server.tokens)
    told = ran.stdout + ran.stderr
    assert ran.returncode in (69, 77) and "Traceback" in told
    assert not [word for word in (server.client_secret, server.client_id, *tokens) if word in told]


def test_redacting() -> None:
    service = ServiceConfig("p", CDSE_URL, CDSE_URL, "abcd", "abcdefgh")
    assert "abcd" not in repr(service)
    assert service.redact("x abcdefgh\ny abcd tok\x1b[2J", "tok") == "x *** y *** *** [2J"
    assert len(service.redact("long " * 1000)) <= 300
    odd = ServiceConfig("p", CDSE_URL, CDSE_URL, "id", 's/e+c"r et')
    for spelling in ("s%2Fe%2Bc%22r%20et", "s%2Fe%2Bc%22r+et", 's/e+c\\"r et', 's/e+c"r et'):
        assert odd.redact(f"client_secret={spelling}!") == "client_secret=***!"


def test_settings_come_from_flag_environment_and_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    found = service_config()
    assert (found.base_url, found.token_url) == (MAIN_URL, TOKEN_URLS[MAIN_URL])
    assert found.client_id == found.client_secret == ""
    assert not profiles_path().exists()
    write_profiles(
        '[default-profile]\nsh_client_id = "d"\nsh_client_secret = "e"\nmax_retries = 3\n'
        f'[cdse]\nsh_base_url = "{CDSE_URL}/"\nsh_client_id = "x"\nsh_client_secret = "y"\n'
    )
    assert service_config().client_id == "d"
    found = service_config("cdse")
    assert (found.base_url, found.token_url) == (CDSE_URL, TOKEN_URLS[CDSE_URL])
    assert (found.client_id, found.client_secret) == ("x", "y")
    monkeypatch.setenv("SH_PROFILE", "cdse")
    assert service_config().client_id == "x"
    assert service_config("default-profile").client_id == "d"
    monkeypatch.setenv("SH_CLIENT_ID", "from-env")
    with pytest.raises(ConfigError, match=r"environment SH_CLIENT_ID and its secret from .*cdse"):
        service_config()
    monkeypatch.setenv("SH_CLIENT_SECRET", "too")
    found = service_config()
    assert (found.client_id, found.client_secret, found.base_url) == ("from-env", "too", CDSE_URL)
    assert found.origins["client_id"] == "environment SH_CLIENT_ID"
    monkeypatch.setenv("SH_BASE_URL", "https://creodias.sentinel-hub.com")
    assert service_config().base_url == "https://creodias.sentinel-hub.com"


def test_the_users_file_names_the_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_profiles('[mine]\nsh_client_id = "a"\nsh_client_secret = "b"\n')
    (tmp_path / "c.toml").write_text('[sentinelhub]\nprofile = "mine"\n')
    monkeypatch.setenv("STVC_CONFIG", str(tmp_path / "c.toml"))
    assert service_config().client_id == "a"
    (tmp_path / "c.toml").write_text("[sentinelhub]\nprofile = 3\n")
    with pytest.raises(ConfigError, match="sentinelhub.profile is 3"):
        service_config()
    (tmp_path / "c.toml").write_text("sentinelhub = 1\n")
    with pytest.raises(ConfigError, match=r"want a table \[sentinelhub\]"):
        service_config()
    monkeypatch.setenv("STVC_CONFIG", str(tmp_path / "gone.toml"))
    with pytest.raises(ConfigError, match="does not exist"):
        service_config()


@pytest.mark.parametrize(
    ("profiles", "variables", "message"),
    [
        ("", {"SH_PROFILE": "nope"}, "'nope' .environment SH_PROFILE. is not in .*config init"),
        ("x = [", {}, r"is not TOML \(at"),
        ('[default-profile]\nsh_client_secret = "sec"ret"\n', {}, r"is not TOML \(at line 2"),
        ("[default-profile]\nsh_client_id = 5\n", {}, "sh_client_id .* is not a text"),
        ('[default-profile]\nsh_client_id = "a"\n', {}, "half .*sh_client_secret in"),
        ("", {"SH_BASE_URL": "http://sh.example.org"}, "not an https address"),
        ("", {"SH_TOKEN_URL": "ftp://127.0.0.1/t"}, "token address .* not an https"),
        ("", {"SH_BASE_URL": "https://me:pass-word@host"}, "user name or password in it"),
        ("", {"SH_BASE_URL": "https://[::1"}, "is no address"),
        ("", {"SH_BASE_URL": "https://h:99999999"}, "is no address"),
    ],
)
def test_settings_of_no_use(
    monkeypatch: pytest.MonkeyPatch, profiles: str, variables: dict[str, str], message: str
) -> None:
    write_profiles(profiles)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message) as caught:
        service_config()
    assert not re.search('sec"ret|pass-word', str(caught.value))


def test_a_redirected_login_does_not_carry_the_secret_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SentinelHubServer(ONE, faults=Faults(script={"token": ["redirect"]})) as server:
        with pytest.raises(StvcError, match="HTTP 307"):
            connect(server, monkeypatch).dates(area(), None, None)
        assert len(server.requests) == 1


def test_netrc_does_not_replace_the_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with SentinelHubServer(ONE) as server:
        connect(server, monkeypatch).dates(area(), None, None)
        sent = [asked.headers.get("Authorization", "") for asked in server.requests]
    assert sent[0] == "" and sent[1].startswith("Bearer ")


def test_a_source_that_was_not_used_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelHubServer(ONE) as server:
        source = connect(server, monkeypatch, max_requests=5)
        source.dates(area(), None, None)
        copied = pickle.dumps(source)
        assert server.client_secret.encode() not in copied
        twin = pickle.loads(copied)
        assert len(twin.dates(area(), None, None)) == 1 and twin.usage()["requests"] == 1
