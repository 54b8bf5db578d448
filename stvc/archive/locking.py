"""One writer at a time per archive, and no leftovers of killed writers."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from stvc.errors import LockedError

DEFAULT_TIMEOUT = 10.0


def lock_path(path: str | os.PathLike[str]) -> Path:
    """Path of the lock file of the archive at ``path``."""
    target = Path(path).resolve()
    return target.with_name(target.name + ".lock")


@contextmanager
def lock(path: str | os.PathLike[str], timeout: float = DEFAULT_TIMEOUT) -> Iterator[None]:
    """Hold the archive's write lock; the same thread may take it again inside.

    The operating system drops the lock when its process dies, so a killed writer blocks nobody. The
    empty lock file stays: removing it would let two waiters lock two files of one name.

    Parameters
    ----------
    path : path-like
        Of the archive, whether it exists or not.
    timeout : float
        Seconds to wait for another writer.

    Raises
    ------
    LockedError
        If another process or thread still holds the lock after ``timeout``.
    FileNotFoundError
        If the directory does not exist.
    """
    beside = lock_path(path)
    if not beside.parent.is_dir():
        raise FileNotFoundError(f"directory {beside.parent} does not exist; create it first")
    if beside.is_symlink():
        # To open a lock file is to empty it: not through a link that somebody laid there.
        raise LockedError(f"the lock file {beside} is a link; remove it")
    holder = filelock.FileLock(beside, is_singleton=True, thread_local=True)
    try:
        holder.acquire(timeout=timeout, poll_interval=0.02)
    except filelock.Timeout as error:
        raise LockedError(
            f"{os.fspath(path)} is being written by another process (lock {beside} still held "
            f"after {timeout:g} s); try again later"
        ) from error
    try:
        yield
    finally:
        holder.release()


def temporary_path(target: Path) -> Path:
    """Choose a fresh name for a temporary file beside ``target``."""
    return target.with_name(f".{target.name}.{secrets.token_hex(8)}.stvc-tmp")


def remove_leftovers(target: Path) -> int:
    """Remove the temporary files that killed writers of ``target`` left behind.

    Must be called under the lock of ``target``: every temporary file is written under it, so those
    that exist belong to no living writer.

    Parameters
    ----------
    target : Path
        The archive, resolved.

    Returns
    -------
    int
        Number of files removed.
    """
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{16}}\.stvc-tmp")
    removed = 0
    for entry in target.parent.iterdir():
        if pattern.fullmatch(entry.name):
            with suppress(OSError):
                entry.unlink()
                removed += 1
    return removed
