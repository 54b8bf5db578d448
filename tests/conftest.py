"""What every test gets: directories of its own, no network, and reproducible hypothesis runs."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Threads that spin while they wait starve each other on a busy machine: 60 times as slow.
# Set before anything imports torch, whose OpenMP reads it once.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Deadlines measure the machine, not the code: CI runs beside other jobs.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True, max_examples=60)
settings.register_profile("dev", deadline=None, max_examples=60)
settings.register_profile(
    "thorough", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_DIRECTORIES = {
    "XDG_CACHE_HOME": "cache",
    "XDG_CONFIG_HOME": "config",
    "XDG_DATA_HOME": "share",
    "XDG_STATE_HOME": "state",
    "STVC_CACHE_DIR": "cache/stvc",
    "MPLCONFIGDIR": "matplotlib",
}
_SWITCHES = ("STVC_DEBUG", "NO_COLOR", "FORCE_COLOR", "STVC_CONFIG")


@pytest.fixture(scope="session", autouse=True)
def _own_directories_for_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep wide fixtures, which see no per-test settings, out of the developer's home too."""
    with pytest.MonkeyPatch.context() as patch:
        _point_at(patch, tmp_path_factory.mktemp("session"))
        yield


@pytest.fixture(autouse=True)
def _own_directories(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    _point_at(monkeypatch, tmp_path_factory.mktemp("home"))
    for switch in _SWITCHES:
        monkeypatch.delenv(switch, raising=False)


@pytest.fixture(autouse=True)
def _log_as_libraries_do() -> Iterator[None]:
    """Undo what a command did to the log, which belongs to the whole process."""
    yield
    log = logging.getLogger("stvc")
    log.handlers, log.propagate = [], True
    log.setLevel(logging.NOTSET)


def _point_at(patch: pytest.MonkeyPatch, home: Path) -> None:
    for variable, name in _DIRECTORIES.items():
        patch.setenv(variable, str(home / name))


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Refuse every connection that would leave this machine, and every name look-up."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            _refuse_unless_loopback(address[0])
        connect(self, address)

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_unless_loopback(host)
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


def _refuse_unless_loopback(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return
    try:
        loopback = ipaddress.ip_address(name).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise RuntimeError(f"a test tried to reach {name}; tests use the loopback interface only")
