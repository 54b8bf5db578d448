"""The examples for schedulers: each is well-formed, and its command line really runs."""

from __future__ import annotations

import ast
import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stvc import cli
from stvc.exit_codes import ExitCode
from stvc.source.sample import SampleSource

EXAMPLES = Path(__file__).parent.parent / "examples"
_CRON_FIELD = r"(\*|\d+)([-/,]\d+)*"


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the examples: a copy of the example job over the sample's dates."""
    try:
        SampleSource().ground()
    except Exception as error:
        pytest.skip(str(error))
    for name in ("fields.toml", "fields.geojson"):
        shutil.copy(EXAMPLES / name, tmp_path)
    text = (tmp_path / "fields.toml").read_text()
    (tmp_path / "fields.toml").write_text(text.replace("../out/monitor", "archives"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_shell(command: str, farm: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell command whose ``stvc`` is the one under test."""
    tools = farm / "bin"
    tools.mkdir()
    script = tools / "stvc"
    call = "import sys; sys.argv[0] = 'stvc'; from stvc.cli import main; main()"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{call}" "$@"\n')
    script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:/usr/bin:/bin"}
    return subprocess.run(
        ["sh", "-c", command],
        env=environment,
        cwd=farm,
        capture_output=True,
        text=True,
        timeout=500,
    )


def planned(events: str) -> int:
    """Frames that a dry run planned."""
    return int(json.loads(events.splitlines()[-1])["frames_planned"])


def run_here(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run an example's arguments in this process, as a dry run."""
    capsys.readouterr()
    code = cli.run([*arguments, "--dry-run", "--today", "2020-06-01"])
    return code, capsys.readouterr().out


def test_crontab(farm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (EXAMPLES / "cron" / "stvc.crontab").read_text().splitlines()
    settings = [line for line in lines if re.fullmatch(r"[A-Z_]+=\S+", line)]
    jobs = [line for line in lines if line and not line.startswith("#") and line not in settings]
    assert len(jobs) == 2
    for job in jobs:
        *when, command = job.split(maxsplit=5)
        assert all(re.fullmatch(_CRON_FIELD, field) for field in when), when
        assert "%" not in command, "cron reads it as a new line"
        change, _, rest = command.partition(" && ")
        assert change == "cd /srv/stvc"
        call, _, log = rest.partition(" >> ")
        assert log == "events.jsonl"
        program, *arguments = shlex.split(call)
        assert program == "stvc"
        code, out = run_here(arguments, capsys)
        assert (code, planned(out)) == (0, 39)


def test_systemd_units(farm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    units = {path.suffix: _unit(path) for path in (EXAMPLES / "systemd").iterdir()}
    assert set(units) == {".service", ".timer"}
    assert units[".timer"]["Timer"]["Persistent"] == "yes"
    assert units[".timer"]["Install"]["WantedBy"] == "timers.target"
    service = units[".service"]["Service"]
    assert (service["Type"], service["Restart"]) == ("oneshot", "on-failure")
    ends = f"{service['RestartPreventExitStatus']} {service['SuccessExitStatus']}".split()
    others = {int(code) for code in ExitCode} - {int(code) for code in ends}
    assert others == {ExitCode.OK, ExitCode.TEMPORARY, ExitCode.INTERRUPTED}
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "stvc"
    assert Path(arguments[-1]).parent == Path("/var/lib") / service["StateDirectory"]
    arguments[-1] = str(farm / "stvc.prom")
    code, out = run_here(arguments, capsys)
    assert (code, planned(out)) == (0, 39)


def _unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser


def test_systemd_itself_finds_no_fault(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("there is no systemd-analyze")
    for path in (EXAMPLES / "systemd").iterdir():
        text = path.read_text().replace("/usr/local/bin/stvc", "/bin/true")
        (tmp_path / path.name).write_text(text)
    units = sorted(map(str, tmp_path.glob("stvc-monitor.*")))
    found = subprocess.run([verify, "verify", *units], capture_output=True, text=True, timeout=120)
    ours = [line for line in found.stderr.splitlines() if "stvc-monitor" in line]
    assert (found.returncode, ours) == (0, []), found.stderr


def test_airflow_dag_runs_its_command_and_skips_when_nothing_is_new(farm: Path) -> None:
    tree = ast.parse((EXAMPLES / "airflow" / "stvc_monitor.py").read_text())
    (operator,) = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "BashOperator"
    ]
    given: dict[str, Any] = {
        word.arg: ast.literal_eval(word.value) for word in operator.keywords if word.arg
    }
    text = (farm / "fields.toml").read_text()
    (farm / "fields.toml").write_text(text.replace("start = 2020-01-01", "start = 2020-12-20"))
    first = run_shell(given["bash_command"], farm)
    assert first.returncode == 0, first.stderr
    assert len(list((farm / "archives").glob("*.stvc"))) == 3
    shutil.rmtree(farm / "bin")
    second = run_shell(given["bash_command"], farm)
    assert second.returncode == given["skip_on_exit_code"] == 99


def test_kubernetes_cronjob(farm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    yaml = pytest.importorskip("yaml")
    (job,) = yaml.safe_load_all((EXAMPLES / "kubernetes" / "cronjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert all(re.fullmatch(_CRON_FIELD, field) for field in job["spec"]["schedule"].split())
    template = job["spec"]["jobTemplate"]["spec"]
    pod = template["template"]["spec"]
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    (rule,) = template["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert pod["restartPolicy"] == "Never", "podFailurePolicy wants it so"
    assert container["command"] == ["stvc"]
    arguments = [argument.replace("/etc/stvc/", f"{farm}/") for argument in container["args"]]
    code, out = run_here(arguments, capsys)
    assert (code, planned(out)) == (0, 39)
