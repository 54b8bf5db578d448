"""The documentation: it builds without a warning, its links lead somewhere, its examples hold."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest

from stvc.exit_codes import ExitCode

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md"]
_FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, language: str) -> list[str]:
    return [body for kind, body in _FENCE.findall(path.read_text()) if kind == language]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("command_line", DOCS / "command_line.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids |= {value for key in ("id", "name") if (value := found.get(key))}
        where = found.get("href") if tag in ("a", "link") else found.get("src")
        if where is not None:
            self.links.append(where)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="pip install 'stvc[docs]'")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return out


@pytest.fixture(scope="module")
def built(site: Path) -> dict[Path, _Page]:
    return {path: _Page(path.read_text()) for path in site.rglob("*.html")}


def test_every_page_is_built_and_nothing_else(site: Path) -> None:
    wanted = {p.relative_to(DOCS).with_suffix("") for p in PAGES}
    made = {p.parent.relative_to(site) for p in site.rglob("index.html")}
    indexes = {p.parent if p.name == "index" else p for p in wanted}
    assert made == indexes
    assert not list(site.rglob("*.ipynb"))
    assert not list(site.rglob("*.py"))


def test_internal_links_and_anchors_of_the_site_exist(site: Path, built: dict[Path, _Page]) -> None:
    checked = 0
    for path, page in built.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{path.relative_to(site)}: {link}"
            if parts.fragment and target in built:
                assert unquote(parts.fragment) in built[target].ids, f"{path.name}: {link}"
            checked += 1
    assert checked > 500


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=\"(http[^\"]+)", path.read_text())
        loaded += re.findall(r"<link[^>]+stylesheet[^>]+href=\"(http[^\"]+)", path.read_text())
        assert not loaded, path.name


def test_the_python_reference_was_filled(built: dict[Path, _Page]) -> None:
    ids = set().union(*(page.ids for page in built.values()))
    wanted = {"stvc.encode", "stvc.append", "stvc.open", "stvc.Archive", "stvc.errors.StvcError"}
    assert wanted <= ids


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_links_in_markdown(path: Path) -> None:
    for link in _LINK.findall(path.read_text()):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            assert "." in parts.netloc, link
        elif parts.path:
            assert (path.parent / unquote(parts.path)).exists(), f"{name_of(path)}: {link}"


def test_readme_shows_a_small_picture() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert "docs/images/field.png" in pictures
    for picture in (DOCS / "images").iterdir():
        assert picture.stat().st_size < 200_000, picture.name


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_python_blocks_compile(path: Path) -> None:
    for block in blocks(path, "python"):
        compile(block, name_of(path), "exec")


def stvc_commands(text: str) -> Iterator[list[str]]:
    """Arguments of every call of stvc in shell lines, pipes and comments apart."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if not line.startswith("$ "):
            continue
        lexer = shlex.shlex(line[2:], posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        words: list[list[str]] = [[]]
        for word in lexer:
            if set(word) <= set("|&;<>()"):
                words.append([])
            else:
                words[-1].append(word)
        yield from (part[1:] for part in words if part[:1] == ["stvc"])


def accepts(commands: dict[str, object], arguments: list[str]) -> None:
    """Parse a command line as typer would, without running it."""
    for size in (2, 1):
        command = commands.get(" ".join(arguments[:size]))
        if command is not None:
            command.make_context(arguments[0], arguments[size:])  # type: ignore[attr-defined]
            return
    assert arguments in (["--install-completion"], ["--help"], ["--version"]), arguments


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_commands_parse(path: Path, hook: ModuleType) -> None:
    text = hook.on_page_markdown(path.read_text())
    shells = [body for kind, body in _FENCE.findall(text) if kind in ("console", "bash", "sh")]
    for shell in shells:
        for arguments in stvc_commands(shell):
            try:
                accepts(hook.commands(), arguments)
            except Exception as error:  # typer's errors have no common public root
                pytest.fail(f"{name_of(path)}: stvc {shlex.join(arguments)}: {error!r}")


def test_a_wrong_command_is_noticed(hook: ModuleType) -> None:
    good, bad = "$ stvc info a.stvc --json | jq .x\n", "$ stvc info a.stvc --jsno\n"
    (arguments,) = stvc_commands(good)
    accepts(hook.commands(), arguments)
    (arguments,) = stvc_commands(bad)
    with pytest.raises(Exception, match="jsno"):
        accepts(hook.commands(), arguments)


def test_the_command_line_page_has_every_command_and_option(hook: ModuleType) -> None:
    text = hook.on_page_markdown((DOCS / "reference" / "cli.md").read_text())
    for name, command in hook.commands().items():
        section = text.partition(f"## stvc {name}\n")[2].partition("\n## ")[0]
        assert "$ " in section, f"{name} has no example"
        for option in command.params:
            if option.param_type_name == "option" and not option.hidden:
                assert all(f"`{opt}`" in section for opt in option.opts), f"{name}: {option.opts}"


def test_every_exit_code_is_documented() -> None:
    text = (DOCS / "reference" / "exit_codes.md").read_text()
    told = set(re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE))
    assert told == {(str(int(code)), code.name) for code in ExitCode}


