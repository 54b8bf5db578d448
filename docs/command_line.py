"""mkdocs hook: fill the page of the command line with what the commands declare."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

import typer

MARK = "<!-- COMMANDS -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the mark by all commands (called by mkdocs for every page)."""
    return markdown.replace(MARK, reference()) if MARK in markdown else markdown


def commands() -> dict[str, Any]:
    """All commands by their full name, ``monitor run``; groups only lead to them."""
    from stvc.cli.app import app

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        for child, found in getattr(command, "commands", {}).items():
            yield from walk(f"{name} {child}", found)
        if not hasattr(command, "commands"):
            yield name.strip(), command

    return dict(walk("", typer.main.get_command(app)))


def reference() -> str:
    """Markdown of all commands."""
    return "\n".join(_section(name, command) for name, command in commands().items())


def _section(name: str, command: Any) -> str:
    text, _, examples = (command.help or "").partition("\b\nExamples:\n")
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join(
        f"[{_metavar(a)}]" if not a.required else str(_metavar(a)) for a in arguments
    )
    lines = [f"## stvc {name}", "", _plain(text), ""]
    if examples:
        # Remarks in the help stand apart by four spaces: to a shell they are comments.
        told = [re.sub(r" {3,}\((.*)\)$", r"    # \1", x.strip()) for x in examples.splitlines()]
        lines += ["```console", *(f"$ {x}" for x in told if x), "```", ""]
    lines += ["```text", f"stvc {name} [OPTIONS] {usage}".rstrip(), "```", ""]
    if arguments or options:
        lines += ["| option | |", "|---|---|"]
        lines += [f"| `{_metavar(a)}` | {_cell(a.help)} |" for a in arguments]
        lines += [f"| {_names(o)} | {_cell(o.help)}{_remarks(o)} |" for o in options]
        lines.append("")
    return "\n".join(lines)


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper()).strip("{}")


def _names(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in reversed(option.opts))
    if option.is_flag or option.count:
        return names
    kind = option.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        value = "\\|".join(str(member.value) for member in kind)
    else:
        value = option.metavar or getattr(kind, "__name__", "").upper()
    return f"{names} {value}".rstrip()


def _remarks(option: Any) -> str:
    found = []
    if option.default not in (None, False, 0, ()) and not option.is_flag:
        found.append(f"Default: {getattr(option.default, 'value', option.default)}.")
    if option.envvar:
        found.append(f"Environment: `{option.envvar}`.")
    if option.required:
        found.append("Required.")
    return "".join(f" {text}" for text in found)


def _cell(text: str | None) -> str:
    return _plain(text or "").replace("|", "\\|").replace("\n", " ")


def _plain(text: str) -> str:
    return text.replace("\b", "").strip().replace("<", "&lt;").replace("*", "\\*")
