"""What an archive cannot tell of its field: when it was last looked after, and what went wrong.

One small JSON file per field in ``.stvc-monitor`` beside the archives. What to fetch follows from
the archives; all that is decided by this file is which frames are not asked for once more, because
they were refused. Whoever deletes it loses the last error's text, and asks for those again.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from stvc.errors import LockedError
from stvc.monitor.results import DONE, FieldResult

FOLDER = ".stvc-monitor"
_SCHEMA = 1
_MAX_BYTES = 1 << 18
_LEFTOVER_AGE = 3600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FieldState:
    """Memory of a field's runs."""

    last_run: str | None = None
    """ISO time, UTC."""
    last_success: str | None = None
    """ISO time of the last run that left the field up to date."""
    failures: int = 0
    """Runs in a row that failed."""
    last_error: dict[str, Any] | None = None
    """`Failure.to_json` with ``at``; kept until the next success."""
    refused: list[dict[str, Any]] = field(default_factory=list)
    """Frames that failed, as `stvc.monitor.refusals` has them."""


def state_path(archive: Path) -> Path:
    """Path of the state file of an archive's field."""
    return archive.parent / FOLDER / f"{archive.stem}.json"


def read_state(archive: Path) -> FieldState:
    """Read a field's state; an empty one if there is none, or it is damaged."""
    try:
        with open(state_path(archive), "rb") as stream:
            stored = json.loads(stream.read(_MAX_BYTES))
        known = {key: stored[key] for key in FieldState.__dataclass_fields__ if key in stored}
        state = FieldState(**known)
    except (OSError, ValueError, TypeError, RecursionError):
        return FieldState()
    texts = (state.last_run, state.last_success)
    sane = (
        all(text is None or isinstance(text, str) for text in texts)
        and type(state.failures) is int
        and isinstance(known.get("refused", []), list)
        and (state.last_error is None or isinstance(state.last_error, dict))
    )
    return state if sane else FieldState()


def remember(archive: Path, result: FieldResult, at: str) -> FieldState:
    """Write down how a run ended; a folder that cannot be written to is only worth a warning.

    Parameters
    ----------
    archive : Path
        Of the field.
    result : FieldResult
    at : str
        ISO time, UTC.

    Returns
    -------
    FieldState
        As written.
    """
    before = read_state(archive)
    refused = before.refused if result.refusals is None else result.refusals
    if result.status in DONE:
        state = FieldState(at, at, 0, None, refused)
    elif result.failure is None or result.failure.error == LockedError.__name__:
        # Put off, or in the hands of another job, which writes down how that went.
        state = replace(before, refused=refused)
        if state == before:
            return before
    else:
        error = {**result.failure.to_json(), "at": at}
        state = FieldState(at, before.last_success, before.failures + 1, error, refused)
    path = state_path(archive)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"schema": _SCHEMA, **asdict(state)}) + "\n")
    except OSError as error:
        _log.warning("cannot remember the state of %s (%s); going on", archive.stem, error)
    return state


def write_atomically(path: Path, text: str) -> None:
    """Write a small text file whole or not at all; OSError if that is impossible."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "x", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that killed runs left in a state folder, once they are old enough."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _LEFTOVER_AGE:
                path.unlink()
