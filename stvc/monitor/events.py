"""Events on stdout, one JSON object a line; the table of them is in the package's docstring."""

from __future__ import annotations

import json
import os
import secrets
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from stvc.monitor.results import DONE, FieldResult

SCHEMA = 1
"""Version of the events."""


class EventLog:
    """Writes events.

    Parameters
    ----------
    stream : text stream, optional
        stdout if not given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self.run = secrets.token_hex(4)
        """Id that all events of a run share."""
        self.broken: OSError | None = None
        """Why no more events can be written."""

    def emit(self, event: str, **values: Any) -> None:
        """Write an event, and flush: whoever follows the log sees it now."""
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = {"schema": SCHEMA, "event": event, "at": at, "run": self.run, **values}
        if self.broken is not None:
            return
        try:
            print(json.dumps(line, default=str), file=self._stream or sys.stdout, flush=True)
        except OSError as error:
            # Nobody reads on, or the log's disk is full: fields matter more than the tale of them.
            self.broken = error
            if self._stream is None:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def emit_result(self, result: FieldResult) -> None:
        """Write the events of a field that has ended."""
        each = "frame_planned" if result.status == "planned" else "frame_appended"
        for frame in result.frames:
            self.emit(each, field=result.id, **frame)
        for frame in result.superseded:
            self.emit("frame_superseded", field=result.id, **frame)
        for frame in result.missing:
            self.emit("frame_missing", field=result.id, **frame)
        for frame in result.refused:
            self.emit("frame_refused", field=result.id, **frame)
        if result.status in DONE:
            self.emit("field_done", field=result.id, status=result.status, **result.summary())
        elif result.failure is not None:
            why = result.failure.to_json()
            self.emit("field_failed", field=result.id, **why, **result.summary())
        else:
            why = {"reason": result.reason}
            self.emit("field_deferred", field=result.id, **why, **result.summary())
