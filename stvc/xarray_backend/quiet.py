"""What decoding sets for the whole process: by the first thread, put back by the last.

Decoding is exact whatever torch is set to because it sets what it needs and puts it back. Two
threads that do so at once would put back each other's settings, or too early.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_guard = threading.Lock()
_inside = 0
_undo: ExitStack | None = None


@contextmanager
def settled(*, single: bool) -> Iterator[None]:
    """Hold torch's process-wide settings still while this thread decodes.

    Parameters
    ----------
    single : bool
        Use one thread per operation: for small places, and where tiles decode in parallel.
    """
    global _inside, _undo
    with _guard:
        if not _inside:
            _undo = _enter(single)
        _inside += 1
    try:
        yield
    finally:
        with _guard:
            _inside -= 1
            if not _inside and _undo is not None:
                _undo.close()
                _undo = None


def _enter(single: bool) -> ExitStack:
    import torch
    from threadpoolctl import threadpool_limits

    stack = ExitStack()

    def restore(setter: Any, value: Any) -> None:
        stack.callback(setter, value)

    restore(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
    torch.set_float32_matmul_precision("highest")
    if single:
        stack.enter_context(threadpool_limits(limits=1))
        restore(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
    return stack
