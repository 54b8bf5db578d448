"""What the command line prints: results on stdout, progress, notes and errors on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

SCHEMA = 1
"""Version of the JSON objects on stdout; raised when a key changes its meaning or goes away."""

Progress = Callable[[int, int, str], None]


def note(message: str) -> None:
    """Write one line for a human to stderr."""
    print(f"stvc: {printable(message)}", file=sys.stderr)


def error(message: str) -> None:
    """Write an error to stderr, as one line whatever it contains."""
    print(f"stvc: error: {printable(' '.join(message.split()))}", file=sys.stderr)


def printable(text: str) -> str:
    """Replace control characters: names in a stranger's archive must not drive the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def emit_json(result: Mapping[str, Any]) -> None:
    """Write one JSON object, its ``schema`` first, to stdout; what is not finite becomes null."""
    print(json.dumps(_plain({"schema": SCHEMA, **result}), allow_nan=False))


def _plain(value: Any) -> Any:
    """Turn paths, numpy scalars and infinities into what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def log_to_stderr(verbose: int, *, quiet: bool) -> None:
    """Send stvc's log to stderr: warnings always, more with ``-v`` and ``-vv``, errors if quiet."""
    import logging

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # Looked up at every line: whoever replaces sys.stderr gets the lines from then on.
            print(f"stvc: {record.levelname.lower()}: {record.getMessage()}", file=sys.stderr)

    log = logging.getLogger("stvc")
    log.handlers = [Lines()]
    log.propagate = False
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    log.setLevel(logging.ERROR if quiet else levels[min(verbose, 2)])


def debugging() -> bool:
    """Tell whether the user asked for tracebacks."""
    return os.environ.get("STVC_DEBUG", "") not in ("", "0")


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress | None]:
    """Show a progress bar on stderr while a command runs, or nothing if nobody watches.

    Parameters
    ----------
    quiet : bool
        True never shows a bar.

    Yields
    ------
    Callable[[int, int, str], None] | None
        Takes (steps done, steps in all, what is being done); None where stderr is no terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("starting", total=None)

        def advance(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield advance


def byte_size(count: int | float) -> str:
    """Write a number of bytes with a decimal unit and three digits: ``412 kB``, ``13.4 MB``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5 or unit == "GB":
            break
        size /= 1000
    if unit == "B":
        return f"{size:.0f} B"
    return f"{size:.3g} {unit}" if abs(size) < 999.5 else f"{size:.0f} {unit}"


def measured(value: float | None, form: str, unit: str = "") -> str:
    """Format a measured value: ``n/a`` if there was nothing to measure, ``exact`` if infinite."""
    if value is None or math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "exact"
    return f"{value:{form}}{f' {unit}' if unit else ''}"


def day(time: str) -> str:
    """Shorten an ISO time to its date where it says midnight."""
    return time.removesuffix("Z").removesuffix("T00:00:00")
