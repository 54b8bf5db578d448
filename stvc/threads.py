"""How many threads a place deserves.

The tensors of a small field are so small that a second thread waits longer than it works, and on a
busy machine every such wait costs a time slice. Results never depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from stvc.errors import ConfigError
from stvc.types import GroupGrid

WORKERS = "STVC_THREADS"
"""Environment variable: units that are coded at once; default: torch's number of threads."""
SMALL = 192 * 192
"""Pixels of the largest group's grid up to which one thread is faster."""


@lru_cache(maxsize=1)
def _pools() -> Any:
    """The thread pools of loaded libraries: to look for them takes longer than a small unit."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def fitting(grids: tuple[GroupGrid, ...]) -> Iterator[None]:
    """Use one thread for small places, leave the user's setting alone for others."""
    if max((len(g.y) * len(g.x) for g in grids), default=0) > SMALL:
        yield
        return
    import torch

    before = torch.get_num_threads()
    with _pools().limit(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def workers() -> int:
    """How many units may be coded at once.

    Raises
    ------
    ConfigError
        If ``STVC_THREADS`` is not a positive number.
    """
    asked = os.environ.get(WORKERS)
    if not asked:
        import torch

        return torch.get_num_threads()
    if not (asked.isascii() and asked.isdigit() and int(asked) > 0):
        raise ConfigError(f"{WORKERS}={asked!r}; want a positive number of threads")
    return int(asked)


@contextmanager
def spread_over(tasks: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """Offer a ``map`` that works on several independent tasks at once; results come in order.

    Whole tasks side by side wait for each other far less than the threads of one matrix product;
    within each, one thread works. With one worker or one task it is ``map`` itself.

    Parameters
    ----------
    tasks : int
        How many there will be.
    """
    count = min(workers(), tasks)
    if count < 2:
        yield map
        return
    import torch

    from stvc.model.arithmetic import exact_products

    before = torch.get_num_threads()
    with exact_products(), _pools().limit(limits=1):
        # ^ what the tasks shield themselves from is process-wide in part: it must not change
        #   under the feet of others when one of them is done
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(count, "stvc", torch.set_num_threads, (1,)) as pool:
                yield pool.map
        finally:
            torch.set_num_threads(before)
