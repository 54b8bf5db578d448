"""How many threads a place deserves.

The tensors of a small field are so small that a second thread waits longer than it works, and on a
busy machine every such wait costs a time slice. Results never depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stvc.types import GroupGrid

SMALL = 192 * 192
"""Pixels of the largest group's grid up to which one thread is faster."""


@contextmanager
def fitting(grids: tuple[GroupGrid, ...]) -> Iterator[None]:
    """Use one thread for small places, leave the user's setting alone for others."""
    if max((len(g.y) * len(g.x) for g in grids), default=0) > SMALL:
        yield
        return
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
