"""``stvc monitor``: runs a job's fields, and tells how they stand."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import typer

from stvc.console import byte_size, day, emit_json, note
from stvc.errors import ConfigError
from stvc.exit_codes import ExitCode

_COLUMNS = ("field", "last date", "dates", "refused", "clear", "size", "ratio", "last error")
_LONGEST_ERROR = 60


def run(
    path: Path, *, look_back: str | None, today: date | None, quiet: bool, **options: Any
) -> int:
    """Run a job; see `stvc.monitor.runner.run`.

    Parameters
    ----------
    path : Path
        The TOML file.
    look_back : str or None
        As typed.
    today : date or None
        None = the day it is in UTC, as sensing times are.
    quiet : bool
        Say nothing on stderr but errors.
    **options
        Other values of `stvc.monitor.runner.RunOptions`.

    Returns
    -------
    int
        Exit code.
    """
    from stvc.monitor.fields import read_job
    from stvc.monitor.runner import RunOptions
    from stvc.monitor.runner import run as work
    from stvc.monitor.settings import read_days

    days = None
    if look_back is not None:
        try:
            days = read_days(look_back, "look-back")
        except ConfigError as error:
            raise typer.BadParameter(str(error), param_hint="--look-back") from None
    job = read_job(path, look_back=days)
    code = work(job, RunOptions(today=today or datetime.now(UTC).date(), **options))
    if not quiet and code == ExitCode.PARTIAL:
        note(f"some fields are not up to date: stvc monitor status {path}")
    return code


def status(path: Path, *, as_json: bool) -> ExitCode:
    """Tell how the fields of a job stand.

    Returns
    -------
    ExitCode
        ``CORRUPT`` if an archive cannot be read, else ``OK``.
    """
    from stvc.monitor.fields import read_job
    from stvc.monitor.status import statuses

    rows = [row.to_json() for row in statuses(read_job(path))]
    code = ExitCode.OK if all(row["readable"] for row in rows) else ExitCode.CORRUPT
    if as_json:
        emit_json({"command": "monitor status", "config": path, "fields": rows})
        return code
    cells = [_cells(row) for row in rows]
    total = sum(row["bytes"] for row in rows)
    if sys.stdout.isatty():
        _print_table(cells)
    else:
        widths = [max(len(line[k]) for line in [_COLUMNS, *cells]) for k in range(len(_COLUMNS))]
        for line in [_COLUMNS, *cells]:
            print("  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)).rstrip())
    failing = sum(row["last_error"] is not None for row in rows)
    note(f"{len(rows)} fields, {byte_size(total)}, {failing} with an error")
    return code


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    error = " ".join((row["last_error"] or "").split())
    if len(error) > _LONGEST_ERROR:
        error = error[: _LONGEST_ERROR - 3] + "..."
    return (
        row["field"],
        day(row["last_date"]) if row["last_date"] else "-",
        str(row["frames"]),
        str(len(row["refused"]) or "-"),
        "-" if row["clear_share"] is None else f"{row['clear_share']:.0%}",
        byte_size(row["bytes"]) if row["bytes"] else "-",
        "-" if row["ratio"] is None else f"{row['ratio']:.1f}",
        error,
    )


def _print_table(cells: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name in _COLUMNS[2:7] else "left")
    for line in cells:
        table.add_row(*(Text(cell) for cell in line[:-1]), Text(line[-1], style="red"))
    Console().print(table)
