"""``stvc``: quick to start, helpful without being asked, installed as a program."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from stvc import cli
from stvc.exit_codes import ExitCode


def _seconds_of_children() -> float:
    """Processor time, which neighbors on a busy machine do not stretch as they do wall time."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from stvc.cli import run; code = run(['--help']); "
        "heavy = {'torch', 'xarray', 'h5py', 'kornia', 'rasterio', 'sentinelhub', 'pandas', "
        "'scipy', 'matplotlib', 'numpy'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    best = 9.0
    for _ in range(3):
        began = _seconds_of_children()
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        best = min(best, _seconds_of_children() - began)
        assert ran.returncode == 0, ran.stderr
    for command in ("encode", "decode", "info", "verify"):
        assert command in ran.stdout
    assert best < 0.5


@pytest.mark.parametrize("command", ["encode", "decode", "info", "verify"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_examples(
    command: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([command, flag]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "Examples:" in shown
    assert shown.count(f"stvc {command} ") >= 4  # the usage line and three examples


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == ExitCode.OK
    assert "encode" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == ExitCode.OK
    assert re.fullmatch(r"stvc \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_console_script_is_installed() -> None:
    script = Path(sys.executable).with_name("stvc")
    ran = subprocess.run([script, "info"], capture_output=True, text=True)
    assert ran.returncode == ExitCode.USAGE
    assert ran.stdout == ""
    assert ran.stderr == "stvc: error: Missing argument 'ARCHIVE'. (see stvc --help)\n"
