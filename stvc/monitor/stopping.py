"""SIGTERM and Ctrl-C: begin nothing new, let what has begun end whole."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from stvc.console import note
from stvc.exit_codes import ExitCode

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Whether, and by which signal, the run was asked to stop."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> ExitCode:
        """128 plus the signal's number, as shells have it."""
        return ExitCode.INTERRUPTED if self.signal == signal.SIGINT else ExitCode.TERMINATED


@contextmanager
def watched() -> Iterator[Stop]:
    """Take SIGTERM and SIGINT as requests; a second one ends the process at once.

    Outside the main thread, where Python cannot listen, signals are left alone.

    Yields
    ------
    Stop
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop:
            # Whoever asks twice wants it now: archives are whole at any instant, and workers end
            # with their parent. Any other way out would wait for them.
            os._exit(128 + number)
        stop.signal = signal.Signals(number)
        note(f"{stop.signal.name}: ending the fields that have begun, then stopping")

    before = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