def test_every_environment_variable_is_documented() -> None:
    text = (DOCS / "reference" / "cli.md").read_text()
    used: set[str] = set()
    for path in (ROOT / "stvc").rglob("*.py"):
        used |= set(re.findall(r"STVC_[A-Z]+(?:_[A-Z]+)*", path.read_text()))
    assert "STVC_CACHE_DIR" in used
    assert not [name for name in sorted(used) if f"| `{name}` |" not in text]


def test_every_event_and_key_is_documented() -> None:
    from stvc.monitor.events import SCHEMA
    from stvc.monitor.results import FieldResult
    from stvc.monitor.runner import Totals

    text = (DOCS / "reference" / "events.md").read_text()
    keys = {*FieldResult("a", "b").summary(), *Totals(1).to_json()}
    source = (ROOT / "stvc" / "monitor" / "events.py").read_text()
    source += (ROOT / "stvc" / "monitor" / "runner.py").read_text()
    source += (ROOT / "stvc" / "monitor" / "dispatch.py").read_text()
    events = set(re.findall(r"emit\(\s*\"(\w+)\"", source)) | {"frame_appended", "frame_planned"}
    missing = [name for name in keys | events if f"`{name}`" not in text]
    assert not missing
    assert f"| `schema` | {SCHEMA};" in text


RUNNABLE = ("index.md", "tutorials/ndvi_curve.md", "howto/masks.md", "howto/parcels.md")


@pytest.fixture(scope="module")
def summer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages' examples open: field.stvc, parcels.geojson."""
    from stvc import cli

    folder = tmp_path_factory.mktemp("pages")
    field = ROOT / "examples" / "field.geojson"
    told = ["--start", "2018-06-01", "--end", "2018-07-05", "-q"]
    assert cli.run(["encode", "--aoi", str(field), "-o", str(folder / "field.stvc"), *told]) == 0
    ring = [[22.149, 45.203], [22.151, 45.203], [22.151, 45.205], [22.149, 45.205]]
    parcel = {
        "type": "Feature",
        "properties": {"parcel_id": "a"},
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
    }
    (folder / "parcels.geojson").write_text(json.dumps(parcel))
    return folder


@pytest.mark.parametrize("page", RUNNABLE)
def test_python_of_pages_runs(page: str, summer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    monkeypatch.chdir(summer)
    names: dict[str, object] = {}
    for block in blocks(DOCS / page, "python"):
        exec(compile(block, page, "exec"), names)
    pyplot.close("all")
    assert names["ds"].sizes["time"] > 2  # type: ignore[attr-defined]


NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("nbmake", reason="pip install 'stvc[dev]'")
    run = [sys.executable, "-m", "pytest", "-c", "/dev/null", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(
        [*run, "--nbmake", "--nbmake-timeout=300", path],
        cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
